"""Positions: integer tensors that count along axes, as models build them to compare queries with keys.

In: a tensor of integers. Out: ``constant`` plus the sum of ``steps`` times the index along each axis, if it is that for
all sizes of a run. The one idea: masks made of such positions say the same at every size, so what they hide is known
although no size is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.elementwise import Add, Cast, Mul, Neg, Sub
from penstock.compiler.dialects.graph.extent import Extents
from penstock.compiler.dialects.graph.logic import Ge, Gt, Le, Lt
from penstock.compiler.dialects.graph.matching import number_of, with_number
from penstock.compiler.dialects.graph.shape import Expand, Iota, Reshape, Transpose
from penstock.compiler.dtypes import I32, I64, shape_of
from penstock.compiler.extents import Extent, surely
from penstock.compiler.weights import WeightStore

DEPTH = 12


@dataclass(frozen=True)
class Positions:
    """constant + sum of steps[axis] * index along axis, in a tensor of ``shape``."""

    constant: Extent
    steps: tuple[Extent, ...]
    shape: tuple[Extent, ...]

    def aligned(self, shape: tuple[Extent, ...]) -> Positions:
        """Broadcast, numpy-style, to ``shape``."""
        missing = len(shape) - len(self.shape)
        steps = [0 if extent == 1 else step for step, extent in zip(self.steps, self.shape, strict=True)]
        return Positions(self.constant, (*(0,) * missing, *steps), shape)

    def scaled(self, factor: int) -> Positions:
        """``factor`` times these."""
        return Positions(self.constant * factor, tuple(step * factor for step in self.steps), self.shape)

    def plus(self, other: Positions) -> Positions:
        """The sum, of one shape."""
        steps = tuple(a + b for a, b in zip(self.steps, other.steps, strict=True))
        return Positions(self.constant + other.constant, steps, self.shape)

    def never_above(self, bound: int) -> bool:
        """True if no position is greater than ``bound``, whatever the sizes."""
        most = self.constant
        for step, extent in zip(self.steps, self.shape, strict=True):
            if surely(step, ">=", 0):
                most = most + step * (extent - 1)
            elif not surely(step, "<=", 0):
                return False
        return surely(most, "<=", bound)


def positions_of(value: SSAValue, weights: WeightStore, depth: int = DEPTH) -> Positions | None:
    """What ``value`` counts, or None if it does something else."""
    op = value.owner
    if depth == 0 or not isinstance(op, GraphOp) or element_of(value) not in (I32, I64):
        return None
    shape = shape_of(value.type)
    number = number_of(value, weights)
    if number is not None:
        return Positions(int(number), (0,) * len(shape), shape)
    if isinstance(op, Iota):
        return Positions(0, tuple(int(axis == op.axis) for axis in range(len(shape))), shape)
    if isinstance(op, Extents):
        return Positions(op.values[0], (0,) * len(shape), shape) if len(op.values) == 1 else None
    operands = [positions_of(operand, weights, depth - 1) for operand in op.operands]
    if not operands or None in operands:
        return None
    return _combined(op, cast("list[Positions]", operands), shape, weights)


def _combined(
    op: GraphOp, operands: Sequence[Positions], shape: tuple[Extent, ...], weights: WeightStore
) -> Positions | None:
    first = operands[0]
    match op:
        case Cast():
            return first
        case Neg():
            return first.scaled(-1)
        case Expand():
            return first.aligned(shape)
        case Transpose():
            return Positions(first.constant, tuple(first.steps[axis] for axis in op.permutation), shape)
        case Reshape():
            return _reshaped(first, shape)
        case Add() | Sub():
            sign = 1 if isinstance(op, Add) else -1
            return first.aligned(shape).plus(operands[1].aligned(shape).scaled(sign))
        case Mul():
            found = with_number(op, weights)
            inner = None if found is None else operands[list(op.operands).index(found[0])]
            return None if found is None or inner is None else inner.aligned(shape).scaled(int(found[1]))
        case _:
            return None


def _reshaped(source: Positions, shape: tuple[Extent, ...]) -> Positions | None:
    """Unit axes added or dropped."""
    kept = [(step, extent) for step, extent in zip(source.steps, source.shape, strict=True) if extent != 1]
    if [extent for _, extent in kept] != [extent for extent in shape if extent != 1]:
        return None
    steps = iter(kept)
    return Positions(source.constant, tuple(0 if extent == 1 else next(steps)[0] for extent in shape), shape)


def excess(condition: SSAValue, weights: WeightStore, *, holds: bool) -> Positions | None:
    """Positions that are at most 0 just where a comparison of positions holds (or does not); None for others."""
    op = condition.owner
    if not isinstance(op, Lt | Le | Gt | Ge):
        return None
    left, right = (positions_of(operand, weights) for operand in op.operands)
    if left is None or right is None:
        return None
    shape = shape_of(op.out.type)
    difference = left.aligned(shape).plus(right.aligned(shape).scaled(-1))
    if isinstance(op, Gt | Ge):
        difference = difference.scaled(-1)
    strict = isinstance(op, Lt | Gt)
    if not holds:  # not (d <= 0) is -d + 1 <= 0
        difference, strict = difference.scaled(-1), not strict
    one = Positions(int(strict), (0,) * len(shape), shape)
    return difference.plus(one)
