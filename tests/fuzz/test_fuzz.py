"""Each fuzzer for a moment, with fixed seeds; and one run for every finding it ever had."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz import fuzz

from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import IRError
from penstock.compiler.irtext import parse_module


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_damaged_models(start: int) -> None:
    for seed in range(start, start + 100):
        fuzz.reader(random.Random(seed))


def test_damaged_text() -> None:
    for seed in range(60):
        fuzz.text(random.Random(seed))


def test_a_string_without_end_is_found_at_once() -> None:
    """xDSL's lexer would try every way of cutting the rest of the line into pieces."""
    with pytest.raises(IRError, match=r"x\.mlir:1:6: this string does not end"):
        parse_module('%a = "' + "a" * 100 + "\n", CompilerContext(), "x.mlir")


@pytest.mark.parametrize("seed", [6138])
def test_findings_in_text(seed: int) -> None:
    fuzz.text(random.Random(seed))


def test_damaged_artifacts(tmp_path: Path) -> None:
    try:
        done = fuzz.run_loader(fuzz.prepare_loader(tmp_path), 1, 20_001)
    except fuzz.NoSanitizer as error:
        pytest.skip(str(error))
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "20000 runs\n"
