"""Resizing of images and volumes by interpolation.

In: a tensor. Out: one of the result type's extents. The one idea: interpolation is separable, so along each axis every
output element is a weighted sum of a few input elements (``taps``): from this table reference and kernels derive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    Floats,
    GraphOp,
    Tensor,
    Text,
    elements,
    require,
    show,
    wide,
)
from penstock.compiler.dtypes import I1, is_float, shape_of, tensor, type_name

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)


@dataclass(frozen=True)
class Span:
    """One axis: ``size`` outputs sampled from ``extent`` inputs. ``scale``, ``start`` and ``end`` (of the region that
    tf_crop_and_resize spreads the outputs over) are numbers, or values of the graph when they are fed at run time, as
    are symbolic extents."""

    extent: Any
    size: Any
    scale: Any
    start: Any = 0.0
    end: Any = 1.0


@dataclass(frozen=True)
class Sampling:
    """How outputs are sampled, written once over an array namespace ``xp``: numpy, or one that builds graph ops."""

    mode: str
    coordinate_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False

    def coordinates(self, xp: Any, index: Any, span: Span) -> Any:
        """For each output index (f64, [size]), where it lies among the inputs."""
        extent, size, scale = span.extent, span.size, span.scale
        length = scale * extent
        match self.coordinate_mode:
            case "align_corners":
                single = xp.equal(length, 1)
                return xp.where(single, index * 0.0, index * (extent - 1) / xp.where(single, length * 1.0, length - 1))
            case "asymmetric":
                return index / scale
            case "tf_half_pixel_for_nn":
                return (index + 0.5) / scale
            case "pytorch_half_pixel":
                return xp.where(xp.equal(length, 1), index * 0.0 - 0.5, (index + 0.5) / scale - 0.5)
            case "tf_crop_and_resize":
                start, end = span.start * (extent - 1), span.end * (extent - 1)
                if isinstance(size, int):
                    return start + index * (end - start) / (size - 1) if size > 1 else index * 0.0 + (start + end) / 2
                spread = start + index * (end - start) / xp.maximum(size - 1, 1)
                return xp.where(xp.equal(size, 1), index * 0.0 + (start + end) / 2, spread)
            case "half_pixel_symmetric":
                return extent / 2 * (1 - size / length) + (index + 0.5) / scale - 0.5
            case _:
                return (index + 0.5) / scale - 0.5

    def taps(self, xp: Any, where: Any, span: Span, least_scale: float) -> tuple[Any, Any]:
        """For each coordinate ``where`` the input indices it reads (whole numbers) and their weights, [size, n].

        ``least_scale`` is the smallest that ``span.scale`` can be: it bounds the kernel's width under antialias."""
        where, last = xp.reshape(where, (-1, 1)), span.extent - 1
        if self.mode == "nearest":
            indices = xp.minimum(xp.maximum(self._round(xp, where), 0.0), last * 1.0)
            return indices, indices * 0.0 + 1.0
        reach = 1 if self.mode == "linear" else 2
        squeeze = self._squeeze(xp, span)
        first = 1 + math.floor(-reach / min(least_scale, 1.0)) if self.antialias else 1 - reach
        offsets = np.arange(first, 2 - first if self.antialias else reach + 1, dtype=np.float64)
        base = xp.floor(where)
        indices = base + offsets
        weights = self._weights(xp, (offsets - (where - base)) * squeeze, indices, last)
        return xp.minimum(xp.maximum(indices, 0.0), last * 1.0), weights

    def matrix(self, xp: Any, where: Any, span: Span, indices: Any) -> Any:
        """For each coordinate ``where`` the weight of every one of ``indices`` ([n], some beyond the edges), [size, n]:
        what ``taps`` says where it is not known how many there are."""
        squeeze = self._squeeze(xp, span)
        indices = xp.reshape(indices, (1, -1))
        return self._weights(xp, (indices - xp.reshape(where, (-1, 1))) * squeeze, indices, span.extent - 1)

    def _squeeze(self, xp: Any, span: Span) -> Any:
        """What distances are multiplied with: antialias widens the kernel when an axis shrinks."""
        if not self.antialias:
            return 1.0
        return min(span.scale, 1.0) if isinstance(span.scale, float) else xp.minimum(span.scale, 1.0)

    def _weights(self, xp: Any, distance: Any, indices: Any, last: Any) -> Any:
        """The weights of elements at ``indices`` and these distances from a coordinate, [size, n]."""
        distance = xp.abs(distance)
        weights = xp.maximum(1 - distance, 0.0) if self.mode == "linear" else self._cubic(xp, distance)
        if self.antialias:
            weights = weights / xp.sum(weights, axis=1, keepdims=True)
        if self.exclude_outside:
            weights = xp.where((indices < 0.0) | (indices > last), weights * 0.0, weights)
            total = xp.sum(weights, axis=1, keepdims=True)
            weights = weights / xp.where(xp.equal(total, 0.0), total + 1.0, total)
        return weights

    def _round(self, xp: Any, where: Any) -> Any:
        match self.nearest_mode:
            case "round_prefer_floor":
                return xp.ceil(where - 0.5)
            case "round_prefer_ceil":
                return xp.floor(where + 0.5)
            case "floor":
                return xp.floor(where)
            case _:
                return xp.ceil(where)

    def _cubic(self, xp: Any, x: Any) -> Any:
        """The cubic convolution kernel at distances x >= 0 (Keys 1981, equation 15)."""
        a = self.cubic_coeff_a
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return xp.where(x <= 1, near, xp.where(x < 2, far, far * 0.0))


class Resize(GraphOp):
    """x sampled at other extents (those of the result type), as ONNX Resize.

    ``scales``, one per axis, map coordinates; they are output / input extents up to rounding. ``coordinate_mode`` says
    how an output index becomes a coordinate in x, ``nearest_mode`` how nearest rounds it. tf_crop_and_resize spreads
    the outputs over the part of each axis that ``region`` names; what lies outside of x reads the nearest element.
    """

    name = "graph.resize"
    operand_names = ("x",)
    mode = Text(None, "nearest", "linear", "cubic", doc="interpolation")
    scales = Floats(doc="output extent per input extent, one per axis, as coordinates are mapped")
    coordinate_mode = Text("half_pixel", *COORDINATES, doc="from output index to input coordinate")
    region = Floats(
        (), doc="tf_crop_and_resize: start of each axis, then end of each, 0 the first and 1 the last element"
    )
    nearest_mode = Text(
        "round_prefer_floor", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", doc="rounding in mode nearest"
    )
    cubic_coeff_a = Float(-0.75, doc="parameter of the cubic kernel (Keys 1981)")
    exclude_outside = Bool(False, doc="elements outside x get no weight, and weights are scaled to sum to 1")
    antialias = Bool(False, doc="the kernel is widened when an axis shrinks")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        sizes = shape_of(self.chosen_result())
        require(
            len(sizes) == len(shape) == len(self.scales), f"a resize of rank {len(shape)} has as many scales and sizes"
        )
        require(all(math.isfinite(scale) and scale > 0 for scale in self.scales), "the scales of a resize are positive")
        regions = 2 * len(shape) if self.coordinate_mode == "tf_crop_and_resize" else 0
        require(len(self.region) == regions, f"the region of this resize is {regions} numbers")
        require(all(math.isfinite(edge) for edge in self.region), "the region of a resize is finite")
        require(0 not in shape or 0 in sizes, f"a tensor of shape {show(shape)} has no elements to sample")
        element = self.element()
        require(element != I1, "graph.resize takes numbers, not booleans")
        require(self.mode == "nearest" or is_float(element), f"interpolation does not take {type_name(element)}")
        return [tensor(sizes, element)]

    def sampling(self) -> Sampling:
        """How elements are sampled along every axis."""
        return Sampling(
            self.mode,
            self.coordinate_mode,
            self.nearest_mode,
            self.cubic_coeff_a,
            self.exclude_outside,
            self.antialias,
        )

    def span(self, axis: int) -> Span:
        """What is sampled along ``axis``, and where."""
        edges = (self.region[axis], self.region[axis + len(self.region) // 2]) if self.region else (0.0, 1.0)
        return Span(self.shapes()[0][axis], shape_of(self.out.type)[axis], self.scales[axis], *edges)

    def coordinates(self, axis: int) -> Any:
        """For each output index along ``axis``, where it lies in x: f64."""
        span = self.span(axis)
        return self.sampling().coordinates(np, np.arange(span.size, dtype=np.float64), span)

    def taps(self, axis: int) -> tuple[Any, Any]:
        """Along ``axis``: for each output index the input indices it reads (int64) and their weights, [out, n]."""
        span = self.span(axis)
        indices, weights = self.sampling().taps(np, self.coordinates(axis), span, span.scale)
        return indices.astype(np.int64), weights

    def resized_axes(self) -> tuple[int, ...]:
        """The axes along which elements are not simply copied."""
        shapes = zip(self.shapes()[0], shape_of(self.out.type), self.scales, strict=True)
        cropped = bool(self.region)
        return tuple(
            axis
            for axis, (extent, size, scale) in enumerate(shapes)
            if extent != size or ((self.span(axis).start, self.span(axis).end) != (0, 1) if cropped else scale != 1)
        )

    def evaluate(self, *operands: Array) -> Array:
        x: Any = operands[0] if self.mode == "nearest" else wide(operands[0], self.element())
        for axis in self.resized_axes():
            indices, weights = self.taps(axis)
            if self.mode == "nearest":
                x = np.take(x, indices[:, 0], axis=axis)
                continue
            factors = weights.astype(x.dtype).reshape(*weights.shape, *[1] * (x.ndim - axis - 1))
            x = sum(np.take(x, indices[:, i], axis=axis) * factors[:, i] for i in range(indices.shape[1]))
        return x.astype(operands[0].dtype, copy=False)

    def fold(self) -> SSAValue | None:
        """Nothing is resized."""
        return None if self.resized_axes() else self.operands[0]

    def cost(self) -> Cost:
        if self.mode == "nearest":
            return Cost(0, self.bytes_moved())
        per_axis = [2 * self.taps(axis)[0].shape[1] for axis in self.resized_axes()]
        return Cost(elements(self.out.type) * math.prod(per_axis), self.bytes_moved())
