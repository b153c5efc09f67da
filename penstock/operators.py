"""Custom operators for penstock: one class in one file outside of it (docs/custom-operators.md).

from penstock.operators import Operator, ops

class Snake(Operator):
    domain = "com.example"

    def infer(self, x, *, a=1.0):
        return x

    def evaluate(self, x, *, a=1.0):
        return x + np.sin(a * x) ** 2 / a

    def decompose(self, x, *, a=1.0):
        return x + ops.sin(x * a) ** 2 / a
"""

from penstock.compiler.frontends.onnx.custom import compare, ops
from penstock.compiler.plugins import Kernel, Operator, TensorType

__all__ = ["Kernel", "Operator", "TensorType", "compare", "ops"]
