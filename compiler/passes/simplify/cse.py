"""Common subexpressions: ops of one kind with equal operands and parameters become one op.

Before: any graph. After: no two ops of a block are equal up to location; the one that stays is located at both. One
sweep suffices, since operands are made equal before the ops that use them are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.traits import is_side_effect_free

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp
from penstock.compiler.dialects.graph.elementwise import Binary
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.locations import fuse


@dataclass(frozen=True)
class Cse(ModulePass):
    """Common subexpression elimination."""

    name: ClassVar[str] = "cse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        merged = sum(_merge(block) for inner in op.walk() for region in inner.regions for block in region.blocks)
        if merged:
            cast(CompilerContext, ctx).statistics["merged"] += merged


def _merge(block: Block) -> int:
    """Merge the equal graph ops of one block; returns how many are gone."""
    known: dict[object, Operation] = {}
    merged = 0
    for op in list(block.ops):
        if not isinstance(op, GraphOp) or op.regions or not op.results or not is_side_effect_free(op):
            continue
        kept = known.setdefault(_identity(op), op)
        if kept is op:
            continue
        if not isinstance(op, Constant):  # a number such as 1.0 belongs to no node in particular
            kept.location = fuse(kept.location, op.location)
        for old, new in zip(op.results, kept.results, strict=True):
            if new.name_hint is None:
                new.name_hint = old.name_hint
            old.replace_all_uses_with(new)
        op.detach()
        op.erase()
        merged += 1
    return merged


def _identity(op: GraphOp) -> object:
    """What two ops have in common if and only if they compute the same in the same way."""
    operands = tuple(map(id, op.operands))
    if isinstance(op, Binary) and op.commutative:
        operands = tuple(sorted(operands))
    return op.name, operands, frozenset(op.attributes.items()), tuple(result.type for result in op.results)
