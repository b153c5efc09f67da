"""Matrix products, convolutions and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv, ConvTranspose
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.errors import INVALID_NODE
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal


def matmul(n: NodeContext, a: SSAValue, b: SSAValue) -> SSAValue:
    """numpy's matmul, vectors included."""
    left, right = n.rank(a) == 1, n.rank(b) == 1
    a = n.reshape(a, [1, *n.shape(a)]) if left else a
    b = n.reshape(b, [*n.shape(b), 1]) if right else b
    if n.rank(b) == 2 and n.rank(a) > 2:
        *outer, depth = n.shape(a)
        rows = n.reshape(a, [math.prod(outer), depth])
        product = n.reshape(n.build(Matmul, rows, b), [*outer, n.shape(b)[1]])
    else:
        product = n.build(Matmul, a, b)
    shape = list(n.shape(product))
    if right:
        shape.pop(-1)
    if left:
        shape.pop(-1 if right else -2)
    return n.reshape(product, shape)


@converter("MatMul")
def convert_matmul(n: NodeContext) -> SSAValue:
    """All numeric types; vectors, matrices and batches."""
    return matmul(n, n.input(0), n.input(1))


@converter("Gemm")
def gemm(n: NodeContext) -> SSAValue:
    """Transposes, alpha and beta; the bias broadcasts."""
    a, b = n.input(0), n.input(1)
    a = n.transpose(a, (1, 0)) if n.flag("transA") else a
    b = n.transpose(b, (1, 0)) if n.flag("transB") else b
    product = n.build(Matmul, a, b)
    alpha, beta = n.float("alpha", 1.0), n.float("beta", 1.0)
    if alpha != 1.0:
        product = n.build(graph_op("mul"), product, n.number(alpha, product))
    bias = n.optional(2)
    if bias is None or beta == 0.0:
        return product
    if beta != 1.0:
        bias = n.build(graph_op("mul"), bias, n.number(beta, bias))
    return n.build(graph_op("add"), product, bias)


def spatial_pads(
    n: NodeContext, extents: Sequence[int], window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """(pads before, pads after) from ``pads`` or ``auto_pad``."""
    rank = len(extents)
    auto = n.text("auto_pad", "NOTSET")
    if auto == "NOTSET":
        pads = n.attribute_list("pads", [0] * (2 * rank))
        return pads[:rank], pads[rank:]
    if auto == "VALID":
        return [0] * rank, [0] * rank
    low: list[int] = []
    high: list[int] = []
    for extent, size, stride, dilation in zip(extents, window, strides, dilations, strict=True):
        outputs = -(-extent // stride)
        total = max(0, (outputs - 1) * stride + (size - 1) * dilation + 1 - extent)
        small, large = total // 2, total - total // 2
        low.append(small if auto == "SAME_UPPER" else large)
        high.append(large if auto == "SAME_UPPER" else small)
    return low, high


def add_bias(n: NodeContext, x: SSAValue, bias: SSAValue | None) -> SSAValue:
    """A bias per channel of a channels-first tensor."""
    if bias is None:
        return x
    return n.build(graph_op("add"), x, n.reshape(bias, [1, n.shape(bias)[0], *[1] * (n.rank(x) - 2)]))


@converter("Conv")
def conv(n: NodeContext) -> SSAValue:
    """One to three spatial axes; groups, dilations, strides, auto_pad."""
    x, w = n.input(0), n.input(1)
    extents, window = n.shape(x)[2:], n.shape(w)[2:]
    strides = n.attribute_list("strides", [1] * len(extents))
    dilations = n.attribute_list("dilations", [1] * len(extents))
    low, high = spatial_pads(n, extents, window, strides, dilations)
    if any(p < 0 for p in (*low, *high)):
        raise n.unsupported("negative pads are not compiled", "Slice the input instead.")
    product = n.build(
        Conv, x, w, strides=strides, dilations=dilations, pads_low=low, pads_high=high, groups=n.int("group", 1)
    )
    return add_bias(n, product, n.optional(2))


@converter("ConvTranspose")
def conv_transpose(n: NodeContext) -> SSAValue:
    """One to three spatial axes; groups, dilations, strides, output_padding, output_shape, auto_pad."""
    x, w = n.input(0), n.input(1)
    extents, window = n.shape(x)[2:], n.shape(w)[2:]
    rank = len(extents)
    strides = n.attribute_list("strides", [1] * rank)
    dilations = n.attribute_list("dilations", [1] * rank)
    extra = n.attribute_list("output_padding", [0] * rank)
    full = [
        s * (e - 1) + o + (k - 1) * d + 1
        for s, e, o, k, d in zip(strides, extents, extra, window, dilations, strict=True)
    ]
    auto = n.text("auto_pad", "NOTSET")
    wanted = n.attribute_list("output_shape")[-rank:]
    if auto in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        wanted = [e * s for e, s in zip(extents, strides, strict=True)]
    if wanted:
        total = [f - v for f, v in zip(full, wanted, strict=True)]
        half = [t // 2 for t in total]
        rest = [t - h for t, h in zip(total, half, strict=True)]
        low, high = (half, rest) if auto == "SAME_UPPER" else (rest, half)
        if auto == "NOTSET":
            low, high = rest, half
    else:
        low, high = (
            spatial_pads(n, extents, window, strides, dilations) if auto == "NOTSET" else ([0] * rank, [0] * rank)
        )
    extra = [o + max(0, -h) for o, h in zip(extra, high, strict=True)]
    high = [max(0, h) for h in high]
    if any(p < 0 for p in low):
        raise n.unsupported("an output larger than the transposed convolution gives is not compiled")
    product = n.build(
        ConvTranspose, x, w, strides=strides, dilations=dilations, pads_low=low, pads_high=high, output_padding=extra,
        groups=n.int("group", 1),
    )  # fmt: skip
    return add_bias(n, product, n.optional(2))


@converter("MaxPool", "AveragePool")
def pool(n: NodeContext) -> list[SSAValue]:
    """One to three spatial axes; ceil_mode, dilations, indices, count_include_pad, auto_pad."""
    x = n.input(0)
    extents = n.shape(x)[2:]
    window = n.attribute_list("kernel_shape")
    strides = n.attribute_list("strides", [1] * len(extents))
    dilations = n.attribute_list("dilations", [1] * len(extents))
    low, high = spatial_pads(n, extents, window, strides, dilations)
    parameters: dict[str, object] = {}
    if n.flag("ceil_mode"):
        grown = [_ceil_pad(*item) for item in zip(extents, window, strides, dilations, low, high, strict=True)]
        if n.node.op == "AveragePool" and n.flag("count_include_pad") and grown != high:
            raise n.unsupported("ceil_mode with count_include_pad is not compiled", "Set one of them to 0.")
        high = grown
    maximum = n.node.op == "MaxPool"
    if maximum and n.wants(1):
        parameters["indices"] = True
        parameters["column_major"] = n.flag("storage_order")
    op = n.op(
        Pool,
        x,
        kind="max" if maximum else "average",
        window=window,
        strides=strides,
        dilations=dilations,
        pads_low=low,
        pads_high=high,
        count_include_pad=not maximum and n.flag("count_include_pad"),
        **parameters,
    )
    return list(op.results)


def _ceil_pad(extent: int, window: int, stride: int, dilation: int, low: int, high: int) -> int:
    """The pad after that makes the last, incomplete window count (but not one that starts in the padding)."""
    reach = (window - 1) * dilation + 1
    outputs = -(-(extent + low + high - reach) // stride) + 1
    if (outputs - 1) * stride >= extent + low:
        outputs -= 1
    return max(high, (outputs - 1) * stride + reach - extent - low)


@converter("GlobalAveragePool", "GlobalMaxPool")
def global_pool(n: NodeContext) -> SSAValue:
    """Any number of spatial axes."""
    x = n.input(0)
    axes = list(range(2, n.rank(x)))
    maximum = n.node.op == "GlobalMaxPool"
    total = n.build(Reduce, x, kind="max" if maximum else "sum", axes=axes, keepdims=True)
    count = math.prod(n.shape(x)[2:])
    return total if maximum else n.build(graph_op("mul"), total, n.number(1.0 / count, total))


@converter("Einsum")
def einsum(n: NodeContext) -> SSAValue:
    """Any equation, with ellipsis; an index repeated within one operand is refused."""
    equation = n.text("equation").replace(" ", "")
    operands = [n.input(index) for index in range(len(n.inputs))]
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise Refusal(INVALID_NODE, f"the equation {equation} does not have {len(operands)} operands")
    terms, dots = _spell_out(n, terms, operands)
    if not arrow:
        counts = [label for term in terms for label in term]
        right = dots + "".join(sorted(c for c in set(counts) if counts.count(c) == 1 and c not in dots))
    else:
        right = right.replace("...", dots)
    if any(len(set(term)) != len(term) for term in terms):
        raise n.unsupported(f"the equation {equation} repeats an index within one operand", "Take the diagonal first.")
    value, labels = operands[0], terms[0]
    for index in range(1, len(operands)):
        needed = set(right) | {label for term in terms[index + 1 :] for label in term}
        value, labels = _contract(n, value, labels, operands[index], terms[index], needed)
    gone = [axis for axis, label in enumerate(labels) if label not in right]
    if gone:
        value = n.build(Reduce, value, kind="sum", axes=gone, keepdims=False)
        labels = "".join(label for label in labels if label in right)
    return n.transpose(value, [labels.index(label) for label in right])


def _spell_out(n: NodeContext, terms: list[str], operands: list[SSAValue]) -> tuple[list[str], str]:
    """Ellipses replaced by capital-letter-free labels of their own; returns also the longest one."""
    spare = [chr(0x3B1 + i) for i in range(20)]
    widths = [n.rank(o) - len(t.replace("...", "")) for o, t in zip(operands, terms, strict=True)]
    most = max((w for w, t in zip(widths, terms, strict=True) if "..." in t), default=0)
    dots = "".join(spare[:most])
    return [t.replace("...", dots[most - w :]) for t, w in zip(terms, widths, strict=True)], dots


def _contract(
    n: NodeContext, a: SSAValue, left: str, b: SSAValue, right: str, needed: set[str]
) -> tuple[SSAValue, str]:
    """Two operands as one batched matrix product: labels in both and needed are batch, in both and not needed
    summed."""
    sizes = dict(zip(left, n.shape(a), strict=True)) | {
        label: extent for label, extent in zip(right, n.shape(b), strict=True) if extent != 1 or label not in left
    }
    shared = [label for label in left if label in right]
    batch = [label for label in shared if label in needed]
    summed = [label for label in shared if label not in needed]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]

    def arranged(x: SSAValue, labels: str, order: list[str], shape: list[int]) -> SSAValue:
        wide = n.expand(x, [sizes[label] for label in labels])
        return n.reshape(n.transpose(wide, [labels.index(label) for label in order]), shape)

    def extent(labels: list[str]) -> int:
        return math.prod(sizes[label] for label in labels)

    x = arranged(a, left, batch + rows + summed, [extent(batch), extent(rows), extent(summed)])
    y = arranged(b, right, batch + summed + columns, [extent(batch), extent(summed), extent(columns)])
    product = n.build(Matmul, x, y)
    labels = batch + rows + columns
    return n.reshape(product, [sizes[label] for label in labels]), "".join(labels)
