"""One or more examples of every op: operand types, result type where the op is built with one, and parameters.

``CASES`` drives the round trip, the cost and the completeness test: a new op without an example fails.
"""

from __future__ import annotations

from typing import Any

Case = tuple[tuple[str, ...], str | None, dict[str, Any]]


def case(*types: str, result: str | None = None, **parameters: Any) -> Case:
    return types, result, parameters


_FLOAT_UNARY = (
    *("sqrt", "rsqrt", "reciprocal", "exp", "log", "erf", "tanh", "sigmoid", "sin", "cos", "floor", "ceil", "round"),
    *("tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
    *("is_nan", "softplus", "hard_swish"),
)
_ARITHMETIC = ("add", "sub", "mul", "div", "pow", "max", "min", "eq", "ne", "lt", "le", "gt", "ge")

CASES: dict[str, list[Case]] = {
    **{name: [case("2x3xf32"), case("0xf16"), case("f64"), case("5xbf16")] for name in _FLOAT_UNARY},
    **{name: [case("2x3xf32"), case("7xi8"), case("7xi64")] for name in ("neg", "abs", "sign", "relu")},
    **{name: [case("2x3xf32", "3xf32"), case("4x1xi64", "1x5xi64"), case("ui8", "ui8")] for name in _ARITHMETIC},
    **{name: [case("2x3xi1", "3xi1")] for name in ("and", "or", "xor")},
    "not": [case("4xi1")],
    "bit_not": [case("4xi8"), case("2x3xui64")],
    **{
        name: [case("2x3xi32", "3xi32"), case("4xui8", "1xui8")]
        for name in ("bit_and", "bit_or", "bit_xor", "shift_left", "shift_right")
    },
    "bit_cast": [case("2x3xf32", result="2x3xi32"), case("4xui64", result="4xf64"), case("3xi8", result="3xui8")],
    "is_inf": [case("4xf32"), case("4xf32", negative=False)],
    "gelu": [case("4xf32"), case("4xf32", approximate="tanh")],
    "leaky_relu": [case("4xf32"), case("4xf32", alpha=0.2)],
    "elu": [case("4xf32", alpha=1.5)],
    "hard_sigmoid": [case("4xf32", alpha=1 / 3, beta=0.4)],
    "cast": [
        case("4xf32", result="4xi64"), case("3xi1", result="3xf16"), case("3xi8", result="3xui16"),
        case("4xf32", result="4xf8e4m3fn", saturate=False), case("4xf16", result="4xf8e8m0", rounding="down"),
        case("2x3xi4", result="2x3xf32"), case("3xf4e2m1", result="3xui2"),
    ],
    "mod": [case("4xi32", "4xi32"), case("4xf32", "4xf32", fmod=True)],
    "select": [case("2x1xi1", "3xf32", "f32")],
    "checked": [case("2x3xf32", "i1", message="it is"), case("0xi64", "1xi1", message="it is")],
    "reshape": [case("2x3xf32", result="6xf32"), case("1xf32", result="f32"), case("0x3xf32", result="0xf32")],
    "transpose": [case("2x3x4xf32", permutation=(2, 0, 1)), case("f32", permutation=())],
    "expand": [case("3x1xf32", result="2x3x4xf32")],
    "slice": [
        case("5x6xf32", result="2x3xf32", starts=(1, 5), steps=(2, -2)),
        case("4xi1", result="0xi1", starts=(4,), steps=(1,)),
    ],
    "append": [case("2x5xf32", "2x3xf32", axis=1, start=2), case("4xi1", "0xi1", axis=0, start=4)],
    "concat": [case("2x3xf32", axis=0), case("2x3xf32", "2x1xf32", "2x0xf32", axis=1)],
    "pad": [
        case("2x3xf32", "f32", low=(0, 1), high=(2, 0)),
        case("2x3xf32", low=(1, 1), high=(0, 2), mode="reflect"),
        case("2x3xi64", low=(1, 1), high=(0, 2), mode="edge"),
    ],
    "extent": [case(result="2xi64", values=(3, 4)), case(result="i64", values=(7,))],
    "iota": [case(result="3x4xi64", axis=1), case(result="3xf32")],
    "non_zero": [case("3x4xf32", count=7), case("5xi1", count=3)],
    "measure": [case("1xi64", count=7, bound=9)],
    "group": [case("5x2xf32"), case("4x1xi1", sorted=False)],
    "suppress": [
        case("2x6x4xf32", "2x3x6xf32", "1xi64", "1xf32", room=3),
        case("1x5x4xf32", "1x2x5xf32", "i64", "f32", "1xf32", room=5, centered=True),
    ],
    "gather": [case("5x6xf32", "2x2xi64", axis=1), case("5x6xf32", "i32")],
    "gather_elements": [case("5x6xf32", "2x7xi64", axis=1)],
    "gather_nd": [case("2x3x4xf32", "2x5x1xi64", batch_dims=1), case("2x3xf32", "2xi64")],
    "scatter_nd": [
        case("4x3xf32", "2x1xi64", "2x3xf32"),
        case("4x3xi64", "5x2xi32", "5xi64", reduction="add"),
        case("3xi1", "2x0xi64", "2x3xi1", reduction="min"),
    ],
    "scatter_elements": [
        case("4x3xf16", "2x3xi64", "2x3xf16"),
        case("4x3xf32", "2x7xi64", "2x7xf32", axis=1, reduction="mul"),
    ],
    "reduce": [
        case("2x3xf32", kind="sum", axes=(0, 1)),
        case("2x3xi64", kind="max", axes=(1,), keepdims=True),
        case("2x3xi1", kind="and", axes=(0,)),
    ],
    "arg_reduce": [
        case("2x3xf32", kind="max", axis=1),
        case("3xi8", kind="min", axis=0, keepdims=True, select_last=True),
    ],
    "cumulative": [case("2x3xf32", axis=1), case("2x3xi64", axis=0, kind="prod", exclusive=True, reverse=True)],
    "top_k": [case("2x5xf32", axis=1, k=3), case("5xi32", axis=0, k=0, largest=False, sorted=False)],
    "matmul": [
        case("2x3xf32", "3x4xf32"),
        case("5x1x2x3xf16", "6x3x4xf16"),
        case("2x3xf32", "2x3x8xf32", b_panel=8, n=13),
        case("2x3xf32", "3x4xbf16"),
        case("5x2x6xbf16", "2x3x8x2xbf16", b_panel=8, n=13, pairs=True),
    ],
    "decompress": [case("2x3x4x7x16xi32", "5x2xi32", "3x2xi32")],
    "pack": [case("3x13xf32", panel=8), case("3x3x4x16xf32", panel=16)],
    "conv": [
        case("1x3x8x8xf32", "6x3x3x3xf32", strides=(2, 2), pads_low=(1, 1), pads_high=(1, 0)),
        case("1x4x9xf32", "8x2x3xf32", groups=2, dilations=(2,)),
        case("1x8x8x6xf32", "3x3x1x6xf32", groups=6, layout="channels_last"),
        case("1x8x8x6xf32", "2x3x3x6x8xf32", panel=8, out_channels=10, layout="channels_last"),
        case("1x3x9xf32", "8x3x3xbf16"),
        case("1x8x8x6xbf16", "2x3x3x3x8x2xbf16", panel=8, out_channels=10, layout="channels_last", pairs=True),
    ],
    "winograd_conv": [
        case("1x5x6x16xf32", "1x16x16x32xf32", tile=2, out_channels=20, pads_low=(1, 1), pads_high=(0, 1)),
        case("2x4x4x3xf32", "2x36x3x8xf32", tile=4, out_channels=16, pads_low=(0, 0), pads_high=(0, 0)),
    ],
    "conv_transpose": [
        case("1x4x5x5xf32", "4x3x3x3xf32", strides=(2, 2), output_padding=(1, 0)),
        case("1x5x4xf32", "3x4x2xf32", groups=2, layout="channels_last"),
    ],
    "pool": [
        case("1x3x8x8xf32", kind="max", window=(3, 3), strides=(2, 2)),
        case("1x3x8xf32", kind="max", window=(2,), indices=True),
        case("1x8x8x3xf16", kind="average", window=(3, 3), pads_low=(1, 1), layout="channels_last"),
    ],
    "normalize": [case("2x3x4xf32", axes=(2,)), case("2x3x4xf16", axes=(1, 2), center=False, epsilon=1e-6)],
    "softmax": [case("2x3xf32", axis=1)],
    "log_softmax": [case("2x3xf32", axis=0)],
    "attention": [
        case("2x4x3x8xf32", "2x2x5x8xf32", "2x2x5x6xf32", scale=0.25, causal=True, causal_offset=2),
        case("2x4x3x8xf32", "2x4x5x8xf32", "2x4x5x6xf32", "2x1x1x5xf32", scale=0.25, softcap=30.0),
    ],
    "linear_attention": [
        case("2x3x4x8xf32", "2x3x2x8xf32", "2x3x2x5xf32", "2x2x8x5xf32"),
        case(
            "2x3x4x8xf16", "2x3x2x8xf16", "2x3x2x5xf16", "2x2x8x5xf32", "2x3x2x8xf32", "2x3x2xf16",
            scale=0.5, extras="gate,beta",
        ),
    ],
    "lstm": [
        case("7x2x3xf32", "1x20x3xf32", "1x20x5xf32", "1x40xf32", "1x2x5xf32", "1x2x5xf32"),
        case(
            "7x2x3xf32", "2x20x3xf32", "2x20x5xf32", "2x40xf32", "2x2x5xf32", "2x2x5xf32", "2xi32", "2x15xf32",
            direction="bidirectional", extras="lengths,peepholes", clip=3.0, activations="sigmoid,tanh,elu(0.5)",
        ),
    ],
    "gru": [
        case("7x2x3xf32", "1x15x3xbf16", "1x15x5xbf16", "1x30xf32", "1x2x5xf32"),
        case("7x2x3xf32", "1x15x3xf32", "1x15x5xf32", "1x30xf32", "1x2x5xf32"),
        case(
            "7x2x3xf32", "1x15x3xf32", "1x15x5xf32", "1x30xf32", "1x2x5xf32", "2xi32",
            direction="reverse", extras="lengths", linear_before_reset=True,
        ),
    ],
    "rnn": [
        case("7x2x3xf32", "1x5x3xf32", "1x5x5xf32", "1x10xf32", "1x2x5xf32"),
        case(
            "7x2x3xf32", "2x5x3xf32", "2x5x5xf32", "2x10xf32", "2x2x5xf32", "2xi32",
            direction="bidirectional", extras="lengths", clip=1.5, activations="tanh,leaky_relu(0.5)",
        ),
    ],
    "sample": [
        case("1x2x4x5xf32", "1x3x6x2xf32"),
        case("2x3x7xi64", "2x5x1xf16", mode="nearest", outside="reflection", align_corners=True),
    ],
    "roi_align": [
        case("2x3x8x8xf32", "5x4xf32", "5xi64", size=(2, 3)),
        case("2x3x8x8xf16", "5x4xf16", "5xi32", size=(1, 1), kind="max", samples=2, scale=0.25, half_pixel=True),
    ],
    "roi_max_pool": [case("2x3x8x8xf32", "5x5xf32", size=(2, 3), scale=0.5)],
    "det": [case("2x3x3xf32"), case("0x0xf64")],
    "resize": [
        case("1x2x4x4xf32", result="1x2x8x6xf32", mode="linear", scales=(1.0, 1.0, 2.0, 1.5)),
        case("4xui8", result="3xui8", mode="nearest", scales=(0.75,), nearest_mode="floor"),
        case("4xui8", result="3xui8", mode="nearest", scales=(0.75,), coordinate_mode="asymmetric"),
    ],
}  # fmt: skip

BY_HAND = {"constant", "custom", "dispatch", "loop", "next", "yield"}
"""Ops that need more than operands and parameters; test_structure and test_custom_kernels have their examples."""
