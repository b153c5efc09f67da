"""Reductions, arg-reductions, running sums, top-k."""

from __future__ import annotations

import math

from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.ordering import TopK
from penstock.compiler.dialects.graph.reduction import ArgReduce, Cumulative, Reduce
from penstock.compiler.dialects.graph.shape import Iota
from penstock.compiler.dtypes import F64, I1, I64, is_float, tensor
from penstock.compiler.extents import Dim, largest, smallest
from penstock.compiler.frontends.onnx.converters import converter, fed
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.converters.pooling import p_norm
from penstock.compiler.frontends.onnx.node_context import NodeContext

PLAIN = {"ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod"}
COMPOSED = ("ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")


@converter(*PLAIN, *COMPOSED)
def reduce(n: NodeContext) -> SSAValue:
    """Axes from an input or attribute; all numeric types, booleans for max and min."""
    x = n.input(0)
    rank = n.rank(x)
    keep = n.flag("keepdims", True)
    if n.fed(1):
        return fed.reduced(n, x, keep, lambda axes: _reduced(n, x, axes, keep))
    given = n.ints(1, "axes")
    if not given:
        if n.flag("noop_with_empty_axes"):
            return _unreduced(n, x)
        given = list(range(rank))
    return _reduced(n, x, sorted({n.normal_axis(axis, max(rank, 1)) for axis in given} & set(range(rank))), keep)


def _reduced(n: NodeContext, x: SSAValue, axes: list[int], keep: bool) -> SSAValue:
    """The node's reduction of ``x`` along ``axes``."""

    def total(kind: str, value: SSAValue) -> SSAValue:
        return n.build(Reduce, value, kind=kind, axes=axes, keepdims=keep)

    kind = element_of(x)
    wide = widened(n, x)
    match n.node.op:
        case "ReduceMean":
            count = math.prod(n.shape(x)[axis] for axis in axes)
            summed = total("sum", wide)
            if is_float(kind):
                return n.cast(n.build(graph_op("mul"), summed, n.share(count, summed)), kind)
            return n.build(graph_op("div"), summed, n.number(largest(count, 1), summed))
        case "ReduceL1":
            return total("sum", n.build(graph_op("abs"), x))
        case "ReduceL2":
            return _through_float(n, total("sum", n.build(graph_op("mul"), wide, wide)), "sqrt", kind)
        case "ReduceSumSquare":
            return total("sum", n.build(graph_op("mul"), x, x))
        case "ReduceLogSum":
            return _through_float(n, total("sum", wide), "log", kind)
        case "ReduceLogSumExp":
            return n.cast(_log_sum_exp(n, wide if is_float(kind) else n.cast(x, F64), axes, keep), kind)
        case op:
            plain = PLAIN[op]
            return total({"max": "or", "min": "and"}.get(plain, plain) if kind == I1 else plain, x)


def _unreduced(n: NodeContext, x: SSAValue) -> SSAValue:
    """No axes: the elementwise part of the reduction alone."""
    match n.node.op:
        case "ReduceL1":
            return n.build(graph_op("abs"), x)
        case "ReduceL2":
            return n.build(graph_op("abs"), x)
        case "ReduceSumSquare":
            return n.build(graph_op("mul"), x, x)
        case "ReduceLogSum":
            return _through_float(n, x, "log", element_of(x))
        case _:
            return x


def _through_float(n: NodeContext, x: SSAValue, op: str, kind: Attribute) -> SSAValue:
    """A floating-point function of ``x`` as element type ``kind``; integers go through f64."""
    return n.cast(n.build(graph_op(op), x if is_float(element_of(x)) else n.cast(x, F64)), kind)


def _log_sum_exp(n: NodeContext, x: SSAValue, axes: list[int], keep: bool) -> SSAValue:
    peak = n.build(Reduce, x, kind="max", axes=axes, keepdims=True)
    finite = n.build(graph_op("not"), n.build(graph_op("is_inf"), peak))
    peak = n.build(graph_op("select"), finite, peak, n.number(0, peak))
    power = n.build(graph_op("exp"), n.build(graph_op("sub"), x, peak))
    logarithm = n.build(graph_op("log"), n.build(Reduce, power, kind="sum", axes=axes, keepdims=True))
    result = n.build(graph_op("add"), logarithm, peak)
    if keep:
        return result
    return n.reshape(result, [e for axis, e in enumerate(n.shape(result)) if axis not in axes])


@converter("ArgMax", "ArgMin")
def arg_reduce(n: NodeContext) -> SSAValue:
    """First or last of equal elements."""
    x = n.input(0)
    return n.build(
        ArgReduce,
        x,
        kind="max" if n.node.op == "ArgMax" else "min",
        axis=n.axis("axis", 0, n.rank(x)),
        keepdims=n.flag("keepdims", True),
        select_last=n.flag("select_last_index"),
    )


@converter("CumSum", "CumProd")
def cumulative(n: NodeContext) -> SSAValue:
    """Any axis; one that is known only at run time costs a running sum along every axis."""
    x = n.ranked(0, 1, 32)
    kind = "sum" if n.node.op == "CumSum" else "prod"

    def along(axis: int) -> SSAValue:
        return n.build(Cumulative, x, kind=kind, axis=axis, exclusive=n.flag("exclusive"), reverse=n.flag("reverse"))

    known = n.importer.evaluate(n.input(1))
    if known is not None:
        return along(n.normal_axis(n.static_int(1, "the axis"), n.rank(x)))
    rank = n.rank(x)
    if rank > 1:
        n.note(f"its axis is fed at run time, so running sums along all {rank} axes are computed")
    result = along(rank - 1)
    chosen = n.cast(n.reshape(n.input(1), []), I64)
    chosen = n.build(
        graph_op("select"),
        n.build(graph_op("lt"), chosen, n.number(0, chosen)),
        n.build(graph_op("add"), chosen, n.number(rank, chosen)),
        chosen,
    )
    for axis in range(rank - 1):
        here = n.build(graph_op("eq"), chosen, n.number(axis, chosen))
        result = n.build(graph_op("select"), here, along(axis), result)
    return result


@converter("TopK")
def top_k(n: NodeContext) -> list[SSAValue]:
    """A k fed at run time must be the declared one; with none declared, it is measured."""
    x = n.ranked(0, 1, 32)
    axis = n.axis("axis", -1, n.rank(x))
    if n.sized(1, "k", most=n.shape(x)[axis]):
        k = n.promised("k", rank=n.rank(x))[axis]
        x = fed.extent(n, 1, "k", x, k)
    else:
        k = n.extent(1, "k") if n.opset >= 10 else n.int("k")
        n.require(isinstance(k, int | Dim), f"k is an integer, not {k}")
        if n.importer.counts.among(k):  # a run holds it to that, but its symbol does not tell
            k = smallest(k, n.shape(x)[axis])
    op = n.op(TopK, x, axis=axis, k=k, largest=n.flag("largest", True), sorted=n.flag("sorted", True))
    return list(op.results)


@converter("Hardmax")
def hardmax(n: NodeContext) -> SSAValue:
    """Any axis; before opset 13 over all axes from ``axis`` on."""
    x = n.input(0)
    shape, rank = n.shape(x), n.rank(x)
    axis = n.axis("axis", -1 if n.opset >= 13 else 1, rank)
    if n.opset < 13:
        x, axis = n.reshape(x, [math.prod(shape[:axis]), math.prod(shape[axis:])]), 1
    first = n.build(ArgReduce, x, kind="max", axis=axis, keepdims=True)
    extents = [n.shape(x)[axis] if a == axis else 1 for a in range(n.rank(x))]
    position = n.build(Iota, axis=axis, result=tensor(extents, I64))
    return n.reshape(n.cast(n.build(graph_op("eq"), first, position), element_of(x)), shape)


@converter("LpNormalization")
def lp_normalization(n: NodeContext) -> SSAValue:
    """p of 1 or 2; any axis. A zero vector stays zero."""
    x = n.input(0)
    norm = p_norm(n, x, n.int("p", 2), [n.axis("axis", -1, n.rank(x))], keepdims=True)
    zero = n.number(0, norm)
    safe = n.build(graph_op("select"), n.build(graph_op("eq"), norm, zero), n.number(1, norm), norm)
    return n.build(graph_op("div"), x, safe)
