"""Let dispatches with equal bodies share one kernel.

Before: every dispatch has a symbol of its own. After: dispatches of one kind whose bodies are equal (ops, parameters,
types; not locations) have the symbol of the first of them, so each distinct kernel is compiled once.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.printer import Printer

from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.passes.fuse.form_dispatches import dispatches


@dataclass(frozen=True)
class ShareKernels(ModulePass):
    """See the module."""

    name: ClassVar[str] = "share-kernels"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        first: dict[str, str] = {}
        for dispatch in dispatches(op):
            symbol = first.setdefault(signature(dispatch), dispatch.symbol)
            dispatch.attributes["symbol"] = StringAttr(symbol)


def signature(dispatch: Dispatch) -> str:
    """What a kernel depends on: the body with values numbered in order, and the kind."""
    stream = io.StringIO()
    copy = dispatch.regions[0].clone()
    for block in copy.blocks:
        for value in (*block.args, *(result for inner in block.ops for result in inner.results)):
            value.name_hint = None
    Printer(stream).print_region(copy)
    return f"{dispatch.kind}\n{stream.getvalue()}"
