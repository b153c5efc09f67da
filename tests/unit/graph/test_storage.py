"""Types that are only stored: every code is decoded, and numbers are encoded, as ml_dtypes and ONNX do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx.numpy_helper import saturate_cast, to_float8e8m0
from unit.graph.building import apply

from penstock.compiler.dialects.graph.base import TypeRuleError
from penstock.compiler.dumps import load_weights, save_weights
from penstock.compiler.weights import WeightStore

FLOATS = {
    "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8e5m2": ml_dtypes.float8_e5m2,
    "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f4e2m1": ml_dtypes.float4_e2m1fn,
}
INTEGERS = {"i4": ml_dtypes.int4, "ui4": ml_dtypes.uint4, "i2": ml_dtypes.int2, "ui2": ml_dtypes.uint2}


def codes(dtype: Any) -> Any:
    """Every value of a storage type."""
    bits = {"float4_e2m1fn": 4, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2}.get(np.dtype(dtype).name, 8)
    return np.arange(1 << bits, dtype=np.uint8).view(dtype)


def cast(x: Any, to: str, **parameters: Any) -> Any:
    return apply("cast", x, result=f"{len(x)}x{to}", **parameters)


def same(found: Any, expected: Any) -> None:
    """The same type and bits, but for what NaN is made of."""
    assert found.dtype == expected.dtype
    wide = expected.astype(np.float64)
    np.testing.assert_array_equal(np.isnan(found.astype(np.float64)), np.isnan(wide))
    there = ~np.isnan(wide)
    np.testing.assert_array_equal(found[there].view(np.uint8), expected[there].view(np.uint8))


def numbers(dtype: Any) -> Any:
    """All of f16, the type's own numbers, the middles between them, and the neighbours of these, in f32."""
    own = np.unique(codes(dtype).astype(np.float32)[np.isfinite(codes(dtype).astype(np.float32))])
    edges = np.concatenate([own, (own[1:] + own[:-1]) / 2, own * 1.0625, own * 2])
    near = [np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)]
    more = np.float32([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-45, -1e-45])
    return np.concatenate([np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32), edges, *near, more])


@pytest.mark.parametrize("kind", [*FLOATS, "f8e8m0"])
def test_floats_are_decoded(kind: str) -> None:
    x = codes(FLOATS.get(kind, ml_dtypes.float8_e8m0fnu))
    for to, dtype in (("f32", np.float32), ("f64", np.float64)):
        np.testing.assert_array_equal(cast(x, to), x.astype(dtype))


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
def test_floats_are_encoded(kind: str) -> None:
    dtype = FLOATS[kind]
    x = numbers(dtype)
    expected: Any = x.astype(dtype) if kind == "f4e2m1" else saturate_cast(x, np.dtype(dtype))
    if kind != "f4e2m1":
        same(cast(x, kind, saturate=False), x.astype(dtype))
        same(cast(x, kind), expected)
    else:  # which has no NaN
        same(cast(x, kind)[~np.isnan(x)], expected[~np.isnan(x)])
    half = x[: 1 << 16].astype(np.float16)
    finite = half[~np.isnan(half)]
    same(cast(finite, kind), cast(finite.astype(np.float32), kind))


@pytest.mark.parametrize("kind", FLOATS)
def test_doubles_are_rounded_once(kind: str) -> None:
    """Just beside the middle of two numbers, by less than f32 can tell (and than ml_dtypes, which goes through f32)."""
    own = np.unique(codes(FLOATS[kind]).astype(np.float64)[np.isfinite(codes(FLOATS[kind]).astype(np.float64))])
    own = own[own >= 0]
    middles = (own[1:] + own[:-1]) / 2
    for sign in (1, -1):
        np.testing.assert_array_equal(cast(sign * middles * (1 + 1e-12), kind).astype(float), sign * own[1:])
        np.testing.assert_array_equal(cast(sign * middles * (1 - 1e-12), kind).astype(float), sign * own[:-1])
        same(cast(sign * middles, kind), (sign * middles).astype(FLOATS[kind]))


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("rounding", ["up", "down", "nearest"])
def test_powers_of_two(rounding: str, saturate: bool) -> None:
    powers = (2.0 ** np.arange(-149, 128)).astype(np.float32)
    x = np.concatenate([powers, powers * 1.25, powers * 1.5, powers * 1.75, np.float32([0, np.nan, np.inf, 3.4e38])])
    expected = to_float8e8m0(x, saturate, rounding).astype(ml_dtypes.float8_e8m0fnu)
    same(cast(x, "f8e8m0", saturate=saturate, rounding=rounding), expected)


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers(kind: str) -> None:
    """Every code, upper bits of the byte not looked at; numbers cut off to integers keep their low bits."""
    x = codes(INTEGERS[kind])
    for to, dtype in (("f32", np.float32), ("i32", np.int32), ("i64", np.int64), ("f16", np.float16)):
        np.testing.assert_array_equal(cast(x, to), x.astype(dtype))
    dirty = (x.view(np.uint8) | np.uint8(0xF0)).view(INTEGERS[kind])
    np.testing.assert_array_equal(cast(dirty, "i32"), x.astype(np.int32))
    limits = ml_dtypes.iinfo(INTEGERS[kind])
    inside = np.arange(int(limits.min), int(limits.max) + 1)
    for dtype in (np.int64, np.int8, np.float32, np.float64):
        np.testing.assert_array_equal(cast(inside.astype(dtype), kind), inside.astype(INTEGERS[kind]))
    wide = np.int64([-9, 8, 100, -(1 << 40) + 3])
    np.testing.assert_array_equal(cast(wide, kind), wide.astype(INTEGERS[kind]))
    np.testing.assert_array_equal(cast(np.float32([-1.75, 1.75]), "i4").astype(int), [-1, 1])


def test_bits_of_storage_types() -> None:
    """Taken as another type of the same width."""
    byte = np.arange(256, dtype=np.uint8)
    same(apply("bit_cast", byte, result="256xf8e5m2"), byte.view(ml_dtypes.float8_e5m2))
    same(apply("bit_cast", codes(ml_dtypes.float8_e4m3fn), result="256xi8"), byte.view(np.int8))
    same(apply("bit_cast", codes(ml_dtypes.float4_e2m1fn), result="16xi4"), byte[:16].view(ml_dtypes.int4))
    with pytest.raises(TypeRuleError, match="the bits of i4 are not taken as ui8"):
        apply("bit_cast", codes(ml_dtypes.int4), result="16xui8")


def test_between_storage_types() -> None:
    x = codes(ml_dtypes.float8_e4m3fn)
    same(cast(x, "f8e5m2"), x.astype(np.float32).astype(ml_dtypes.float8_e5m2))
    np.testing.assert_array_equal(cast(codes(ml_dtypes.uint4), "f4e2m1").astype(float)[:5], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(cast(np.array([True, False]), "ui2").astype(int), [1, 0])


def test_weights_of_storage_types(tmp_path: Path) -> None:
    """Equal bytes of two types are two weights; both survive a dump."""
    store, again = WeightStore(), WeightStore()
    kinds = [*INTEGERS.values(), *FLOATS.values(), ml_dtypes.float8_e8m0fnu]
    arrays = {store.add(np.zeros((2, 12), np.uint8).view(kind), "w"): kind for kind in kinds}
    assert len(arrays) == len(kinds)
    save_weights(tmp_path, store, list(arrays))
    load_weights(tmp_path, again)
    for key, kind in arrays.items():
        assert again[key].dtype == kind
        np.testing.assert_array_equal(again[key].view(np.uint8), store[key].view(np.uint8))
