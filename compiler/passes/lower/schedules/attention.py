"""Attention: scores, softmax and the weighted sum of values in one kernel; no S x T matrix in memory.

In: ``graph.attention`` with q, k, v (and mask) as views. Out: a kernel whose unit is a block of queries of one head.
The one idea: the unit transposes its head's keys once into scratch, then takes a few queries at a time: their scores
against all keys (a matrix product in registers), softmax over that strip of scratch, and the product with the values.
Keys a causal query cannot see are not visited. (FlashAttention, Dao et al. 2022, with rows small enough for the first
level of cache, so that no running rescale is needed.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.extents import Dim, ceildiv, floordiv, largest, quotient, tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane
from penstock.compiler.passes.lower.evaluator import broadcast_coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.contraction import accumulate, combine
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

Over = Callable[[Expr, Expr, Index, list[SSAValue]], list[SSAValue]]


@schedule("attention")
def lower_attention(k: KernelLowering) -> None:
    """Units: batch x heads x blocks of queries."""
    Attention(k).emit()


class Attention:
    """One attention being lowered. Names: S queries, T keys, D width of q and k, E width of v."""

    def __init__(self, k: KernelLowering) -> None:
        self.k, self.op = k, k.root("graph.attention")
        self.q, self.keys, self.v = self.op.operands[:3]
        self.mask: SSAValue | None = self.op.operands[3] if len(self.op.operands) > 3 else None
        self.batch, self.heads, self.s, self.d = k.e.shape(self.q)
        _, self.shared, self.t, self.e = k.e.shape(self.v)
        self.element = element_of(self.op.out)
        self.register = register_type(self.element)
        lanes = k.machine.lanes
        self.width = (4 if k.machine.vector_registers >= 32 else 2) * lanes
        self.width = -(-tile_width(self.t, self.width) // lanes) * lanes
        vectors = self.width // lanes
        self.rows = tile_width(self.s, (k.machine.vector_registers - 2 - vectors) // vectors)
        if not isinstance(self.s, Dim):
            self.rows = -(-self.s // -(-self.s // self.rows))
        self.strips = ceildiv(self.t, self.width)
        self.chains = max(1, min(4, 8 // (self.rows * vectors)))

    def emit(self) -> None:
        k = self.k
        tiles = ceildiv(self.s, self.rows)
        heads = typical(self.batch * self.heads)
        blocks = min(typical(tiles), max(1, -(-8 // heads)))
        sweep = -(-typical(tiles) // blocks)
        self.transposed = k.b.alloc(self.strips * self.d * self.width, self.register)
        self.scores = k.b.alloc(self.strips * self.rows * self.width, self.register)
        cost = typical(self.op.cost().flops) / (heads * blocks) / k.machine.peak_f32
        with k.parallel((self.batch, self.heads, ceildiv(tiles, sweep)), cost) as (batch, head, block):
            self.at = (batch, head)
            self.shared_at = (batch, k.settle(head.floordiv(self.heads // self.shared)))
            self._transpose_keys()
            start = k.e.scalar(block * sweep)
            full = floordiv(self.s, self.rows)
            if full != 0:
                with k.b.loop(start, k.b.imin(k.b.iadd(start, sweep), full)) as loop:
                    self._queries(iv(loop.index, 0, largest(full - 1, 0)) * self.rows, self.rows)
            if full * self.rows == self.s:
                return
            with k.b.when(k.b.compare("eq", k.b.index(k.e.scalar(block)), k.b.index(ceildiv(tiles, sweep) - 1))):
                k.pieces(k.tail(self.s, self.rows), lambda part: self._queries(part.start, part.width))

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

    def _strip_of_keys(self, strip: Expr) -> Expr:
        return strip * (self.d * self.width)

    def _visible(self, first: Expr, rows: int) -> tuple[Index, Index]:
        """(strips of keys, keys) that the last of these queries may see."""
        k = self.k
        if not self.op.causal:
            return self.strips, self.t
        seen = k.e.scalar(first + (rows + self.op.causal_offset))
        count = k.b.imax(k.b.imin(seen, self.t), 0)
        return k.b.idiv(k.b.iadd(count, self.width - 1), self.width), count

    def _queries(self, first: Expr, rows: int) -> None:
        """Scores, softmax and weighted values of ``rows`` queries."""
        k, b = self.k, self.k.b
        strips, count = self._visible(first, rows)
        least = b.splat(-math.inf, (rows, self.width), self.register)
        last = largest(self.strips - 1, 0)
        with b.loop(0, strips, 1, [least]) as loop:
            score = self._scores(first, rows, iv(loop.index, 0, last))
            loop.yield_(b.binary("max_fast", score, loop.carried[0]))
        peak = b.reduce("max_fast", loop.results[0], (1,))
        peak = b.select(b.compare("eq", peak, -math.inf), 0.0, peak)
        zero = b.splat(0, (rows, self.width), self.register)
        with b.loop(0, strips, 1, [zero]) as loop, k.e.lanes((rows, self.width)):
            slot = self._slot(rows, iv(loop.index, 0, last))
            weight = b.unary("exp", b.sub(k.e.load_scratch(self.scores, slot), peak))
            k.e.store(Typed(weight, self.register), self.scores, slot)
            loop.yield_(b.add(loop.carried[0], weight))
        total = b.reduce("add", loop.results[0], (1,))
        scale = b.select(b.compare("eq", total, 0.0), 0.0, b.div(1.0, total))
        self._values(first, rows, count, scale)

    def _slot(self, rows: int, strip: Expr) -> Expr:
        """The scores of a strip of keys: scratch [strips of T, rows, width]."""
        return strip * (self.rows * self.width) + lane(0, rows) * self.width + lane(1, self.width)

    def _scores(self, first: Expr, rows: int, strip: Expr) -> SSAValue:
        """cap(scale q k^T) + mask for ``rows`` queries and one strip of keys; stored in scratch and returned."""
        k, b = self.k, self.k.b
        with k.e.lanes((rows, self.width)):

            def step(t: Expr, total: SSAValue) -> SSAValue:
                query = k.e.value(self.q, (*self.at, first + lane(0, rows), t)).value
                place = self._strip_of_keys(strip) + t * self.width + lane(1, self.width)
                return b.fma(query, k.e.load_scratch(self.transposed, place), total)

            sums = accumulate(k, self.d, [b.splat(0, (rows, self.width), self.register)] * self.chains, step)
            score = b.mul(combine(k, sums), self.op.scale)
            if self.op.softcap:
                score = b.mul(b.unary("tanh", b.mul(score, 1.0 / self.op.softcap)), self.op.softcap)
            score = self._masked(score, first, rows, strip * self.width)
            k.e.store(Typed(score, self.register), self.scores, self._slot(rows, strip))
        return score

    def _masked(self, score: SSAValue, first: Expr, rows: int, key: Expr) -> SSAValue:
        k, b = self.k, self.k.b
        keys = key + lane(1, self.width)
        tail = quotient(self.t, self.width) is None
        if self.mask is not None:
            at = (*self.at, first + lane(0, rows), keys)
            limits: dict[int, Index] = {1: b.isub(self.t, k.e.scalar(key))} if tail else {}
            with k.e.lanes((rows, self.width), limits):
                mask = k.e.value(self.mask, broadcast_coordinates(at, k.e.shape(self.mask))).value
            score = b.add(score, mask)
        hidden: list[Any] = []
        if tail:
            hidden.append(k.e.compare("lt", keys, self.t))
        if self.op.causal:
            distance = k.e.index_tile(first + self.op.causal_offset + lane(0, rows) - key)
            hidden.append(b.compare("le", b.iota((1, self.width), 1), distance))
        visible = k.e.mask_and(hidden)
        return score if visible is None else b.select(visible, score, -math.inf)

    def _values(self, first: Expr, rows: int, count: Index, scale: SSAValue) -> None:
        """Weights times values, over strips of the value width; then the epilogue."""
        k, b = self.k, self.k.b

        def strip(part: Strip) -> None:
            width = part.width
            with k.e.lanes((rows, width), part.limits(1)):
                zero = b.splat(0, (rows, width), self.register)

                def over(keys: Expr, scores: Expr, depth: Index, sums: list[SSAValue]) -> list[SSAValue]:
                    def step(t: Expr, total: SSAValue) -> SSAValue:
                        weight = k.e.load_scratch(self.scores, scores + lane(0, rows) * self.width + t)
                        value = k.e.value(self.v, (*self.shared_at, keys + t, part.start + lane(1, width))).value
                        return b.fma(weight, value, total)

                    return accumulate(k, depth, sums, step)

                total = combine(k, self._over_keys(count, [zero] * self.chains, over))
                at = (*self.at, first + lane(0, rows), part.start + lane(1, width))
                k.finish(self.op.out, at, Typed(b.mul(total, scale), self.element))

        k.strips(self.e, tile_width(self.e, self.width), strip)

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
