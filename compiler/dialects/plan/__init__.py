"""The ``plan`` dialect: what the runtime executes, one command after the other, on memory with known addresses.

The last level. A ``plan.program`` names every buffer (inputs, outputs, weights, places in the arena) once and then
lists commands that run kernels on them; ``plan.bin`` in the artifact is this text in binary, per instruction set level.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.ir import Dialect

    from penstock.compiler.dialects.plan.base import PlanOp


@cache
def operations() -> tuple[type[PlanOp], ...]:
    """Every op class of the dialect, in order of definition, found by scanning the folder."""
    from penstock.compiler.dialects.declared import ops_in
    from penstock.compiler.dialects.plan.base import PlanOp

    return ops_in(__name__, __path__, PlanOp)


def dialect() -> Dialect:
    """The xDSL dialect object."""
    from xdsl.ir import Dialect

    return Dialect("plan", list(operations()), [])
