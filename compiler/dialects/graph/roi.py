"""Regions of interest: boxes of images pooled to a fixed size.

In: images, boxes and which image each is of. Out: a small image per box. The one idea: a box is cut into bins, and how
many elements or samples a bin has depends on the box, so kernels loop as far as each box says; the geometry is a
formula over the scalar language, from which reference semantics and kernels both derive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    GraphOp,
    Int,
    Ints,
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
from penstock.compiler.dialects.graph.index import inside
from penstock.compiler.dialects.graph.sampling import extent_value
from penstock.compiler.dialects.graph.scalar import NumpyScalars, ScalarBuilder
from penstock.compiler.dtypes import is_float, shape_of, tensor, type_name
from penstock.compiler.extents import Extent

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

V = TypeVar("V")
MOST_SAMPLES = 1024.0


@dataclass(frozen=True)
class Bins(Generic[V]):
    """One axis of a box: where its first bin starts, how long a bin is, and how many samples it has (whole numbers in
    the coordinates' type)."""

    start: V
    length: V
    samples: V


def align_bins(
    s: ScalarBuilder[V], first: V, last: V, scale: float, bins: int, samples: int, half_pixel: bool
) -> Bins[V]:
    """The bins of RoiAlign along an axis from ``first`` to ``last``, which are scaled to elements."""
    start, end = s.mul(first, scale), s.mul(last, scale)
    if half_pixel:
        start, end = s.sub(start, 0.5), s.sub(end, 0.5)
    extent = s.sub(end, start)
    extent = extent if half_pixel else s.maximum(extent, 1.0)
    length = s.div(extent, bins)
    count = s.minimum(s.maximum(s.ceil(length), 0.0), MOST_SAMPLES)
    count = s.select(s.compare("eq", count, count), count, 0.0)
    return Bins(start, length, s.constant(samples, count) if samples else count)


def sample_place(s: ScalarBuilder[V], bins: Bins[V], number: V, sample: V) -> V:
    """Where sample number ``sample`` of bin ``number`` is."""
    within = s.div(s.mul(s.add(sample, 0.5), bins.length), bins.samples)
    return s.add(s.add(bins.start, s.mul(number, bins.length)), within)


@dataclass(frozen=True)
class Neighbours(Generic[V]):
    """The two elements around a place along an axis, the weight of the second, and whether there is anything to read
    (``valid``): places up to one element outside read the edge."""

    low: V
    high: V
    weight: V
    valid: V


def neighbours(s: ScalarBuilder[V], place: V, extent: Extent) -> Neighbours[V]:
    """What is around ``place`` on an axis of ``extent``."""
    last = extent_value(s, extent, -1, place)
    valid = s.logical_and(s.compare("ge", place, -1.0), s.compare("le", place, extent_value(s, extent, 0, place)))
    here = s.maximum(s.select(valid, place, 0.0), 0.0)
    low = s.floor(here)
    end = s.compare("ge", low, last)
    low = s.minimum(low, last)
    return Neighbours(low, s.minimum(s.add(low, 1.0), last), s.select(end, 0.0, s.sub(here, low)), valid)


def whole_bins(s: ScalarBuilder[V], first: V, last: V, scale: float, bins: int) -> Bins[V]:
    """The bins of MaxRoiPool along an axis: the box's edges are rounded to whole elements, and both belong to it."""
    start, end = (rounded(s, s.mul(edge, scale)) for edge in (first, last))
    extent = s.maximum(s.add(s.sub(end, start), 1.0), 1.0)
    return Bins(start, s.div(extent, bins), extent)


def bin_edges(s: ScalarBuilder[V], bins: Bins[V], number: V, extent: Extent) -> tuple[V, V]:
    """The first element of bin ``number`` and the one after its last, inside an axis of ``extent``."""
    first = s.add(s.floor(s.mul(number, bins.length)), bins.start)
    after = s.add(s.ceil(s.mul(s.add(number, 1.0), bins.length)), bins.start)
    most = extent_value(s, extent, 0, number)
    return s.minimum(s.maximum(first, 0.0), most), s.minimum(s.maximum(after, 0.0), most)


def rounded(s: ScalarBuilder[V], x: V) -> V:
    """To the nearest whole number, halves away from 0; what is no number, or far from any image, is near 0."""
    size = s.minimum(s.floor(s.add(s.abs(x), 0.5)), 2.0**22)
    whole = s.select(s.compare("lt", x, 0.0), s.neg(size), size)
    return s.select(s.compare("eq", whole, whole), whole, 0.0)


class Regions(GraphOp):
    """Base: operand 0 are images [batch, channels, height, width], operand 1 boxes with a row for each."""

    size = Ints(doc="bins along height and width")
    scale = Float(1.0, doc="elements per unit of the boxes' coordinates")

    def pooled(self, columns: int) -> Tensor:
        """The result's type; boxes have ``columns`` numbers each. Raises TypeRuleError."""
        x, boxes = self.shapes()[:2]
        require(len(x) == 4, f"regions are of images with 4 axes, not of shape {show(x)}")
        sentence = f"boxes of shape {show(boxes)} have {columns} numbers each"
        require(len(boxes) == 2, sentence)
        require_equal(boxes[1], columns, sentence)
        require(len(self.size) == 2 and min(self.size) > 0, "a region is pooled to one bin or more along two axes")
        kind, other = self.element(), element_of(self.operands[1])
        require(is_float(kind) and kind == other, f"images of {type_name(kind)} and boxes of {type_name(other)}")
        full = all(extent > 0 for extent in x)
        require(full or 0 in (x[1], boxes[0]), f"images of shape {show(x)} have no elements to pool")
        return tensor([boxes[0], x[1], *self.size], kind)

    def cost(self) -> Cost:
        boxes = tensor_bytes(self.operands[1].type)
        return Cost(32 * elements(self.out.type), boxes + 17 * tensor_bytes(self.out.type))


class RoiAlign(Regions):
    """Boxes (x1, y1, x2, y2) of the images ``batch``, every bin the average or maximum of bilinear samples.

    As ONNX RoiAlign: ``max`` is over the samples' weighted elements. With ``samples`` 0 each bin has as many samples as
    it is elements long and wide (rounded up; at most 1024 along an axis).
    """

    name = "graph.roi_align"
    operand_names = ("x", "boxes", "batch")
    kind = Text("average", "average", "max", doc="what of its samples a bin is")
    samples = Int(0, doc="samples of a bin along each axis; 0: as many as it has elements")
    half_pixel = Bool(False, doc="coordinates are moved half an element, and boxes may be smaller than one")

    def infer(self) -> list[Tensor]:
        result = self.pooled(4)
        batch, kind = self.shapes()[2], type_name(element_of(self.operands[2]))
        require_same(batch, self.shapes()[1][:1], f"{show(batch)} is not one image for each box")
        require(kind != "i1" and kind.lstrip("u").startswith("i"), f"images are numbered by integers, not {kind}")
        return [result]

    def evaluate(self, *operands: Array) -> Array:
        x, boxes, batch = operands
        images: Any = wide(x, self.element())
        corners = wide(boxes, self.element())
        result = np.zeros(shape_of(self.out.type), images.dtype)
        with np.errstate(all="ignore"):
            for number, (box, image) in enumerate(zip(corners, inside(batch, x.shape[0]), strict=True)):
                if result.size:
                    result[number] = self._pool(images[image], box)
        return result.astype(x.dtype)

    def _pool(self, image: Any, box: Any) -> Any:
        """One box: [channels, bins, bins]."""
        s, near = NumpyScalars(), list[Neighbours[Any]]()
        counts: list[int] = []
        for axis, bins in enumerate(self.size):
            first, last = np.asarray(box[1 - axis]), np.asarray(box[3 - axis])
            cut = align_bins(s, first, last, self.scale, bins, self.samples, self.half_pixel)
            counts.append(int(cut.samples))
            numbers, samples = (np.arange(n, dtype=image.dtype) for n in (bins, counts[-1]))
            near.append(neighbours(s, sample_place(s, cut, numbers[:, None], samples), image.shape[1 + axis]))
        y, x = near
        parts: list[Any] = []
        for row, down in ((y.low, 1 - y.weight), (y.high, y.weight)):
            for column, right in ((x.low, 1 - x.weight), (x.high, x.weight)):
                rows, columns = row.astype(np.int64)[:, :, None, None], column.astype(np.int64)
                parts.append(down[:, :, None, None] * right * image[:, rows, columns])
        valid = y.valid[:, :, None, None] & x.valid
        if 0 in counts:
            return np.zeros((image.shape[0], *self.size), image.dtype)
        if self.kind == "max":
            most = np.maximum(np.maximum(parts[0], parts[1]), np.maximum(parts[2], parts[3]))
            return np.where(valid, most, 0).max(axis=(2, 4))
        return np.where(valid, sum(parts), 0).sum(axis=(2, 4), dtype=image.dtype) / image.dtype.type(
            counts[0] * counts[1]
        )


class RoiMaxPool(Regions):
    """Boxes (image, x1, y1, x2, y2), every bin the greatest of its elements, 0 if it has none. As ONNX MaxRoiPool."""

    name = "graph.roi_max_pool"
    operand_names = ("x", "boxes")

    def infer(self) -> list[Tensor]:
        return [self.pooled(5)]

    def evaluate(self, *operands: Array) -> Array:
        x, boxes = operands
        corners: Any = wide(boxes, self.element())
        result = np.zeros(shape_of(self.out.type), x.dtype)
        s = NumpyScalars()
        with np.errstate(all="ignore"):
            images = inside(rounded(s, corners[:, 0]), x.shape[0])
            for number, box in enumerate(corners if result.size else ()):
                edges: list[Any] = []
                for axis, bins in enumerate(self.size):
                    first, last = np.asarray(box[2 - axis]), np.asarray(box[4 - axis])
                    cut = whole_bins(s, first, last, self.scale, bins)
                    numbers = np.arange(bins, dtype=corners.dtype)
                    edges.append(np.stack(bin_edges(s, cut, numbers, x.shape[2 + axis]), -1).astype(np.int64))
                for i, (top, bottom) in enumerate(edges[0]):
                    for j, (left, right) in enumerate(edges[1]):
                        if top < bottom and left < right:
                            part = x[images[number], :, top:bottom, left:right]
                            result[number, :, i, j] = part.max(axis=(1, 2))
        return result
