"""Fold scales and shifts by constants into the weights and biases of convolutions and matrix products.

Before: conv, conv_transpose or matmul with constant weights, and around it mul, add, sub, div by constants that have
one number per channel (what is left of batch normalisation, of scale layers, of the affine part of a normalisation).
After: the numbers are part of the weights, and at most one add of a bias follows. A scale before is folded when it goes
to such ops alone; a shift before only where exact, that is when nothing is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv, ConvTranspose
from penstock.compiler.dialects.graph.elementwise import Add, Div, Mul, Sub
from penstock.compiler.dialects.graph.matching import array_of, defining, has_one_use, rebuilt
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dialects.graph.window import CHANNELS_FIRST
from penstock.compiler.dtypes import is_float, numpy_dtype, shape_of
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.tied import holds, tables
from penstock.compiler.weights import WeightStore

Contraction = Conv | ConvTranspose | Matmul


@dataclass(frozen=True)
class FoldBatchNorm(ModulePass):
    """Scales and shifts into weights."""

    name: ClassVar[str] = "fold-batch-norm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        weights = cast(CompilerContext, ctx).weights
        first = [kind(weights) for kind in (UsualForm, ScaleAfter, ShiftAfter)]
        patterns = [*first, ScaleBefore(weights, tables(op)), ShiftBefore(weights)]
        rewrite(cast(CompilerContext, ctx), op, patterns)


class Folding(Pattern):
    """Base: what the patterns ask about a contraction."""

    def __init__(self, weights: WeightStore) -> None:
        self.weights = weights

    def contraction(self, value: SSAValue) -> Contraction | None:
        """The contraction that gives ``value``, if nothing else uses it and its weights are constants of its own."""
        op = value.owner
        return op if isinstance(op, Contraction) and has_one_use(value) and self.is_foldable(op) else None

    def is_foldable(self, op: Contraction) -> bool:
        """True if weights are constant, not packed, floating-point, and used by ``op`` alone."""
        w = op.operands[1]
        packed = (isinstance(op, Matmul) and op.b_panel) or (isinstance(op, Conv) and op.panel)
        return isinstance(w.owner, Constant) and has_one_use(w) and is_float(op.element()) and not packed

    def array(self, value: SSAValue) -> Any:
        """The array of a constant, or None."""
        return array_of(value, self.weights)

    def vector(self, value: SSAValue, like: SSAValue, axis: int) -> Any:
        """A constant that differs along ``axis`` of ``like`` only, as one number per channel [C]; else None."""
        array = self.array(value)
        shape = shape_of(like.type)
        if array is None or array.ndim > len(shape):
            return None
        extents = (1,) * (len(shape) - array.ndim) + array.shape
        if any(extent not in ((1, shape[i]) if i == axis else (1,)) for i, extent in enumerate(extents)):
            return None
        return np.broadcast_to(array.reshape(-1), (shape[axis],))

    def constant(self, array: Any, like: SSAValue, rewriter: Rewriter) -> SSAValue:
        """A new constant, named as the constant ``like`` and of its element type."""
        owner = like.owner
        name = owner.key if isinstance(owner, Constant) and "key" in owner.attributes else "constant"
        dtype = numpy_dtype(cast(Any, like.type).element_type)
        return rewriter.insert(Constant.of(np.asarray(array).astype(dtype), self.weights, name=name)).out

    def bias(self, vector: Any, op: Contraction, rewriter: Rewriter) -> SSAValue:
        """A constant [C] shaped so that it broadcasts along the output channels of ``op``."""
        rank, axis = len(shape_of(op.out.type)), output_axis(op)
        return self.constant(vector.reshape(-1, *[1] * (rank - axis - 1)), op.operands[1], rewriter)

    def with_weights(self, op: Contraction, w: Any, rewriter: Rewriter) -> GraphOp | None:
        """``op`` on its first operand with the weights ``w``; None if they are not finite in its element type."""
        with np.errstate(over="ignore"):
            finite = np.isfinite(w.astype(numpy_dtype(op.element()))).all()
        if not finite:
            return None
        return rewriter.insert(rebuilt(op, [op.operands[0], self.constant(w, op.operands[1], rewriter)]))


def output_axis(op: Contraction) -> int:
    """The axis of the result along which output channels, or columns, lie."""
    rank = len(shape_of(op.out.type))
    return rank - 1 if isinstance(op, Matmul) or op.layout != CHANNELS_FIRST else 1


def input_axis(op: Contraction) -> int:
    """The axis of the first operand along which input channels, or columns, lie."""
    rank = len(op.shapes()[0])
    return rank - 1 if isinstance(op, Matmul) or op.layout != CHANNELS_FIRST else 1


def scaled_outputs(op: Contraction, w: Any, factors: Any) -> Any:
    """Weights that give the result of ``op`` with output channel o multiplied by ``factors[o]``."""
    if isinstance(op, Matmul):
        return _product(w, factors)
    rows = _by_row if isinstance(op, Conv) else _by_group
    return _times(op, w, rows(factors, op.groups, _channels_first(op, w)))


def scaled_inputs(op: Contraction, w: Any, factors: Any) -> Any:
    """Weights that act on x as ``w`` acts on x with input channel i multiplied by ``factors[i]``."""
    if isinstance(op, Matmul):
        return _product(w, factors[:, None])
    rows = _by_group if isinstance(op, Conv) else _by_row
    return _times(op, w, rows(factors, op.groups, _channels_first(op, w)))


def _channels_first(op: Conv | ConvTranspose, w: Any) -> Any:
    """Weights as layout channels_first has them: [O][C/g][k...], for a transposed convolution [C][O/g][k...]."""
    return w if op.layout == CHANNELS_FIRST else np.moveaxis(w, _last_axes(op), (0, 1))


def _last_axes(op: Conv | ConvTranspose) -> tuple[int, int]:
    """Where layout channels_last has the first two axes of channels_first."""
    return (-1, -2) if isinstance(op, Conv) else (-2, -1)


def _times(op: Conv | ConvTranspose, w: Any, factors: Any) -> Any:
    """``w`` times ``factors``, which are arranged as ``_channels_first`` arranges weights."""
    product = _product(_channels_first(op, w), factors)
    return product if op.layout == CHANNELS_FIRST else np.moveaxis(product, (0, 1), _last_axes(op))


def _product(a: Any, b: Any) -> Any:
    """a b, where what overflows is infinite (and then not used)."""
    with np.errstate(all="ignore"):
        return a * b


def _by_row(factors: Any, groups: int, w: Any) -> Any:
    """``factors`` [g m] for weights [g m][n][k...]."""
    del groups
    return factors.reshape(-1, *[1] * (w.ndim - 1))


def _by_group(factors: Any, groups: int, w: Any) -> Any:
    """``factors`` [g n] for weights [g m][n][k...]: row i belongs to group i / m and has its group's n factors."""
    rows = np.repeat(factors.reshape(groups, -1), w.shape[0] // groups, axis=0)
    return rows.reshape(*rows.shape, *[1] * (w.ndim - 2))


class UsualForm(Folding):
    """After a contraction and its bias, x - c is x + -c, and x / c is x times 1/c."""

    roots = (Sub, Div)

    def rewrite(self, op: Sub | Div, rewriter: Rewriter, /) -> None:
        x, other = op.operands
        inner = defining(x, Add)
        source = x if inner is None else inner.operands[0]
        array = self.array(other)
        if array is None or not isinstance(source.owner, Contraction) or not is_float(op.element()):
            return
        if isinstance(op, Sub):
            rewriter.replace(op, Add.build(x, self.constant(-array, other, rewriter)))
        elif np.all(array != 0):
            inverse = 1 / array.astype(np.float64)
            rewriter.replace(op, Mul.build(x, self.constant(inverse, other, rewriter)))


class ScaleAfter(Folding):
    """(x w) c is x (w c), and (x w + b) c is x (w c) + b c."""

    roots = (Mul,)

    def rewrite(self, op: Mul, rewriter: Rewriter, /) -> None:
        x, other = op.operands
        added = defining(x, Add)
        product = self.contraction(x if added is None else added.operands[0])
        if product is None or x.type != op.out.type or product.out.type != op.out.type or not has_one_use(x):
            return
        axis = output_axis(product)
        factors = self.vector(other, op.out, axis)
        bias = None if added is None else self.vector(added.operands[1], op.out, axis)
        if factors is None or (added is not None and bias is None):
            return
        rewriter.covers(product, *([] if added is None else [added]), op)
        scaled = self.with_weights(product, scaled_outputs(product, self.array(product.operands[1]), factors), rewriter)
        if scaled is None:
            return
        if bias is None:
            rewriter.replace(op, scaled)
        else:
            rewriter.replace(op, Add.build(scaled, self.bias(bias * factors, product, rewriter)))


class ShiftAfter(Folding):
    """(x w + a) + b is x w + (a + b)."""

    roots = (Add,)

    def rewrite(self, op: Add, rewriter: Rewriter, /) -> None:
        added = defining(op.operands[0], Add)
        if added is None or not has_one_use(added.out):
            return
        product = added.operands[0].owner
        if not isinstance(product, Contraction) or product.out.type != op.out.type:
            return
        vectors = [self.vector(value, op.out, output_axis(product)) for value in (added.operands[1], op.operands[1])]
        if vectors[0] is None or vectors[1] is None:
            return
        rewriter.covers(added, op)
        total = self.bias(vectors[0].astype(np.float64) + vectors[1], product, rewriter)
        rewriter.replace(op, Add.build(product.out, total))


class ScaleBefore(Folding):
    """(x c) w is x (c w), where x c goes to such contractions alone, and w is not one of the ``tables`` too, which
    are stored once."""

    roots = (Conv, ConvTranspose, Matmul)

    def __init__(self, weights: WeightStore, tables: Sequence[Constant] = ()) -> None:
        super().__init__(weights)
        self.tables = tables

    def rewrite(self, op: Contraction, rewriter: Rewriter, /) -> None:
        scale = defining(op.operands[0], Mul)
        if scale is None or not self._goes_to_contractions(scale):
            return
        x, other = scale.operands
        factors = self.vector(other, scale.out, input_axis(op))
        if factors is None or x.type != scale.out.type:
            return
        if self._is_tied(op.operands[1]):
            return
        w = scaled_inputs(op, self.array(op.operands[1]), factors)
        if not np.isfinite(w.astype(numpy_dtype(op.element()))).all():
            return
        rewriter.covers(scale, op)
        rewriter.replace(op, rebuilt(op, [x, self.constant(w, op.operands[1], rewriter)]))

    def _is_tied(self, value: SSAValue) -> bool:
        shape = shape_of(value.type)
        tied = [table for table in self.tables if len(shape) == 2 and shape_of(table.out.type) == (shape[1], shape[0])]
        return any(holds(self.array(value), table.array(self.weights)) for table in tied)

    def _goes_to_contractions(self, op: Mul | Add) -> bool:
        """True if every use of the result is as first operand of a foldable contraction."""
        return all(
            use.index == 0 and isinstance(use.operation, Contraction) and self.is_foldable(use.operation)
            for use in op.out.uses
        )


class ShiftBefore(ScaleBefore):
    """(x + b) w is x w + b w, where nothing is padded."""

    roots = (Conv, Matmul)

    def rewrite(self, op: Conv | Matmul, rewriter: Rewriter, /) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        shift = defining(op.operands[0], Add)
        if shift is None or not self._goes_to_contractions(shift) or not all(map(_is_unpadded, shift.out.uses)):
            return
        x, other = shift.operands
        vector = self.vector(other, shift.out, input_axis(op))
        if vector is None or x.type != shift.out.type:
            return
        w = self.array(op.operands[1]).astype(np.float64)
        if isinstance(op, Matmul):
            total = vector.astype(np.float64) @ w
        else:
            first = _channels_first(op, w)
            total = (first * _by_group(vector, op.groups, first)).sum(axis=tuple(range(1, first.ndim)))
        rewriter.covers(shift, op)
        product = rewriter.insert(rebuilt(op, [x, op.operands[1]]))
        rewriter.replace(op, Add.build(product, self.bias(total, op, rewriter)))


def _is_unpadded(use: Any) -> bool:
    """True if a use is by a matrix product of rank 2 weights, or by a convolution that pads nothing."""
    op = use.operation
    if isinstance(op, Matmul):
        return len(op.shapes()[1]) == 2
    return isinstance(op, Conv) and not any(op.pads_low) and not any(op.pads_high)
