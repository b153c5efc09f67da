"""Erase every op whose results nothing uses.

Before: any graph. After: every op is used, directly or not, by a result of its function. All ops of the graph level
are pure, so this changes no result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.rewriting import erase_dead


@dataclass(frozen=True)
class Dce(ModulePass):
    """Dead code elimination."""

    name: ClassVar[str] = "dce"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        erased = erase_dead(op)
        if erased:
            cast(CompilerContext, ctx).statistics["dead"] += erased
