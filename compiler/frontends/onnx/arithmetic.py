"""Arithmetic on values of the graph that reads like arithmetic: for parameters that a model is fed at run time.

In: small tensors (shapes, axes, pads, scales). Out: graph ops. The one idea: ``Value`` and ``Values`` have the names
and rules of numpy, so that a formula is written once and works on numbers known now and on those known later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Iota, Slice
from penstock.compiler.dtypes import I1, I64, tensor

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.node_context import Array, NodeContext

Operand: TypeAlias = "Value | Array | float | Sequence[int] | Sequence[float]"


class Value:
    """A tensor of the graph under numpy's operators; what it meets is converted to its element type."""

    __array_ufunc__ = None  # an array on the left leaves the operation to us

    def __init__(self, n: NodeContext, ssa: SSAValue) -> None:
        self.n, self.ssa = n, ssa

    @property
    def shape(self) -> tuple[int, ...]:
        return self.n.shape(self.ssa)

    def like(self, other: Operand) -> SSAValue:
        """``other`` as a tensor of this element type."""
        return other.ssa if isinstance(other, Value) else self.n.constant(other, element_of(self.ssa))

    def op(self, name: str, *operands: Operand) -> Value:
        """The graph op ``name`` on this and others."""
        others = (self.like(operand) for operand in operands)
        return Value(self.n, self.n.build(operation(name), self.ssa, *others))

    def __add__(self, other: Operand) -> Value:
        return self.op("add", other)

    def __radd__(self, other: Operand) -> Value:
        return self.op("add", other)

    def __sub__(self, other: Operand) -> Value:
        return self.op("sub", other)

    def __rsub__(self, other: Operand) -> Value:
        return Value(self.n, self.like(other)).op("sub", self)

    def __mul__(self, other: Operand) -> Value:
        return self.op("mul", other)

    def __rmul__(self, other: Operand) -> Value:
        return self.op("mul", other)

    def __truediv__(self, other: Operand) -> Value:
        """Integers are cut off towards zero."""
        return self.op("div", other)

    def __rtruediv__(self, other: Operand) -> Value:
        return Value(self.n, self.like(other)).op("div", self)

    def __neg__(self) -> Value:
        return self.op("neg")

    def __mod__(self, other: Operand) -> Value:
        """With the sign of the divisor."""
        return self.op("mod", other)

    def __lt__(self, other: Operand) -> Value:
        return self.op("lt", other)

    def __le__(self, other: Operand) -> Value:
        return self.op("le", other)

    def __gt__(self, other: Operand) -> Value:
        return self.op("gt", other)

    def __ge__(self, other: Operand) -> Value:
        return self.op("ge", other)

    def __and__(self, other: Operand) -> Value:
        return self.op("and", other)

    def __or__(self, other: Operand) -> Value:
        return self.op("or", other)

    def __getitem__(self, position: int) -> Value:
        """The element at ``position`` of the first axis."""
        rest = self.shape[1:]
        part = tensor([1, *rest], element_of(self.ssa))
        starts = [position, *[0] * len(rest)]
        return Value(
            self.n, self.n.build(Slice, self.ssa, starts=starts, steps=[1] * len(starts), result=part)
        ).reshape(rest)

    def reshape(self, shape: Sequence[int]) -> Value:
        return Value(self.n, self.n.reshape(self.ssa, shape))

    def cast(self, element: Attribute) -> Value:
        return Value(self.n, self.n.cast(self.ssa, element))

    def reduce(self, kind: str, axis: int | None = None, keepdims: bool = False) -> Value:
        """Along ``axis``, or over everything."""
        axes = tuple(range(len(self.shape))) if axis is None else (axis,)
        return Value(self.n, self.n.build(Reduce, self.ssa, kind=kind, axes=axes, keepdims=keepdims))

    def all(self) -> Value:
        return self.reduce("and")

    def any(self, axis: int | None = None) -> Value:
        return self.reduce("or", axis)

    def take(self, indices: SSAValue, axis: int) -> Value:
        return Value(self.n, self.n.build(Gather, self.ssa, indices, axis=axis))


class Values:
    """The functions of numpy that formulas shared with it use, on graph values."""

    @staticmethod
    def where(condition: Value, a: Operand, b: Operand) -> Value:
        n = condition.n
        chosen = a if isinstance(a, Value) else b
        if not isinstance(chosen, Value):
            raise TypeError("a choice between two plain numbers has no element type")
        return Value(n, n.build(operation("select"), condition.ssa, chosen.like(a), chosen.like(b)))

    @staticmethod
    def equal(a: Value, b: Operand) -> Value:
        return a.op("eq", b)

    @staticmethod
    def floor(a: Value) -> Value:
        return a.op("floor")

    @staticmethod
    def ceil(a: Value) -> Value:
        return a.op("ceil")

    @staticmethod
    def exp(a: Value) -> Value:
        return a.op("exp")

    @staticmethod
    def log(a: Value) -> Value:
        return a.op("log")

    @staticmethod
    def abs(a: Value) -> Value:
        return a.op("abs")

    @staticmethod
    def maximum(a: Value, b: Operand) -> Value:
        return a.op("max", b)

    @staticmethod
    def minimum(a: Value, b: Operand) -> Value:
        return a.op("min", b)

    @staticmethod
    def sum(a: Value, axis: int, keepdims: bool = False) -> Value:
        return a.reduce("sum", axis, keepdims)

    @staticmethod
    def reshape(a: Value, shape: Sequence[int]) -> Value:
        known = math.prod(extent for extent in shape if extent >= 0)
        return a.reshape([math.prod(a.shape) // known if extent < 0 else extent for extent in shape])


def counting(n: NodeContext, extent: int, element: Attribute = I64) -> Value:
    """0, 1, 2 ... ``extent`` - 1."""
    return Value(n, n.build(Iota, axis=0, result=tensor([extent], element)))


def truth(n: NodeContext, value: bool) -> Value:
    """A boolean known now."""
    return Value(n, n.constant(value, I1))
