"""The ``graph`` dialect: what a model computes, on tensors with value semantics.

The first level. Ops live in this folder's modules, grouped by what they do; ``base`` says how one is declared.
The dialect is assembled by scanning the folder, so a new op is registered by being written.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.ir import Dialect

    from penstock.compiler.dialects.graph.base import GraphOp


@cache
def operations() -> tuple[type[GraphOp], ...]:
    """Every op class of the dialect, in the order of modules and of definition."""
    from penstock.compiler.dialects.graph.base import is_concrete

    found: dict[str, type[GraphOp]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for candidate in vars(module).values():
            if is_concrete(candidate) and candidate.__module__ == module.__name__:
                assert candidate.name not in found, f"two ops are called {candidate.name}"
                found[candidate.name] = candidate
    return tuple(found.values())


@cache
def operation(name: str) -> type[GraphOp]:
    """The op class called ``name`` (without the ``graph.``). Raises KeyError if there is none."""
    return {op.name.removeprefix("graph."): op for op in operations()}[name]


def dialect() -> Dialect:
    """The xDSL dialect object."""
    from xdsl.ir import Dialect

    return Dialect("graph", list(operations()), [])
