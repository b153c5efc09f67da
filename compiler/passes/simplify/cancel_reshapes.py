"""Move reshapes that add axes towards the results, so that ops work on tensors of the least rank they can.

Before: any graph; exporters wrap every matrix product in reshapes from and to [batch, time, features]. After: an
elementwise op, a normalisation, softmax or slice that reads a reshape from a lower rank works on what was reshaped, and
its result is reshaped; there it meets the reshape that undoes it, and both are gone. A reshape moves no data, so other
operands are reshaped alike. Ranks only fall, so this ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp, element_of, elements
from penstock.compiler.dialects.graph.elementwise import Cast, Elementwise
from penstock.compiler.dialects.graph.matching import defining
from penstock.compiler.dialects.graph.normalization import LogSoftmax, Normalize, Softmax
from penstock.compiler.dialects.graph.shape import Reshape, Slice
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.passes.simplify.arithmetic import Fold
from penstock.compiler.passes.simplify.views import ReshapeChain, SliceChain
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite

Shape = tuple[int, ...]


@dataclass(frozen=True)
class CancelReshapes(ModulePass):
    """Reshapes sink and cancel."""

    name: ClassVar[str] = "cancel-reshapes"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns = [Fold(), ReshapeChain(), SliceChain(), ReshapedElements(), ReshapedAxes(), ReshapedSlice()]
        rewrite(cast(CompilerContext, ctx), op, patterns)


def common_tail(a: Shape, b: Shape) -> int:
    """How many last axes two shapes share."""
    count = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        count += 1
    return count


def raising(value: SSAValue) -> Reshape | None:
    """The reshape from a lower rank that gives ``value``, if there is one and it has elements."""
    op = defining(value, Reshape)
    fits = op is not None and len(op.shapes()[0]) < len(shape_of(value.type)) and elements(value.type) != 0
    return op if fits else None


class ReshapedElements(Pattern):
    """An elementwise op that reads a reshape, and otherwise full operands or ones that broadcast in the last axes."""

    roots = (Elementwise,)

    def rewrite(self, op: Elementwise, rewriter: Rewriter, /) -> None:
        full = shape_of(op.out.type)
        sources = [r for r in map(raising, op.operands) if r is not None and shape_of(r.out.type) == full]
        if not sources:
            return
        source = min(sources, key=lambda reshape: len(reshape.shapes()[0]))
        shape = source.shapes()[0]
        tail = common_tail(shape, full)
        others = [shape_of(value.type) for value in op.operands]
        if any(other != full and len(_without_leading_ones(other)) > tail for other in others):
            return
        operands = [self._lowered(value, shape, full, rewriter) for value in op.operands]
        element = element_of(op.out)
        result = tensor(shape, element) if isinstance(op, Cast) else None
        inner = rewriter.insert(type(op).build(*operands, result=result, **op.own_parameters()))
        rewriter.replace(op, Reshape.build(inner, result=tensor(full, element)))

    @staticmethod
    def _lowered(value: SSAValue, shape: Shape, full: Shape, rewriter: Rewriter) -> SSAValue:
        """An operand for the op on ``shape`` instead of ``full``."""
        found = shape_of(value.type)
        wanted = shape if found == full else _without_leading_ones(found)
        op = defining(value, Reshape)
        if op is not None and op.shapes()[0] == wanted:
            return op.operands[0]
        if found == wanted:
            return value
        return rewriter.insert(Reshape.build(value, result=tensor(wanted, element_of(value)))).out


def _without_leading_ones(shape: Sequence[int]) -> Shape:
    first = next((i for i, extent in enumerate(shape) if extent != 1), len(shape))
    return tuple(shape[first:])


class ReshapedAxes(Pattern):
    """A normalisation or softmax along axes that the reshape left alone."""

    roots = (Normalize, Softmax, LogSoftmax)

    def rewrite(self, op: Normalize | Softmax | LogSoftmax, rewriter: Rewriter, /) -> None:
        source = raising(op.operands[0])
        if source is None:
            return
        shape, full = source.shapes()[0], shape_of(op.out.type)
        axes, added = (op.axes if isinstance(op, Normalize) else (op.axis,)), len(full) - len(shape)
        if min(axes) < len(full) - common_tail(shape, full):
            return
        x = source.operands[0]
        inner: GraphOp
        if isinstance(op, Normalize):
            moved = [axis - added for axis in axes]
            inner = Normalize.build(x, axes=moved, epsilon=op.epsilon, center=op.center)
        else:
            inner = type(op).build(x, axis=op.axis - added)
        result = tensor(full, element_of(op.out))
        rewriter.replace(op, rewriter.insert(Reshape.build(rewriter.insert(inner), result=result)))


class ReshapedSlice(Pattern):
    """A slice that takes all of the axes that the reshape changed."""

    roots = (Slice,)

    def rewrite(self, op: Slice, rewriter: Rewriter, /) -> None:
        source = raising(op.operands[0])
        if source is None:
            return
        shape, before, after = source.shapes()[0], shape_of(source.out.type), shape_of(op.out.type)
        kept = common_tail(shape, before)
        lead = len(before) - kept
        if kept == 0 or after[:lead] != before[:lead] or any(step < 0 for step in op.steps[:lead]):
            return
        low = len(shape) - kept
        starts, steps = [0] * low + list(op.starts[lead:]), [1] * low + list(op.steps[lead:])
        result = tensor([*shape[:low], *after[lead:]], op.element())
        inner = rewriter.insert(Slice.build(source.operands[0], result=result, starts=starts, steps=steps))
        rewriter.replace(op, Reshape.build(inner, result=tensor(after, op.element())))
