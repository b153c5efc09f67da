"""Gathers and one-hot."""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.index import Gather, GatherElements, GatherNd
from penstock.compiler.dialects.graph.shape import Iota
from penstock.compiler.dtypes import I64, tensor
from penstock.compiler.extents import Dim
from penstock.compiler.frontends.onnx.arithmetic import Value, Values
from penstock.compiler.frontends.onnx.converters import converter, fed
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext
from penstock.compiler.specialise import lone_symbol


@converter("Gather")
def gather(n: NodeContext) -> SSAValue:
    """Indices out of range read the nearest element."""
    x = n.input(0)
    return n.build(Gather, x, n.input(1), axis=n.axis("axis", 0, n.rank(x)))


@converter("GatherElements")
def gather_elements(n: NodeContext) -> SSAValue:
    """Indices out of range read the nearest element."""
    x, indices = n.input(0), n.input(1)
    axis = n.axis("axis", 0, n.rank(x))
    for other, (extent, taken) in enumerate(zip(n.shape(x), n.shape(indices), strict=False)):
        if other != axis and extent != taken and lone_symbol(extent) and lone_symbol(taken):
            n.require_equal(extent, taken, f"indices of axis {axis} have {taken} elements along axis {other}")
    return n.build(GatherElements, x, indices, axis=axis)


@converter("GatherND")
def gather_nd(n: NodeContext) -> SSAValue:
    """Batch dimensions included."""
    return n.build(GatherNd, n.input(0), n.input(1), batch_dims=n.int("batch_dims", 0))


@converter("ReverseSequence")
def reverse_sequence(n: NodeContext) -> SSAValue:
    """Any two leading axes as batch and time; lengths known at compile time or not."""
    x, lengths = n.ranked(0, 2, 32), n.ranked(1, 1)
    batch, time = n.int("batch_axis", 1), n.int("time_axis", 0)
    n.require({batch, time} == {0, 1}, f"the axes of batch and time are 0 and 1, not {batch} and {time}")
    sequences, steps = n.shape(x)[batch], n.shape(x)[time]
    sentence = f"{n.shape(lengths)[0]} lengths are given for {sequences} sequences"
    n.require_same(n.shape(lengths), (sequences,), sentence)
    step = Value(n, n.build(Iota, axis=1, result=tensor([1, steps], I64)))
    length = Value(n, n.cast(lengths, I64)).reshape([sequences, 1])
    source = Values.where(step < length, length - 1 - step, step + length * 0).reshape([sequences, steps, 1])
    swapped = (batch, time, *range(2, n.rank(x)))
    rows = n.build(GatherNd, n.transpose(x, swapped), source.ssa, batch_dims=1)
    return n.transpose(rows, swapped)


@converter("OneHot")
def one_hot(n: NodeContext) -> SSAValue:
    """A depth fed at run time must be the declared one, or is measured; indices out of range give no one."""
    indices, values = n.cast(n.input(0), I64), n.input(2)
    rank = n.rank(indices) + 1
    axis = n.axis("axis", -1, rank)
    if n.sized(1, "its depth"):
        depth = n.promised("its depth", rank=rank)[axis]
        indices = fed.extent(n, 1, "depth", indices, depth)
    else:
        depth = n.extent(1, "depth")
        n.require(bool(0 < depth < 1 << 62), f"depth is {depth}")
        depth = depth if isinstance(depth, Dim) else int(depth)
    shape = list(n.shape(indices))
    shape.insert(axis, 1)
    wrapped = n.build(
        graph_op("select"),
        n.build(graph_op("lt"), indices, n.number(0, indices)),
        n.build(graph_op("add"), indices, n.number(depth, indices)),
        indices,
    )
    position = n.build(Iota, axis=axis, result=tensor([depth if a == axis else 1 for a in range(rank)], I64))
    hot = n.build(graph_op("eq"), n.reshape(wrapped, shape), position)
    off = n.reshape(slice_of(n, values, {0: 0}, {0: 1}, {}), [])
    on = n.reshape(slice_of(n, values, {0: 1}, {0: 1}, {}), [])
    return n.build(graph_op("select"), hot, on, off)
