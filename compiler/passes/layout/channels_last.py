"""Give convolutions and pooling their channels-last form, with transposes at their borders.

Before: ``conv``, ``conv_transpose``, ``pool`` in layout channels_first. After: in layout channels_last, weights as
[taps..][C][O]; a 1x1 convolution without stride and pads is a matrix product over all positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.shape import Reshape, Transpose
from penstock.compiler.dialects.graph.window import CHANNELS_FIRST, CHANNELS_LAST
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite


@dataclass(frozen=True)
class ChannelsLast(ModulePass):
    """See the module."""

    name: ClassVar[str] = "channels-last"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(cast(CompilerContext, ctx), op, [ConvChannelsLast(), PoolChannelsLast(), PointwiseToMatmul()])


def to_last(rank: int) -> tuple[int, ...]:
    """The permutation from channels first to channels last."""
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The permutation from channels last to channels first."""
    return (0, rank - 1, *range(1, rank - 1))


class ConvChannelsLast(Pattern):
    """conv = transpose(conv(transpose(x), transpose(w)))."""

    roots = (Conv,)

    def rewrite(self, op: Conv, rewriter: Rewriter, /) -> None:
        if op.layout != CHANNELS_FIRST or op.panel:
            return
        x, w = op.operands
        rank = len(shape_of(x.type))
        moved = rewriter.insert(Transpose.build(x, permutation=to_last(rank)))
        weights = rewriter.insert(Transpose.build(w, permutation=(*range(2, rank), 1, 0)))
        new = Conv.build(moved, weights, **op.own_parameters(layout=CHANNELS_LAST))
        rewriter.insert(new)
        rewriter.replace(op, Transpose.build(new.out, permutation=to_first(rank)))


class PoolChannelsLast(Pattern):
    """pool = transpose(pool(transpose(x)))."""

    roots = (Pool,)

    def rewrite(self, op: Pool, rewriter: Rewriter, /) -> None:
        if op.layout != CHANNELS_FIRST:
            return
        rank = len(shape_of(op.operands[0].type))
        moved = rewriter.insert(Transpose.build(op.operands[0], permutation=to_last(rank)))
        new = rewriter.insert(Pool.build(moved, **op.own_parameters(layout=CHANNELS_LAST)))
        back = [rewriter.insert(Transpose.build(r, permutation=to_first(rank))) for r in new.results]
        rewriter.replace(op, *(b.out for b in back))


class PointwiseToMatmul(Pattern):
    """A convolution whose window is one element multiplies every position's channels by one matrix."""

    roots = (Conv,)

    def rewrite(self, op: Conv, rewriter: Rewriter, /) -> None:
        window = op.window()
        plain = (
            op.layout == CHANNELS_LAST
            and not op.panel
            and op.groups == 1
            and math.prod(window) == 1
            and set(op.strides) == {1}
            and not any((*op.pads_low, *op.pads_high))
        )
        if not plain:
            return
        x, w = op.operands
        *outer, channels = shape_of(x.type)
        features = shape_of(w.type)[-1]
        kind = element_of(x)
        rows = rewriter.insert(Reshape.build(x, result=tensor([math.prod(outer), channels], kind)))
        matrix = rewriter.insert(Reshape.build(w, result=tensor([channels, features], kind)))
        product = rewriter.insert(Matmul.build(rows, matrix))
        rewriter.replace(op, Reshape.build(product.out, result=tensor([*outer, features], kind)))
