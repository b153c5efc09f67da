"""Operations on the bits of integers.

In: integer tensors that broadcast together. Out: a tensor of the same type. The one idea: shifts by the width of the
type or more give what smaller shifts lead to, where machines disagree.
"""

from __future__ import annotations

from typing import TypeVar

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import Tensor, TypeRuleError, element_of, tensor_type
from penstock.compiler.dialects.graph.elementwise import INTEGER, NUMBER, Binary, Elementwise, Unary
from penstock.compiler.dialects.graph.scalar import ScalarBuilder
from penstock.compiler.dtypes import BF16, F16, I1, bit_width, byte_width, is_unsigned, tensor, type_name

V = TypeVar("V")


class BitNot(Unary):
    """Every bit turned over."""

    name = "graph.bit_not"
    accepts = INTEGER
    involution = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.bit_not(operands[0])


class BitCast(Elementwise):
    """The same bits as the result's element type, which is as wide; neither of half precision nor boolean."""

    name = "graph.bit_cast"
    operand_names = ("x",)
    accepts = NUMBER
    holds_storage = True

    def infer(self) -> list[Tensor]:
        kinds = element_of(self.operands[0]), tensor_type(self.chosen_result()).element_type
        if len({bit_width(kind) for kind in kinds}) > 1 or set(kinds) & {I1, F16, BF16}:
            raise TypeRuleError(f"the bits of {type_name(kinds[0])} are not taken as {type_name(kinds[1])}")
        return [tensor(self.shapes()[0], kinds[1])]

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.bit_cast(operands[0], element_of(self.out))

    def fold(self) -> SSAValue | None:
        """To the same type is its operand."""
        return self.operands[0] if self.operands[0].type == self.out.type else None


class BitAnd(Binary):
    """Bits set in both."""

    name = "graph.bit_and"
    accepts = INTEGER
    commutative = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.bit_and(*operands)


class BitOr(Binary):
    """Bits set in either."""

    name = "graph.bit_or"
    accepts = INTEGER
    commutative = True
    neutral = 0

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.bit_or(*operands)


class BitXor(Binary):
    """Bits set in just one of them."""

    name = "graph.bit_xor"
    accepts = INTEGER
    commutative = True
    neutral = 0

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.bit_xor(*operands)


class Shift(Binary):
    """Base of the shifts of x by y places; a negative y counts as more places than there are."""

    accepts = INTEGER

    def inside(self, s: ScalarBuilder[V], y: V) -> V:
        """Whether y is one of the type's places."""
        width = 8 * byte_width(element_of(self.operands[0]))
        return s.logical_and(s.compare("ge", y, 0), s.compare("lt", y, width))


class ShiftLeft(Shift):
    """x moved towards the highest bit; 0 when nothing is left."""

    name = "graph.shift_left"

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        x, y = operands
        inside = self.inside(s, y)
        return s.select(inside, s.shift_left(x, s.select(inside, y, 0)), 0)


class ShiftRight(Shift):
    """x moved towards the lowest bit; copies of the sign come in, so what is left in the end is 0 or -1."""

    name = "graph.shift_right"

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        x, y = operands
        inside, unsigned = self.inside(s, y), is_unsigned(element_of(self.operands[0]))
        last = 8 * byte_width(element_of(self.operands[0])) - 1
        shifted = s.shift_right(x, s.select(inside, y, last))
        return s.select(inside, shifted, 0) if unsigned else shifted
