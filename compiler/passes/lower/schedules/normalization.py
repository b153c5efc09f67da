"""Norms and softmax: one kernel that reads a row, reduces it, and writes it, while it is in cache.

In: ``graph.normalize``, ``graph.softmax`` or ``graph.log_softmax`` with prologue (a residual add, say) and epilogue
(scale, bias). Out: a kernel with a unit per row. The one idea: a computed prologue, or the exponentials, are staged in
scratch memory of one row, so nothing is computed twice and the tensor is read once from memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xdsl.ir import BlockArgument, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.passes.lower.evaluator import Coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule
from penstock.compiler.passes.lower.reducing import Reducer
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

ROOTS = ("graph.normalize", "graph.softmax", "graph.log_softmax")


@schedule("normalization")
def lower_normalization(k: KernelLowering) -> None:
    """One unit per row (or strip of columns when the normalised axes are not innermost)."""
    op = k.root(*ROOTS)
    row = Row(k, op)
    emit = {"graph.normalize": row.normalize, "graph.softmax": row.softmax, "graph.log_softmax": row.log_softmax}
    reducer = row.reducer
    cost = k.elementwise_cost(reducer.count * (reducer.width if reducer.along else 1)) * 4
    reducer.rows(cost, emit[op.name])


class Row:
    """One unit of a norm or softmax."""

    def __init__(self, k: KernelLowering, op: Any) -> None:
        self.k, self.op = k, op
        self.x: SSAValue = op.operands[0]
        axes = op.axes if op.name == "graph.normalize" else (op.axis,)
        self.reducer = Reducer(k, k.e.shape(self.x), axes)
        self.element = element_of(self.x)
        self.register = register_type(self.element)
        self.staged: SSAValue | None = None

    def number(self, value: float) -> SSAValue:
        return self.k.b.constant(value, self.register)

    # Reading the row, once or from scratch ---------------------------------------------------------------------------

    def _first(self, at: Coordinates) -> SSAValue:
        """The row's tile on the first pass; staged when it is computed rather than loaded."""
        k = self.k
        value = k.e.value(self.x, at).value
        if not isinstance(self.x, BlockArgument):
            self._stage(at, value)
        return value

    def _stage(self, at: Coordinates, value: SSAValue) -> None:
        if self.staged is None:
            self.staged = self.reducer.scratch(self.register)
        self.k.e.store(Typed(value, self.register), self.staged, self.reducer.slot(at))

    def _again(self, at: Coordinates) -> SSAValue:
        """The row's tile on a later pass."""
        return self._read(self.staged, at)

    def _read(self, staged: SSAValue | None, at: Coordinates) -> SSAValue:
        if staged is None:
            return self.k.e.value(self.x, at).value
        return self.k.e.load_scratch(staged, self.reducer.slot(at))

    def _write(self, at: Coordinates, compute: Callable[[Coordinates], SSAValue]) -> None:
        def tile(here: Coordinates) -> None:
            if not isinstance(self.x, BlockArgument) and self.op.name == "graph.normalize":
                self.k.e.define(self.x, here, Typed(self._again(here), self.element))
            self.k.finish(self.op.out, here, Typed(compute(here), self.element))

        self.reducer.each(at, tile)

    # The three roots -------------------------------------------------------------------------------------------------

    def normalize(self, at: Coordinates) -> None:
        """Mean, mean of squared differences, then (x - mean) / sqrt(variance + epsilon)."""
        b, count = self.k.b, self.k.reciprocal(self.reducer.count, self.register)
        zero = self.number(0.0)
        self.staged = None
        mean: SSAValue | None = None
        if self.op.center:
            (total,) = self.reducer.reduce(at, [("add", zero)], lambda here: [self._first(here)])
            mean = b.mul(total, count)

        def square(here: Coordinates) -> list[SSAValue]:
            value = self._first(here) if mean is None else b.sub(self._again(here), mean)
            return [b.mul(value, value)]

        (squares,) = self.reducer.reduce(at, [("add", zero)], square)
        deviation = b.unary("sqrt", b.add(b.mul(squares, count), self.op.epsilon))
        scale = b.div(1.0, deviation)

        def result(here: Coordinates) -> SSAValue:
            value = self._again(here)
            return b.mul(value if mean is None else b.sub(value, mean), scale)

        self._write(at, result)

    def _peak(self, at: Coordinates) -> SSAValue:
        """The row's maximum (NaN is left to the sum, which it makes NaN)."""
        least = self.number(-math.inf)
        (peak,) = self.reducer.reduce(at, [("max_fast", least)], lambda here: [self._first(here)])
        return peak

    def softmax(self, at: Coordinates) -> None:
        """exp(x - max) / sum, the exponentials staged."""
        b = self.k.b
        self.staged = None
        peak = self._peak(at)
        source = self.staged

        def exponential(here: Coordinates) -> list[SSAValue]:
            value = b.unary("exp", b.sub(self._read(source, here), peak))
            self._stage(here, value)
            return [value]

        (total,) = self.reducer.reduce(at, [("add", self.number(0.0))], exponential)
        scale = b.div(1.0, total)
        self._write(at, lambda here: b.mul(self._again(here), scale))

    def log_softmax(self, at: Coordinates) -> None:
        """x - max - log(sum of exp(x - max))."""
        b = self.k.b
        self.staged = None
        peak = self._peak(at)
        (total,) = self.reducer.reduce(
            at, [("add", self.number(0.0))], lambda here: [b.unary("exp", b.sub(self._again(here), peak))]
        )
        logarithm = b.unary("log", total)
        self._write(at, lambda here: b.sub(b.sub(self._again(here), peak), logarithm))
