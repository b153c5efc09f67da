"""Determinants: elimination in scratch memory, a unit per matrix.

In: ``graph.det``. Out: a kernel. The one idea: rows are tiles, so elimination is multiply-adds of whole rows; what
stands left of the pivot is worked on too and never looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.passes.lower.affine import Expr, lane
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type


@schedule("determinant")
def lower_determinant(k: KernelLowering) -> None:
    """Copy, then column by column: the greatest pivot, rows exchanged, rows below reduced."""
    op = k.root("graph.det")
    *outer, count, _ = k.e.shape(op.operands[0])
    kind = element_of(op.out)
    register = register_type(compute_dtype(kind))
    with k.parallel(tuple(outer), k.elementwise_cost(max(count, 1) ** 3)) as at:
        one = k.b.constant(1, register)
        total = one
        if count:
            matrix = Matrix(k, op, at, count, register)
            with k.b.loop(0, count, 1, [one]) as loop:
                loop.yield_(k.b.mul(loop.carried[0], matrix.eliminate(loop.index)))
            total = loop.results[0]
        with k.e.lanes(()):
            k.finish(op.out, tuple(at), Typed(k.e.scalars.rounded(total, kind), kind))


class Matrix:
    """One matrix in scratch memory."""

    def __init__(self, k: KernelLowering, op: Any, at: tuple[Expr, ...], count: int, register: Any) -> None:
        self.k, self.count, self.register = k, count, register
        self.scratch = k.b.alloc(count * count, register)
        self.width = min(count, 4 * k.machine.lanes)
        with k.loop(0, count) as row:
            start = k.e.scalar(row * count)

            def copy(offset: Expr, lanes: int) -> None:
                with k.e.lanes((lanes,)):
                    value = k.e.value(op.operands[0], (*at, row, offset + lane(0, lanes))).value
                    self._store(start, offset, k.b.broadcast(value, (lanes,)))

            k.strips(count, self.width, copy)

    def eliminate(self, column: SSAValue) -> SSAValue:
        """Clear ``column`` below its pivot, which is returned: negative for an exchange of rows."""
        b = self.k.b
        chosen = self._greatest(column)
        here, there = b.imul(column, self.count), b.imul(chosen, self.count)
        moved = b.compare("ne", chosen, column)
        with b.when(moved):
            self._rows(lambda offset, lanes: self._exchange(here, there, offset, lanes))
        pivot = b.load(self.scratch, b.iadd(here, column))
        with b.loop(b.iadd(column, 1), self.count) as below:
            row = b.imul(below.index, self.count)
            zero = b.compare("eq", pivot, 0.0)
            factor = b.select(zero, 0.0, b.div(b.load(self.scratch, b.iadd(row, column)), pivot))

            def reduce(offset: Expr, lanes: int) -> None:
                upper, lower = self._load(here, offset, lanes), self._load(row, offset, lanes)
                self._store(row, offset, b.sub(lower, b.mul(upper, factor)))

            self._rows(reduce)
        return b.select(moved, b.unary("neg", pivot), pivot)

    def _greatest(self, column: SSAValue) -> SSAValue:
        """The row from ``column`` on with the greatest magnitude in that column."""
        b = self.k.b
        first = b.unary("abs", b.load(self.scratch, b.iadd(b.imul(column, self.count), column)))
        with b.loop(b.iadd(column, 1), self.count, 1, [column, first]) as loop:
            size = b.unary("abs", b.load(self.scratch, b.iadd(b.imul(loop.index, self.count), column)))
            better = b.compare("gt", size, loop.carried[1])
            loop.yield_(b.select(better, loop.index, loop.carried[0]), b.select(better, size, loop.carried[1]))
        return loop.results[0]

    def _exchange(self, here: Index, there: Index, offset: Expr, lanes: int) -> None:
        upper, lower = self._load(here, offset, lanes), self._load(there, offset, lanes)
        self._store(here, offset, lower)
        self._store(there, offset, upper)

    def _rows(self, body: Callable[[Expr, int], None]) -> None:
        self.k.strips(self.count, self.width, body)

    def _load(self, row: Index, offset: Expr, lanes: int) -> SSAValue:
        return self.k.b.load(self.scratch, self.k.b.iadd(row, self.k.e.scalar(offset)), (lanes,), (1,))

    def _store(self, row: Index, offset: Expr, value: SSAValue) -> None:
        self.k.b.store(value, self.scratch, self.k.b.iadd(row, self.k.e.scalar(offset)), (1,))
