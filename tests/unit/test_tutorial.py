"""docs/tutorial.md does what it says: every command runs, and what the page shows is in the output, in that order.

Numbers, and the hexadecimal part of weight keys, may differ.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"


def blocks() -> Iterator[tuple[str, str]]:
    """The page's fenced blocks: language and text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines shown after it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *shown = part.strip().split("\n")
        yield command, shown


def plain(text: str) -> str:
    """``text`` without what may differ between machines and versions."""
    text = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "N", re.sub(r"#[0-9a-f]{8,16}", "#", text))
    return re.sub(r"[ \t]+", " ", text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository's examples, where the page's commands leave their files."""
    path = tmp_path_factory.mktemp("tutorial")
    (path / "examples").symlink_to(ROOT / "examples")
    return path


def run(command: list[str], folder: Path) -> str:
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": search}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_page(folder: Path) -> None:
    seen = 0
    for language, text in blocks():
        if language == "python":
            assert "read as" in run([sys.executable, "-c", text], folder)
            continue
        assert language == "console"
        for command, shown in commands(text):
            output = plain(run(["bash", "-c", command], folder))
            seen += 1
            position = 0
            for line in shown:
                found = output.find(plain(line.strip()), position)
                assert found >= 0, f"$ {command}\ndoes not show, in this place: {line}\nbut:\n{output}"
                position = found + 1
    assert seen > 15
