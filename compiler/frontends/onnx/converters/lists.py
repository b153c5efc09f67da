"""Sequences and optionals: lists that exist at compile time only.

In: tensors, positions known when compiling. Out: lists of the same tensors, and what is taken out of them or joined.
The one idea: no op of the graph knows of lists; a position is a Python index.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import F32
from penstock.compiler.errors import INVALID_NODE, MODEL_TOO_LARGE
from penstock.compiler.extents import is_static
from penstock.compiler.frontends.onnx.converters import converter, fed
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal
from penstock.compiler.frontends.onnx.values import Item, Listed, Maybe, show_type

MAX_ITEMS = 1 << 14

# Sequences -----------------------------------------------------------------------------------------------------------


@converter("SequenceConstruct")
def construct(n: NodeContext) -> Listed:
    """Tensors of one element type."""
    return _listed(n, [n.input(index) for index in range(len(n.inputs))])


@converter("SequenceEmpty")
def empty(n: NodeContext) -> Listed:
    """Every element type that tensors can have."""
    return Listed((), n.element_attribute("dtype") if "dtype" in n.node.attributes else F32)


@converter("SequenceInsert")
def insert(n: NodeContext) -> Listed:
    """At a position known when compiling."""
    items = list(n.sequence(0).items)
    position = n.static_int(2, "its position") if n.has(2) else len(items)
    n.require(-len(items) <= position <= len(items), f"its position {position} is outside {len(items)} items")
    items.insert(position, n.input(1))
    return _listed(n, items)


@converter("SequenceErase")
def erase(n: NodeContext) -> Listed:
    """At a position known when compiling."""
    items = list(n.sequence(0).items)
    n.require(bool(items), "it takes an item out of an empty sequence")
    del items[_position(n, 1, len(items)) if n.has(1) else -1]
    return Listed(tuple(items), n.sequence(0).element)


@converter("SequenceAt")
def at(n: NodeContext) -> SSAValue:
    """At a position known when compiling."""
    items = n.sequence(0).items
    return items[_position(n, 1, len(items))]


@converter("SequenceLength")
def length(n: NodeContext) -> SSAValue:
    """Any sequence."""
    return n.constant(np.int64(len(n.sequence(0).items)))


@converter("SplitToSequence")
def split(n: NodeContext) -> Listed:
    """Into single elements, equal parts, or parts of given sizes; how many there are is known when compiling."""
    x = n.input(0)
    n.require(n.rank(x) >= 1, "it splits a tensor without axes")
    axis = n.axis("axis", 0, n.rank(x))
    extent, squeeze = n.shape(x)[axis], False
    if not n.has(1):
        sizes, squeeze = [1] * _few(extent), not n.flag("keepdims", True)
    elif n.fed(1) and is_static(n.shape(n.input(1))) and n.rank(n.input(1)) == 1:
        _few(n.shape(n.input(1))[0])
        x, sizes = fed.measured_parts(n, x, extent, "the sizes of its parts")
        return _parts(n, x, axis, sizes, squeeze=False)
    else:
        given = n.static(1, "split")
        if given.ndim:
            sizes = n.ints(1, "split") or []
        else:
            part = n.static_int(1, "split")
            n.require(part > 0, f"its parts have {part} elements")
            sizes = [min(part, extent - i * part) for i in range(_few(-(-extent // part)))]
    if sum(sizes) != extent or any(size < 0 for size in sizes):
        raise Refusal(INVALID_NODE, f"the parts {sizes[:8]} do not add up to {extent}")
    return _parts(n, x, axis, sizes, squeeze)


def _parts(n: NodeContext, x: SSAValue, axis: int, sizes: Sequence[int], squeeze: bool) -> Listed:
    """Parts of ``x``, without ``axis`` if it is to ``squeeze``."""
    items: list[SSAValue] = []
    start = 0
    for size in sizes:
        part_of = slice_of(n, x, {axis: start}, {axis: size}, {})
        kept = [e for i, e in enumerate(n.shape(part_of)) if i != axis or not squeeze]
        items.append(n.reshape(part_of, kept))
        start += size
    return Listed(tuple(items), element_of(x))


@converter("ConcatFromSequence")
def concat(n: NodeContext) -> SSAValue:
    """Along an axis, or along a new one."""
    items = n.sequence(0).items
    n.require(bool(items), "it joins an empty sequence")
    new = n.flag("new_axis")
    axis = n.axis("axis", None, n.rank(items[0]) + new)
    if new:
        for item in items[1:]:
            n.require_same(n.shape(item), n.shape(items[0]), "it stacks tensors of different shapes")
        items = tuple(n.reshape(x, [*n.shape(x)[:axis], 1, *n.shape(x)[axis:]]) for x in items)
    return items[0] if len(items) == 1 else n.build(Concat, *items, axis=axis)


@converter("SequenceMap")
def mapped(n: NodeContext) -> list[Listed] | list[None]:
    """Unrolled over the items."""
    body, count = n.graph("body"), len(n.sequence(0).items)
    others: list[Item] = [n.item(index) for index in range(1, len(n.inputs))]
    for other in others:
        if isinstance(other, Listed):
            n.require(len(other.items) == count, f"it maps {count} items along with {len(other.items)}")
    n.require(len(body.outputs) >= len(n.node.outputs), "its body has fewer outputs than it has")
    columns: list[list[SSAValue]] = [[] for _ in body.outputs]
    for index, item in enumerate(n.sequence(0).items):
        made = n.run(body, [item, *(x.items[index] if isinstance(x, Listed) else x for x in others)])
        for column, value in zip(columns, made, strict=True):
            if value is None:
                return [None] * len(body.outputs)
            n.require(isinstance(value, SSAValue), "an output of its body is not a tensor")
            column.extend([value] if isinstance(value, SSAValue) else [])
    return [_listed(n, column) for column in columns]


def _listed(n: NodeContext, items: list[SSAValue]) -> Listed:
    """The sequence of ``items``, which have one element type."""
    _few(len(items))
    kinds = sorted({n.type_name(item) for item in items})
    n.require(len(kinds) <= 1, f"the items of a sequence have one element type, not {', '.join(kinds)}")
    return Listed(tuple(items), element_of(items[0]) if items else None)


def _few(count: int) -> int:
    if count > MAX_ITEMS:
        raise Refusal(MODEL_TOO_LARGE, f"a sequence has {count:,} items; {MAX_ITEMS:,} are the most")
    return count


def _position(n: NodeContext, index: int, count: int) -> int:
    """A position among ``count``, counted from the front."""
    position = n.static_int(index, "its position")
    n.require(-count <= position < count, f"its position {position} is outside {count} items")
    return position % count


# Optionals -----------------------------------------------------------------------------------------------------------


@converter("Optional")
def optional(n: NodeContext) -> Maybe:
    """Of a tensor or a sequence, or empty."""
    item = n.item(0) if n.has(0) else None
    n.require(not isinstance(item, Maybe), "it makes an optional of an optional")
    return Maybe(None if isinstance(item, Maybe) else item)


@converter("OptionalHasElement")
def has_element(n: NodeContext) -> SSAValue:
    """Known when compiling."""
    item = n.item(0) if n.has(0) else None
    return n.constant(item.item is not None if isinstance(item, Maybe) else item is not None)


@converter("OptionalGetElement")
def get_element(n: NodeContext) -> SSAValue | Listed:
    """Known when compiling whether there is one."""
    item = n.item(0)
    if not isinstance(item, Maybe):
        return item
    if item.item is None:
        raise Refusal(INVALID_NODE, f"it takes the value out of {show_type(item)}")
    return item.item
