"""Loop nests that reduce: shared by reductions, norms, softmax, arg-reductions and scans.

In: a tensor's extents and the axes reduced. Out: units over what is kept, and passes over what is reduced.
The one idea: either the innermost axis is reduced, and lanes run along it and are combined at the end (``across``),
or it is kept, and every lane reduces its own column (``along``); schedules are written once for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from xdsl.ir import Attribute, SSAValue

from penstock.compiler.extents import Extent, ceildiv, floordiv, largest, tile_width
from penstock.compiler.passes.lower.affine import Expr, iv, lane
from penstock.compiler.passes.lower.evaluator import Coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip

Accumulator = tuple[str, SSAValue]
Body = Callable[[Coordinates], None]


class Reducer:
    """Reduces a tensor of ``extents`` along ``axes``; ``vectors`` machine vectors per register tile."""

    def __init__(
        self,
        k: KernelLowering,
        extents: tuple[Extent, ...],
        axes: Sequence[int],
        *,
        vectors: int = 4,
        scalar: bool = False,
    ) -> None:
        self.k, self.extents, self.axes = k, extents, tuple(sorted(axes))
        wide = [axis for axis, extent in enumerate(extents) if extent not in (0, 1)]
        self.lane_axis = wide[-1] if wide else len(extents) - 1
        self.scalar = scalar or not extents
        self.across = self.lane_axis in self.axes and not self.scalar
        self.along = not self.across and not self.scalar
        lane_extent = extents[self.lane_axis] if extents else 1
        self.width = tile_width(lane_extent, vectors * k.machine.lanes)
        self.kept = [axis for axis in range(len(extents)) if axis not in self.axes]
        self.loops = [a for a in self.axes if not (self.across and a == self.lane_axis)]
        self.count = math.prod(extents[axis] for axis in self.axes)

    # Units -----------------------------------------------------------------------------------------------------------

    def rows(self, unit_cost: float, body: Body) -> None:
        """Run ``body`` once per unit, with coordinates of the kept axes (reduced ones are 0) and lanes set up."""
        k = self.k
        outer = [axis for axis in self.kept if not (self.along and axis == self.lane_axis)]
        strips = ceildiv(self.extents[self.lane_axis], self.width) if self.along else 1
        with k.parallel((*(self.extents[axis] for axis in outer), strips), unit_cost) as (*indices, strip):
            at = [Expr()] * len(self.extents)
            for axis, index in zip(outer, indices, strict=True):
                at[axis] = index
            if self.along:
                self._lane_strip(at, strip, body)
            else:
                with k.e.lanes((1,) if self.across else ()):
                    body(tuple(at))

    def _lane_strip(self, at: list[Expr], strip: Expr, body: Body) -> None:
        def run(columns: Strip) -> None:
            here = columns.start + lane(0, columns.width)
            with self.k.e.lanes((columns.width,), columns.limits(0)):
                body(tuple(here if a == self.lane_axis else c for a, c in enumerate(at)))

        self.k.strip_at(strip, self.extents[self.lane_axis], self.width, run)

    # Passes over the reduced axes ------------------------------------------------------------------------------------

    def each(self, at: Coordinates, body: Body) -> None:
        """Run ``body`` for all reduced positions, a register tile at a time."""

        def step(here: Coordinates, _sums: Sequence[SSAValue]) -> list[SSAValue]:
            body(here)
            return []

        self._nest(list(at), self.loops, [], step, [])

    def reduce(
        self, at: Coordinates, kinds: Sequence[Accumulator], values: Callable[[Coordinates], Sequence[SSAValue]]
    ) -> list[SSAValue]:
        """Reduce ``values`` (one tile per accumulator) over all reduced positions.

        ``kinds``: (tile.reduce kind, scalar identity). Returns tiles of the unit's shape: extent 1 when across.
        """
        b = self.k.b
        width = self._tile_width()
        lanes = (width,) if not self.scalar else ()
        starts = [b.broadcast(identity, lanes) if lanes else identity for _, identity in kinds]
        last = self.k.tail(self.extents[self.lane_axis], self.width) if self.across else None
        tail = last.width if last is not None and last.limit is None else 0
        tails = [b.broadcast(identity, (tail,)) for _, identity in kinds] if tail else []

        def step(coordinates: Coordinates, sums: Sequence[SSAValue]) -> list[SSAValue]:
            found = zip(kinds, values(coordinates), sums, strict=True)
            return [self._combined(kind, identity, value, total) for (kind, identity), value, total in found]

        sums = self._nest(list(at), self.loops, starts, step, tails)
        if not self.across:
            return sums
        mains = [b.reduce(kind, s, (0,)) for (kind, _), s in zip(kinds, sums[: len(kinds)], strict=True)]
        if not tail:
            return mains
        rests = [b.reduce(kind, s, (0,)) for (kind, _), s in zip(kinds, sums[len(kinds) :], strict=True)]
        return [b.binary(_combine(kind), a, c) for (kind, _), a, c in zip(kinds, mains, rests, strict=True)]

    def _combined(self, kind: str, identity: SSAValue, value: SSAValue, total: SSAValue) -> SSAValue:
        """One more tile in the running result. Across a symbolic extent, lanes beyond its end change nothing."""
        b, tile = self.k.b, self.k.e.tile
        if self.across and tile.limits:
            inside = b.compare("lt", b.iota(tile.extents, 0), b.index(tile.limits[0]))
            value = b.select(inside, b.broadcast(value, tile.extents), b.broadcast(identity, tile.extents))
        result = b.binary(_combine(kind), value, total)
        return b.broadcast(result, tile.extents) if tile.extents else result

    def carry(
        self,
        at: Coordinates,
        starts: Sequence[SSAValue],
        step: Callable[[Coordinates, Sequence[SSAValue]], Sequence[SSAValue]],
    ) -> list[SSAValue]:
        """A serial loop over the reduced positions with carried tiles; not for ``across``."""
        return self._nest(list(at), self.loops, list(starts), lambda c, s: list(step(c, s)), [])

    def _tile_width(self) -> int:
        return self.width if self.across else (self.k.e.tile.extents or (1,))[0]

    def _nest(
        self,
        at: list[Expr],
        axes: list[int],
        sums: list[SSAValue],
        step: Callable[[Coordinates, Sequence[SSAValue]], list[SSAValue]],
        tails: list[SSAValue],
    ) -> list[SSAValue]:
        if axes:
            axis, *rest = axes
            if self.extents[axis] == 1:
                return self._nest(at, rest, sums, step, tails)
            with self.k.b.loop(0, self.extents[axis], 1, [*sums, *tails]) as loop:
                at = list(at)
                at[axis] = iv(loop.index, 0, largest(self.extents[axis] - 1, 0))
                count = len(sums)
                inner = self._nest(at, rest, list(loop.carried[:count]), step, list(loop.carried[count:]))
                loop.yield_(*inner)
            return list(loop.results)
        if not self.across:
            return step(tuple(at), sums)
        return self._strips(at, sums, step, tails)

    def _strips(
        self,
        at: list[Expr],
        sums: list[SSAValue],
        step: Callable[[Coordinates, Sequence[SSAValue]], list[SSAValue]],
        tails: list[SSAValue],
    ) -> list[SSAValue]:
        k, extent, width = self.k, self.extents[self.lane_axis], self.width

        def run(part: Strip, carried: list[SSAValue]) -> list[SSAValue]:
            with k.e.lanes((part.width,), part.limits(0)):
                here = part.start + lane(0, part.width)
                return step(tuple(here if a == self.lane_axis else c for a, c in enumerate(at)), carried)

        full = floordiv(extent, width) * width
        if full == width:
            sums = run(Strip(Expr(), width), sums)
        elif full != 0:
            with k.b.loop(0, full, width, sums) as loop:
                inside = iv(loop.index, 0, largest(full - width, 0), width)
                loop.yield_(*run(Strip(inside, width), list(loop.carried)))
            sums = list(loop.results)
        if full == extent:
            return [*sums, *tails]
        tail = k.tail(extent, width)
        if tail.limit is not None:
            return run(tail, sums)
        return [*sums, *run(tail, tails)]

    # Scratch ---------------------------------------------------------------------------------------------------------

    def scratch(self, kind: Attribute) -> SSAValue:
        """A scratch buffer with room for every reduced position of one unit."""
        return self.k.b.alloc(self.count * (self.width if self.along else 1), kind)

    def slot(self, at: Coordinates) -> Expr:
        """Where the current tile at coordinates ``at`` stands in the scratch buffer."""
        position = Expr()
        for axis in self.axes:
            position = position * self.extents[axis] + at[axis]
        if self.along:
            width = self.k.e.tile.extents[0]
            return position * width + lane(0, width)
        return position


def _combine(kind: str) -> str:
    """The tile op that combines two partial results of a reduction kind."""
    return {"and": "and_", "or": "or_"}.get(kind, kind)
