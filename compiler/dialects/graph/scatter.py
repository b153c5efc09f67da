"""Scattering: elements written to places known only at run time.

In: a tensor, integer indices, and updates. Out: the tensor with the updates put in, or combined with what is there.
The one idea: updates take effect one after the other in row-major order, so that the last of several for one place
wins, and a sum of several is the same bits however the kernel is cut.

An index counts from the end when negative, and is clamped into the tensor when it lies outside, as the gathers do.
Every combination is rounded to the element type. Of booleans, ``add`` and ``max`` are or, ``mul`` and ``min`` and.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Cost,
    Int,
    Tensor,
    Text,
    element_of,
    require,
    require_same,
    require_static,
    show,
    tensor_bytes,
)
from penstock.compiler.dialects.graph.index import Indexed, inside
from penstock.compiler.dtypes import is_storage, shape_of, tensor, type_name

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

REDUCTIONS = ("none", "add", "mul", "max", "min")
_UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class Scattered(Indexed):
    """Base: operand 1 holds indices into operand 0, operand 2 what is put there."""

    operand_names = ("x", "indices", "updates")
    reduction = Text("none", *REDUCTIONS, doc="how an update is combined with what is there; none replaces it")

    def check_updates(self, shape: tuple[int, ...]) -> None:
        """Updates have ``shape`` and the element type of x, and there is a place for them. Raises TypeRuleError."""
        mine, theirs = (type_name(element_of(self.operands[i])) for i in (0, 2))
        require(mine == theirs, f"updates of {theirs} cannot be put into a tensor of {mine}")
        stored = self.reduction != "none" and is_storage(self.element())
        require(not stored, f"{mine} is only stored and converted, so updates of it can just replace")
        have = self.shapes()[2]
        require_same(have, shape, f"updates have shape {show(have)}, but {show(shape)} fits the indices")

    def put(self, x: Array, places: Array, updates: Array) -> Array:
        """``x`` with ``updates`` combined in, in order; ``places`` are row-major positions in x, one per update."""
        result, places, updates = x.reshape(-1).copy(), places.reshape(-1), updates.reshape(-1)
        if self.reduction == "none":
            last = len(places) - 1 - np.unique(places[::-1], return_index=True)[1]
            result[places[last]] = updates[last]
            return result.reshape(x.shape)
        with np.errstate(all="ignore"):
            _UFUNCS[self.reduction].at(result, places, updates)
        return result.reshape(x.shape)

    def cost(self) -> Cost:
        """Reads everything once and writes a copy of x, then each update."""
        updates = shape_of(self.operands[2].type)
        moved = self.bytes_moved() + 2 * tensor_bytes(self.operands[2].type)
        return Cost(0 if self.reduction == "none" else math.prod(updates), moved)


class ScatterNd(Scattered):
    """The last axis of ``indices`` holds coordinates into the leading axes of x; ``updates`` has a window of x, its
    other axes, for each of them: out[indices[i.., :], k..] = updates[i.., k..]."""

    name = "graph.scatter_nd"

    def infer(self) -> list[Tensor]:
        self.check_indices()
        x, indices, _ = self.shapes()
        require(len(indices) > 0, "indices of rank 0 hold no coordinates")
        depth = indices[-1]
        require_static((depth,), "coordinates")
        require(depth <= len(x), f"coordinates of {depth} axes do not fit a tensor of rank {len(x)}")
        self.check_updates((*indices[:-1], *x[depth:]))
        there = 0 not in x[:depth] or 0 in indices[:-1]
        require(there, f"nothing can be scattered into a tensor of shape {show(x)}")
        return [tensor(x, self.element())]

    def indexed(self) -> tuple[Sequence[int], Sequence[int]]:
        x, indices, _ = self.shapes()
        return x[: indices[-1]], indices[:-1]

    def evaluate(self, *operands: Array) -> Array:
        x, indices, updates = operands
        depth = indices.shape[-1]
        coordinates = tuple(inside(indices[..., i], x.shape[i]) for i in range(depth))
        windows = np.arange(x.size).reshape(x.shape)[coordinates]
        return self.put(x, np.broadcast_to(windows, updates.shape), updates)


class ScatterElements(Scattered):
    """One update per index: for axis 0, out[indices[i, j, k], j, k] = updates[i, j, k]."""

    name = "graph.scatter_elements"
    axis = Int(0, doc="axis of x that indices run over, counted from the front")

    def infer(self) -> list[Tensor]:
        self.check_indices()
        x, indices, _ = self.shapes()
        axis = self.axis_of(self.axis)
        fits = len(x) == len(indices) and all(
            i == axis or b <= a for i, (a, b) in enumerate(zip(x, indices, strict=False))
        )
        require(fits, f"indices of shape {show(indices)} do not fit a tensor of shape {show(x)} along axis {axis}")
        self.check_updates(indices)
        require(
            0 not in x[axis : axis + 1] or 0 in indices, f"nothing can be scattered along axis {axis}, which is empty"
        )
        return [tensor(x, self.element())]

    def indexed(self) -> tuple[Sequence[int], Sequence[int]]:
        x, indices, _ = self.shapes()
        return x[self.axis : self.axis + 1], indices

    def evaluate(self, *operands: Array) -> Array:
        x, indices, updates = operands
        places: list[Any] = list(np.indices(indices.shape, sparse=True))
        places[self.axis] = inside(indices, x.shape[self.axis])
        return self.put(x, np.arange(x.size).reshape(x.shape)[tuple(places)], updates)
