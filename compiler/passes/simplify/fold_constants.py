"""Compute at compile time what depends on constants alone.

Before: any graph. After: an op all of whose operands are known is a constant, unless its value is large: at most 1 MB
(``max_bytes``) or four times the bytes of the constants it is made from. What is large but simple to say (a number
expanded, positions counted by iota) stays as it is, though an op that makes something small of it is folded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp, tensor_bytes
from penstock.compiler.dialects.graph.counting import Counting
from penstock.compiler.dialects.graph.shape import Expand, Iota
from penstock.compiler.dialects.graph.structure import Checked, Constant, Dispatch, Yield
from penstock.compiler.dtypes import shape_of
from penstock.compiler.extents import is_static
from penstock.compiler.locations import source_names
from penstock.compiler.releasing import Releasing
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite


@dataclass(frozen=True)
class FoldConstants(ModulePass):
    """``max_bytes`` bounds the bytes of a value that is larger than four times what it is made from."""

    name: ClassVar[str] = "fold-constants"
    max_bytes: int = 1 << 20

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        rewrite(context, op, [FoldConstant(context, self.max_bytes, Releasing(context.weights, op))])


class FoldConstant(Pattern):
    """An op on known operands is a constant."""

    roots = (GraphOp,)

    def __init__(self, ctx: CompilerContext, max_bytes: int, releasing: Releasing) -> None:
        self.weights, self.max_bytes, self.releasing = ctx.weights, max_bytes, releasing

    def rewrite(self, op: GraphOp, rewriter: Rewriter, /) -> None:
        if isinstance(op, Constant | Checked | Counting | Dispatch | Yield | Iota) or op.regions or not op.operands:
            return
        if not all(_is_known(value.owner) for value in op.operands):
            return
        if not all(is_static(shape_of(value.type)) for value in (*op.operands, *op.results)):
            return
        if isinstance(op, Expand) and not _tiny(op):
            return
        stored = [value.owner for value in op.operands if isinstance(value.owner, Constant)]
        limit = max(self.max_bytes, 4 * sum(tensor_bytes(constant.out.type) for constant in stored))
        if sum(tensor_bytes(result.type) for result in op.results) > limit or not self._operands_fit(op, limit):
            return
        name = next((constant.key for constant in stored if "key" in constant.attributes), None)
        name = name or (*source_names(op.location), "constant")[0]
        value: Any = op.evaluate(*(self._array(operand.owner) for operand in op.operands))
        arrays = cast("tuple[Any, ...]", value if isinstance(value, tuple) else (value,))
        made = [self.releasing.made(Constant.of(np.asarray(array), self.weights, name=name)) for array in arrays]
        used = list(op.operands)
        rewriter.replace(op, *(rewriter.insert(constant).out for constant in made))
        self.releasing.replaced(used)

    def _operands_fit(self, op: GraphOp, limit: int) -> bool:
        """True if what must be computed of iotas and expands to fold ``op`` is not larger than ``limit``."""
        return all(isinstance(v.owner, Constant) or tensor_bytes(v.type) <= limit for v in op.operands)

    def _array(self, op: Any) -> Any:
        return op.array(self.weights) if isinstance(op, Constant) else op.evaluate(*map(self._array, _owners(op)))


def _owners(op: GraphOp) -> list[Any]:
    return [value.owner for value in op.operands]


def _is_known(owner: object) -> bool:
    """True for a constant, for an iota, and for an expand of either."""
    return isinstance(owner, Constant | Iota) or (isinstance(owner, Expand) and _is_known(owner.operands[0].owner))


def _tiny(op: Expand) -> bool:
    """True if the result of an expand is no larger than what inline constants hold."""
    return tensor_bytes(op.out.type) <= 64
