"""Matrix products, sums of products, convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv, ConvTranspose
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.errors import INVALID_NODE
from penstock.compiler.extents import Extent, ceildiv, is_static, largest
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.converters.windows import Axis, is_open, windows_product
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal

MAX_SPATIAL = 3
AUTO_PAD = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def matmul(n: NodeContext, a: SSAValue, b: SSAValue) -> SSAValue:
    """numpy's matmul, vectors included."""
    n.require(n.rank(a) > 0 and n.rank(b) > 0, "a matrix product takes no scalars")
    left, right = n.rank(a) == 1, n.rank(b) == 1
    a = n.reshape(a, [1, *n.shape(a)]) if left else a
    b = n.reshape(b, [*n.shape(b), 1]) if right else b
    if n.rank(b) == 2 and n.rank(a) > 2 and n.shape(a)[-1] == n.shape(b)[0]:
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
    a, b = n.ranked(0, 2), n.ranked(1, 2)
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
    auto = n.choice("auto_pad", "NOTSET", *AUTO_PAD)
    if auto == "NOTSET":
        pads = [int(item) for item in n.attribute_list("pads", [0] * (2 * rank))]
        n.require(len(pads) == 2 * rank, f"pads are {2 * rank} numbers, not {len(pads)}")
        return pads[:rank], pads[rank:]
    if auto == "VALID":
        return [0] * rank, [0] * rank
    low: list[int] = []
    high: list[int] = []
    for extent, size, stride, dilation in zip(extents, window, strides, dilations, strict=True):
        outputs = ceildiv(extent, stride)
        total = largest(0, (outputs - 1) * stride + (size - 1) * dilation + 1 - extent)
        small, large = total // 2, ceildiv(total, 2)
        low.append(small if auto == "SAME_UPPER" else large)
        high.append(large if auto == "SAME_UPPER" else small)
    return low, high


def add_bias(n: NodeContext, x: SSAValue, bias: SSAValue | None) -> SSAValue:
    """A bias per channel of a channels-first tensor."""
    if bias is None:
        return x
    sentence = f"a bias of shape {list(n.shape(bias))} for {n.shape(x)[1]} channels"
    n.require(n.rank(bias) == 1, sentence)
    n.require_equal(n.shape(bias)[0], n.shape(x)[1], sentence)
    return n.build(graph_op("add"), x, n.reshape(bias, [1, n.shape(bias)[0], *[1] * (n.rank(x) - 2)]))


def convolved(n: NodeContext, weights: int = 1) -> tuple[SSAValue, SSAValue, tuple[int, ...], tuple[int, ...]]:
    """Input, weights (operand number ``weights``), extents of the spatial axes, window of a convolution."""
    x = n.ranked(0, 3, MAX_SPATIAL + 2)
    w = n.ranked(weights, n.rank(x))
    extents, window = n.shape(x)[2:], n.shape(w)[2:]
    stated = n.attribute_list("kernel_shape", window)
    sentence = f"kernel_shape is {stated}, but the weights have {list(window)}"
    n.require(len(stated) == len(window), sentence)
    for own, extent in zip(stated, window, strict=True):
        n.require_equal(extent, own, sentence)
    groups = n.int("group", 1)
    n.require(groups > 0, f"group is {groups}")
    return x, w, extents, window


def convolution(n: NodeContext, x: SSAValue, w: SSAValue, extents: Sequence[int], window: Sequence[int]) -> SSAValue:
    """The convolution of ``x`` with ``w`` as the node's attributes say it."""
    strides = n.per_axis("strides", len(extents), 1, 1)
    dilations = n.per_axis("dilations", len(extents), 1, 1)
    low, high = spatial_pads(n, extents, window, strides, dilations)
    if any(p < 0 for p in (*low, *high)):
        raise n.unsupported("negative pads are not compiled", "Slice the input instead.")
    groups = n.int("group", 1)
    if not is_open(groups, n.shape(w)):
        return n.build(Conv, x, w, strides=strides, dilations=dilations, pads_low=low, pads_high=high, groups=groups)
    axes = [
        Axis(e, k, n.positive((e + before + after - (k - 1) * d - 1) // s + 1), s, d, before)
        for e, k, s, d, before, after in zip(extents, window, strides, dilations, low, high, strict=True)
    ]
    return windows_product(n, x, w, axes, groups)


@converter("Conv")
def conv(n: NodeContext) -> SSAValue:
    """One to three spatial axes; groups, dilations, strides, auto_pad."""
    return add_bias(n, convolution(n, *convolved(n)), n.optional(2))


@converter("ConvTranspose")
def conv_transpose(n: NodeContext) -> SSAValue:
    """One to three spatial axes; groups, dilations, strides, output_padding, output_shape, auto_pad."""
    x, w, extents, window = convolved(n)
    rank = len(extents)
    strides, dilations = n.per_axis("strides", rank, 1, 1), n.per_axis("dilations", rank, 1, 1)
    extra = n.per_axis("output_padding", rank, 0, 0)
    full = [
        s * (e - 1) + o + (k - 1) * d + 1
        for s, e, o, k, d in zip(strides, extents, extra, window, dilations, strict=True)
    ]
    auto = n.choice("auto_pad", "NOTSET", *AUTO_PAD)
    wanted = [int(item) for item in n.attribute_list("output_shape")][-rank:]
    n.require(len(wanted) in (0, rank), f"output_shape has {rank} numbers, not {len(wanted)}")
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
    if not is_static(window):
        outputs = [n.positive(f - before - after) for f, before, after in zip(full, low, high, strict=True)]
        axes = [Axis(*each) for each in zip(extents, window, outputs, strides, dilations, low, strict=True)]
        product = windows_product(n, x, w, axes, n.int("group", 1), transposed=True)
        return add_bias(n, product, n.optional(2))
    extra = [o + largest(0, -h) for o, h in zip(extra, high, strict=True)]
    high = [largest(0, h) for h in high]
    if any(p < 0 for p in low):
        raise n.unsupported("an output larger than the transposed convolution gives is not compiled")
    product = n.build(
        ConvTranspose, x, w, strides=strides, dilations=dilations, pads_low=low, pads_high=high, output_padding=extra,
        groups=n.int("group", 1),
    )  # fmt: skip
    return add_bias(n, product, n.optional(2))


@converter("Einsum")
def einsum(n: NodeContext) -> SSAValue:
    """Any equation, with ellipsis and indices repeated within one operand (its diagonal)."""
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
    n.require(
        len(set(right)) == len(right) and set(right) <= set("".join(terms)), f"the equation {equation} is not valid"
    )
    diagonals = [_diagonal(n, value, term) for value, term in zip(operands, terms, strict=True)]
    operands, terms = [value for value, _ in diagonals], [term for _, term in diagonals]
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
    for term, width in zip(terms, widths, strict=True):
        letters = term.replace("...", "", 1)
        fits = (not letters or letters.isalpha()) and (0 <= width <= len(spare) if "..." in term else width == 0)
        n.require(fits, f"the term '{term}' of the equation does not fit its operand")
    most = max((w for w, t in zip(widths, terms, strict=True) if "..." in t), default=0)
    dots = "".join(spare[:most])
    return [t.replace("...", dots[most - w :]) for t, w in zip(terms, widths, strict=True)], dots


def _diagonal(n: NodeContext, value: SSAValue, labels: str) -> tuple[SSAValue, str]:
    """``value`` with every index once: repeated axes are moved to the end, and their diagonal is a strided slice."""
    repeated = next((label for label in labels if labels.count(label) > 1), None)
    if repeated is None:
        return value, labels
    first, second = [axis for axis, label in enumerate(labels) if label == repeated][:2]
    extent = n.shape(value)[first]
    other = n.shape(value)[second]
    n.require_equal(extent, other, f"the index {repeated} stands for {extent} and {other}")
    rest = [axis for axis in range(len(labels)) if axis not in (first, second)]
    kept = [n.shape(value)[axis] for axis in rest]
    flat = n.reshape(n.transpose(value, [*rest, first, second]), [*kept, extent * extent])
    picked = slice_of(n, flat, {}, {len(kept): extent}, {len(kept): extent + 1})
    return _diagonal(n, picked, "".join(labels[axis] for axis in rest) + repeated)


def _contract(
    n: NodeContext, a: SSAValue, left: str, b: SSAValue, right: str, needed: set[str]
) -> tuple[SSAValue, str]:
    """Two operands as one batched matrix product: labels in both and needed are batch, in both and not needed
    summed."""
    for label in set(left) & set(right):
        pair = n.shape(a)[left.index(label)], n.shape(b)[right.index(label)]
        if 1 not in pair:
            n.require_equal(*pair, f"an index of the equation stands for extents {pair[0]} and {pair[1]}")
    sizes = dict(zip(left, n.shape(a), strict=True)) | {
        label: extent for label, extent in zip(right, n.shape(b), strict=True) if extent != 1 or label not in left
    }
    shared = [label for label in left if label in right]
    batch = [label for label in shared if label in needed]
    summed = [label for label in shared if label not in needed]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]

    def arranged(x: SSAValue, labels: str, order: list[str], shape: list[Extent]) -> SSAValue:
        wide = n.expand(x, [sizes[label] for label in labels])
        return n.reshape(n.transpose(wide, [labels.index(label) for label in order]), shape)

    def extent(labels: list[str]) -> Extent:
        return math.prod(sizes[label] for label in labels)

    x = arranged(a, left, batch + rows + summed, [extent(batch), extent(rows), extent(summed)])
    y = arranged(b, right, batch + summed + columns, [extent(batch), extent(summed), extent(columns)])
    product = n.build(Matmul, x, y)
    labels = batch + rows + columns
    return n.reshape(product, [sizes[label] for label in labels]), "".join(labels)
