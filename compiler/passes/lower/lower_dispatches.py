"""Schedule every dispatch: each kernel symbol becomes a ``tile.kernel``, once per ISA level.

Before: ``graph.dispatch`` ops whose equal bodies share a symbol. After: the dispatches, unchanged, and beside ``@main``
one module per ISA level (``builtin.module @"x86-64-v4"``) with a ``tile.kernel`` per symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass

from penstock.compiler.backends import backend
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.dialects.graph.window import CHANNELS_LAST
from penstock.compiler.dtypes import shape_of
from penstock.compiler.locations import source_names
from penstock.compiler.precision import FULL
from penstock.compiler.tuning.points import choose_schedule

if TYPE_CHECKING:
    from penstock.compiler.backends import Backend
    from penstock.compiler.dialects.tile.memory import Kernel


@dataclass(frozen=True)
class LowerDispatches(ModulePass):
    """``isa`` lists the ISA levels, best first; empty: what the compilation's options ask for, else all."""

    name: ClassVar[str] = "lower-dispatches"
    isa: tuple[str, ...] = ()

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        target = backend(context.target.partition(":")[0])
        asked = cast("tuple[str, ...]", context.options.get("isa") or target.levels_for(FULL))
        if not target.computes:
            context.note("", "", f"the kernels of target '{target.name}' do nothing, so the outputs are no results")
        unique: dict[str, Dispatch] = {}
        for dispatch in op.walk():
            if isinstance(dispatch, Dispatch):
                unique.setdefault(dispatch.symbol, dispatch)
                _note_narrow_groups(context, dispatch, min(target.describe(isa).lanes for isa in self.isa or asked))
        for isa in self.isa or asked:
            kernels = [_kernel(context, dispatch, target, isa) for dispatch in unique.values()]
            nested = ModuleOp(kernels, sym_name=StringAttr(isa))
            nested.location = op.location
            op.body.block.add_op(nested)


def _kernel(context: CompilerContext, dispatch: Dispatch, target: Backend, isa: str) -> Kernel:
    """The kernel of ``dispatch``: out of the cache, without its body and with its code, or lowered."""
    choice = choose_schedule(context, dispatch, target.describe(isa))
    found = context.kernel_cache.recall(dispatch, target.name, isa, choice) if context.kernel_cache else None
    if found is None:
        from penstock.compiler.passes.lower.kernel import lower_dispatch  # a compilation may do without

        return lower_dispatch(dispatch, target.describe(isa), choice=choice)
    kernel, code = found
    context.kernel_code.setdefault(isa, {})[kernel.sym_name] = code
    context.statistics[f"{isa} kernels from the cache"] += 1
    return kernel


def _note_narrow_groups(context: CompilerContext, dispatch: Dispatch, lanes: int) -> None:
    """Say which convolutions leave vector lanes empty: a vector holds output channels of one group only."""
    for op in dispatch.walk():
        if isinstance(op, Conv) and dispatch.kind == "convolution" and op.groups > 1:
            *_, features = shape_of(op.operands[1].type)
            width = features // op.groups if op.layout == CHANNELS_LAST and not op.panel else 0
            if 0 < width < lanes:
                names = source_names(op.location)
                reason = (
                    f"each of its {op.groups} groups has {width} output channels, which fill only a part of a vector"
                )
                context.note(names[0] if names else "", "Conv", reason)
