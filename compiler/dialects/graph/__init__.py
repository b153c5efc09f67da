"""The ``graph`` dialect: what a model computes, on tensors with value semantics.

The first level. Ops live in this folder's modules, grouped by what they do; ``base`` says how one is declared.
The dialect is assembled by scanning the folder, so a new op is registered by being written.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.ir import Dialect

    from penstock.compiler.dialects.graph.base import GraphOp


@cache
def operations() -> tuple[type[GraphOp], ...]:
    """Every op class of the dialect, in order of definition, found by scanning the folder."""
    from penstock.compiler.dialects.declared import ops_in
    from penstock.compiler.dialects.graph.base import GraphOp

    return ops_in(__name__, __path__, GraphOp)


@cache
def operation(name: str) -> type[GraphOp]:
    """The op class called ``name`` (without the ``graph.``). Raises KeyError if there is none."""
    return {op.name.removeprefix("graph."): op for op in operations()}[name]


def dialect() -> Dialect:
    """The xDSL dialect object."""
    from xdsl.ir import Dialect

    from penstock.compiler.dtypes import StorageFloat

    return Dialect("graph", list(operations()), [StorageFloat])
