"""Scaled dot-product attention as one op, so that no S x T matrix need ever be in memory.

In: queries, keys and values by head, and an additive mask. Out: one vector of values per query.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    GraphOp,
    Int,
    Tensor,
    broadcast_shapes,
    require,
    require_equal,
    require_float,
    require_same,
    show,
    wide,
)
from penstock.compiler.dialects.graph.scalar import NumpyScalars
from penstock.compiler.dtypes import BF16, F32, tensor, type_name
from penstock.compiler.extents import quotient

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class Attention(GraphOp):
    """softmax(cap(scale q k^T) + mask) v, with cap(s) = softcap tanh(s / softcap) when ``softcap`` is not 0. With
    ``by_width``, scale is divided by sqrt(D): for a D that only a run knows.

    q [B, H, S, D], k [B, Hkv, T, D], v [B, Hkv, T, Dv]; result [B, H, S, Dv]. Hkv divides H: each head of k and v
    serves H/Hkv neighbouring heads of q. ``mask`` is added and broadcasts to [B, H, S, T]. With ``causal``, query i
    sees keys up to i + ``causal_offset`` only. A query that sees no key (all of mask is minus infinity) gives 0.
    Half precision computes in f32 throughout. With ``pairs``, q, k and v are bf16, D is even, and what the values are
    multiplied with, e to the power of scores less the largest, is rounded to bf16.
    """

    name = "graph.attention"
    operand_names = ("q", "k", "v", "mask")
    optional_operands = 1
    scale = Float(doc="factor of the scores, usually 1/sqrt(D)")
    by_width = Bool(False, doc="the scores are divided by sqrt(D) besides")
    causal = Bool(False, doc="queries do not see later keys")
    causal_offset = Int(0, doc="position of query 0 among the keys: how many precede it (may be negative)")
    softcap = Float(0.0, doc="bound of the scores before the mask; 0: none")
    pairs = Bool(False, doc="q, k and v are bf16, weights are rounded to bf16, and the result is f32")

    def infer(self) -> list[Tensor]:
        kinds = [self.element(index) for index in range(len(self.operands))]
        if self.pairs:
            fits = kinds == [BF16, BF16, BF16, F32][: len(kinds)]
            require(fits, f"pairs are of bf16, with a mask of f32, not of {', '.join(map(type_name, kinds))}")
        else:
            require_float(self)
        q, k, v = self.shapes()[:3]
        ranks = len(q) == len(k) == len(v) == 4
        require(ranks, f"attention takes q, k and v of rank 4, not {show(q)}, {show(k)} and {show(v)}")
        fit = (q[0], q[0], q[3], k[1], k[2]), (k[0], v[0], k[3], v[1], v[2])
        require_same(*fit, f"queries {show(q)}, keys {show(k)} and values {show(v)} do not fit together")
        sentence = f"{k[1]} heads of keys cannot serve {q[1]} heads of queries"
        require(k[1] > 0, sentence)
        require_equal(q[1] % k[1], 0, sentence)
        require(k[2] > 0, "attention needs one key or more")
        if len(self.operands) == 4:
            scores, mask = (q[0], q[1], q[2], k[2]), self.shapes()[3]
            sentence = f"a mask of shape {show(mask)} does not broadcast to scores of shape {show(scores)}"
            require(len(mask) <= 4, sentence)
            require_same(broadcast_shapes(mask, scores), scores, sentence)
        if self.pairs:
            require(quotient(q[3], 2) is not None, f"an inner extent of {q[3]} cannot be cut into pairs")
        return [tensor([*q[:3], v[3]], F32 if self.pairs else self.element())]

    def evaluate(self, *operands: Array) -> Array:
        q, k, v, *masks = (wide(x, self.element()) for x in operands)
        (batch, heads, queries, depth), shared = q.shape, k.shape[1]
        kind: Any = q.dtype.type
        with np.errstate(all="ignore"):
            grouped: Any = q.reshape(batch, shared, heads // shared * queries, depth)
            scale = self.scale / math.sqrt(max(depth, 1)) if self.by_width else self.scale
            scores: Any = np.matmul(grouped, np.swapaxes(k, -1, -2)) * kind(scale)
            if self.softcap:
                scores = np.tanh(scores / kind(self.softcap)) * kind(self.softcap)
            bias = self._bias(queries, k.shape[2], kind, *masks)
            scores = scores.reshape(batch, heads, queries, -1) + bias
            power: Any = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weights: Any = power / power.sum(axis=-1, keepdims=True)
            blind: Any = bias.max(axis=-1, keepdims=True) == -math.inf
            weights = NumpyScalars().select(blind, 0.0, weights)
            if self.pairs:  # before they are divided by their sum, as kernels do it
                weights = power.astype(operands[0].dtype).astype(power.dtype) / power.sum(axis=-1, keepdims=True)
                weights = NumpyScalars().select(blind, 0.0, weights)
            value: Any = np.matmul(weights.reshape(batch, shared, heads // shared * queries, -1), v)
        kind = np.float32 if self.pairs else operands[0].dtype
        return value.reshape(batch, heads, queries, -1).astype(kind, copy=False)

    def _bias(self, queries: int, keys: int, kind: Any, mask: Any = None) -> Any:
        """What is added to the scores: mask and causal rule, at least of rank 2."""
        bias: Any = np.zeros((queries, keys), kind) if mask is None else mask + np.zeros((queries, keys), kind)
        if self.causal:
            later: Any = np.arange(keys) > np.arange(queries)[:, None] + self.causal_offset
            bias = NumpyScalars().select(later, -math.inf, bias)
        return bias

    def cost(self) -> Cost:
        (batch, heads, queries, depth), (*_, keys, values) = self.shapes()[0], self.shapes()[2]
        scores = batch * heads * queries * keys
        return Cost(scores * (2 * depth + 2 * values + 16), self.bytes_moved())
