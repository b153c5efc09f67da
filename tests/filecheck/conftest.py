"""Tests in lit's format, run in this process: a few milliseconds each, where two processes take a third of a second.

In: every ``*.mlir`` below this folder with ``RUN:`` lines such as

    // RUN: penstock opt -p cse %s | filecheck %s
    // RUN: not penstock opt --to fuse %s 2>&1 | filecheck %s --check-prefix ERR

Out: one pytest item per file. Understood: ``penstock`` and ``filecheck`` commands joined by ``|``, ``not`` before a
command, ``&&``, ``2>&1``, ``< %s``, and the substitutions ``%s`` (the file), ``%S`` (its folder), ``%t`` (a fresh
path for output) and ``%models`` (tests/data/models); a line ending in ``\\`` continues. Anything else is an error, so
that a file means the same to ``lit tests/filecheck``.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "data" / "models"
RUN_LINE = re.compile(r"RUN:\s*(.*?)\s*$")


class RunFailure(Exception):
    """A RUN line that did not end as it should; the message shows command and output."""


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    if file_path.suffix == ".mlir" and HERE in file_path.parents:
        return FileCheckFile.from_parent(parent, path=file_path)
    return None


class FileCheckFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        yield FileCheckItem.from_parent(self, name=self.path.stem)


class FileCheckItem(pytest.Item):
    def runtest(self) -> None:
        commands = run_lines(self.path)
        if not commands:
            raise RunFailure(f"{self.path} has no RUN line")
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for command in commands:
                run_line(command, self.path, Path(folder))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        if isinstance(excinfo.value, RunFailure):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"filecheck: {self.path.relative_to(HERE)}"


def run_lines(path: Path) -> list[str]:
    """The commands of a file's RUN lines, continued lines joined."""
    commands: list[str] = []
    pending = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        match = RUN_LINE.search(line)
        if match:
            pending += match.group(1)
            if pending.endswith("\\"):
                pending = pending[:-1]
            else:
                commands.append(pending)
                pending = ""
    return commands


def run_line(line: str, path: Path, folder: Path) -> None:
    """Run one line: pipelines joined by ``&&``, each of which must succeed. Raises RunFailure."""
    tokens = shlex.shlex(line, posix=True, punctuation_chars="|&<>")
    tokens.whitespace_split = True
    words = [_substitute(word, path, folder) for word in tokens]
    for pipeline in _split(words, "&&"):
        text = ""
        for command in _split(pipeline, "|"):
            text = _run_command(command, text, line, path)


def _run_command(words: list[str], stdin: str, line: str, path: Path) -> str:
    """Run one command of a pipeline on the output of the one before; returns its output."""
    words, stdin, merged = _redirections(words, stdin)
    inverted = words[0] == "not"
    name, *arguments = words[1:] if inverted else words
    if name not in RUNNERS:
        raise RunFailure(f"{path}: cannot run {name!r}, only {', '.join(RUNNERS)}, in: {line}")
    out, err = io.StringIO(), io.StringIO()
    if merged:
        err = out
    with _streams(stdin, out, err):
        status = RUNNERS[name](arguments)
    if (status != 0) != inverted:
        said = out.getvalue() + ("" if merged else err.getvalue())
        shown = f"{path}\nRUN: {line}\n{name} ended with status {status}\n{said}"
        if name == "filecheck":
            shown += f"\n--- what it was given ---\n{stdin}"
        raise RunFailure(shown)
    return out.getvalue()


def _run_penstock(arguments: list[str]) -> int:
    from penstock.tools.cli import main

    return main(arguments)


def _run_filecheck(arguments: list[str]) -> int:
    from filecheck.finput import FInput
    from filecheck.matcher import Matcher
    from filecheck.options import parse_argv_options
    from filecheck.parser import Parser

    options = parse_argv_options(["filecheck", *arguments])
    return Matcher(options, FInput("<stdin>", sys.stdin.read()), Parser.from_opts(options)).run()


RUNNERS = {"penstock": _run_penstock, "filecheck": _run_filecheck}


def _redirections(words: list[str], stdin: str) -> tuple[list[str], str, bool]:
    """The words without redirections, the input they name, and whether standard error goes with standard output."""
    rest: list[str] = []
    merged = False
    position = 0
    while position < len(words):
        word = words[position]
        if word == "<":
            stdin = Path(words[position + 1]).read_text(encoding="utf-8")
            position += 1
        elif word == "2" and words[position + 1 : position + 3] == [">&", "1"]:
            merged = True
            position += 2
        else:
            rest.append(word)
        position += 1
    return rest, stdin, merged


def _substitute(word: str, path: Path, folder: Path) -> str:
    values = {"%models": MODELS, "%s": path, "%S": path.parent, "%t": folder / "out"}
    for name, value in values.items():
        word = word.replace(name, str(value))
    return word


def _split(words: list[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == separator:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


@contextlib.contextmanager
def _streams(stdin: str, out: io.StringIO, err: io.StringIO) -> Iterator[None]:
    saved = sys.stdin
    sys.stdin = io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        sys.stdin = saved
