"""Store the weights of matrix products, convolutions and recurrences, and tables of gathers, as bf16.

Before: f32 constants of ``least`` elements or more, packed where kernels read panels. After, where the option
``precision`` asks for it: the same rounded to nearest even; kernels widen what they read, and sums stay f32. A gather
reads the narrow table and its rows are cast. Everything else, such as biases and weights of norms, stays f32, and so
do transformed weights of Winograd's filtering, whose transform would multiply the rounding. At the precision ``bf16``
what products and convolutions multiply weights with is rounded too, and weights lie in pairs along the inner axis; so
is what attention multiplies.

Numbers whose magnitude rounds beyond bf16's greatest (3.39e38) become infinite; NaN stays NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import element_of, elements, tensor_type
from penstock.compiler.dialects.graph.contraction import Matmul, pair_rows
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.elementwise import Cast
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.recurrence import Recurrent
from penstock.compiler.dialects.graph.shape import Pad, Reshape, Slice, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import BF16, F32, numpy_dtype, shape_of, tensor
from penstock.compiler.extents import quotient, typical
from penstock.compiler.precision import FULL, PRECISIONS, ROUNDED
from penstock.compiler.releasing import Releasing
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite

MANY_COLUMNS = 16
"""With fewer, padding takes longer than multiplying pairs saves."""
FEW_QUERIES = 16
"""With fewer, preparing keys and values takes longer than their products."""


@dataclass(frozen=True)
class NarrowWeights(ModulePass):
    """``precision``: one of ``f32``, ``bf16-weights`` and ``bf16``, in place of the compilation's. ``least``: how many
    elements a constant has that is worth it."""

    name: ClassVar[str] = "narrow-weights"
    precision: str = ""
    least: int = 1024

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        precision = self.precision or cast(str, compiler.options.get("precision", FULL))
        if precision not in PRECISIONS:
            raise ValueError(f"a precision is one of {', '.join(PRECISIONS)}, not {precision}")
        if precision != FULL:
            releasing = Releasing(compiler.weights, op)
            if precision == ROUNDED:
                rewrite(compiler, op, [PairOperands(compiler, releasing, -(-self.least // 8)), PairAttention()])
            kinds = (NarrowOperand, NarrowRecurrent, NarrowTable)
            rewrite(compiler, op, [kind(compiler, releasing, self.least) for kind in kinds])


class _Narrowing(Pattern):
    def __init__(self, ctx: CompilerContext, releasing: Releasing, least: int) -> None:
        self.ctx, self.releasing, self.least = ctx, releasing, least

    def is_worth_it(self, value: SSAValue) -> bool:
        """Whether ``value`` is a constant of f32 that is large."""
        return isinstance(value.owner, Constant) and element_of(value) == F32 and elements(value.type) >= self.least

    def narrowed(self, rewriter: Rewriter, value: SSAValue, *, pairs: bool = False) -> SSAValue | None:
        """``value`` as a constant of bf16, its last but one axis in ``pairs``; None if it is not worth it."""
        old = value.owner
        if not isinstance(old, Constant) or not self.is_worth_it(value):
            return None
        array = old.array(self.ctx.weights)
        with np.errstate(over="ignore"):
            narrow = array.astype(numpy_dtype(BF16))
        if pairs:
            narrow = pair_rows(_with_even_rows(narrow))
        name = old.key if "key" in old.attributes else "constant"
        made = Constant.of(narrow, self.ctx.weights, name=name, location=old.location)
        self.ctx.statistics["weights in bf16"] += 1
        return rewriter.insert(self.releasing.made(made)).out


def _with_even_rows(packed: NDArray[Any]) -> NDArray[Any]:
    """``[..., K, P]`` with a row of zeros after an odd K."""
    widths = [(0, 0)] * packed.ndim
    widths[-2] = (0, packed.shape[-2] % 2)
    return np.pad(packed, widths)


class PairOperands(_Narrowing):
    """Packed products and convolutions multiply pairs of bf16: weights are stored in pairs, and the other operand is
    rounded, once for all that read it. What computes it stores it so. Odd inner extents get a zero more."""

    roots = (Matmul, Conv)

    def __init__(self, ctx: CompilerContext, releasing: Releasing, least: int) -> None:
        super().__init__(ctx, releasing, least)
        self.rounded: dict[tuple[Block | None, SSAValue], SSAValue] = {}

    def rewrite(self, op: Matmul | Conv, rewriter: Rewriter, /) -> None:
        x, old = op.operands
        packed = op.b_panel if isinstance(op, Matmul) else op.panel and op.groups == 1
        if not packed or element_of(x) != F32 or not self.is_worth_it(old) or not _pays_padding(op):
            return
        key = (op.parent, x)
        if key not in self.rounded:
            self.rounded[key] = self._rounded(rewriter, x)
        new = self.narrowed(rewriter, old, pairs=True)
        assert new is not None
        rewriter.replace(op, type(op).build(self.rounded[key], new, **op.own_parameters(pairs=True)))
        self.releasing.replaced([old])

    def _rounded(self, rewriter: Rewriter, x: SSAValue) -> SSAValue:
        """``x`` rounded, with a zero after an odd number of elements along the inner axis."""
        *outer, inner = shape_of(x.type)
        if inner % 2:
            zero = rewriter.insert(Constant.of(np.zeros((), np.float32), self.ctx.weights)).out
            none = (0,) * len(outer)
            x = rewriter.insert(Pad.build(x, zero, low=(*none, 0), high=(*none, 1))).out
        return rewriter.insert(Cast.build(x, result=tensor(shape_of(x.type), BF16))).out


def _pays_padding(op: Matmul | Conv) -> bool:
    """Whether the inner extent is even, or there are columns enough for a copy of what they are computed from."""
    return shape_of(op.operands[1].type)[-2] % 2 == 0 or typical(shape_of(op.out.type)[-1]) >= MANY_COLUMNS


class PairAttention(Pattern):
    """Attention of many queries whose width is even multiplies pairs of bf16. Its operands are rounded behind the views
    that cut them into heads, so that what computes them stores them so."""

    roots = (Attention,)

    def __init__(self) -> None:
        self.rounded: dict[SSAValue, SSAValue] = {}

    def rewrite(self, op: Attention, rewriter: Rewriter, /) -> None:
        *_, queries, width = shape_of(op.operands[0].type)
        if op.pairs or element_of(op.out) != F32 or typical(queries) < FEW_QUERIES or quotient(width, 2) is None:
            return
        operands = [self._narrow(rewriter, value) for value in op.operands[:3]]
        rewriter.replace(op, Attention.build(*operands, *op.operands[3:], **op.own_parameters(pairs=True)))

    def _narrow(self, rewriter: Rewriter, value: SSAValue) -> SSAValue:
        views: list[Reshape | Transpose | Slice] = []
        while isinstance(value.owner, Reshape | Transpose | Slice):
            views.append(value.owner)
            value = value.owner.operands[0]
        if value not in self.rounded:
            following = value.owner.next_op if isinstance(value.owner, Operation) else value.owner.first_op
            cast = Cast.build(value, result=tensor(shape_of(value.type), BF16))
            self.rounded[value] = rewriter.insert(cast, before=following).out
        return _seen(rewriter, self.rounded[value], views)


def _seen(rewriter: Rewriter, value: SSAValue, views: list[Reshape | Transpose | Slice]) -> SSAValue:
    """``value`` of bf16 behind the same views, of which the last was applied first."""
    for view in reversed(views):
        parameters = view.own_parameters()
        if not isinstance(view, Transpose):
            parameters["result"] = tensor(shape_of(view.out.type), BF16)
        value = rewriter.insert(type(view).build(value, **parameters)).out
    return value


class NarrowOperand(_Narrowing):
    """The right operand of a matrix product, the weights of a convolution."""

    roots = (Matmul, Conv)

    def rewrite(self, op: Matmul | Conv, rewriter: Rewriter, /) -> None:
        old = op.operands[1]
        if element_of(op.operands[0]) != F32 or (isinstance(op, Conv) and op.groups > 1):
            return
        new = self.narrowed(rewriter, old)
        if new is not None:
            rewriter.set_operand(op, 1, new)
            self.releasing.replaced([old])


class NarrowRecurrent(_Narrowing):
    """The weights of a recurrence, behind the views that say how they are stored."""

    roots = (Recurrent,)

    def rewrite(self, op: Recurrent, rewriter: Rewriter, /) -> None:
        for name in ("w", "r"):
            index = op.operand_names.index(name)
            views: list[Reshape | Transpose | Slice] = []
            source = op.operands[index]
            while isinstance(source.owner, Reshape | Transpose):
                views.append(source.owner)
                source = source.owner.operands[0]
            new = self.narrowed(rewriter, source)
            if new is None:
                continue
            rewriter.set_operand(op, index, _seen(rewriter, new, views))
            self.releasing.replaced([source])


class NarrowTable(_Narrowing):
    """The table that a gather takes rows from."""

    roots = (Gather,)

    def rewrite(self, op: Gather, rewriter: Rewriter, /) -> None:
        old = op.operands[0]
        new = self.narrowed(rewriter, old)
        if new is not None:
            rows = rewriter.insert(Gather.build(new, op.operands[1], axis=op.axis))
            rewriter.replace(op, Cast.build(rows.out, result=tensor_type(op.out)))
            self.releasing.replaced([old])
