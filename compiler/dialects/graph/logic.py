"""Comparisons, boolean algebra, tests for NaN and infinity, and selection: elementwise ops on or to booleans.

In: tensors that broadcast together. Out: a boolean tensor (``select``: one of its last two operands' type).
"""

from __future__ import annotations

import math
from typing import ClassVar, TypeVar

from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import Bool, TypeRuleError, element_of
from penstock.compiler.dialects.graph.elementwise import (
    ANY,
    BOOLEAN,
    FLOAT,
    NUMBER,
    Binary,
    Elementwise,
    Unary,
    splat_value,
)
from penstock.compiler.dialects.graph.scalar import ScalarBuilder
from penstock.compiler.dtypes import I1

V = TypeVar("V")


class Not(Unary):
    """Boolean negation."""

    name = "graph.not"
    accepts = BOOLEAN
    involution = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.logical_not(operands[0])


class Predicate(Unary):
    """Base of the ops that ask something about a number."""

    accepts = FLOAT

    def result_element(self) -> Attribute:
        return I1


class IsNan(Predicate):
    """True where x is not a number."""

    name = "graph.is_nan"

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.compare("ne", operands[0], operands[0])


class IsInf(Predicate):
    """True where x is infinite, of either sign or of the signs asked for."""

    name = "graph.is_inf"
    negative = Bool(True, doc="minus infinity counts")
    positive = Bool(True, doc="plus infinity counts")

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        (x,) = operands
        if self.negative and self.positive:
            return s.compare("eq", s.abs(x), math.inf)
        if self.positive:
            return s.compare("eq", x, math.inf)
        if self.negative:
            return s.compare("eq", x, -math.inf)
        return s.compare("lt", x, x)


class Compare(Binary):
    """Base of the comparisons; the result is boolean, and false on NaN except for ``ne``."""

    accepts = ANY
    predicate: ClassVar[str]

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.compare(self.predicate, *operands)

    def result_element(self) -> Attribute:
        return I1


class Eq(Compare):
    """a = b."""

    name = "graph.eq"
    predicate = "eq"


class Ne(Compare):
    """a != b (true on NaN)."""

    name = "graph.ne"
    predicate = "ne"


class Lt(Compare):
    """a < b."""

    name = "graph.lt"
    predicate = "lt"
    accepts = NUMBER


class Le(Compare):
    """a <= b."""

    name = "graph.le"
    predicate = "le"
    accepts = NUMBER


class Gt(Compare):
    """a > b."""

    name = "graph.gt"
    predicate = "gt"
    accepts = NUMBER


class Ge(Compare):
    """a >= b."""

    name = "graph.ge"
    predicate = "ge"
    accepts = NUMBER


class Logical(Binary):
    """Base of the boolean operations on two operands."""

    accepts = BOOLEAN
    commutative = True


class And(Logical):
    """a and b."""

    name = "graph.and"
    neutral = 1

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.logical_and(*operands)


class Or(Logical):
    """a or b."""

    name = "graph.or"
    neutral = 0

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.logical_or(*operands)


class Xor(Logical):
    """Exactly one of a and b."""

    name = "graph.xor"
    neutral = 0

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.logical_xor(*operands)


class Select(Elementwise):
    """Where ``condition`` then ``a`` else ``b``."""

    name = "graph.select"
    operand_names = ("condition", "a", "b")
    accepts = ANY
    holds_storage = True

    def scalar(self, s: ScalarBuilder[V], *operands: V) -> V:
        return s.select(*operands)

    def check_elements(self) -> None:
        condition, a, b = map(element_of, self.operands)
        if condition != I1 or a != b:
            raise TypeRuleError("select takes a boolean condition and two operands of one element type")

    def result_element(self) -> Attribute:
        return element_of(self.operands[1])

    def fold(self) -> SSAValue | None:
        """A constant condition chooses; both sides equal leave no choice."""
        condition, a, b = self.operands
        decided = splat_value(condition)
        chosen = a if a == b or decided not in (None, 0) else b if decided == 0 else None
        return chosen if chosen is not None and chosen.type == self.out.type else None
