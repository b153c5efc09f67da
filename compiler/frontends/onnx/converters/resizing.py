"""Resizing of images and volumes.

Extents and scales come from sizes, from scales or (before opset 11) from attributes; what is fed at run time instead
is held against the declared shape of the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias, cast

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.resize import Resize, Sampling, Span
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dialects.graph.shape import Pad
from penstock.compiler.dtypes import F32, F64, byte_width, is_float, tensor
from penstock.compiler.extents import MOST, Extent, NotStatic, ceildiv, floordiv, is_static, largest, quotient, smallest
from penstock.compiler.frontends.onnx.arithmetic import Value, Values, counting, truth
from penstock.compiler.frontends.onnx.converters import converter, fed
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.node_context import NodeContext

LARGEST_PART = 16
TAPS = 8  # elements that one is made of, or that one has a part in, at most
Scale: TypeAlias = "float | Value"
"""Of an axis whose extents may be symbolic."""
POLICIES = ("stretch", "not_larger", "not_smaller")


@converter("Resize", "Upsample")
def resize(n: NodeContext) -> SSAValue:
    """Nearest, linear and cubic, all coordinate modes; integers are cut off towards zero in mode linear and refused in
    mode cubic. Scales, sizes and the region cropped may be fed at run time, if the result's shape is declared."""
    rank, old = n.rank(n.input(0)), n.opset < 11
    axes = [n.normal_axis(axis, rank) for axis in n.attribute_list("axes", list(range(rank)))]
    sampling = _sampling(n, old)
    x, sizes, scales = _by_sizes(n, axes) if _has_sizes(n, old) else _by_scales(n, axes, 1 if old else 2)
    region = _region(n, axes) if sampling.coordinate_mode == "tf_crop_and_resize" else []
    kind = element_of(x)
    if sampling.mode != "nearest" and not is_float(kind):
        if sampling.mode == "cubic":
            raise n.unsupported(
                f"cubic interpolation of {n.type_name(x)} can leave its range", "Cast the input to f32."
            )
        x = n.cast(x, F32 if byte_width(kind) <= 2 else F64)
    return n.cast(_resized(n, x, sizes, axes, scales, region, sampling), kind)


def _resized(
    n: NodeContext,
    x: SSAValue,
    sizes: list[int],
    axes: list[int],
    scales: list[Scale] | Value,
    region: list[float] | Value,
    sampling: Sampling,
) -> SSAValue:
    """Resize with everything known now, or with tables that are computed when the model runs."""
    if isinstance(scales, Value) or isinstance(region, Value):
        for axis in axes:
            n.table(TAPS * n.shape(x)[axis] if sampling.antialias else 0, "what its elements are made of")
        return fed.resized(n, x, sizes, axes, scales, region, sampling)
    extents = n.shape(x)
    moved = [axis for axis in axes if sizes[axis] != extents[axis] or scales[axis] != 1]
    later = any(isinstance(scales[axis], Value) for axis in moved)
    if later or not is_static([*(extents[axis] for axis in moved), *(sizes[axis] for axis in moved)]):
        edges = {axis: (region[axis], region[axis + len(extents)]) for axis in moved} if region else {}
        return _symbolic(n, x, sizes, {axis: scales[axis] for axis in moved}, edges, sampling)
    for axis in moved:
        n.table(TAPS * max(extents[axis], sizes[axis]), "what its elements are made of")
    op = n.op(
        Resize,
        x,
        scales=scales,
        mode=sampling.mode,
        coordinate_mode=sampling.coordinate_mode,
        nearest_mode=sampling.nearest_mode,
        cubic_coeff_a=sampling.cubic_coeff_a,
        exclude_outside=sampling.exclude_outside,
        antialias=sampling.antialias,
        region=region,
        result=tensor(sizes, element_of(x)),
    )
    return _extrapolated(n, op) if region else op.out


def _symbolic(
    n: NodeContext,
    x: SSAValue,
    sizes: Sequence[Extent],
    scales: Mapping[int, Scale],
    edges: Mapping[int, tuple[float, float]],
    sampling: Sampling,
) -> SSAValue:
    """Resize symbolic axes: which elements are read, with which weights, is computed when the model runs. A scale of
    0 stands for the ratio of the extents. ``edges`` are those of the region that is cropped, if any is."""
    extents, kind, rank = n.shape(x), element_of(x), n.rank(x)
    value = Value(n, x) if sampling.mode == "nearest" else Value(n, n.cast(x, compute_dtype(kind)))
    inside = truth(n, True)
    for axis, scale in scales.items():
        n.require(extents[axis] > 0, "nothing cannot be resized")
        extent, size = (Value(n, n.sizes([e])).cast(F64).reshape(()) for e in (extents[axis], sizes[axis]))
        span = Span(extent, size, scale or size / extent, *edges.get(axis, ()))
        where = sampling.coordinates(Values, counting(n, sizes[axis]).cast(F64), span)
        if edges:
            mask = (where >= 0.0) & (where <= extent - 1.0)
            inside = inside & mask.reshape([sizes[axis] if a == axis else 1 for a in range(rank)])
        if sampling.antialias and sampling.mode != "nearest" and not (isinstance(scale, float) and scale):
            value = _product(n, value, axis, where, span, (extents[axis], sizes[axis]), sampling)
        else:
            least = scale if isinstance(scale, float) and scale else 1.0
            if sampling.antialias:
                n.table(int(min(TAPS / min(least, 1.0), MOST)), "what each of its elements is made of")
            value = fed.sampled(n, value, axis, *sampling.taps(Values, where, span, least))
    if edges:
        value = Values.where(inside, value, n.float("extrapolation_value", 0.0))
    return value.cast(kind).ssa


def _product(
    n: NodeContext, value: Value, axis: int, where: Value, span: Span, ends: tuple[Extent, Extent], sampling: Sampling
) -> Value:
    """Antialias where how many elements a kernel covers depends on the sizes: ``value`` with its edges repeated as far
    as a kernel reaches beyond them, times the matrix of all weights."""
    (extent, size), rank, kind = ends, len(value.shape), element_of(value.ssa)
    # A kernel reaches 2 / scale elements; sizes are rounded, so the scale is (size - 1/2) / extent or more.
    beyond = 2 * ceildiv(2 * extent, largest(2 * size - 1, 1)) + 2
    pads = [beyond if a == axis else 0 for a in range(rank)]
    wide = Value(n, n.build(Pad, value.ssa, low=pads, high=pads, mode="edge"))
    places = counting(n, extent + 2 * beyond).cast(F64) - Value(n, n.sizes([beyond])).cast(F64)
    weights = sampling.matrix(Values, where, span, places).cast(kind)
    order = [*(a for a in range(rank) if a != axis), axis]
    moved = n.transpose(wide.ssa, order)
    *outer, length = n.shape(moved)
    rows = n.reshape(moved, [math.prod(outer), length])
    product = n.reshape(n.build(Matmul, rows, n.transpose(weights.ssa, (1, 0))), [*outer, size])
    return Value(n, n.transpose(product, [order.index(a) for a in range(rank)]))


def _sampling(n: NodeContext, old: bool) -> Sampling:
    mode = n.text("mode", "nearest")
    return Sampling(
        {"bilinear": "linear"}.get(mode, mode),
        "asymmetric" if old else n.text("coordinate_transformation_mode", "half_pixel"),
        "floor" if old else n.text("nearest_mode", "round_prefer_floor"),
        n.float("cubic_coeff_a", -0.75),
        n.flag("exclude_outside"),
        n.flag("antialias"),
    )


def _has_sizes(n: NodeContext, old: bool) -> bool:
    return not old and n.has(3) and n.shape(n.input(3)) != (0,)


def _by_sizes(n: NodeContext, axes: list[int]) -> tuple[SSAValue, list[Extent], list[Scale] | Value]:
    """The input, the result's extents, and a scale for each axis, from the input sizes."""
    x = n.input(0)
    extents, policy = n.shape(x), n.choice("keep_aspect_ratio_policy", "stretch", *POLICIES)
    fed_sizes = n.sized(3, "its size")
    known = (
        is_static(extents) if fed_sizes else is_static([*(extents[a] for a in axes), *(n.extents(3, "sizes") or [])])
    )
    if not known:
        return _by_symbolic_sizes(n, axes, policy)
    old = np.array([extents[axis] for axis in axes], np.float64)
    n.require(n.shape(n.input(3)) == (len(axes),), f"sizes are {len(axes)} numbers")
    n.require(policy == "stretch" or bool(old.all()), "the aspect ratio of nothing cannot be kept")
    if fed_sizes:
        sizes = fed.resizable(n, "its size", axes)
        wanted = n.value(3, F64)
        kept: Value | None = None
        if policy != "stretch":
            ratios = wanted / old
            ratio = ratios.reduce("min" if policy == "not_larger" else "max")
            wanted = Values.floor(ratio * old + 0.5)
            kept = ratio.reshape([1]) + np.zeros(len(axes))
        x = n.checked(x, Values.equal(wanted, [sizes[axis] for axis in axes]).all(), "its size")
        if kept is not None:
            return x, sizes, kept
    else:
        wanted, ratio = np.array(n.ints(3, "sizes"), np.float64), 1.0
        if policy != "stretch":
            ratio = (wanted / old).min() if policy == "not_larger" else (wanted / old).max()
            wanted = np.floor(ratio * old + 0.5)
        sizes = list(extents)
        for axis, size in zip(axes, wanted, strict=True):
            sizes[axis] = int(size)
        if policy != "stretch":
            return x, sizes, [float(ratio) if axis in axes else 1.0 for axis in range(len(extents))]
    return x, sizes, [_ratio(size, extent) for size, extent in zip(sizes, extents, strict=True)]


def _by_symbolic_sizes(
    n: NodeContext, axes: list[int], policy: str
) -> tuple[SSAValue, list[Extent], list[Scale] | Value]:
    """The same where extents are symbolic; a scale that depends on the sizes of a run is 0."""
    x = n.input(0)
    extents, wanted = n.shape(x), n.extents(3, "sizes") or []
    n.require(len(wanted) == len(axes), f"sizes are {len(axes)} numbers")
    sizes: list[Extent] = list(extents)
    scales: list[Scale] = [1.0] * len(extents)
    if policy != "stretch":
        old = [extents[axis] for axis in axes]
        n.require(all(extent > 0 for extent in old), "the aspect ratio of nothing cannot be kept")
        # The ratio is the least or greatest of size / extent; rounding keeps their order.
        chosen = smallest if policy == "not_larger" else largest
        ratios = Value(n, n.sizes(wanted)).cast(F64) / Value(n, n.sizes(old)).cast(F64)
        ratio = ratios.reduce("min" if policy == "not_larger" else "max")
        for axis in axes:
            each = [
                w if e == extents[axis] else floordiv(2 * extents[axis] * w + e, 2 * e)
                for w, e in zip(wanted, old, strict=True)
            ]
            sizes[axis], scales[axis] = chosen(*each), ratio
        return x, sizes, scales
    for axis, size in zip(axes, wanted, strict=True):
        sizes[axis], scales[axis] = size, _ratio(size, extents[axis])
    return x, sizes, scales


def _ratio(size: Extent, extent: Extent) -> float:
    """size / extent, if it is one number for all sizes; else 0."""
    if is_static((size, extent)):
        return size / extent if extent else 1.0
    for part in range(1, LARGEST_PART + 1):
        times = quotient(size * part, extent)
        if times is not None and is_static((times,)):
            return times / part
    return 0.0


def _scaled(extent: Extent, scale: float) -> Extent:
    """floor(extent scale). Raises NotStatic for a symbolic extent and a scale beyond what sizes are computed with."""
    if is_static((extent,)):
        return int(np.floor(extent * scale))
    exact = Fraction(scale)
    if max(exact.numerator, exact.denominator) > MOST:
        raise NotStatic(f"{scale} times the extent {extent} cannot be computed in 64 bits")
    return floordiv(extent * exact.numerator, exact.denominator)


def _by_scales(n: NodeContext, axes: list[int], at: int) -> tuple[SSAValue, list[Extent], list[Scale] | Value]:
    """The same from the input scales, or from the attribute."""
    x = n.input(0)
    extents = n.shape(x)
    if n.fed(at):
        return fed.scaled(n, axes, n.value(at, F64))
    given = n.static(at, "scales") if n.has(at) else np.asarray(n.attribute_list("scales", kind=float), np.float32)
    n.require(given.size == len(axes), f"scales are {len(axes)} numbers, not {given.size}")
    sizes, scales = list(extents), cast("list[Scale]", [1.0] * len(extents))
    for axis, scale in zip(axes, given.reshape(-1), strict=True):
        n.require(bool(np.isfinite(scale) and scale > 0), f"a scale is {scale}")
        sizes[axis], scales[axis] = _scaled(extents[axis], float(scale)), float(scale)
    return x, sizes, scales


def _region(n: NodeContext, axes: list[int]) -> list[float] | Value:
    """The input roi, for all axes: starts, then ends."""
    count, rank = n.shape(n.input(1)), n.rank(n.input(0))
    n.require(count == (2 * len(axes),), f"roi is {2 * len(axes)} numbers")
    if n.fed(1):
        return n.value(1, F64)
    given = n.static(1, "roi")
    edges = [0.0] * rank + [1.0] * rank
    for place, axis in enumerate(axes):
        edges[axis], edges[rank + axis] = float(given[place]), float(given[place + len(axes)])
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
