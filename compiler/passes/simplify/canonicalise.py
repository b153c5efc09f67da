"""Bring every op into its usual form: fold what changes nothing, merge chains, name things by their simplest op.

Before: any graph. After: no op that equals one of its operands; no reshape of a reshape, transpose of a transpose,
slice of a slice; no broadcast that an elementwise op does by itself; powers, divisions and extrema by constants in
their cheapest form. The patterns stand in ``arithmetic`` and ``views``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.passes.simplify import arithmetic, views
from penstock.compiler.rewriting import rewrite


@dataclass(frozen=True)
class Canonicalise(ModulePass):
    """Applies local patterns until none fires any more."""

    name: ClassVar[str] = "canonicalise"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        rewrite(context, op, [*arithmetic.patterns(context), *views.patterns(context)])
