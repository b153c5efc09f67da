"""Sliding windows: the loop structure shared by convolutions and pooling, without ever copying to pad.

In: a windowed op on channels-last tensors. Out: tiles of neighbouring outputs along the innermost spatial axis, and
for each the taps of the window that fall inside the input. The one idea: outer spatial axes get run-time bounds on the
tap loop (a row outside is simply not visited); the innermost axis is cut at compile time into segments, and at the
borders each tap knows which of the tile's outputs it is valid for. Where the innermost extent is symbolic, outputs near
a border are computed one by one, each tap checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.extents import Dim, floordiv, largest, smallest, surely
from penstock.compiler.passes.lower.affine import Expr, iv
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip

Sums = list[SSAValue]


@dataclass(frozen=True)
class Segment:
    """``count`` tiles of ``width`` outputs from ``start``; ``valid[tap]`` is the range of outputs a tap is inside
    for. ``checked``: that is known at run time only, see ``Sliding.read``."""

    start: int
    width: int
    count: int
    valid: tuple[tuple[int, int], ...]
    checked: bool = False

    @property
    def interior(self) -> bool:
        """True if every tap is valid for every output."""
        return not self.checked and all(bounds == (0, self.width) for bounds in self.valid)


@dataclass(frozen=True)
class Position:
    """Where a tile's inputs start for one combination of outer taps: input coordinates of the outer spatial axes."""

    rows: tuple[Expr, ...]
    taps: tuple[Expr, ...]


class Sliding:
    """A windowed op over channels-last tensors: extents, and the walk over outputs and taps."""

    def __init__(self, k: KernelLowering, op: Any, window: tuple[int, ...]) -> None:
        self.k = k
        self.window, self.strides, self.dilations, self.pads = window, op.strides, op.dilations, op.pads_low
        self.batch, *inputs, self.channels = k.e.shape(op.operands[0])
        _, *outputs, self.features = k.e.shape(op.results[0])
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)

    def segments(self, width: int) -> list[Segment]:
        """The innermost output axis cut into tiles of at most ``width``; equal neighbours are merged."""
        extent = self.outputs[-1]
        result: list[Segment] = []
        for start in range(0, extent, width):
            here = min(width, extent - start)
            segment = Segment(start, here, 1, tuple(self._valid(tap, start, here) for tap in range(self.window[-1])))
            last = result[-1] if result else None
            if last and last.interior and segment.interior and last.width == here:
                result[-1] = Segment(last.start, here, last.count + 1, last.valid)
            else:
                result.append(segment)
        return result

    def _valid(self, tap: int, start: int, width: int) -> tuple[int, int]:
        stride, shift = self.strides[-1], self.pads[-1] - tap * self.dilations[-1]
        lower = -(-(shift - start * stride) // stride)
        upper = (self.inputs[-1] - 1 + shift) // stride - start + 1
        lower, upper = max(0, min(lower, width)), max(0, min(upper, width))
        return (lower, max(lower, upper))

    def tiles(self, width: int, body: Callable[[Expr, Segment], None]) -> None:
        """Call ``body`` for the first output of every tile along the innermost axis."""
        if isinstance(self.outputs[-1], Dim) or isinstance(self.inputs[-1], Dim):
            self._symbolic_tiles(width, body)
            return
        for segment in self.segments(width):
            if segment.count == 1:
                body(Expr(segment.start), segment)
                continue
            with self.k.b.loop(0, segment.count) as loop:
                body(iv(loop.index, 0, segment.count - 1) * segment.width + segment.start, segment)

    def _symbolic_tiles(self, width: int, body: Callable[[Expr, Segment], None]) -> None:
        """Tiles of outputs whose taps are all inside the input, then single outputs for those at the borders."""
        k, b = self.k, self.k.b
        stride, taps, outputs = self.strides[-1], self.window[-1], self.outputs[-1]
        left = smallest(-(-self.pads[-1] // stride), outputs)
        last = self.inputs[-1] - 1 + self.pads[-1] - (taps - 1) * self.dilations[-1]
        inside = largest(smallest(floordiv(last, stride) + 1, outputs) - left, 0)

        def interior(part: Strip) -> None:
            body(part.start + left, Segment(0, part.width, 1, ((0, part.width),) * taps))

        full = floordiv(inside, width) * width
        with b.loop(0, full, width) as loop:
            interior(Strip(iv(loop.index, 0, largest(full - width, 0), width), width))
        if full != inside:
            k.pieces(k.tail(inside, width), interior)
        borders = outputs - inside
        if borders == 0:
            return
        with b.loop(0, borders) as loop:
            after = b.compare("ge", loop.index, b.index(left))
            output = b.add(loop.index, b.select(after, b.index(inside), b.index(0)))
            body(iv(output, 0, largest(outputs - 1, 0)), Segment(0, 1, 1, ((0, 1),) * taps, checked=True))

    def read(self, x: SSAValue, at: tuple[Expr, ...], segment: Segment, fill: SSAValue) -> SSAValue:
        """The input's tile at ``at`` (batch, spatial .., channel); ``fill`` outside, where that is checked."""
        if not segment.checked:
            return self.k.e.value(x, at).value
        *outer, column, channel = at
        mask = self.k.e.inside(column, self.inputs[-1])
        value = self.k.e.value(x, (*outer, self.k.e.clamp(column, self.inputs[-1]), channel)).value
        return value if mask is None else self.k.b.select(mask, value, fill)

    def column(self, output: Expr, tap: int) -> Expr:
        """Input coordinate, on the innermost axis, of output ``output`` at ``tap``."""
        return output * self.strides[-1] + (tap * self.dilations[-1] - self.pads[-1])

    def outer_taps(self, outputs: Sequence[Expr], sums: Sums, body: Callable[[Position, Sums], Sums]) -> Sums:
        """Run ``body`` for every combination of outer taps inside the input, carrying ``sums``."""
        return self._axis(0, list(outputs), [], [], sums, body)

    def bounds(self, axis: int, output: Expr) -> tuple[Any, Any]:
        """First tap inside the input and end of the taps inside, for one outer axis."""
        k, window, dilation = self.k, self.window[axis], self.dilations[axis]
        first = output * self.strides[axis] - self.pads[axis]
        low, high = first.bounds()
        lower: Any = 0
        upper: Any = window
        if not surely(low, ">=", 0):
            missing = k.e.scalar((first * -1) + (dilation - 1))
            lower = k.b.imax(0, missing) if dilation == 1 else k.b.idiv(k.b.imax(0, missing), dilation)
        if not surely(high + (window - 1) * dilation, "<", self.inputs[axis]):
            room = k.e.scalar((first * -1) + (self.inputs[axis] + dilation - 1))
            upper = k.b.imin(window, room if dilation == 1 else k.b.idiv(k.b.imax(0, room), dilation))
        return lower, upper

    def _axis(
        self,
        axis: int,
        outputs: list[Expr],
        rows: list[Expr],
        taps: list[Expr],
        sums: Sums,
        body: Callable[[Position, Sums], Sums],
    ) -> Sums:
        if axis == len(self.window) - 1:
            return body(Position(tuple(rows), tuple(taps)), sums)
        first = outputs[axis] * self.strides[axis] - self.pads[axis]
        lower, upper = self.bounds(axis, outputs[axis])
        if (lower, upper) == (0, 1):
            return self._axis(axis + 1, outputs, [*rows, first], [*taps, Expr()], sums, body)
        with self.k.b.loop(lower, upper, 1, sums) as loop:
            tap = iv(loop.index, 0, self.window[axis] - 1)
            row = first + tap * self.dilations[axis]
            loop.yield_(*self._axis(axis + 1, outputs, [*rows, row], [*taps, tap], list(loop.carried), body))
        return list(loop.results)
