"""Counting: results as long as their data says.

In: a tensor. Out: positions whose number is known only when the model runs. The one idea: the number is a *counted
symbol*: an extent that the op brings into being instead of an input, with an upper bound that follows from the
operands' shapes. Everything that uses the result treats it like any other symbol, whose range starts at 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, OpResult

from penstock.compiler.dialects.graph.base import Cost, GraphOp, Int, Tensor, element_of, elements, require
from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.dtypes import I64, shape_of, tensor
from penstock.compiler.extents import Extent, Symbol, is_static, surely, symbols_of, told_symbol

if TYPE_CHECKING:
    from xdsl.ir import SSAValue

    from penstock.compiler.dialects.graph.base import Array


class Counting(GraphOp):
    """Base: an op whose last result, one i64, is the number ``count`` that the extents of the others contain.

    ``count`` is a symbol of its own, or what that symbol was found to be equal to: another extent, which a run then
    has to meet.
    """

    count = Int(doc="the extent that is counted")

    @property
    def counts(self) -> bool:
        """True if the number is not known before the op has run."""
        return True

    def symbols(self) -> set[Symbol]:
        """The symbols in the result types and parameters, and inside."""
        return _own_symbols(self)

    def most(self) -> Extent:
        """The greatest number there can be."""
        raise NotImplementedError(self.name)


class NonZero(Counting):
    """Where x is not zero: the coordinates of those elements in row-major order, one row per axis of x; and how many
    there are (i64, as the coordinates). NaN is not zero."""

    name = "graph.non_zero"
    operand_names = ("x",)

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        require(len(shape) > 0, "graph.non_zero takes a tensor of rank 1 or more")
        require(not surely(self.count, "<", 0), f"{self.count} elements cannot be counted")
        return [tensor([len(shape), self.count], I64), tensor([1], I64)]

    def most(self) -> Extent:
        return math.prod(self.shapes()[0])

    def evaluate(self, *operands: Array) -> tuple[Array, Array]:
        places = np.array(np.nonzero(operands[0]), np.int64)
        return places, np.array([places.shape[1]], np.int64)

    def cost(self) -> Cost:
        return Cost(elements(self.operands[0].type), self.bytes_moved())


class Measure(Counting):
    """One number that a model computes, i64[1], taken for a size: the number itself, from the least that ``count`` can
    be to ``bound``. A run in which it is another ends with an error."""

    name = "graph.measure"
    operand_names = ("x",)
    bound = Int(doc="the greatest it can be")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        require(
            shape == (1,) and element_of(self.operands[0]) == I64, "graph.measure takes one i64 in a tensor of rank 1"
        )
        require(not surely(self.count, "<", 0), f"{self.count} is no size")
        return [tensor([1], I64)]

    def most(self) -> Extent:
        return self.bound

    def evaluate(self, *operands: Array) -> Array:
        return np.array(operands[0], np.int64)

    def cost(self) -> Cost:
        return Cost(0, self.bytes_moved())


def counted(op: Operation) -> list[tuple[Counting, OpResult]]:
    """The counting ops that ``op`` is or, a dispatch, holds; each with the result of ``op`` that is the number."""
    if isinstance(op, Counting):
        return [(op, op.results[-1])] if op.counts else []
    if not isinstance(op, Dispatch):
        return []
    inner = [each for each in op.body.ops if isinstance(each, Counting)]
    if not inner:
        return []
    where = dict(zip(op.terminator.operands, op.results, strict=True))
    return [(each, where[each.results[-1]]) for each in inner]


def counted_symbols(ops: Iterable[Operation], inputs: Iterable[SSAValue]) -> dict[Symbol, Extent]:
    """The symbols that counting ops among ``ops`` bring into being, with their upper bounds, in their order: those that
    the types of ``inputs`` do not tell already."""
    told = {symbol for value in inputs for extent in shape_of(value.type) for symbol in symbols_of(extent)}
    found: dict[Symbol, Extent] = {}
    for op in ops:
        for each, _ in counted(op):
            symbol = told_symbol(each.count)
            if symbol is not None and symbol not in told:
                found.setdefault(symbol, each.most())
    return found


def mentioned(op: Operation) -> set[Symbol]:
    """The symbols in the result types and parameters of ``op``, and of what is inside of it."""
    return op.symbols() if isinstance(op, Dispatch | Counting) else _own_symbols(op)


def _own_symbols(op: Operation) -> set[Symbol]:
    extents = [
        extent for result in op.results if isinstance(result.type, TensorType) for extent in shape_of(result.type)
    ]
    for name in getattr(op, "parameters", ()):
        value: Any = getattr(op, name)
        extents += list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else [value]
    return {symbol for extent in extents for symbol in symbols_of(extent)}


def is_needed(op: Operation) -> bool:
    """True if ``op`` counts something that another op of its block knows by its symbol, used or not, or measures what
    has to be a number that is known already."""
    if any(isinstance(each, Measure) and is_static((each.count,)) for each, _ in counted(op)):
        return True
    symbols = {symbol for each, _ in counted(op) for symbol in symbols_of(each.count)}
    if not symbols or op.parent is None:
        return False
    return any(symbols & mentioned(other) for other in _around(op))


def _around(op: Operation) -> Iterator[Operation]:
    """The other ops of its block: those after it, which know of what it counts if any do, then those before it."""
    other = op.next_op
    while other is not None:
        yield other
        other = other.next_op
    other = op.prev_op
    while other is not None:
        yield other
        other = other.prev_op
