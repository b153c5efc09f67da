"""Sizes as data: what a model computes from the shapes of its inputs and then reads as numbers.

In: nothing. Out: a small tensor of extents, which are numbers or symbolic. The one idea: shape arithmetic is done when
a model is compiled; only what is left of it, a polynomial of the sizes, is computed when the model runs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from penstock.compiler.dialects.graph.base import Cost, GraphOp, Ints, Tensor, element_of, require, show
from penstock.compiler.dtypes import I64, shape_of
from penstock.compiler.extents import is_static

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

MAX_EXTENTS = 64


class Extents(GraphOp):
    """The numbers that ``values`` are when the model runs, in row-major order; i64."""

    name = "graph.extent"
    values = Ints(doc="one extent per element of the result")

    def infer(self) -> list[Tensor]:
        result = self.chosen_result()
        shape = shape_of(result)
        require(element_of(result) == I64, "graph.extent gives i64")
        require(is_static(shape), "graph.extent has a result of a fixed shape")
        count = len(self.values)
        require(math.prod(shape) == count, f"{count} extents do not make a tensor of shape {show(shape)}")
        require(0 < count <= MAX_EXTENTS, f"graph.extent holds 1 to {MAX_EXTENTS} extents, not {count}")
        return [result]

    def evaluate(self, *operands: Array) -> Array:
        """Raises NotStatic where an extent is symbolic."""
        return np.array([int(value) for value in self.values], np.int64).reshape(shape_of(self.out.type))

    def cost(self) -> Cost:
        return Cost(0, self.bytes_moved())
