"""Normalisations along axes: layer and RMS normalisation without scale and bias, softmax and its logarithm.

In: a floating-point tensor. Out: one of the same type. Half precision computes in f32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    GraphOp,
    Int,
    Ints,
    Tensor,
    elements,
    require,
    require_float,
    tensor_type,
    wide,
)
from penstock.compiler.dialects.graph.reduction import check_axes

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class Normalize(GraphOp):
    """(x - mean) / sqrt(variance + epsilon) along ``axes``; without ``center`` x / sqrt(mean(x^2) + epsilon).

    The variance is the mean of squared differences from the mean. Scale and bias are separate mul and add.
    """

    name = "graph.normalize"
    operand_names = ("x",)
    axes = Ints(doc="axes that are normalised together, counted from the front")
    epsilon = Float(1e-5, doc="added to the variance")
    center = Bool(True, doc="subtract the mean")

    def infer(self) -> list[Tensor]:
        require_float(self)
        (shape,) = self.shapes()
        check_axes(self.axes, len(shape))
        require(len(self.axes) > 0, "graph.normalize has one axis or more")
        return [tensor_type(self.operands[0])]

    def evaluate(self, *operands: Array) -> Array:
        x: Any = wide(operands[0], self.element())
        with np.errstate(all="ignore"):
            if self.center:
                x = x - x.mean(axis=self.axes, keepdims=True)
            variance = (x * x).mean(axis=self.axes, keepdims=True)
            value = x / np.sqrt(variance + variance.dtype.type(self.epsilon))
        return value.astype(operands[0].dtype, copy=False)

    def cost(self) -> Cost:
        return Cost((7 if self.center else 4) * elements(self.out.type), self.bytes_moved())


class AlongAxis(GraphOp):
    """Base of softmax and its logarithm."""

    operand_names = ("x",)
    axis = Int(doc="axis along which exponentials are summed, counted from the front")

    def infer(self) -> list[Tensor]:
        require_float(self)
        check_axes((self.axis,), len(self.shapes()[0]))
        return [tensor_type(self.operands[0])]

    def _shifted(self, x: Array) -> Any:
        """x minus its maximum along the axis, in the type arithmetic is done in."""
        value: Any = wide(x, self.element())
        return value - value.max(axis=self.axis, keepdims=True, initial=-np.inf)

    def cost(self) -> Cost:
        return Cost(16 * elements(self.out.type), self.bytes_moved())


class Softmax(AlongAxis):
    """e^x / sum(e^x) along ``axis``, computed on x minus its maximum (a line of minus infinities gives NaN)."""

    name = "graph.softmax"

    def evaluate(self, *operands: Array) -> Array:
        with np.errstate(all="ignore"):
            power = np.exp(self._shifted(operands[0]))
            return (power / power.sum(axis=self.axis, keepdims=True)).astype(operands[0].dtype, copy=False)


class LogSoftmax(AlongAxis):
    """x - log(sum(e^x)) along ``axis``, computed on x minus its maximum."""

    name = "graph.log_softmax"

    def evaluate(self, *operands: Array) -> Array:
        with np.errstate(all="ignore"):
            shifted = self._shifted(operands[0])
            total = np.log(np.exp(shifted).sum(axis=self.axis, keepdims=True))
            return (shifted - total).astype(operands[0].dtype, copy=False)
