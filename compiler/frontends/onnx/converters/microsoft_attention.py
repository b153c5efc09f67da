"""Attention in onnxruntime's forms: packed projections, caches, rotary positions, masks of four kinds.

Each becomes heads [B, H, S, D] for the graph's attention, and one additive bias of all that hides keys. What follows
from onnxruntime's CPU kernels: masked keys get ``mask_filter_value``, not minus infinity.
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.shape import Concat, Iota
from penstock.compiler.dtypes import I1, I64, tensor
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.attention import Scale
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.linear import matmul
from penstock.compiler.frontends.onnx.converters.microsoft import DOMAIN
from penstock.compiler.frontends.onnx.converters.sequence import rotate
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext


def heads_of(n: NodeContext, x: SSAValue, heads: int) -> SSAValue:
    """[B, S, heads D] as [B, heads, S, D]."""
    batch, length, width = n.shape(x)
    sentence = f"a width of {width} does not make {heads} heads"
    n.require(heads > 0, sentence)
    n.require_equal(width % heads, 0, sentence)
    return n.transpose(n.reshape(x, [batch, length, heads, width // heads]), (0, 2, 1, 3))


def joined(n: NodeContext, x: SSAValue) -> SSAValue:
    """[B, heads, S, D] as [B, S, heads D]."""
    batch, heads, length, width = n.shape(x)
    return n.reshape(n.transpose(x, (0, 2, 1, 3)), [batch, length, heads * width])


def part(n: NodeContext, x: SSAValue, axis: int, start: int, count: int) -> SSAValue:
    """Indices [start, start + count) of an axis."""
    return x if count == n.shape(x)[axis] else slice_of(n, x, {axis: start}, {axis: count}, {})


def plus(n: NodeContext, *terms: SSAValue | None) -> SSAValue | None:
    """The sum of those terms that are there."""
    total: SSAValue | None = None
    for term in terms:
        if term is not None:
            total = term if total is None else n.build(graph_op("add"), total, term)
    return total


def padding(
    n: NodeContext, mask: SSAValue | None, like: SSAValue, batch: int, queries: int, keys: int
) -> SSAValue | None:
    """The bias of a mask: one number per key (0: hidden), per query and key, or where keys end (and begin)."""
    if mask is None:
        return None
    shape, filtered = n.shape(mask), n.number(n.float("mask_filter_value", -10000.0), like)
    if shape in ((batch,), (2 * batch,)):
        key = n.build(Iota, axis=1, result=tensor([1, keys], I64))
        end = n.reshape(n.cast(part(n, mask, 0, 0, batch), I64), [batch, 1])
        seen = n.build(graph_op("lt"), key, end)
        if shape != (batch,):
            start = n.reshape(n.cast(part(n, mask, 0, batch, batch), I64), [batch, 1])
            seen = n.build(graph_op("and"), seen, n.build(graph_op("ge"), key, start))
        seen = n.reshape(seen, [batch, 1, 1, keys])
    elif shape in ((batch, keys), (batch, queries, keys)):
        seen = n.reshape(n.cast(mask, I1), [batch, 1, *([1] if len(shape) == 2 else []), *shape[1:]])
    else:
        raise n.unsupported(f"a mask of shape {list(shape)} is not compiled", "Give one number per key.")
    return n.build(graph_op("select"), seen, n.number(0, like), filtered)


def attended(
    n: NodeContext, q: SSAValue, k: SSAValue, v: SSAValue, bias: SSAValue | None, *, causal: bool = False
) -> SSAValue:
    """Heads of values by query; causal queries stand at the end of the keys."""
    scale = Scale.of(n.shape(q)[3], n.float("scale", 0.0) or None)
    operands = [q, k, v, *([] if bias is None else [bias])]
    offset = n.shape(k)[2] - n.shape(q)[2] if causal else 0
    return n.build(
        Attention, *operands, scale=scale.factor, by_width=scale.by_width, causal=causal, causal_offset=offset,
        softcap=n.float("softcap", 0.0),
    )  # fmt: skip


def refuse_sharing(n: NodeContext, *, index: int) -> None:
    """Refuse caches whose past and present are one buffer."""
    if n.has(index) or n.flag("past_present_share_buffer"):
        raise n.unsupported("past and present in one buffer are not compiled", "Export without buffer sharing.")


@converter("MultiHeadAttention", domain=DOMAIN)
def multi_head_attention(n: NodeContext) -> list[SSAValue]:
    """Separate or packed projections with a bias, cross attention, past and present, masks, causal rule; caches in
    one buffer, beams and the output of scores are refused."""
    refuse_sharing(n, index=8)
    if n.has(9) or n.wants(3):
        raise n.unsupported("cache_indirection and the output of scores are not compiled")
    heads = n.int("num_heads")
    q, k, v = _projections(n, heads)
    n.require(n.has(6) == n.has(7), "past_key and past_value are given together")
    if n.has(6):
        k, v = n.build(Concat, n.ranked(6, 4), k, axis=2), n.build(Concat, n.ranked(7, 4), v, axis=2)
    (batch, _, queries, _), keys = n.shape(q), n.shape(k)[2]
    bias = plus(n, padding(n, n.optional(4), q, batch, queries, keys), n.optional(5))
    return [joined(n, attended(n, q, k, v, bias, causal=n.flag("unidirectional"))), k, v]


def _projections(n: NodeContext, heads: int) -> tuple[SSAValue, SSAValue, SSAValue]:
    """Queries, keys and values by head, the bias of their projections added."""
    query, bias = n.ranked(0, 3, 5), n.optional(3)
    if n.rank(query) == 5:
        q, k, v = _unpacked(n, query, 3)
    elif n.rank(n.ranked(1, 3, 5)) == 5:
        q, (k, v) = heads_of(n, query, heads), _unpacked(n, n.input(1), 2)
    elif n.rank(n.input(1)) == 4:
        q, k, v = heads_of(n, query, heads), n.input(1), n.ranked(2, 4)
    else:
        q, k, v = heads_of(n, query, heads), heads_of(n, n.input(1), heads), heads_of(n, n.ranked(2, 3), heads)
    if bias is None:
        return q, k, v
    parts: list[SSAValue] = []
    for x in (q, k, v):
        _, count, _, width = n.shape(x)
        own = part(
            n, bias, 0, sum(n.shape(done)[1] * n.shape(done)[3] for done in (q, k, v)[: len(parts)]), count * width
        )
        parts.append(n.build(graph_op("add"), x, n.reshape(own, [1, count, 1, width])))
    return parts[0], parts[1], parts[2]


def _unpacked(n: NodeContext, x: SSAValue, count: int) -> list[SSAValue]:
    """[B, S, H, count, D] as that many tensors [B, H, S, D]."""
    batch, length, heads, packed, width = n.shape(x)
    n.require(packed == count, f"{packed} projections are packed where {count} are meant")
    parts = [n.reshape(part(n, x, 3, i, 1), [batch, length, heads, width]) for i in range(count)]
    return [n.transpose(piece, (0, 2, 1, 3)) for piece in parts]


@converter("Attention", domain=DOMAIN)
def packed_attention(n: NodeContext) -> list[SSAValue]:
    """Merged projections, masks per key, per query and by length, past and present, causal rule; rotary positions and
    caches in one buffer are refused."""
    refuse_sharing(n, index=6)
    projected = matmul(n, n.ranked(0, 3), n.ranked(1, 2))
    bias = n.optional(2)
    if bias is not None:
        projected = n.build(graph_op("add"), projected, bias)
    return self_attention(n, projected, n.optional(3), n.optional(4), n.optional(5))


def self_attention(
    n: NodeContext, projected: SSAValue, mask: SSAValue | None, past: SSAValue | None, bias: SSAValue | None
) -> list[SSAValue]:
    """Attention over one projection to queries, keys and values; the result and, with ``past``, the present."""
    if n.flag("do_rotary"):
        raise n.unsupported("rotary positions are not compiled here", "Use GroupQueryAttention.")
    heads, total = n.int("num_heads"), n.shape(projected)[2]
    sizes = [int(size) for size in n.attribute_list("qkv_hidden_sizes")] or [total // 3] * 3
    n.require(len(sizes) == 3 and sum(sizes) == total, f"qkv_hidden_sizes {sizes} do not make a width of {total}")
    starts = (0, sizes[0], sizes[0] + sizes[1])
    q, k, v = (heads_of(n, part(n, projected, 2, *at), heads) for at in zip(starts, sizes, strict=True))
    if past is not None:
        n.require(n.rank(past) == 5, "its past has the shape [2, batch, heads, length, width]")
        k, v = (
            n.build(Concat, n.reshape(part(n, past, 0, index, 1), n.shape(past)[1:]), x, axis=2)
            for index, x in enumerate((k, v))
        )
    (batch, _, queries, _), keys = n.shape(q), n.shape(k)[2]
    bias = plus(n, padding(n, mask, q, batch, queries, keys), bias)
    out = joined(n, attended(n, q, k, v, bias, causal=n.flag("unidirectional")))
    if not n.wants(1):
        return [out]
    return [out, n.build(Concat, *(n.reshape(x, [1, *n.shape(x)]) for x in (k, v)), axis=0)]


@converter("RotaryEmbedding", domain=DOMAIN)
def rotary_embedding(n: NodeContext) -> SSAValue:
    """3-D and 4-D inputs, positions by token or from an offset, partial rotation, interleaved pairs."""
    if n.flag("is_packed_batching") or n.float("scale", 1.0) != 1.0:
        raise n.unsupported("ragged batches and scaled rotations are not compiled")
    x, positions, cosine, sine = n.ranked(0, 3, 4), n.ranked(1, 1, 2), n.ranked(2, 2), n.ranked(3, 2)
    shape, rotated = n.shape(x), n.int("rotary_embedding_dim", 0)
    if len(shape) == 3:
        width = shape[2] // max(n.int("num_heads", 0), 1) if rotated else 2 * n.shape(cosine)[1]
        n.require(width > 0 and shape[2] % width == 0, f"a width of {shape[2]} is not made of heads of {width}")
        x = n.reshape(x, [*shape[:2], shape[2] // width, width])
    else:
        x = n.transpose(x, (0, 2, 1, 3))
    batch, length, _, width = n.shape(x)
    rotated = rotated or width
    n.require(rotated <= width and rotated == 2 * n.shape(cosine)[1], f"its caches do not rotate {rotated} of {width}")
    if n.rank(positions) == 1:
        first = n.reshape(n.cast(positions, I64), [1, 1])
        positions = n.build(graph_op("add"), n.build(Iota, axis=1, result=tensor([1, length], I64)), first)
    n.require(n.shape(positions) in ((1, length), (batch, length)), "there is one position for each token")
    angles = [n.build(Gather, cache, positions, axis=0) for cache in (cosine, sine)]
    out = rotate(n, x, angles[0], angles[1], rotated, n.flag("interleaved"))
    return n.reshape(out, shape) if len(shape) == 3 else n.transpose(out, (0, 2, 1, 3))
