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
    import importlib
    import pkgutil

    from penstock.compiler.dialects.plan.base import PlanOp

    found: dict[str, type[PlanOp]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for candidate in vars(module).values():
            if isinstance(candidate, type) and issubclass(candidate, PlanOp) and "name" in vars(candidate):
                found.setdefault(candidate.name, candidate)
    return tuple(found.values())


def dialect() -> Dialect:
    """The xDSL dialect object."""
    from xdsl.ir import Dialect

    return Dialect("plan", list(operations()), [])
