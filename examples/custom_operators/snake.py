"""The Snake activation x + sin(a x)^2 / a (Ziyin et al. 2020), as a custom operator made of graph ops."""

import numpy as np

from penstock.operators import Operator, ops


class Snake(Operator):
    """Floating-point tensors; ``a`` is an attribute, or an optional second input with one number per channel."""

    domain = "com.example"

    def infer(self, x, frequency=None, *, a=1.0):
        if x.dtype.kind != "f":
            raise ValueError(f"x is of type {x.dtype}, not floating-point")
        return x

    def evaluate(self, x, frequency=None, *, a=1.0):
        a = np.asarray(a, x.dtype) if frequency is None else frequency
        return x + np.sin(a * x) ** 2 / a

    def decompose(self, x, frequency=None, *, a=1.0):
        a = a if frequency is None else frequency
        s = ops.sin(x * a)
        return x + s * s / a
