"""Quantised operators of the domain com.microsoft: weights of few bits, and functions of quantised tensors.

Functions are computed in f32 on what the quantised numbers stand for, and their results quantised again.
"""

from __future__ import annotations

import math

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.normalization import Softmax
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import F32, I32, I64, U8, is_float, is_storage
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.linear import matmul
from penstock.compiler.frontends.onnx.converters.microsoft import DOMAIN
from penstock.compiler.frontends.onnx.converters.microsoft_attention import part, self_attention
from penstock.compiler.frontends.onnx.converters.pooling import pooled
from penstock.compiler.frontends.onnx.converters.quantization import (
    blockwise,
    dynamically,
    moved,
    per_row,
    quantized,
    rescaled,
)
from penstock.compiler.frontends.onnx.node_context import NodeContext

# Weights of few bits -------------------------------------------------------------------------------------------------


def unpacked(n: NodeContext, x: SSAValue, bits: int) -> SSAValue:
    """Bytes of numbers of ``bits`` bits, the first in the lowest: one number to a byte along the last axis."""
    if bits == 8:
        return x
    *outer, count = n.shape(x)
    places = n.constant(np.arange(0, 8, bits, dtype=np.uint8))
    shifted = n.build(graph_op("shift_right"), n.reshape(x, [*outer, count, 1]), places)
    low = n.build(graph_op("bit_and"), shifted, n.number((1 << bits) - 1, shifted))
    return n.reshape(low, [*outer, count * 8 // bits])


def _bits(n: NodeContext) -> int:
    bits = n.int("bits", 4)
    if bits not in (2, 4, 8):
        raise n.unsupported(f"weights of {bits} bits are not compiled", "Quantise to 2, 4 or 8 bits.")
    return bits


@converter("MatMulNBits", domain=DOMAIN)
def matmul_nbits(n: NodeContext) -> SSAValue:
    """Weights of 2, 4 and 8 bits in blocks, zero points packed or not, a bias; products in f32, whatever
    accuracy_level says. Reordered (g_idx) and prepacked weights are refused."""
    if n.has(4) or n.int("weight_prepacked", 0):
        raise n.unsupported("reordered (g_idx) and prepacked weights are not compiled")
    bits, block, depth, columns = _bits(n), n.int("block_size"), n.int("K"), n.int("N")
    n.require(
        block > 0 and block * bits % 8 == 0 and depth > 0 and columns > 0, "its sizes are 1 or more, blocks of bytes"
    )
    a, blocks = n.input(0), -(-depth // block)
    n.require(element_of(n.input(1)) == U8, f"its weights are ui8, not {n.type_name(n.input(1))}")
    packed = _sized(n, n.input(1), [columns, blocks, block * bits // 8], "weights")
    weights = n.cast(unpacked(n, packed, bits), F32)
    scales = n.cast(_sized(n, n.input(2), [columns, blocks, 1], "scales"), F32)
    if not n.has(3):
        zero = n.number(1 << (bits - 1), weights)
    elif is_float(element_of(n.input(3))):
        zero = n.cast(_sized(n, n.input(3), [columns, blocks, 1], "zero points"), F32)
    else:
        zeros = unpacked(n, _sized(n, n.input(3), [columns, -(-blocks * bits // 8)], "zero points"), bits)
        zero = n.reshape(n.cast(part(n, zeros, 1, 0, blocks), F32), [columns, blocks, 1])
    numbers = n.build(graph_op("mul"), n.build(graph_op("sub"), weights, zero), scales)
    numbers = part(n, n.reshape(numbers, [columns, blocks * block]), 1, 0, depth)
    product = matmul(n, a, n.cast(n.transpose(numbers, (1, 0)), element_of(a)))
    return n.build(graph_op("add"), product, n.input(5)) if n.has(5) else product


def _sized(n: NodeContext, x: SSAValue, shape: list[int], what: str) -> SSAValue:
    """A stored parameter under ``shape``; files may hold it flat."""
    found, wanted = math.prod(n.shape(x)), math.prod(shape)
    n.require(found == wanted, f"its {what} are {wanted} numbers, not {found}")
    return n.reshape(x, shape)


@converter("GatherBlockQuantized", domain=DOMAIN)
def gather_block_quantized(n: NodeContext) -> SSAValue:
    """Data of 2, 4 and 8 bits, packed in bytes or as int4 and uint4; indices outside of the axis give zeros."""
    data, indices, scales = n.input(0), n.input(1), n.input(2)
    rank, kind = n.rank(data), element_of(data)
    axis, along = n.axis("gather_axis", 0, rank), n.axis("quantize_axis", 1, rank)
    if axis == along or not isinstance(kind, IntegerType):
        raise n.unsupported("blocks along the gathered axis and floating-point data are not compiled")
    bits = _bits(n) if kind == U8 else 8
    if bits < 8 and along != rank - 1 and n.has(3):
        raise n.unsupported("packed zero points are compiled for blocks along the last axis only")
    pick = [n.build(Gather, x, indices, axis=axis) for x in (data, scales)]
    moved_by = n.rank(indices) - 1 if along > axis else 0
    numbers, shape = n.cast(unpacked(n, pick[0], bits), I32), n.shape(pick[1])
    along += moved_by
    if n.has(3):
        zeros = n.cast(unpacked(n, n.build(Gather, n.input(3), indices, axis=axis), bits), I32)
        zeros = part(n, zeros, along, 0, shape[along])
        numbers = n.build(graph_op("sub"), numbers, _spread(n, zeros, along, numbers))
    elif not is_storage(kind):
        numbers = n.build(graph_op("sub"), numbers, n.number(1 << (bits - 1), numbers))
    numbers = n.build(graph_op("mul"), n.cast(numbers, element_of(scales)), _spread(n, pick[1], along, numbers))
    extent, index = n.shape(data)[axis], n.cast(indices, I64)
    inside = n.build(graph_op("ge"), index, n.number(-extent, index))
    inside = n.build(graph_op("and"), inside, n.build(graph_op("lt"), index, n.number(extent, index)))
    inside = n.reshape(inside, [*n.shape(indices), *[1] * (rank - 1 - axis)])
    return n.build(graph_op("select"), inside, numbers, n.number(0, numbers))


def _spread(n: NodeContext, parameter: SSAValue, axis: int, like: SSAValue) -> SSAValue:
    """A blocked parameter with a number for each index of ``like``."""
    block, extent = n.int("block_size", 128), n.shape(like)[axis]
    blocks = n.shape(parameter)[axis]
    n.require(
        block > 0 and blocks == -(-extent // block), f"{extent} numbers in blocks of {block} do not make {blocks}"
    )
    return blockwise(n, parameter, axis, block, extent)


# Products ------------------------------------------------------------------------------------------------------------


@converter("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_quantize_matmul(n: NodeContext) -> SSAValue:
    """The left factor quantised by its own range; the right one's parameters per tensor or per column."""
    left, scale, point = dynamically(n, n.input(0))
    return _product(n, (left, n.input(1)), (scale, n.input(2)), (point, n.optional(3)), n.optional(4))


@converter("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_integer_to_float(n: NodeContext) -> SSAValue:
    """Parameters per tensor, per row of the left and per column of the right factor."""
    a = n.input(0)
    scale = per_row(n, n.input(2), a)
    assert scale is not None
    points = (per_row(n, n.optional(4), a), n.optional(5))
    return _product(n, (a, n.input(1)), (scale, n.input(3)), points, n.optional(6))


def _product(
    n: NodeContext,
    factors: tuple[SSAValue, SSAValue],
    scales: tuple[SSAValue, SSAValue],
    points: tuple[SSAValue | None, SSAValue | None],
    bias: SSAValue | None,
) -> SSAValue:
    """The product of quantised factors in f32."""
    total = matmul(n, *(moved(n, x, point) for x, point in zip(factors, points, strict=True)))
    product = n.build(graph_op("mul"), n.cast(total, F32), n.build(graph_op("mul"), *scales))
    return product if bias is None else n.build(graph_op("add"), product, bias)


@converter("QGemm", domain=DOMAIN)
def qgemm(n: NodeContext) -> SSAValue:
    """Transposes, alpha, a bias of i32; a result in f32 or quantised; the right factor's parameters per column."""
    a, b = n.ranked(0, 2), n.ranked(3, 2)
    left = moved(n, a, n.optional(2))
    if n.flag("transB"):
        points = n.optional(5)
        columns = points is not None and math.prod(n.shape(points)) > 1
        right = moved(n, b, n.reshape(points, [n.shape(b)[0], 1]) if points is not None and columns else points)
    else:
        right = moved(n, b, n.optional(5))
    left = n.transpose(left, (1, 0)) if n.flag("transA") else left
    right = n.transpose(right, (1, 0)) if n.flag("transB") else right
    total = matmul(n, left, right)
    if n.has(6):
        total = n.build(graph_op("add"), total, n.input(6))
    scale = n.build(graph_op("mul"), n.input(1), n.number(n.float("alpha", 1.0), n.input(1)))
    if n.has(7) and n.has(8):
        return rescaled(n, total, scale, n.input(4), n.input(7), n.input(8))
    return n.build(graph_op("mul"), n.cast(total, F32), n.build(graph_op("mul"), scale, n.input(4)))


@converter("QAttention", domain=DOMAIN)
def qattention(n: NodeContext) -> list[SSAValue]:
    """As Attention, the projection a product of quantised factors; weights' parameters per tensor or per column."""
    factors, scales = (n.ranked(0, 3), n.ranked(1, 2)), (n.input(3), n.input(4))
    projected = _product(n, factors, scales, (n.optional(6), n.optional(7)), n.input(2))
    return self_attention(n, projected, n.optional(5), n.optional(8), None)


# Functions -----------------------------------------------------------------------------------------------------------


def stands_for(n: NodeContext, first: int) -> SSAValue:
    """What the quantised input ``first`` stands for, its scale and zero point the next inputs, in f32."""
    scale = n.cast(n.reshape(n.input(first + 1), []), F32)
    zero = n.optional(first + 2)
    distance = n.cast(moved(n, n.input(first), None if zero is None else n.reshape(zero, [])), F32)
    return n.build(graph_op("mul"), distance, scale)


def held(n: NodeContext, x: SSAValue, scale: int, like: SSAValue) -> SSAValue:
    """``x`` quantised: the inputs ``scale`` and the next are its parameters, ``like`` its type without the second."""
    zero = n.optional(scale + 1)
    zero = None if zero is None else n.reshape(zero, [])
    units = n.build(graph_op("div"), x, n.cast(n.reshape(n.input(scale), []), F32))
    return quantized(n, units, zero, element_of(like))


@converter("QLinearAdd", "QLinearMul", domain=DOMAIN)
def qlinear_binary(n: NodeContext) -> SSAValue:
    """Per tensor, with broadcasting; zero points may be left out."""
    value = n.build(graph_op("add" if n.node.op == "QLinearAdd" else "mul"), stands_for(n, 0), stands_for(n, 3))
    return held(n, value, 6, n.input(0))


@converter("QLinearSigmoid", "QLinearLeakyRelu", domain=DOMAIN)
def qlinear_unary(n: NodeContext) -> SSAValue:
    """Per tensor; zero points may be left out."""
    x = stands_for(n, 0)
    if n.node.op == "QLinearSigmoid":
        return held(n, n.build(graph_op("sigmoid"), x), 3, n.input(0))
    return held(n, n.build(graph_op("leaky_relu"), x, alpha=n.float("alpha", 0.01)), 3, n.input(0))


@converter("QLinearSoftmax", domain=DOMAIN)
def qlinear_softmax(n: NodeContext) -> SSAValue:
    """Any axis; by the attribute opset, over all axes from ``axis`` on before 13."""
    x = stands_for(n, 0)
    shape, axis = n.shape(x), n.axis("axis", -1, n.rank(x))
    if n.int("opset") >= 13:
        return held(n, n.build(Softmax, x, axis=axis), 3, n.input(0))
    flat = n.reshape(x, [math.prod(shape[:axis]), math.prod(shape[axis:])])
    return held(n, n.reshape(n.build(Softmax, flat, axis=1), shape), 3, n.input(0))


@converter("QLinearConcat", domain=DOMAIN)
def qlinear_concat(n: NodeContext) -> SSAValue:
    """Any number of tensors, each with its own parameters."""
    n.require(len(n.inputs) >= 5 and len(n.inputs) % 3 == 2, "it takes two parameters, then three operands a tensor")
    parts = [held(n, stands_for(n, first), 0, n.input(first)) for first in range(2, len(n.inputs), 3)]
    return n.build(Concat, *parts, axis=n.axis("axis", None, n.rank(parts[0])))


@converter("QLinearWhere", domain=DOMAIN)
def qlinear_where(n: NodeContext) -> SSAValue:
    """Per tensor, with broadcasting."""
    return held(n, n.build(graph_op("select"), n.input(0), stands_for(n, 1), stands_for(n, 4)), 7, n.input(1))


@converter("QLinearAveragePool", domain=DOMAIN)
def qlinear_average_pool(n: NodeContext) -> SSAValue:
    """As AveragePool; channels first or last."""
    x = stands_for(n, 0)
    last = [0, n.rank(x) - 1, *range(1, n.rank(x) - 1)]
    x = n.transpose(x, last) if n.flag("channels_last") else x
    (mean,) = pooled(n, x)
    if n.flag("channels_last"):
        mean = n.transpose(mean, [0, *range(2, n.rank(x)), 1])
    return held(n, mean, 3, n.input(0))


@converter("QLinearGlobalAveragePool", domain=DOMAIN)
def qlinear_global_average_pool(n: NodeContext) -> SSAValue:
    """Channels first or last."""
    x = n.ranked(0, 3, 8)
    axes = list(range(1, n.rank(x) - 1)) if n.flag("channels_last") else list(range(2, n.rank(x)))
    return held(n, _mean(n, axes, keep=True), 3, x)


@converter("QLinearReduceMean", domain=DOMAIN)
def qlinear_reduce_mean(n: NodeContext) -> SSAValue:
    """Any axes, kept or not."""
    rank = n.rank(n.input(0))
    axes = [n.normal_axis(int(axis), rank) for axis in n.attribute_list("axes")] or list(range(rank))
    return held(n, _mean(n, axes, keep=n.flag("keepdims", True)), 3, n.input(0))


def _mean(n: NodeContext, axes: list[int], *, keep: bool) -> SSAValue:
    """The mean of what input 0 stands for: an exact sum, scaled once."""
    zero = n.optional(2)
    total = moved(n, n.input(0), None if zero is None else n.reshape(zero, []))
    count = math.prod(n.shape(total)[axis] for axis in axes)
    n.require(count > 0, "there is no mean of nothing")
    total = n.cast(n.build(Reduce, total, kind="sum", axes=tuple(axes), keepdims=keep), F32)
    scale = n.cast(n.reshape(n.input(1), []), F32)
    return n.build(graph_op("mul"), total, n.build(graph_op("div"), scale, n.number(count, scale)))
