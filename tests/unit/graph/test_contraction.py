"""Matrix products, packing and convolutions against numpy and onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from unit.graph.building import apply, build, onnxruntime_node, random

from penstock.compiler.dialects.graph.base import Cost


@pytest.mark.parametrize(
    ("a", "b"),
    [((1, 1), (1, 1)), ((3, 5), (5, 7)), ((2, 1, 3, 5), (4, 5, 1)), ((0, 5), (5, 2)), ((3, 0), (0, 2))],
)
def test_matmul(a: Any, b: Any):
    for dtype in (np.float32, np.float64, np.int32):
        x, y = (random(*a) * 4).astype(dtype), (random(*b, seed=1) * 4).astype(dtype)
        np.testing.assert_allclose(apply("matmul", x, y), np.matmul(x, y), rtol=1e-5, atol=1e-6)


def test_matmul_accumulates_half_precision_in_f32():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        a, b = np.ones((1, 5000), dtype), np.ones((5000, 1), dtype)
        assert float(apply("matmul", a, b)[0, 0]) == float(dtype(5000))


@pytest.mark.parametrize("columns", [1, 7, 8, 13])
def test_packed_matmul(columns: int):
    a, b = random(2, 3, 5), random(5, columns, seed=1)
    packed = apply("pack", b, panel=8)
    assert packed.shape == ((columns + 7) // 8, 5, 8)
    np.testing.assert_array_equal(packed[-1, :, (columns - 1) % 8 + 1 :], 0)
    np.testing.assert_array_equal(packed[0, :, 0], b[:, 0])
    np.testing.assert_array_equal(apply("matmul", a, packed, b_panel=8, n=columns), np.matmul(a, b))


CONVOLUTIONS: list[tuple[Any, Any, dict[str, Any]]] = [
    ((1, 1, 1), (1, 1, 1), {}),
    ((2, 3, 11), (5, 3, 4), {"strides": [3], "pads": [2, 1]}),
    ((1, 4, 9, 7), (6, 2, 3, 2), {"group": 2, "dilations": [2, 1], "pads": [1, 0, 2, 1]}),
    ((1, 6, 8, 8), (6, 1, 3, 3), {"group": 6, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 3, 8, 8), (6, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    ((1, 2, 5, 4, 6), (3, 2, 2, 3, 1), {"strides": [1, 2, 2]}),
]


def own(attributes: dict[str, Any]) -> dict[str, Any]:
    """ONNX's attributes under the dialect's names."""
    result = {
        name: tuple(attributes[name]) for name in ("strides", "dilations", "output_padding") if name in attributes
    }
    if "pads" in attributes:
        half = len(attributes["pads"]) // 2
        result |= {"pads_low": tuple(attributes["pads"][:half]), "pads_high": tuple(attributes["pads"][half:])}
    return result | {"groups": attributes.get("group", 1)}


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS)
def test_conv(x: Any, w: Any, attributes: dict[str, Any]):
    data, weights = random(*x), random(*w, seed=1)
    expected = onnxruntime_node("Conv", data, weights, **attributes)
    actual = apply("conv", data, weights, **own(attributes))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    last, hwio = np.moveaxis(data, 1, -1), np.moveaxis(weights, (0, 1), (-1, -2))
    actual = apply("conv", last, hwio, layout="channels_last", **own(attributes))
    np.testing.assert_allclose(np.moveaxis(actual, -1, 1), expected, rtol=1e-4, atol=1e-5)
    if (weights.shape[0] // attributes.get("group", 1)) % 2 == 0 or attributes.get("group", 1) == 1:
        packed = apply("pack", hwio, panel=2)
        more = own(attributes) | {"panel": 2, "out_channels": weights.shape[0]}
        actual = apply("conv", last, packed, layout="channels_last", **more)
        np.testing.assert_allclose(np.moveaxis(actual, -1, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((1, 1, 1), (1, 1, 1), {}),
        ((2, 3, 5), (3, 4, 3), {"strides": [2], "pads": [1, 0], "output_padding": [1]}),
        ((1, 4, 3, 5), (4, 3, 3, 2), {"group": 2, "strides": [3, 2], "dilations": [2, 1]}),
        ((1, 4, 5, 5), (4, 1, 4, 4), {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ],
)
def test_conv_transpose(x: Any, w: Any, attributes: dict[str, Any]):
    data, weights = random(*x), random(*w, seed=1)
    expected = onnxruntime_node("ConvTranspose", data, weights, **attributes)
    actual = apply("conv_transpose", data, weights, **own(attributes))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    last, hwio = np.moveaxis(data, 1, -1), np.moveaxis(weights, (0, 1), (-2, -1))
    actual = apply("conv_transpose", last, hwio, layout="channels_last", **own(attributes))
    np.testing.assert_allclose(np.moveaxis(actual, -1, 1), expected, rtol=1e-4, atol=1e-5)


def test_conv_in_half_precision():
    x, w = random(1, 64, 6, 6, dtype=np.float16), random(4, 64, 3, 3, seed=1, dtype=np.float16)
    exact = apply("conv", x.astype(np.float64), w.astype(np.float64))
    np.testing.assert_allclose(apply("conv", x, w), exact.astype(np.float16), rtol=1e-3, atol=1e-2)


POOLS = [
    (window, strides, dilations, pads, ceil, include)
    for window, strides, dilations, pads in [
        ((3, 2), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)),
        ((3, 3), (2, 3), (1, 1), (1, 1, 1, 1)),
        ((3, 3), (3, 2), (2, 1), (2, 1, 0, 1)),
    ]
    for ceil, include in itertools.product([0, 1], [0, 1])
]


def windows(extent: int, k: int, s: int, d: int, low: int, high: int, ceil: int) -> tuple[int, int]:
    """ONNX's count of windows, and how far the last one hangs over the padded input."""
    reach = d * (k - 1) + 1
    count = -(-(extent + low + high - reach) // s) + 1 if ceil else (extent + low + high - reach) // s + 1
    if ceil and (count - 1) * s >= extent + low:
        count -= 1
    return count, max(0, (count - 1) * s + reach - extent - low - high)


@pytest.mark.parametrize(("window", "strides", "dilations", "pads", "ceil", "include"), POOLS)
def test_pool(window: Any, strides: Any, dilations: Any, pads: Any, ceil: int, include: int):
    x = random(2, 3, 10, 11)
    parts: Any = zip(x.shape[2:], window, strides, dilations, pads[:2], pads[2:], strict=True)
    overhang = tuple(windows(*part, ceil=ceil)[1] for part in parts)
    common = {
        "window": window,
        "strides": strides,
        "dilations": dilations,
        "pads_low": pads[:2],
        "pads_high": tuple(p + o for p, o in zip(pads[2:], overhang, strict=True)),
        "overhang": overhang,
    }
    attributes = {"kernel_shape": window, "strides": strides, "dilations": dilations, "pads": pads, "ceil_mode": ceil}
    for order, name in ((0, False), (1, True)):
        expected = onnxruntime_node("MaxPool", x, outputs=2, storage_order=order, **attributes)
        actual = apply("pool", x, kind="max", indices=True, column_major=name, **common)
        np.testing.assert_array_equal(actual[0], expected[0])
        np.testing.assert_array_equal(actual[1], expected[1])
    expected = onnxruntime_node("AveragePool", x, count_include_pad=include, **attributes)
    actual = apply("pool", x, kind="average", count_include_pad=bool(include), **common)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    last = apply(
        "pool", np.moveaxis(x, 1, -1), kind="average", count_include_pad=bool(include), layout="channels_last", **common
    )
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), actual)


def test_max_pool_of_integers_nan_and_minus_infinity():
    x = np.int8([[[-128, -5, 3, -7]]])
    np.testing.assert_array_equal(apply("pool", x, kind="max", window=(2,), pads_low=(1,)), [[[-128, -5, 3, 3]]])
    y = np.float32([[[1, np.nan, 2, -np.inf]]])
    value, place = apply("pool", y, kind="max", window=(2,), indices=True)
    np.testing.assert_array_equal(value, [[[np.nan, np.nan, 2]]])
    np.testing.assert_array_equal(place, [[[1, 1, 2]]])
    value, place = apply("pool", y[..., 3:], kind="max", window=(2,), pads_low=(1,), pads_high=(1,), indices=True)
    np.testing.assert_array_equal(value, [[[-np.inf, -np.inf]]])
    np.testing.assert_array_equal(place, [[[0, 0]]])


def test_costs_count_multiply_adds():
    assert build("matmul", "2x3xf32", "3x4xf32").cost() == Cost(48, 4 * (6 + 12 + 8))
    conv = build("conv", "1x4x6x6xf32", "8x2x3x3xf32", groups=2)
    assert conv.cost().flops == 2 * 8 * 4 * 4 * 2 * 9
    assert build("pool", "1x1x4x4xf32", kind="max", window=(2, 2)).cost().flops == 9 * 4
    assert build("conv_transpose", "1x4x3xf32", "4x2x5xf32").cost().flops == 2 * 4 * 3 * 2 * 5
