"""Convolutions on channels-last tensors, directly: implicit matrix products over (taps, channels), no im2col.

In: ``graph.conv`` with weights packed in panels [O/P][taps..][C][P] (or plain [taps..][C][O]). Out: a kernel whose unit
is a block of output rows of one panel of output channels. The one idea: a register tile holds neighbouring outputs
along the innermost spatial axis by output channels; each tap is a strided column of inputs times a row of weights,
and inside the image all taps of a row are one contiguous run.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from xdsl.ir import BlockArgument, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import I32, byte_width
from penstock.compiler.extents import Dim, ceildiv, floordiv, largest, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane, linearise
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.contraction import Blocking, accumulate, blockings, combine, rows_first
from penstock.compiler.passes.lower.sliding import Position, Segment, Sliding, Sums
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

UNITS = 16
LONGEST_TOGETHER = 384  # products that go into one sum
SHORTEST_ALONE = 128  # products of a row of the window that are worth a sum of their own


@schedule("convolution", tunable=True)
def lower_convolution(k: KernelLowering) -> None:
    """Units: batch x panels of output channels x blocks of output rows; or blocks before panels, see ``rows_first``."""
    Convolution(k).emit()


class Convolution:
    """One convolution being lowered."""

    def __init__(self, k: KernelLowering) -> None:
        self.k, self.op = k, k.root("graph.conv")
        self.x, self.w = self.op.operands
        if self.op.pairs:  # channels of inputs are words from here on
            *spatial, channels = k.e.shape(self.x)
            k.e.read_pairs(self.x, (*spatial, channels // 2))
            k.e.read_pairs(self.w, k.e.shape(self.w)[:-1])
        weights = k.e.shape(self.w)
        self.panel: int = self.op.panel
        *window, self.depth, last = weights[1:] if self.panel else weights
        self.sliding = Sliding(k, self.op, tuple(window))
        self.features = self.sliding.features
        self.panel = self.panel or last
        self.groups: int = self.op.groups
        self.element = element_of(self.op.out)
        self.register = register_type(self.element)
        # Long sums err less in parts (``contraction.total_of``): here one for each row of the window.
        row = typical(self.depth) * window[-1]
        self.rows_alone = len(window) > 1 and row >= SHORTEST_ALONE and row * math.prod(window[:-1]) > LONGEST_TOGETHER
        # Rows of the image are cut so that there are at least ``units`` units, where there are rows enough.
        self.blocking, self.units = k.choose(self._options())

    def _options(self) -> dict[str, tuple[Blocking, int]]:
        """Register tiles and least numbers of units that may be worth a measurement, by name, the estimate first."""
        per_group = typical(self.features // self.groups)
        panel = math.gcd(per_group, self.panel) if self.groups > 1 else 0 if isinstance(self.panel, Dim) else self.panel
        outputs, depth = typical(self.sliding.outputs[-1]), self._depth_of_sums()
        row_bytes = typical(self.sliding.channels) * self.sliding.strides[-1] * byte_width(self.element)
        found = [
            replace(b, sweep=1) for b in blockings(outputs, per_group, depth, panel, self.k.machine, row_bytes).values()
        ]
        options = [
            *((blocking, UNITS) for blocking in found),
            *((found[0], units) for units in (UNITS // 2, 4 * UNITS)),
        ]
        return {f"{b.rows}x{b.columns} chains {b.chains} units {units}": (b, units) for b, units in options}

    def _depth_of_sums(self) -> int:
        """How many products a sum has, about."""
        return math.prod(self.sliding.window) * typical(self.depth)

    def emit(self) -> None:
        k, s, blocking = self.k, self.sliding, self.blocking
        outer = s.outputs[:-1]
        rows = math.prod(outer)
        column_tiles = ceildiv(self.features, blocking.columns)
        along_rows = rows_first(typical(rows) * typical(s.outputs[-1]), typical(self.features), self._depth_of_sums())
        blocks = min(typical(rows), max(self.units // 2 if along_rows else 1, -(-self.units // typical(column_tiles))))
        sweep = -(-typical(rows) // blocks)
        blocks = ceildiv(rows, sweep)
        flops = 2 * math.prod(s.window) * typical(self.depth) * typical(s.outputs[-1]) * blocking.columns * sweep
        inner = (blocks, column_tiles) if along_rows else (column_tiles, blocks)
        with k.parallel((s.batch, *inner), flops / k.machine.peak_f32) as (batch, *unit):
            block, column = unit if along_rows else unit[::-1]
            start = k.e.scalar(block * sweep)
            with k.b.loop(start, k.b.imin(k.b.iadd(start, sweep), rows)) as loop:
                outputs = k.split(iv(loop.index, 0, largest(rows - 1, 0)), outer)
                full = floordiv(self.features, blocking.columns)
                if full * blocking.columns == self.features:
                    self._row(batch, outputs, Strip(column * blocking.columns, blocking.columns))
                    return
                last = k.b.compare("eq", k.b.index(k.e.scalar(column)), k.b.index(full))
                if full != 0:
                    with k.b.when(k.b.unary("not_", last)):
                        inner = iv(k.b.index(k.e.scalar(column)), 0, largest(full - 1, 0))
                        self._row(batch, outputs, Strip(inner * blocking.columns, blocking.columns))
                with k.b.when(last):
                    self._row(batch, outputs, k.tail(self.features, blocking.columns))

    def _row(self, batch: Expr, outputs: tuple[Expr, ...], columns: Strip) -> None:
        """One row of outputs for one panel of channels."""

        def tile(output: Expr, segment: Segment) -> None:
            self._tile(batch, outputs, output, segment, columns)

        self.sliding.tiles(self.blocking.rows, tile)

    def _tile(self, batch: Expr, outputs: tuple[Expr, ...], output: Expr, segment: Segment, columns: Strip) -> None:
        k, column = self.k, columns.start
        with k.e.lanes((segment.width, columns.width), columns.limits(1)):
            sums = [k.b.splat(0, (segment.width, columns.width), self.register)] * self.blocking.chains

            def taps(position: Position, carried: Sums) -> Sums:
                if not self.rows_alone:
                    return self._taps(batch, position, output, segment, column, carried)
                row = self._taps(batch, position, output, segment, column, sums)
                return [k.b.add(total, one) for total, one in zip(carried, row, strict=True)]

            total = combine(k, self.sliding.outer_taps(outputs, sums, taps))
            at = (batch, *outputs, output + lane(0, segment.width), column + lane(1, columns.width))
            k.finish(self.op.out, at, Typed(total, self.element))

    def _taps(self, batch: Expr, position: Position, output: Expr, segment: Segment, column: Expr, sums: Sums) -> Sums:
        """The taps of one row of the window."""
        s, channel = self.sliding, self._group_channel(column)
        whole = segment.interior and s.dilations[-1] == 1 and self.groups == 1 and isinstance(self.x, BlockArgument)
        if whole:
            run = s.window[-1] * self.depth
            return accumulate(
                self.k, run, sums, lambda t, total: self._step(batch, position, output, segment, column, 0, t, total)
            )
        for tap in range(s.window[-1]):
            lower, upper = segment.valid[tap]
            if lower == upper:
                continue

            def step(t: Expr, total: SSAValue, tap: int = tap) -> SSAValue:
                return self._step(batch, position, output, segment, column, tap, t, total, channel)

            with self.k.e.valid({} if (lower, upper) == (0, segment.width) else {0: (lower, upper)}):
                sums = accumulate(self.k, self.depth, sums, step)
        return sums

    def _group_channel(self, column: Expr) -> Expr:
        """First input channel of the group that output channel ``column`` belongs to."""
        if self.groups == 1:
            return Expr()
        return self.k.settle(column.floordiv(self.features // self.groups)) * self.depth

    def _step(
        self,
        batch: Expr,
        position: Position,
        output: Expr,
        segment: Segment,
        column: Expr,
        tap: int,
        t: Expr,
        total: SSAValue,
        channel: Any = None,
    ) -> SSAValue:
        """total + inputs[tile, t] * weights[t, columns], ``t`` counting channels (from tap ``tap`` on)."""
        k, s = self.k, self.sliding
        columns = k.e.tile.extents[1]
        spatial = s.column(output + lane(0, segment.width), tap)
        if channel is None:
            flat = linearise((batch, *position.rows, spatial, Expr()), k.e.shape(self.x)) + t
            a = k.e.load(k.e.buffers[self.x], flat, self.x).value
        else:
            zero = k.b.constant(0, I32 if self.op.pairs else self.register)
            a = s.read(self.x, (batch, *position.rows, spatial, channel + t), segment, zero)
        taps = linearise((*position.taps, Expr(tap)), s.window)
        whole = isinstance(self.panel, Dim)  # there is one panel, of all output channels
        panel, offset = (Expr(), column) if whole else (column.floordiv(self.panel), column.mod(self.panel))
        row = (panel * math.prod(s.window) + taps) * self.depth + t
        b = k.e.load(k.e.buffers[self.w], row * self.panel + offset + lane(1, columns), self.w).value
        return k.b.dot_pairs(a, b, total) if self.op.pairs else k.b.fma(a, b, total)
