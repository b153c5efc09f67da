"""Determinants of square matrices.

In: a tensor whose last two axes are square matrices. Out: a number for each of them. The one idea: elimination with
the greatest pivot of each column, as LAPACK does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Cost,
    GraphOp,
    Tensor,
    require,
    require_float,
    require_static,
    show,
    wide,
)
from penstock.compiler.dtypes import shape_of, tensor

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class Det(GraphOp):
    """The determinant of every matrix along the last two axes; 1 of a matrix without elements."""

    name = "graph.det"
    operand_names = ("x",)

    def infer(self) -> list[Tensor]:
        require_float(self)
        (shape,) = self.shapes()
        require_static(shape[-2:], "the matrices of a determinant")
        square = len(shape) >= 2 and shape[-1] == shape[-2]
        require(square, f"a tensor of shape {show(shape)} does not hold square matrices")
        return [tensor(shape[:-2], self.element())]

    def evaluate(self, *operands: Array) -> Array:
        x: Any = wide(operands[0], self.element())
        with np.errstate(all="ignore"):
            return np.asarray(np.linalg.det(x)).astype(operands[0].dtype)

    def cost(self) -> Cost:
        *outer, _, extent = shape_of(self.operands[0].type)
        count = 1
        for size in outer:
            count *= size
        return Cost(count * (2 * extent * extent * extent // 3 + extent), self.bytes_moved())
