"""Maps: dispatches without a root (elementwise chains, views, copies, indexing).

In: a dispatch whose results are pulled element by element. Out: a kernel over strips of each result's innermost axis.
The one idea: axes that every value treats alike are merged first, so a plain elementwise chain is one long row; when
some operand is contiguous along another axis than the result is, square tiles are transposed in registers.
"""

from __future__ import annotations

import math

from xdsl.ir import Operation, SSAValue

from penstock.compiler.dialects.graph.elementwise import Elementwise
from penstock.compiler.dialects.graph.shape import Append
from penstock.compiler.dialects.graph.structure import Constant, Yield
from penstock.compiler.dialects.tile.builder import KernelBuilder
from penstock.compiler.dtypes import shape_of
from penstock.compiler.extents import Dim, Extent, ceildiv, floordiv, largest, tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane, linearise
from penstock.compiler.passes.lower.evaluator import Coordinates, Evaluator
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.tile_scalars import Typed

BLOCK = 4096
GATHERED = 2  # how much longer an element takes in a tile of several rows, which lie apart


@schedule("map")
def lower_map(k: KernelLowering) -> None:
    """One nest per result piece (a concatenation at the end is one nest per operand), sharing the unit range."""
    nests = [nest for index, value in enumerate(k.outputs) for nest in _nests(k, value, index)]
    total = sum(nest.units for nest in nests)
    elements = sum(math.prod(nest.extents) * (GATHERED if nest.rows > 1 else 1) for nest in nests)
    cost = k.elementwise_cost(elements) / max(typical(total), 1)
    with k.b.units(total, cost) as unit:
        start = 0
        for nest in nests:
            local = k.b.isub(unit, start)
            position = iv(k.b.index(local), 0, largest(nest.units - 1, 0))
            if nest.units == 0:
                continue
            if len(nests) == 1:
                nest.emit(position)
            else:
                after = k.b.compare("ge", unit, k.b.index(start))
                before = k.b.compare("lt", unit, k.b.index(start + nest.units))
                with k.b.when(k.b.binary("and_", after, before)):
                    nest.emit(position)
            start += nest.units


class Nest:
    """The loop nest that stores ``value`` (of merged ``extents``) into output ``index`` at coordinates + ``shift``."""

    def __init__(
        self, k: KernelLowering, value: SSAValue, index: int, shift: tuple[Extent, ...], target: SSAValue
    ) -> None:
        self.k, self.value, self.index, self.shift = k, value, index, shift
        self.target_shape = k.e.shape(target)
        self.extents = k.e.shape(value)
        self.transposed = _contiguous_elsewhere(k, value)
        self.inner = self.extents[-1] if self.extents else 1
        lanes = k.machine.lanes
        rank = len(self.extents)
        self.rows = 1
        if self.transposed is not None:
            self.row_axis, self.rows, self.width = self.transposed, lanes, lanes
        else:
            self.row_axis = rank - 2
            self.width = tile_width(self.inner, 4 * lanes)
            if rank >= 2 and not isinstance(self.inner, Dim) and self.inner <= lanes:
                self.rows = tile_width(self.extents[-2], min(4 * lanes // max(self.inner, 1), 8))
        self.block = BLOCK // self.width * self.width if self.rows == 1 and rank == 1 else self.inner
        outer = [e for axis, e in enumerate(self.extents[:-1]) if not (self.rows > 1 and axis == self.row_axis)]
        self.outer = tuple(outer)
        self.row_blocks = ceildiv(self.extents[self.row_axis], self.rows) if self.rows > 1 else 1
        self.inner_blocks = 1 if self.block == self.inner else ceildiv(self.inner, self.block)
        self.inner_blocks = self.inner_blocks if self.inner != 0 else 0
        self.units = math.prod(outer) * self.row_blocks * self.inner_blocks

    def emit(self, unit: Expr) -> None:
        """The code of one unit."""
        *outer, row_block, inner_block = self.k.split(unit, (*self.outer, self.row_blocks, self.inner_blocks))
        at: list[Expr] = []
        remaining = iter(outer)
        for axis in range(len(self.extents) - 1):
            at.append(Expr() if self.rows > 1 and axis == self.row_axis else next(remaining))
        if self.rows == 1:
            self._strips(at, inner_block)
            return
        self.k.strip_at(row_block, self.extents[self.row_axis], self.rows, lambda rows: self._row_tile(at, rows))

    def _row_tile(self, at: list[Expr], rows: Strip) -> None:
        def strip(columns: Strip) -> None:
            with self.k.e.lanes((rows.width, columns.width), {**rows.limits(0), **columns.limits(1)}):
                coordinates = list(at)
                coordinates[self.row_axis] = rows.start + lane(0, rows.width)
                self._store((*coordinates, columns.start + lane(1, columns.width)))

        self.k.strips(self.inner, self.width, strip)

    def _strips(self, at: list[Expr], inner_block: Expr) -> None:
        if not self.extents:
            self._store(())
            return

        def strip(columns: Strip) -> None:
            with self.k.e.lanes((columns.width,), columns.limits(0)):
                self._store((*at, columns.start + lane(0, columns.width)))

        if self.inner_blocks == 1:
            self.k.strips(self.inner, self.width, strip)
            return
        b, full = self.k.b, floordiv(self.inner, self.width) * self.width
        start = self.k.e.scalar(inner_block * self.block)
        with b.loop(start, b.imin(b.iadd(start, self.block), full), self.width) as loop:
            strip(Strip(iv(loop.index, 0, largest(full - self.width, 0), self.width), self.width))
        if full != self.inner:
            last = b.compare("eq", b.index(self.k.e.scalar(inner_block)), b.index(self.inner_blocks - 1))
            with b.when(last):
                strip(self.k.tail(self.inner, self.width))

    def _store(self, at: Coordinates) -> None:
        tile = self.k.e.value(self.value, at)
        moved = tuple(c + s for c, s in zip(at, self.shift, strict=True))
        self.k.e.store(tile, self.k.targets[self.index], linearise(moved, self.target_shape))


def _nests(k: KernelLowering, value: SSAValue, index: int) -> list[Nest]:
    _merge_axes(k, value)
    op = value.owner
    if isinstance(op, Append):  # what was kept stays where it is
        shift = tuple(op.start if axis == op.axis else 0 for axis in range(len(shape_of(value.type))))
        return [nest for nest in [Nest(k, op.operands[1], index, shift, value)] if nest.units != 0]
    if isinstance(op, Operation) and op.name == "graph.concat" and op.operands:
        nests: list[Nest] = []
        start = 0
        for operand in op.operands:
            shift = tuple(start if axis == op.axis else 0 for axis in range(len(shape_of(value.type))))  # pyright: ignore
            nests.append(Nest(k, operand, index, shift, value))
            start += shape_of(operand.type)[op.axis]  # pyright: ignore
        return [nest for nest in nests if nest.units != 0]
    return [Nest(k, value, index, (0,) * len(k.e.shape(value)), value)]


def _merge_axes(k: KernelLowering, value: SSAValue) -> None:
    """In a body of elementwise ops only, merge axes that all values have, or broadcast, together."""
    ops = [op for op in k.body.ops if not isinstance(op, Yield)]
    values = [*k.body.args, *(op.results[0] for op in ops)]
    if not all(isinstance(op, Elementwise | Constant) for op in ops) or len({shape_of(o.type) for o in k.outputs}) > 1:
        return
    extents = shape_of(value.type)
    rank = len(extents)
    padded = {v: (1,) * (rank - len(shape_of(v.type))) + shape_of(v.type) for v in values}
    merged: list[int] = []
    patterns: list[tuple[bool, ...]] = []
    groups: list[list[int]] = []
    for axis in range(rank):
        if extents[axis] == 1:
            continue
        pattern = tuple(padded[v][axis] != 1 for v in values)
        if patterns and patterns[-1] == pattern:
            merged[-1] *= extents[axis]
            groups[-1].append(axis)
        else:
            merged.append(extents[axis])
            patterns.append(pattern)
            groups.append([axis])
    for v in values:
        if isinstance(v.owner, Operation) and isinstance(v.owner, Constant) and math.prod(shape_of(v.type)) > 1:
            return
    for v in values:
        k.e.shapes[v] = tuple(math.prod(padded[v][axis] for axis in group) for group in groups) or (1,)


class _Recorder(Evaluator):
    """An evaluator that builds nothing of use, only notes how each load moves along each axis of the result."""

    def __init__(self, k: KernelLowering, rank: int) -> None:
        types, sizes = [b.type for b in k.b.buffers], k.b.kernel.sizes
        scratch = KernelBuilder("accesses", types, outputs=len(k.targets), sizes=sizes)
        super().__init__(scratch, dict(zip(k.body.args, scratch.buffers, strict=False)))
        self.shapes = k.e.shapes
        self.strides: list[tuple[int, ...]] = []
        self.rank = rank

    def load(self, source: SSAValue, position: Expr, like: SSAValue) -> Typed:
        if position.is_linear():
            self.strides.append(tuple(position.stride(dim) for dim in range(self.rank)))
        return super().load(source, position, like)


def _contiguous_elsewhere(k: KernelLowering, value: SSAValue) -> int | None:
    """The axis, other than the last, along which some big operand is contiguous while no operand is along the last."""
    extents = k.e.shape(value)
    rank = len(extents)
    if rank < 2 or typical(math.prod(extents)) < 256 or typical(extents[-1]) < 4:
        return None
    recorder = _Recorder(k, rank)
    with recorder.lanes((2,) * rank):
        recorder.value(value, tuple(Expr() if e == 1 else lane(axis, 2) for axis, e in enumerate(extents)))
    if any(strides[-1] == 1 for strides in recorder.strides):
        return None
    for strides in recorder.strides:
        for axis in range(rank - 1):
            if strides[axis] == 1 and typical(extents[axis]) >= 4 and strides[-1] != 0:
                return axis
    return None
