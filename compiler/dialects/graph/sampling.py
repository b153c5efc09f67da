"""Sampling of images and volumes at positions that are data.

In: a tensor and coordinates in it. Out: the tensor between its elements. The one idea: interpolation is separable, so
each coordinate gives a few elements of its axis and their weights (``axis_taps``): a formula over the scalar language,
from which both the reference semantics and kernels derive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from xdsl.ir import Attribute

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    GraphOp,
    Tensor,
    Text,
    element_of,
    elements,
    require,
    require_equal,
    require_same,
    show,
    tensor_bytes,
    wide,
)
from penstock.compiler.dialects.graph.scalar import NumpyScalars, ScalarBuilder, compute_dtype
from penstock.compiler.dtypes import I1, is_float, tensor, type_name
from penstock.compiler.extents import Dim, Extent, largest, surely

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

V = TypeVar("V")
CUBIC = -0.75


@dataclass(frozen=True)
class Tap(Generic[V]):
    """One element that a coordinate reads along an axis: its ``index`` (a whole number in the coordinate's type, inside
    the axis), its ``weight`` (None: 1), and whether it exists (``valid``; None: always)."""

    index: V
    weight: V | None
    valid: V | None


def axis_taps(s: ScalarBuilder[V], x: V, extent: Extent, mode: str, outside: str, corners: bool) -> list[Tap[V]]:
    """What the coordinate ``x`` reads of an axis of ``extent``, as ONNX GridSample does.

    A coordinate beyond the edges (the outermost elements' centres with ``corners``, else half an element further) is
    moved inside by ``outside``, and so is then each element. NaN is a coordinate outside of everything. Cubic at a
    border moves elements only, as PyTorch and onnxruntime do (ONNX's reference evaluator also moves the coordinate).
    """
    last = extent_value(s, extent, -1, x)
    low, high = (0.0, last) if corners else (-0.5, extent_value(s, extent, -0.5, x))
    if mode == "nearest":
        x = s.round_even(x)
    match outside:
        case "border" if mode != "cubic":
            beyond = s.logical_or(s.compare("lt", x, low), s.compare("gt", x, high))
            x = s.select(beyond, s.minimum(s.maximum(x, 0.0), last), x)
        case "reflection":
            x = _reflected(s, x, low, high, extent - 1 if corners else extent)
        case _:
            x = s.minimum(s.maximum(x, -4.0), extent_value(s, extent, 3, x))
    x = s.select(s.compare("eq", x, x), x, -4.0 if outside == "zeros" else 0.0)
    inner = extent - 1 if corners else extent
    if mode == "nearest":
        return [_tap(s, x, None, last, outside, low, high, inner)]
    base = s.floor(x)
    taps: list[Tap[V]] = []
    for offset, weight in _weights(s, s.sub(x, base), mode):
        taps.append(_tap(s, s.add(base, offset) if offset else base, weight, last, outside, low, high, inner))
    return taps


def extent_value(s: ScalarBuilder[V], extent: Extent, more: float, like: V) -> V | float:
    """``extent + more`` as a number for formulas: one known now, or for a symbolic extent of ``like``'s type."""
    return s.add(s.constant(extent, like), more) if isinstance(extent, Dim) else float(extent + more)


def _reflected(s: ScalarBuilder[V], x: V, low: float, high: V | float, reach: Extent) -> V:
    """``x`` mirrored at ``low`` and ``high = low + reach`` until it is between them."""
    if not isinstance(reach, Dim) and reach == 0:
        return s.mul(x, 0.0)
    length = extent_value(s, largest(reach, 1), 0, x)
    distance = s.abs(s.sub(x, low))
    times = s.floor(s.div(distance, length))
    rest = s.sub(distance, s.mul(times, length))
    half = s.mul(times, 0.5)
    even = s.compare("eq", s.floor(half), half)
    mirrored = s.select(even, s.add(rest, low), s.sub(high, rest))
    if surely(reach, ">=", 1):
        return mirrored
    return s.select(s.compare("ge", s.constant(reach, x), 1.0), mirrored, s.mul(x, 0.0))


def _tap(
    s: ScalarBuilder[V],
    i: V,
    weight: V | None,
    last: V | float,
    outside: str,
    low: float,
    high: V | float,
    reach: Extent,
) -> Tap[V]:
    valid: V | None = None
    if outside == "zeros":
        valid = s.logical_and(s.compare("ge", i, 0.0), s.compare("le", i, last))
    elif outside == "reflection":
        i = _reflected(s, i, low, high, reach)
    return Tap(s.minimum(s.maximum(i, 0.0), last), weight, valid)


def _weights(s: ScalarBuilder[V], x: V, mode: str) -> list[tuple[int, V]]:
    """Offsets and weights for a coordinate ``x`` in [0, 1) after the element at offset 0."""
    if mode == "linear":
        return [(0, s.sub(1.0, x)), (1, x)]
    a = CUBIC

    def near(t: V) -> V:
        return s.add(s.mul(s.mul(s.sub(s.mul(t, a + 2), a + 3), t), t), 1.0)

    def far(t: V) -> V:
        return s.sub(s.mul(s.add(s.mul(s.sub(s.mul(t, a), 5 * a), t), 8 * a), t), 4 * a)

    return [(-1, far(s.add(x, 1.0))), (0, near(x)), (1, near(s.sub(1.0, x))), (2, far(s.sub(2.0, x)))]


def interpolate(
    s: ScalarBuilder[V], taps: Sequence[Sequence[Tap[V]]], kind: Attribute, read: Callable[[tuple[V, ...]], V]
) -> V:
    """The weighted sum of the elements ``read`` at the taps of every axis, in compute type ``kind``; sums along the
    innermost axis first. Elements that do not exist count as 0, whatever stands there."""
    return _along(s, taps, (), None, kind, read)


def _along(
    s: ScalarBuilder[V],
    taps: Sequence[Sequence[Tap[V]]],
    at: tuple[V, ...],
    valid: V | None,
    kind: Attribute,
    read: Callable[[tuple[V, ...]], V],
) -> V:
    if not taps:
        value = s.cast(read(at), kind)
        return value if valid is None else s.select(valid, value, 0.0)
    total: V | None = None
    for tap in taps[0]:
        holds = tap.valid if valid is None or tap.valid is None else s.logical_and(valid, tap.valid)
        part = _along(s, taps[1:], (*at, tap.index), valid if holds is None else holds, kind, read)
        part = part if tap.weight is None else s.mul(part, s.cast(tap.weight, kind))
        total = part if total is None else s.add(total, part)
    assert total is not None
    return total


class Sample(GraphOp):
    """x [batch, channels, spatial axes..] read between its elements: result[n, c, p..] is image c of x[n] at the
    coordinates[n, p.., :], one for each spatial axis, in order; element i of an axis is at coordinate i."""

    name = "graph.sample"
    operand_names = ("x", "coordinates")
    mode = Text("linear", "nearest", "linear", "cubic", doc="interpolation; nearest rounds a half to even")
    outside = Text("zeros", "zeros", "border", "reflection", doc="what is read beyond the edges")
    align_corners = Bool(False, doc="edges are the centres of the outermost elements, not half an element further out")

    def infer(self) -> list[Tensor]:
        x, places = self.shapes()
        spatial = len(x) - 2
        require(spatial >= 1, f"a tensor of shape {show(x)} has no batch, channel and spatial axes")
        sentence = f"coordinates of shape {show(places)} do not fit a tensor of shape {show(x)}"
        require(len(places) >= 2, sentence)
        require_equal(places[-1], spatial, sentence)
        require_same(places[:1], x[:1], sentence)
        kind = element_of(self.operands[1])
        require(is_float(kind), f"coordinates are floating-point numbers, not {type_name(kind)}")
        kind = self.element()
        require(kind != I1 or self.mode == "nearest", "booleans cannot be interpolated")
        require(is_float(kind) or self.mode == "nearest", f"interpolation does not take {type_name(kind)}")
        full = all(extent > 0 for extent in x[2:])
        require(full or 0 in (*x[:2], *places), f"a tensor of shape {show(x)} has no elements to sample")
        return [tensor([*x[:2], *places[1:-1]], kind)]

    def evaluate(self, *operands: Array) -> Array:
        x, places = operands
        coordinates, s = wide(places, element_of(self.operands[1])), NumpyScalars()
        result_shape = (*x.shape[:2], *places.shape[1:-1])
        if not math.prod(result_shape):
            return np.zeros(result_shape, x.dtype)
        with np.errstate(all="ignore"):
            taps = [
                axis_taps(s, coordinates[..., axis], extent, self.mode, self.outside, self.align_corners)
                for axis, extent in enumerate(x.shape[2:])
            ]
            batch = np.arange(x.shape[0]).reshape(-1, *[1] * (places.ndim - 2))

            def read(at: tuple[Array, ...]) -> Array:
                return np.asarray(x[(batch, slice(None), *(index.astype(np.int64) for index in at))])

            # numpy puts the channels last, because advanced indices stand on both sides of them
            aligned = [[Tap(t.index, _column(t.weight), _column(t.valid)) for t in axis] for axis in taps]
            value = interpolate(s, aligned, compute_dtype(self.element()), read)
        return np.moveaxis(value, -1, 1).astype(x.dtype)

    def cost(self) -> Cost:
        reads = {"nearest": 1, "linear": 2, "cubic": 4}[self.mode] ** (len(self.shapes()[0]) - 2)
        count = elements(self.out.type)
        moved = tensor_bytes(self.operands[1].type) + (reads + 1) * tensor_bytes(self.out.type)
        return Cost(0 if self.mode == "nearest" else 2 * reads * count, moved)


def _column(value: Array | None) -> Array | None:
    return None if value is None else value[..., None]
