"""Give every buffer its place in the arena and every weight its place in the weights.

Before: buffers and weights without addresses. After: each has an offset (a multiple of 64 bytes); buffers that are
never alive at the same time may share bytes; ``arena`` is the size of it all. A program with symbols gets the
lifetimes of its buffers only: the runtime places them in the same way when it knows the sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.plan.base import memory_bytes
from penstock.compiler.dialects.plan.memory import aligned, arena_without_reuse, lifetimes
from penstock.compiler.dialects.plan.program import Buffer, Program, Weight
from penstock.compiler.passes.plan.memory import Lifetime, place


@dataclass(frozen=True)
class AssignMemory(ModulePass):
    """See the module."""

    name: ClassVar[str] = "assign-memory"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in op.body.block.ops:
            if isinstance(program, Program):
                statistics = cast(CompilerContext, ctx).statistics
                statistics["bytes of weights"] += _place_weights(program)
                if program.symbols:
                    statistics["buffers placed at run time"] += _leave_buffers(program)
                    continue
                _place_buffers(program)
                statistics["bytes of arena"] += program.arena
                statistics["bytes of buffers without reuse"] += arena_without_reuse(program)


def _place_weights(program: Program) -> int:
    """One after the other, in order of appearance; returns the size of all."""
    end = 0
    for weight in program.body.ops:
        if isinstance(weight, Weight):
            weight.offset = aligned(end)
            end = weight.offset + memory_bytes(weight.out)
    return end


def _leave_buffers(program: Program) -> int:
    """Lifetimes, and the sum of all sizes as the arena's bound; returns how many buffers there are."""
    alive = lifetimes(program)
    buffers = [op for op in program.body.ops if isinstance(op, Buffer)]
    for buffer in buffers:
        buffer.lives = alive.get(buffer, (0, 0))
    program.arena = arena_without_reuse(program)
    return len(buffers)


def _place_buffers(program: Program) -> None:
    alive = lifetimes(program)
    buffers = [op for op in program.body.ops if isinstance(op, Buffer)]
    spans = [alive.get(buffer, (0, 0)) for buffer in buffers]
    offsets, program.arena = place(
        [Lifetime(memory_bytes(b.out), *span) for b, span in zip(buffers, spans, strict=True)]
    )
    for buffer, offset, span in zip(buffers, offsets, spans, strict=True):
        buffer.offset, buffer.lives = offset, span
