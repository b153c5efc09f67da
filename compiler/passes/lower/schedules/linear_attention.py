"""Linear attention: the state of one head in scratch, read and written once or twice per step.

In: ``graph.linear_attention`` with its operands as views. Out: a kernel whose unit is one head of keys of one batch
row. The one idea: columns of the state do not meet, so a unit takes a strip of them at a time through the whole
sequence, in a scratch small enough for the first level of cache; one pass over its rows decays it and reads what it
holds for the key, a second adds the update and gathers the results of all heads of queries that share the state.
"""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.extents import tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane, linearise
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

HEADS_AT_ONCE = 4  # heads of queries whose sums are in registers together


@schedule("linear_attention")
def lower_linear_attention(k: KernelLowering) -> None:
    """Units: batch x heads of keys."""
    LinearAttention(k).emit()


class LinearAttention:
    """One op being lowered. Names as in the op: T steps, G states per batch row, D rows and E columns of a state."""

    def __init__(self, k: KernelLowering) -> None:
        self.k: KernelLowering = k
        self.op: Any = k.root("graph.linear_attention")
        self.q, self.keys, self.v, self.initial = self.op.operands[:4]
        self.gate: SSAValue | None = self.op.operand("gate")
        self.beta: SSAValue | None = self.op.operand("beta")
        self.batch, self.steps, self.heads, self.depth = k.e.shape(self.q)
        *_, self.shared, self.columns = k.e.shape(self.v)
        self.register = register_type(element_of(self.q))
        self.width = tile_width(self.columns, (4 if k.machine.vector_registers >= 32 else 2) * k.machine.lanes)

    def emit(self) -> None:
        k = self.k
        self.state = k.b.alloc(self.depth * self.width, self.register)
        self.scale: float | SSAValue = self.op.scale
        if self.op.by_width:
            self.scale = k.b.mul(k.b.unary("sqrt", k.reciprocal(self.depth, self.register)), self.op.scale)
        cost = typical(self.op.cost().flops) / max(typical(self.batch * self.shared), 1) / (k.machine.peak_f32 / 3)
        with k.parallel((self.batch, self.shared), cost) as (batch, head):
            self.at = (batch, head)
            k.strips(self.columns, self.width, self._strip)

    def _strip(self, columns: Strip) -> None:
        """All steps for a strip of columns of one state."""
        k, width = self.k, columns.width
        column = columns.start + lane(0, width)
        with k.e.lanes((width,), columns.limits(0)):
            with k.loop(0, self.depth) as row:
                value = k.e.value(self.initial, (*self.at, row, column))
                k.e.store(Typed(value.value, self.register), self.state, self._slot(row, width))
            with k.loop(0, self.steps) as step:
                self._step(step, column, width)
            with k.loop(0, self.depth) as row:
                last = k.e.load_scratch(self.state, self._slot(row, width))
                self._write(1, (*self.at, row, column), last, element_of(self.initial))

    def _slot(self, row: Expr, width: int) -> Expr:
        return row * self.width + lane(0, width)

    def _step(self, step: Expr, column: Expr, width: int) -> None:
        k, b = self.k, self.k.b
        here = (self.at[0], step, self.at[1])
        update = k.e.value(self.v, (*here, column)).value
        if self.gate is not None or self.beta is not None:
            seen = self._decay(here, width)
            if self.beta is not None:
                update = b.mul(k.e.value(self.beta, here).value, b.sub(update, seen))
        group = self.heads // self.shared
        for first in range(0, group, HEADS_AT_ONCE):
            count = min(HEADS_AT_ONCE, group - first)
            heads = [k.settle(self.at[1] * group + (first + offset)) for offset in range(count)]
            sums = self._read(here, heads, update if first == 0 else None, width)
            for head, total in zip(heads, sums, strict=True):
                self._write(0, (here[0], step, head, column), b.mul(total, self.scale), element_of(self.q))

    def _decay(self, here: tuple[Expr, ...], width: int) -> SSAValue:
        """Multiply the state's rows with the gate; what the state then holds for the key."""
        k, b = self.k, self.k.b
        zero = b.splat(0, (width,), self.register)
        with b.loop(0, self.depth, 1, [zero]) as loop:
            row = iv(loop.index, 0, self.depth - 1)
            held = k.e.load_scratch(self.state, self._slot(row, width))
            if self.gate is not None:
                at = row if k.e.shape(self.gate)[3] != 1 else Expr()
                held = b.mul(held, k.e.value(self.gate, (*here, at)).value)
                k.e.store(Typed(held, self.register), self.state, self._slot(row, width))
            loop.yield_(b.fma(k.e.value(self.keys, (*here, row)).value, held, loop.carried[0]))
        return loop.results[0]

    def _read(
        self, here: tuple[Expr, ...], heads: list[Expr], update: SSAValue | None, width: int
    ) -> tuple[SSAValue, ...]:
        """The state's product with these heads' queries, once ``update`` (if given) has been added to it."""
        k, b = self.k, self.k.b
        zero = b.splat(0, (width,), self.register)
        with b.loop(0, self.depth, 1, [zero] * len(heads)) as loop:
            row = iv(loop.index, 0, self.depth - 1)
            held = k.e.load_scratch(self.state, self._slot(row, width))
            if update is not None:
                held = b.fma(k.e.value(self.keys, (*here, row)).value, update, held)
                k.e.store(Typed(held, self.register), self.state, self._slot(row, width))
            queries = [k.e.value(self.q, (*here[:2], head, row)).value for head in heads]
            loop.yield_(*(b.fma(q, held, total) for q, total in zip(queries, loop.carried, strict=True)))
        return loop.results

    def _write(self, result: int, at: tuple[Expr, ...], value: SSAValue, element: Any) -> None:
        """Store a strip of result ``result`` if the dispatch yields it."""
        k, target_value = self.k, self.op.results[result]
        for output, target in zip(k.outputs, k.targets, strict=True):
            if output is target_value:
                k.e.store(Typed(value, element), target, linearise(at, k.e.shape(target_value)))
