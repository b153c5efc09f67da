"""Reductions and arg-reductions over any axes.

In: ``graph.reduce`` or ``graph.arg_reduce`` with its prologue. Out: a kernel with a unit per kept position (or strip
of kept lanes). The one idea: see ``reducing``; sums are taken in fixed order, so results do not depend on threads.
"""

from __future__ import annotations

import math
from typing import Any

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import I64, INDEX, is_float, is_unsigned
from penstock.compiler.passes.lower.evaluator import Coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule
from penstock.compiler.passes.lower.reducing import Reducer
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type


def lowest(kind: Attribute) -> float | int:
    """The least number of an element type (minus infinity for floats)."""
    if is_float(kind):
        return -math.inf
    assert isinstance(kind, IntegerType)
    return 0 if is_unsigned(kind) else -(1 << (kind.width.data - 1))


def highest(kind: Attribute) -> float | int:
    """The greatest number of an element type (infinity for floats); for unsigned ones its signless bit pattern."""
    if is_float(kind):
        return math.inf
    assert isinstance(kind, IntegerType)
    return -1 if is_unsigned(kind) else (1 << (kind.width.data - 1)) - 1


@schedule("reduction")
def lower_reduction(k: KernelLowering) -> None:
    """One unit per kept position or strip of kept positions."""
    op = k.root("graph.reduce", "graph.arg_reduce")
    if op.name == "graph.reduce":
        _reduce(k, op)
    else:
        _arg_reduce(k, op)


def kept_coordinates(at: Coordinates, axes: tuple[int, ...], keepdims: bool) -> Coordinates:
    """Coordinates of a reduction's result."""
    return at if keepdims else tuple(c for axis, c in enumerate(at) if axis not in axes)


def _reduce(k: KernelLowering, op: Any) -> None:
    x: SSAValue = op.operands[0]
    kind = element_of(x)
    extents = k.e.shape(x)
    unsigned = "u" if not is_float(kind) and is_unsigned(kind) else ""
    name, identity = {
        "sum": ("add", 0),
        "prod": ("mul", 1),
        "max": ("max" + unsigned, lowest(kind) if op.kind == "max" else 0),
        "min": ("min" + unsigned, highest(kind) if op.kind == "min" else 0),
        "and": ("and", 1),
        "or": ("or", 0),
    }[op.kind]
    reducer = Reducer(k, extents, op.axes)
    start = k.b.constant(identity, register_type(kind))

    def row(at: Coordinates) -> None:
        (total,) = reducer.reduce(at, [(name, start)], lambda here: [k.e.value(x, here).value])
        k.finish(op.out, kept_coordinates(at, op.axes, op.keepdims), Typed(total, kind))

    reducer.rows(k.elementwise_cost(reducer.count * (reducer.width if reducer.along else 1)), row)


def _arg_reduce(k: KernelLowering, op: Any) -> None:
    x: SSAValue = op.operands[0]
    kind = element_of(x)
    extents = k.e.shape(x)
    wide = [axis for axis, extent in enumerate(extents) if extent not in (0, 1)]
    reducer = Reducer(k, extents, (op.axis,), vectors=1, scalar=bool(wide) and wide[-1] == op.axis)
    predicate = ("ge" if op.select_last else "gt") if op.kind == "max" else ("le" if op.select_last else "lt")
    predicate += "u" if not is_float(kind) and is_unsigned(kind) else ""

    def row(at: Coordinates) -> None:
        first = k.e.value(x, at).value
        lanes = k.e.tile.extents
        first = k.b.broadcast(first, lanes) if lanes else first
        zero = k.b.splat(0, lanes, INDEX) if lanes else k.b.constant(0, INDEX)

        def step(here: Coordinates, best: Any) -> list[SSAValue]:
            value, (leader, index) = k.e.value(x, here).value, best
            better = k.b.compare(predicate, value, leader)
            if is_float(kind):
                leader_is_number = k.b.compare("eq", leader, leader)
                better = k.b.binary("or_", better, k.b.compare("ne", value, value))
                if not op.select_last:
                    better = k.b.binary("and_", better, leader_is_number)
            position = k.b.index(k.e.scalar(here[op.axis]))
            chosen = k.b.select(better, value, leader), k.b.select(better, position, index)
            return [k.b.broadcast(c, lanes) if lanes else c for c in chosen]

        _, index = reducer.carry(at, [first, zero], step)
        k.finish(op.out, kept_coordinates(at, (op.axis,), op.keepdims), Typed(k.b.cast(index, I64), I64))

    reducer.rows(k.elementwise_cost(reducer.count * 4), row)
