"""Gathers, one-hot, resizing."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.index import Gather, GatherElements, GatherNd
from penstock.compiler.dialects.graph.resize import Resize
from penstock.compiler.dialects.graph.shape import Iota
from penstock.compiler.dtypes import I64, tensor
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext


@converter("Gather")
def gather(n: NodeContext) -> SSAValue:
    """Indices out of range read the nearest element."""
    x = n.input(0)
    return n.build(Gather, x, n.input(1), axis=n.axis("axis", 0, n.rank(x)))


@converter("GatherElements")
def gather_elements(n: NodeContext) -> SSAValue:
    """Indices out of range read the nearest element."""
    x = n.input(0)
    return n.build(GatherElements, x, n.input(1), axis=n.axis("axis", 0, n.rank(x)))


@converter("GatherND")
def gather_nd(n: NodeContext) -> SSAValue:
    """Batch dimensions included."""
    return n.build(GatherNd, n.input(0), n.input(1), batch_dims=n.int("batch_dims", 0))


@converter("OneHot")
def one_hot(n: NodeContext) -> SSAValue:
    """The depth is known at compile time; indices out of range give no one."""
    indices, values = n.cast(n.input(0), I64), n.input(2)
    depth = int(n.static(1, "depth").reshape(-1)[0])
    rank = n.rank(indices) + 1
    axis = n.axis("axis", -1, rank)
    shape = list(n.shape(indices))
    shape.insert(axis, 1)
    wrapped = n.build(
        graph_op("select"),
        n.build(graph_op("lt"), indices, n.number(0, indices)),
        n.build(graph_op("add"), indices, n.number(depth, indices)),
        indices,
    )
    position = n.build(Iota, axis=axis, result=tensor([depth if a == axis else 1 for a in range(rank)], I64))
    hot = n.build(graph_op("eq"), n.reshape(wrapped, shape), position)
    off = n.reshape(slice_of(n, values, {0: 0}, {0: 1}, {}), [])
    on = n.reshape(slice_of(n, values, {0: 1}, {0: 1}, {}), [])
    return n.build(graph_op("select"), hot, on, off)


@converter("Resize", "Upsample")
def resize(n: NodeContext) -> SSAValue:
    """Nearest, linear and cubic, all coordinate modes; sizes and the region cropped are known at compile time."""
    x = n.input(0)
    extents = n.shape(x)
    rank = len(extents)
    axes = [n.normal_axis(a, rank) for a in n.attribute_list("axes", list(range(rank)))]
    old = n.opset < 11
    scales_at, sizes_at = (1, 99) if old else (2, 3)
    scales, sizes = [1.0] * rank, list(extents)
    if n.has(sizes_at) and n.shape(n.input(sizes_at)) != (0,):
        wanted = [int(v) for v in n.static(sizes_at, "sizes")]
        wanted = _keep_ratio(n, [extents[a] for a in axes], wanted)
        for axis, size in zip(axes, wanted, strict=True):
            sizes[axis], scales[axis] = size, size / extents[axis]
    else:
        given = (
            n.static(scales_at, "scales") if n.has(scales_at) else np.asarray(n.attribute_list("scales"), np.float32)
        )
        for axis, scale in zip(axes, given.reshape(-1), strict=True):
            sizes[axis], scales[axis] = int(np.floor(extents[axis] * float(scale))), float(scale)
    mode = n.text("mode", "nearest")
    coordinate = "asymmetric" if old else n.text("coordinate_transformation_mode", "half_pixel")
    region = _region(n, axes) if coordinate == "tf_crop_and_resize" else []
    op = n.op(
        Resize,
        x,
        mode={"bilinear": "linear"}.get(mode, mode),
        scales=scales,
        coordinate_mode=coordinate,
        nearest_mode="floor" if old else n.text("nearest_mode", "round_prefer_floor"),
        cubic_coeff_a=n.float("cubic_coeff_a", -0.75),
        exclude_outside=n.flag("exclude_outside"),
        antialias=n.flag("antialias"),
        region=region,
        result=tensor(sizes, element_of(x)),
    )
    return _extrapolated(n, op) if region else op.out


def _region(n: NodeContext, axes: list[int]) -> list[float]:
    """The input roi, for all axes: starts, then ends."""
    given = [float(edge) for edge in n.static(1, "roi").reshape(-1)]
    n.require(len(given) == 2 * len(axes), f"roi is {2 * len(axes)} numbers, not {len(given)}")
    rank = n.rank(n.input(0))
    edges = [0.0] * rank + [1.0] * rank
    for place, axis in enumerate(axes):
        edges[axis], edges[rank + axis] = given[place], given[place + len(axes)]
    return edges


def _extrapolated(n: NodeContext, op: Resize) -> SSAValue:
    """``extrapolation_value`` wherever a coordinate lies outside of the input."""
    result, rank = op.out, n.rank(op.out)
    for axis in op.resized_axes():
        where = op.coordinates(axis)
        inside = (where >= 0) & (where <= n.shape(op.operands[0])[axis] - 1)
        if not inside.all():
            mask = n.constant(inside.reshape([-1 if a == axis else 1 for a in range(rank)]))
            fill = n.number(n.float("extrapolation_value", 0.0), result)
            result = n.build(graph_op("select"), mask, result, fill)
    return result


def _keep_ratio(n: NodeContext, extents: list[int], wanted: list[int]) -> list[int]:
    """Sizes under ``keep_aspect_ratio_policy``."""
    policy = n.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return wanted
    ratios = [size / extent for size, extent in zip(wanted, extents, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [int(np.floor(scale * extent + 0.5)) for extent in extents]
