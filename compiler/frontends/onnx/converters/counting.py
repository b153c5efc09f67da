"""What is as long as its data says: positions of what is not zero, and what is picked by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.counting import NonZero
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.matching import number_of
from penstock.compiler.dialects.graph.shape import Concat, Iota
from penstock.compiler.dtypes import I1, I64, tensor
from penstock.compiler.extents import Extent, surely
from penstock.compiler.frontends.onnx.converters import converter
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
    return n.build(NonZero, x, count=n.importer.count(stem, most))


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
    """Tensors of rank 1 or more."""
    x = n.input(0)
    n.require(n.rank(x) > 0, "its input is a single number, which has no coordinates")
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
