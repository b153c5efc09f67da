"""Elementwise activation functions of neural networks.

In: a floating-point tensor. Out: one of the same type. Each is a scalar formula, as in ``elementwise``; formulas are
written so that large arguments of either sign neither overflow nor lose NaN.
"""

from __future__ import annotations

import math
from typing import TypeVar

from penstock.compiler.dialects.graph.base import Float, Text
from penstock.compiler.dialects.graph.elementwise import FLOAT, NUMBER, Unary
from penstock.compiler.dialects.graph.scalar import ScalarBuilder

V = TypeVar("V")


class Relu(Unary):
    """max(x, 0)."""

    name = "graph.relu"
    accepts = NUMBER
    idempotent = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.maximum(operands[0], 0)


class LeakyRelu(Unary):
    """x where x >= 0, else alpha x."""

    name = "graph.leaky_relu"
    accepts = FLOAT
    flops_per_element = 2
    alpha = Float(0.01, doc="slope of the negative side")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        return s.select(s.compare("lt", x, 0.0), s.mul(x, self.alpha), x)


class Elu(Unary):
    """x where x >= 0, else alpha (e^x - 1)."""

    name = "graph.elu"
    accepts = FLOAT
    flops_per_element = 14
    alpha = Float(1.0, doc="limit, negated, at minus infinity")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        negative = s.mul(s.sub(s.exp(s.minimum(x, 0.0)), 1.0), self.alpha)
        return s.select(s.compare("lt", x, 0.0), negative, x)


class Sigmoid(Unary):
    """1 / (1 + e^-x)."""

    name = "graph.sigmoid"
    accepts = FLOAT
    flops_per_element = 14

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.div(1.0, s.add(s.exp(s.neg(operands[0])), 1.0))


class HardSigmoid(Unary):
    """max(0, min(1, alpha x + beta))."""

    name = "graph.hard_sigmoid"
    accepts = FLOAT
    flops_per_element = 4
    alpha = Float(0.2, doc="slope")
    beta = Float(0.5, doc="value at 0")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.maximum(s.minimum(s.add(s.mul(operands[0], self.alpha), self.beta), 1.0), 0.0)


class HardSwish(Unary):
    """x max(0, min(1, x / 6 + 1/2))."""

    name = "graph.hard_swish"
    accepts = FLOAT
    flops_per_element = 5

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        return s.mul(x, s.maximum(s.minimum(s.add(s.mul(x, 1 / 6), 0.5), 1.0), 0.0))


class Softplus(Unary):
    """log(1 + e^x), computed as max(x, 0) + log(1 + e^-|x|)."""

    name = "graph.softplus"
    accepts = FLOAT
    flops_per_element = 26

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        return s.add(s.maximum(x, 0.0), s.log(s.add(s.exp(s.neg(s.abs(x))), 1.0)))


class Gelu(Unary):
    """Gaussian error linear unit: x/2 (1 + erf(x/sqrt 2)), or its tanh approximation (Hendrycks and Gimpel 2016).

    The exact form is computed as relu(x) less its tail, which loses nothing where 1 + erf cancels. At -infinity it is
    the limit, 0.
    """

    name = "graph.gelu"
    accepts = FLOAT
    flops_per_element = 18
    approximate = Text("none", "none", "tanh", doc="formula")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        if self.approximate == "tanh":
            cubic = s.add(x, s.mul(s.mul(s.mul(x, x), x), 0.044715))
            inner = s.tanh(s.mul(cubic, math.sqrt(2 / math.pi)))
            return s.mul(s.mul(x, 0.5), s.add(inner, 1.0))
        return s.sub(s.maximum(x, 0.0), s.gelu_tail(x))
