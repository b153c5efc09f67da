"""Scans and selections along one axis: running sums and products, and top-k.

In: ``graph.cumulative`` or ``graph.top_k``. Out: a kernel with a unit per kept position. The one idea: a running
value is carried along the axis with lanes on another one; the k best are found by rank: an element's place is the
number of elements that come before it, counted with vectors, so the order is the stable one whatever the size.
"""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import I64, INDEX, is_float, is_unsigned
from penstock.compiler.extents import floordiv, largest, tile_width
from penstock.compiler.passes.lower.affine import Expr, iv, lane, linearise
from penstock.compiler.passes.lower.evaluator import Coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.reducing import Reducer
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type


@schedule("scan")
def lower_scan(k: KernelLowering) -> None:
    """One unit per kept position (or strip of them)."""
    op = k.root("graph.cumulative", "graph.top_k")
    if op.name == "graph.cumulative":
        _cumulative(k, op)
    else:
        _top_k(k, op)


def _cumulative(k: KernelLowering, op: Any) -> None:
    x: SSAValue = op.operands[0]
    extents, kind = k.e.shape(x), element_of(x)
    wide = [axis for axis, extent in enumerate(extents) if extent not in (0, 1)]
    reducer = Reducer(k, extents, (op.axis,), vectors=1, scalar=not wide or wide[-1] == op.axis)
    name, identity = ("add", 0) if op.kind == "sum" else ("mul", 1)
    count = extents[op.axis]

    def row(at: Coordinates) -> None:
        lanes = k.e.tile.extents
        start = k.b.constant(identity, register_type(kind))
        start = k.b.broadcast(start, lanes) if lanes else start
        with k.b.loop(0, count, 1, [start]) as loop:
            index = iv(loop.index, 0, largest(count - 1, 0))
            place = k.settle((index * -1) + (count - 1)) if op.reverse else index
            here = tuple(place if axis == op.axis else c for axis, c in enumerate(at))
            total = k.b.binary(name, loop.carried[0], k.e.value(x, here).value)
            total = k.b.broadcast(total, lanes) if lanes else total
            k.finish(op.out, here, Typed(loop.carried[0] if op.exclusive else total, kind))
            loop.yield_(total)

    reducer.rows(k.elementwise_cost(count * reducer.width), row)


def _top_k(k: KernelLowering, op: Any) -> None:
    x: SSAValue = op.operands[0]
    extents, kind = k.e.shape(x), element_of(x)
    count = extents[op.axis]
    outer = tuple(1 if axis == op.axis else extent for axis, extent in enumerate(extents))
    width = tile_width(count, 4 * k.machine.lanes)
    with k.parallel(outer, k.elementwise_cost(count * count)) as indices:

        def at(place: Expr) -> Coordinates:
            return tuple(place if axis == op.axis else c for axis, c in enumerate(indices))

        with k.loop(0, count) as element:
            with k.e.lanes(()):
                value = k.e.value(x, at(element)).value
            rank = _rank(k, op, x, at, value, element, width)
            with k.b.when(k.b.compare("lt", rank, k.b.index(op.k))), k.e.lanes(()):
                place = at(iv(rank, 0, largest(op.k - 1, 0)))
                for target, result in zip(k.targets, k.outputs, strict=True):
                    first = result is op.results[0]
                    tile = Typed(value, kind) if first else Typed(k.b.cast(k.b.index(k.e.scalar(element)), I64), I64)
                    k.e.store(tile, target, linearise(place, k.e.shape(result)))


def _rank(k: KernelLowering, op: Any, x: SSAValue, at: Any, value: SSAValue, element: Expr, width: int) -> SSAValue:
    """How many elements come before ``value`` at ``element``: better ones, and equal ones that stand earlier."""
    kind, count = element_of(x), k.e.shape(x)[op.axis]
    suffix = "u" if not is_float(kind) and is_unsigned(kind) else ""
    total: SSAValue = k.b.constant(0, INDEX)

    def strip(part: Strip, total: SSAValue) -> SSAValue:
        lanes = part.width
        with k.e.lanes((lanes,), part.limits(0)):
            place = part.start + lane(0, lanes)
            others = k.e.value(x, at(place)).value
            better = k.b.compare(("gt" if op.largest else "lt") + suffix, others, value)
            same = k.b.compare("eq", others, value)
            if is_float(kind):
                missing, mine = k.b.compare("ne", others, others), k.b.compare("ne", value, value)
                # NaN counts as the greatest number, and equal to itself.
                ahead = k.b.binary("and_", missing, k.b.unary("not_", mine)) if op.largest else None
                if ahead is not None:
                    better = k.b.binary("or_", better, ahead)
                else:
                    better = k.b.binary("or_", better, k.b.binary("and_", mine, k.b.unary("not_", missing)))
                same = k.b.binary("or_", same, k.b.binary("and_", missing, mine))
            earlier = k.b.compare("lt", k.e.index_tile(place, full=True), k.b.index(k.e.scalar(element)))
            before = k.b.binary("or_", better, k.b.binary("and_", same, earlier))
            if part.limit is not None:
                before = k.b.binary("and_", before, k.b.compare("lt", k.b.iota((lanes,), 0), k.b.index(part.limit)))
            one, zero = k.b.constant(1, INDEX), k.b.constant(0, INDEX)
            ones = k.b.broadcast(k.b.select(before, one, zero), (lanes,))
            return k.b.add(total, k.b.extract(k.b.reduce("add", ones, (0,)), (0,)))

    full = floordiv(count, width) * width
    if full != 0:
        with k.b.loop(0, full, width, [total]) as loop:
            part = Strip(iv(loop.index, 0, largest(full - width, 0), width), width)
            loop.yield_(strip(part, loop.carried[0]))
        total = loop.results[0]
    return total if full == count else strip(k.tail(count, width), total)
