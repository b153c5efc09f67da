"""Programs of which a session keeps something: every rule that is broken is told, in the IR and in the records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.compiler.artifact.plan import BufferRange, Command, CommandKind, Plan, PlanError, Space, TensorInfo
from penstock.compiler.artifact.plan_format import Variant, decode, encode
from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import IRError
from penstock.compiler.extents import Symbol, symbol
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.passes.package.binary_plan import plan_for
from penstock.compiler.verification import Violation, verify

PROGRAM = """
plan.program @main levels ["x86-64-v4"] symbols ["m", "n:0..9"] length "n:0..9" grown "m + n:0..9" arena 0 {
  %x = plan.input {index = 0, called = "x"} : () -> memref<?x4xf32, ["m"]> loc("x")
  %a = plan.input {index = 1, called = "past"} : () -> memref<9x4xf32> loc("a")
  %y = plan.output {index = 0, called = "y"} : () -> memref<4xf32> loc("y")
  %b = plan.output {index = 1, called = "present", keeps = 1} : () -> memref<9x4xf32> loc("b")
  %s = plan.sizes {symbols = ["m", "n"]} : () -> memref<2xi64> loc("sizes")
  plan.dispatch @append(%a : memref<9x4xf32>, %x : memref<?x4xf32, ["m"]>, %s : memref<2xi64>) -> (%b : memref<9x4xf32>)
      units ["m"] grain [1] flops 0 bytes 0 loc("b")
  plan.dispatch @add(%b : memref<9x4xf32>, %s : memref<2xi64>) -> (%y : memref<4xf32>)
      units [1] grain [1] flops 0 bytes 0 loc("y")
}
"""


def test_text_reads_back_as_the_same_program() -> None:
    module = parse_module(PROGRAM, CompilerContext())
    verify(module)
    text = to_text(module)
    assert to_text(parse_module(text, CompilerContext())) == text
    assert 'length "n:0..9" grown "m + n:0..9"' in text


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('length "n:0..9" grown "m + n:0..9" ', "", "a length just where a session keeps something"),
        (", keeps = 1", "", "a length just where a session keeps something"),
        ('length "n:0..9"', 'length "2*n:0..9"', "is no symbol of the program that can be kept"),
        ('length "n:0..9"', 'length "k"', "is no symbol of the program that can be kept"),
        ('grown "m + n:0..9"', 'grown "k + n:0..9"', "does not list the symbol k"),
        ("keeps = 1", "keeps = 0", "the last inputs and the last outputs, in the same order"),
        ('called = "y"', 'called = "y", keeps = 0', "what a session keeps has one size, unlike"),
        ('called = "y"', 'called = "y", keeps = 1', "the last inputs and the last outputs, in the same order"),
    ],
)
def test_unsound_programs_are_refused(old: str, new: str, rule: str) -> None:
    assert old in PROGRAM
    with pytest.raises((Violation, IRError), match=rule):
        verify(parse_module(PROGRAM.replace(old, new), CompilerContext()))


def plan() -> Plan:
    """The program as records, and with them what it keeps."""
    module = parse_module(PROGRAM, CompilerContext())
    made = plan_for(next(iter(module.body.block.ops)), "x86-64-v4", ["append", "add"], 0)  # pyright: ignore[reportArgumentType]
    made.validate()
    return made


def test_records_read_back() -> None:
    made = plan()
    assert (made.kept, made.length, made.grown) == (1, 1, symbol("m") + symbol("n", 0, 9))
    found = decode(encode({"x86-64-v4": Variant(made, 100, (0, 16))}))["x86-64-v4"].plan
    assert (found.kept, found.length, found.grown) == (made.kept, made.length, made.grown)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"kept": 3}, "3 of 2 inputs cannot be kept"),
        ({"kept": -1}, "-1 of 2 inputs cannot be kept"),
        ({"length": 2}, "are those of no symbol"),
        ({"kept": 2}, "are not one memory"),
        (
            {"inputs": [TensorInfo("x", "f32", (symbol("m"), 4)), TensorInfo("past", "i32", (9, 4))]},
            "are not one memory",
        ),
    ],
)
def test_unsound_records_are_refused(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(PlanError, match=rule):
        replace(plan(), **change).validate()


def test_what_is_kept_may_not_depend_on_what_is_counted() -> None:
    size = BufferRange(Space.INPUT, 0, 8)
    made = Plan(
        [TensorInfo("x", "i64", (1,))],
        [TensorInfo("y", "i64", (1,))],
        [],
        [
            Command(CommandKind.BIND, (size,), (), units=symbol("k", 0, 3)),
            Command(CommandKind.COPY, (size,), (BufferRange(Space.OUTPUT, 0, 8),)),
        ],
        symbols=(Symbol("n", 0, 9), Symbol("k", 0, 3)),
        counted=(3,),
        kept=1,
        grown=symbol("n", 0, 9) + symbol("k", 0, 3),
    )
    with pytest.raises(PlanError, match=r"depends on .*, which is counted"):
        made.validate()
