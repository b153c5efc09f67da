"""What is as long as its data says: positions of what is not zero, what is picked by them, and what is kept of many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.counting import NonZero
from penstock.compiler.dialects.graph.grouping import Group, Suppress
from penstock.compiler.dialects.graph.index import Gather, GatherNd
from penstock.compiler.dialects.graph.matching import number_of
from penstock.compiler.dialects.graph.shape import Concat, Iota
from penstock.compiler.dtypes import F32, I1, I64, tensor
from penstock.compiler.extents import Extent, smallest, surely
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext


def places(n: NodeContext, x: SSAValue, stem: str) -> SSAValue:
    """Coordinates of the elements of ``x`` that are not zero, one row per axis; ``stem`` names their number. What is
    known when compiling, or is the same everywhere, is not counted."""
    known = n.importer.evaluate(x)
    if known is not None and known.dtype != object:
        return n.constant(np.array(np.nonzero(known), np.int64))
    shape = n.shape(x)
    number = number_of(x, n.importer.ctx.weights)
    if number:
        return everywhere(n, shape)
    most = math.prod(shape)
    return n.build(NonZero, x, count=n.importer.counts.new(stem, most))


def everywhere(n: NodeContext, shape: Sequence[Extent]) -> SSAValue:
    """Coordinates of all elements of a tensor of this shape."""
    rows = [n.build(Iota, axis=axis, result=tensor(shape, I64)) for axis in range(len(shape))]
    rows = [n.reshape(row, [1, math.prod(shape)]) for row in rows]
    return rows[0] if len(rows) == 1 else n.build(Concat, *rows, axis=0)


def picked(n: NodeContext, x: SSAValue, mask: SSAValue, axis: int, stem: str) -> SSAValue:
    """``x`` along ``axis`` where ``mask``, of rank 1, is not zero."""
    found = places(n, mask, stem)
    return n.build(Gather, x, n.reshape(found, n.shape(found)[1:]), axis=axis)


@converter("NonZero")
def non_zero(n: NodeContext) -> SSAValue:
    """Any tensor; a single number has no coordinates, so that its result is empty, of shape [0, 0] or [0, 1]."""
    x = n.input(0)
    if n.rank(x) == 0:
        return slice_of(n, places(n, n.reshape(x, [1]), "nonzero"), {}, {0: 0}, {})
    return places(n, x, "nonzero")


@converter("Compress")
def compress(n: NodeContext) -> SSAValue:
    """Along an axis, or of all elements in a row."""
    x, condition = n.input(0), n.cast(n.ranked(1, 1), I1)
    if "axis" in n.node.attributes:
        axis = n.axis("axis", None, n.rank(x))
    else:
        axis, x = 0, n.reshape(x, [math.prod(n.shape(x))])
    (count,), extent = n.shape(condition), n.shape(x)[axis]
    n.require(not surely(count, ">", extent), f"its condition has {count} elements for an axis of {extent}")
    return picked(n, x, condition, axis, "compress")


@converter("Unique")
def unique(n: NodeContext) -> list[SSAValue]:
    """Along an axis, or of all elements; sorted or in order of appearance. NaN is one value."""
    x = n.input(0)
    rank = n.rank(x)
    if "axis" in n.node.attributes:
        axis = n.axis("axis", None, rank)
        front = n.transpose(x, [axis, *(a for a in range(rank) if a != axis)])
    else:
        axis, x = 0, n.reshape(x, [math.prod(n.shape(x))])
        front = x
    extent, *others = n.shape(front)
    rows = n.reshape(front, [extent, math.prod(others)])
    first, inverse, counts = n.op(Group, rows, sorted=n.flag("sorted", True)).results
    found = places(n, counts, "unique")
    groups = n.reshape(found, n.shape(found)[1:])
    indices = n.build(Gather, first, groups, axis=0)
    return [n.build(Gather, x, indices, axis=axis), indices, inverse, n.build(Gather, counts, groups, axis=0)]


@converter("NonMaxSuppression")
def non_max_suppression(n: NodeContext) -> SSAValue:
    """Both box formats. Boxes are in order of batch, class and falling score; equal scores keep their order."""
    boxes, scores = n.ranked(0, 3), n.ranked(1, 3)
    batches, classes, count = n.shape(scores)
    if not n.has(2):
        return n.constant(np.empty((0, 3), np.int64))
    known = n.importer.evaluate(n.input(2))
    room = count
    if known is not None and known.size == 1 and known.dtype != object:
        room = smallest(count, max(int(known.reshape(-1)[0]), 0))
    if room == 0 or 0 in (batches, classes, count):
        return n.constant(np.empty((0, 3), np.int64))
    overlap = n.input(3) if n.has(3) else n.constant(0.0, F32)
    least = [n.input(4)] if n.has(4) else []
    centered = n.int("center_point_box", 0)
    n.require(centered in (0, 1), f"center_point_box is {centered}; it can be 0 or 1")
    most = n.cast(n.input(2), I64)
    kept = n.build(Suppress, boxes, scores, most, overlap, *least, room=room, centered=bool(centered))
    mask = n.build(graph_op("ge"), kept, n.number(0, kept))
    where = n.transpose(places(n, mask, "nms"), (1, 0))
    box = n.build(GatherNd, kept, where)
    first = slice_of(n, where, {}, {1: 2}, {})
    return n.build(Concat, first, n.reshape(box, [*n.shape(box), 1]), axis=1)
