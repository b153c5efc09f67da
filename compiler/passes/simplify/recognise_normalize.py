"""Recognise layer, instance and RMS normalisation written out as means, squares and roots.

Before: x / sqrt(mean(x^2) + e) and (x - mean(x)) / sqrt(mean((x - mean(x))^2) + e), by division, by reciprocal or by
reciprocal root; a mean is a sum divided by (or multiplied by one over) the number of elements. After:
graph.normalize; scale and bias stay mul and add. Casts of half precision to f32 around it, which it does itself, go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.elementwise import Add, Cast, Div, Mul, Pow, Reciprocal, Rsqrt, Sqrt, Sub
from penstock.compiler.dialects.graph.matching import defining, has_one_use, number_of, with_number
from penstock.compiler.dialects.graph.normalization import Normalize
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dtypes import BF16, F16, F32, shape_of
from penstock.compiler.passes.simplify.recognise_softmax import kept, reduction
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.weights import WeightStore


@dataclass(frozen=True)
class RecogniseNormalize(ModulePass):
    """Normalisation from its parts: first without, then with the mean subtracted."""

    name: ClassVar[str] = "recognise-normalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        rewrite(context, op, [RootMeanSquare(context), MeanSubtracted(context), HalfPrecision()])


@dataclass
class Mean:
    """A mean of ``x`` along ``axes``, which stay with extent 1, and the ops that compute it."""

    x: SSAValue
    axes: tuple[int, ...]
    ops: list[Operation]


def mean_of(value: SSAValue, weights: WeightStore) -> Mean | None:
    """``value`` read as the mean of something: a sum over n elements times 1/n, in either order with a reshape."""
    op = value.owner
    total: Reduce | None = None
    count = 0.0
    if isinstance(op, Div):
        total, count = reduction(op.operands[0], "sum"), number_of(op.operands[1], weights) or 0.0
        shaped = op.operands[0]
    elif isinstance(op, Mul) and (found := with_number(op, weights)) is not None:
        shaped, factor = found
        total, count = reduction(shaped, "sum"), 1 / factor if factor else 0.0
    else:
        return None
    if total is None or value.type != shaped.type or not kept(shaped, total):
        return None
    n = math.prod(shape_of(total.operands[0].type)[axis] for axis in total.axes)
    return Mean(total.operands[0], total.axes, [total, op]) if math.isclose(count, n, rel_tol=1e-6) else None


def square_of(value: SSAValue, weights: WeightStore) -> SSAValue | None:
    """x if ``value`` is x x, or x to the power of 2."""
    op = value.owner
    if isinstance(op, Mul) and op.operands[0] is op.operands[1]:
        return op.operands[0]
    squared = isinstance(op, Pow) and number_of(op.operands[1], weights) == 2
    return op.operands[0] if squared and isinstance(op, Pow) else None


class RootMeanSquare(Pattern):
    """x over the root of mean(x^2) + epsilon."""

    roots = (Div, Mul)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: Div | Mul, rewriter: Rewriter, /) -> None:
        for x, variance, roots in _over_root(op):
            added = defining(variance, Add)
            found = None if added is None else with_number(added, self.weights)
            average = None if found is None else mean_of(found[0], self.weights)
            if added is None or found is None or average is None or x.type != op.out.type:
                continue
            if square_of(average.x, self.weights) is not x:
                continue
            square = average.x.owner
            assert isinstance(square, Operation)
            rewriter.covers(square, *average.ops, added, *roots, op)
            rewriter.replace(op, Normalize.build(x, axes=average.axes, epsilon=float(found[1]), center=False))
            return


def _over_root(op: Div | Mul) -> list[tuple[SSAValue, SSAValue, list[Operation]]]:
    """The ways to read ``op`` as x / sqrt(v): x, v and the ops between."""
    a, b = op.operands
    if isinstance(op, Div):
        root = defining(b, Sqrt)
        return [] if root is None else [(a, root.operands[0], [root])]
    ways: list[tuple[SSAValue, SSAValue, list[Operation]]] = []
    for x, inverse in ((a, b.owner), (b, a.owner)):
        if isinstance(inverse, Rsqrt):
            ways.append((x, inverse.operands[0], [inverse]))
        elif isinstance(inverse, Reciprocal) and (root := defining(inverse.operands[0], Sqrt)) is not None:
            ways.append((x, root.operands[0], [root, inverse]))
    return ways


class MeanSubtracted(Pattern):
    """A normalisation of x - mean(x) along the same axes subtracts the mean itself."""

    roots = (Normalize,)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: Normalize, rewriter: Rewriter, /) -> None:
        difference = defining(op.operands[0], Sub)
        if difference is None:
            return
        x, other = difference.operands
        average = mean_of(other, self.weights)
        if average is None or average.x is not x or sorted(average.axes) != sorted(op.axes) or x.type != op.out.type:
            return
        rewriter.covers(*average.ops, difference, op)
        rewriter.replace(op, Normalize.build(x, axes=op.axes, epsilon=op.epsilon))


class HalfPrecision(Pattern):
    """A normalisation of half precision computes in f32 by itself."""

    roots = (Cast,)

    def rewrite(self, op: Cast, rewriter: Rewriter, /) -> None:
        inner = defining(op.operands[0], Normalize)
        before = None if inner is None else defining(inner.operands[0], Cast)
        if inner is None or before is None or not has_one_use(inner.out):
            return
        x = before.operands[0]
        if x.type == op.out.type and element_of(x) in (F16, BF16) and element_of(before.out) == F32:
            rewriter.covers(before, inner, op)
            rewriter.replace(op, Normalize.build(x, axes=inner.axes, epsilon=inner.epsilon, center=inner.center))
