"""Depthwise convolution and pooling: every lane is a channel, every row of the tile a neighbouring output.

In: ``graph.conv`` with one group per channel, or ``graph.pool``, channels-last. Out: a kernel with a unit per output
row and strip of channels. The one idea: these are bound by memory, so the tile is wide in channels, taps are unrolled
along the row, and at the borders taps outside the image are skipped rather than padded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import I64, INDEX, is_float, is_unsigned
from penstock.compiler.extents import quotient, surely, tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, lane, linearise
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.reduction import lowest
from penstock.compiler.passes.lower.sliding import Position, Segment, Sliding, Sums
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

Taps = Callable[[Position, Expr, Segment, Expr, int, Sums], Sums]
Finish = Callable[[Sums, tuple[Expr, ...]], None]
"""What becomes of a tile's sums at the coordinates of its outputs."""


@schedule("depthwise", tunable=True)
def lower_depthwise(k: KernelLowering) -> None:
    """Depthwise convolution: multiply-adds of channel lanes."""
    Depthwise(k, tunable=True).emit()


@schedule("window")
def lower_window(k: KernelLowering) -> None:
    """Pooling."""
    op = k.root("graph.pool")
    if op.indices:
        _max_with_positions(k, op)
    elif op.kind == "max":
        _max(k, op)
    else:
        _average(k, op)


def _max(k: KernelLowering, op: Any) -> None:
    walk = Channels(k, op, op.window, tile=4)
    kind = element_of(op.out)
    least, name = lowest(kind), "maxu" if not is_float(kind) and is_unsigned(kind) else "max"

    def taps(position: Position, output: Expr, segment: Segment, channel: Expr, tap: int, sums: Sums) -> Sums:
        value = walk.input(op.operands[0], position, output, segment, channel, tap, least)
        lower, upper = segment.valid[tap]
        if (lower, upper) != (0, segment.width):
            inside = k.b.iota((segment.width, 1), 0)
            mask = k.b.binary("and_", k.b.compare("ge", inside, lower), k.b.compare("lt", inside, upper))
            value = k.b.select(mask, value, k.b.constant(least, register_type(kind)))
        return [k.b.binary(name, value, sums[0])]

    def start(extents: tuple[int, ...]) -> Sums:
        return [k.b.splat(least, extents, register_type(kind))]

    def finish(sums: Sums, at: tuple[Expr, ...]) -> None:
        k.finish(op.out, at, Typed(sums[0], kind))

    walk.emit(start, taps, finish, math.prod(op.window))


def _average(k: KernelLowering, op: Any) -> None:
    walk = Channels(k, op, op.window, tile=4)
    register = register_type(element_of(op.out))
    s = walk.sliding

    def taps(position: Position, output: Expr, segment: Segment, channel: Expr, tap: int, sums: Sums) -> Sums:
        return [k.b.add(sums[0], walk.input(op.operands[0], position, output, segment, channel, tap, 0))]

    def start(extents: tuple[int, ...]) -> Sums:
        return [k.b.splat(0, extents, register)]

    def finish(sums: Sums, at: tuple[Expr, ...]) -> None:
        _, *outputs, _ = at
        counts = [_taps_counted(k, op, s, axis, where) for axis, where in enumerate(outputs)]
        total = counts[0]
        for count in counts[1:]:
            total = k.b.mul(total, count)
        k.finish(op.out, at, Typed(k.b.div(sums[0], k.b.cast(total, register)), element_of(op.out)))

    walk.emit(start, taps, finish, math.prod(op.window))


def _taps_counted(k: KernelLowering, op: Any, s: Sliding, axis: int, output: Expr) -> SSAValue:
    """How many taps of one axis an average divides by: those inside the input (or inside it and its pads)."""
    padded = op.count_include_pad
    low, high = (s.pads[axis], op.pads_high[axis] - op.overhang[axis]) if padded else (0, 0)
    first = output * s.strides[axis] - s.pads[axis]
    dilation, window, extent = s.dilations[axis], s.window[axis], s.inputs[axis]
    least, most = first.bounds()
    if surely(least, ">=", -low) and surely(most + (window - 1) * dilation, "<", extent + high):
        return k.b.constant(window, INDEX)

    def clipped(expression: Expr) -> SSAValue:
        """min(max(expression, 0) / dilation, window)."""
        value = k.e.index_tile(expression) if expression.lanes() else k.b.index(k.e.scalar(expression))
        value = k.b.binary("max", value, 0)
        return k.b.binary("min", value if dilation == 1 else k.b.binary("divu", value, dilation), window)

    start = clipped((first * -1) - low + (dilation - 1))
    end = clipped((first * -1) + (extent + high + dilation - 1))
    return k.b.sub(end, start)


def _max_with_positions(k: KernelLowering, op: Any) -> None:
    """Max pooling that also gives the flat position (in the channels-first input, as ONNX) of each maximum."""
    walk = Channels(k, op, op.window, tile=1)
    kind, s = element_of(op.out), walk.sliding
    least = lowest(kind)

    def taps(position: Position, output: Expr, segment: Segment, channel: Expr, tap: int, sums: Sums) -> Sums:
        best, where = sums
        value = walk.input(op.operands[0], position, output, segment, channel, tap, least)
        lower, upper = segment.valid[tap]
        better = k.b.compare("gt" + ("u" if not is_float(kind) and is_unsigned(kind) else ""), value, best)
        better = k.b.binary("or_", better, k.b.compare("lt", where, 0))
        if lower == upper:
            return sums
        spatial = (*position.rows, s.column(output, tap))
        if op.column_major:
            flat = linearise(reversed(spatial), reversed(s.inputs))
        else:
            flat = linearise(spatial, s.inputs)
        here = k.b.index(k.e.scalar(flat))
        inside = k.e.inside(s.column(output, tap), s.inputs[-1]) if segment.checked else None
        better = better if inside is None else k.b.binary("and_", better, inside)
        return [
            k.b.broadcast(k.b.select(better, value, best), k.e.tile.extents),
            k.b.broadcast(k.b.select(better, here, where), k.e.tile.extents),
        ]

    def start(extents: tuple[int, ...]) -> Sums:
        return [k.b.splat(least, extents, register_type(kind)), k.b.splat(-1, extents, INDEX)]

    def finish(sums: Sums, at: tuple[Expr, ...]) -> None:
        batch, *_, channel = at
        base = (batch * s.features + channel) * math.prod(s.inputs)
        offset = k.e.index_tile(base, full=True)
        flat = k.b.cast(k.b.add(sums[1], offset), I64)
        k.e.define(op.results[1], at, Typed(flat, I64))
        k.finish(op.out, at, Typed(sums[0], kind))

    walk.emit(start, taps, finish, 2 * math.prod(op.window))


class Depthwise:
    """One depthwise convolution being lowered."""

    def __init__(self, k: KernelLowering, *, tunable: bool = False) -> None:
        self.k, self.op = k, k.root("graph.conv")
        self.x, self.w = self.op.operands
        *window, _, features = k.e.shape(self.w)
        self.walk = Channels(k, self.op, tuple(window), tile=8, tunable=tunable)
        self.multiplier = features // self.walk.sliding.channels
        self.element = element_of(self.op.out)
        self.flops = 2 * math.prod(window)

    def emit(self) -> None:
        """The whole convolution, with what follows it."""

        def finish(sums: Sums, at: tuple[Expr, ...]) -> None:
            self.k.finish(self.op.out, at, Typed(sums[0], self.element))

        self.walk.emit(self.start, self.taps, finish, self.flops)

    def start(self, extents: tuple[int, ...]) -> Sums:
        """Sums of a tile before its first tap."""
        return [self.k.b.splat(0, extents, register_type(self.element))]

    def taps(self, position: Position, output: Expr, segment: Segment, channel: Expr, tap: int, sums: Sums) -> Sums:
        """One tap of a row of the window."""
        k, s = self.k, self.walk.sliding
        weights = linearise((*position.taps, Expr(tap), Expr(), channel), k.e.shape(self.w))
        b = k.e.load(k.e.buffers[self.w], weights, self.w).value
        source = channel if self.multiplier == 1 else channel.floordiv(self.multiplier)
        column = s.column(output + lane(0, segment.width), tap)
        zero = k.b.constant(0, register_type(self.element))
        a = s.read(self.x, (self.walk.batch, *position.rows, column, source), segment, zero)
        return [k.b.fma(a, b, sums[0])]


class Channels:
    """The walk over output rows and strips of channels shared by depthwise convolution and pooling."""

    def __init__(
        self, k: KernelLowering, op: Any, window: tuple[int, ...], *, tile: int, tunable: bool = False
    ) -> None:
        self.k, self.op = k, op
        self.sliding = Sliding(k, op, tuple(window))
        self.batch = Expr()
        features, lanes = self.sliding.features, k.machine.lanes
        vectors = 2 if quotient(features, 2 * lanes) is not None or typical(features) > 4 * lanes else 1
        row = self.sliding.outputs[-1]
        best = tile_width(row, tile), tile_width(features, vectors * lanes)
        if not tunable:
            self.tile, self.width = best
            return
        tiles = [(tile_width(row, t), tile_width(features, v * lanes)) for v in (1, 2, 4) for t in (4, 7, 8, 14)]
        fitting = [t for t in tiles if t[0] * -(-t[1] // lanes) <= k.machine.vector_registers * 3 // 4]
        self.tile, self.width = k.choose({f"{t}x{w}": (t, w) for t, w in (best, *fitting)})

    def input(
        self, x: SSAValue, position: Position, output: Expr, segment: Segment, channel: Expr, tap: int, fill: float
    ) -> SSAValue:
        """Inputs of a tile at one tap; ``fill`` where there is none."""
        column = self.sliding.column(output + lane(0, segment.width), tap)
        outside = self.k.b.constant(fill, register_type(element_of(x)))
        return self.sliding.read(x, (self.batch, *position.rows, column, channel), segment, outside)

    def emit(
        self,
        start: Callable[[tuple[int, ...]], Sums],
        taps: Taps,
        finish: Finish,
        flops: int,
    ) -> None:
        """Units: batch x output rows; see ``row``."""
        k, s = self.k, self.sliding
        cost = typical(flops * s.outputs[-1] * s.features) / k.machine.peak_f32 * 3
        with k.parallel((s.batch, *s.outputs[:-1]), cost) as (batch, *outputs):
            self.row(batch, outputs, start, taps, finish)

    def row(
        self,
        batch: Expr,
        outputs: Sequence[Expr],
        start: Callable[[tuple[int, ...]], Sums],
        taps: Taps,
        finish: Finish,
    ) -> None:
        """A row of outputs at outer coordinates ``outputs``: strips of channels, and tiles along the row inside."""
        k, s = self.k, self.sliding
        self.batch = batch

        def strip(columns: Strip) -> None:
            offset, width = columns.start, columns.width

            def tile(output: Expr, segment: Segment) -> None:
                extents = (segment.width, width)
                with k.e.lanes(extents, columns.limits(1)):
                    channel = offset + lane(1, width)

                    def taps_of_row(position: Position, sums: Sums) -> Sums:
                        for tap in range(s.window[-1]):
                            lower, upper = segment.valid[tap]
                            if lower == upper:
                                continue
                            bounds = {} if (lower, upper) == (0, segment.width) else {0: (lower, upper)}
                            with k.e.valid(bounds):
                                sums = taps(position, output, segment, channel, tap, sums)
                        return sums

                    sums = s.outer_taps(outputs, start(extents), taps_of_row)
                    finish(sums, (batch, *outputs, output + lane(0, segment.width), channel))

            s.tiles(self.tile, tile)

        k.strips(s.features, self.width, strip)
