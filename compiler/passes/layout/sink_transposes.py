"""Move transposes towards the results until they meet their inverses and vanish.

Before: transposes around the ops whose layout changed. After: they stand at inputs, outputs and where axes are really
needed in another order; elementwise ops, reductions, joins and pads in between work on the transposed tensors.

``cancel-transposes`` moves a transpose only where that costs nothing. Here convolutions have just been given transposes
on both sides, so one that many read sinks past each of them, and a small operand is transposed for it. The patterns
that need no such choice are those of phase simplify.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of, elements
from penstock.compiler.dialects.graph.elementwise import Elementwise
from penstock.compiler.dialects.graph.shape import Concat, Reshape, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.extents import typical
from penstock.compiler.passes.simplify.arithmetic import Fold
from penstock.compiler.passes.simplify.cancel_transposes import SinkThroughOne, inverse
from penstock.compiler.passes.simplify.views import TransposeChain, TransposeOfUnitAxes
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite


@dataclass(frozen=True)
class SinkTransposes(ModulePass):
    """See the module."""

    name: ClassVar[str] = "sink-transposes"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        merging = [Fold(), TransposeChain(), TransposeOfUnitAxes()]
        sinking = [SinkElementwise(), SinkConcat(), SinkThroughOne(shared=True), SinkReshape()]
        patterns = [*merging, *sinking]
        rewrite(cast(CompilerContext, ctx), op, patterns)


def source_of(value: SSAValue) -> Transpose | None:
    """The transpose that makes ``value``, if it is one that changes the order of axes."""
    owner = value.owner
    return owner if isinstance(owner, Transpose) else None


def _like(rewriter: Rewriter, value: SSAValue, permutation: tuple[int, ...]) -> SSAValue:
    """``value``, which broadcasts against a tensor transposed by ``permutation``, in the order before the transpose."""
    rank = len(permutation)
    shape = shape_of(value.type)
    if len(shape) <= rank and all(extent == 1 for extent in shape):
        return value
    padded = (1,) * (rank - len(shape)) + shape
    if len(shape) < rank:
        value = rewriter.insert(Reshape.build(value, result=tensor(padded, element_of(value)))).out
    return rewriter.insert(Transpose.build(value, permutation=inverse(permutation))).out


class SinkElementwise(Pattern):
    """f(transpose(x), transpose(y), small) = transpose(f(x, y, small'))."""

    roots = (Elementwise,)

    def rewrite(self, op: Elementwise, rewriter: Rewriter, /) -> None:
        shape = shape_of(op.out.type)
        full = [o for o in op.operands if shape_of(o.type) == shape]
        moved = [source for o in full if (source := source_of(o)) is not None]
        if not moved:
            return
        permutation = moved[0].permutation
        others = [o for o in op.operands if (source := source_of(o)) is None or source.permutation != permutation]
        if any(not _cheap(o, shape) for o in others) and len(moved) <= len([o for o in others if o in full]):
            return
        operands = [
            source.operands[0]
            if (source := source_of(o)) is not None and source.permutation == permutation
            else _like(rewriter, o, permutation)
            for o in op.operands
        ]
        result_shape = [shape[axis] for axis in inverse(permutation)]
        new = type(op).build(*operands, result=tensor(result_shape, element_of(op.out)), **op.own_parameters())
        rewriter.insert(new)
        rewriter.replace(op, Transpose.build(new.out, permutation=permutation))


def _cheap(value: SSAValue, shape: tuple[int, ...]) -> bool:
    """An operand that costs little to transpose: a constant, or much smaller than the result."""
    return isinstance(value.owner, Constant) or typical(8 * elements(value.type)) <= typical(math.prod(shape))


class SinkConcat(Pattern):
    """concat of tensors transposed alike is the transpose of their concat."""

    roots = (Concat,)

    def rewrite(self, op: Concat, rewriter: Rewriter, /) -> None:
        sources = [source_of(o) for o in op.operands]
        permutations = {source.permutation for source in sources if source is not None}
        if len(permutations) != 1 or any(
            s is None and not isinstance(o.owner, Constant) for s, o in zip(sources, op.operands, strict=True)
        ):
            return
        permutation = permutations.pop()
        operands = [
            source.operands[0] if source is not None else _like(rewriter, o, permutation)
            for source, o in zip(sources, op.operands, strict=True)
        ]
        new = rewriter.insert(Concat.build(*operands, axis=permutation[op.axis]))
        rewriter.replace(op, Transpose.build(new.out, permutation=permutation))


class SinkReshape(Pattern):
    """A reshape that only adds or drops unit axes passes a transpose of channels next to it."""

    roots = (Reshape,)

    def rewrite(self, op: Reshape, rewriter: Rewriter, /) -> None:
        source = source_of(op.operands[0])
        if source is None:
            return
        before, after = shape_of(op.operands[0].type), shape_of(op.out.type)
        if [e for e in before if e != 1] != [e for e in after if e != 1] or len(after) >= len(before):
            return
        kept = [axis for axis, extent in enumerate(before) if extent != 1]
        if len(kept) != len(after):
            return
        axes = [source.permutation[axis] for axis in kept]
        inner = shape_of(source.operands[0].type)
        plain = rewriter.insert(
            Reshape.build(source.operands[0], result=tensor([inner[a] for a in sorted(axes)], element_of(op.out)))
        )
        order = [sorted(axes).index(axis) for axis in axes]
        rewriter.replace(op, Transpose.build(plain.out, permutation=order))
