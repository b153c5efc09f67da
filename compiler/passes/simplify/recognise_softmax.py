"""Recognise softmax, and its logarithm, written out as exponentials, sums and divisions.

Before: exp(x - max(x)) / sum(exp(x - max(x))), with or without the maximum, by division or by reciprocal; and
(x - max) - log(sum(exp(x - max))). After: graph.softmax and graph.log_softmax. Where a maximum was not subtracted the
new op does it, so that large x no longer overflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.elementwise import Div, Exp, Log, Mul, Reciprocal, Sub
from penstock.compiler.dialects.graph.matching import defining
from penstock.compiler.dialects.graph.normalization import LogSoftmax, Softmax
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Reshape
from penstock.compiler.dtypes import shape_of
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite


@dataclass(frozen=True)
class RecogniseSoftmax(ModulePass):
    """Softmax from its parts."""

    name: ClassVar[str] = "recognise-softmax"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(cast(CompilerContext, ctx), op, [SoftmaxFromParts(), LogSoftmaxFromParts()])


class SoftmaxFromParts(Pattern):
    """e / sum(e), or e times the reciprocal of sum(e), with e = exp(x - max(x)) or exp(x)."""

    roots = (Div, Mul)

    def rewrite(self, op: Div | Mul, rewriter: Rewriter, /) -> None:
        for numerator, other in _quotients(op):
            power, total = defining(numerator, Exp), reduction(other, "sum")
            if power is None or total is None or total.operands[0] is not numerator:
                continue
            if len(total.axes) != 1 or numerator.type != op.out.type or not kept(other, total):
                continue
            axis = total.axes[0]
            x, parts = without_maximum(power.operands[0], axis)
            rewriter.covers(*parts, power, total, op)
            rewriter.replace(op, Softmax.build(x, axis=axis))
            return


def _quotients(op: Div | Mul) -> list[tuple[SSAValue, SSAValue]]:
    """The ways to read ``op`` as numerator / denominator."""
    a, b = op.operands
    if isinstance(op, Div):
        return [(a, b)]
    sides = [(a, defining(b, Reciprocal)), (b, defining(a, Reciprocal))]
    return [(numerator, inverse.operands[0]) for numerator, inverse in sides if inverse is not None]


def reduction(value: SSAValue, kind: str) -> Reduce | None:
    """The reduction to ``kind`` that gives ``value``, perhaps through a reshape that restores the reduced axes."""
    reshape = defining(value, Reshape)
    op = defining(value if reshape is None else reshape.operands[0], Reduce)
    return op if op is not None and op.kind == kind else None


def kept(value: SSAValue, op: Reduce) -> bool:
    """True if ``value``, which ``reduction`` found to come from ``op``, has the reduced axes with extent 1."""
    shape = shape_of(op.operands[0].type)
    return shape_of(value.type) == tuple(1 if axis in op.axes else extent for axis, extent in enumerate(shape))


def without_maximum(value: SSAValue, axis: int) -> tuple[SSAValue, list[Operation]]:
    """x and the ops passed, if ``value`` is x - max(x) along ``axis``; else ``value`` itself."""
    difference = defining(value, Sub)
    if difference is not None:
        x, other = difference.operands
        greatest = reduction(other, "max")
        matches = greatest is not None and greatest.operands[0] is x and greatest.axes == (axis,)
        if greatest is not None and matches and kept(other, greatest):
            return x, [greatest, difference]
    return value, []


class LogSoftmaxFromParts(Pattern):
    """y - log(sum(exp(y))) with y = x - max(x) or any y."""

    roots = (Sub,)

    def rewrite(self, op: Sub, rewriter: Rewriter, /) -> None:
        y, other = op.operands
        logarithm = defining(other, Log)
        total = None if logarithm is None else reduction(logarithm.operands[0], "sum")
        if logarithm is None or total is None or len(total.axes) != 1 or y.type != op.out.type:
            return
        power = defining(total.operands[0], Exp)
        if power is None or power.operands[0] is not y or not kept(logarithm.operands[0], total):
            return
        x, parts = without_maximum(y, total.axes[0])
        rewriter.covers(*parts, power, total, logarithm, op)
        rewriter.replace(op, LogSoftmax.build(x, axis=total.axes[0]))
