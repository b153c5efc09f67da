"""Contractions: matrix products with register tiles of M rows by N columns.

In: ``graph.matmul`` (batched, operands as views, the right one packed in panels or plain). Out: a kernel whose unit is
a block of rows of one panel of columns. The one idea: MR x NR accumulators stay in registers over K, a unit sweeps
its rows while the panel of B stays in cache, and what follows the product is applied to the accumulators.
Weights that pass once through the cache are fetched a panel ahead, a line at every step: memory and arithmetic overlap.
Where there are few rows, each step fetches all that a step some kilobytes further on reads. Compressed weights are
decoded eight rows at a step, a vector of columns after the other.
A long K is cut: the rows sweep one part of the panel after the other, and sums wait in scratch, so that the part and
the one fetched ahead fit the second level of cache, and a tile's rows of A the first.
Tile sizes: MR * NV + NV + 1 registers at most (Goto and van de Geijn 2008; measured in docs/performance.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from penstock.compiler.backends.cpu.target import CpuTarget
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.compression import GROUP, STRIP, Decompress
from penstock.compiler.dialects.tile.base import element
from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.dtypes import byte_width
from penstock.compiler.extents import MOST, Dim, Extent, ceildiv, floordiv, is_number, largest, surely, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane, linearise
from penstock.compiler.passes.lower.evaluator import Coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.rules_compression import CompressedWeights
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

MAX_UNROLLED_CHAINS = 4
L1_WAY_BYTES = 4096  # addresses so far apart share a set of the L1 cache: 64 sets of 64-byte lines
CACHE_LINE = 64
HIDING_TILES = 4  # row tiles whose arithmetic takes as long as fetching a panel from memory
FEW_ROWS = 4  # arithmetic takes less time than reading B from the shared cache
FETCH_BYTES = 2048  # how far ahead then: what arrives while a line comes from there
L1_WAYS = 12  # rows of A so far apart that stay in the cache together
LONGEST_DEPTH = 1024  # of K before it is cut
PARTS = (256, 512, 2048, 1 << 30)  # other lengths than that which tuning may try
OTHER_SHAPES = 5  # beside the estimated best that tuning may try
SUMMED_ALONE = 512  # steps of K whose products go into one sum
NEARLY_EQUAL = 1.04  # scores closer than this say nothing; loads decide


@dataclass(frozen=True)
class Blocking:
    """Register tile of ``rows`` x ``columns``; a unit sweeps ``sweep`` row tiles; K goes in ``chains`` interleaved
    sums, and is cut where it is longer than ``longest``; units go ``along_rows`` first, see ``rows_first``."""

    rows: int
    columns: int
    sweep: int
    chains: int
    along_rows: bool = False
    longest: int = LONGEST_DEPTH

    def __str__(self) -> str:
        cut = f" parts of {self.longest}" if self.longest != LONGEST_DEPTH else ""
        order = " rows first" if self.along_rows else ""
        return f"{self.rows}x{self.columns} sweep {self.sweep} chains {self.chains}{cut}{order}"


@dataclass(frozen=True)
class Part:
    """``length`` steps over k from ``begin``. ``continued``: sums go on with what scratch holds; unless it is the
    ``last`` part they go there again."""

    begin: Expr
    length: Extent
    continued: bool = False
    last: bool = True


def choose_blocking(m: int, n: int, k: int, panel: int, machine: CpuTarget, row_bytes: int) -> Blocking:
    """The register tile for an m x n x k product: least wasted work; where that is nearly equal, fewest loads per flop.

    ``row_bytes`` is the distance between neighbouring rows of A. At multiples of ``L1_WAY_BYTES`` all rows of
    a tile fall into one set of the L1 cache, and a tile of more rows than ways would miss on every load.
    """
    found = scored_shapes(m, n, k, panel, machine, row_bytes)
    limit = min(score for score, _, _ in found) * NEARLY_EQUAL
    blocking = min((option for option in found if option[0] <= limit), key=lambda option: option[1])[2]
    return _swept(blocking, m, n, k, machine.l2_bytes, row_bytes)


def blockings(m: int, n: int, k: int, panel: int, machine: CpuTarget, row_bytes: int) -> dict[str, Blocking]:
    """Blockings that may be worth a measurement, by name: that of ``choose_blocking`` first, then other shapes of the
    register tile, the most promising first, then the chosen one with longer and shorter sweeps, more and fewer sums,
    other parts of K, and units in the other order."""
    best = choose_blocking(m, n, k, panel, machine, row_bytes)
    shapes = [*scored_shapes(m, n, k, panel, machine, row_bytes), *scored_shapes(m, n, k, panel, machine, row_bytes, 1)]
    shapes.sort(key=lambda option: option[:2])
    others = [_swept(option[2], m, n, k, machine.l2_bytes, row_bytes) for option in shapes]
    tiles, registers = -(-m // best.rows), best.rows * -(-best.columns // machine.lanes)
    sweeps = [best.sweep // 2, best.sweep * 2, tiles]
    chains = [best.chains // 2, best.chains * 2]
    most = machine.vector_registers * 3 // 4 // registers
    found = [
        best,
        *others[:OTHER_SHAPES],
        *(replace(best, sweep=sweep) for sweep in sweeps if 1 <= sweep <= tiles),
        *(replace(best, chains=count) for count in chains if 1 <= count <= most),
        *(replace(best, longest=longest) for longest in PARTS if panel and k > min(longest, LONGEST_DEPTH)),
        replace(best, along_rows=not best.along_rows),
    ]
    return {str(blocking): blocking for blocking in found}


def scored_shapes(
    m: int, n: int, k: int, panel: int, machine: CpuTarget, row_bytes: int, more: int = 0
) -> list[tuple[float, float, Blocking]]:
    """For every width that fits, the tile of most rows, or one for ``more`` tiles of rows: estimated work with waste,
    loads per flop, and the tile."""
    most_rows = L1_WAYS if row_bytes % L1_WAY_BYTES == 0 else m
    widths = [w for w in (64, 48, 32, 16, 8) if w <= max(machine.lanes * 4, 8) and w >= min(machine.lanes, 8)]
    if panel:
        widths = [w for w in widths if panel % w == 0] or [math.gcd(panel, machine.lanes)]
    found: list[tuple[float, float, Blocking]] = []
    for columns in widths:
        vectors = -(-columns // machine.lanes)
        most = min((machine.vector_registers - 1 - vectors) // vectors, most_rows)
        tiles = min(-(-m // most) + more, m) if most > 0 else 0
        if tiles == 0:
            continue
        rows = -(-m // tiles)
        # One step over k: rows * vectors multiply-adds, vectors loads of B, rows broadcasts of A (two ports each).
        work = max(rows * vectors, (rows + vectors) * 0.9, 4.0 if rows * vectors < 8 else 0) / (rows * columns)
        waste = (tiles * rows / m) * (-(-n // columns) * columns / n)
        chosen = Blocking(rows, columns, 1, chains_for(rows, vectors, k))
        found.append((work * waste, (rows + vectors) / (rows * columns), chosen))
    return found


def _swept(blocking: Blocking, m: int, n: int, k: int, l2_bytes: int, row_bytes: int) -> Blocking:
    """With as many row tiles in a unit as leave units enough to share; where units go along the rows, with rows of A
    that stay in the L2 cache while the columns pass."""
    row_tiles, column_tiles = -(-m // blocking.rows), -(-n // blocking.columns)
    along_rows = rows_first(m, n, k)
    if along_rows:
        fitting = l2_bytes // (4 * max(row_bytes, 1) * blocking.rows)
        sweep = min(max(-(-row_tiles // 16), 4), max(fitting, 4))
    else:
        sweep = row_tiles if column_tiles >= 8 else max(1, -(-row_tiles * column_tiles // 16))
    return replace(blocking, sweep=max(1, min(sweep, row_tiles)), along_rows=along_rows)


def rows_first(m: int, n: int, k: int) -> bool:
    """Whether units go along the rows, then the columns: where what passes is more than the weights. Neighbouring rows
    are then computed by the thread that reads them in the next kernel, and need not go from one core to another."""
    return m * (n + k) > 2 * n * k


def chains_for(rows: int, vectors: int, depth: int) -> int:
    """Interleaved sums that keep the multiply-add units busy: eight accumulators at least, where K is long."""
    return max(1, min(MAX_UNROLLED_CHAINS, 8 // (rows * vectors))) if depth >= 64 else 1


@schedule("contraction", tunable=True)
def lower_contraction(k: KernelLowering) -> None:
    """Units: batch x panels of columns x blocks of row tiles; or blocks before panels, see ``rows_first``."""
    Contraction(k).emit()


class Contraction:
    """One matrix product being lowered."""

    def __init__(self, k: KernelLowering) -> None:
        self.k, self.op = k, k.root("graph.matmul")
        self.a, self.b = self.op.operands
        *self.batch, self.m, self.n = k.e.shape(self.op.out)
        if self.op.pairs:  # K counts words from here on
            *rows, depth = k.e.shape(self.a)
            k.e.read_pairs(self.a, (*rows, depth // 2))
            k.e.read_pairs(self.b, k.e.shape(self.b)[:-1])
        self.depth = k.e.shape(self.a)[-1]
        self.panel: int = self.op.b_panel
        self.compressed = CompressedWeights(k.e, self.b.owner) if isinstance(self.b.owner, Decompress) else None
        self.element = element_of(self.op.out)
        read, self.stored = (4 if self.op.pairs else byte_width(element_of(value)) for value in (self.a, self.b))
        self.register = register_type(self.element)
        self._line = CACHE_LINE // self.stored
        m, n, depth = map(typical, (self.m, self.n, self.depth))
        row_bytes = depth * read
        self.blocking = k.choose(blockings(m, n, depth, self.panel, k.machine, row_bytes))
        self.length = self._part_length()

    def _part_length(self) -> Extent:
        """How many steps over k are taken at once: all, or where a panel is swept by many rows about equal parts."""
        swept = self.panel and self.blocking.chains == 1 and self.blocking.sweep >= HIDING_TILES
        longest = self.blocking.longest
        if self.compressed or not swept or not is_number(self.depth) or self.depth <= longest:
            return self.depth
        return ceildiv(self.depth, ceildiv(self.depth, longest))

    def emit(self) -> None:
        k, blocking = self.k, self.blocking
        row_tiles, column_tiles = ceildiv(self.m, blocking.rows), ceildiv(self.n, blocking.columns)
        row_blocks = ceildiv(row_tiles, blocking.sweep)
        depth = typical(self.depth)
        flops = 2 * blocking.rows * blocking.sweep * blocking.columns * depth
        along_rows = blocking.along_rows
        inner = (row_blocks, column_tiles) if along_rows else (column_tiles, row_blocks)
        extents = (math.prod(self.batch), *inner)
        if self.length != self.depth or self.compressed:
            self.partial = k.b.alloc(blocking.sweep * blocking.rows * blocking.columns, self.register)
        # With few rows the columns of B, which pass once for all of them, take longer than the arithmetic.
        passing = depth * blocking.columns * self.stored / k.machine.l3_bandwidth
        with k.parallel(extents, max(flops / k.machine.peak_f32, passing)) as (batch, *unit):
            block, column = unit if along_rows else unit[::-1]
            at = k.split(batch, tuple(self.batch))
            full = floordiv(self.n, blocking.columns)
            if full * blocking.columns == self.n:
                self._rows(at, Strip(column * blocking.columns, blocking.columns), block, row_tiles)
                return
            last = k.b.compare("eq", k.b.index(k.e.scalar(column)), k.b.index(full))
            if full != 0:
                with k.b.when(k.b.unary("not_", last)):
                    inner = iv(k.b.index(k.e.scalar(column)), 0, largest(full - 1, 0))
                    self._rows(at, Strip(inner * blocking.columns, blocking.columns), block, row_tiles)
            with k.b.when(last):
                self._rows(at, k.tail(self.n, blocking.columns), block, row_tiles)

    def _rows(self, at: Coordinates, columns: Strip, block: Expr, row_tiles: Extent) -> None:
        """All row tiles of one block, once for each part of K."""
        k, size = self.k, self.blocking.columns
        if self.length == self.depth:
            self._sweep(at, columns, block, row_tiles, Part(Expr(), self.depth))
            return
        with k.loop(0, self.blocking.sweep * self.blocking.rows) as row, k.e.lanes((1, size)):
            zero = k.b.splat(0, (1, size), self.register)
            k.e.store(Typed(zero, self.register), self.partial, row * size + lane(1, size))
        others = floordiv(self.depth - 1, self.length)
        with k.loop(0, others) as number:
            part = Part(number * self.length, self.length, continued=True, last=False)
            self._sweep(at, columns, block, row_tiles, part)
        begin = others * self.length
        self._sweep(at, columns, block, row_tiles, Part(Expr(begin), self.depth - begin, continued=True))

    def _sweep(self, at: Coordinates, columns: Strip, block: Expr, row_tiles: Extent, part: Part) -> None:
        """All row tiles of one block: full ones in a loop, then the shorter last one where it belongs to the block."""
        k, rows, sweep = self.k, self.blocking.rows, self.blocking.sweep
        full = floordiv(self.m, rows)
        start = k.e.scalar(block * sweep)
        end = k.b.imin(k.b.iadd(start, sweep), full)
        if full != 0:
            with k.b.loop(start, end) as loop:
                number = iv(loop.index, 0, largest(full - 1, 0))
                ahead = self._ahead(k.b.isub(loop.index, start), columns, part)
                self.tile(at, number * rows, rows, columns, part, ahead)
        if full * rows == self.m:
            return

        def last_rows() -> None:
            k.pieces(k.tail(self.m, rows), lambda piece: self.tile(at, piece.start, piece.width, columns, part))

        if surely(row_tiles, "<=", sweep):
            last_rows()
            return
        with k.b.when(k.b.compare("eq", k.b.index(k.e.scalar(block)), k.b.index(ceildiv(row_tiles, sweep) - 1))):
            last_rows()

    def _ahead(self, number: Index, columns: Strip, part: Part) -> Expr | None:
        """Where row tile ``number`` of a unit fetches the next panel, or part of it, from: one cache line at each step
        over k, so that a tile fetches as many lines as it takes steps, in the order of memory, and the units of a panel
        all of it. Tiles after those touch the last lines again. None where there are not tiles enough."""
        lines = columns.width * self.stored // CACHE_LINE  # of each row of the panel, fetched by a unit
        whole = columns.width == self.blocking.columns and columns.limit is None and not self.compressed
        if not self.panel or not whole or lines == 0 or self.blocking.sweep < max(lines, HIDING_TILES):
            return None
        k = self.k
        line = k.b.imin(number, lines - 1)
        line = iv(line, 0, lines - 1) if isinstance(line, SSAValue) else Expr(line)
        line = line + columns.start.mod(self.panel).floordiv(columns.width // lines)
        following = columns.start.floordiv(self.panel) * (self.depth * self.panel) + part.begin * self.panel
        return k.settle(following + part.length * self.panel + line * (part.length * (columns.width // lines)))

    def tile(
        self, at: Coordinates, row: Expr, rows: int, columns: Strip, part: Part, ahead: Expr | None = None
    ) -> None:
        """One register tile: the sum over a part of k, then the epilogue or, if more is to come, into scratch."""
        k = self.k
        if self.compressed:
            self._compressed_tile(self.compressed, at, row, rows, columns)
            return
        chains = self.blocking.chains if rows == self.blocking.rows else self._chains(rows, columns.width)
        with k.e.lanes((rows, columns.width), columns.limits(1)):
            local = row.mod(self.blocking.sweep * self.blocking.rows) + lane(0, rows)
            slot = local * self.blocking.columns + lane(1, columns.width)

            def step(t: Expr, total: SSAValue) -> SSAValue:
                return self._step(
                    at, row, columns.start, part.begin + t, total, None if ahead is None else ahead + t * self._line
                )

            zeros = [k.b.splat(0, (rows, columns.width), self.register)] * chains
            total = total_of(k, part.length, zeros, step)
            if part.continued:
                total = k.b.add(total, k.e.load_scratch(self.partial, slot))
            if not part.last:
                k.e.store(Typed(total, self.register), self.partial, slot)
                return
            coordinates = (*at, row + lane(0, rows), columns.start + lane(1, columns.width))
            k.finish(self.op.out, coordinates, Typed(total, self.element))

    def _chains(self, rows: int, columns: int) -> int:
        """Interleaved sums of a tile that is smaller than the others because the sizes want it."""
        if not isinstance(self.m, Dim):
            return self.blocking.chains
        return chains_for(rows, -(-columns // self.k.machine.lanes), typical(self.depth))

    def _step(
        self, at: Coordinates, row: Expr, column: Expr, depth: Expr, total: SSAValue, ahead: Expr | None
    ) -> SSAValue:
        """total + A[rows, depth] * B[depth, columns]."""
        k = self.k
        rows, columns = k.e.tile.extents
        if ahead is not None:
            k.b.prefetch(k.e.buffers[self.b], k.e.scalar(ahead), 2)
        elif self.panel and rows <= FEW_ROWS:
            here = linearise((column.floordiv(self.panel), depth, column.mod(self.panel)), k.e.shape(self.b))
            first, line = FETCH_BYTES // self.stored, CACHE_LINE // self.stored
            for start in range(first, first + columns, line):
                k.b.prefetch(k.e.buffers[self.b], k.e.scalar(here + start), 0)  # read once: not to stay
        a_batch = self._batch_of(self.a, at)
        a = k.e.value(self.a, (*a_batch, row + lane(0, rows), depth)).value
        if self.panel:
            panel = column.floordiv(self.panel), depth, column.mod(self.panel) + lane(1, columns)
            b = k.e.load(k.e.buffers[self.b], linearise(panel, k.e.shape(self.b)), self.b).value
        else:
            b = k.e.value(self.b, (*self._batch_of(self.b, at), depth, column + lane(1, columns))).value
        if self.op.pairs:
            return k.b.dot_pairs(a, b, total)
        if element(a) == element(b) and not _is_integer(self.register):
            return k.b.fma(a, b, total)
        return k.b.add(total, k.b.mul(a, b))

    def _compressed_tile(
        self, weights: CompressedWeights, at: Coordinates, row: Expr, rows: int, columns: Strip
    ) -> None:
        """One register tile of compressed weights: sums of what words decode to go to scratch, exceptions put them
        right there."""
        k, a_batch = self.k, self._batch_of(self.a, at)
        panel = columns.start.floordiv(self.panel)
        exceptions = weights.exceptions_of(panel)
        weights.prefetch_exceptions(exceptions[0])
        base = weights.base(panel)

        def a(depth: Expr) -> SSAValue:
            with k.e.lanes((rows, 1)):
                return k.e.value(self.a, (*a_batch, row + lane(0, rows), depth)).value

        self._sum_compressed(weights, base, a, rows, columns)
        line = lane(0, rows) * self.blocking.columns
        with k.b.loop(*exceptions) as loop:
            place, weight, other = weights.exception(base, loop.index)
            column = k.settle(place.mod(self.panel) - columns.start.mod(self.panel))
            inside = k.e.inside(column, columns.width)
            with k.b.when(inside) if inside is not None else nullcontext(), k.e.lanes((rows, 1)):
                x, slot = a(k.settle(place.floordiv(self.panel))), line + k.e.clamp(column, columns.width)
                finite = k.b.compare("lt", k.b.unary("abs", x), math.inf)
                total = k.b.fma(x, weight, k.e.load_scratch(self.partial, slot))
                total = k.b.fma(k.b.select(finite, k.b.unary("neg", x), 0.0), other, total)
                k.e.store(Typed(total, self.register), self.partial, slot)
        with k.e.lanes((rows, columns.width), columns.limits(1)):
            total = k.e.load_scratch(self.partial, line + lane(1, columns.width))
            coordinates = (*at, row + lane(0, rows), columns.start + lane(1, columns.width))
            k.finish(self.op.out, coordinates, Typed(total, self.element))

    def _sum_compressed(
        self, weights: CompressedWeights, base: SSAValue, a: Callable[[Expr], SSAValue], rows: int, columns: Strip
    ) -> None:
        """The sums of a tile into scratch, eight rows of weights at a step, a vector of columns after the other: words
        need few registers then, and are read in the order of memory. A long K goes in parts, as in ``total_of``."""
        k, groups = self.k, self.depth // GROUP
        panel, first = columns.start.floordiv(self.panel), columns.start.mod(self.panel)
        lanes = min(k.machine.lanes, STRIP)
        widths = {begin: min(lanes, columns.width - begin) for begin in range(0, columns.width, lanes)}
        zeros = [k.b.splat(0, (rows, width), self.register) for width in widths.values()]

        def step(group: Expr, sums: Group) -> Group:
            done: list[SSAValue] = []
            for (begin, width), total in zip(widths.items(), sums, strict=True):
                if begin % STRIP == 0:
                    weights.prefetch(panel, group, (first + begin).floordiv(STRIP))
                with k.e.lanes((rows, width)):
                    numbers = weights.rows(base, panel, group, first + begin + lane(1, width))
                for number, b in enumerate(numbers):
                    total = k.b.fma(a(group * GROUP + number), b, total)
                done.append(total)
            return done

        def part(start: Expr, length: int, totals: Group) -> Group:
            (sums,) = accumulate_several(k, length, [zeros], lambda t, group: step(start + t, group))
            return [k.b.add(total, sum_) for total, sum_ in zip(totals, sums, strict=True)]

        parts = _parts(groups, SUMMED_ALONE // GROUP)
        length = groups // parts
        with k.b.loop(0, parts, 1, zeros) as loop:
            loop.yield_(*part(iv(loop.index, 0, parts - 1) * length, length, loop.carried))
        totals: Group = loop.results
        if parts * length != groups:
            totals = part(Expr(parts * length), groups - parts * length, totals)
        for (begin, width), total in zip(widths.items(), totals, strict=True):
            with k.e.lanes((rows, width)):
                slot = lane(0, rows) * self.blocking.columns + begin + lane(1, width)
                k.e.store(Typed(total, self.register), self.partial, slot)

    def _batch_of(self, operand: SSAValue, at: Coordinates) -> Coordinates:
        extents = self.k.e.shape(operand)[:-2]
        if self.panel and operand is self.b:
            return ()
        trailing = at[len(at) - len(extents) :] if extents else ()
        return tuple(Expr() if extent == 1 else c for c, extent in zip(trailing, extents, strict=True))


def total_of(
    k: KernelLowering,
    depth: Extent,
    zeros: list[SSAValue],
    step: Callable[[Expr, SSAValue], SSAValue],
    alone: int = SUMMED_ALONE,
) -> SSAValue:
    """The sum of ``step`` over 0 .. depth-1, in as many interleaved sums as there are ``zeros``.

    Where there are many steps they go in parts, at most ``alone`` for each of the sums, and the parts are added up: the
    error of random terms then grows with the root of a part's length times that of K instead of with K (Higham 2002,
    Accuracy and Stability of Numerical Algorithms, section 4.2).
    """
    parts = _parts(depth, alone * len(zeros)) if is_number(depth) else 1
    if parts == 1:
        return combine(k, accumulate(k, depth, zeros, step))
    length = depth // parts

    def part(start: Expr | int, steps: Extent = length) -> SSAValue:
        return combine(k, accumulate(k, steps, zeros, lambda t, total: step(t + start, total)))

    total = part(0)
    if parts == 2:
        total = k.b.add(total, part(length))
    else:
        with k.b.loop(1, parts, 1, [total]) as loop:
            loop.yield_(k.b.add(loop.carried[0], part(iv(loop.index, 1, parts - 1) * length)))
        (total,) = loop.results
    return total if parts * length == depth else k.b.add(total, part(parts * length, depth - parts * length))


def _parts(depth: int, most: int) -> int:
    """In how many parts of at most ``most`` steps K is summed; if possible, parts that leave nothing over."""
    fewest = -(-depth // most)
    return next((parts for parts in range(fewest, 2 * fewest) if depth % parts == 0), fewest) if fewest > 1 else 1


def accumulate(
    k: KernelLowering, depth: Index, sums: list[SSAValue], step: Callable[[Expr, SSAValue], SSAValue]
) -> list[SSAValue]:
    """Run ``step`` for 0 .. depth-1 in order, dealt in turn to the interleaved ``sums``."""
    return [one for (one,) in accumulate_several(k, depth, [[s] for s in sums], lambda t, group: [step(t, group[0])])]


Group = Sequence[SSAValue]


def accumulate_several(
    k: KernelLowering, depth: Index, groups: Sequence[Group], step: Callable[[Expr, Group], Group]
) -> list[Group]:
    """Run ``step`` for 0 .. depth-1 in order, dealt in turn to the interleaved ``groups`` of sums."""
    chains, most = len(groups), depth if not isinstance(depth, SSAValue) else MOST
    steps, width = k.b.idiv(depth, chains), len(groups[0])

    def cut(flat: Group) -> list[Group]:
        return [flat[start : start + width] for start in range(0, len(flat), width)]

    groups = list(groups)
    if steps == 1:
        groups = [step(Expr(chain), group) for chain, group in enumerate(groups)]
    elif steps != 0:
        with k.b.loop(0, steps, 1, [one for group in groups for one in group]) as loop:
            index = iv(loop.index, 0, largest(floordiv(most, chains) - 1, 0))
            done = [step(index * chains + chain, group) for chain, group in enumerate(cut(loop.carried))]
            loop.yield_(*(one for group in done for one in group))
        groups = cut(loop.results)
    first = k.b.imul(steps, chains)
    if is_number(depth) and is_number(first):
        for rest in range(first, depth):
            groups[rest % chains] = step(Expr(rest), groups[rest % chains])
        return groups
    if first == depth:
        return groups
    # How many are left depends on the sizes: they go into the first sums.
    with k.b.loop(first, depth, 1, list(groups[0])) as loop:
        loop.yield_(*step(iv(loop.index, 0, largest(most - 1, 0)), loop.carried))
    return [loop.results, *groups[1:]]


def combine(k: KernelLowering, sums: list[SSAValue]) -> SSAValue:
    """The sum of interleaved partial sums, pairwise."""
    while len(sums) > 1:
        sums = [k.b.add(a, b) for a, b in zip(sums[::2], sums[1::2], strict=False)] + sums[len(sums) // 2 * 2 :]
    return sums[0]


def _is_integer(kind: object) -> bool:
    from xdsl.dialects.builtin import IntegerType

    return isinstance(kind, IntegerType)
