"""Error codes: stable, documented, each triggered by a test."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from penstock.compiler import errors
from penstock.compiler.errors import CYCLE, UNSUPPORTED_OP, ModelError, OptionError, Problem, codes, nearest
from penstock.runtime.errors import CODES as RUNTIME_CODES

TESTS = Path(__file__).parents[2]


def names() -> dict[str, str]:
    """The Python name of every code."""
    return {str(value): name for name, value in vars(errors).items() if isinstance(value, errors.Code)}


def test_codes_have_one_form_and_no_number_twice() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, errors.Code)]
    assert len(found) == len(codes())
    assert all(re.fullmatch(r"PENS-[MOITAX]\d{3}", code) for code in found)
    assert not set(codes()) & set(RUNTIME_CODES)


@pytest.mark.parametrize("code", list(codes()))
def test_a_code_is_documented_in_sentences(code: str) -> None:
    entry = codes()[code]
    assert entry.meaning.endswith(".")
    assert entry.remedy.endswith(".")


@pytest.mark.parametrize("code", list(codes()))
def test_some_test_triggers_every_code(code: str) -> None:
    name = names()[code]
    pattern = re.compile(rf"\b{name}\b(?! =)|{code}")
    here = Path(__file__)
    found = [
        path
        for path in (*TESTS.rglob("*.py"), *TESTS.rglob("*.mlir"))
        if path != here and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert found, f"no test triggers {code} ({name})"


def test_a_model_error_holds_every_problem_and_survives_pickling() -> None:
    problems = [Problem(CYCLE, "a", "Add", "it is on a cycle"), Problem(UNSUPPORTED_OP, "b", "Foo", "no", "Use Bar.")]
    error = ModelError(problems, "m.onnx")
    assert error.message.startswith("m.onnx cannot be compiled for 2 reasons:")
    assert "node 'a' (Add): it is on a cycle [PENS-M010]" in error.message
    assert "hint: Use Bar." in error.message
    assert pickle.loads(pickle.dumps(error)).problems == tuple(problems)
    single = ModelError(problems[1], "m.onnx")
    assert (single.message, single.hint) == ("m.onnx cannot be compiled: node 'b' (Foo): no", "Use Bar.")


def test_an_undeclared_or_foreign_code_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        OptionError("PENS-O999", "no")
    with pytest.raises(AssertionError):
        OptionError(CYCLE, "no")
    with pytest.raises(AssertionError):
        Problem("PENS-M999", "n", "Op", "no")


def test_nearest() -> None:
    assert nearest("fuze", ["fuse", "lower"]) == "; did you mean 'fuse'?"
    assert nearest("xyz", ["fuse", "lower"]) == ""
