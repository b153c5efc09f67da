"""Attention: scores, softmax and the weighted sum of values in one kernel; no S x T matrix in memory.

In: ``graph.attention`` with q, k, v (and mask) as views. Out: a kernel whose unit is a block of queries of one head.
The one idea: the unit transposes its head's keys once into scratch, then takes a few queries at a time: their scores
against all keys (a matrix product in registers), softmax over the rows of scratch, and the product with the values.
Keys a causal query cannot see are not visited. (FlashAttention, Dao et al. 2022, with rows small enough for the first
level of cache, so that no running rescale is needed.) Weights are powers of two of the scores times log2(e); where
scores are but scaled, that is one multiply-add with the scale and the subtraction of the largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

from xdsl.ir import SSAValue

from penstock.compiler.backends.instructions import LOG2_E
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.tile.base import shape
from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.extents import Dim, ceildiv, floordiv, is_number, largest, quotient, tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane
from penstock.compiler.passes.lower.evaluator import broadcast_coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.contraction import accumulate, combine
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

Vector = Callable[[Expr, Expr, Sequence[SSAValue]], Sequence[SSAValue]]
LONG = 512  # queries and keys from which on it pays to bring a head's values together
Over = Callable[[Expr, Expr, Index, list[SSAValue]], list[SSAValue]]


@schedule("attention")
def lower_attention(k: KernelLowering) -> None:
    """Units: batch x heads x blocks of queries."""
    Attention(k).emit()


class Attention:
    """One attention being lowered. Names: S queries, T keys, D width of q and k, E width of v."""

    vectors = 1
    """Vectors of keys that are computed together where strips are not whole."""

    def __init__(self, k: KernelLowering) -> None:
        self.k, self.op = k, k.root("graph.attention")
        self.q, self.keys, self.v = self.op.operands[:3]
        self.mask: SSAValue | None = self.op.operands[3] if len(self.op.operands) > 3 else None
        self.batch, self.heads, self.s, self.d = k.e.shape(self.q)
        _, self.shared, self.t, self.e = k.e.shape(self.v)
        self.element = element_of(self.op.out)
        self.register = register_type(self.element)
        lanes = k.machine.lanes
        self.grain = self.vectors * lanes
        self.width = (4 if k.machine.vector_registers >= 32 else 2) * lanes
        self.width = -(-tile_width(self.t, self.width) // self.grain) * self.grain
        vectors = self.width // lanes
        self.rows = tile_width(self.s, (k.machine.vector_registers - 2 - vectors) // vectors)
        if not isinstance(self.s, Dim):
            self.rows = -(-self.s // -(-self.s // self.rows))
        self.strips = ceildiv(self.t, self.width)
        # The factor of scores as the product gives them, applied with the subtraction of the peak (and no overflow).
        plain = self.mask is None and not self.op.softcap and not self.op.by_width and 0 < self.op.scale * LOG2_E <= 1
        self.factor = self.op.scale * LOG2_E if plain else 0.0

    def emit(self) -> None:
        k = self.k
        self.scale: float | SSAValue = self.op.scale
        if self.op.by_width:
            self.scale = k.b.mul(k.b.unary("sqrt", k.reciprocal(self.d, self.register)), self.op.scale)
        tiles = ceildiv(self.s, self.rows)
        heads = typical(self.batch * self.heads)
        blocks = min(typical(tiles), max(1, -(-8 // heads)))
        sweep = -(-typical(tiles) // blocks)
        self.scores = k.b.alloc(self.strips * self.rows * self.width, self.register)
        self.scales = k.b.alloc(self.rows, self.register)
        self.vectors_of_rows = k.b.alloc(self.rows * k.machine.lanes, self.register)
        self._alloc(sweep)
        cost = typical(self.op.cost().flops) / (heads * blocks) / k.machine.peak_f32
        with k.parallel((self.batch, self.heads, ceildiv(tiles, sweep)), cost) as (batch, head, block):
            self.at = (batch, head)
            self.shared_at = (batch, k.settle(head.floordiv(self.heads // self.shared)))
            self._prepare()
            start = k.e.scalar(block * sweep)
            full = floordiv(self.s, self.rows)
            if full != 0:
                with k.b.loop(start, k.b.imin(k.b.iadd(start, sweep), full)) as loop:
                    self._queries(iv(loop.index, 0, largest(full - 1, 0)) * self.rows, self.rows)
            if full * self.rows == self.s:
                return
            with k.b.when(k.b.compare("eq", k.b.index(k.e.scalar(block)), k.b.index(ceildiv(tiles, sweep) - 1))):
                k.pieces(k.tail(self.s, self.rows), lambda part: self._queries(part.start, part.width))

    def _alloc(self, sweep: int) -> None:
        """Scratch for one head's keys and values, which a unit prepares for ``sweep`` tiles of queries."""
        b = self.k.b
        self.transposed = b.alloc(self.strips * self.d * self.width, self.register)
        self.packs = min(sweep * self.rows, typical(self.t)) >= LONG
        if self.packs:
            self.packed = b.alloc(self.t * self.e, self.register)

    def _prepare(self) -> None:
        """Keys and values of the head as the products read them."""
        self._transpose_keys()
        if self.packs:
            self._pack_values()

    def _transpose_keys(self) -> None:
        """Scratch [strips of T, D, width] holds this head's keys; a tile is read along D and transposed in registers.
        What lies beyond the last key may be anything: its scores are masked."""
        k, side = self.k, self.k.machine.lanes

        def keys(part: Strip) -> None:
            def depth(along: Strip) -> None:
                with k.e.lanes((along.width, part.width), {**along.limits(0), **part.limits(1)}):
                    key, t = part.start + lane(1, part.width), along.start + lane(0, along.width)
                    tile = k.e.value(self.keys, (*self.shared_at, key, t))
                    first = part.start.mod(self.width) + lane(1, part.width)
                    slot = self._strip_of_keys(part.start.floordiv(self.width)) + t * self.width + first
                    k.e.store(Typed(tile.value, self.register), self.transposed, slot)

            k.strips(self.d, side, depth)

        k.strips(self.t, side, keys)

    def _value(self, key: Expr, at: Expr) -> SSAValue:
        if self.packs:
            return self.k.e.load_scratch(self.packed, key * self.e + at)
        return self.k.e.value(self.v, (*self.shared_at, key, at)).value

    def _pack_values(self) -> None:
        """Scratch [T, E] holds this head's values, so that reading them touches few pages of memory."""
        k = self.k
        with k.loop(0, self.t) as key:

            def columns(part: Strip) -> None:
                with k.e.lanes((part.width,), part.limits(0)):
                    at = part.start + lane(0, part.width)
                    tile = k.e.value(self.v, (*self.shared_at, key, at))
                    k.e.store(Typed(tile.value, self.register), self.packed, key * self.e + at)

            k.strips(self.e, self.width, columns)

    def _strip_of_keys(self, strip: Expr) -> Expr:
        return strip * (self.d * self.width)

    def _visible(self, query: Expr) -> Index:
        """How many keys ``query`` may see."""
        if not self.op.causal:
            return self.t
        k = self.k
        return k.b.imax(k.b.imin(k.e.scalar(query + (self.op.causal_offset + 1)), self.t), 0)

    def _queries(self, first: Expr, rows: int) -> None:
        """Scores, softmax and weighted values of ``rows`` queries."""
        count = self._visible(first + (rows - 1))
        self._scores(first, rows, self._visible(first), count)
        self._softmax(rows, count)
        self._values(first, rows, count)

    def _slot(self, strip: Expr, row: Expr, column: Expr) -> Expr:
        """The scores of a strip of keys: scratch [strips of T, rows, width]."""
        return strip * (self.rows * self.width) + row * self.width + column

    def _chains(self, rows: int, width: int) -> int:
        """Interleaved sums that keep the multiply-add units busy: eight accumulators at least."""
        return max(1, min(4, 8 // (rows * -(-width // self.k.machine.lanes))))

    def _strip_number(self, index: SSAValue) -> Expr:
        """The index of a loop over whole strips."""
        return iv(index, 0, largest(floordiv(self.t, self.width) - 1, 0))

    def _rest(self, whole: Index, count: Index, carried: Sequence[SSAValue], body: Vector) -> Sequence[SSAValue]:
        """Call ``body`` for each vector of keys between ``whole`` strips and ``count`` keys, with its strip, where in
        it the vector begins, and the carried values."""
        b = self.k.b
        start = b.imul(whole, self.width)
        if is_number(count) and is_number(start):
            for key in range(start, count, self.grain):
                carried = body(Expr(key // self.width), Expr(key % self.width), carried)
            return carried
        with b.loop(start, count, self.grain, carried) as loop:
            key = iv(loop.index, 0, largest(self.t - 1, 0), self.grain)
            loop.yield_(*body(key.floordiv(self.width), key.mod(self.width), loop.carried))
        return loop.results

    # Scores ----------------------------------------------------------------------------------------------------------

    def _scores(self, first: Expr, rows: int, clear: Index, count: Index) -> None:
        """q k^T into scratch: the ``clear`` keys that all of these queries see in strips, what is left up to ``count``
        by vectors, where keys that a query does not see score minus infinity."""
        b, grain = self.k.b, self.grain
        whole = b.idiv(clear, self.width)
        if whole != 0:
            with b.loop(0, whole) as loop:
                self._tile(first, rows, self._strip_number(loop.index), Expr(), self.width)
        if is_number(count) and is_number(whole):
            for strip in range(whole, -(-count // self.width)):
                width = min(self.width, -(-(count - strip * self.width) // grain) * grain)
                self._tile(first, rows, Expr(strip), Expr(), width, hides=True)
            return

        def vector(strip: Expr, column: Expr, carried: Sequence[SSAValue]) -> Sequence[SSAValue]:
            self._tile(first, rows, strip, column, grain, hides=True)
            return carried

        self._rest(whole, count, (), vector)

    def _tile(self, first: Expr, rows: int, strip: Expr, column: Expr, width: int, *, hides: bool = False) -> None:
        """Scores of ``rows`` queries and ``width`` keys from ``column`` of a strip on."""
        k, b = self.k, self.k.b
        with k.e.lanes((rows, width)):
            sums = [b.splat(0, (rows, width), self.register)] * self._chains(rows, width)
            score = combine(k, self._products(first, strip, column, sums))
            key = strip * self.width + column
            if not self.factor:
                score = self._adjusted(score, first, rows, key)
            if hides:
                score = self._hidden(score, first, rows, key)
            place = self._slot(strip, lane(0, rows), column + lane(1, width))
            k.e.store(Typed(score, self.register), self.scores, place)

    def _products(self, first: Expr, strip: Expr, column: Expr, sums: list[SSAValue]) -> list[SSAValue]:
        """``sums`` of products of queries from ``first`` on and keys from ``column`` of a strip on."""
        k, (rows, width) = self.k, shape(sums[0])

        def step(t: Expr, total: SSAValue) -> SSAValue:
            query = k.e.value(self.q, (*self.at, first + lane(0, rows), t)).value
            place = self._strip_of_keys(strip) + t * self.width + column + lane(1, width)
            return k.b.fma(query, k.e.load_scratch(self.transposed, place), total)

        return accumulate(k, self.d, sums, step)

    def _adjusted(self, score: SSAValue, first: Expr, rows: int, key: Expr) -> SSAValue:
        """cap(scale score) + mask."""
        k, b, width = self.k, self.k.b, shape(score)[1]
        score = b.mul(score, self.scale)
        if self.op.softcap:
            score = b.mul(b.unary("tanh", b.mul(score, 1.0 / self.op.softcap)), self.op.softcap)
        if self.mask is None:
            return score
        at = (*self.at, first + lane(0, rows), key + lane(1, width))
        limits: dict[int, Index] = {1: b.isub(self.t, k.e.scalar(key))} if quotient(self.t, width) is None else {}
        with k.e.lanes((rows, width), limits):
            mask = k.e.value(self.mask, broadcast_coordinates(at, k.e.shape(self.mask))).value
        return b.add(score, mask)

    def _hidden(self, score: SSAValue, first: Expr, rows: int, key: Expr) -> SSAValue:
        """Minus infinity for keys that a query does not see, or that do not exist."""
        k, b, width = self.k, self.k.b, shape(score)[1]
        masks: list[SSAValue | None] = []
        if quotient(self.t, width) is None:
            masks.append(k.e.compare("lt", key + lane(1, width), self.t))
        if self.op.causal:
            distance = k.e.index_tile(first + self.op.causal_offset + lane(0, rows) - key)
            masks.append(b.compare("le", b.iota((1, width), 1), distance))
        visible = k.e.mask_and(masks)
        return score if visible is None else b.select(visible, score, -math.inf)

    # Softmax ---------------------------------------------------------------------------------------------------------

    def _softmax(self, rows: int, count: Index) -> None:
        """Scores become weights e^(score - peak), row by row; one over their sums goes into scratch too. Lanes of all
        rows are combined together, which hides how long it takes."""
        k, b = self.k, self.k.b
        with k.loop(0, rows) as row:
            self._keep(row, self._along(row, count, "max_fast", -math.inf, lambda score, _: score))
        peaks = self._kept(rows, "max_fast")
        with k.e.lanes((rows, 1)):
            peaks = b.select(b.compare("eq", peaks, -math.inf), 0.0, peaks)
            k.e.store(Typed(peaks, self.register), self.scales, lane(0, rows))
        with k.loop(0, rows) as row:
            with k.e.lanes((1, 1)):
                peak = k.e.load_scratch(self.scales, row)
            self._keep(row, self._weights(row, count, peak))
        totals = self._kept(rows, "add")
        with k.e.lanes((rows, 1)):
            scales = b.select(b.compare("eq", totals, 0.0), 0.0, b.div(1.0, totals))
            k.e.store(Typed(scales, self.register), self.scales, lane(0, rows))

    def _keep(self, row: Expr, vector: SSAValue) -> None:
        """A vector of a row, to be combined with those of the others."""
        lanes = self.k.machine.lanes
        with self.k.e.lanes((1, lanes)):
            self.k.e.store(Typed(vector, self.register), self.vectors_of_rows, row * lanes + lane(1, lanes))

    def _kept(self, rows: int, kind: str) -> SSAValue:
        """One number a row: its vector's lanes combined by ``kind``."""
        k, lanes = self.k, self.k.machine.lanes
        with k.e.lanes((rows, lanes)):
            vectors = k.e.load_scratch(self.vectors_of_rows, lane(0, rows) * lanes + lane(1, lanes))
        return k.b.reduce(kind, vectors, (1,))

    def _weights(self, row: Expr, count: Index, peak: SSAValue) -> SSAValue:
        """Weights in place of the scores of a row; returns a vector of their sums."""
        k = self.k
        shift = k.b.mul(peak, -self.factor)

        def weight(score: SSAValue, slot: Expr) -> SSAValue:
            value = self._weight(score, peak, shift)
            k.e.store(Typed(value, self.register), self.scores, slot)
            return value

        return self._along(row, count, "add", 0.0, weight)

    def _weight(self, score: SSAValue, peak: SSAValue, shift: SSAValue) -> SSAValue:
        b = self.k.b
        if self.factor:
            return b.unary("exp2", b.fma(score, b.constant(self.factor, self.register), shift))
        return b.unary("exp2", b.mul(b.sub(score, peak), LOG2_E))

    def _along(
        self, row: Expr, count: Index, kind: str, start: float, function: Callable[[SSAValue, Expr], SSAValue]
    ) -> SSAValue:
        """``function`` of the scores of a row, given with their slot, vector by vector, combined by ``kind`` to one."""
        k, b, lanes = self.k, self.k.b, self.k.machine.lanes

        def add(strip: Expr, column: Expr, totals: Sequence[SSAValue]) -> list[SSAValue]:
            """As many neighbouring vectors as totals."""
            sums: list[SSAValue] = []
            for number, total in enumerate(totals):
                slot = self._slot(strip, row, column + (number * lanes) + lane(1, lanes))
                with k.e.lanes((1, lanes)):
                    sums.append(b.binary(kind, function(k.e.load_scratch(self.scores, slot), slot), total))
            return sums

        whole, first = b.idiv(count, self.width), b.splat(start, (1, lanes), self.register)
        parts: list[SSAValue] = []
        if whole != 0:
            with b.loop(0, whole, 1, [first] * (self.width // lanes)) as loop:
                loop.yield_(*add(self._strip_number(loop.index), Expr(), loop.carried))
            parts += loop.results
        if b.imul(whole, self.width) != count:
            parts += self._rest(whole, count, [first] * self.vectors, add)
        return reduce(lambda a, c: b.binary(kind, a, c), parts)

    # Values ----------------------------------------------------------------------------------------------------------

    def _values(self, first: Expr, rows: int, count: Index) -> None:
        """Weights times values, over strips of the value width; then the epilogue."""
        k, b = self.k, self.k.b

        def strip(part: Strip) -> None:
            width = part.width
            with k.e.lanes((rows, width), part.limits(1)):
                zero = b.splat(0, (rows, width), self.register)
                sums = self._weighted(part.start, count, [zero] * self._chains(rows, width))
                total = combine(k, sums)
                scale = k.e.load_scratch(self.scales, lane(0, rows))
                at = (*self.at, first + lane(0, rows), part.start + lane(1, width))
                k.finish(self.op.out, at, Typed(b.mul(total, scale), self.element))

        k.strips(self.e, tile_width(self.e, self.width), strip)

    def _weighted(self, column: Expr, count: Index, sums: list[SSAValue]) -> list[SSAValue]:
        """``sums`` of ``count`` weights times values from ``column`` on."""
        k, (rows, width) = self.k, shape(sums[0])

        def over(keys: Expr, scores: Expr, depth: Index, sums: list[SSAValue]) -> list[SSAValue]:
            def step(t: Expr, total: SSAValue) -> SSAValue:
                weight = k.e.load_scratch(self.scores, scores + lane(0, rows) * self.width + t)
                return k.b.fma(weight, self._value(keys + t, column + lane(1, width)), total)

            return accumulate(k, depth, sums, step)

        return self._over_keys(count, sums, over)

    def _over_keys(self, count: Index, sums: list[SSAValue], over: Over) -> list[SSAValue]:
        """Call ``over`` for each whole strip of the ``count`` keys, then for the rest of them."""
        b, width = self.k.b, self.width
        whole = b.idiv(count, width)
        last = largest(floordiv(self.t, width) - 1, 0)
        if whole != 0:
            with b.loop(0, whole, 1, sums) as loop:
                strip = iv(loop.index, 0, last)
                inner = over(strip * width, strip * (self.rows * width), width, list(loop.carried))
                loop.yield_(*inner)
            sums = list(loop.results)
        rest = b.isub(count, b.imul(whole, width))
        if rest == 0:
            return sums
        strip = Expr(whole) if not isinstance(whole, SSAValue) else iv(whole, 0, last + 1)
        return over(strip * width, strip * (self.rows * width), rest, sums)
