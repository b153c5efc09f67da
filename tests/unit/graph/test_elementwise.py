"""Elementwise ops against numpy and scipy, special values included, in every element type they take."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from scipy import special
from unit.graph.building import apply, build, onnxruntime_node

from penstock.compiler.dialects.graph.elementwise import is_splat, splat_value
from penstock.compiler.dialects.graph.scalar import erf
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.weights import WeightStore

SPECIAL = np.array(
    [
        *(0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 1e-30, -7.25, 12.0, -20.0, 60.0, -100.0),
        *(math.inf, -math.inf, math.nan),
    ]
)
GRID = np.concatenate([SPECIAL, np.linspace(-9, 9, 61)])

UNARY: dict[str, Any] = {
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "exp": np.exp,
    "log": np.log,
    "erf": special.erf,
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.logaddexp(x, 0),
    "gelu": lambda x: x * special.ndtr(x),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "leaky_relu": lambda x: np.where(x < 0, 0.01 * x, x),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "elu": lambda x: np.where(x < 0, np.expm1(x), x),
}
DTYPES = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: Any):
    x = GRID.astype(dtype)
    with np.errstate(all="ignore"):
        expected = np.asarray(UNARY[name](x.astype(np.float64)))
        rounded = expected.astype(dtype).astype(np.float64)
    actual = apply(name, x)
    assert actual.dtype == dtype
    epsilon = float(ml_dtypes.finfo(dtype).eps)
    # gelu of minus infinity is -inf * 0 in the formula; elu and gelu cancel near 0 and at the tail.
    keep = ~np.isneginf(x.astype(np.float64)) if name in ("gelu", "hard_swish") else np.ones(x.shape, bool)
    loose = 8 * epsilon if dtype != np.float16 and dtype != ml_dtypes.bfloat16 else epsilon
    np.testing.assert_allclose(actual.astype(np.float64)[keep], rounded[keep], rtol=loose, atol=loose)


def test_gelu_tanh():
    x = GRID[np.isfinite(GRID)].astype(np.float32)
    expected = onnxruntime_node("Gelu", x, approximate="tanh")
    np.testing.assert_allclose(apply("gelu", x, approximate="tanh"), expected, rtol=1e-5, atol=1e-6)


def test_erf_is_accurate_to_the_last_bits():
    x = np.concatenate([np.linspace(-7, 7, 40001), 10.0 ** np.arange(-20, 3.0), [np.inf, -np.inf, np.nan]])
    np.testing.assert_allclose(erf(x), special.erf(x), rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_signed_integers(dtype: Any):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.array([low, low + 1, -7, -1, 0, 1, 7, high], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(apply("neg", x), np.negative(x))
        np.testing.assert_array_equal(apply("abs", x), np.abs(x))
    np.testing.assert_array_equal(apply("sign", x), np.sign(x))
    np.testing.assert_array_equal(apply("relu", x), np.maximum(x, 0))


def test_unsigned_integers():
    x = np.array([0, 1, 127, 128, 255], np.uint8)
    np.testing.assert_array_equal(apply("abs", x), x)
    np.testing.assert_array_equal(apply("sign", x), np.array([0, 1, 1, 1, 1], np.uint8))
    np.testing.assert_array_equal(apply("div", x, np.uint8([3, 3, 0, 3, 16])), np.uint8([0, 0, 0, 42, 15]))
    np.testing.assert_array_equal(apply("mod", x, np.uint8([3, 3, 0, 3, 16])), np.uint8([0, 1, 0, 2, 15]))


BINARY: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "max": np.maximum,
    "min": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts_and_follows_ieee(name: str, dtype: Any):
    a, b = SPECIAL.astype(dtype)[:, None], SPECIAL.astype(dtype)
    wide = np.float64 if dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        expected = BINARY[name](a.astype(wide), b.astype(wide))
    actual = apply(name, a, b)
    if expected.dtype == np.bool_:
        assert actual.dtype == np.bool_
    else:
        with np.errstate(all="ignore"):
            expected = expected.astype(dtype)
        assert actual.dtype == dtype
    np.testing.assert_array_equal(actual.astype(np.float64), expected.astype(np.float64))


def test_integer_division_truncates_and_does_not_trap():
    low = np.iinfo(np.int32).min
    a = np.array([7, -7, 7, -7, low, low, 5, low, 0], np.int32)
    b = np.array([2, 2, -2, -2, 3, -1, 0, 0, 0], np.int32)
    np.testing.assert_array_equal(apply("div", a, b), [3, -3, -3, 3, -715827882, low, 0, 0, 0])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("fmod", [False, True])
def test_mod(dtype: Any, fmod: bool):
    a = np.array([7, -7, 7, -7, 6, -6, 0, 5.5, -5.5]).astype(dtype)
    b = np.array([3, 3, -3, -3, 3, 3, 2, 2, 2]).astype(dtype)
    expected = np.fmod(a, b) if fmod else np.mod(a, b)
    np.testing.assert_array_equal(apply("mod", a, b, fmod=fmod), expected)


def test_integer_power():
    a, b = np.meshgrid(np.arange(-3, 4), np.arange(-3, 5))
    with np.errstate(all="ignore"):
        expected = np.trunc(np.where((a == 0) & (b < 0), 0, a.astype(float) ** b)).astype(np.int64)
    np.testing.assert_array_equal(apply("pow", a.astype(np.int64), b.astype(np.int64)), expected)


def test_half_precision_rounds_once():
    a, b = np.float16([2048.0, 0.1, 60000.0]), np.float16([1.0, 0.2, 60000.0])
    with np.errstate(over="ignore"):
        expected = (a.astype(np.float32) + b.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(apply("add", a, b), expected)
    x = ml_dtypes.bfloat16(1.00390625)
    assert apply("mul", np.array(x), np.array(x)) == ml_dtypes.bfloat16(float(x) * float(x))


def test_logic():
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    np.testing.assert_array_equal(apply("and", a, b), a & b)
    np.testing.assert_array_equal(apply("or", a, b), a | b)
    np.testing.assert_array_equal(apply("xor", a, b), a ^ b)
    np.testing.assert_array_equal(apply("not", a), ~a)
    np.testing.assert_array_equal(apply("eq", a, b), a == b)


def test_nan_and_infinity():
    x = SPECIAL.astype(np.float32)
    np.testing.assert_array_equal(apply("is_nan", x), np.isnan(x))
    np.testing.assert_array_equal(apply("is_inf", x), np.isinf(x))
    np.testing.assert_array_equal(apply("is_inf", x, negative=False), np.isposinf(x))
    np.testing.assert_array_equal(apply("is_inf", x, positive=False), np.isneginf(x))
    assert not apply("is_inf", x, positive=False, negative=False).any()


def test_select_broadcasts_all_three():
    c, a, b = np.array([[True], [False]]), np.arange(3, dtype=np.int64), np.int64(9)
    np.testing.assert_array_equal(apply("select", c, a, b), [[0, 1, 2], [9, 9, 9]])


@pytest.mark.parametrize("target", ["i8", "ui8", "i32", "i64", "f16", "bf16", "f64", "i1"])
def test_cast(target: str):
    from penstock.compiler.dtypes import element_type, numpy_dtype

    dtype = numpy_dtype(element_type(target))
    x = np.array([0.0, 0.4, 1.0, 1.9, 100.7, 3.0], np.float32)
    expected = x != 0 if target == "i1" else x.astype(dtype)
    np.testing.assert_array_equal(apply("cast", x, result=f"6x{target}"), expected)
    if target == "i1":
        np.testing.assert_array_equal(apply("cast", np.float32([math.nan, -1]), result="2xi1"), [True, True])


def test_splat_values():
    store = WeightStore()
    assert splat_value(Constant.of(np.float32([2, 2]), store).out) == 2.0
    assert splat_value(Constant.of(np.float32([2, 3]), store).out) is None
    assert splat_value(Constant.of(np.array(True), store).out) == 1
    assert splat_value(build("neg", "f32").operands[0]) is None
    assert is_splat(Constant.of(np.int64(3), store).out, 3)
    assert not is_splat(Constant.of(np.float32(math.nan), store).out, math.nan)
