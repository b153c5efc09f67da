"""Kernels that users bring along: nothing is scheduled, the object code is named.

In: ``graph.custom`` alone in its dispatch. Out: a kernel without a body that says which object code and which function
of it to call instead.
"""

from __future__ import annotations

from penstock.compiler.errors import PASS_FAILED, InternalError
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule


@schedule("custom")
def lower_custom(k: KernelLowering) -> None:
    """The units and their cost are what the operator says."""
    op = k.root("graph.custom")
    if k.machine.isa not in op.levels:
        raise InternalError(PASS_FAILED, f"the custom operator {op.operator} has no code for {k.machine.isa}")
    k.b.kernel.units = op.units
    k.b.kernel.unit_cost = op.unit_cost
    k.b.kernel.object = op.objects[op.levels.index(k.machine.isa)]
    k.b.kernel.entry = op.symbol
