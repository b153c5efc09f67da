"""Winograd convolutions: tiles of inputs to points, one matrix product per point, points to tiles of outputs.

In: ``graph.winograd_conv`` with weights packed [O/P][n n][C][P]. Out: a kernel whose unit is a block of tiles and some
panels of output channels. The one idea: a unit's transformed inputs and products stay in the second level of cache, so
that only activations and weights pass through memory: no launch of its own for a transform, and no image-sized buffers.

Transforms work on one vector of channels at a time, with the n x n tile in registers; the points a and -a share the
even and the odd part of their polynomials. Tiles at the border read with masks: nothing is padded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from penstock.compiler.backends.cpu.target import CpuTarget
from penstock.compiler.dialects.graph.winograd import transforms
from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.extents import ceildiv, largest, quotient, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule
from penstock.compiler.passes.lower.schedules.contraction import chains_for, total_of
from penstock.compiler.passes.lower.tile_scalars import Typed

Tiles = list[SSAValue]

UNITS = 8  # enough for the threads of a small machine to share
PLANE_GAP = 16  # elements between the planes of two points, so that they do not fall into the same sets of the L1 cache
BLOCK_TILES = 64
SUMMED_ALONE = 48  # channels: what the transform of outputs cancels, it takes from sums of larger numbers
BEGIN = 30  # multiply-adds in the time that a register tile takes beside its loop over channels
WORTH_TRYING = 10  # of the blocks there are, by estimated time
LINE = 16  # elements of a cache line
FIRST_READ, READ_AGAIN = (
    11,
    5,
)  # multiply-adds that one core does while it reads a weight from memory, from the L3 cache


@dataclass(frozen=True)
class Block:
    """A unit takes ``tiles`` tiles, a multiple of ``rows``, and ``panels`` panels; register tiles: rows x columns."""

    tiles: int
    rows: int
    columns: int
    panels: int

    def __str__(self) -> str:
        return f"{self.tiles} tiles in {self.rows}x{self.columns}, {self.panels} panels"


def choose_block(total: int, points: int, channels: int, features: int, panel: int, machine: CpuTarget) -> Block:
    """The block for ``total`` tiles: inputs within the L2 cache, least waste, and units enough to share."""
    return blocks_by_time(total, points, channels, features, panel, machine)[0]


def blocks_by_time(
    total: int, points: int, channels: int, features: int, panel: int, machine: CpuTarget
) -> list[Block]:
    """The blocks there are, that of the least estimated time first."""
    columns = math.gcd(panel, 2 * machine.lanes)
    vectors = max(1, columns // machine.lanes)
    most_rows = (machine.vector_registers - 1 - vectors) // vectors
    room = machine.l2_bytes * 7 // 8 // (4 * points * channels)
    panels = -(-features // panel)
    found: list[tuple[float, int, Block]] = []
    for rows in range(1, most_rows + 1):
        for tiles in range(rows, max(rows, min(room, BLOCK_TILES)) + 1, rows):
            blocks = -(-total // tiles)
            groups = 1 if blocks >= UNITS else min(max(1, panels // 2), -(-UNITS // blocks))
            work = (max(rows * vectors, rows + vectors, 8) + BEGIN / channels) / (rows * vectors)
            units = blocks * -(-panels // -(-panels // groups))
            shared = -(-units // 2) * 2 / units * (1 + 0.02 * max(0, UNITS - units))
            each = tiles * work
            time = max(each, FIRST_READ) + (blocks - 1) * max(each, READ_AGAIN)
            score = time / total * shared * (1 + 1 / tiles) * (1 + 0.02 * groups)
            found.append((score, -tiles, Block(tiles, rows, columns, -(-panels // groups))))
    return [block for _, _, block in sorted(found, key=lambda option: option[:2])]


@schedule("winograd", tunable=True)
def lower_winograd(k: KernelLowering) -> None:
    """Units: blocks of tiles x groups of panels of output channels."""
    WinogradKernel(k).emit()


class WinogradKernel:
    """One convolution being lowered. Names: tile and size: outputs and points along an axis of a tile."""

    def __init__(self, k: KernelLowering) -> None:
        self.k, self.op = k, k.root("graph.winograd_conv")
        self.x, self.u = self.op.operands
        self.tile: int = self.op.tile
        self.size, self.points = self.tile + 2, self.op.points
        self.matrices = transforms(self.tile)
        self.batch, *inputs, self.channels = k.e.shape(self.x)
        _, *outputs, self.features = k.e.shape(self.op.out)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.panels, self.panel = k.e.shape(self.u)[0], k.e.shape(self.u)[-1]
        self.lanes = math.gcd(k.machine.lanes, self.channels, self.features)
        self.counts = (self.batch, *(ceildiv(extent, self.tile) for extent in self.outputs))
        self.total = math.prod(self.counts)
        total = typical(self.total)
        blocks = blocks_by_time(total, self.points, self.channels, self.features, self.panel, k.machine)
        self.block = k.choose({str(block): block for block in blocks[:WORTH_TRYING]})
        self.planes = self.block.tiles * self.channels + PLANE_GAP, self.block.tiles * self.panel + PLANE_GAP

    def emit(self) -> None:
        k, block = self.k, self.block
        self.inputs_at_points = k.b.alloc(self.points * self.planes[0], f32)
        self.products = k.b.alloc(self.points * self.planes[1], f32)
        self.border = k.b.alloc(self.points * self.channels, f32)
        groups = -(-self.panels // block.panels)
        flops = 2 * self.points * block.tiles * self.channels * self.panel * block.panels
        units = (ceildiv(self.total, block.tiles), groups)
        with k.parallel(units, flops / k.machine.peak_f32) as (number, group):
            first = k.settle(number * block.tiles)
            count = k.b.imin(k.b.isub(self.total, k.e.scalar(first)), block.tiles)
            with k.b.loop(0, count) as loop:
                self._inputs_to_points(first, iv(loop.index, 0, block.tiles - 1))
            start = k.e.scalar(group * block.panels)
            with k.b.loop(start, k.b.imin(k.b.iadd(start, block.panels), self.panels)) as loop:
                panel = iv(loop.index, 0, self.panels - 1)
                self._products(panel, count)
                with k.b.loop(0, count) as tiles:
                    self._points_to_outputs(first, iv(tiles.index, 0, block.tiles - 1), panel)

    def _coordinates(self, first: Expr, slot: Expr) -> tuple[Expr, Expr, Expr]:
        """Batch, and row and column of the first output, of tile ``slot`` of the block."""
        position = self.k.e.scalar(first + slot)
        number = iv(position, 0, largest(self.total - 1, 0)) if isinstance(position, SSAValue) else Expr(position)
        batch, row, column = self.k.split(number, self.counts)
        return batch, row * self.tile, column * self.tile

    # Inputs ----------------------------------------------------------------------------------------------------------

    def _inputs_to_points(self, first: Expr, slot: Expr) -> None:
        """B' d B for all channels of one tile, into scratch [points][tiles][channels]."""
        k, b = self.k, self.k.b
        batch, *corner = self._coordinates(first, slot)
        at = [start - pad for start, pad in zip(corner, self.op.pads_low, strict=True)]
        inside: SSAValue | None = None
        for start, extent in zip(at, self.inputs, strict=True):
            for end, limit in ((start, extent), (start + (self.size - 1), extent)):
                holds = k.e.inside(end, limit)
                if holds is not None:
                    inside = holds if inside is None else b.binary("and_", inside, holds)
        if inside is None:
            self._transform_inputs(slot, lambda channel: self._image(batch, at, channel))
            return
        with b.then(inside) as branch:
            self._transform_inputs(slot, lambda channel: self._image(batch, at, channel))
        with b.otherwise(branch):
            self._copy_border(batch, at)
            self._transform_inputs(slot, self._border)

    def _transform_inputs(self, slot: Expr, source: Callable[[Expr], list[Tiles]]) -> None:
        """B' d B, where ``source`` has the columns of d at a vector of channels."""
        k = self.k
        with k.loop(0, self.channels, self.lanes) as channel, k.e.lanes((1, self.lanes)):
            rows = transposed([self._evaluate(column) for column in source(channel)])
            place = slot * self.channels + channel + lane(1, self.lanes)
            for i, row in enumerate(rows):
                for j, value in enumerate(self._evaluate(row)):
                    plane = (i * self.size + j) * self.planes[0]
                    k.e.store(Typed(value, f32), self.inputs_at_points, place + plane)

    def _image(self, batch: Expr, at: Sequence[Expr], channel: Expr) -> list[Tiles]:
        """The columns of a tile that lies inside the image."""
        each = channel + lane(1, self.lanes)
        steps = range(self.size)
        return [[self.k.e.value(self.x, (batch, at[0] + i, at[1] + j, each)).value for i in steps] for j in steps]

    def _border(self, channel: Expr) -> list[Tiles]:
        """The columns of the tile that was copied."""
        return self._points_of(self.border, channel + lane(1, self.lanes), self.channels)

    def _points_of(self, scratch: SSAValue, place: Expr, plane: int) -> list[Tiles]:
        """The columns of a size x size tile in scratch whose elements are ``plane`` apart."""
        steps = range(self.size)
        return [[self.k.e.load_scratch(scratch, place + (i * self.size + j) * plane) for i in steps] for j in steps]

    def _copy_border(self, batch: Expr, at: Sequence[Expr]) -> None:
        """A tile that is partly outside goes to scratch [size][size][channels], zeros outside."""
        k, b = self.k, self.k.b
        with k.loop(0, self.size) as i, k.loop(0, self.size) as j:
            position = at[0] + i, at[1] + j
            checks = [k.e.inside(p, extent) for p, extent in zip(position, self.inputs, strict=True)]
            inside = k.e.mask_and(checks)
            assert inside is not None, "a tile that may be outside has a position that may be"
            place = (i * self.size + j) * self.channels + lane(1, self.lanes)
            each = (1, self.lanes)
            with (
                b.then(inside) as branch,
                k.loop(0, self.channels, self.lanes) as channel,
                k.e.lanes(each),
            ):
                value = k.e.value(self.x, (batch, *position, channel + lane(1, self.lanes)))
                k.e.store(value, self.border, place + channel)
            with b.otherwise(branch), k.loop(0, self.channels, self.lanes) as channel, k.e.lanes(each):
                k.e.store(Typed(b.splat(0, each, f32), f32), self.border, place + channel)

    def _evaluate(self, values: Tiles) -> Tiles:
        """B' times values."""
        return symmetric_rows(self.matrices.inputs.tolist(), values, self._combine, self.k)

    # Products --------------------------------------------------------------------------------------------------------

    def _products(self, panel: Expr, count: Index) -> None:
        """For every point, [tiles x channels] times [channels x panel], into scratch [points][tiles][panel]; what a
        register tile computes beyond the last of ``count`` tiles may be anything."""
        k, block = self.k, self.block
        vectors = max(1, block.columns // k.machine.lanes)
        chains = chains_for(block.rows, vectors, self.channels)
        used: Index = block.tiles if quotient(self.total, block.tiles) is not None else count
        loops = k.loop(0, self.points), k.loop(0, self.panel, block.columns), k.b.loop(0, used, block.rows)
        tile = block.rows, block.columns
        with loops[0] as point, loops[1] as column, loops[2] as loop, k.e.lanes(tile):
            row = iv(loop.index, 0, block.tiles - block.rows, block.rows)
            rows, columns = row + lane(0, block.rows), column + lane(1, block.columns)
            ahead, lines = self._ahead(panel * self.points + point, row, column)

            def step(t: Expr, total: SSAValue) -> SSAValue:
                for line in range(lines):
                    place = ahead + (t * lines + line) * LINE
                    k.b.prefetch(k.e.buffers[self.u], k.e.scalar(place), 2)
                a = k.e.load_scratch(self.inputs_at_points, point * self.planes[0] + rows * self.channels + t)
                place = ((panel * self.points + point) * self.channels + t) * self.panel + columns
                return k.b.fma(a, k.e.load(k.e.buffers[self.u], place, self.u).value, total)

            total = total_of(k, self.channels, [k.b.splat(0, tile, f32)] * chains, step, SUMMED_ALONE)
            k.e.store(Typed(total, f32), self.products, point * self.planes[1] + rows * self.panel + columns)

    def _ahead(self, matrix: Expr, row: Expr, column: Expr) -> tuple[Expr, int]:
        """Where a register tile fetches the weights of the next point from, and how many cache lines at each step; all
        register tiles of a point fetch all of it, or touch its last part again."""
        block = self.block
        row_tiles = block.tiles // block.rows
        passes = row_tiles * (self.panel // block.columns)
        lines = -(-self.panel // LINE // passes)
        parts = self.panel // LINE // lines
        number = column.floordiv(block.columns) * row_tiles + row.floordiv(block.rows)
        part = self.k.b.imin(self.k.e.scalar(number), parts - 1)
        here = iv(part, 0, parts - 1) if isinstance(part, SSAValue) else Expr(part)
        size = self.channels * self.panel
        return self.k.settle((matrix + 1) * size + here * (size // parts)), lines

    # Outputs ---------------------------------------------------------------------------------------------------------

    def _points_to_outputs(self, first: Expr, slot: Expr, panel: Expr) -> None:
        """A' m A for one tile and one panel, and what follows the convolution."""
        k = self.k
        batch, row, column = self._coordinates(first, slot)
        if self.features % self.panel == 0:
            width: Index = self.panel
        else:
            width = k.b.imin(k.b.isub(self.features, k.e.scalar(panel * self.panel)), self.panel)
        with k.b.loop(0, width, self.lanes) as loop:
            channel = iv(loop.index, 0, self.panel - self.lanes, self.lanes)
            place = slot * self.panel + channel + lane(1, self.lanes)
            with k.e.lanes((1, self.lanes)):
                columns = self._points_of(self.products, place, self.planes[1])
            feature = panel * self.panel + channel + lane(1, self.lanes)
            for i, values in enumerate(transposed([self._interpolate(values) for values in columns])):
                with self._existing(row + i, 0):
                    for j, value in enumerate(self._interpolate(values)):
                        with self._existing(column + j, 1), k.e.lanes((1, self.lanes)):
                            k.finish(self.op.out, (batch, row + i, column + j, feature), Typed(value, f32))

    @contextmanager
    def _existing(self, position: Expr, axis: int) -> Generator[None]:
        """Run the block if output ``position`` exists: the last tile may reach beyond the image."""
        k, extent = self.k, self.outputs[axis]
        if quotient(extent, self.tile) is not None:
            yield
            return
        with k.b.when(k.e.compare("lt", position, extent)):
            yield

    def _interpolate(self, values: Tiles) -> Tiles:
        """A' times values."""
        return symmetric_columns(self.matrices.outputs.tolist(), values, self._combine, self.k)

    def _combine(self, factors: Sequence[float], values: Tiles) -> SSAValue:
        """The sum of factors times values, one multiply-add each; ones take an addition."""
        b = self.k.b
        terms = [(factor, value) for factor, value in zip(factors, values, strict=True) if factor != 0]
        terms.sort(key=lambda term: term[0] != 1)
        factor, total = terms[0]
        if factor != 1:
            total = b.mul(total, factor)
        for factor, value in terms[1:]:
            if abs(factor) == 1:
                total = b.add(total, value) if factor == 1 else b.sub(total, value)
            else:
                total = b.fma(value, b.splat(factor, (1, 1), f32), total)
        return total


Combine = Callable[[Sequence[float], Tiles], SSAValue]


def transposed(rows: list[Tiles]) -> list[Tiles]:
    """Columns of a matrix given by rows."""
    return [list(column) for column in zip(*rows, strict=True)]


def symmetric_rows(matrix: list[list[float]], values: Tiles, combine: Combine, k: KernelLowering) -> Tiles:
    """``matrix`` times ``values``, where rows 2 i + 1 and 2 i + 2 differ in the sign of what is odd."""
    result = [combine(matrix[0], values)]
    for up, down in zip(matrix[1:-1:2], matrix[2:-1:2], strict=True):
        even = combine([(p + q) / 2 for p, q in zip(up, down, strict=True)], values)
        odd = combine([(p - q) / 2 for p, q in zip(up, down, strict=True)], values)
        result += [k.b.add(even, odd), k.b.sub(even, odd)]
    return [*result, combine(matrix[-1], values)]


def symmetric_columns(matrix: list[list[float]], values: Tiles, combine: Combine, k: KernelLowering) -> Tiles:
    """``matrix`` times ``values``, where columns 2 i + 1 and 2 i + 2 are equal in even rows, opposite in odd ones."""
    pairs = list(zip(values[1:-1:2], values[2:-1:2], strict=True))
    sums, differences = [k.b.add(p, q) for p, q in pairs], [k.b.sub(p, q) for p, q in pairs]
    result: Tiles = []
    for power, row in enumerate(matrix):
        shared = sums if power % 2 == 0 else differences
        result.append(combine([row[0], *row[1:-1:2], row[-1]], [values[0], *shared, values[-1]]))
    return result
