"""What a name of a model can stand for while it is imported: a tensor, a list of tensors, or an optional value.

In: results of nodes. Out: what the nodes that read them get. The one idea: sequences and optionals exist at compile
time only; they are lists of graph values, and nothing of them is left in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import shape_of, type_name


@dataclass(frozen=True)
class Listed:
    """A sequence: its tensors in order, and their element type (None: an empty one that says nothing of it)."""

    items: tuple[SSAValue, ...]
    element: Attribute | None = None


@dataclass(frozen=True)
class Maybe:
    """An optional: the value in it, or None when it is empty."""

    item: SSAValue | Listed | None


Item: TypeAlias = "SSAValue | Listed | Maybe"
Scope: TypeAlias = "dict[str, Item | None]"
"""By name; None is a value whose node failed, or a function's absent input."""


def kind_of(item: Item) -> str:
    """ONNX's name of what ``item`` is."""
    return "sequence" if isinstance(item, Listed) else "optional" if isinstance(item, Maybe) else "tensor"


def show_type(item: Item) -> str:
    """The type of ``item`` in words: ``f32[2,3]``, ``a sequence of 3 tensors``, ``an empty optional``."""
    if isinstance(item, SSAValue):
        return f"{type_name(element_of(item))}[{','.join(map(str, shape_of(item.type)))}]"
    if isinstance(item, Listed):
        return f"a sequence of {len(item.items)} tensors"
    return "an empty optional" if item.item is None else f"an optional with {show_type(item.item)}"
