"""Positions of what is not zero; numbers that are taken for sizes.

In: ``graph.non_zero`` with its prologue. Out: a kernel of one unit, which keeps the order. The one idea: the results
are rows as long as the number that is being counted, so positions are written to the first row as they are found, and
spread over all rows, now of known length, at the end.
"""

from __future__ import annotations

import math
from typing import Any

from penstock.compiler.dtypes import I1, I64, INDEX
from penstock.compiler.extents import largest
from penstock.compiler.passes.lower.affine import Expr, data, delinearise, iv
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule


@schedule("counting")
def lower_counting(k: KernelLowering) -> None:
    """One unit: each position depends on how many there are before it."""
    op: Any = k.root("graph.non_zero")
    x = op.operands[0]
    extents = k.e.shape(x)
    total = math.prod(extents)
    places, number = k.targets
    with k.parallel((1,), k.elementwise_cost(total) * 16):
        count = k.b.constant(0, INDEX)
        if total != 0:
            with k.b.loop(0, total, 1, [count]) as loop:
                (found,) = loop.carried
                with k.e.lanes(()):
                    value = k.e.value(x, delinearise(iv(loop.index, 0, largest(total - 1, 0)), extents))
                # Written in any case: there is room, for fewer have been found than were looked at.
                k.b.store(k.b.cast(loop.index, I64), places, found)
                one, zero = k.b.constant(1, INDEX), k.b.constant(0, INDEX)
                loop.yield_(k.b.add(found, k.b.select(k.e.scalars.cast(value, I1).value, one, zero)))
            (count,) = loop.results
        k.b.store(k.b.cast(count, I64), number, 0)
        if len(extents) > 1 and total != 0:
            with k.b.loop(0, count) as loop:
                position = k.b.cast(k.b.load(places, loop.index), INDEX)
                coordinates = delinearise(data(position, 0, largest(total - 1, 0)), extents)
                for axis, coordinate in enumerate(coordinates):
                    row = k.b.iadd(k.b.imul(count, axis), loop.index)
                    k.b.store(k.b.cast(k.b.index(k.e.scalar(coordinate)), I64), places, row)


@schedule("measuring")
def lower_measuring(k: KernelLowering) -> None:
    """One number, stored as it is: what it may be is checked by the bind that reads it."""
    op: Any = k.root("graph.measure")
    (number,) = k.targets
    with k.parallel((1,), k.elementwise_cost(1)), k.e.lanes(()):
        value = k.e.value(op.operands[0], (Expr(0),))
        k.b.store(k.e.scalars.cast(value, I64).value, number, 0)
