"""GroupQueryAttention: attention of decoders, with caches that grow by joining or are one buffer of full length.

In: new queries, keys and values, caches, and how many positions of each batch row count (``seqlens_k`` plus one). Out:
results and the new caches. The one idea: when caches grow by the new tokens, keys stand one after the other and the
graph's own causal rule hides what is later; in a buffer, where each row ends is only known at run time, so new keys are
chosen into their places and everything that hides keys is a bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.index import Gather, GatherNd
from penstock.compiler.dialects.graph.normalization import Normalize
from penstock.compiler.dialects.graph.shape import Concat, Iota
from penstock.compiler.dtypes import I64, tensor
from penstock.compiler.frontends.onnx.arithmetic import Value
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.attention import Scale
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.microsoft import DOMAIN
from penstock.compiler.frontends.onnx.converters.microsoft_attention import joined, part, plus
from penstock.compiler.frontends.onnx.converters.sequence import rotate
from penstock.compiler.frontends.onnx.node_context import NodeContext


@dataclass(frozen=True)
class Layout:
    """Extents: ``new`` tokens after ``past`` positions of the caches make ``keys``; with ``buffer`` they are chosen
    into it. ``start`` [B, 1] is how many positions count before the new tokens; all this when ``holds``."""

    new: int
    past: int
    keys: int
    buffer: bool
    start: SSAValue
    holds: Value


@converter("GroupQueryAttention", domain=DOMAIN)
def group_query_attention(n: NodeContext) -> list[SSAValue]:
    """Packed or separate projections, caches that grow or are one buffer, rotary positions, local windows, softcap,
    biases, sinks, normalised heads; quantised and windowed caches and the output of scores are refused."""
    _refuse_unsupported(n)
    heads, shared = n.int("num_heads"), n.int("kv_num_heads")
    q, k, v = _projections(n, heads, shared)
    batch, new = n.shape(q)[:2]
    layout = _layout(n, batch, new)
    k = n.checked(k, layout.holds, "the length of its sequences with their past")
    q, k = (_normalised(n, x, index) for x, index in ((q, 14), (k, 15)))
    if n.flag("do_rotary"):
        q, k = (_rotated(n, x, layout) for x in (q, k))
    present = [_present(n, layout, x, index) for x, index in ((k, 3), (v, 4))]
    keys, values = present
    queries = n.transpose(q, (0, 2, 1, 3))
    sink = _sink(n, heads, queries)
    bias, causal = _bias(n, layout, queries, spelled=sink is not None)
    if sink is not None:  # one more key, of zeros, whose score is the sink and whose value adds nothing
        rows = [n.expand(n.number(0, x), [batch, shared, 1, n.shape(x)[3]]) for x in present]
        keys, values = (n.build(Concat, x, row, axis=2) for x, row in zip(present, rows, strict=True))
        bias = n.expand(bias if bias is not None else n.number(0, queries), [batch, heads, new, layout.keys])
        bias = n.build(Concat, bias, n.expand(sink, [batch, heads, new, 1]), axis=3)
    scale = Scale.of(n.shape(q)[3], n.float("scale", 0.0) or None)
    operands = [queries, keys, values, *([] if bias is None else [bias])]
    softcap, offset = n.float("softcap", 0.0), layout.past if causal else 0
    out = n.build(
        Attention, *operands, scale=scale.factor, by_width=scale.by_width, causal=causal, causal_offset=offset,
        softcap=softcap,
    )  # fmt: skip
    return [joined(n, out), *present]


def _refuse_unsupported(n: NodeContext) -> None:
    quantised = any(n.text(name, "NONE") != "NONE" for name in ("k_quant_type", "v_quant_type"))
    if quantised or n.flag("sliding_window_cache") or n.wants(3):
        raise n.unsupported("quantised and windowed caches and the output of scores are not compiled")
    n.require(n.has(3) == n.has(4), "past_key and past_value are given together")


def _projections(n: NodeContext, heads: int, shared: int) -> tuple[SSAValue, SSAValue, SSAValue]:
    """Queries, keys and values [B, S, heads, D]."""
    query = n.ranked(0, 3)
    n.require(heads > 0 and shared > 0, "num_heads and kv_num_heads are 1 or more")
    counts = (heads, shared, shared)
    if n.has(1):
        parts = [query, n.ranked(1, 3), n.ranked(2, 3)]
    else:
        width, rest = divmod(n.shape(query)[2], heads + 2 * shared)
        n.require(rest == 0, f"a width of {n.shape(query)[2]} does not make {heads} and twice {shared} heads")
        starts = (0, heads * width, (heads + shared) * width)
        parts = [part(n, query, 2, at, count * width) for at, count in zip(starts, counts, strict=True)]
    shaped: list[SSAValue] = []
    for x, count in zip(parts, counts, strict=True):
        batch, length, width = n.shape(x)
        n.require(width % count == 0, f"a width of {width} does not make {count} heads")
        shaped.append(n.reshape(x, [batch, length, count, width // count]))
    n.require(n.shape(shaped[0])[:2] == n.shape(shaped[1])[:2], "there is one key for each query")
    return shaped[0], shaped[1], shaped[2]


def _layout(n: NodeContext, batch: int, new: int) -> Layout:
    """Whether the caches grow or are a buffer, from the shapes the model states, checked when it runs."""
    past = n.shape(n.ranked(3, 4))[2] if n.has(3) else 0
    ends = n.value(5).reshape([batch, 1]) + 1
    total = n.value(6).reshape([])
    known = n.importer.evaluate(n.input(6))
    declared = n.importer.declared_shape(n.node, 1, n.scope)
    keys = past + new
    if known is not None:
        keys = max(past, int(known.reshape(-1)[0]))
    elif declared is not None and len(declared) == 4:
        keys = declared[2]
    if past and keys == past:
        prompt = total.op("eq", new)
        start = Value(n, n.build(graph_op("select"), prompt.ssa, n.number(0, ends.ssa), (ends - new).ssa))
        return Layout(new, past, keys, True, start.ssa, total.op("le", keys) & (ends <= keys).all())
    n.require(keys == past + new, f"caches of {past} and {new} new tokens do not make {keys}")
    fits = ends.op("eq", keys) if past else ends <= keys
    start = n.expand(n.constant(past, I64), [batch, 1])
    return Layout(new, past, keys, False, start, total.op("eq", keys) & fits.all())


def _normalised(n: NodeContext, x: SSAValue, index: int) -> SSAValue:
    """Heads divided by their root mean square, where the node asks for it."""
    if not n.has(index):
        return x
    normal = n.build(Normalize, x, axes=[3], epsilon=n.float("qk_norm_epsilon", 1e-6), center=False)
    return n.build(graph_op("mul"), normal, n.input(index))


def _rotated(n: NodeContext, x: SSAValue, layout: Layout) -> SSAValue:
    cosine, sine = n.ranked(7, 2), n.ranked(8, 2)
    batch, new = n.shape(x)[:2]
    if n.has(9):
        positions = n.cast(n.ranked(9, 2), I64)
    else:
        positions = n.build(graph_op("add"), layout.start, n.build(Iota, axis=1, result=tensor([1, new], I64)))
    n.require(n.shape(positions) in ((1, new), (batch, new)), "there is one position for each token")
    angles = [n.build(Gather, cache, positions, axis=0) for cache in (cosine, sine)]
    rotated = 2 * n.shape(cosine)[1]
    n.require(0 < rotated <= n.shape(x)[3], f"its caches do not rotate {rotated} of {n.shape(x)[3]}")
    return rotate(n, x, angles[0], angles[1], rotated, n.flag("rotary_interleaved"))


def _present(n: NodeContext, layout: Layout, x: SSAValue, index: int) -> SSAValue:
    """The cache with the new [B, S, heads, D] in it: [B, heads, keys, D]."""
    if not layout.buffer:
        made = n.transpose(x, (0, 2, 1, 3))
        return n.build(Concat, n.input(index), made, axis=2) if layout.past else made
    batch = n.shape(x)[0]
    both = n.build(Concat, n.transpose(n.input(index), (0, 2, 1, 3)), x, axis=1)
    place = n.build(Iota, axis=1, result=tensor([1, layout.keys], I64))
    distance = n.build(graph_op("sub"), place, layout.start)
    fresh = n.build(graph_op("ge"), distance, n.number(0, distance))
    fresh = n.build(graph_op("and"), fresh, n.build(graph_op("lt"), distance, n.number(layout.new, distance)))
    source = n.build(graph_op("add"), distance, n.number(layout.past, distance))
    source = n.build(graph_op("select"), fresh, source, place)
    chosen = n.build(GatherNd, both, n.reshape(source, [batch, layout.keys, 1]), batch_dims=1)
    return n.transpose(chosen, (0, 2, 1, 3))


def _bias(n: NodeContext, layout: Layout, like: SSAValue, *, spelled: bool) -> tuple[SSAValue | None, bool]:
    """What is added to the scores, and whether the graph's causal rule hides later keys (``spelled``: it may not)."""
    causal, window = n.flag("causal", True), n.int("local_window_size", -1)
    given = n.optional(10)
    if given is not None:
        n.require(n.shape(given)[-1] == layout.keys, f"its bias has {n.shape(given)[-1]} keys, not {layout.keys}")
    ragged = not causal and (layout.past == 0 or layout.buffer)
    if not layout.buffer and window <= 0 and not ragged and not spelled:
        return given, causal
    batch = n.shape(layout.start)[0]
    key = n.build(Iota, axis=3, result=tensor([1, 1, 1, layout.keys], I64))
    row = n.build(Iota, axis=2, result=tensor([1, 1, layout.new, 1], I64))
    place = n.build(graph_op("add"), row, n.reshape(layout.start, [batch, 1, 1, 1]))
    rules: list[SSAValue] = []
    if causal:
        rules.append(n.build(graph_op("le"), key, place))
    else:
        ends = (n.value(5).reshape([batch, 1, 1, 1]) + 1).ssa
        rules.append(n.build(graph_op("lt"), key, ends))
    if window > 0:
        first = n.build(graph_op("sub"), place, n.number(window, place))
        rules.append(n.build(graph_op("gt"), key, first))
    seen = rules[0]
    for rule in rules[1:]:
        seen = n.build(graph_op("and"), seen, rule)
    hidden = n.build(graph_op("select"), seen, n.number(0, like), n.number(-math.inf, like))
    return plus(n, given, hidden), False


def _sink(n: NodeContext, heads: int, like: SSAValue) -> SSAValue | None:
    """The score of the sink [1, heads or 1, 1, 1] that softmax's denominator has besides the keys'."""
    if n.has(11):
        return n.reshape(n.input(11), [1, heads, 1, 1])
    return n.reshape(n.number(0, like), [1, 1, 1, 1]) if n.flag("smooth_softmax") else None
