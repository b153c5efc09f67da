"""Pooling, over windows and over whole images, and local response normalization."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.extents import ceildiv, largest, smallest
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.converters.linear import MAX_SPATIAL, spatial_pads
from penstock.compiler.frontends.onnx.node_context import NodeContext


@converter("MaxPool", "AveragePool")
def pool(n: NodeContext) -> list[SSAValue]:
    """One to three spatial axes; ceil_mode, dilations, indices, count_include_pad, auto_pad."""
    return pooled(n, n.ranked(0, 3, MAX_SPATIAL + 2))


def pooled(n: NodeContext, x: SSAValue) -> list[SSAValue]:
    """The pooling of ``x`` that the node's attributes describe, and indices if it has them."""
    extents = n.shape(x)[2:]
    rank = len(extents)
    window = n.per_axis("kernel_shape", rank, 0, 1)
    strides, dilations = n.per_axis("strides", rank, 1, 1), n.per_axis("dilations", rank, 1, 1)
    low, high = spatial_pads(n, extents, window, strides, dilations)
    if any(p < 0 for p in (*low, *high)):
        raise n.unsupported("negative pads are not compiled", "Slice the input instead.")
    parameters: dict[str, object] = {}
    if n.flag("ceil_mode"):
        grown = [_ceil_pad(*item) for item in zip(extents, window, strides, dilations, low, high, strict=True)]
        parameters["overhang"] = [wide - own for wide, own in zip(grown, high, strict=True)]
        high = grown
    maximum = n.node.op.endswith("MaxPool")
    if maximum and n.wants(1):
        parameters["indices"] = True
        parameters["column_major"] = n.flag("storage_order")
    op = n.op(
        Pool,
        x,
        kind="max" if maximum else "average",
        window=window,
        strides=strides,
        dilations=dilations,
        pads_low=low,
        pads_high=high,
        count_include_pad=not maximum and n.flag("count_include_pad"),
        **parameters,
    )
    return list(op.results)


def _ceil_pad(extent: int, window: int, stride: int, dilation: int, low: int, high: int) -> int:
    """The pad after that makes the last, incomplete window count (but not one that starts in the padding)."""
    reach = (window - 1) * dilation + 1
    steps = ceildiv(extent + low + high - reach, stride)
    steps = smallest(steps, ceildiv(extent + low, stride) - 1)  # the last window starts before the end
    return largest(high, steps * stride + reach - extent - low)


@converter("GlobalAveragePool", "GlobalMaxPool")
def global_pool(n: NodeContext) -> SSAValue:
    """Any number of spatial axes."""
    x = n.ranked(0, 2, 8)
    axes = list(range(2, n.rank(x)))
    if n.node.op == "GlobalMaxPool":
        return n.build(Reduce, x, kind="max", axes=axes, keepdims=True)
    wide = widened(n, x)
    total = n.build(Reduce, wide, kind="sum", axes=axes, keepdims=True)
    share = n.share(math.prod(n.shape(x)[2:]), total)
    return n.cast(n.build(graph_op("mul"), total, share), element_of(x))


@converter("GlobalLpPool")
def global_lp_pool(n: NodeContext) -> SSAValue:
    """Any order p; any number of spatial axes."""
    x = n.ranked(0, 2, 8)
    return p_norm(n, x, n.int("p", 2), list(range(2, n.rank(x))), keepdims=True)


def p_norm(n: NodeContext, x: SSAValue, p: int, axes: Sequence[int], keepdims: bool) -> SSAValue:
    """(sum of |x|^p)^(1/p) over ``axes``."""
    n.require(p > 0, f"the order p is {p}")
    wide = n.build(graph_op("abs"), widened(n, x))
    power = wide if p == 1 else n.build(graph_op("pow"), wide, n.number(p, wide))
    total = n.build(Reduce, power, kind="sum", axes=tuple(axes), keepdims=keepdims)
    return n.cast(total if p == 1 else n.build(graph_op("pow"), total, n.number(1.0 / p, total)), element_of(x))


@converter("LpPool")
def lp_pool(n: NodeContext) -> SSAValue:
    """One to three spatial axes; any order p; ceil_mode, dilations, auto_pad."""
    x = n.ranked(0, 3, MAX_SPATIAL + 2)
    extents = n.shape(x)[2:]
    rank, p = len(extents), n.int("p", 2)
    n.require(p > 0, f"the order p is {p}")
    window = n.per_axis("kernel_shape", rank, 0, 1)
    strides, dilations = n.per_axis("strides", rank, 1, 1), n.per_axis("dilations", rank, 1, 1)
    low, high = spatial_pads(n, extents, window, strides, dilations)
    if n.flag("ceil_mode"):
        high = [_ceil_pad(*item) for item in zip(extents, window, strides, dilations, low, high, strict=True)]
    wide = n.build(graph_op("abs"), widened(n, x))
    power = n.build(graph_op("pow"), wide, n.number(p, wide))
    mean = n.build(
        Pool, power, kind="average", window=window, strides=strides, dilations=dilations, pads_low=low, pads_high=high,
        count_include_pad=True,
    )  # fmt: skip
    total = n.build(graph_op("mul"), mean, n.number(math.prod(window), mean))
    return n.cast(n.build(graph_op("pow"), total, n.number(1.0 / p, total)), element_of(x))


@converter("LRN")
def lrn(n: NodeContext) -> SSAValue:
    """Any number of spatial axes."""
    x = n.ranked(0, 2, 8)
    batch, channels, *spatial = n.shape(x)
    size = n.int("size")
    n.require(size > 0, f"size is {size}")
    wide = widened(n, x)
    squares = n.reshape(n.build(graph_op("mul"), wide, wide), [batch, 1, channels, math.prod(spatial)])
    before = (size - 1) // 2
    mean = n.build(
        Pool, squares, kind="average", window=[size, 1], strides=[1, 1], dilations=[1, 1], pads_low=[before, 0],
        pads_high=[size - 1 - before, 0], count_include_pad=True,
    )  # fmt: skip
    scaled = n.build(graph_op("mul"), mean, n.number(n.float("alpha", 1e-4), mean))
    base = n.build(graph_op("add"), scaled, n.number(n.float("bias", 1.0), scaled))
    factor = n.build(graph_op("pow"), base, n.number(-n.float("beta", 0.75), base))
    return n.cast(n.build(graph_op("mul"), wide, n.reshape(factor, n.shape(x))), element_of(x))
