"""Programs that count: every rule of the plan that is broken is told, in the IR and in the records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.compiler.artifact.extent_code import TermKind, program_of
from penstock.compiler.artifact.plan import (
    ArenaBuffer,
    BufferRange,
    Command,
    CommandKind,
    Plan,
    PlanError,
    Space,
    TensorInfo,
)
from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import IRError
from penstock.compiler.extents import Symbol, symbol
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.verification import Violation, verify

PROGRAM = """
plan.program @main levels ["x86-64-v4"] symbols ["batch", "n:0..64"] counted ["4*batch"] arena "32*batch + 128" {
  %x = plan.input {index = 0, called = "x"} : () -> memref<?x4xf32, ["batch"]> loc("x")
  %y = plan.output {index = 0, called = "y"} : () -> memref<?xf32, ["n:0..64"]> loc("y")
  %s = plan.sizes {symbols = ["n"]} : () -> memref<1xi64> loc("sizes")
  %a = plan.buffer {lives = [0, 2]} : () -> memref<?xi64, ["n:0..64"]> loc("a")
  %c = plan.buffer {lives = [0, 1]} : () -> memref<1xi64> loc("c")
  plan.dispatch @find(%x : memref<?x4xf32, ["batch"]>) -> (%a : memref<?xi64, ["n:0..64"]>, %c : memref<1xi64>)
      units [1] grain [1] flops 0 bytes 0 loc("a")
  plan.bind %c {extent = "n:0..64"} : (memref<1xi64>) -> () loc("c")
  plan.dispatch @last(%a : memref<?xi64, ["n:0..64"]>, %s : memref<1xi64>) -> (%y : memref<?xf32, ["n:0..64"]>)
      units ["n:0..64"] grain [1] flops 0 bytes 0 loc("y")
}
"""


def test_text_reads_back_as_the_same_program() -> None:
    module = parse_module(PROGRAM, CompilerContext())
    verify(module)
    text = to_text(module)
    assert to_text(parse_module(text, CompilerContext())) == text
    assert 'counted ["4*batch"]' in text


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('counted ["4*batch"]', 'counted ["4*batch", "3", "4"]', "3 of 2 symbols cannot be counted"),
        ('counted ["4*batch"]', 'counted ["4*n:0..64"]', "which is counted too"),
        ('plan.bind %c {extent = "n:0..64"}', 'plan.bind %c {extent = "batch"}', "has not been counted yet"),
        ('extent = "n:0..64"', 'extent = "2*n:0..64"', "has not been counted yet"),
        ("units [1]", 'units ["n:0..64"]', "depends on n:0..64, which has not been counted yet"),
        ("(%x : memref<?x4xf32", "(%s : memref<1xi64>, %x : memref<?x4xf32", "reads sizes that have not been counted"),
        ("plan.bind %c", "plan.bind %x", "expected memref<1xi64>|reads one i64|does not match|type"),
    ],
)
def test_unsound_programs_are_refused(old: str, new: str, rule: str) -> None:
    assert old in PROGRAM
    with pytest.raises((Violation, IRError), match=rule):
        verify(parse_module(PROGRAM.replace(old, new, 1), CompilerContext()))


N = symbol("n", 0, 64)
COUNT = BufferRange(Space.BUFFER, 0, 8, 1)
FOUND = BufferRange(Space.BUFFER, 0, 8 * N, 0)
FIND = Command(CommandKind.DISPATCH, (BufferRange(Space.INPUT, 0, 16),), (FOUND, COUNT))
BIND = Command(CommandKind.BIND, (COUNT,), (), units=N)
SIZES, Y = BufferRange(Space.SIZES, 0, 8), BufferRange(Space.OUTPUT, 0, 4 * N)
LAST = Command(CommandKind.DISPATCH, (FOUND, SIZES), (Y,), units=N)
PLAN = Plan(
    [TensorInfo("x", "f32", (4,))],
    [TensorInfo("y", "f32", (N,))],
    ["kernel"],
    [FIND, BIND, LAST],
    arena_bytes=128,
    symbols=(Symbol("n", 0, 64),),
    buffers=(ArenaBuffer(32, 0, 2), ArenaBuffer(8, 0, 1)),
    sizes=(0,),
    counted=(4,),
)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"commands": [FIND, LAST]}, "depends on what has not been counted"),
        ({"commands": [FIND]}, "nothing counts n"),
        ({"commands": [replace(FIND, units=N), BIND, LAST]}, "depends on what has not been counted"),
        ({"commands": [FIND, replace(BIND, reads=(FOUND,)), LAST]}, "a bind reads one i64"),
        ({"buffers": (ArenaBuffer(8 * N, 0, 2), ArenaBuffer(8, 0, 1))}, "before anything is counted"),
        ({"inputs": [TensorInfo("x", "f32", (4 * N,))]}, "before anything is counted"),
        ({"counted": (4, 4)}, "2 of 1 symbols cannot be counted"),
        ({"counted": (N,)}, "before anything is counted"),
    ],
)
def test_unsound_plans_are_refused(changes: dict[str, object], rule: str) -> None:
    PLAN.validate()
    with pytest.raises(PlanError, match=rule):
        replace(PLAN, **changes).validate()  # type: ignore[arg-type]


def test_numbers_of_more_than_64_bits_are_refused() -> None:
    """The runtime computes sizes in 64 bits; what overflows with the sizes of a run it refuses itself."""
    n = symbol("n")
    assert program_of(n * (2**63 - 1) - 2**63, {"n": 0})[0] == (TermKind.CONSTANT, 2**63 - 1)
    for extent in (n * 2**63, n + 2**64, n - 2**63 - 1):
        with pytest.raises(PlanError, match="more than 64 bits"):
            program_of(extent, {"n": 0})
