"""The greatest value that integers can have, where it follows from how they are computed.

In: a value of the graph under construction. Out: an extent no element of it exceeds. The one idea: positions and
numbers of things that are counted are at most as many as there are; what else there is only passes values on.
"""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.elementwise import Cast, Max, Min
from penstock.compiler.dialects.graph.index import Gather, GatherElements, GatherNd
from penstock.compiler.dialects.graph.logic import Select
from penstock.compiler.dialects.graph.reduction import ArgReduce, Cumulative, Reduce
from penstock.compiler.dialects.graph.shape import Concat, Expand, Iota, Reshape, Slice, Transpose
from penstock.compiler.dtypes import I1, is_float, is_unsigned, shape_of
from penstock.compiler.extents import MOST, Extent, largest, smallest
from penstock.compiler.frontends.onnx.static_values import StaticValues

DEEPEST = 32
FIRST = (Expand, Gather, GatherElements, GatherNd, Reshape, Slice, Transpose)  # give elements of their first operand


def greatest(static: StaticValues, value: SSAValue) -> Extent:
    """An upper bound of the elements of ``value``; MOST where none is known."""
    return _greatest(static, value, {}, DEEPEST)


def _greatest(static: StaticValues, value: SSAValue, found: dict[SSAValue, Extent], depth: int) -> Extent:
    """The same, looked for ``depth`` ops deep; ``found`` are the bounds of values that have been met before."""
    if value not in found:
        found[value] = _bound(static, value, found, depth)
    return found[value]


def _bound(static: StaticValues, value: SSAValue, found: dict[SSAValue, Extent], depth: int) -> Extent:
    def of(operand: SSAValue) -> Extent:
        return _greatest(static, operand, found, depth - 1)

    if element_of(value) == I1:
        return 1
    known = static.of(value)
    if known is not None and known.size and (known.dtype == object or known.dtype.kind in "iu"):
        return largest(*known.reshape(-1).tolist()) if known.size <= 64 else MOST
    op = value.owner
    if depth == 0 or not isinstance(op, GraphOp) or is_float(element_of(value)):
        return MOST
    match op:
        case ArgReduce():
            return largest(shape_of(op.operands[0].type)[op.axis] - 1, 0)
        case Iota():
            return largest(shape_of(value.type)[op.axis] - 1, 0)
        case Reduce() if op.kind in ("max", "min"):
            return of(op.operands[0])
        case Reduce() if op.kind == "sum" and of(op.operands[0]) == 1:
            shape = shape_of(op.operands[0].type)
            return math.prod(shape[axis] for axis in op.axes)
        case Cumulative() if op.kind == "sum" and of(op.operands[0]) == 1:
            return shape_of(value.type)[op.axis]
        case Cast() if not is_float(before := element_of(op.operands[0])):
            wraps = is_unsigned(element_of(value)) and not is_unsigned(before)  # of a negative number
            return MOST if wraps else of(op.operands[0])
        case Min():
            return smallest(*map(of, op.operands))
        case Max() | Concat():
            return largest(*map(of, op.operands))
        case Select():
            return largest(*map(of, op.operands[1:]))
        case _ if isinstance(op, FIRST):
            return of(op.operands[0])
        case _:
            return MOST
