"""Scattering: each unit copies its own part of the operand, then goes through the updates in order.

In: ``graph.scatter_nd`` or ``graph.scatter_elements``. Out: a kernel whose units write disjoint parts of the result.
The one idea: one unit applies all updates of one place, in row-major order, so the last wins and sums are the same
bits for any cut; units split what indices do not choose (columns of windows, lines beside the axis), and only where
there is too little of that the rows that they do choose, every unit passing over the updates of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.dtypes import I1
from penstock.compiler.extents import Extent, bounds, ceildiv, floordiv, largest, tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, delinearise, iv, lane, linearise
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.tile_scalars import Typed

MAX_PARTS = 64
INDEX_COST = 32  # elements that can be copied in the time an update of another unit takes
BOOLEAN = {"add": "logical_or", "max": "logical_or", "mul": "logical_and", "min": "logical_and"}
NUMERIC = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}


@schedule("scatter")
def lower_scatter(k: KernelLowering) -> None:
    """Windows of the operand at coordinates, or elements along one axis."""
    op = k.root("graph.scatter_nd", "graph.scatter_elements")
    if 0 in k.e.shape(op.operands[0]):
        with k.b.units(0):
            return
    if op.name == "graph.scatter_nd":
        Windows(k, op).emit()
        return
    extents = k.e.shape(op.operands[0])
    wide = [axis for axis, extent in enumerate(extents) if extent != 1]
    if not wide or wide[-1] == op.axis:
        _rows(k, op)
    else:
        _columns(k, op, wide[-1])


class Scatter:
    """What both ops share: copying to the result, and combining an update with what is there."""

    def __init__(self, k: KernelLowering, op: Any) -> None:
        self.k, self.op, self.target = k, op, k.targets[0]
        self.x, self.indices, self.updates = op.operands
        self.extents = k.e.shape(self.x)

    def copy(self, position: Expr) -> None:
        """The operand's elements at a row-major ``position`` to the result."""
        value = self.k.e.value(self.x, delinearise(position, self.extents))
        self.k.e.store(value, self.target, position)

    def update(self, position: Expr, new: Typed) -> None:
        """``new`` combined into the result at ``position``."""
        if self.op.reduction != "none":
            old = self.k.e.load(self.target, position, self.op.out)
            names = BOOLEAN if old.element == I1 else NUMERIC
            new = getattr(self.k.e.scalars, names[self.op.reduction])(old, new)
        self.k.e.store(new, self.target, position)


class Windows(Scatter):
    """scatter_nd: x seen as ``rows`` of ``width`` elements, of which each coordinate chooses one."""

    def __init__(self, k: KernelLowering, op: Any) -> None:
        super().__init__(k, op)
        *outer, depth = k.e.shape(self.indices)
        self.outer, self.depth = tuple(outer), depth
        self.rows, self.width = math.prod(self.extents[:depth]), math.prod(self.extents[depth:])
        self.count = math.prod(outer)
        self.strip = tile_width(self.width, 4 * k.machine.lanes)

    def emit(self) -> None:
        """Units over columns where windows are long, else over rows."""
        work = (self.rows + self.count) * self.width
        parts = max(1, min(MAX_PARTS, typical(work) // (INDEX_COST * max(typical(self.count), 1))))
        if typical(self.width) >= max(typical(self.rows), self.strip):
            self._by_columns(parts, work)
        else:
            self._by_rows(min(parts, typical(self.rows)), work)

    def _by_columns(self, parts: int, work: Extent) -> None:
        k, strips = self.k, typical(ceildiv(self.width, self.strip))
        block = -(-strips // min(parts, strips)) * self.strip
        units, full = ceildiv(self.width, block), floordiv(self.width, block)
        with k.b.units(units, k.elementwise_cost(work) / typical(units)) as unit:
            if full != 0:
                with k.b.when(k.b.compare("lt", unit, k.b.index(full))):
                    self._columns(iv(unit, 0, largest(full - 1, 0)) * block, block)
            if full != units:
                with k.b.when(k.b.compare("ge", unit, k.b.index(full))):
                    self._columns(Expr(full * block), self.width - full * block)

    def _columns(self, start: Expr, size: Extent) -> None:
        k = self.k

        def copy(part: Strip) -> None:
            with self._lanes(part):
                self.copy(row * self.width + start + part.start + lane(0, part.width))

        with k.loop(0, self.rows) as row:
            k.strips(size, self.strip, copy)
        if self.count != 0:
            with k.loop(0, self.count) as number:
                self._window(number, self._row(number), start, size)

    def _by_rows(self, parts: int, work: Extent) -> None:
        k, total = self.k, self.rows * self.width
        block = -(-typical(self.rows) // parts)
        units = ceildiv(self.rows, block)
        with k.b.units(units, k.elementwise_cost(work) / typical(units)) as unit:
            first = k.b.imul(unit, block) if units != 1 else 0
            end = k.b.imin(k.b.iadd(first, block), self.rows) if units != 1 else self.rows
            self._copy_range(k.b.imul(first, self.width), k.b.imul(end, self.width), total)
            if self.count == 0:
                return
            with k.loop(0, self.count) as number:
                row = self._row(number)
                if units == 1:
                    self._window(number, row, Expr(), self.width)
                else:
                    at = k.b.index(k.e.scalar(row))
                    mine = k.b.binary("and_", k.b.compare("ge", at, first), k.b.compare("lt", at, end))
                    with k.b.when(mine):
                        self._window(number, row, Expr(), self.width)

    def _copy_range(self, begin: Index, end: Index, total: Extent) -> None:
        """Copy elements [begin, end): full strips, then one by one."""
        k, width = self.k, 4 * self.k.machine.lanes
        count = k.b.isub(end, begin)
        middle = k.b.iadd(begin, k.b.imul(k.b.idiv(count, width), width))
        if bounds(total)[1] >= width:
            with k.b.loop(begin, middle, width) as loop, k.e.lanes((width,)):
                self.copy(iv(loop.index, 0, largest(total - width, 0)) + lane(0, width))
        with k.b.loop(middle, end) as loop, k.e.lanes(()):
            self.copy(iv(loop.index, 0, largest(total - 1, 0)))

    def _row(self, number: Expr) -> Expr:
        """Which row update ``number`` goes to."""
        k, where = self.k, delinearise(number, self.outer)
        with k.e.lanes(()):
            picked = [
                k.e.as_index(k.e.value(self.indices, (*where, Expr(i))), self.extents[i]) for i in range(self.depth)
            ]
        return k.settle(linearise(picked, self.extents[: self.depth]))

    def _window(self, number: Expr, row: Expr, start: Expr, size: Extent) -> None:
        """Update ``number``, columns [start, start + size), into ``row``."""
        k, where = self.k, delinearise(number, self.outer)

        def strip(part: Strip) -> None:
            with self._lanes(part):
                column = start + part.start + lane(0, part.width)
                new = k.e.value(self.updates, (*where, *delinearise(column, self.extents[self.depth :])))
                self.update(row * self.width + column, new)

        k.strips(size, self.strip, strip)

    def _lanes(self, part: Strip) -> AbstractContextManager[None]:
        return self.k.e.lanes((part.width,), part.limits(0)) if part.width > 1 else self.k.e.lanes(())


def _rows(k: KernelLowering, op: Any) -> None:
    """scatter_elements along the innermost axis: a unit per line, its updates one by one."""
    s = Scatter(k, op)
    axis, reach = op.axis, k.e.shape(s.indices)
    count, outer = s.extents[axis] if s.extents else 1, s.extents[:axis]
    updates = 0 if 0 in reach else reach[axis]
    rest = (Expr(),) * (len(s.extents) - axis - 1)
    with k.parallel(outer, k.elementwise_cost(count + 16 * updates)) as at:
        base = linearise(at, outer)

        def copy(part: Strip) -> None:
            with k.e.lanes((part.width,), part.limits(0)):
                s.copy(base * count + part.start + lane(0, part.width))

        k.strips(count, tile_width(count, 4 * k.machine.lanes), copy)

        def apply() -> None:
            with k.loop(0, updates) as number, k.e.lanes(()):
                here = (*at, number, *rest)
                place = k.e.as_index(k.e.value(s.indices, here), count)
                s.update(linearise((*at, place, *rest), s.extents), k.e.value(s.updates, here))

        if updates != 0:
            _within(k, at, outer, reach[:axis], apply)


def _columns(k: KernelLowering, op: Any, lanes_axis: int) -> None:
    """scatter_elements along another axis than the innermost: every lane is a line."""
    s = Scatter(k, op)
    axis, reach = op.axis, k.e.shape(s.indices)
    wide, beside = s.extents[lanes_axis], reach[lanes_axis]
    outer = tuple(1 if a in (axis, lanes_axis) else extent for a, extent in enumerate(s.extents))
    units = typical(math.prod(outer) * ceildiv(wide, k.machine.lanes))
    width = tile_width(wide, k.machine.lanes * max(1, min(4, units // 16)))
    work = (s.extents[axis] + 4 * reach[axis]) * width

    def strip(at: tuple[Expr, ...], part: Strip) -> None:
        start, size = part.start, part.width
        column = start + lane(0, size)

        def here(along: Expr) -> tuple[Expr, ...]:
            return tuple(along if a == axis else column if a == lanes_axis else c for a, c in enumerate(at))

        with k.loop(0, s.extents[axis]) as along, k.e.lanes((size,), part.limits(0)):
            s.copy(linearise(here(along), s.extents))

        def apply() -> None:
            first = k.e.scalar(start)
            limits = part.limits(0)
            if beside != wide and size > 1:
                limits = {0: k.b.imin(k.b.isub(beside, first), size if part.limit is None else part.limit)}
            with k.loop(0, reach[axis]) as number, k.e.lanes((size,), limits):
                index = k.e.as_index(k.e.value(s.indices, here(number)), s.extents[axis])
                s.update(linearise(here(index), s.extents), k.e.value(s.updates, here(number)))

        within = [1 if a in (axis, lanes_axis) else most for a, most in enumerate(reach)]
        if 0 not in reach:
            _within(k, (*at, start), (*outer, wide), (*within, beside), apply)

    with k.parallel((*outer, ceildiv(wide, width)), k.elementwise_cost(work)) as (*at, number):
        k.strip_at(number, wide, width, lambda part: strip(tuple(at), part))


def _within(
    k: KernelLowering, at: tuple[Expr, ...], extents: tuple[int, ...], reach: tuple[int, ...], body: Callable[[], None]
) -> None:
    """Run ``body`` where there are updates at all: in the first ``reach`` positions of each axis."""
    checks: list[SSAValue | None] = [
        k.e.compare("lt", c, most) for c, extent, most in zip(at, extents, reach, strict=True) if most != extent
    ]
    condition = k.e.mask_and(checks)
    if condition is None:
        body()
        return
    with k.b.when(condition):
        body()
