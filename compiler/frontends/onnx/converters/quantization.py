"""Quantised operators: sums of products in exact 32-bit integers, scales in f32, every result rounded once.

A quantised number q stands for ``scale * (q - zero_point)``. The one idea: parameters are brought to a shape that
broadcasts with their tensor (one number, one per index of an axis, or one per block along it), then formulas are plain.
"""

from __future__ import annotations

import math

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dtypes import F32, F64, I1, I32, U8, StorageFloat, is_float, is_unsigned, type_name
from penstock.compiler.errors import INVALID_NODE
from penstock.compiler.extents import ceildiv
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.casting import converted
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.linear import add_bias, convolution, convolved, matmul
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal

MICROSOFT = "com.microsoft"  # where onnxruntime's tools put 16 and 4 bits before ONNX had them


def quantized(n: NodeContext, x: SSAValue, zero: SSAValue | None, kind: Attribute, saturate: bool = True) -> SSAValue:
    """``x`` in units of the result's scale, rounded halves to even, moved by ``zero``, held in ``kind``'s range (by
    8-bit floating-point only when it is to ``saturate``). NaN, which the standard leaves open, becomes the least
    integer, as in onnxruntime: a mask of -FLT_MAX gives quantisers an infinite scale, and NaN in every run."""
    whole = x if isinstance(kind, StorageFloat) else n.build(graph_op("round"), x)
    if zero is not None:
        whole = n.build(graph_op("add"), whole, n.cast(zero, element_of(whole)))
    if isinstance(kind, StorageFloat):
        return converted(n, whole, kind, saturate)
    low, high = integer_range(n, kind)
    least = n.number(float(low), whole)
    whole = n.build(graph_op("select"), n.build(graph_op("gt"), whole, least), whole, least)  # NaN becomes the least
    return n.cast(n.build(graph_op("min"), whole, n.number(float(high), whole)), kind)


def integer_range(n: NodeContext, kind: Attribute) -> tuple[int, int]:
    """The least and the greatest number of an integer type. Refuses the node for any other."""
    if not isinstance(kind, IntegerType) or kind == I1:
        raise Refusal(INVALID_NODE, f"{type_name(kind)} holds no quantised numbers")
    width = kind.width.data
    return (0, (1 << width) - 1) if is_unsigned(kind) else (-1 << (width - 1), (1 << (width - 1)) - 1)


def moved(n: NodeContext, q: SSAValue, zero: SSAValue | None) -> SSAValue:
    """q - zero point, as i32 (f32 for 8-bit floating-point)."""
    kind = F32 if isinstance(element_of(q), StorageFloat) else I32
    wide = n.cast(q, kind)
    return wide if zero is None else n.build(graph_op("sub"), wide, n.cast(zero, kind))


def aligned(n: NodeContext, parameter: SSAValue, x: SSAValue) -> SSAValue:
    """A scale or zero point of ``x`` under a shape that broadcasts with it: per tensor, per axis or blocked."""
    shape, own = n.shape(x), n.shape(parameter)
    if math.prod(own) == 1 and len(own) < 2:
        return n.reshape(parameter, [])
    axis = n.axis("axis", 1, len(shape))
    if len(own) == 1:
        sentence = f"{own[0]} scales or zero points for {shape[axis]} indices of axis {axis}"
        n.require_equal(own[0], shape[axis], sentence)
        return n.reshape(parameter, [own[0] if i == axis else 1 for i in range(len(shape))])
    block = n.int("block_size", 0)
    blocks = ceildiv(shape[axis], block) if block > 0 else 0
    wanted = tuple(blocks if i == axis else extent for i, extent in enumerate(shape))
    sentence = f"scales or zero points of shape {list(own)} where blocks of {block} need {list(wanted)}"
    n.require_same(own, wanted, sentence)
    return blockwise(n, parameter, axis, block, shape[axis])


def blockwise(n: NodeContext, parameter: SSAValue, axis: int, block: int, extent: int) -> SSAValue:
    """A parameter with one number for each ``block`` indices of ``axis``, as one for each of its ``extent`` indices."""
    shape = n.shape(parameter)
    before, blocks, after = list(shape[:axis]), shape[axis], list(shape[axis + 1 :])
    wide = n.expand(n.reshape(parameter, [*before, blocks, 1, *after]), [*before, blocks, block, *after])
    whole = n.reshape(wide, [*before, blocks * block, *after])
    return whole if blocks * block == extent else slice_of(n, whole, {}, {axis: extent}, {})


@converter("QuantizeLinear")
@converter("QuantizeLinear", domain=MICROSOFT)
def quantize_linear(n: NodeContext) -> SSAValue:
    """To integers of 2 to 16 bits and floating-point of 8 and 4; per tensor, per axis and blocked."""
    x, zero = n.input(0), n.optional(2)
    kind = element_of(zero) if zero is not None else U8
    if n.int("output_dtype", 0):
        kind = n.element_attribute("output_dtype")
    n.require(not is_float(kind), f"a result of type {type_name(kind)} is not an integer")
    precision = n.element_attribute("precision") if n.int("precision", 0) else F32
    scale = n.cast(aligned(n, n.input(1), x), F64 if precision == F64 else F32)
    units = n.build(graph_op("div"), n.cast(x, element_of(scale)), scale)
    zero = None if zero is None else aligned(n, zero, x)
    return quantized(n, units, zero, kind, n.flag("saturate", True))


@converter("DequantizeLinear")
@converter("DequantizeLinear", domain=MICROSOFT)
def dequantize_linear(n: NodeContext) -> SSAValue:
    """From integers of 2 to 32 bits and floating-point of 8 and 4; per tensor, per axis and blocked."""
    x, scale, zero = n.input(0), n.input(1), n.optional(2)
    kind = n.element_attribute("output_dtype") if n.int("output_dtype", 0) else element_of(scale)
    n.require(is_float(kind), f"a result of type {type_name(kind)} is no floating-point number")
    distance = n.cast(moved(n, x, None if zero is None else aligned(n, zero, x)), F32)
    return n.cast(n.build(graph_op("mul"), distance, n.cast(aligned(n, scale, x), F32)), kind)


@converter("DynamicQuantizeLinear")
def dynamic_quantize_linear(n: NodeContext) -> list[SSAValue]:
    """A tensor of zeros alone has scale 1 (the standard's formula leaves it undefined)."""
    return list(dynamically(n, n.input(0)))


def dynamically(n: NodeContext, x: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
    """``x`` in 8 bits, and the scale and zero point that its own range gives."""
    axes = tuple(range(n.rank(x)))
    zero = n.number(0, x)
    high = n.build(graph_op("max"), n.build(Reduce, x, kind="max", axes=axes), zero)
    low = n.build(graph_op("min"), n.build(Reduce, x, kind="min", axes=axes), zero)
    range_ = n.build(graph_op("div"), n.build(graph_op("sub"), high, low), n.number(255, x))
    scale = n.build(graph_op("select"), n.build(graph_op("eq"), range_, zero), n.number(1, x), range_)
    offset = n.build(graph_op("neg"), n.build(graph_op("div"), low, scale))
    point = quantized(n, offset, None, U8)
    return quantized(n, n.build(graph_op("div"), x, scale), point, U8), scale, point


def per_row(n: NodeContext, parameter: SSAValue | None, x: SSAValue) -> SSAValue | None:
    """A parameter of a left factor: one number, or one for each of its rows."""
    if parameter is None or n.rank(parameter) != 1 or n.rank(x) < 2:
        return parameter
    count = n.shape(parameter)[0]
    n.require(count in (1, n.shape(x)[-2]), f"{count} scales or zero points for {n.shape(x)[-2]} rows")
    return n.reshape(parameter, [count, 1])


@converter("MatMulInteger")
def matmul_integer(n: NodeContext) -> SSAValue:
    """Zero points per tensor, per row of the left and per column of the right factor."""
    a, b = n.input(0), n.input(1)
    return matmul(n, moved(n, a, per_row(n, n.optional(2), a)), moved(n, b, n.optional(3)))


@converter("QLinearMatMul")
def qlinear_matmul(n: NodeContext) -> SSAValue:
    """Scales and zero points per tensor, per row of the left and per column of the right factor."""
    a, b = n.input(0), n.input(3)
    product = matmul(n, moved(n, a, per_row(n, n.input(2), a)), moved(n, b, n.input(5)))
    a_scale = per_row(n, n.input(1), a)
    assert a_scale is not None
    return rescaled(n, product, a_scale, n.input(4), n.input(6), n.input(7))


def rescaled(
    n: NodeContext, total: SSAValue, a_scale: SSAValue, b_scale: SSAValue, y_scale: SSAValue, zero: SSAValue
) -> SSAValue:
    """A sum of products in i32, quantised with the result's scale and zero point."""
    a_scale, b_scale, y_scale = (n.cast(scale, F32) for scale in (a_scale, b_scale, y_scale))
    factor = n.build(graph_op("div"), n.build(graph_op("mul"), a_scale, b_scale), y_scale)
    return quantized(n, n.build(graph_op("mul"), n.cast(total, F32), factor), zero, element_of(zero))


def per_channel(n: NodeContext, parameter: SSAValue | None, axes: int) -> SSAValue | None:
    """A parameter of the weights, one number or one per output channel, before ``axes`` other axes."""
    if parameter is None or math.prod(n.shape(parameter)) == 1:
        return None if parameter is None else n.reshape(parameter, [])
    return n.reshape(parameter, [*n.shape(parameter), *[1] * axes])


@converter("ConvInteger")
def conv_integer(n: NodeContext) -> SSAValue:
    """One to three spatial axes; the weights' zero point per tensor or per output channel."""
    x, w, extents, window = convolved(n)
    zero = n.optional(2)
    zero = None if zero is None else n.reshape(zero, [])
    weights = moved(n, w, per_channel(n, n.optional(3), n.rank(w) - 1))
    return convolution(n, moved(n, x, zero), weights, extents, window)


@converter("QLinearConv")
def qlinear_conv(n: NodeContext) -> SSAValue:
    """One to three spatial axes; the weights' scale and zero point per tensor or per output channel."""
    x, w, extents, window = convolved(n, weights=3)
    axes = n.rank(w) - 1
    zero = n.reshape(n.input(2), [])
    total = convolution(n, moved(n, x, zero), moved(n, w, per_channel(n, n.input(5), axes)), extents, window)
    total = add_bias(n, total, n.optional(8))
    w_scale = per_channel(n, n.input(4), axes - 1)
    assert w_scale is not None
    x_scale, y_scale, y_zero = (n.reshape(n.input(index), []) for index in (1, 6, 7))
    return rescaled(n, total, x_scale, w_scale, y_scale, y_zero)
