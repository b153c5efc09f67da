"""Pooling: the greatest element, or the average, of each window.

In: activations. Out: one element per window and channel, and on request where the greatest stood.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import Bool, Cost, Ints, Tensor, Text, elements, require, wide
from penstock.compiler.dialects.graph.reduction import lowest
from penstock.compiler.dialects.graph.window import Spatial, Windowed, window_views
from penstock.compiler.dtypes import I1, I64, is_float, tensor, type_name

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class Pool(Windowed):
    """Maximum or average over windows; pads never win a maximum.

    An average divides by the number of elements of x in the window, or with ``count_include_pad`` also of pads.
    ``overhang`` says how many of ``pads_high`` lie beyond the padded input, as when the number of windows was rounded
    up (ONNX ceil_mode): these are never counted. A window that counts nothing averages to 0.
    With ``indices`` a maximum has a second result (i64): where it stood (the first of equals) as position in the whole
    row-major x, or with ``column_major`` in x with its spatial axes in reverse order. NaN is greater than any number.
    """

    name = "graph.pool"
    operand_names = ("x",)
    kind = Text(None, "max", "average", doc="what is computed")
    window = Ints(doc="extents of the window")
    count_include_pad = Bool(False, doc="an average counts pads")
    overhang = Spatial(0, doc="how many of pads_high are never counted")
    indices = Bool(False, doc="give a second result with the positions of the maxima")
    column_major = Bool(False, doc="positions count the first spatial axis fastest")

    def infer(self) -> list[Tensor]:
        self.check_window()
        element, maximum = self.element(), self.kind == "max"
        require(
            element != I1 and (maximum or is_float(element)),
            f"graph.pool to {self.kind} does not take {type_name(element)}",
        )
        require(maximum or not self.indices, "only a maximum has indices")
        require(len(self.window) == self.spatial_rank, f"the window of graph.pool has {self.spatial_rank} extents")
        fits = all(over <= high for over, high in zip(self.overhang, self.pads_high, strict=True))
        require(fits, "the overhang of graph.pool is part of pads_high")
        batch, channels, spatial = self.split(self.shapes()[0])
        shape = self.join(batch, channels, self.output_extents(spatial, self.window))
        return [tensor(shape, element), *([tensor(shape, I64)] if self.indices else [])]

    def evaluate(self, *operands: Array) -> Array | tuple[Array, ...]:
        x: Any = wide(self.channels_first(operands[0]), self.element())
        widths = [(0, 0), (0, 0), *zip(self.pads_low, self.pads_high, strict=True)]
        if self.kind == "average":
            value = self._average(np.pad(x, widths), x.shape[2:])
            return self.from_channels_first(value).astype(operands[0].dtype, copy=False)
        padded = np.pad(x, widths, constant_values=np.asarray(lowest(self.element()), x.dtype))
        best, place = self._maximum(padded, self._positions(x.shape, widths))
        value = self.from_channels_first(best).astype(operands[0].dtype, copy=False)
        return (value, self.from_channels_first(place)) if self.indices else value

    def _average(self, padded: Any, spatial: tuple[int, ...]) -> Any:
        extents = self.output_extents(spatial, self.window)
        views = window_views(padded, self.window, self.strides, self.dilations, extents)
        with np.errstate(all="ignore"):
            total = sum(view for _, view in views)
            return total / np.maximum(self.counts(spatial), 1).astype(padded.dtype)

    def counts(self, spatial: tuple[int, ...]) -> Any:
        """How many elements each window's average divides by: int64, [*output extents]."""
        counts: Any = np.ones((), np.int64)
        for axis, n in enumerate(self.output_extents(spatial, self.window)):
            places = np.arange(n)[:, None] * self.strides[axis] - self.pads_low[axis]
            places = places + np.arange(self.window[axis]) * self.dilations[axis]
            low, high = 0, spatial[axis]
            if self.count_include_pad:
                low, high = -self.pads_low[axis], high + self.pads_high[axis] - self.overhang[axis]
            counts = counts[..., None] * ((places >= low) & (places < high)).sum(axis=1)
        return counts

    def _positions(self, shape: tuple[int, ...], widths: list[tuple[int, int]]) -> Any:
        """For each element of the padded input, its position in x (-1 for pads)."""
        batch, channels, *spatial = shape
        inner: Any = np.arange(math.prod(spatial)).reshape(spatial[::-1] if self.column_major else spatial)
        inner = inner.transpose() if self.column_major else inner
        outer = np.arange(batch * channels).reshape(batch, channels, *[1] * len(spatial)) * math.prod(spatial)
        return np.pad(inner + outer, widths, constant_values=-1)

    def _maximum(self, padded: Any, positions: Any) -> tuple[Any, Any]:
        """Greatest element of each window and the position where it stood; among pads and x alike, x wins."""
        extents = self.output_extents(self.split(self.shapes()[0])[2], self.window)
        best: Any = None
        place: Any = None
        views = window_views(padded, self.window, self.strides, self.dilations, extents)
        where = window_views(positions, self.window, self.strides, self.dilations, extents)
        for (_, view), (_, position) in zip(views, where, strict=True):
            if best is None:
                best, place = view.copy(), position.copy()
                continue
            better = (
                (view > best) | ((view != view) & (best == best)) | ((place < 0) & (position >= 0) & (view == best))
            )
            best, place = np.where(better, view, best), np.where(better, position, place)
        return best, place.astype(np.int64)

    def cost(self) -> Cost:
        return Cost(elements(self.out.type) * math.prod(self.window), self.bytes_moved())
