"""Attention whose products multiply pairs of bf16.

In: ``graph.attention`` with ``pairs``: q, k and v of bf16, and a mask of f32. Out: the kernel of ``attention``, with
words of two numbers in place of one. The one idea: which numbers make a pair does not matter if both sides agree,
so pairs are those that lie in different vectors: numbers t and t + D/2 of queries and keys, and keys i and i + lanes of
each group of two vectors of weights and values. Nothing has to be shuffled, softmax stays in f32, and its weights are
rounded where they are stored.
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.dialects.tile.base import shape
from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.dtypes import BF16, I32
from penstock.compiler.extents import ceildiv, floordiv, largest
from penstock.compiler.passes.lower.affine import Expr, iv, lane
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.attention import Attention
from penstock.compiler.passes.lower.schedules.contraction import accumulate
from penstock.compiler.passes.lower.tile_scalars import Typed

GAP = 16
"""Words between rows of weights, so that rows of a power of two do not share a set of the L1 cache."""


@schedule("paired_attention")
def lower_paired_attention(k: KernelLowering) -> None:
    """Units: batch x heads x blocks of queries."""
    PairedAttention(k).emit()


class PairedAttention(Attention):
    """One attention being lowered; keys go in groups of two vectors."""

    vectors = 2

    def _alloc(self, sweep: int) -> None:
        b, lanes = self.k.b, self.k.machine.lanes
        self.lanes, self.half = lanes, self.d // 2
        self.groups = ceildiv(self.t, 2 * lanes)
        self.stride = self.groups * lanes + GAP
        self.transposed = b.alloc(self.strips * self.half * self.width, I32)
        self.packed = b.alloc(self.groups * lanes * self.e, I32)
        self.queries = b.alloc(self.rows * self.half, I32)
        self.weights = b.alloc(self.rows * self.stride, I32)

    def _prepare(self) -> None:
        self._transpose_keys()
        self._pack_values()

    def _words(self, low: SSAValue, high: SSAValue) -> Typed:
        """Numbers held in f32 registers, rounded and paired."""
        b = self.k.b
        return Typed(b.binary("pair", b.cast(low, BF16), b.cast(high, BF16)), I32)

    def _transpose_keys(self) -> None:
        """Scratch [strips of T, D/2, width] holds words of this head's keys. What lies beyond the last key may be
        anything: its scores are masked."""
        k = self.k

        def keys(part: Strip) -> None:
            def depth(along: Strip) -> None:
                with k.e.lanes((part.width, along.width), {**part.limits(0), **along.limits(1)}):
                    key, t = part.start + lane(0, part.width), along.start + lane(1, along.width)
                    low, high = (k.e.value(self.keys, (*self.shared_at, key, at)).value for at in (t, t + self.half))
                    words = self._words(low, high).value
                with k.e.lanes((along.width, part.width), {**along.limits(0), **part.limits(1)}):
                    first = part.start.mod(self.width) + lane(1, part.width)
                    strip = part.start.floordiv(self.width) * (self.half * self.width)
                    slot = strip + (along.start + lane(0, along.width)) * self.width + first
                    k.e.store(Typed(k.b.transpose(words), I32), self.transposed, slot)

            k.strips(self.half, self.lanes, depth)

        k.strips(self.t, self.lanes, keys)

    def _pack_values(self) -> None:
        """Scratch [groups of T, lanes, E] holds words of this head's values; keys beyond the last have values of 0."""
        k, lanes = self.k, self.lanes
        full = floordiv(self.t, 2 * lanes)
        if full != 0:
            with k.loop(0, full) as group, k.loop(0, lanes) as row:
                self._pack_row(group, row, checked=False)
        if full * (2 * lanes) != self.t:
            with k.when_positive(self.t - full * (2 * lanes)), k.loop(0, lanes) as row:
                self._pack_row(Expr(full), row, checked=True)

    def _pack_row(self, group: Expr, row: Expr, *, checked: bool) -> None:
        k, lanes = self.k, self.lanes
        keys = [group * (2 * lanes) + row + half for half in (0, lanes)]

        def columns(part: Strip) -> None:
            with k.e.lanes((part.width,), part.limits(0)):
                at = part.start + lane(0, part.width)
                tiles = [self._value_or_zero(key, at) if checked else self._loaded(key, at) for key in keys]
                k.e.store(self._words(*tiles), self.packed, (group * lanes + row) * self.e + at)

        k.strips(self.e, self.width, columns)

    def _loaded(self, key: Expr, at: Expr) -> SSAValue:
        return self.k.e.value(self.v, (*self.shared_at, key, at)).value

    def _value_or_zero(self, key: Expr, at: Expr) -> SSAValue:
        k = self.k
        value, mask = self._loaded(k.e.clamp(key, self.t), at), k.e.inside(key, self.t)
        return value if mask is None else k.b.select(mask, value, 0.0)

    def _queries(self, first: Expr, rows: int) -> None:
        """The queries become words in scratch [rows, D/2] first."""
        k = self.k

        def depth(along: Strip) -> None:
            with k.e.lanes((rows, along.width), along.limits(1)):
                t = along.start + lane(1, along.width)
                places = ((*self.at, first + lane(0, rows), at) for at in (t, t + self.half))
                low, high = (k.e.value(self.q, place).value for place in places)
                k.e.store(self._words(low, high), self.queries, lane(0, rows) * self.half + t)

        k.strips(self.half, self.lanes, depth)
        super()._queries(first, rows)

    def _products(self, first: Expr, strip: Expr, column: Expr, sums: list[SSAValue]) -> list[SSAValue]:
        k, (rows, width) = self.k, shape(sums[0])

        def step(t: Expr, total: SSAValue) -> SSAValue:
            query = k.e.load_scratch(self.queries, lane(0, rows) * self.half + t)
            place = (strip * self.half + t) * self.width + column + lane(1, width)
            return k.b.dot_pairs(query, k.e.load_scratch(self.transposed, place), total)

        return accumulate(k, self.half, sums, step)

    def _groups_of(self, count: Index) -> Index:
        """How many groups hold ``count`` keys."""
        size = 2 * self.lanes
        return self.k.b.idiv(self.k.b.iadd(count, size - 1), size)

    def _weights(self, row: Expr, count: Index, peak: SSAValue) -> SSAValue:
        """Words of weights into scratch [rows, groups of T, lanes]; returns a vector of sums of what was rounded."""
        k, b, lanes = self.k, self.k.b, self.lanes
        shift = b.mul(peak, -self.factor)
        zero = b.splat(0, (1, lanes), self.register)
        with b.loop(0, self._groups_of(count), 1, [zero, zero]) as loop, k.e.lanes((1, lanes)):
            group = iv(loop.index, 0, largest(self.groups - 1, 0))
            key = group * (2 * lanes)
            strip, column = key.floordiv(self.width), key.mod(self.width)
            slots = [self._slot(strip, row, column + half + lane(1, lanes)) for half in (0, lanes)]
            low, high = (self._weight(k.e.load_scratch(self.scores, slot), peak, shift) for slot in slots)
            k.e.store(self._words(low, high), self.weights, row * self.stride + group * lanes + lane(1, lanes))
            loop.yield_(b.add(loop.carried[0], low), b.add(loop.carried[1], high))
        return b.add(*loop.results)

    def _weighted(self, column: Expr, count: Index, sums: list[SSAValue]) -> list[SSAValue]:
        k, (rows, width) = self.k, shape(sums[0])

        def step(t: Expr, total: SSAValue) -> SSAValue:
            weights = k.e.load_scratch(self.weights, lane(0, rows) * self.stride + t)
            return k.b.dot_pairs(weights, k.e.load_scratch(self.packed, t * self.e + column + lane(1, width)), total)

        return accumulate(k, k.b.imul(self._groups_of(count), self.lanes), sums, step)
