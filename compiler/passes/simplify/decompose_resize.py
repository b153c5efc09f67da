"""Express resizing by gathers: along every axis, the elements at known indices, weighted and added.

Before: ``resize``. After: per resized axis one ``gather`` (nearest) or several with constant weights (linear, cubic),
which fuse into one map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.elementwise import Add, Cast, Mul
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.resize import Resize
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import numpy_dtype, shape_of, tensor
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite


@dataclass(frozen=True)
class DecomposeResize(ModulePass):
    """See the module."""

    name: ClassVar[str] = "decompose-resize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        rewrite(compiler, op, [ResizeByGathers(compiler)])


class ResizeByGathers(Pattern):
    """resize = weighted sums of gathers, axis by axis."""

    roots = (Resize,)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: Resize, rewriter: Rewriter, /) -> None:
        value, kind = op.operands[0], element_of(op.out)
        if op.mode != "nearest":
            value = self._cast(rewriter, value, compute_dtype(kind))
        for axis in op.resized_axes():
            indices, weights = op.taps(axis)
            value = self._axis(op, rewriter, value, axis, indices, weights)
        rewriter.replace(op, self._cast(rewriter, value, kind))

    @staticmethod
    def _cast(rewriter: Rewriter, value: SSAValue, kind: object) -> SSAValue:
        if element_of(value) == kind:
            return value
        return rewriter.insert(Cast.build(value, result=tensor(shape_of(value.type), kind))).out  # type: ignore[arg-type]

    def _axis(
        self, op: Resize, rewriter: Rewriter, value: SSAValue, axis: int, indices: np.ndarray, weights: np.ndarray
    ) -> SSAValue:
        total: SSAValue | None = None
        shape = [1] * len(shape_of(value.type))
        shape[axis] = indices.shape[0]
        for tap in range(indices.shape[1]):
            table = rewriter.insert(Constant.of(np.ascontiguousarray(indices[:, tap]), self.weights, name="indices"))
            part = rewriter.insert(Gather.build(value, table, axis=axis)).out
            if op.mode != "nearest":
                factor = weights[:, tap].astype(numpy_dtype(element_of(value))).reshape(shape)
                scale = rewriter.insert(Constant.of(factor, self.weights, name="weights"))
                part = rewriter.insert(Mul.build(part, scale)).out
            total = part if total is None else rewriter.insert(Add.build(total, part)).out
        assert total is not None
        return total
