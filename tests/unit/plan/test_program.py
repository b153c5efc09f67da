"""The plan's verifier refuses every unsound address and order; text reads back as the same program."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.compiler.artifact.plan import ArenaBuffer, Space
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.plan.program import Program
from penstock.compiler.errors import IRError
from penstock.compiler.extent_text import parse
from penstock.compiler.extents import Symbol
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.passes.package.binary_plan import plan_for
from penstock.compiler.passes.plan.assign_memory import AssignMemory
from penstock.compiler.verification import Violation, verify

SOUND = """
plan.program @main levels ["x86-64-v4", "x86-64-v3"] arena 128 {
  %x = plan.input {index = 0, called = "x"} : () -> memref<16xf32> loc("x")
  %y = plan.output {index = 0, called = "y"} : () -> memref<16xf32> loc("y")
  %w = plan.weight {key = "w#1", offset = 64} : () -> memref<3xi64> loc("w")
  %a = plan.buffer {offset = 0, lives = [0, 1]} : () -> memref<16xf32> loc("a")
  plan.dispatch @first(%x : memref<16xf32>) -> (%a : memref<16xf32>) units [4, 8] grain [2, 1] flops 7 bytes 9 loc("a")
  %b = plan.buffer {offset = 64, lives = [1, 2]} : () -> memref<16xf32> loc("b")
  plan.dispatch @second(%a : memref<16xf32>) -> (%b : memref<16xf32>) units [1, 1] grain [1, 1] flops 0 bytes 0 loc("b")
  %v = plan.view %b {offset = 32} : (memref<16xf32>) -> memref<2x4xf32> loc("v")
  plan.dispatch @last(%v : memref<2x4xf32>, %w : memref<3xi64>) -> (%y : memref<16xf32>)
      units [1, 1] grain [1, 1] flops 0 bytes 0 loc("y")
}
"""


def test_text_reads_back_as_the_same_program() -> None:
    """Printing, parsing and printing again gives the same text, with every address."""
    module = parse_module(SOUND, CompilerContext())
    verify(module)
    text = to_text(module)
    assert to_text(parse_module(text, CompilerContext())) == text
    assert "units [4, 8] grain [2, 1] flops 7 bytes 9" in text


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("offset = 64, lives", "offset = 0, lives", "overlap while both are alive"),
        ("offset = 64, lives", "offset = 32, lives", "does not fit an arena"),
        ("offset = 64, lives", "offset = 128, lives", "does not fit an arena"),
        ("lives = [0, 1]", "lives = [0, 0]", "says that it lives"),
        ("-> (%y : memref<16xf32>)", "-> (%b : memref<16xf32>)", "nothing writes the output y"),
        ("-> (%y : memref<16xf32>)", "-> (%x : memref<16xf32>)", "plan.input, which is read-only"),
        ("@first(%x : memref<16xf32>)", "@first(%y : memref<16xf32>)", "that nothing has written"),
        ("offset = 32}", "offset = 36}", "leaves its operand"),
        ("units [4, 8] grain [2, 1]", "units [4] grain [2]", "units for 1 levels"),
        ("grain [2, 1]", "grain [2, 0]", "a grain \\(positive\\)"),
        ("offset = 64} : () -> memref<3xi64>", "offset = 60} : () -> memref<3xi64>", "misaligned"),
        ('index = 0, called = "y"', 'index = 1, called = "y"', "indices"),
    ],
)
def test_unsound_programs_are_refused(old: str, new: str, rule: str) -> None:
    """Each change breaks one rule, and the message names it."""
    assert old in SOUND
    module = parse_module(SOUND.replace(old, new), CompilerContext())
    with pytest.raises(Violation, match=rule):
        verify(module)


def test_the_binary_plan_has_the_numbers_of_one_level() -> None:
    """Views are resolved to addresses, and units and grain are those of the level."""
    (program,) = parse_module(SOUND, CompilerContext()).body.block.ops
    assert isinstance(program, Program)
    plan = plan_for(program, "x86-64-v3", ["last", "first", "second"], 256)
    plan.validate()
    first, _, last = plan.commands
    assert (first.kernel, first.units, first.grain, first.flops, first.source) == (1, 8, 1, 7, "a")
    view, weight = last.reads
    assert (view.space, view.offset, view.bytes) == (Space.ARENA, 96, 32)
    assert (weight.space, weight.offset, weight.bytes) == (Space.WEIGHTS, 64, 24)
    assert last.writes[0].space == Space.OUTPUT
    assert plan.scratch_bytes_per_thread == 256


SYMBOLIC = """
plan.program @main levels ["x86-64-v4", "x86-64-v3"] symbols ["seq", "batch:1..8"] equal ["2*seq = batch:1..8 + 7"] arena "16*batch:1..8*seq + 64" {
  %x = plan.input {index = 0, called = "x"} : () -> memref<?x?xf32, ["seq", "batch:1..8"]> loc("x")
  %y = plan.output {index = 0, called = "y"} : () -> memref<?xf32, ["seq"]> loc("y")
  %s = plan.sizes {symbols = ["seq"]} : () -> memref<1xi64> loc("sizes")
  %t = plan.sizes {symbols = ["batch", "seq"]} : () -> memref<2xi64> loc("sizes")
  %a = plan.buffer {lives = [0, 1]} : () -> memref<?x?x4xf32, ["seq", "batch:1..8"]> loc("a")
  plan.dispatch @first(%x : memref<?x?xf32, ["seq", "batch:1..8"]>, %t : memref<2xi64>) -> (%a : memref<?x?x4xf32, ["seq", "batch:1..8"]>)
      units ["batch:1..8", "seq floordiv 2"] grain [2, 1] flops "7*seq" bytes 9 loc("a")
  %v = plan.view %a {offset = "16*batch:1..8*seq - 4*seq"} : (memref<?x?x4xf32, ["seq", "batch:1..8"]>) -> memref<?xf32, ["seq"]> loc("v")
  plan.dispatch @last(%v : memref<?xf32, ["seq"]>, %s : memref<1xi64>) -> (%y : memref<?xf32, ["seq"]>) units ["seq", 1] grain [1, 1] flops 0 bytes 0 loc("y")
}
"""  # noqa: E501  (IR text)


def test_symbolic_text_reads_back_as_the_same_program() -> None:
    """Extents in every place that may have one."""
    module = parse_module(SYMBOLIC, CompilerContext())
    verify(module)
    text = to_text(module)
    assert to_text(parse_module(text, CompilerContext())) == text
    for words in ('equal ["2*seq = batch:1..8 + 7"]', 'units ["batch:1..8", "seq floordiv 2"]', 'flops "7*seq"'):
        assert words in text


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('symbols ["seq", "batch:1..8"]', 'symbols ["batch:1..8"]', "does not list the symbol seq"),
        ('symbols ["seq", "batch:1..8"]', 'symbols ["seq", "batch"]', "does not list the symbol batch:1..8"),
        ('symbols ["seq", "batch:1..8"]', 'symbols ["seq", "batch:1..8", "seq:1..3"]', "have one name"),
        ('symbols ["seq", "batch:1..8"]', 'symbols ["seq", "batch:1..8 + 1"]', "is no symbol"),
        ('["2*seq = batch:1..8 + 7"]', '["2*seq"]', "does not say which extents are equal"),
        ('["2*seq = batch:1..8 + 7"]', '["2*seq = n"]', "does not list the symbol n"),
        ("{lives = [0, 1]}", "{lives = [0, 0]}", "says that it lives"),
        ("{lives = [0, 1]}", "{offset = 0, lives = [0, 1]}", "placed when it runs"),
        ('offset = "16*batch:1..8*seq - 4*seq"', 'offset = "16*batch:1..8*seq - 3*seq"', "leaves its operand"),
        ('offset = "16*batch:1..8*seq - 4*seq"', 'offset = "-4*seq"', "leaves its operand"),
        ('units ["seq", 1]', 'units ["-1*seq", 1]', "units \\(not negative\\)"),
        ('{symbols = ["seq"]}', '{symbols = ["n"]}', "does not have all of the symbols n"),
        ('{symbols = ["seq"]}', '{symbols = ["seq", "batch"]}', "are as many i64"),
        ('memref<?x?xf32, ["seq", "batch:1..8"]>', 'memref<?x?xf32, ["seq"]>', "names each of its"),
    ],
)
def test_unsound_symbolic_programs_are_refused(old: str, new: str, rule: str) -> None:
    """What is wrong for all sizes is found when the model is compiled."""
    assert old in SYMBOLIC
    with pytest.raises((Violation, IRError), match=rule):
        verify(parse_module(SYMBOLIC.replace(old, new), CompilerContext()))


def test_a_symbolic_binary_plan_lists_symbols_sizes_and_buffers() -> None:
    """Buffers by number with their lifetimes; sizes one place after the other."""
    (program,) = parse_module(SYMBOLIC, CompilerContext()).body.block.ops
    assert isinstance(program, Program)
    plan = plan_for(program, "x86-64-v3", ["last", "first"], parse("8*seq"))
    plan.validate()
    assert plan.symbols == (Symbol("seq"), Symbol("batch", 1, 8))
    assert plan.equal == ((parse("2*seq"), parse("batch:1..8 + 7")),)
    assert plan.sizes == (0, 1, 0)
    assert plan.buffers == (ArenaBuffer(parse("16*batch:1..8*seq"), 0, 1),)
    first, last = plan.commands
    assert (first.units, first.flops) == (parse("seq floordiv 2"), parse("7*seq"))
    assert [(r.space, r.offset, r.bytes) for r in (*first.reads[1:], *last.reads[1:])] == [
        (Space.SIZES, 8, 16),
        (Space.SIZES, 0, 8),
    ]
    (written,), view = first.writes, last.reads[0]
    assert (written.space, written.index, written.offset) == (Space.BUFFER, 0, 0)
    assert (view.space, view.offset) == (Space.BUFFER, parse("16*batch:1..8*seq - 4*seq"))


def test_assigned_memory_is_always_sound_and_reuses() -> None:
    """Random chains with random extra readers: the verifier accepts every assignment; long chains reuse memory."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        count = int(rng.integers(1, 30))
        sizes = [int(size) for size in rng.integers(0, 500, count)]
        lines = ['%x = plan.input {index = 0, called = "x"} : () -> memref<4xf32> loc("x")']
        lines += ['%y = plan.output {index = 0, called = "y"} : () -> memref<4xf32> loc("y")']
        for number, size in enumerate(sizes):
            known = [f"%b{n} : memref<{sizes[n]}xf32>" for n in range(number)]
            picked = [known[int(n)] for n in rng.integers(0, number, 2)] if number else ["%x : memref<4xf32>"]
            read = ", ".join([*picked, *known[-1:]])
            lines.append(f'%b{number} = plan.buffer : () -> memref<{size}xf32> loc("b")')
            lines.append(
                f"plan.dispatch @k({read}) -> (%b{number} : memref<{size}xf32>) units [1] grain [1] flops 0 bytes 0"
                ' loc("b")'
            )
        read = f"%b{count - 1} : memref<{sizes[-1]}xf32>"
        lines.append(f'plan.dispatch @k({read}) -> (%y : memref<4xf32>) units [1] grain [1] flops 0 bytes 0 loc("y")')
        text = 'plan.program @main levels ["x86-64-v3"] arena 0 {\n' + "\n".join(lines) + "\n}"
        ctx = CompilerContext()
        module = parse_module(text, ctx)
        AssignMemory().apply(ctx, module)
        verify(module)
        (program,) = module.body.block.ops
        assert isinstance(program, Program)
        assert program.arena <= ctx.statistics["bytes of buffers without reuse"] + 64 * count
