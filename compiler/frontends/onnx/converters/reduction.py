"""Reductions, arg-reductions, running sums, top-k, softmax and norms."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.normalization import LogSoftmax, Normalize, Softmax
from penstock.compiler.dialects.graph.ordering import TopK
from penstock.compiler.dialects.graph.reduction import ArgReduce, Cumulative, Reduce
from penstock.compiler.dtypes import F32, I1, is_float
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.node_context import NodeContext

PLAIN = {"ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod"}
COMPOSED = ("ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")


@converter(*PLAIN, *COMPOSED)
def reduce(n: NodeContext) -> SSAValue:
    """Axes from an input (known at compile time) or attribute; all numeric types, booleans for max and min."""
    x = n.input(0)
    rank = n.rank(x)
    given = n.ints(1, "axes")
    if not given:
        if n.flag("noop_with_empty_axes"):
            return _unreduced(n, x)
        given = list(range(rank))
    axes = sorted({n.normal_axis(axis, rank) for axis in given})
    keep = n.flag("keepdims", True)

    def total(kind: str, value: SSAValue) -> SSAValue:
        return n.build(Reduce, value, kind=kind, axes=axes, keepdims=keep)

    count = math.prod(n.shape(x)[axis] for axis in axes)
    match n.node.op:
        case "ReduceMean":
            summed = total("sum", x)
            kind = element_of(x)
            if is_float(kind):
                return n.build(graph_op("mul"), summed, n.number(1.0 / count if count else math.nan, summed))
            return n.build(graph_op("div"), summed, n.number(count, summed))
        case "ReduceL1":
            return total("sum", n.build(graph_op("abs"), x))
        case "ReduceL2":
            return _root(n, total("sum", n.build(graph_op("mul"), x, x)))
        case "ReduceSumSquare":
            return total("sum", n.build(graph_op("mul"), x, x))
        case "ReduceLogSum":
            return n.build(graph_op("log"), total("sum", x))
        case "ReduceLogSumExp":
            return _log_sum_exp(n, x, axes, keep)
        case op:
            kind = PLAIN[op]
            boolean = element_of(x) == I1
            return total({"max": "or", "min": "and"}.get(kind, kind) if boolean else kind, x)


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
            return n.build(graph_op("log"), x)
        case _:
            return x


def _root(n: NodeContext, x: SSAValue) -> SSAValue:
    kind = element_of(x)
    return n.cast(n.build(graph_op("sqrt"), n.cast(x, kind if is_float(kind) else F32)), kind)


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
    """The axis is known at compile time."""
    x = n.input(0)
    axis = n.normal_axis(int(n.static(1, "axis").reshape(-1)[0]), n.rank(x))
    kind = "sum" if n.node.op == "CumSum" else "prod"
    return n.build(Cumulative, x, kind=kind, axis=axis, exclusive=n.flag("exclusive"), reverse=n.flag("reverse"))


@converter("TopK")
def top_k(n: NodeContext) -> list[SSAValue]:
    """k is known at compile time."""
    x = n.input(0)
    k = int(n.static(1, "k").reshape(-1)[0]) if n.opset >= 10 else n.int("k")
    axis = n.axis("axis", -1, n.rank(x))
    op = n.op(TopK, x, axis=axis, k=k, largest=n.flag("largest", True), sorted=n.flag("sorted", True))
    return list(op.results)


@converter("Softmax", "LogSoftmax")
def softmax(n: NodeContext) -> SSAValue:
    """Any axis; before opset 13 over all axes from ``axis`` on."""
    x = n.input(0)
    kind = Softmax if n.node.op == "Softmax" else LogSoftmax
    if n.opset >= 13:
        return n.build(kind, x, axis=n.axis("axis", -1, n.rank(x)))
    axis = n.axis("axis", 1, n.rank(x)) if n.rank(x) > 1 else 0
    shape = n.shape(x)
    flat = n.reshape(x, [math.prod(shape[:axis]), math.prod(shape[axis:])])
    return n.reshape(n.build(kind, flat, axis=1), shape)


def scaled(n: NodeContext, x: SSAValue, scale: SSAValue | None, bias: SSAValue | None) -> SSAValue:
    """x * scale + bias."""
    if scale is not None:
        x = n.build(graph_op("mul"), x, scale)
    return x if bias is None else n.build(graph_op("add"), x, bias)


@converter("LayerNormalization")
def layer_normalization(n: NodeContext) -> list[SSAValue]:
    """All three outputs; statistics in f32 as stash_type says by default."""
    x = n.input(0)
    axis = n.axis("axis", -1, n.rank(x))
    axes = list(range(axis, n.rank(x)))
    epsilon = n.float("epsilon", 1e-5)
    normal = n.build(Normalize, x, axes=axes, epsilon=epsilon)
    results = [scaled(n, normal, n.input(1), n.optional(2))]
    if n.wants(1) or n.wants(2):
        wide = n.cast(x, F32)
        inverse = n.number(1.0 / math.prod(n.shape(x)[axis:]), wide)
        mean = n.build(graph_op("mul"), n.build(Reduce, wide, kind="sum", axes=axes, keepdims=True), inverse)
        distance = n.build(graph_op("sub"), wide, mean)
        squares = n.build(graph_op("mul"), distance, distance)
        variance = n.build(graph_op("mul"), n.build(Reduce, squares, kind="sum", axes=axes, keepdims=True), inverse)
        deviation = n.build(graph_op("sqrt"), n.build(graph_op("add"), variance, n.number(epsilon, variance)))
        results += [mean, n.build(graph_op("reciprocal"), deviation)]
    return results


@converter("RMSNormalization")
def rms_normalization(n: NodeContext) -> SSAValue:
    """Any axis."""
    x = n.input(0)
    axes = list(range(n.axis("axis", -1, n.rank(x)), n.rank(x)))
    normal = n.build(Normalize, x, axes=axes, epsilon=n.float("epsilon", 1e-5), center=False)
    return scaled(n, normal, n.input(1), None)


@converter("InstanceNormalization")
def instance_normalization(n: NodeContext) -> SSAValue:
    """Any number of spatial axes."""
    x = n.input(0)
    normal = n.build(Normalize, x, axes=list(range(2, n.rank(x))), epsilon=n.float("epsilon", 1e-5))
    channels = [1, -1, *[1] * (n.rank(x) - 2)]
    channels[1] = n.shape(x)[1]
    return scaled(n, normal, n.reshape(n.input(1), channels), n.reshape(n.input(2), channels))


@converter("GroupNormalization")
def group_normalization(n: NodeContext) -> SSAValue:
    """Scale and bias per group (opset 18) or per channel (from 21)."""
    x = n.input(0)
    shape = n.shape(x)
    groups, channels = n.int("num_groups"), shape[1]
    grouped = n.reshape(x, [shape[0], groups, channels // groups, *shape[2:]])
    normal = n.build(Normalize, grouped, axes=list(range(2, len(shape) + 1)), epsilon=n.float("epsilon", 1e-5))
    ones = [1] * (len(shape) - 2)
    scale, bias = n.input(1), n.input(2)
    if n.opset < 21:
        return n.reshape(
            scaled(n, normal, n.reshape(scale, [1, groups, 1, *ones]), n.reshape(bias, [1, groups, 1, *ones])), shape
        )
    flat = n.reshape(normal, shape)
    return scaled(n, flat, n.reshape(scale, [1, channels, *ones]), n.reshape(bias, [1, channels, *ones]))


@converter("BatchNormalization")
def batch_normalization(n: NodeContext) -> SSAValue:
    """Inference: one multiplication and one addition per channel. Training mode is refused."""
    x = n.input(0)
    if n.flag("training_mode"):
        raise n.unsupported("training mode is not compiled", "Export the model for inference.")
    shape = [1, n.shape(x)[1] if n.rank(x) > 1 else 1, *[1] * (n.rank(x) - 2)][: n.rank(x)]
    epsilon = n.float("epsilon", 1e-5)
    values = [n.importer.evaluate(n.input(index)) for index in range(1, 5)]
    if all(value is not None for value in values):
        scale, bias, mean, variance = (np.asarray(value, np.float64) for value in values)
        factor = scale / np.sqrt(variance + epsilon)
        kind = element_of(x)
        multiplier = n.constant(factor.reshape(shape), kind)
        return scaled(n, x, multiplier, n.constant((bias - mean * factor).reshape(shape), kind))
    scale, bias, mean, variance = (n.reshape(n.input(index), shape) for index in range(1, 5))
    deviation = n.build(graph_op("sqrt"), n.build(graph_op("add"), variance, n.number(epsilon, variance)))
    normal = n.build(graph_op("div"), n.build(graph_op("sub"), x, mean), deviation)
    return scaled(n, normal, scale, bias)
