"""Sampling at positions that are data: grids, deformed windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.sampling import Sample
from penstock.compiler.dialects.graph.shape import Concat, Slice
from penstock.compiler.dtypes import F32, F64, tensor
from penstock.compiler.extents import Extent, is_static, largest
from penstock.compiler.frontends.onnx.arithmetic import Value, Values, counting
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.node_context import NodeContext

MODES = {"bilinear": "linear", "bicubic": "cubic", "linear": "linear", "cubic": "cubic", "nearest": "nearest"}


@converter("GridSample")
def grid_sample(n: NodeContext) -> SSAValue:
    """Images, volumes and any other number of spatial axes; all modes and paddings."""
    x, grid = n.ranked(0, 3, 32), n.input(1)
    extents, corners = n.shape(x)[2:], n.flag("align_corners")
    mode = MODES[n.choice("mode", "linear" if n.opset >= 20 else "bilinear", *MODES)]
    spatial = len(extents)
    sentence = f"a grid of shape {list(n.shape(grid))} does not fit a tensor of shape {list(n.shape(x))}"
    n.require(n.rank(grid) == n.rank(x), sentence)
    n.require_equal(n.shape(grid)[-1], spatial, sentence)
    places = Value(n, _reversed(n, widened(n, grid)))
    one = places + 1.0
    pixels = one / 2.0 * [extent - 1 for extent in extents] if corners else (one * extents - 1.0) / 2.0
    outside = n.choice("padding_mode", "zeros", "zeros", "border", "reflection")
    return n.build(Sample, x, pixels.ssa, mode=mode, outside=outside, align_corners=corners)


def _reversed(n: NodeContext, x: SSAValue) -> SSAValue:
    """The elements of the last axis from the last to the first: a grid names the innermost axis first."""
    *outer, count = n.shape(x)
    starts, steps = [*[0] * len(outer), max(count - 1, 0)], [*[1] * len(outer), -1]
    return n.build(Slice, x, starts=starts, steps=steps, result=tensor([*outer, count], element_of(x)))


@converter("AffineGrid")
def affine_grid(n: NodeContext) -> SSAValue:
    """Two and three spatial axes; a size fed at run time must be the one of the declared result."""
    theta, corners = n.ranked(0, 3), n.flag("align_corners")
    if n.fed(1):
        declared = n.promised("its size")
        batch, extents = declared[0], list(declared[1:-1])
        spatial = len(extents)
        fits = spatial > 0 and n.shape(n.input(1)) == (spatial + 2,)
        n.require(fits, f"a size has {spatial + 2} numbers for {spatial} spatial axes")
        size = n.value(1)
        same = Values.equal(size[0], batch)
        for axis, extent in enumerate(extents):
            same = same & Values.equal(size[axis + 2], extent)
        theta = n.checked(theta, same, "its size")
    else:
        batch, extents = 0, n.extents(1, "size") or []
        if len(extents) > 2:
            batch, _, *extents = extents
    spatial = len(extents)
    sentence = f"transforms of shape {list(n.shape(theta))} do not fit a grid of {spatial} axes"
    n.require(spatial in (2, 3), sentence)
    for have, want in zip(n.shape(theta), (batch, spatial, spatial + 1), strict=True):
        n.require_equal(have, want, sentence)
    n.require(all(extent > 0 for extent in extents), f"a grid of {extents} has no points")
    wide = widened(n, theta)
    grid = n.build(Matmul, _points(n, extents, corners, element_of(wide)), n.transpose(wide, (0, 2, 1)))
    return n.cast(n.reshape(grid, [batch, *extents, spatial]), element_of(theta))


def _points(n: NodeContext, extents: Sequence[Extent], corners: bool, kind: Attribute) -> SSAValue:
    """The elements' centres, each from -1 to 1, the innermost axis first, and a 1: [elements, axes + 1]."""
    spatial = len(extents)
    if is_static(extents):
        n.table(math.prod(extents) * (spatial + 1), "its grid")
        columns = [_centres(extent, corners) for extent in extents]
        points = np.stack([*np.meshgrid(*columns, indexing="ij")[::-1], np.ones(extents)], axis=-1)
        return n.constant(points.reshape(math.prod(extents), spatial + 1), kind)
    parts: list[SSAValue] = []
    for axis in reversed(range(spatial)):
        extent = extents[axis]
        place = counting(n, extent, F64)
        between = (place * 2.0) / (largest(extent - 1, 1) if corners else extent)
        centre = between - 1.0 if corners else between + Value(n, n.share(extent, place.ssa)) - 1.0
        column = centre.reshape([extent if other == axis else 1 for other in range(spatial)])
        parts.append(n.reshape(n.expand(column.ssa, extents), [*extents, 1]))
    one = n.expand(n.number(1.0, parts[0]), [*extents, 1])
    points = n.build(Concat, *parts, one, axis=spatial)
    return n.cast(n.reshape(points, [math.prod(extents), spatial + 1]), kind)


def _centres(extent: int, corners: bool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Where the elements of an axis are, from -1 to 1."""
    if corners:
        return np.linspace(-1.0, 1.0, extent) if extent > 1 else np.array([-1.0])
    return (2 * np.arange(extent) + 1) / extent - 1.0


@converter("DeformConv")
def deform_conv(n: NodeContext) -> SSAValue:
    """Any number of spatial axes, groups and offset groups; mask, bias, strides, pads and dilations. The input's
    elements under every window are collected in memory."""
    x, weights, offsets = n.ranked(0, 3, 32), n.input(1), n.input(2)
    batch, channels, *extents = n.shape(x)
    spatial = len(extents)
    n.require(n.rank(weights) == n.rank(x) == n.rank(offsets), "weights and offsets have the axes of the input")
    features, depth, *window = n.shape(weights)
    stated = n.attribute_list("kernel_shape", window)
    sentence = f"kernel_shape is {stated}, but the weights have {window}"
    n.require(len(stated) == len(window), sentence)
    for own, extent in zip(stated, window, strict=True):
        n.require_equal(extent, own, sentence)
    groups, offset_groups = n.int("group", 1), n.int("offset_group", 1)
    n.require(min(groups, offset_groups) > 0, "there is one group or more")
    sentence = (
        f"{channels} channels and weights of shape {list(n.shape(weights))} do not make {groups} groups "
        f"and {offset_groups} offset groups"
    )
    for have, want in ((channels, depth * groups), (features % groups, 0), (channels % offset_groups, 0)):
        n.require_equal(have, want, sentence)
    strides, dilations = n.per_axis("strides", spatial, 1, 1), n.per_axis("dilations", spatial, 1, 1)
    pads = n.per_axis("pads", 2 * spatial, 0, 0)
    sizes = [
        (extent + pads[a] + pads[a + spatial] - dilations[a] * (window[a] - 1) - 1) // strides[a] + 1
        for a, extent in enumerate(extents)
    ]
    n.require(all(size >= 0 for size in sizes), f"the window {window} does not fit into {extents}")
    taps, count = math.prod(window), math.prod(sizes)
    wanted = [batch, offset_groups * taps * spatial, *sizes]
    for have, want in zip(n.shape(offsets), wanted, strict=True):
        n.require_equal(have, want, f"offsets have shape {list(n.shape(offsets))}, but {wanted} fits")
    kind = element_of(x)
    moved = Value(n, n.reshape(widened(n, offsets), [batch * offset_groups, taps, spatial, count]))
    places = moved + _window_places(n, window, sizes, strides, dilations, pads)
    flat = n.reshape(n.transpose(places.ssa, (0, 1, 3, 2)), [batch * offset_groups, taps * count, spatial])
    per_offset = channels // offset_groups
    images = n.reshape(x, [batch * offset_groups, per_offset, *extents])
    columns = n.reshape(n.build(Sample, images, flat), [batch, offset_groups, per_offset, taps, count])
    if n.has(4):
        wanted = [batch, offset_groups * taps, *sizes]
        for have, want in zip(n.shape(n.ranked(4, spatial + 2)), wanted, strict=True):
            n.require_equal(have, want, f"a mask of shape {list(n.shape(n.input(4)))} is given where {wanted} fits")
        mask = n.reshape(n.input(4), [batch, offset_groups, 1, taps, count])
        columns = n.build(graph_op("mul"), columns, mask)
    columns = n.reshape(columns, [batch, groups, depth * taps, count])
    flat_weights = n.reshape(weights, [groups, features // groups, depth * taps])
    result = n.reshape(n.build(Matmul, flat_weights, columns), [batch, features, *sizes])
    if n.has(3):
        result = n.build(graph_op("add"), result, n.reshape(n.input(3), [features, *[1] * spatial]))
    return n.cast(result, kind)


def _window_places(
    n: NodeContext,
    window: Sequence[Extent],
    sizes: Sequence[Extent],
    strides: list[int],
    dilations: list[int],
    pads: list[int],
) -> Value:
    """Coordinates of every tap at every position of the result: f32 [1, taps, spatial, positions]."""
    spatial, parts = len(window), list[SSAValue]()
    full = [*window, *sizes]
    for axis in range(spatial):
        tap = counting(n, window[axis], F32) * dilations[axis]
        position = counting(n, sizes[axis], F32) * strides[axis] - pads[axis]
        both = position.reshape(_beside(full, spatial + axis)) + tap.reshape(_beside(full, axis))
        parts.append(n.reshape(n.expand(both.ssa, full), [1, math.prod(window), 1, math.prod(sizes)]))
    return Value(n, n.build(Concat, *parts, axis=2))


def _beside(extents: Sequence[Extent], axis: int) -> list[Extent]:
    """A shape that broadcasts along all axes but one."""
    return [extent if other == axis else 1 for other, extent in enumerate(extents)]
