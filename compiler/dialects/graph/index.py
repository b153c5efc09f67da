"""Index ops: elements picked by indices known only at run time.

In: a tensor and integer indices. Out: the elements picked. An index counts from the end when negative, and is clamped
into the tensor when it lies outside (ONNX calls that an error; a compiled kernel reads no memory it does not own).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Cost,
    GraphOp,
    Int,
    Tensor,
    element_of,
    require,
    require_same,
    show,
    tensor_bytes,
)
from penstock.compiler.dtypes import tensor, type_name
from penstock.compiler.extents import Extent, smallest

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class Indexed(GraphOp):
    """Base: operand 1 holds indices."""

    operand_names = ("x", "indices")
    holds_storage = True

    def check_indices(self) -> None:
        """Indices are integers. Raises TypeRuleError."""
        kind = type_name(element_of(self.operands[1]))
        fits = kind.lstrip("u") in ("i8", "i16", "i32", "i64")
        require(fits, f"{self.name} takes integer indices, not {kind}")

    def axis_of(self, axis: int) -> int:
        """``axis``, if x has it. Raises TypeRuleError."""
        rank = len(self.shapes()[0])
        require(0 <= axis < rank, f"axis {axis} is outside a tensor of rank {rank}")
        return axis

    def needs(self) -> list[tuple[Extent, Extent]]:
        """Where there are indices, there are elements."""
        indexed, indices = (math.prod(shape) for shape in self.indexed())
        some = smallest(indices, 1)
        return [(some, smallest(some, indexed))]

    def indexed(self) -> tuple[Sequence[int], Sequence[int]]:
        """The extents that indices run over, and those that say how many indices there are."""
        raise NotImplementedError(self.name)

    def check_empty(self, where: str) -> None:
        """There is something to be gathered, if anything is. Raises TypeRuleError."""
        extents, indices = self.indexed()
        require(0 not in extents or 0 in indices, f"nothing can be gathered from {where}")

    def cost(self) -> Cost:
        """Reads the indices and one element per element of the result, not all of x."""
        return Cost(0, tensor_bytes(self.operands[1].type) + 2 * tensor_bytes(self.out.type))


def inside(indices: Array, extent: int) -> Array:
    """Negative indices counted from the end, then all clamped to [0, extent)."""
    wide = indices.astype(np.int64)
    return np.clip(np.where(wide < 0, wide + extent, wide), 0, max(extent - 1, 0))


class Gather(Indexed):
    """Axis ``axis`` of x replaced by the axes of ``indices``: out[i.., j.., k..] = x[i.., indices[j..], k..]."""

    name = "graph.gather"
    axis = Int(0, doc="axis of x that indices run over, counted from the front")

    def infer(self) -> list[Tensor]:
        self.check_indices()
        x, indices = self.shapes()
        axis = self.axis_of(self.axis)
        self.check_empty(f"axis {axis}, which is empty")
        return [tensor([*x[:axis], *indices, *x[axis + 1 :]], self.element())]

    def indexed(self) -> tuple[Sequence[int], Sequence[int]]:
        x, indices = self.shapes()
        return x[self.axis : self.axis + 1], indices

    def evaluate(self, *operands: Array) -> Array:
        x, indices = operands
        return np.asarray(np.take(x, inside(indices, x.shape[self.axis]), axis=self.axis))


class GatherElements(Indexed):
    """One index per element: for axis 0, out[i, j, k] = x[indices[i, j, k], j, k]."""

    name = "graph.gather_elements"
    axis = Int(0, doc="axis of x that indices run over, counted from the front")

    def infer(self) -> list[Tensor]:
        self.check_indices()
        x, indices = self.shapes()
        axis = self.axis_of(self.axis)
        fits = len(x) == len(indices) and all(
            i == axis or b <= a for i, (a, b) in enumerate(zip(x, indices, strict=False))
        )
        require(fits, f"indices of shape {show(indices)} do not fit a tensor of shape {show(x)} along axis {axis}")
        self.check_empty(f"axis {axis}, which is empty")
        return [tensor(indices, self.element())]

    def indexed(self) -> tuple[Sequence[int], Sequence[int]]:
        x, indices = self.shapes()
        return x[self.axis : self.axis + 1], indices

    def evaluate(self, *operands: Array) -> Array:
        x, indices = operands
        places: list[Any] = list(np.indices(indices.shape, sparse=True))
        places[self.axis] = inside(indices, x.shape[self.axis])
        return np.asarray(x[tuple(places)])


class GatherNd(Indexed):
    """The last axis of ``indices`` holds coordinates into the axes of x that follow the ``batch_dims`` shared ones."""

    name = "graph.gather_nd"
    batch_dims = Int(0, doc="leading axes that x and indices share")

    def infer(self) -> list[Tensor]:
        self.check_indices()
        x, indices = self.shapes()
        shared = self.batch_dims
        require(len(indices) > 0, "indices of rank 0 hold no coordinates")
        sentence = f"shapes {show(x)} and {show(indices)} do not share {shared} leading axes"
        require(0 <= shared < min(len(x), len(indices)), sentence)
        require_same(x[:shared], indices[:shared], sentence)
        depth = indices[-1]
        require(
            shared + depth <= len(x),
            f"coordinates of {depth} axes after {shared} shared ones do not fit a tensor of rank {len(x)}",
        )
        self.check_empty(f"a tensor of shape {show(x)}")
        return [tensor([*indices[:-1], *x[shared + depth :]], self.element())]

    def indexed(self) -> tuple[Sequence[int], Sequence[int]]:
        x, indices = self.shapes()
        return x[self.batch_dims : self.batch_dims + indices[-1]], indices[:-1]

    def evaluate(self, *operands: Array) -> Array:
        x, indices = operands
        shared, depth = self.batch_dims, indices.shape[-1]
        batch = [
            axis.reshape(axis.shape + (1,) * (indices.ndim - 1 - shared))
            for axis in np.indices(indices.shape[:shared], sparse=True)
        ]
        coordinates = [inside(indices[..., i], x.shape[shared + i]) for i in range(depth)]
        if not batch and not coordinates:
            return np.broadcast_to(x, indices.shape[:-1] + x.shape)
        if not coordinates:
            middle = x.reshape(x.shape[:shared] + (1,) * (indices.ndim - 1 - shared) + x.shape[shared:])
            return np.broadcast_to(middle, indices.shape[:-1] + x.shape[shared:])
        return np.asarray(x[tuple(batch + coordinates)])
