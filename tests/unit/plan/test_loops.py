"""Loops in plans: what the verifier and the plan's own checks refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.compiler.artifact.plan import (
    BufferRange,
    Command,
    CommandKind,
    Move,
    Order,
    Plan,
    PlanError,
    Space,
    TensorInfo,
)
from penstock.compiler.artifact.plan_format import Variant, decode, encode
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.plan.memory import lifetimes
from penstock.compiler.dialects.plan.needs import needs
from penstock.compiler.dialects.plan.program import Program
from penstock.compiler.irtext import parse_module
from penstock.compiler.verification import Violation, verify

PROGRAM = """builtin.module {
  plan.program @main levels ["x86-64-v3"] arena 256 {
    %n = plan.input {index = 0, called = "n"} : () -> memref<i64> loc("n")
    %go = plan.input {index = 1, called = "go"} : () -> memref<i1> loc("go")
    %x = plan.input {index = 2, called = "x"} : () -> memref<5x4xf32> loc("x")
    %y = plan.output {index = 0, called = "y"} : () -> memref<4xf32> loc("y")
    %s = plan.buffer {offset = 0, lives = [0, 4]} : () -> memref<2x4xf32> loc("l")
    %first = plan.view %s : (memref<2x4xf32>) -> memref<4xf32> loc("l")
    plan.copy %y0, %first : (memref<4xf32>, memref<4xf32>) -> () loc("l")
    %now = plan.part %s {loop = 0, step = 16, turns = 2, order = "now"} : (memref<2x4xf32>) -> memref<4xf32> loc("l")
    %to = plan.part %s {loop = 0, step = 16, turns = 2, order = "next"} : (memref<2x4xf32>) -> memref<4xf32> loc("l")
    %i = plan.buffer {offset = 64, lives = [1, 1]} : () -> memref<i64> loc("l")
    %r = plan.buffer {offset = 64, lives = [3, 3]} : () -> memref<1xi64> loc("l")
    plan.loop %n, %go, %i {number = 0, limit = 9} : (memref<i64>, memref<i1>, memref<i64>) -> () loc("l")
    %row = plan.part %x {loop = 0, step = 16, turns = 5} : (memref<5x4xf32>) -> memref<4xf32> loc("l")
    plan.dispatch @a(%now : memref<4xf32>, %row : memref<4xf32>) -> (%to : memref<4xf32>)
        units [1] grain [1] flops 4 bytes 48 loc("a")
    plan.next %go, %r {number = 0} : (memref<i1>, memref<1xi64>) -> () loc("l")
    plan.copy %now, %y : (memref<4xf32>, memref<4xf32>) -> () loc("l")
  }
}
""".replace("%y0", "%h").replace(
    "    %y = plan", '    %h = plan.input {index = 3, called = "h"} : () -> memref<4xf32> loc("h")\n    %y = plan'
)  # fmt: skip


def program(text: str) -> Program:
    """The verified program of a text."""
    module = parse_module(text, CompilerContext(), "loops.mlir")
    verify(module)
    (found,) = module.body.block.ops
    assert isinstance(found, Program)
    return found


def test_what_moves_lives_as_long_as_the_loop_and_a_loop_is_needed_as_a_whole() -> None:
    made = program(PROGRAM)
    assert sorted(lifetimes(made).values()) == [(0, 4), (1, 1), (3, 3)]
    assert needs(made) == (frozenset(range(5)),)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("turns = 5}", "turns = 6}", "6 parts of 16 bytes leave their operand"),
        ('turns = 2, order = "now"', 'turns = 1, order = "now"', "from one of two places to the other, not of 1"),
        ("plan.next %go, %r {number = 0}", "plan.next %go, %r {number = 1}", "command 3 ends no loop that has begun"),
        ("lives = [0, 4]", "lives = [0, 2]", "says that it lives"),
        ("plan.copy %now, %y", "plan.copy %to, %y", "uses a part that the loop 0 does not give it"),
        ("limit = 9", "limit = -9", "a limit not negative"),
        ("plan.loop %n, %go, %i", "plan.loop %n, %go, %n", "which is read-only"),
    ],
)
def test_unsound_programs_are_refused(old: str, new: str, rule: str) -> None:
    assert old in PROGRAM
    with pytest.raises(Violation, match=rule):
        program(PROGRAM.replace(old, new))


TRIPS, GO, NUMBER = BufferRange(Space.INPUT, 0, 8), BufferRange(Space.INPUT, 0, 1, 1), BufferRange(Space.ARENA, 0, 8)
ROW = BufferRange(Space.INPUT, 0, 16, 2, (Move(0, Order.BACKWARD, 16, 5),))
OUT = BufferRange(Space.OUTPUT, 0, 16, 0, (Move(0, Order.FORWARD, 16, 5),))
COMMANDS = (
    Command(CommandKind.LOOP, (TRIPS, GO), (NUMBER,), kernel=2, units=9),
    Command(CommandKind.DISPATCH, (ROW,), (OUT,)),
    Command(CommandKind.NEXT, (GO,), (NUMBER,), kernel=0),
)
PLAN = Plan(
    [TensorInfo("n", "i64", ()), TensorInfo("go", "i1", ()), TensorInfo("x", "f32", (5, 4))],
    [TensorInfo("y", "f32", (5, 4))],
    ["kernel"],
    COMMANDS,
    arena_bytes=64,
)


def test_moves_survive_the_file() -> None:
    (variant,) = decode(encode({"x86-64-v3": Variant(PLAN, 64, (0,))})).values()
    assert tuple(variant.plan.commands) == COMMANDS


@pytest.mark.parametrize(
    ("commands", "rule"),
    [
        (COMMANDS[:2], "has no end"),
        (COMMANDS[1:], "moves with no loop"),
        ((*COMMANDS, COMMANDS[2]), "ends no loop"),
        ((COMMANDS[0], replace(COMMANDS[1], reads=(replace(ROW, offset=16),)), COMMANDS[2]), "does not lie inside"),
        ((replace(COMMANDS[0], reads=(GO, GO)), *COMMANDS[1:]), "reads its trip count"),
    ],
)
def test_unsound_plans_are_refused(commands: tuple[Command, ...], rule: str) -> None:
    with pytest.raises(PlanError, match=rule):
        replace(PLAN, commands=commands).validate()
