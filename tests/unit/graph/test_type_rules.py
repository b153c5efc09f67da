"""Every type rule refuses what does not fit, with one sentence that says what and why."""

from __future__ import annotations

from typing import Any

import pytest
from unit.graph.building import build

from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.base import TypeRuleError

PAIRS = {"b_panel": 8, "pairs": True}
WINOGRAD = {"tile": 2, "out_channels": 8, "pads_low": (0, 0), "pads_high": (0, 0)}
REFUSED: list[tuple[str, tuple[str, ...], str | None, dict[str, Any], str]] = [
    ("add", ("3xf32", "3xf16"), None, {}, "operands must share one element type, not f16, f32"),
    ("add", ("3xi1", "3xi1"), None, {}, "graph.add takes numeric operands, not i1"),
    ("add", ("3xf32", "4xf32"), None, {}, r"the shapes \[3\] and \[4\] do not broadcast together"),
    ("sqrt", ("3xi32",), None, {}, "graph.sqrt takes floating-point operands, not i32"),
    ("and", ("3xi8", "3xi8"), None, {}, "graph.and takes boolean operands, not i8"),
    ("lt", ("3xi1", "3xi1"), None, {}, "graph.lt takes numeric operands, not i1"),
    ("select", ("3xf32", "3xf32", "3xf32"), None, {}, "select takes a boolean condition"),
    ("select", ("3xi1", "3xf32", "3xf16"), None, {}, "two operands of one element type"),
    ("bit_and", ("3xf32", "3xf32"), None, {}, "graph.bit_and takes integer operands, not f32"),
    ("bit_not", ("3xi1",), None, {}, "graph.bit_not takes integer operands, not i1"),
    ("bit_cast", ("3xf32",), "3xi64", {}, "the bits of f32 are not taken as i64"),
    ("bit_cast", ("3xf16",), "3xi16", {}, "the bits of f16 are not taken as i16"),
    ("bit_cast", ("3xf32",), None, {}, "graph.bit_cast is built with its result type"),
    ("asin", ("3xi32",), None, {}, "graph.asin takes floating-point operands, not i32"),
    ("shift_left", ("3xi32", "3xi64"), None, {}, "share one element type"),
    ("cast", ("3xf32",), None, {}, "graph.cast is built with its result type"),
    ("cast", ("3xf32",), "3xf8e8m0", {"rounding": "odd"}, "rounding is 'odd'; it must be one of up, down, nearest"),
    ("mul", ("3xi4", "3xi4"), None, {}, "graph.mul does not take i4, which is only stored and converted"),
    ("matmul", ("3x3xf8e5m2", "3x3xf8e5m2"), None, {}, "graph.matmul does not take f8e5m2, which is only stored"),
    ("gather", ("3xf32", "2xui4"), None, {}, "takes integer indices, not ui4"),
    ("gelu", ("3xf32",), None, {"approximate": "sine"}, "approximate is 'sine'; it must be one of none, tanh"),
    ("reshape", ("3xf32",), None, {}, "graph.reshape is built with its result type"),
    ("reshape", ("3xf32",), "4xf32", {}, r"a tensor of shape \[3\] cannot be reshaped to \[4\]"),
    ("transpose", ("3x4xf32",), None, {"permutation": (0, 0)}, r"\[0,0\] is no permutation of the axes"),
    ("transpose", ("3x4xf32",), None, {}, "graph.transpose needs the parameter permutation"),
    ("expand", ("3xf32",), "3x2xf32", {}, r"do not broadcast|cannot be expanded to \[3,2\]"),
    ("expand", ("2x3xf32",), "3xf32", {}, r"a tensor of shape \[2,3\] cannot be expanded to \[3\]"),
    ("slice", ("5xf32",), "2xf32", {"starts": (4,), "steps": (1,)}, "takes indices 4 to 5 of axis 0, which has 5"),
    ("slice", ("5xf32",), "2xf32", {"starts": (0,), "steps": (0,)}, "step of a slice along axis 0 is 0"),
    ("slice", ("5xf32",), "2xf32", {"starts": (0, 1), "steps": (1,)}, "as many starts, steps and sizes"),
    ("concat", ("2x3xf32", "2x4xf32"), None, {"axis": 0}, r"\[2,3\] and \[2,4\] cannot be concatenated along axis 0"),
    ("concat", ("2xf32", "2xf16"), None, {"axis": 0}, "share one element type"),
    ("concat", ("2xf32",), None, {"axis": 3}, "axis 3 is outside a tensor of rank 1"),
    ("pad", ("2xf32", "f32"), None, {"low": (-1,), "high": (0,)}, "a pad is not negative"),
    ("pad", ("2xf32",), None, {"low": (1,), "high": (0,)}, "a value just in mode constant"),
    ("pad", ("2xf32", "2xf32"), None, {"low": (1,), "high": (0,)}, "the value of a pad is one element"),
    ("pad", ("2xf32",), None, {"low": (2,), "high": (0,), "mode": "reflect"}, "needs an axis longer than axis 0"),
    ("extent", (), "2xi64", {"values": (3,)}, r"1 extents do not make a tensor of shape \[2\]"),
    ("extent", (), "i32", {"values": (3,)}, "gives i64"),
    ("iota", (), "f32", {}, "rank 1 or more"),
    ("iota", (), "3xi1", {}, "not in booleans"),
    ("gather", ("3xf32", "2xf32"), None, {}, "takes integer indices, not f32"),
    ("gather", ("3xf32", "2xi64"), None, {"axis": 1}, "axis 1 is outside a tensor of rank 1"),
    ("gather", ("0xf32", "2xi64"), None, {}, "nothing can be gathered from axis 0"),
    ("gather_elements", ("3x4xf32", "4x4xi64"), None, {"axis": 1}, r"indices of shape \[4,4\] do not fit"),
    ("gather_nd", ("3x4xf32", "2x3xi64"), None, {}, "coordinates of 3 axes"),
    ("gather_nd", ("3x4xf32", "2x1xi64"), None, {"batch_dims": 1}, "do not share 1 leading axes"),
    ("scatter_nd", ("3xf32", "2xf32", "3xf32"), None, {}, "takes integer indices, not f32"),
    ("scatter_nd", ("3xf32", "2x1xi64", "2xf16"), None, {}, "updates of f16 cannot be put into a tensor of f32"),
    ("scatter_nd", ("3xf32", "2x1xi64", "3xf32"), None, {}, r"updates have shape \[3\], but \[2\] fits"),
    ("scatter_nd", ("3xf32", "2x2xi64", "2xf32"), None, {}, "coordinates of 2 axes do not fit"),
    ("scatter_nd", ("0xf32", "2x1xi64", "2xf32"), None, {}, "nothing can be scattered"),
    ("scatter_nd", ("3xi4", "2x1xi64", "2xi4"), None, {"reduction": "add"}, "only stored and converted"),
    ("scatter_nd", ("3xf32", "2x1xi64", "2xf32"), None, {"reduction": "mean"}, "reduction is 'mean'"),
    ("scatter_elements", ("3x4xf32", "4x4xi64", "4x4xf32"), None, {"axis": 1}, r"indices of shape \[4,4\] do not fit"),
    ("scatter_elements", ("3x4xf32", "3x2xi64", "3x4xf32"), None, {"axis": 1}, "updates have shape"),
    ("scatter_elements", ("0xf32", "2xi64", "2xf32"), None, {}, "nothing can be scattered along axis 0"),
    ("sample", ("1x2xf32", "1x3x1xf32"), None, {}, "has no batch, channel and spatial axes"),
    ("sample", ("1x2x4xf32", "1x3x2xf32"), None, {}, r"coordinates of shape \[1,3,2\] do not fit"),
    ("sample", ("1x2x4xf32", "1x3x1xi64"), None, {}, "coordinates are floating-point numbers, not i64"),
    ("sample", ("1x2x4xi8", "1x3x1xf32"), None, {}, "interpolation does not take i8"),
    ("sample", ("1x2x0xf32", "1x3x1xf32"), None, {}, "has no elements to sample"),
    ("roi_align", ("2x3x8xf32", "5x4xf32", "5xi64"), None, {"size": (1, 1)}, "regions are of images with 4 axes"),
    ("roi_align", ("2x3x8x8xf32", "5x5xf32", "5xi64"), None, {"size": (1, 1)}, "have 4 numbers each"),
    ("roi_align", ("2x3x8x8xf32", "5x4xf32", "4xi64"), None, {"size": (1, 1)}, "not one image for each box"),
    ("roi_align", ("2x3x8x8xf32", "5x4xf32", "5xf32"), None, {"size": (1, 1)}, "numbered by integers, not f32"),
    ("roi_align", ("2x3x8x8xf32", "5x4xf32", "5xi64"), None, {"size": (0, 1)}, "one bin or more"),
    ("roi_max_pool", ("2x3x8x8xf32", "5x5xf16"), None, {"size": (1, 1)}, "images of f32 and boxes of f16"),
    ("roi_max_pool", ("2x3x0x8xf32", "5x5xf32"), None, {"size": (1, 1)}, "have no elements to pool"),
    ("det", ("2x3xf32",), None, {}, "does not hold square matrices"),
    ("det", ("3x3xi32",), None, {}, "takes floating-point tensors, not i32"),
    ("reduce", ("3xf32",), None, {"kind": "and", "axes": (0,)}, "a reduction to and does not take f32"),
    ("reduce", ("3xf32",), None, {"kind": "sum", "axes": (1,)}, "axis 1 is outside a tensor of rank 1"),
    ("reduce", ("3xf32",), None, {"kind": "sum", "axes": (0, 0)}, "name one twice"),
    ("reduce", ("3xf32",), None, {"axes": (0,)}, "needs the parameter kind"),
    ("arg_reduce", ("0xf32",), None, {"kind": "max", "axis": 0}, "axis 0 is empty"),
    ("cumulative", ("3xi1",), None, {"axis": 0}, "takes numbers, not booleans"),
    ("top_k", ("3xf32",), None, {"axis": 0, "k": 4}, "4 elements are asked of an axis of 3"),
    ("non_zero", ("f32",), None, {"count": 1}, "rank 1 or more"),
    ("non_zero", ("3xf32",), None, {"count": -1}, "-1 elements cannot be counted"),
    ("measure", ("2xi64",), None, {"count": 1, "bound": 3}, "takes one i64"),
    ("measure", ("1xi64",), None, {"count": -1, "bound": 3}, "-1 is no size"),
    ("group", ("3xf32",), None, {}, r"takes rows, not a tensor of shape \[3\]"),
    ("suppress", ("1x2x3xf32", "1x1x2xf32", "i64", "f32"), None, {"room": 1}, r"not \[1,2,3\]"),
    ("suppress", ("1x2x4xf32", "1x1x3xf32", "i64", "f32"), None, {"room": 1}, "do not fit together"),
    ("suppress", ("1x2x4xf32", "1x1x2xf32", "i64", "f64"), None, {"room": 1}, "takes f32, and an i64"),
    ("matmul", ("2x3xf32", "4x5xf32"), None, {}, r"\[2,3\] and \[4,5\] has inner extents 3 and 4"),
    ("matmul", ("3xf32", "3x5xf32"), None, {}, "rank 2 or more"),
    ("matmul", ("2x3x4xf32", "3x4x5xf32"), None, {}, "do not broadcast"),
    ("matmul", ("2x3xf32", "1x3x8xf32"), None, {"b_panel": 8, "n": 9}, r"for 9 columns has shape \[2,3,8\]"),
    ("matmul", ("2x3xbf16", "3x4xf32"), None, {}, "share one element type"),
    ("conv", ("1x3x5xf32", "4x3x3xf16"), None, {}, "share one element type"),
    ("matmul", ("2x6xf32", "1x3x8x2xbf16"), None, {**PAIRS, "n": 8}, "pairs are of bf16, not of f32 and bf16"),
    ("matmul", ("2x5xbf16", "1x3x8x2xbf16"), None, {**PAIRS, "n": 8}, "an inner extent of 5 cannot be cut into pairs"),
    ("matmul", ("2x6xbf16", "1x3x8x2xbf16"), None, {**PAIRS, "n": 9}, "are not 2 panels of 3 pairs"),
    ("matmul", ("2x6xbf16", "6x8xbf16"), None, {"pairs": True, "n": 8}, "are not 0 panels of 3 pairs"),
    (
        "conv", ("1x6x5xbf16", "1x3x3x8x2xbf16"), None, {"panel": 8, "out_channels": 8, "pairs": True},
        "channels of one group, channels last",
    ),
    ("decompress", ("2x3x4x7x16xf32", "5x2xi32", "3x2xi32"), None, {}, "are of i32, not of f32, i32, i32"),
    ("decompress", ("2x3x4x8x16xi32", "5x2xi32", "3x2xi32"), None, {}, r"7, 16\], not \[2,3,4,8,16\]"),
    ("decompress", ("2x3x4x7x16xi32", "0x2xi32", "3x2xi32"), None, {}, r"places and bits, not \[0,2\]"),
    ("decompress", ("2x3x4x7x16xi32", "5x2xi32", "2x2xi32"), None, {}, r"of 2 panels is \[3,2\], not \[2,2\]"),
    ("pack", ("3xf32",), None, {"panel": 8}, "rank 2 or more"),
    ("pack", ("3x4xf32",), None, {"panel": 0}, "a panel has columns"),
    ("winograd_conv", ("1x5x5x16xf32", "1x25x16x32xf32"), None, {**WINOGRAD, "tile": 3}, "has 2 or 4 outputs"),
    ("winograd_conv", ("1x5x5x16xf32", "1x36x16x32xf32"), None, WINOGRAD, r"have shape \[1,16,16,32\]"),
    ("winograd_conv", ("1x5x5x16xf16", "1x16x16x32xf16"), None, WINOGRAD, "takes f32, not f16"),
    ("winograd_conv", ("1x2x5x16xf32", "1x16x16x32xf32"), None, WINOGRAD, "a window of 3 by 3 does not fit"),
    ("conv", ("1x3x5xf32", "4x2x3xf32"), None, {}, "2 input channels in 1 group"),
    ("conv", ("1x3x5xf32", "4x3x9xf32"), None, {}, "a window of 9 does not fit 5 elements along spatial axis 0"),
    ("conv", ("1x4x5xf32", "3x2x3xf32"), None, {"groups": 2}, "3 output channels cannot be cut into 2 groups"),
    ("conv", ("1x3x5xf32", "4x3x3x3xf32"), None, {}, "do not fit activations"),
    ("conv", ("1x3x5xf32", "4x3x3xf32"), None, {"strides": (0,)}, "strides of graph.conv are 1 numbers of at least 1"),
    ("conv", ("1x3x5xf32", "4x3x3xf32"), None, {"pads_low": (1, 1)}, "pads_low of graph.conv are 1 numbers"),
    ("conv", ("1x3xf32", "4x3xf32"), None, {}, "a batch axis, channels and spatial axes"),
    ("conv", ("1x5x3xf32", "1x3x3x8xf32"), None, {"panel": 8, "out_channels": 8}, "need the layout channels_last"),
    ("conv_transpose", ("1x3x5xf32", "4x3x3xf32"), None, {}, "4 input channels in 1 group"),
    ("conv_transpose", ("1x3x2xf32", "3x3x3xf32"), None, {"pads_low": (4,)}, "pads leave nothing"),
    ("pool", ("1x3x5xi32",), None, {"kind": "average", "window": (2,)}, "to average does not take i32"),
    ("pool", ("1x3x5xf32",), None, {"kind": "average", "window": (2,), "indices": True}, "only a maximum has indices"),
    ("pool", ("1x3x5xf32",), None, {"kind": "max", "window": (2, 2)}, "has 1 extents"),
    ("pool", ("1x3x5xf32",), None, {"kind": "max", "window": (2,), "overhang": (1,)}, "part of pads_high"),
    ("normalize", ("2x3xi32",), None, {"axes": (1,)}, "takes floating-point tensors, not i32"),
    ("normalize", ("2x3xf32",), None, {"axes": ()}, "one axis or more"),
    ("softmax", ("2x3xf32",), None, {"axis": 2}, "axis 2 is outside"),
    ("attention", ("1x2x3x4xf32", "1x2x3x5xf32", "1x2x3x4xf32"), None, {"scale": 1.0}, "do not fit together"),
    ("attention", ("1x3x3x4xf32", "1x2x3x4xf32", "1x2x3x4xf32"), None, {"scale": 1.0}, "cannot serve 3 heads"),
    ("attention", ("2x3x4xf32",) * 3, None, {"scale": 1.0}, "rank 4"),
    ("attention", ("1x2x3x4xf32",) * 3 + ("2x3xf32",), None, {"scale": 1.0}, "do(es)? not broadcast"),
    ("attention", ("1x2x3x4xf32",) * 3, None, {}, "needs the parameter scale"),
    ("lstm", ("7x2x3xf32", "1x20x3xf32", "1x20x5xf32", "1x41xf32", "1x2x5xf32", "1x2x5xf32"), None, {},
     r"operand b of graph.lstm has shape \[1,40\], not \[1,41\]"),
    ("lstm", ("7x2x3xf32", "1x20x3xf32", "1x20x5xf32", "1x40xf32", "1x2x5xf32", "1x2x5xf32", "2xi32"), None, {},
     "operands that extras say"),
    ("lstm", ("7x2x3xf32", "1x20x3xf32", "1x20x5xf32", "1x40xf32", "1x2x5xf32", "1x2x5xf32"), None,
     {"activations": "sigmoid,swish,tanh"}, "'swish' is no activation"),
    ("gru", ("7x2x3xf32", "1x15x3xf32", "1x15x5xf32", "1x30xf32", "1x2x5xf32"), None, {"activations": "tanh"},
     "has 2 activations per direction, not 1"),
    ("linear_attention", ("1x2x3xf32",) * 3 + ("1x2x3x3xf32",), None, {}, "takes q, k and v of rank 4"),
    (
        "linear_attention", ("1x2x3x4xf32", "1x2x2x4xf32", "1x2x2x4xf32", "1x2x4x4xf32"), None, {},
        "2 heads of keys cannot serve 3 heads of queries",
    ),
    (
        "linear_attention", ("1x2x2x4xf32", "1x2x2x4xf32", "1x2x2x4xf32", "1x2x4x5xf32"), None, {},
        r"operand state of graph.linear_attention has shape \[1,2,4,4\], not \[1,2,4,5\]",
    ),
    (
        "linear_attention", ("1x2x2x4xf32", "1x2x2x4xf32", "1x2x2x4xf32", "1x2x4x4xf64"), None, {},
        "operand state of graph.linear_attention does not take f64 beside f32",
    ),
    (
        "linear_attention", ("1x2x2x4xf32", "1x2x2x4xf32", "1x2x2x4xf32", "1x2x4x4xf32"), None, {"extras": "beta"},
        "has the operands that extras say",
    ),
    ("gru", ("7x2x3xf32", "1x15x3xf32", "1x15x5xf32", "1x30xf32", "1x2x5xf16"), None, {}, "does not take f16"),
    ("resize", ("4xf32",), "8xf32", {"mode": "linear", "scales": (0.0,)}, "scales of a resize are positive"),
    ("resize", ("4xi32",), "8xi32", {"mode": "linear", "scales": (2.0,)}, "interpolation does not take i32"),
    ("resize", ("4xf32",), "8xf32", {"mode": "linear", "scales": (1.0, 2.0)}, "as many scales and sizes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "types", "result", "parameters", "message"), REFUSED)
def test_refused(name: str, types: Any, result: Any, parameters: Any, message: str):
    with pytest.raises(TypeRuleError, match=message) as caught:
        build(name, *types, result=result, **parameters)
    assert "\n" not in str(caught.value)


def test_unknown_parameter_is_a_programming_error():
    with pytest.raises(TypeError, match=r"graph\.neg has no parameter"):
        build("neg", "3xf32", alpha=1)


def test_verifier_refuses_a_wrong_result_type():
    op = build("neg", "3xf32")
    wrong = operation("neg").create(operands=list(op.operands), result_types=[build("neg", "4xf32").out.type])
    with pytest.raises(TypeRuleError, match=r"graph\.neg must have result types"):
        wrong.verify()


def test_every_family_has_refusals():
    from penstock.compiler.dialects.graph import operations

    covered = {operation(name).__module__ for name, *_ in REFUSED}
    elsewhere = {f"penstock.compiler.dialects.graph.{name}" for name in ("structure", "custom", "loop")}
    assert {op.__module__ for op in operations()} - covered <= elsewhere
