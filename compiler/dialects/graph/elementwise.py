"""Elementwise ops: each is one scalar formula, broadcast over its operands as numpy does.

In: tensors that broadcast together. Out: one tensor of the broadcast shape. Half-precision operands are computed in
f32 and rounded once at the result. From ``scalar`` derive reference semantics, folding and lowering.
Here stand the base classes and arithmetic; ``activation`` and ``logic`` hold the other elementwise ops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import Attribute, Operation, SSAValue

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
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
from penstock.compiler.dialects.graph.storage import ROUNDING, decoded, encoded
from penstock.compiler.dtypes import I1, is_float, is_storage, is_unsigned, numpy_dtype, tensor, type_name

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

V = TypeVar("V")
FLOAT, NUMBER, INTEGER, BOOLEAN, ANY = "floating-point", "numeric", "integer", "boolean", "any"


class Elementwise(GraphOp):
    """Base: ``accepts`` says which element types operands may have; ``result_element`` overrides the result's type.

    ``flops_per_element`` is an estimate: an exponential or a division counts as several.
    """

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
        """Raises TypeRuleError if operands may not be of type ``element``."""
        fits = {
            FLOAT: is_float(element),
            NUMBER: element != I1,
            INTEGER: element != I1 and not is_float(element),
            BOOLEAN: element == I1,
            ANY: True,
        }[self.accepts]
        if not fits:
            raise TypeRuleError(f"{self.name} takes {self.accepts} operands, not {type_name(element)}")

    def evaluate(self, *operands: Array) -> Array:
        """The formula over whole arrays; half precision computes in f32."""
        wide = [
            np.asarray(x).astype(numpy_dtype(compute_dtype(element_of(v))), copy=False)
            for x, v in zip(operands, self.operands, strict=True)
        ]
        with np.errstate(all="ignore"):
            value: Any = self.scalar(NumpyScalars(), *wide)
            return np.asarray(value).astype(numpy_dtype(element_of(self.out)), copy=False)

    def cost(self) -> Cost:
        return Cost(self.flops_per_element * elements(self.out.type), self.bytes_moved())


def splat_value(value: SSAValue) -> float | int | None:
    """The number all elements of an inline constant equal, or None if ``value`` is not such a constant (true is 1)."""
    if not isinstance(value.owner, Operation):
        return None
    inline = value.owner.attributes.get("value")
    if not isinstance(inline, DenseIntOrFPElementsAttr):
        return None
    values = set(inline.get_values())
    if len(values) != 1:
        return None
    number = values.pop()
    return int(number != 0) if inline.get_element_type() == I1 else number


def is_splat(value: SSAValue, number: float) -> bool:
    """True if ``value`` is an inline constant all of whose elements equal ``number`` (-0.0 equals 0.0, NaN nothing)."""
    return splat_value(value) == number


class Unary(Elementwise):
    """Base of the ops on one operand. With ``idempotent``, f(f(x)) is f(x)."""

    operand_names = ("x",)
    idempotent: ClassVar[bool] = False
    involution: ClassVar[bool] = False

    def fold(self) -> SSAValue | None:
        """f(f(x)) is f(x) for an idempotent op, and x for an involution."""
        inner = self.operands[0].owner
        if not isinstance(inner, Unary) or type(inner) is not type(self) or inner.attributes != self.attributes:
            return None
        if self.involution:
            return inner.operands[0]
        return self.operands[0] if self.idempotent else None


class Binary(Elementwise):
    """Base of the ops on two operands. ``neutral`` is the number that, as second operand, gives back the first."""

    operand_names = ("a", "b")
    neutral: ClassVar[float | None] = None
    commutative: ClassVar[bool] = False

    def fold(self) -> SSAValue | None:
        a, b = self.operands
        if self.neutral is None:
            return None
        if a.type == self.out.type and is_splat(b, self.neutral):
            return a
        return b if self.commutative and b.type == self.out.type and is_splat(a, self.neutral) else None


# One operand ---------------------------------------------------------------------------------------------------------


class Neg(Unary):
    """-x (unsigned integers wrap)."""

    name = "graph.neg"
    involution = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.neg(operands[0])


class Abs(Unary):
    """|x| (the least signed integer stays what it is)."""

    name = "graph.abs"
    idempotent = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return operands[0] if is_unsigned(self.element()) else s.abs(operands[0])


class Sqrt(Unary):
    """Square root, rounded as IEEE-754 says; NaN for negative x."""

    name = "graph.sqrt"
    accepts = FLOAT
    flops_per_element = 4

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.sqrt(operands[0])


class Rsqrt(Unary):
    """1 / sqrt(x)."""

    name = "graph.rsqrt"
    accepts = FLOAT
    flops_per_element = 8

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.div(1.0, s.sqrt(operands[0]))


class Reciprocal(Unary):
    """1 / x."""

    name = "graph.reciprocal"
    accepts = FLOAT
    flops_per_element = 4

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.div(1.0, operands[0])


class Exp(Unary):
    """e to the power of x."""

    name = "graph.exp"
    accepts = FLOAT
    flops_per_element = 10

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.exp(operands[0])


class Log(Unary):
    """Natural logarithm."""

    name = "graph.log"
    accepts = FLOAT
    flops_per_element = 12

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.log(operands[0])


class Erf(Unary):
    """The error function."""

    name = "graph.erf"
    accepts = FLOAT
    flops_per_element = 14

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.erf(operands[0])


class Tanh(Unary):
    """Hyperbolic tangent."""

    name = "graph.tanh"
    accepts = FLOAT
    flops_per_element = 14

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.tanh(operands[0])


class Sin(Unary):
    """Sine of x in radians."""

    name = "graph.sin"
    accepts = FLOAT
    flops_per_element = 14

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.sin(operands[0])


class Cos(Unary):
    """Cosine of x in radians."""

    name = "graph.cos"
    accepts = FLOAT
    flops_per_element = 14

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.cos(operands[0])


class Floor(Unary):
    """The greatest integer not above x."""

    name = "graph.floor"
    accepts = FLOAT
    idempotent = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.floor(operands[0])


class Ceil(Unary):
    """The least integer not below x."""

    name = "graph.ceil"
    accepts = FLOAT
    idempotent = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.ceil(operands[0])


class Round(Unary):
    """The nearest integer, halves to even."""

    name = "graph.round"
    accepts = FLOAT
    idempotent = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.round_even(operands[0])


class Sign(Unary):
    """-1, 0 or 1; NaN and zero stay what they are."""

    name = "graph.sign"
    idempotent = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        positive = s.select(s.compare("gt", x, 0), s.constant(1, x), x)
        return positive if is_unsigned(self.element()) else s.select(s.compare("lt", x, 0), s.constant(-1, x), positive)


class Cast(Elementwise):
    """Conversion to the result's element type, as ONNX Cast (float to integer truncates towards zero)."""

    name = "graph.cast"
    operand_names = ("x",)
    accepts = ANY
    holds_storage = True
    saturate = Bool(True, doc="to 8-bit floating-point: what is too great becomes the greatest number")
    rounding = Text("up", *ROUNDING, doc="to f8e8m0: which power of two")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,), source, target = operands, self.element(), element_of(self.out)
        if is_storage(source):
            x = decoded(s, x, source)
        if is_storage(target):
            return encoded(s, x, target, self.saturate, self.rounding)
        return s.cast(x, target)

    def infer(self) -> list[Tensor]:
        return [tensor(self.shapes()[0], tensor_type(self.chosen_result()).element_type)]

    def fold(self) -> SSAValue | None:
        """A cast to the same type is its operand."""
        return self.operands[0] if self.operands[0].type == self.out.type else None


# Two operands --------------------------------------------------------------------------------------------------------


class Add(Binary):
    """a + b."""

    name = "graph.add"
    neutral = 0
    commutative = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.add(*operands)


class Sub(Binary):
    """a - b."""

    name = "graph.sub"
    neutral = 0

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.sub(*operands)


class Mul(Binary):
    """a b."""

    name = "graph.mul"
    neutral = 1
    commutative = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.mul(*operands)


class Div(Binary):
    """a / b; integers truncate towards zero, and an integer divided by zero is 0."""

    name = "graph.div"
    neutral = 1
    flops_per_element = 4

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.div(*operands)


class Pow(Binary):
    """a to the power of b."""

    name = "graph.pow"
    neutral = 1
    flops_per_element = 25

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.pow(*operands)


class Extremum(Binary):
    """Base of max and min: max(x, x) is x, and so is max(max(x, c), c)."""

    commutative = True

    def fold(self) -> SSAValue | None:
        a, b = self.operands
        for x, other in ((a, b), (b, a)):
            inner = x.owner
            repeated = isinstance(inner, Extremum) and type(inner) is type(self) and other in inner.operands
            if (x == other or repeated) and x.type == self.out.type:
                return x
        return None


class Max(Extremum):
    """The greater of a and b; NaN if either is."""

    name = "graph.max"

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.maximum(*operands)


class Min(Extremum):
    """The lesser of a and b; NaN if either is."""

    name = "graph.min"

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.minimum(*operands)


class Mod(Binary):
    """The remainder of a / b: with the sign of b, or with ``fmod`` that of a; an integer modulo zero is 0."""

    name = "graph.mod"
    flops_per_element = 8
    fmod = Bool(False, doc="the remainder has the sign of the dividend, as C's fmod")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        a, b = operands
        remainder = s.remainder(a, b)
        if self.fmod or is_unsigned(self.element()):
            return remainder
        differs = s.logical_xor(s.compare("lt", remainder, 0), s.compare("lt", b, 0))
        wrong = s.logical_and(s.compare("ne", remainder, 0), differs)
        return s.select(wrong, s.add(remainder, b), remainder)
