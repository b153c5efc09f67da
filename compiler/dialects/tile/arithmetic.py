"""Lane-by-lane ops on scalars and register tiles: arithmetic, comparisons, mathematics, conversions.

In: operands of one element type that broadcast. Out: one value of the broadcast shape. The one idea: each class is
one machine-independent instruction; its LLVM form is a row in the emitter's table, found by the op's name.
"""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import traits_def
from xdsl.traits import Pure

from penstock.compiler.dialects.declared import Parameter, Text, TypeRuleError
from penstock.compiler.dialects.tile.base import Elementwise, TileOp, broadcast, element, shape, with_shape
from penstock.compiler.dtypes import BF16, F16, F32, I1, I32, INDEX, byte_width, is_float


def _declare(names: str, arity: int, doc: str, kinds: str = "any") -> None:
    """Declare one Elementwise class per name, for the ops that differ only in their name."""
    for name in names.split():
        title = "".join(part.capitalize() for part in name.split("_"))
        fields = {"name": f"tile.{name}", "arity": arity, "kinds": kinds, "__module__": __name__}
        globals()[title] = type(title, (Elementwise,), {**fields, "__doc__": doc.format(name)})


_declare("neg abs floor ceil round_even", 1, "Lane-wise {}.")
_declare("sqrt exp exp2 log erf tanh sin cos", 1, "Lane-wise {} of floats.", "float")
_declare(
    "gelu_tail", 1, "Lane-wise relu(x) - gelu(x) of floats: |x| times the chance of a normal number above |x|.", "float"
)
_declare("tan asin acos atan sinh cosh asinh acosh atanh", 1, "Lane-wise {} of floats.", "float")
_declare("not_", 1, "Lane-wise {}: all bits inverted.", "integer")
_declare("add sub mul div rem max min pow", 2, "Lane-wise {}.")
_declare("divu remu maxu minu", 2, "Lane-wise {} of integers taken as unsigned.", "integer")
_declare("and_ or_ xor shl shr shru", 2, "Lane-wise {} of integers or masks.", "integer")
_declare("fma", 3, "Lane-wise a*b+c with one rounding (two roundings where the ISA has no fused form).")
# max and min on floats propagate NaN; the *_fast forms return the second operand when either is NaN (one instruction).
_declare("max_fast min_fast", 2, "Lane-wise {}: the second operand if either is NaN.")


class DotPairs(TileOp):
    """``%d = tile.dot_pairs %a, %b, %c``: c plus the products of two pairs of bf16 numbers, lane by lane.

    a and b are words of 32 bits, which hold number 0 in their lower half and number 1 in the upper. Products are exact
    in f32; that of the numbers 1 is added first, and each sum rounded to nearest even. Where the machine has an
    instruction for it (AVX512_BF16), denormal numbers and sums count as zero.
    """

    name = "tile.dot_pairs"
    traits = traits_def(Pure())

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        if [element(operand) for operand in operands] != [I32, I32, F32]:
            raise TypeRuleError("tile.dot_pairs takes two operands of i32, which are pairs of bf16, and one of f32")
        return [with_shape(F32, broadcast(*operands))]


class Pair(TileOp):
    """``%w = tile.pair %low, %high``: words of 32 bits that hold a number of bf16 of ``low`` in their lower half and
    one of ``high`` in the upper, as ``tile.dot_pairs`` takes them."""

    name = "tile.pair"
    traits = traits_def(Pure())

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        if [element(operand) for operand in operands] != [BF16, BF16]:
            raise TypeRuleError("tile.pair takes two operands of bf16")
        return [with_shape(I32, broadcast(*operands))]


class Compare(TileOp):
    """Lane-wise comparison. ``predicate``: eq ne lt le gt ge (signed, or ordered for floats; ne is true on NaN), or
    ltu leu gtu geu."""

    name = "tile.compare"
    traits = traits_def(Pure())
    predicate = Text(None, "eq", "ne", "lt", "le", "gt", "ge", "ltu", "leu", "gtu", "geu")

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        if element(operands[0]) != element(operands[1]):
            raise TypeRuleError("tile.compare takes two operands of one element type")
        return [with_shape(I1, broadcast(*operands))]


class Select(TileOp):
    """Lane-wise choice: where the mask is set the second operand, else the third."""

    name = "tile.select"
    traits = traits_def(Pure())

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        if element(operands[0]) != I1 or element(operands[1]) != element(operands[2]):
            raise TypeRuleError("tile.select takes a mask and two operands of one element type")
        return [with_shape(element(operands[1]), broadcast(*operands))]


class Cast(TileOp):
    """Numeric conversion to the result's element type: float width changes round to nearest even; float to integer
    truncates towards zero (saturating is not promised); integers extend by ``unsigned``, narrow by wrapping; to ``i1``
    is ``!= 0``; ``index`` counts as i64."""

    name = "tile.cast"
    traits = traits_def(Pure())
    mode = Text("signed", "signed", "unsigned", "bits", doc="bits: reinterpret lanes of equal width")

    def check(self) -> None:
        if shape(self.operands[0]) != shape(self.results[0]):
            raise TypeRuleError("tile.cast keeps the shape")
        kinds = [element(value) for value in (self.operands[0], self.results[0])]
        if self.mode == "bits" and len({64 if kind == INDEX else byte_width(kind) * 8 for kind in kinds}) > 1:
            raise TypeRuleError("tile.cast reinterprets lanes of equal width only")


def before_widening(x: SSAValue, half: Attribute) -> SSAValue | None:
    """What ``x`` was before a cast widened it from type ``half``, f16 or bf16; None if no cast did."""
    if half not in (F16, BF16) or not isinstance(x.owner, Cast) or not is_float(element(x)):
        return None
    source = x.owner.operands[0]
    return source if element(source) == half else None


class NumberAttrParameter(Parameter[Attribute]):
    """A number kept as the attribute it is."""

    def encode(self, value: Attribute) -> Attribute:
        return value

    def decode(self, attribute: Attribute) -> Attribute:
        if not isinstance(attribute, IntegerAttr | FloatAttr | DenseIntOrFPElementsAttr):
            raise self.wrong(attribute)
        return attribute


class Constant(TileOp):
    """A number: a scalar, an index, or the same number in every lane of a tile."""

    name = "tile.constant"
    traits = traits_def(Pure())
    value = NumberAttrParameter()

    def number(self) -> float | int:
        """The Python number."""
        attribute = self.value
        assert isinstance(attribute, IntegerAttr | FloatAttr)
        return attribute.value.data

    def check(self) -> None:
        if isinstance(self.value, FloatAttr) != is_float(element(self.results[0])):
            raise TypeRuleError("tile.constant's number has the result's element kind")
        if element(self.results[0]) == INDEX and not -(2**63) <= self.number() < 2**63:
            raise TypeRuleError("tile.constant's index has 64 bits")
