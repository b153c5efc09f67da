"""The points at which ops and dispatches have a choice, described so that equal ones are one point.

In: a graph op, or a dispatch and a level, with its candidates. Out: the candidate to take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from penstock.compiler.dialects.graph.base import GraphOp
from penstock.compiler.locations import source_names
from penstock.compiler.tuning.choices import SCHEDULE, choose

if TYPE_CHECKING:
    from penstock.compiler.backends.cpu.target import CpuTarget
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.dialects.graph.structure import Dispatch

T = TypeVar("T")


def choose_for(ctx: CompilerContext, kind: str, op: GraphOp, options: Mapping[str, T]) -> T:
    """The candidate for ``op``, of which name, parameters and types count."""
    if ctx.choices is None:
        return next(iter(options.values()))
    types = ", ".join(str(operand.type) for operand in op.operands)
    results = ", ".join(str(result.type) for result in op.results)
    parameters = ", ".join(f"{name} = {getattr(op, name)}" for name in sorted(op.parameters))
    what = f"{op.name.removeprefix('graph.')} ({types}) -> ({results})"
    return choose(ctx, kind, f"{what} {parameters}", options, what=what, nodes=source_names(op.location))


def choose_schedule(ctx: CompilerContext, dispatch: Dispatch, machine: CpuTarget) -> str:
    """The name of the candidate by which ``dispatch`` is to be lowered for ``machine``; empty for the cost model's."""
    if ctx.choices is None:
        return ""
    from penstock.compiler.caching.ingredients import description
    from penstock.compiler.passes.lower.kernel import schedule_options

    names = schedule_options(dispatch, machine)
    if not names:
        return ""
    facts = description(dispatch)
    options = {name: name if number else "" for number, name in enumerate(names)}
    return choose(
        ctx,
        SCHEDULE,
        facts["body"],
        options,
        what=f"{facts['schedule']}: {facts['operations']} {facts['types']}",
        nodes=source_names(dispatch.location),
        level=machine.isa,
        kernel=dispatch.symbol,
    )
