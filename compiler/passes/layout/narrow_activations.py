"""Store what passes from kernel to kernel as bf16 where it is rounded anyway, at the precision ``bf16``.

Before: products of pairs read a rounded copy (``graph.cast``) of values that others, such as residual sums, read in
f32; depthwise and Winograd's convolutions and pools read f32. After: all of them read the rounded value, widened as it
is read, so that it is stored once, in half the bytes. The one idea: a value that passes through memory costs its bytes.

A value stays as it is where anything needs it in f32: a result of the model, or an op that would not widen it itself.
So do normalised values that a sum goes on from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue, Use
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.elementwise import Cast, Elementwise
from penstock.compiler.dialects.graph.normalization import Normalize
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.shape import Reshape
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dialects.graph.window import CHANNELS_LAST
from penstock.compiler.dialects.graph.winograd import WinogradConv
from penstock.compiler.dtypes import BF16, F32, shape_of, tensor
from penstock.compiler.precision import FULL, PRECISIONS, ROUNDED
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite

NORM_STEPS = 4
"""How many ops may stand between a normalisation and what it is the value of: factor, shift, and reshapes."""


@dataclass(frozen=True)
class NarrowActivations(ModulePass):
    """``precision``: one of ``f32``, ``bf16-weights`` and ``bf16``, in place of the compilation's."""

    name: ClassVar[str] = "narrow-activations"
    precision: str = ""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        precision = self.precision or cast(str, compiler.options.get("precision", FULL))
        if precision not in PRECISIONS:
            raise ValueError(f"a precision is one of {', '.join(PRECISIONS)}, not {precision}")
        if precision == ROUNDED:
            rewrite(compiler, op, [ShareRounded()])
            rewrite(compiler, op, [RoundWindowed()])


class ShareRounded(Pattern):
    """What products read rounded is read rounded by all."""

    roots = (Cast,)

    def rewrite(self, op: Cast, rewriter: Rewriter, /) -> None:
        if element_of(op.operands[0]) != F32 or element_of(op.out) != BF16:
            return
        if any(not isinstance(use.operation, Matmul | Conv) or not use.operation.pairs for use in op.out.uses):
            return
        source = _behind_reshapes(op.operands[0])
        others = [use for use in _uses(source) if use.operation is not op]
        shared = _is_computed(source) and not _is_normalised(source)
        if shared and others and all(_widens(use.operation) for use in others):
            rewriter.replace(op, _round_for(rewriter, source, others, shape_of(op.out.type)))


class RoundWindowed(Pattern):
    """What depthwise and Winograd's convolutions and pools read is stored as bf16."""

    roots = (Conv, WinogradConv, Pool)

    def rewrite(self, op: Conv | WinogradConv | Pool, rewriter: Rewriter, /) -> None:
        source = _behind_reshapes(op.operands[0])
        if not _slides(op) or element_of(source) != F32 or not _is_computed(source):
            return
        uses = list(_uses(source))
        if all(_widens(use.operation) for use in uses):
            _round_for(rewriter, source, uses, shape_of(source.type))


def _behind_reshapes(value: SSAValue) -> SSAValue:
    while isinstance(value.owner, Reshape):
        value = value.owner.operands[0]
    return value


def _uses(value: SSAValue) -> Iterator[Use]:
    """Uses of a value in any shape; those that only reshape it left out."""
    for use in value.uses:
        if isinstance(use.operation, Reshape):
            yield from _uses(use.operation.out)
        else:
            yield use


def _is_computed(value: SSAValue) -> bool:
    """Whether a kernel computes the value, which then can round it; a widened value is rounded already."""
    owner = value.owner
    return isinstance(owner, GraphOp) and not isinstance(owner, Constant | Cast)


def _is_normalised(value: SSAValue) -> bool:
    """Whether the value is a normalised one, scaled and shifted at most: sums in transformers go on from these from
    layer to layer, and rounding them doubles the error of the whole."""
    for _ in range(NORM_STEPS):
        if not isinstance(value.owner, Elementwise | Reshape):
            break
        value = value.owner.operands[0]
    return isinstance(value.owner, Normalize)


def _slides(op: Operation) -> bool:
    """Whether the op slides a window over its first operand and may widen that as it reads it."""
    if isinstance(op, Conv):
        return op.layout == CHANNELS_LAST and op.groups > 1 and shape_of(op.operands[1].type)[-2] == 1 and not op.panel
    if isinstance(op, Pool):
        return op.layout == CHANNELS_LAST and len(op.results) == 1
    return isinstance(op, WinogradConv)


def _widens(op: Operation) -> bool:
    """Whether the kernel of ``op`` widens what it reads."""
    if isinstance(op, Cast):
        return element_of(op.out) != BF16
    return isinstance(op, Elementwise | Normalize) or _slides(op)


def _round_for(rewriter: Rewriter, source: SSAValue, uses: list[Use], shape: tuple[int, ...]) -> SSAValue:
    """``source`` rounded, in ``shape``, right after what computes it; each of ``uses`` widens it."""
    before = source.owner.next_op if isinstance(source.owner, Operation) else None
    assert before is not None

    def insert(op: Cast | Reshape) -> SSAValue:
        return rewriter.insert(op, before=before).out

    value = source
    if shape_of(source.type) != shape:
        value = insert(Reshape.build(source, result=tensor(shape, F32)))
    rounded = insert(Cast.build(value, result=tensor(shape, BF16)))
    for use in uses:
        wanted, value = shape_of(use.operation.operands[use.index].type), rounded
        if wanted != shape:
            value = insert(Reshape.build(rounded, result=tensor(wanted, BF16)))
        rewriter.set_operand(use.operation, use.index, insert(Cast.build(value, result=tensor(wanted, F32))))
    return rounded
