"""docs/custom-operators.md: its programs are the examples', and its commands work."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "custom_operators"
PAGE = (ROOT / "docs" / "custom-operators.md").read_text()


def blocks(language: str) -> list[str]:
    """The page's blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def without_docstring(text: str) -> str:
    """A module's text after its docstring."""
    return text.split('"""', 2)[2].strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the plugin and a model that needs it."""
    shutil.copy(EXAMPLES / "snake.py", tmp_path)
    text = """<ir_version: 8, opset_import: ["" : 18, "com.example" : 1]>
    agraph (float[2,3] x) => (float[2,3] y) { t = com.example.Snake <a = 0.5> (x)  y = Neg (t) }"""
    onnx.save(parser.parse_model(text), tmp_path / "snake.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_shows_the_example() -> None:
    assert without_docstring((EXAMPLES / "snake.py").read_text()) in blocks("python")[0]
    assert blocks("python")[1] in (EXAMPLES / "polynomial.py").read_text()
    assert blocks("c")[0].strip() in (EXAMPLES / "polynomial.c").read_text()


def test_its_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each ends well, and the artifact runs without the plugin."""
    from penstock.tools.cli import main

    commands = [line.removeprefix("$ penstock ").split() for line in blocks("console")[0].splitlines()]
    assert len(commands) == 3
    for command in commands:
        if command[0] == "run":
            (folder / "snake.py").unlink()
        assert main(command) == 0, capsys.readouterr().err


def test_its_measure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's program that compares an operator with its meaning."""
    monkeypatch.syspath_prepend(str(folder))
    try:
        program = next(block for block in blocks("python") if "import compare" in block)
        exec(compile(program, "page", "exec"), {"np": np})
    finally:
        sys.modules.pop("snake", None)
