"""Recurrences, attention and rotary embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.normalization import Softmax
from penstock.compiler.dialects.graph.recurrence import Gru, Lstm
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Concat, Iota
from penstock.compiler.dtypes import I1, I64, tensor
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext


@converter("LSTM", "GRU")
def recurrent(n: NodeContext) -> list[SSAValue]:
    """All directions, layouts, activations, clip, initial states, sequence lengths and peepholes."""
    lstm = n.node.op == "LSTM"
    gates = 4 if lstm else 3
    x, w, r = n.input(0), n.input(1), n.input(2)
    batchwise = n.flag("layout")
    if batchwise:
        x = n.transpose(x, (1, 0, 2))
    (_, batch, _), (ways, _, hidden) = n.shape(x), n.shape(r)
    kind = element_of(x)

    def state(index: int) -> SSAValue:
        given = n.optional(index)
        if given is None:
            return n.constant(np.zeros((ways, batch, hidden)), kind)
        return n.transpose(given, (1, 0, 2)) if batchwise else given

    bias = n.optional(3)
    bias = n.constant(np.zeros((ways, 2 * gates * hidden)), kind) if bias is None else bias
    operands = [x, w, r, bias, state(5), *([state(6)] if lstm else [])]
    extras: list[str] = []
    for index, name in ((4, "lengths"), *(((7, "peepholes"),) if lstm else ())):
        if n.has(index):
            operands.append(n.input(index))
            extras.append(name)
    parameters: dict[str, Any] = {
        "direction": n.text("direction", "forward"),
        "extras": ",".join(extras),
        "clip": n.float("clip", 0.0),
    }
    activations = _activations(n)
    if activations:
        parameters["activations"] = activations
    parameters |= (
        {"input_forget": n.flag("input_forget")} if lstm else {"linear_before_reset": n.flag("linear_before_reset")}
    )
    op = n.op(Lstm if lstm else Gru, *operands, **parameters)
    every, *last = op.results
    if batchwise:
        return [n.transpose(every, (2, 0, 1, 3)), *(n.transpose(value, (1, 0, 2)) for value in last)]
    return [every, *last]


def _activations(n: NodeContext) -> str:
    """The activation functions as the graph op spells them: ``elu(0.5),tanh``."""
    names = [str(name) for name in n.attribute_list("activations")]
    alphas, betas = list(n.attribute_list("activation_alpha")), list(n.attribute_list("activation_beta"))
    two = ("affine", "scaledtanh", "hardsigmoid")
    one = ("leakyrelu", "thresholdedrelu", "elu")
    texts: list[str] = []
    for name in (item.lower() for item in names):
        numbers: list[float] = []
        if name in one + two and alphas:
            numbers.append(float(alphas.pop(0)))
        if name in two and betas:
            numbers.append(float(betas.pop(0)))
        texts.append(name + (f"({';'.join(map(repr, numbers))})" if numbers else ""))
    return ",".join(texts)


@converter("Attention")
def attention(n: NodeContext) -> list[SSAValue]:
    """3-D and 4-D inputs, grouped heads, past and present, softcap, masks, causal; not qk_matmul_output modes with
    data-dependent lengths (nonpad_kv_seqlen)."""
    q, k, v = n.input(0), n.input(1), n.input(2)
    flat = n.rank(q) == 3
    if flat:
        q, k, v = (
            _heads(n, x, n.int(name)) for x, name in ((q, "q_num_heads"), (k, "kv_num_heads"), (v, "kv_num_heads"))
        )
    if n.has(6):
        raise n.unsupported("nonpad_kv_seqlen is not compiled", "Give a mask instead.")
    if any(name in n.node.attributes for name in ("left_window_size", "right_window_size", "window_size")):
        raise n.unsupported("local attention windows are not compiled", "Give a mask instead.")
    past = 0
    if n.has(4):
        past = n.shape(n.input(4))[2]
        k = n.build(Concat, n.input(4), k, axis=2)
        v = n.build(Concat, n.input(5), v, axis=2)
    scale = n.float("scale", 0.0) or 1.0 / math.sqrt(n.shape(q)[3])
    causal, softcap = n.flag("is_causal"), n.float("softcap", 0.0)
    mask = _mask(n, n.optional(3), element_of(q), n.shape(k)[2])
    operands = [q, k, v] if mask is None else [q, k, v, mask]
    out = n.build(Attention, *operands, scale=scale, causal=causal, causal_offset=past, softcap=softcap)
    if flat:
        batch, heads, length, width = n.shape(out)
        out = n.reshape(n.transpose(out, (0, 2, 1, 3)), [batch, length, heads * width])
    results = [out, k, v]
    if n.wants(3):
        results.append(_scores(n, q, k, mask, scale, softcap, past if causal else None))
    return results


def _heads(n: NodeContext, x: SSAValue, heads: int) -> SSAValue:
    batch, length, width = n.shape(x)
    return n.transpose(n.reshape(x, [batch, length, heads, width // heads]), (0, 2, 1, 3))


def _mask(n: NodeContext, mask: SSAValue | None, kind: Any, keys: int) -> SSAValue | None:
    """An additive mask over all keys; a shorter one hides the keys it does not cover."""
    if mask is None:
        return None
    if element_of(mask) == I1:
        zero, hidden = n.constant(0.0, kind), n.constant(-np.inf, kind)
        mask = n.build(graph_op("select"), mask, zero, hidden)
    covered = n.shape(mask)[-1]
    if covered not in (1, keys):
        rest = n.expand(n.constant(-np.inf, kind), [*n.shape(mask)[:-1], keys - covered])
        mask = n.build(Concat, mask, rest, axis=n.rank(mask) - 1)
    return mask


def _scores(
    n: NodeContext, q: SSAValue, k: SSAValue, mask: SSAValue | None, scale: float, softcap: float, past: int | None
) -> SSAValue:
    """The optional output qk_matmul_output in its four modes."""
    mode = n.int("qk_matmul_output_mode", 0)
    (batch, heads, queries, width), (_, shared, keys, _) = n.shape(q), n.shape(k)
    if shared != heads:
        grouped = n.reshape(k, [batch, shared, 1, keys, width])
        k = n.reshape(n.expand(grouped, [batch, shared, heads // shared, keys, width]), [batch, heads, keys, width])
    scores = n.build(Matmul, q, n.transpose(k, (0, 1, 3, 2)))
    scores = n.build(graph_op("mul"), scores, n.number(scale, scores))

    def masked(x: SSAValue) -> SSAValue:
        if mask is not None:
            x = n.build(graph_op("add"), x, mask)
        if past is not None:
            row = n.build(Iota, axis=0, result=tensor([queries, keys], I64))
            column = n.build(Iota, axis=1, result=tensor([queries, keys], I64))
            seen = n.build(graph_op("le"), column, n.build(graph_op("add"), row, n.number(past, row)))
            x = n.build(graph_op("select"), seen, x, n.number(-math.inf, x))
        return x

    def capped(x: SSAValue) -> SSAValue:
        if not softcap:
            return x
        bounded = n.build(graph_op("tanh"), n.build(graph_op("div"), x, n.number(softcap, x)))
        return n.build(graph_op("mul"), bounded, n.number(softcap, x))

    if mode in (0, 1):
        return scores if mode == 0 else capped(scores)
    biased = masked(capped(scores))
    if mode == 2:
        return biased
    peak = n.build(Reduce, biased, kind="max", axes=(3,), keepdims=True)
    blind = n.build(graph_op("eq"), peak, n.number(-math.inf, peak))
    return n.build(graph_op("select"), blind, n.number(0, biased), n.build(Softmax, biased, axis=3))


@converter("RotaryEmbedding")
def rotary_embedding(n: NodeContext) -> SSAValue:
    """3-D and 4-D inputs, caches by position, partial rotation, interleaved pairs."""
    x, cosine, sine = n.input(0), n.input(1), n.input(2)
    shape = n.shape(x)
    if n.rank(x) == 3:
        heads = n.int("num_heads")
        x = n.reshape(x, [shape[0], shape[1], heads, shape[2] // heads])
    else:
        x = n.transpose(x, (0, 2, 1, 3))
    batch, length, heads, width = n.shape(x)
    rotated = n.int("rotary_embedding_dim", 0) or width
    if n.has(3):
        cosine, sine = (n.build(Gather, c, n.input(3), axis=0) for c in (cosine, sine))
    half = rotated // 2
    cosine, sine = (n.reshape(c, [*n.shape(c)[:-1], 1, n.shape(c)[-1]]) for c in (cosine, sine))
    head, rest = slice_of(n, x, {}, {3: rotated}, {}), slice_of(n, x, {3: rotated}, {3: width - rotated}, {})
    if n.flag("interleaved"):
        first, second = (slice_of(n, head, {3: s}, {3: half}, {3: 2}) for s in (0, 1))
    else:
        first, second = (slice_of(n, head, {3: s}, {3: half}, {}) for s in (0, half))

    def product(a: SSAValue, b: SSAValue) -> SSAValue:
        return n.build(graph_op("mul"), a, b)

    real = n.build(graph_op("sub"), product(cosine, first), product(sine, second))
    imaginary = n.build(graph_op("add"), product(sine, first), product(cosine, second))
    if n.flag("interleaved"):
        pairs = [n.reshape(part, [batch, length, heads, half, 1]) for part in (real, imaginary)]
        out = n.reshape(n.build(Concat, *pairs, axis=4), [batch, length, heads, rotated])
    else:
        out = n.build(Concat, real, imaginary, axis=3)
    if rotated < width:
        out = n.build(Concat, out, rest, axis=3)
    return n.reshape(out, shape) if len(shape) == 3 else n.transpose(out, (0, 2, 1, 3))
