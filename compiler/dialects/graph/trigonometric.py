"""Trigonometric and hyperbolic functions and their inverses, beside sin, cos and tanh.

In: a floating-point tensor. Out: one of the same type. The one idea: each is an instruction of the scalar language,
which numpy has and back ends compute by the formulas of ``compiler/backends/trigonometry.py`` and ``math.py``.
"""

from __future__ import annotations

from typing import TypeVar

from penstock.compiler.dialects.graph.elementwise import FLOAT, Unary
from penstock.compiler.dialects.graph.scalar import ScalarBuilder

V = TypeVar("V")


class Tan(Unary):
    """Tangent of x in radians."""

    name = "graph.tan"
    accepts = FLOAT
    flops_per_element = 20

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.tan(operands[0])


class Asin(Unary):
    """Arc sine of x, in radians; NaN beyond 1."""

    name = "graph.asin"
    accepts = FLOAT
    flops_per_element = 24

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.asin(operands[0])


class Acos(Unary):
    """Arc cosine of x, in radians; NaN beyond 1."""

    name = "graph.acos"
    accepts = FLOAT
    flops_per_element = 24

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.acos(operands[0])


class Atan(Unary):
    """Arc tangent of x, in radians."""

    name = "graph.atan"
    accepts = FLOAT
    flops_per_element = 20

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.atan(operands[0])


class Sinh(Unary):
    """Hyperbolic sine."""

    name = "graph.sinh"
    accepts = FLOAT
    flops_per_element = 24

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.sinh(operands[0])


class Cosh(Unary):
    """Hyperbolic cosine."""

    name = "graph.cosh"
    accepts = FLOAT
    flops_per_element = 20

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.cosh(operands[0])


class Asinh(Unary):
    """Inverse hyperbolic sine."""

    name = "graph.asinh"
    accepts = FLOAT
    flops_per_element = 34

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.asinh(operands[0])


class Acosh(Unary):
    """Inverse hyperbolic cosine; NaN below 1."""

    name = "graph.acosh"
    accepts = FLOAT
    flops_per_element = 34

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.acosh(operands[0])


class Atanh(Unary):
    """Inverse hyperbolic tangent; NaN beyond 1."""

    name = "graph.atanh"
    accepts = FLOAT
    flops_per_element = 28

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.atanh(operands[0])
