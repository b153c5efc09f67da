"""Scaled dot-product attention in all of ONNX's forms: what hides keys becomes one additive bias or a causal rule.

A plain causal rule is the graph op's own, so that whole blocks of hidden keys cost nothing; windows and lengths that
are only known at run time become part of the bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.normalization import Softmax
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Concat, Iota
from penstock.compiler.dtypes import F64, I1, I64, tensor
from penstock.compiler.extents import Extent, is_static
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.node_context import NodeContext

DOUBLE = 11  # ONNX's number of the type


@dataclass(frozen=True)
class Scale:
    """What scores are multiplied by: ``factor``, over the root of the queries' width if ``by_width``."""

    factor: float
    by_width: bool = False

    @staticmethod
    def of(width: Extent, given: float | None) -> Scale:
        """The scale ``given``; without one 1 / sqrt(width), as a number where the width is one."""
        if given is not None:
            return Scale(given)
        return Scale(1.0 / math.sqrt(max(width, 1))) if is_static((width,)) else Scale(1.0, by_width=True)

    def of_scores(self, n: NodeContext, scores: SSAValue, width: Extent) -> SSAValue:
        """``scores`` times the scale, for queries of ``width``."""
        factor = n.number(self.factor, scores)
        if self.by_width:
            factor = n.build(graph_op("mul"), factor, n.build(graph_op("sqrt"), n.share(width, scores)))
        return n.build(graph_op("mul"), scores, factor)


@dataclass(frozen=True)
class Visible:
    """Which keys a query sees: ``bias`` is added to the scores; ``past``, if given, is the causal rule's offset."""

    bias: SSAValue | None
    past: Extent | None


@converter("Attention")
def attention(n: NodeContext) -> list[SSAValue]:
    """3-D and 4-D inputs, grouped heads, past and present, lengths of caches, softcap, masks, causal rule, windows,
    all modes of qk_matmul_output; the softmax is computed in f32 (f64 for f64) whatever softmax_precision says."""
    flat = n.rank(n.input(0)) == 3
    q, k, v = (n.ranked(index, 3 if flat else 4) for index in range(3))
    if flat:
        q, k, v = (
            _heads(n, x, n.int(name)) for x, name in ((q, "q_num_heads"), (k, "kv_num_heads"), (v, "kv_num_heads"))
        )
    n.require(n.has(4) == n.has(5), "past_key and past_value are given together")
    n.require(not (n.has(4) and n.has(6)), "nonpad_kv_seqlen is not given with past_key")
    past: Extent = 0
    if n.has(4):
        past = n.shape(n.ranked(4, 4))[2]
        n.require_equal(n.shape(n.ranked(5, 4))[2], past, "past_key and past_value are of one length")
        n.require_same(n.shape(v)[:3], n.shape(k)[:3], "its keys and values do not fit together")
        k = n.build(Concat, n.input(4), k, axis=2)
        v = n.build(Concat, n.ranked(5, 4), v, axis=2)
    scale = Scale.of(n.shape(q)[3], n.float("scale") if "scale" in n.node.attributes else None)
    softcap = n.float("softcap", 0.0)
    if n.int("softmax_precision", 1) == DOUBLE and element_of(q) != F64:
        n.note("its softmax is computed in f32, though softmax_precision asks for f64")
    visible = _visible(n, element_of(q), n.shape(q)[2], n.shape(k)[2], past)
    operands = [q, k, v] if visible.bias is None else [q, k, v, visible.bias]
    out = n.build(
        Attention, *operands, scale=scale.factor, by_width=scale.by_width, causal=visible.past is not None,
        causal_offset=0 if visible.past is None else visible.past, softcap=softcap,
    )  # fmt: skip
    if flat:
        batch, heads, length, width = n.shape(out)
        out = n.reshape(n.transpose(out, (0, 2, 1, 3)), [batch, length, heads * width])
    results = [out, k, v]
    if n.wants(3):
        results.append(_scores(n, q, k, visible, scale, softcap))
    return results


def _heads(n: NodeContext, x: SSAValue, heads: int) -> SSAValue:
    batch, length, width = n.shape(x)
    sentence = f"a width of {width} does not make {heads} heads"
    n.require(heads > 0, sentence)
    n.require_equal(width % heads, 0, sentence)
    return n.transpose(n.reshape(x, [batch, length, heads, width // heads]), (0, 2, 1, 3))


def _visible(n: NodeContext, kind: Attribute, queries: Extent, keys: Extent, past: Extent) -> Visible:
    """Mask, causal rule, windows and lengths, as ONNX composes them: every one of them can only hide keys."""
    bias = _mask(n, n.optional(3), kind, keys)
    causal = n.flag("is_causal")
    left, right = n.int("left_window_size", -1), n.int("right_window_size", -1)
    n.require(left >= -1 and right >= -1, f"window sizes are -1 or more, not {left} and {right}")
    lengths = n.optional(6)
    if left < 0 and right < 0 and lengths is None:
        return Visible(bias, past if causal else None)
    place = _positions(n, queries, past, lengths)
    key = n.build(Iota, axis=3, result=tensor([1, 1, 1, keys], I64))
    rules: list[SSAValue] = []
    reach = 0 if causal else None if right < 0 else right
    reach = min(reach, right) if reach is not None and right >= 0 else reach
    if reach is not None:
        rules.append(n.build(graph_op("le"), key, n.build(graph_op("add"), place, n.number(reach, place))))
    if left >= 0:
        rules.append(n.build(graph_op("ge"), key, n.build(graph_op("sub"), place, n.number(left, place))))
    if lengths is not None:
        rules.append(n.build(graph_op("lt"), key, n.reshape(lengths, [*n.shape(lengths), 1, 1, 1])))
    seen = rules[0]
    for rule in rules[1:]:
        seen = n.build(graph_op("and"), seen, rule)
    hidden = n.build(graph_op("select"), seen, n.constant(0.0, kind), n.constant(-np.inf, kind))
    return Visible(hidden if bias is None else n.build(graph_op("add"), bias, hidden), None)


def _positions(n: NodeContext, queries: Extent, past: Extent, lengths: SSAValue | None) -> SSAValue:
    """Where each query stands among the keys: [1 or batch, 1, queries, 1]."""
    row = n.build(Iota, axis=2, result=tensor([1, 1, queries, 1], I64))
    if lengths is None:
        return n.build(graph_op("add"), row, n.number(past, row))
    n.require(n.rank(lengths) == 1, f"nonpad_kv_seqlen has one axis, not shape {list(n.shape(lengths))}")
    start = n.build(graph_op("sub"), n.reshape(lengths, [*n.shape(lengths), 1, 1, 1]), n.number(queries, row))
    return n.build(graph_op("add"), row, start)


def _mask(n: NodeContext, mask: SSAValue | None, kind: Attribute, keys: Extent) -> SSAValue | None:
    """An additive mask over all keys; a shorter one hides the keys it does not cover."""
    if mask is None:
        return None
    if element_of(mask) == I1:
        zero, hidden = n.constant(0.0, kind), n.constant(-np.inf, kind)
        mask = n.build(graph_op("select"), mask, zero, hidden)
    n.require(n.rank(mask) > 0, "its mask has no axes")
    covered = n.shape(mask)[-1]
    if covered != 1 and covered != keys and not is_static((covered, keys)):
        n.require_equal(covered, keys, f"a mask for {covered} keys does not fit {keys} keys")
    if covered not in (1, keys):
        rest = n.expand(n.constant(-np.inf, kind), [*n.shape(mask)[:-1], keys - covered])
        mask = n.build(Concat, mask, rest, axis=n.rank(mask) - 1)
    return mask


def _scores(n: NodeContext, q: SSAValue, k: SSAValue, visible: Visible, scale: Scale, softcap: float) -> SSAValue:
    """The optional output qk_matmul_output in its four modes."""
    mode = n.int("qk_matmul_output_mode", 0)
    n.require(0 <= mode <= 3, f"qk_matmul_output_mode is 0 to 3, not {mode}")
    (batch, heads, queries, width), (_, shared, keys, _) = n.shape(q), n.shape(k)
    if shared != heads:
        grouped = n.reshape(k, [batch, shared, 1, keys, width])
        k = n.reshape(n.expand(grouped, [batch, shared, heads // shared, keys, width]), [batch, heads, keys, width])
    scores = n.build(Matmul, q, n.transpose(k, (0, 1, 3, 2)))
    scores = scale.of_scores(n, scores, width)
    if mode == 0:
        return scores
    if softcap:
        bounded = n.build(graph_op("tanh"), n.build(graph_op("div"), scores, n.number(softcap, scores)))
        scores = n.build(graph_op("mul"), bounded, n.number(softcap, scores))
    if mode == 1:
        return scores
    if visible.bias is not None:
        scores = n.build(graph_op("add"), scores, visible.bias)
    if visible.past is not None:
        key = n.build(Iota, axis=1, result=tensor([1, keys], I64))
        place = _positions(n, queries, visible.past, None)
        seen = n.build(graph_op("le"), key, n.reshape(place, [queries, 1]))
        scores = n.build(graph_op("select"), seen, scores, n.number(-math.inf, scores))
    if mode == 2:
        return scores
    peak = n.build(Reduce, scores, kind="max", axes=(3,), keepdims=True)
    blind = n.build(graph_op("eq"), peak, n.number(-math.inf, peak))
    return n.build(graph_op("select"), blind, n.number(0, scores), n.build(Softmax, scores, axis=3))
