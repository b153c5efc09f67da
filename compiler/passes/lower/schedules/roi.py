"""Regions of interest: bins of boxes, each with as many samples or elements as its box says.

In: ``graph.roi_align`` or ``graph.roi_max_pool``. Out: a kernel with a unit per box, channels and row of bins. The one
idea: what a box's geometry decides for all channels is worked out once per unit, and lanes are the bins of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.roi import (
    Bins,
    align_bins,
    bin_edges,
    neighbours,
    rounded,
    sample_place,
    whole_bins,
)
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dtypes import I64, INDEX
from penstock.compiler.passes.lower.affine import Expr, iv, lane
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.rules_sampling import whole_index
from penstock.compiler.passes.lower.schedules.reduction import lowest
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

CHANNELS = 8


@schedule("roi")
def lower_roi(k: KernelLowering) -> None:
    """Samples, or elements."""
    op = k.root("graph.roi_align", "graph.roi_max_pool")
    if 0 in k.e.shape(op.out):
        with k.b.units(0):
            return
    (_align if op.name == "graph.roi_align" else _max_pool)(k, op)


def _number(k: KernelLowering, expression: Expr, like: SSAValue) -> Typed:
    """A coordinate as a number of the type that boxes are computed in."""
    kind = compute_dtype(element_of(like))
    return Typed(k.e.from_index(expression, like).value, kind)


def _corner(k: KernelLowering, boxes: SSAValue, box: Expr, column: int) -> Typed:
    with k.e.lanes(()):
        return Typed(k.e.value(boxes, (box, Expr(column))).value, compute_dtype(element_of(boxes)))


def _align(k: KernelLowering, op: Any) -> None:
    x, boxes, batch = op.operands
    count, channels, rows, columns = k.e.shape(op.out)
    together = next(c for c in range(CHANNELS, 0, -1) if channels % c == 0)
    samples = (op.samples or 2) ** 2
    cost = columns * together * samples * 8.0
    with k.parallel((count, channels // together, rows), cost) as (box, block, row):
        with k.e.lanes(()):
            image = k.e.as_index(k.e.value(batch, (box,)), k.e.shape(x)[0])
        cuts = [
            align_bins(
                k.e.scalars,
                _corner(k, boxes, box, 1 - axis),
                _corner(k, boxes, box, 3 - axis),
                op.scale,
                bins,
                op.samples,
                op.half_pixel,
            )
            for axis, bins in enumerate(op.size)
        ]
        within = [block * together + channel for channel in range(together)]

        def strip(part: Strip) -> None:
            with k.e.lanes((part.width,)):
                column = part.start + lane(0, part.width)
                totals = _samples(k, op, cuts, row, column, [(image, channel) for channel in within])
                for channel, total in zip(within, totals, strict=True):
                    kind = element_of(op.out)
                    tile = Typed(k.e.scalars.rounded(total, kind), kind)
                    k.finish(op.out, (box, channel, row, column), tile)

        k.strips(columns, min(columns, k.machine.lanes), strip)


def _samples(
    k: KernelLowering,
    op: Any,
    cuts: Sequence[Bins[Typed]],
    row: Expr,
    column: Expr,
    planes: Sequence[tuple[Expr, Expr]],
) -> list[SSAValue]:
    """What a row of bins is, a tile for each of ``planes`` (image, channel)."""
    x, boxes, _ = op.operands
    b, s, extents = k.b, k.e.scalars, k.e.shape(x)[2:]
    kind, lanes = compute_dtype(element_of(x)), k.e.tile.extents
    counts = [b.cast(cut.samples.value, INDEX) for cut in cuts]
    start = float("-inf") if op.kind == "max" else 0.0
    totals = [b.broadcast(b.constant(start, register_type(kind)), lanes) for _ in planes]
    bins = [_number(k, row, boxes), _number(k, column, boxes)]

    def place(axis: int, sample: SSAValue) -> Any:
        number = Typed(b.cast(b.cast(sample, I64), register_type(kind)), kind)
        return neighbours(s, sample_place(s, cuts[axis], bins[axis], number), extents[axis])

    with b.loop(0, counts[0], 1, totals) as down:
        y = place(0, down.index)
        with b.loop(0, counts[1], 1, list(down.carried)) as right:
            near = place(1, right.index)
            corners = [
                (
                    s.mul(
                        s.sub(1.0, y.weight) if i == 0 else y.weight, s.sub(1.0, near.weight) if j == 0 else near.weight
                    ),
                    whole_index(k.e, (y.low, y.high)[i], extents[0]),
                    whole_index(k.e, (near.low, near.high)[j], extents[1]),
                )
                for i in (0, 1)
                for j in (0, 1)
            ]
            valid = s.logical_and(y.valid, near.valid)
            following: list[SSAValue] = []
            for (image, channel), total in zip(planes, right.carried, strict=True):
                parts = [
                    s.mul(weight, Typed(k.e.value(x, (image, channel, i, j)).value, kind)) for weight, i, j in corners
                ]
                value = parts[0]
                for part in parts[1:]:
                    value = s.maximum(value, part) if op.kind == "max" else s.add(value, part)
                value = s.select(valid, value, 0.0)
                joined = b.binary("max" if op.kind == "max" else "add", total, value.value)
                following.append(b.broadcast(joined, lanes))
            right.yield_(*following)
        down.yield_(*right.results)
    every = s.mul(cuts[0].samples, cuts[1].samples)
    none = s.compare("le", every, 0.0).value
    if op.kind == "max":
        return [b.select(none, 0.0, total) for total in down.results]
    divisor = s.maximum(every, 1.0).value
    return [b.div(total, divisor) for total in down.results]


def _max_pool(k: KernelLowering, op: Any) -> None:
    x, boxes = op.operands
    batch, _, *extents = k.e.shape(x)
    count, channels, rows, columns = k.e.shape(op.out)
    b, s, kind = k.b, k.e.scalars, element_of(x)
    register = register_type(kind)
    with k.parallel((count, channels, rows), columns * 32.0) as (box, channel, row), k.e.lanes(()):
        image = _image(k, _corner(k, boxes, box, 0), batch)
        cuts = [
            whole_bins(s, _corner(k, boxes, box, 2 - axis), _corner(k, boxes, box, 4 - axis), op.scale, bins)
            for axis, bins in enumerate(op.size)
        ]
        top, bottom = (b.cast(edge.value, INDEX) for edge in bin_edges(s, cuts[0], _number(k, row, boxes), extents[0]))
        with k.loop(0, columns) as column:
            edges = bin_edges(s, cuts[1], _number(k, column, boxes), extents[1])
            left, right = (b.cast(edge.value, INDEX) for edge in edges)
            with b.loop(top, bottom, 1, [b.constant(lowest(kind), register)]) as down:
                with b.loop(left, right, 1, list(down.carried)) as along:
                    place = (iv(down.index, 0, extents[0] - 1), iv(along.index, 0, extents[1] - 1))
                    value = k.e.value(x, (image, channel, *place)).value
                    along.yield_(b.binary("max", along.carried[0], value))
                down.yield_(*along.results)
            empty = b.binary("or_", b.compare("ge", top, bottom), b.compare("ge", left, right))
            k.finish(op.out, (box, channel, row, column), Typed(b.select(empty, 0.0, down.results[0]), kind))


def _image(k: KernelLowering, number: Typed, batch: int) -> Expr:
    """Which image a floating-point number names: as indices do."""
    whole = rounded(k.e.scalars, number)
    return k.e.as_index(Typed(k.b.cast(whole.value, I64), I64), batch)
