"""Scatters, and the update of a key or value cache, which is one."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.scatter import REDUCTIONS, ScatterElements, ScatterNd
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import I64
from penstock.compiler.frontends.onnx.arithmetic import Value, counting
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import NodeContext


@converter("ScatterElements", "Scatter")
def scatter_elements(n: NodeContext) -> SSAValue:
    """All types and reductions; of several updates for one place the last in row-major order wins. Indices out of range
    write to the nearest element."""
    x = n.ranked(0, 1, 32)
    axis, reduction = n.axis("axis", 0, n.rank(x)), n.choice("reduction", "none", *REDUCTIONS)
    indices, updates, shape = n.input(1), n.input(2), n.shape(x)
    if all(extent == 1 for a, extent in enumerate(shape) if a != axis) and n.rank(indices) == n.rank(x):
        count = math.prod(n.shape(indices))
        sentence = f"updates have shape {list(n.shape(updates))}, not the indices'"
        n.require_same(n.shape(updates), n.shape(indices), sentence)
        flat, places = n.reshape(x, [shape[axis]]), n.reshape(indices, [count, 1])
        result = n.build(ScatterNd, flat, places, n.reshape(updates, [count]), reduction=reduction)
        return n.reshape(result, shape)
    return n.build(ScatterElements, x, indices, updates, axis=axis, reduction=reduction)


@converter("ScatterND")
def scatter_nd(n: NodeContext) -> SSAValue:
    """All types and reductions; of several updates for one place the last in row-major order wins. Indices out of range
    write to the nearest element."""
    x, reduction = n.ranked(0, 1, 32), n.choice("reduction", "none", *REDUCTIONS)
    return n.build(ScatterNd, x, n.input(1), n.input(2), reduction=reduction)


@converter("TensorScatter")
def tensor_scatter(n: NodeContext) -> SSAValue:
    """Both modes; positions that do not fit the cache in mode linear write to its last one."""
    cache, update = n.ranked(0, 2, 32), n.input(1)
    shape, given = n.shape(cache), n.shape(update)
    axis = n.axis("axis", -2, n.rank(cache))
    n.require(axis > 0, "the axis is the one of the batch")
    sentence = f"an update of shape {list(given)} does not fit a cache of shape {list(shape)}"
    n.require(len(given) == len(shape), sentence)
    n.require_same([*given[:axis], *given[axis + 1 :]], [*shape[:axis], *shape[axis + 1 :]], sentence)
    circular = n.choice("mode", "linear", "linear", "circular") == "circular"
    outer = given[: axis + 1]
    along = counting(n, given[axis])
    if n.has(2):
        sentence = "there is one write index for each element of the batch"
        n.require_same(n.shape(n.input(2)), (shape[0],), sentence)
        along = along + n.value(2).reshape([shape[0], *[1] * axis])
    if circular:
        along = along % shape[axis]
    return n.build(ScatterNd, cache, _coordinates(n, along, outer), update)


def _coordinates(n: NodeContext, along: Value, outer: tuple[int, ...]) -> SSAValue:
    """Coordinates of each position of ``outer``, but the last of them given: [outer.., axes]."""
    rank = len(outer)
    parts: list[SSAValue] = []
    for axis in range(rank - 1):
        column = counting(n, outer[axis]).reshape([outer[axis] if a == axis else 1 for a in range(rank)])
        parts.append(n.expand(column.ssa, outer))
    parts.append(n.expand(n.cast(along.ssa, I64), outer))
    return n.build(Concat, *(n.reshape(part, [*outer, 1]) for part in parts), axis=rank)
