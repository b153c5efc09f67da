"""Let dispatches with equal bodies share one kernel.

Before: every dispatch has a symbol of its own. After: dispatches of one kind whose bodies are equal (ops, parameters,
types; not locations) have the symbol of the first of them, so each distinct kernel is compiled once. The modules of one
artifact share kernels in the same way, and no two different kernels of theirs have one symbol.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.printer import Printer

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.passes.fuse.form_dispatches import dispatches


@dataclass(frozen=True)
class ShareKernels(ModulePass):
    """See the module."""

    name: ClassVar[str] = "share-kernels"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        first = cast(CompilerContext, ctx).kernel_symbols
        others = set(first.values())
        for dispatch in dispatches(op):
            symbol = first.setdefault(signature(dispatch), unused(dispatch.symbol, others))
            dispatch.attributes["symbol"] = StringAttr(symbol)


def unused(symbol: str, others: set[str]) -> str:
    """``symbol``, or with a number if another module has it."""
    numbered = (f"{symbol}_{number}" for number in count(2))
    return symbol if symbol not in others else next(name for name in numbered if name not in others)


def signature(dispatch: Dispatch) -> str:
    """What a kernel depends on: the body with values numbered in order, and the kind."""
    stream = io.StringIO()
    values = [*dispatch.body.args, *(result for op in dispatch.body.ops for result in op.results)]
    hints = [value.name_hint for value in values]
    try:
        for value in values:
            value.name_hint = None
        Printer(stream).print_region(dispatch.regions[0])
    finally:
        for value, hint in zip(values, hints, strict=True):
            value.name_hint = hint
    return f"{dispatch.kind}\n{stream.getvalue()}"
