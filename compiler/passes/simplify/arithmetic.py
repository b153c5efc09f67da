"""Patterns of ``canonicalise`` on elementwise ops and constants: one form for each computation.

In: an elementwise op. Out: a cheaper or a more usual one. A constant operand stands second; a number broadcast is a
constant of rank 0; what changes a floating-point result by more than the last bits is left alone.
"""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.activation import Relu
from penstock.compiler.dialects.graph.base import GraphOp, broadcast_shapes, element_of, elements, tensor_type
from penstock.compiler.dialects.graph.elementwise import (
    Abs,
    Add,
    Binary,
    Cast,
    Div,
    Elementwise,
    Max,
    Min,
    Mul,
    Neg,
    Pow,
    Reciprocal,
    Rsqrt,
    Sqrt,
    Sub,
)
from penstock.compiler.dialects.graph.logic import Eq, Ne, Not, Select
from penstock.compiler.dialects.graph.matching import (
    broadcasts_without,
    defining,
    has_one_use,
    number_of,
    scalar,
    with_number,
)
from penstock.compiler.dialects.graph.shape import Expand, Reshape
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import (
    byte_width,
    element_type,
    is_float,
    is_storage,
    is_unsigned,
    shape_of,
    tensor,
    type_name,
)
from penstock.compiler.rewriting import Pattern, Rewriter


class WithWeights(Pattern):
    """Base of the patterns that look into constants."""

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights


class Fold(Pattern):
    """What an op says it is equal to (``GraphOp.fold``)."""

    roots = (GraphOp,)

    def rewrite(self, op: GraphOp, rewriter: Rewriter, /) -> None:
        value = op.fold()
        if value is not None and value.type == op.out.type:
            rewriter.replace(op, value)


class ConstantSecond(Pattern):
    """Commutative ops have their constant as second operand."""

    roots = (Binary,)

    def rewrite(self, op: Binary, rewriter: Rewriter, /) -> None:
        a, b = op.operands
        swappable = op.commutative or isinstance(op, Eq | Ne)
        if swappable and isinstance(a.owner, Constant) and not isinstance(b.owner, Constant):
            op.operands = [b, a]
            rewriter.modified(op)


class BroadcastOperand(WithWeights):
    """Broadcasting is left to the elementwise op: no expand before it, and a number is a constant of rank 0."""

    roots = (Elementwise,)

    def rewrite(self, op: Elementwise, rewriter: Rewriter, /) -> None:
        for index, value in enumerate(op.operands):
            narrow = self._narrow(value)
            repeated = elements(value.type) != elements(op.out.type) or isinstance(value.owner, Expand)
            if narrow is not None and repeated and broadcasts_without(op, index, narrow):
                rewriter.set_operand(op, index, narrow)
                return
            if self._is_broadcast_number(op, index, value):
                number = number_of(value, self.weights)
                if number is not None:
                    rewriter.set_operand(op, index, rewriter.insert(scalar(number, value, self.weights)).out)
                    return

    @staticmethod
    def _narrow(value: SSAValue) -> SSAValue | None:
        """The operand of an expand, or of a reshape that only adds leading axes of extent 1."""
        if isinstance(value.owner, Expand):
            return value.owner.operands[0]
        if isinstance(value.owner, Reshape):
            x = value.owner.operands[0]
            shape, added = shape_of(x.type), len(shape_of(value.type)) - len(shape_of(x.type))
            return x if added > 0 and shape_of(value.type) == (1,) * added + shape else None
        return None

    @staticmethod
    def _is_broadcast_number(op: Elementwise, index: int, value: SSAValue) -> bool:
        """True for a constant of rank 1 or more that the other operands' shapes make superfluous as a tensor."""
        if not isinstance(value.owner, Constant) or not shape_of(value.type):
            return False
        others = [other for i, other in enumerate(op.operands) if i != index]
        return any(shape_of(other.type) == shape_of(op.out.type) for other in others)


class NeutralBroadcast(WithWeights):
    """x + 0 is x expanded where the zeros only give the result its shape; likewise for other neutral elements."""

    roots = (Binary,)

    def rewrite(self, op: Binary, rewriter: Rewriter, /) -> None:
        a, b = op.operands
        for x, other in ((a, b), (b, a)) if op.commutative else ((a, b),):
            if op.neutral is not None and x.type != op.out.type and number_of(other, self.weights) == op.neutral:
                rewriter.replace(op, Expand.build(x, result=tensor_type(op.out)))
                return


class ExpandLast(WithWeights):
    """What is computed on expanded operands is computed before expanding, once for each different element."""

    roots = (Elementwise,)

    def rewrite(self, op: Elementwise, rewriter: Rewriter, /) -> None:
        expands = [value.owner for value in op.operands if isinstance(value.owner, Expand)]
        if not expands:
            return
        narrow = [value.owner.operands[0] if isinstance(value.owner, Expand) else value for value in op.operands]
        shapes = [() if self._is_number(value) else shape_of(value.type) for value in narrow]
        shape = broadcast_shapes(*shapes)
        if math.prod(shape) == elements(op.out.type):
            return
        numbers = [number_of(value, self.weights) if self._is_number(value) else None for value in narrow]
        operands = [
            value if number is None else rewriter.insert(scalar(number, value, self.weights)).out
            for value, number in zip(narrow, numbers, strict=True)
        ]
        result = tensor(shape, element_of(op.out)) if isinstance(op, Cast) else None
        rewriter.covers(*expands, op)
        inner = rewriter.insert(type(op).build(*operands, result=result, **op.own_parameters()))
        rewriter.replace(op, Expand.build(inner, result=tensor_type(op.out)))

    def _is_number(self, value: SSAValue) -> bool:
        return isinstance(value.owner, Constant) and number_of(value, self.weights) is not None


class DivideByPowerOfTwo(WithWeights):
    """x / c is x (1/c) when 1/c is exact."""

    roots = (Div,)

    def rewrite(self, op: Div, rewriter: Rewriter, /) -> None:
        number = number_of(op.operands[1], self.weights)
        if number is None or number == 0 or not is_float(op.element()):
            return
        if abs(math.frexp(number)[0]) == 0.5 and 2.0**-100 < abs(number) < 2.0**100 and _fits(1 / number, op):
            factor = rewriter.insert(scalar(1 / number, op.operands[1], self.weights))
            rewriter.replace(op, rewriter.insert(Mul.build(op.operands[0], _shaped(factor, op, rewriter))))


def _fits(number: float, op: GraphOp) -> bool:
    """True if ``number`` is a normal number of the op's element type."""
    return type_name(op.element()) != "f16" or 2.0**-14 <= abs(number) <= 2.0**15


def _shaped(constant: Constant, op: Binary, rewriter: Rewriter) -> SSAValue:
    """``constant`` of rank 0, or expanded as operand 1 is where the result takes its shape from it."""
    if shape_of(op.operands[0].type) == shape_of(op.out.type):
        return constant.out
    return rewriter.insert(Expand.build(constant, result=tensor_type(op.operands[1]))).out


class Reciprocals(WithWeights):
    """1 / x is a reciprocal, and that of a square root a reciprocal square root."""

    roots = (Div, Reciprocal)

    def rewrite(self, op: GraphOp, rewriter: Rewriter, /) -> None:
        if isinstance(op, Div):
            x = op.operands[1]
            if x.type == op.out.type and is_float(op.element()) and number_of(op.operands[0], self.weights) == 1:
                rewriter.replace(op, Reciprocal.build(x))
            return
        root = defining(op.operands[0], Sqrt)
        if root is not None and has_one_use(root.out):
            rewriter.covers(root, op)
            rewriter.replace(op, Rsqrt.build(root.operands[0]))


class Powers(WithWeights):
    """x to a power of 2, 3, 1/2, -1/2 or -1 is products, roots and reciprocals."""

    roots = (Pow,)

    def rewrite(self, op: Pow, rewriter: Rewriter, /) -> None:
        x, exponent = op.operands[0], number_of(op.operands[1], self.weights)
        if x.type != op.out.type or exponent is None:
            return
        simple: dict[float, type[GraphOp]] = {0.5: Sqrt, -0.5: Rsqrt, -1.0: Reciprocal}
        if exponent in (2, 3):
            square = Mul.build(x, x)
            if exponent == 3:
                square = Mul.build(rewriter.insert(square), x)
            rewriter.replace(op, square)
        elif exponent in simple and is_float(op.element()):
            rewriter.replace(op, simple[exponent].build(x))


class MaxWithZero(WithWeights):
    """max(x, 0) is relu."""

    roots = (Max,)

    def rewrite(self, op: Max, rewriter: Rewriter, /) -> None:
        x, other = op.operands
        if x.type == op.out.type and number_of(other, self.weights) == 0:
            rewriter.replace(op, Relu.build(x))


class ExtremaChain(WithWeights):
    """max(max(x, a), b) is max(x, max(a, b)), relu being max(x, 0); likewise min."""

    roots = (Max, Min, Relu)

    def rewrite(self, op: GraphOp, rewriter: Rewriter, /) -> None:
        kind: type[Max | Min] = Min if isinstance(op, Min) else Max
        outer, inner = self._bound(op, kind), self._inner(op.operands[0], kind)
        if outer is None or inner is None or op.operands[0].type != op.out.type:
            return
        x, bound = inner.operands[0], self._bound(inner, kind)
        if bound is None or x.type != op.out.type:
            return
        both = max(outer, bound) if kind is Max else min(outer, bound)
        rewriter.covers(inner, op)
        rewriter.replace(op, kind.build(x, rewriter.insert(scalar(both, x, self.weights))))

    def _bound(self, op: GraphOp, kind: type[Max | Min]) -> float | None:
        if isinstance(op, Relu):
            return 0
        return number_of(op.operands[1], self.weights) if isinstance(op, kind) else None

    @staticmethod
    def _inner(value: SSAValue, kind: type[Max | Min]) -> GraphOp | None:
        owner = value.owner
        fits = isinstance(owner, kind) or (kind is Max and isinstance(owner, Relu))
        return owner if fits and isinstance(owner, GraphOp) and has_one_use(value) else None


class SelectDecided(WithWeights):
    """A select with a constant condition is the side chosen, expanded to the result's shape."""

    roots = (Select,)

    def rewrite(self, op: Select, rewriter: Rewriter, /) -> None:
        decided = number_of(op.operands[0], self.weights)
        if decided is not None:
            rewriter.replace(op, Expand.build(op.operands[1 if decided else 2], result=tensor_type(op.out)))


class Negations(WithWeights):
    """a + -b is a - b, a - -b is a + b, -1 x is -x, |-x| is |x|, and not (a = b) is a != b."""

    roots = (Add, Sub, Mul, Abs, Not)

    def rewrite(self, op: GraphOp, rewriter: Rewriter, /) -> None:
        new: GraphOp | None = None
        last = op.operands[-1]
        inner = last.owner
        if isinstance(op, Add | Sub) and isinstance(inner, Neg):
            new = (Sub if isinstance(op, Add) else Add).build(op.operands[0], inner.operands[0])
        elif isinstance(op, Mul) and op.operands[0].type == op.out.type and number_of(last, self.weights) == -1:
            new = None if is_unsigned(op.element()) else Neg.build(op.operands[0])
        elif isinstance(op, Abs) and isinstance(inner, Neg) and not is_unsigned(op.element()):
            new = Abs.build(inner.operands[0])
        elif isinstance(op, Not) and isinstance(inner, Eq | Ne) and has_one_use(last):
            new = (Ne if isinstance(inner, Eq) else Eq).build(*inner.operands)
        if new is not None:
            if isinstance(inner, Neg | Eq | Ne):
                rewriter.covers(inner, op)
            rewriter.replace(op, new)


class ScaleChain(WithWeights):
    """x a b is x (a b) for numbers a and b whose product neither overflows nor vanishes."""

    roots = (Mul,)

    def rewrite(self, op: Mul, rewriter: Rewriter, /) -> None:
        inner = defining(op.operands[0], Mul)
        outer = number_of(op.operands[1], self.weights)
        if inner is None or outer is None or not has_one_use(inner.out):
            return
        found = with_number(inner, self.weights)
        if found is None or found[0].type != op.out.type:
            return
        x, number = found
        if is_float(op.element()):
            product = float(outer) * float(number)
            if product != 0 and not (2.0**-100 < abs(product) < 2.0**100 and _fits(product, op)):
                return
        else:
            width = 8 * byte_width(op.element())
            product = int(outer) * int(number) % (1 << width)
            product -= (1 << width) if product >= 1 << (width - 1) and not is_unsigned(op.element()) else 0
        rewriter.covers(inner, op)
        rewriter.replace(op, Mul.build(x, rewriter.insert(scalar(product, x, self.weights))))


class CastChain(Pattern):
    """A cast of a cast is one cast when the first loses nothing."""

    roots = (Cast,)

    def rewrite(self, op: Cast, rewriter: Rewriter, /) -> None:
        inner = defining(op.operands[0], Cast)
        if inner is None or not loses_nothing(type_name(inner.element()), type_name(element_of(inner.out))):
            return
        rewriter.covers(inner, op)
        x = inner.operands[0]
        if x.type == op.out.type:
            rewriter.replace(op, x)
        else:
            result = tensor(shape_of(x.type), element_of(op.out))
            rewriter.replace(op, Cast.build(x, result=result, saturate=op.saturate, rounding=op.rounding))


def loses_nothing(source: str, target: str) -> bool:
    """True if every value of element type ``source`` is a value of ``target``."""
    if source == target or source == "i1":
        return True
    if any(is_storage(element_type(name)) for name in (source, target)):
        return False
    precision = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}
    if source in precision:
        return target in ("f32", "f64") and precision[target] >= precision[source]
    bits = int(source.lstrip("ui"))
    bits -= not source.startswith("u")
    if target in precision:
        return bits <= precision[target]
    if target == "i1" or (target.startswith("u") and not source.startswith("u")):
        return False
    return bits <= int(target.lstrip("ui")) - (not target.startswith("u"))


def patterns(ctx: CompilerContext) -> list[Pattern]:
    """All patterns of this module, in the order they are tried."""
    own: list[type[WithWeights]] = [
        BroadcastOperand,
        NeutralBroadcast,
        ExpandLast,
        DivideByPowerOfTwo,
        Reciprocals,
        Powers,
        MaxWithZero,
        ExtremaChain,
        SelectDecided,
        Negations,
        ScaleChain,
    ]
    return [Fold(), ConstantSecond(), *(kind(ctx) for kind in own), CastChain()]
