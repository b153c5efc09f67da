"""Ordering: the greatest or least elements along an axis.

In: a tensor. Out: values and where they stood. Equal elements keep their order; NaN counts as greater than any number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import Bool, Cost, GraphOp, Int, Tensor, elements, require, wide
from penstock.compiler.dtypes import I1, I64, tensor
from penstock.compiler.extents import smallest, typical

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class TopK(GraphOp):
    """The ``k`` greatest (or least) elements along ``axis`` in order, and their indices (i64).

    Without ``sorted`` a back end may give them in any order; the reference sorts.
    """

    name = "graph.top_k"
    operand_names = ("x",)
    axis = Int(doc="axis searched, counted from the front")
    k = Int(doc="how many elements are taken")
    largest = Bool(True, doc="the greatest, else the least")
    sorted = Bool(True, doc="results are in order")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        require(0 <= self.axis < len(shape), f"axis {self.axis} is outside a tensor of rank {len(shape)}")
        extent = shape[self.axis]
        fits = smallest(self.k, extent) == self.k or self.k <= extent  # min(n, 100) of n fits whatever n is
        require(self.k >= 0 and fits, f"{self.k} elements are asked of an axis of {extent}")
        require(self.element() != I1, "graph.top_k orders numbers, not booleans")
        taken = [*shape[: self.axis], self.k, *shape[self.axis + 1 :]]
        return [tensor(taken, self.element()), tensor(taken, I64)]

    def evaluate(self, *operands: Array) -> tuple[Array, Array]:
        x: Any = np.moveaxis(wide(operands[0], self.element()), self.axis, -1)
        if self.largest:
            order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        else:
            order = np.argsort(x, axis=-1, kind="stable")
        taken = order[..., : self.k].astype(np.int64)
        values = np.take_along_axis(x, taken, axis=-1).astype(operands[0].dtype, copy=False)
        return np.moveaxis(values, -1, self.axis), np.moveaxis(taken, -1, self.axis)

    def cost(self) -> Cost:
        (shape,) = self.shapes()
        depth = max(1, math.ceil(math.log2(max(typical(shape[self.axis]), 2))))
        return Cost(elements(self.operands[0].type) * depth, self.bytes_moved())
