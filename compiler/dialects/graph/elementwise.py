"""Elementwise ops: each is one scalar formula, broadcast over its operands as numpy does.

In: tensors that broadcast together. Out: one tensor of the broadcast shape. Half-precision operands are computed in
f32 and rounded once at the result. From ``scalar`` derive reference semantics, folding and lowering.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    GraphOp,
    Tensor,
    Text,
    TypeRuleError,
    broadcast_shapes,
    element_of,
    elements,
    tensor_type,
)
from penstock.compiler.dialects.graph.scalar import NumpyScalars, ScalarBuilder, compute_dtype
from penstock.compiler.dtypes import I1, is_float, numpy_dtype, tensor, type_name

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

V = TypeVar("V")
FLOAT, NUMBER, BOOLEAN, ANY = "floating-point", "numeric", "boolean", "any"


class Elementwise(GraphOp):
    """Base: ``accepts`` says which element types operands may have; ``result_element`` overrides the result's type."""

    accepts: ClassVar[str] = NUMBER
    flops_per_element: ClassVar[int] = 1

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        """The formula, over one element of each operand."""
        raise NotImplementedError(self.name)

    def result_element(self) -> Attribute:
        """Element type of the result: that of the (equal) operands unless a subclass says otherwise."""
        return element_of(self.operands[0])

    def infer(self) -> list[Tensor]:
        self.check_elements()
        return [tensor(broadcast_shapes(*self.shapes()), self.result_element())]

    def check_elements(self) -> None:
        """All operands have one element type, and it is accepted. Raises TypeRuleError."""
        kinds = {element_of(value) for value in self.operands}
        if len(kinds) != 1:
            raise TypeRuleError(f"operands must share one element type, not {', '.join(sorted(map(type_name, kinds)))}")
        self.check_accepts(kinds.pop())

    def check_accepts(self, element: Attribute) -> None:
        fits = {
            FLOAT: is_float(element),
            NUMBER: element != I1,
            BOOLEAN: element == I1,
            ANY: True,
        }[self.accepts]
        if not fits:
            raise TypeRuleError(f"{type_name(element)} operands are not {self.accepts}")

    def evaluate(self, *operands: Array) -> Array:
        """The formula over whole arrays; half precision computes in f32."""
        wide = [np.asarray(x).astype(numpy_dtype(compute_dtype(element_of(v)))) for x, v in zip(operands, self.operands)]
        with np.errstate(all="ignore"):
            value: Any = self.scalar(NumpyScalars(), *wide)
            return np.asarray(value).astype(numpy_dtype(element_of(self.out)))

    def cost(self) -> Cost:
        return Cost(self.flops_per_element * elements(self.out.type), self.bytes_moved())


def splat_value(value: SSAValue) -> float | int | None:
    """The number all elements of a small inline constant equal, or None if ``value`` is not such a constant."""
    inline = value.owner.attributes.get("value") if hasattr(value.owner, "attributes") else None
    if not isinstance(inline, DenseIntOrFPElementsAttr):
        return None
    values = set(inline.get_values())
    return values.pop() if len(values) == 1 else None


class Neg(Elementwise):
    """-x."""

    name = "graph.neg"
    operand_names = ("x",)

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.neg(operands[0])


class Add(Elementwise):
    """a + b."""

    name = "graph.add"
    operand_names = ("a", "b")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.add(*operands)

    def fold(self) -> SSAValue | None:
        """x + 0 = x (not for floats with x = -0: IEEE keeps x when the zero is negative, and +0 for -0 + 0 is equal)."""
        a, b = self.operands
        if a.type == self.out.type and splat_value(b) == 0:
            return a
        return b if b.type == self.out.type and splat_value(a) == 0 else None


class Gelu(Elementwise):
    """Gaussian error linear unit: x/2 (1 + erf(x/sqrt 2)), or its tanh approximation (Hendrycks and Gimpel 2016)."""

    name = "graph.gelu"
    operand_names = ("x",)
    accepts = FLOAT
    flops_per_element = 16
    approximate = Text("none", "none", "tanh")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        if self.approximate == "tanh":
            cubic = s.add(x, s.mul(s.mul(s.mul(x, x), x), 0.044715))
            inner = s.tanh(s.mul(cubic, math.sqrt(2 / math.pi)))
        else:
            inner = s.erf(s.mul(x, math.sqrt(0.5)))
        return s.mul(s.mul(x, 0.5), s.add(inner, 1.0))


class Compare(Elementwise):
    """Base of the comparisons; the result is boolean."""

    accepts = ANY

    def result_element(self) -> Attribute:
        return I1


class Lt(Compare):
    """a < b (false on NaN)."""

    name = "graph.lt"
    operand_names = ("a", "b")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.compare("lt", *operands)


class Select(Elementwise):
    """Where ``condition`` then ``a`` else ``b``."""

    name = "graph.select"
    operand_names = ("condition", "a", "b")
    accepts = ANY

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.select(*operands)

    def check_elements(self) -> None:
        condition, a, b = map(element_of, self.operands)
        if condition != I1 or a != b:
            raise TypeRuleError("select takes a boolean condition and two operands of one element type")

    def result_element(self) -> Attribute:
        return element_of(self.operands[1])


class Cast(Elementwise):
    """Conversion to the result's element type, as ONNX Cast (float to integer truncates towards zero)."""

    name = "graph.cast"
    operand_names = ("x",)
    accepts = ANY

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.cast(operands[0], element_of(self.out))

    def infer(self) -> list[Tensor]:
        if not self.results:
            raise TypeRuleError("graph.cast is built with its result type")
        return [tensor(self.shapes()[0], tensor_type(self.out).element_type)]

    def fold(self) -> SSAValue | None:
        return self.operands[0] if self.operands[0].type == self.out.type else None
