"""The tile-level meaning of the scalar language: an elementwise op's formula becomes register-tile instructions.

In: typed tiles. Out: typed tiles. The one idea: a value remembers its graph element type (so unsigned integers use
unsigned instructions), and half-precision values are held widened to f32.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.tile.base import element
from penstock.compiler.dialects.tile.builder import KernelBuilder
from penstock.compiler.dtypes import BF16, F16, F32, I1, I8, INDEX, is_float, is_storage, is_unsigned
from penstock.compiler.extents import Dim


@dataclass(frozen=True)
class Typed:
    """A scalar or register tile together with the graph element type it holds."""

    value: SSAValue
    element: Attribute


def register_type(element_type: Attribute) -> Attribute:
    """The element type a graph type has in registers: halves widen to f32, integers are signless."""
    if element_type in (F16, BF16):
        return F32
    if is_storage(element_type):
        return I8
    return IntegerType(element_type.width) if isinstance(element_type, IntegerType) else element_type


def memory_type(element_type: Attribute) -> Attribute:
    """The element type of a buffer that holds a graph type: integers are signless."""
    if is_storage(element_type):
        return I8
    return IntegerType(element_type.width) if isinstance(element_type, IntegerType) else element_type


class TileScalars:
    """ScalarBuilder over register tiles built with a KernelBuilder."""

    def __init__(self, builder: KernelBuilder) -> None:
        self.b = builder

    def element(self, x: Typed) -> Attribute:
        return x.element

    def constant(self, value: float, like: Typed) -> Typed:
        kind = register_type(like.element)
        if isinstance(value, Dim):
            return Typed(self.b.cast(self.b.index(value), kind), like.element)
        return Typed(self.b.constant(value, kind), like.element)

    def _pair(self, a: Typed | float, b: Typed | float) -> tuple[Typed, Typed]:
        if isinstance(a, Typed):
            return a, b if isinstance(b, Typed) else self.constant(b, a)
        assert isinstance(b, Typed)
        return self.constant(a, b), b

    def _binary(self, name: str, a: Typed | float, b: Typed | float, *, signed: bool = False) -> Typed:
        x, y = self._pair(a, b)
        suffix = "u" if signed and not is_float(x.element) and is_unsigned(x.element) else ""
        return Typed(self.b.binary(name + suffix, x.value, y.value), x.element)

    def _unary(self, name: str, x: Typed) -> Typed:
        return Typed(self.b.unary(name, x.value), x.element)

    def add(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("add", a, b)

    def sub(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("sub", a, b)

    def mul(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("mul", a, b)

    def div(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("div", a, b, signed=True)

    def remainder(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("rem", a, b, signed=True)

    def neg(self, x: Typed) -> Typed:
        return self._unary("neg", x)

    def abs(self, x: Typed) -> Typed:
        return x if is_unsigned(x.element) else self._unary("abs", x)

    def maximum(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("max", a, b, signed=True)

    def minimum(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("min", a, b, signed=True)

    def sqrt(self, x: Typed) -> Typed:
        return self._unary("sqrt", x)

    def exp(self, x: Typed) -> Typed:
        return self._unary("exp", x)

    def log(self, x: Typed) -> Typed:
        return self._unary("log", x)

    def pow(self, a: Typed | float, b: Typed | float) -> Typed:
        return self._binary("pow", a, b)

    def erf(self, x: Typed) -> Typed:
        return self._unary("erf", x)

    def gelu_tail(self, x: Typed) -> Typed:
        return self._unary("gelu_tail", x)

    def tanh(self, x: Typed) -> Typed:
        return self._unary("tanh", x)

    def sin(self, x: Typed) -> Typed:
        return self._unary("sin", x)

    def cos(self, x: Typed) -> Typed:
        return self._unary("cos", x)

    def tan(self, x: Typed) -> Typed:
        return self._unary("tan", x)

    def asin(self, x: Typed) -> Typed:
        return self._unary("asin", x)

    def acos(self, x: Typed) -> Typed:
        return self._unary("acos", x)

    def atan(self, x: Typed) -> Typed:
        return self._unary("atan", x)

    def sinh(self, x: Typed) -> Typed:
        return self._unary("sinh", x)

    def cosh(self, x: Typed) -> Typed:
        return self._unary("cosh", x)

    def asinh(self, x: Typed) -> Typed:
        return self._unary("asinh", x)

    def acosh(self, x: Typed) -> Typed:
        return self._unary("acosh", x)

    def atanh(self, x: Typed) -> Typed:
        return self._unary("atanh", x)

    def floor(self, x: Typed) -> Typed:
        return self._unary("floor", x)

    def ceil(self, x: Typed) -> Typed:
        return self._unary("ceil", x)

    def round_even(self, x: Typed) -> Typed:
        return self._unary("round_even", x)

    def compare(self, predicate: str, a: Typed | float, b: Typed | float) -> Typed:
        x, y = self._pair(a, b)
        unsigned = not is_float(x.element) and is_unsigned(x.element) and predicate not in ("eq", "ne")
        return Typed(self.b.compare(predicate + ("u" if unsigned else ""), x.value, y.value), I1)

    def select(self, condition: Typed, a: Typed | float, b: Typed | float) -> Typed:
        x, y = self._pair(a, b)
        return Typed(self.b.select(condition.value, x.value, y.value), x.element)

    def logical_and(self, a: Typed, b: Typed) -> Typed:
        return self._binary("and_", a, b)

    def logical_or(self, a: Typed, b: Typed) -> Typed:
        return self._binary("or_", a, b)

    def logical_xor(self, a: Typed, b: Typed) -> Typed:
        return self._binary("xor", a, b)

    def logical_not(self, x: Typed) -> Typed:
        return self._unary("not_", x)

    def bit_and(self, a: Typed, b: Typed) -> Typed:
        return self._binary("and_", a, b)

    def bit_or(self, a: Typed, b: Typed) -> Typed:
        return self._binary("or_", a, b)

    def bit_xor(self, a: Typed, b: Typed) -> Typed:
        return self._binary("xor", a, b)

    def bit_not(self, x: Typed) -> Typed:
        return self._unary("not_", x)

    def shift_left(self, a: Typed, b: Typed) -> Typed:
        return self._binary("shl", a, b)

    def shift_right(self, a: Typed, b: Typed) -> Typed:
        return self._binary("shr", a, b, signed=True)

    def bit_cast(self, x: Typed, to: Attribute) -> Typed:
        return Typed(self.b.cast(x.value, register_type(to), "bits"), to)

    def cast(self, x: Typed, to: Attribute) -> Typed:
        if to == I1 and x.element != I1:
            return self.compare("ne", x, 0)
        value, target = x.value, register_type(to)
        if element(value) != target:
            unsigned = is_unsigned(x.element) or (is_float(x.element) and is_unsigned(to))
            value = self.b.cast(value, target, "unsigned" if unsigned else "signed")
        return Typed(self.rounded(value, to), to)

    def rounded(self, value: SSAValue, to: Attribute) -> SSAValue:
        """A widened half rounded to its storage precision (and widened again); other types unchanged."""
        if to not in (F16, BF16):
            return value
        return self.b.cast(self.b.cast(value, to), F32)

    def index(self, x: Typed) -> SSAValue:
        """An integer tile as index values."""
        return self.b.cast(x.value, INDEX, "unsigned" if is_unsigned(x.element) else "signed")
