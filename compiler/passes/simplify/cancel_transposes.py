"""Move transposes towards the results, through ops that do not mind, until they cancel or are read by one that does.

Before: any graph. After: no op that works on elements, or along named axes, reads a transpose where it could as well
read what was transposed: the op comes first and its result is transposed. A pair of transposes that meets on the way is
one, or none; transposes of constants are computed. Their number never rises, and none grows by broadcasting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp, element_of, elements
from penstock.compiler.dialects.graph.elementwise import Cast, Elementwise
from penstock.compiler.dialects.graph.matching import array_of, defining, has_one_use
from penstock.compiler.dialects.graph.normalization import LogSoftmax, Normalize, Softmax
from penstock.compiler.dialects.graph.reduction import Cumulative, Reduce
from penstock.compiler.dialects.graph.resize import Resize
from penstock.compiler.dialects.graph.shape import Concat, Pad, Slice, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.passes.simplify.arithmetic import Fold
from penstock.compiler.passes.simplify.views import ReshapeChain, TransposeChain, TransposeOfUnitAxes
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.weights import WeightStore

Permutation = tuple[int, ...]


@dataclass(frozen=True)
class CancelTransposes(ModulePass):
    """Transposes sink and cancel."""

    name: ClassVar[str] = "cancel-transposes"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        merging = [Fold(), TransposeChain(), TransposeOfUnitAxes(), ReshapeChain()]
        rewrite(context, op, [*merging, SinkThroughMany(context.weights), SinkThroughOne()])


def inverse(permutation: Sequence[int]) -> Permutation:
    """The permutation that undoes ``permutation``."""
    return tuple(int(axis) for axis in np.argsort(permutation))


def is_free(shape: Sequence[int], permutation: Sequence[int]) -> bool:
    """True if a transpose moves axes of extent 1 only."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)


class SinkThroughMany(Pattern):
    """An elementwise op or concat whose operands are all transposed alike (or constant, or cheap to move)."""

    roots = (Elementwise, Concat)

    def __init__(self, weights: WeightStore) -> None:
        self.weights = weights

    def rewrite(self, op: Elementwise | Concat, rewriter: Rewriter, /) -> None:
        transposes = [value.owner for value in op.operands if isinstance(value.owner, Transpose)]
        rank = len(shape_of(op.out.type))
        full = [t for t in transposes if len(t.permutation) == rank]
        if not full or not any(all(use.operation is op for use in t.out.uses) for t in full):
            return
        permutation = full[0].permutation
        if isinstance(op, Elementwise) and elements(full[0].out.type) != elements(op.out.type):
            return
        moved = [self._moved(value, permutation) for value in op.operands]
        if None in moved:
            return
        rewriter.covers(*dict.fromkeys(full), op)
        operands = [make(rewriter) for make in moved if make is not None]
        inner = rewriter.insert(_again(op, operands, permutation))
        rewriter.replace(op, Transpose.build(inner, permutation=permutation))

    def _moved(self, value: SSAValue, permutation: Permutation) -> Callable[[Rewriter], SSAValue] | None:
        """A function that makes ``value`` as it was before ``permutation``; None if that costs something."""
        shape = shape_of(value.type)
        padded = (1,) * (len(permutation) - len(shape)) + shape
        back = inverse(permutation)
        op = defining(value, Transpose)
        if op is not None and op.permutation == permutation:
            return lambda _: op.operands[0]
        if elements(value.type) == 1 and not shape:
            return lambda _: value
        if isinstance(value.owner, Constant):
            array: Any = array_of(value, self.weights)
            name = value.owner.key if "key" in value.owner.attributes else "constant"
            turned = array.reshape(padded).transpose(back)
            return lambda rewriter: rewriter.insert(Constant.of(turned, self.weights, name=name)).out
        if len(shape) == len(permutation) and is_free(shape, back):
            return lambda rewriter: rewriter.insert(Transpose.build(value, permutation=back)).out
        return None


def _again(op: Elementwise | Concat, operands: Sequence[SSAValue], permutation: Permutation) -> GraphOp:
    """``op`` on operands that are not transposed."""
    if isinstance(op, Concat):
        return Concat.build(*operands, axis=permutation[op.axis])
    element = element_of(op.out)
    result = tensor(shape_of(operands[0].type), element) if isinstance(op, Cast) else None
    return type(op).build(*operands, result=result, **op.own_parameters())


class SinkThroughOne(Pattern):
    """An op along named axes of a transposed operand works along the axes they were before.

    ``shared``: also where the transpose has other readers, which keep it. A softmax along the innermost axis then waits
    unless that axis was innermost before.
    """

    roots = (Reduce, Softmax, LogSoftmax, Normalize, Cumulative, Pad, Slice, Resize)

    def __init__(self, *, shared: bool = False) -> None:
        self.shared = shared

    def rewrite(self, op: GraphOp, rewriter: Rewriter, /) -> None:
        transpose = defining(op.operands[0], Transpose)
        if transpose is None or not (self.shared or has_one_use(transpose.out)):
            return
        x, permutation = transpose.operands[0], transpose.permutation
        if self.shared and isinstance(op, Softmax | LogSoftmax) and _leaves_innermost(op.axis, permutation):
            return
        if not self.shared:
            rewriter.covers(transpose, op)
        back = inverse(permutation)
        operands = [x, *op.operands[1:]]
        parameters = op.own_parameters()
        for name in ("starts", "steps", "low", "high", "scales"):
            if name in parameters:
                parameters[name] = [parameters[name][axis] for axis in back]
        if "region" in parameters:
            edges = parameters["region"]
            parameters["region"] = [edges[axis + half] for half in (0, len(back)) for axis in back]
        if "axes" in parameters:
            axes: Permutation = parameters["axes"]
            parameters["axes"] = sorted(permutation[axis] for axis in axes)
        if "axis" in parameters:
            parameters["axis"] = permutation[parameters["axis"]]
        result = None
        if isinstance(op, Slice | Resize):
            shape = shape_of(op.out.type)
            result = tensor([shape[axis] for axis in back], op.element())
        inner = rewriter.insert(type(op).build(*operands, result=result, **parameters))
        if isinstance(op, Reduce) and not op.keepdims:
            kept = [permutation[axis] for axis in range(len(permutation)) if axis not in op.axes]
            permutation = tuple(sorted(kept).index(axis) for axis in kept)
        rewriter.replace(op, Transpose.build(inner, permutation=permutation))


def _leaves_innermost(axis: int, permutation: Permutation) -> bool:
    """True if ``axis`` is the innermost one and was not before the transpose."""
    last = len(permutation) - 1
    return axis == last and permutation[axis] != last
