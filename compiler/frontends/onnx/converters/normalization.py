"""Softmax and the normalizations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.normalization import LogSoftmax, Normalize, Softmax
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.node_context import NodeContext


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
        wide = n.cast(x, n.element_attribute("stash_type", 1))
        mean, variance = moments(n, wide, axes)
        deviation = n.build(graph_op("sqrt"), n.build(graph_op("add"), variance, n.number(epsilon, variance)))
        results += [mean, n.build(graph_op("reciprocal"), deviation)]
    return results


def moments(n: NodeContext, x: SSAValue, axes: Sequence[int]) -> tuple[SSAValue, SSAValue]:
    """Mean and (population) variance over ``axes``, which keep extent 1."""
    count = math.prod(n.shape(x)[axis] for axis in axes)
    share = n.share(count, x)

    def mean_of(value: SSAValue) -> SSAValue:
        return n.build(graph_op("mul"), n.build(Reduce, value, kind="sum", axes=tuple(axes), keepdims=True), share)

    mean = mean_of(x)
    distance = n.build(graph_op("sub"), x, mean)
    return mean, mean_of(n.build(graph_op("mul"), distance, distance))


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
    x = n.ranked(0, 3, 8)
    normal = n.build(Normalize, x, axes=list(range(2, n.rank(x))), epsilon=n.float("epsilon", 1e-5))
    channels = [1, -1, *[1] * (n.rank(x) - 2)]
    channels[1] = n.shape(x)[1]
    return scaled(n, normal, n.reshape(n.input(1), channels), n.reshape(n.input(2), channels))


@converter("GroupNormalization")
def group_normalization(n: NodeContext) -> SSAValue:
    """Scale and bias per group (opset 18) or per channel (from 21)."""
    x = n.ranked(0, 3, 8)
    shape = n.shape(x)
    groups, channels = n.int("num_groups"), shape[1]
    sentence = f"{channels} channels do not make {groups} groups"
    n.require(groups > 0, sentence)
    n.require_equal(channels % groups, 0, sentence)
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
def batch_normalization(n: NodeContext) -> list[SSAValue | None]:
    """Inference is one multiplication and one addition per channel; training mode uses the batch's own statistics."""
    x = n.input(0)
    kind, epsilon = element_of(x), n.float("epsilon", 1e-5)
    shape = list(n.shape(x))
    if n.opset >= 9 or n.flag("spatial", True):
        shape = [1, n.shape(x)[1] if n.rank(x) > 1 else 1, *[1] * (n.rank(x) - 2)][: n.rank(x)]
    else:
        shape[0] = 1
    if n.opset >= 14 and n.flag("training_mode"):
        return _training(n, x, shape, epsilon)
    parameters = [n.input(index) for index in range(1, 5)]
    for value in parameters:
        sentence = f"scale, bias, mean and variance are {math.prod(shape)} numbers each"
        n.require_equal(math.prod(n.shape(value)), math.prod(shape), sentence)
    values = [n.importer.evaluate(value) for value in parameters]
    if all(value is not None for value in values):
        scale, bias, mean, variance = (np.asarray(value, np.float64) for value in values)
        with np.errstate(all="ignore"):
            factor = scale / np.sqrt(variance + epsilon)
            offset = bias - mean * factor
        return [scaled(n, x, n.constant(factor.reshape(shape), kind), n.constant(offset.reshape(shape), kind))]
    wide = widened(n, x)
    scale, bias, mean, variance = (n.cast(n.reshape(value, shape), element_of(wide)) for value in parameters)
    return [n.cast(_normalized(n, wide, mean, variance, scale, bias, epsilon), kind)]


def _normalized(
    n: NodeContext, x: SSAValue, mean: SSAValue, variance: SSAValue, scale: SSAValue, bias: SSAValue, epsilon: float
) -> SSAValue:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias."""
    deviation = n.build(graph_op("sqrt"), n.build(graph_op("add"), variance, n.number(epsilon, variance)))
    return scaled(n, n.build(graph_op("div"), n.build(graph_op("sub"), x, mean), deviation), scale, bias)


def _training(n: NodeContext, x: SSAValue, shape: list[int], epsilon: float) -> list[SSAValue | None]:
    """The batch's statistics, and the running ones moved towards them by 1 - momentum."""
    kind = element_of(x)
    wide = widened(n, x)
    axes = [axis for axis in range(n.rank(x)) if axis != 1]
    mean, variance = moments(n, wide, axes)
    scale, bias = (n.cast(n.reshape(n.input(index), shape), element_of(wide)) for index in (1, 2))
    result = n.cast(_normalized(n, wide, mean, variance, scale, bias, epsilon), kind)
    results: list[SSAValue | None] = [result]
    momentum = n.float("momentum", 0.9)
    for index, batch in ((3, mean), (4, variance)):
        running = n.cast(n.input(index), element_of(wide))
        kept = n.build(graph_op("mul"), running, n.number(momentum, running))
        own = n.build(graph_op("mul"), n.reshape(batch, n.shape(running)), n.number(1.0 - momentum, running))
        results.append(n.cast(n.build(graph_op("add"), kept, own), element_of(n.input(index))))
    return results
