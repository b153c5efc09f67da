"""Reductions, running totals and ordering against numpy and ONNX's reference evaluator."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from unit.graph.building import apply, onnxruntime_node, random, reference_node

FUNCTIONS: dict[str, Any] = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [(), (0,), (2, 1), (0, 1, 2)])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_reduce(kind: str, axes: tuple[int, ...], keepdims: bool):
    for x in (random(3, 1, 7), (random(3, 1, 7) * 5).astype(np.int64), random(3, 1, 7, dtype=np.float64)):
        expected = FUNCTIONS[kind](x, axis=axes, keepdims=keepdims)
        actual = apply("reduce", x, kind=kind, axes=axes, keepdims=keepdims)
        assert actual.dtype == x.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "dtype", "expected"),
    [
        ("sum", np.float32, 0),
        ("prod", np.float32, 1),
        ("max", np.float32, -math.inf),
        ("min", np.float16, math.inf),
        ("max", np.int8, -128),
        ("min", np.uint8, 255),
    ],
)
def test_reduce_over_nothing(kind: str, dtype: Any, expected: float):
    actual = apply("reduce", np.zeros((2, 0), dtype), kind=kind, axes=(1,))
    np.testing.assert_array_equal(actual, np.full(2, expected, dtype))


def test_reduce_booleans():
    x = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(apply("reduce", x, kind="and", axes=(1,)), [False, True])
    np.testing.assert_array_equal(apply("reduce", x, kind="or", axes=(0,), keepdims=True), [[True, True]])


def test_reduce_accumulates_half_precision_in_f32():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        x = np.ones(5000, dtype)
        assert float(apply("reduce", x, kind="sum", axes=(0,))) == float(dtype(5000))
    assert apply("reduce", np.full(300, 100, np.int8), kind="sum", axes=(0,)) == np.int8(30000 % 256)


def test_reduce_propagates_nan():
    x = np.float32([[1, math.nan, 3], [1, math.inf, -math.inf]])
    for kind in FUNCTIONS:
        actual = apply("reduce", x, kind=kind, axes=(1,))
        assert np.isnan(actual[0])
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(actual[1], FUNCTIONS[kind](x[1]))


@pytest.mark.parametrize("select_last", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("kind", ["max", "min"])
def test_arg_reduce(kind: str, keepdims: bool, select_last: bool):
    x = np.random.default_rng(0).integers(0, 3, (4, 1, 9)).astype(np.int64)
    for axis in range(3):
        expected = reference_node(
            f"Arg{kind.title()}", x, axis=axis, keepdims=int(keepdims), select_last_index=int(select_last)
        )
        actual = apply("arg_reduce", x, kind=kind, axis=axis, keepdims=keepdims, select_last=select_last)
        assert actual.dtype == np.int64
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_cumulative(exclusive: bool, reverse: bool):
    x = random(3, 5, 1)
    for axis in range(3):
        expected = onnxruntime_node(
            "CumSum", x, np.array(axis), exclusive=int(exclusive), reverse=int(reverse), opset=14
        )
        actual = apply("cumulative", x, axis=axis, exclusive=exclusive, reverse=reverse)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)
    counts = np.arange(1, 6)
    expected = [120, 120, 60, 20, 5] if reverse and not exclusive else None
    if expected:
        np.testing.assert_array_equal(apply("cumulative", counts, kind="prod", axis=0, reverse=True), expected)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_top_k(largest: bool, dtype: Any):
    x = np.random.default_rng(0).integers(0, 6, (3, 11, 2)).astype(dtype)
    for axis in range(3):
        k = (x.shape[axis] + 1) // 2
        values, indices = apply("top_k", x, axis=axis, k=k, largest=largest)
        expected = reference_node("TopK", x, np.array([k]), axis=axis, largest=int(largest), outputs=2)
        np.testing.assert_array_equal(values, expected[0])
        np.testing.assert_array_equal(indices, expected[1])


def test_top_k_orders_ties_and_nan():
    x = np.float32([2, math.nan, 2, -math.inf, 2, math.inf])
    values, indices = apply("top_k", x, axis=0, k=6)
    np.testing.assert_array_equal(indices, [1, 5, 0, 2, 4, 3])
    np.testing.assert_array_equal(values, x[indices])
    _, indices = apply("top_k", x, axis=0, k=6, largest=False)
    np.testing.assert_array_equal(indices, [3, 0, 2, 4, 5, 1])
