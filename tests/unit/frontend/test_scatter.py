"""Scatters and cache updates give what ONNX's reference evaluator and onnxruntime give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.frontend.one_node import agree, compiled, expected, model_of

import penstock
from penstock.compiler.errors import ModelError

RNG = np.random.default_rng(11)


def some(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.integers(-9, 9, shape).astype(dtype)


def distinct(extent: int, shape: tuple[int, ...], axis: int) -> Any:
    """Indices of an axis, no two the same along it, half of them counted from the end."""
    keys = RNG.random([extent if a == axis else e for a, e in enumerate(shape)])
    indices = np.take(np.argsort(keys, axis), np.arange(shape[axis]), axis)
    return np.where(indices % 2, indices - extent, indices).astype(np.int64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize(("shape", "count", "axis"), [((7, 5), 3, 0), ((2, 3, 19), 11, -1), ((13,), 13, 0)])
def test_elements(shape: tuple[int, ...], count: int, axis: int, dtype: Any) -> None:
    x = some(*shape, dtype=dtype)
    indices = distinct(shape[axis], tuple(count if a == axis % len(shape) else e for a, e in enumerate(shape)), axis)
    agree("ScatterElements", {"x": x, "i": indices, "u": some(*indices.shape, dtype=dtype)}, axis=axis)
    agree(
        "Scatter", {"x": x, "i": indices, "u": some(*indices.shape, dtype=dtype)}, axis=axis, opset=9,
        peer="onnxruntime",
    )  # fmt: skip


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("shape", [(5, 3), (40,), (2, 6, 3)])
def test_reductions_of_repeated_indices(shape: tuple[int, ...], reduction: str) -> None:
    x, many = some(*shape), (2 * shape[0], *shape[1:])
    indices = RNG.integers(-shape[0], shape[0], many)
    agree(
        "ScatterElements", {"x": x, "i": indices, "u": some(*many)}, reduction=reduction, peer="onnxruntime", opset=18
    )
    rows = RNG.integers(-shape[0], shape[0], (4, 2, 1))
    updates = some(4, 2, *shape[1:])
    agree("ScatterND", {"x": x, "i": rows, "u": updates}, reduction=reduction, peer="onnxruntime", opset=18)


@pytest.mark.parametrize(("shape", "depth"), [((4, 5, 6), 1), ((4, 5, 6), 2), ((4, 5, 6), 3), ((3, 257), 1)])
def test_windows(shape: tuple[int, ...], depth: int) -> None:
    places = np.stack(np.unravel_index(RNG.permutation(int(np.prod(shape[:depth])))[:3], shape[:depth]), -1)
    agree("ScatterND", {"x": some(*shape), "i": places, "u": some(3, *shape[depth:])}, opset=11)


def test_the_last_of_several_wins_for_any_number_of_threads() -> None:
    x, indices, updates = some(300, 8), RNG.integers(0, 300, (5000, 1)), some(5000, 8)
    for parameters in ({}, {"reduction": "add"}):
        feeds = {"x": x, "i": indices, "u": updates + np.float32(0.1)}
        model = model_of("ScatterND", feeds, **parameters)
        one, two = compiled(model, feeds)[0], compiled(model, feeds, threads=2)[0]
        np.testing.assert_array_equal(one, two)
        wanted = x.copy()
        if parameters:
            np.add.at(wanted, indices[:, 0], feeds["u"])
        else:
            for place, update in zip(indices[:, 0], feeds["u"], strict=True):
                wanted[place] = update
        np.testing.assert_array_equal(one, wanted)


def test_an_index_outside_writes_to_the_nearest_element() -> None:
    feeds = {"x": np.zeros(4, np.float32), "i": np.array([[9], [-9]]), "u": np.array([1, 2], np.float32)}
    (result,) = compiled(model_of("ScatterND", feeds), feeds)
    np.testing.assert_array_equal(result, [2, 0, 0, 1])


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("axis", [1, -2, -1])
@pytest.mark.parametrize("placed", [True, False])
def test_cache_updates(mode: str, axis: int, placed: bool) -> None:
    shape = [3, 4, 7, 5]
    given = list(shape)
    given[axis] = 3
    high = shape[axis] if mode == "circular" else shape[axis] - 2
    starts = RNG.integers(0, high, 3) if placed else None
    agree("TensorScatter", {"past": some(*shape), "update": some(*given), "at": starts}, mode=mode, axis=axis, opset=24)


def test_a_decoding_step() -> None:
    feeds = {"past": some(2, 4, 128, 64), "update": some(2, 4, 1, 64), "at": np.array([5, 127])}
    model = model_of("TensorScatter", feeds, opset=24)
    np.testing.assert_array_equal(compiled(model, feeds)[0], expected(model, feeds)[0])


def test_caches_in_a_storage_type() -> None:
    """Eight-bit numbers are moved as they are; adding them is refused."""
    import ml_dtypes

    eight = ml_dtypes.float8_e4m3fn
    feeds = {"past": some(2, 3, 9, 4).astype(eight), "update": some(2, 3, 2, 4).astype(eight), "at": np.array([8, 3])}
    (result,) = compiled(model_of("TensorScatter", feeds, opset=24, mode="circular"), feeds)
    want = feeds["past"].copy()
    for batch, start in enumerate(feeds["at"]):
        for step in range(2):
            want[batch, :, (start + step) % 9] = feeds["update"][batch, :, step]
    assert result.dtype == want.dtype
    np.testing.assert_array_equal(result.view(np.uint8), want.view(np.uint8))
    sums = {"x": feeds["past"][0, 0, 0], "i": np.array([[1]]), "u": feeds["update"][0, 0, 0, :1]}
    model = model_of("ScatterND", sums, opset=24, reduction="add").SerializeToString()
    with pytest.raises(ModelError, match="only stored and converted"):
        penstock.compile(model)


@pytest.mark.parametrize(
    ("op", "feeds", "attributes", "sentence"),
    [
        ("TensorScatter", {"past": some(2, 4, 8, 3), "update": some(2, 4, 1, 2)}, {}, "does not fit a cache of shape"),
        ("TensorScatter", {"past": some(2, 4), "update": some(1, 4)}, {"axis": 0}, "the one of the batch"),
        (
            "TensorScatter",
            {"past": some(2, 4, 3), "update": some(2, 4, 3), "at": np.zeros(3, np.int64)},
            {},
            "one write",
        ),
        ("ScatterElements", {"x": some(3), "i": np.zeros(2, np.int64), "u": some(3)}, {}, "updates have shape"),
        ("ScatterND", {"x": some(3), "i": np.zeros((2, 1), np.int64), "u": some(2)}, {"reduction": "mean"}, "mean"),
    ],
)
def test_what_does_not_fit_is_refused(op: str, feeds: Any, attributes: Any, sentence: str) -> None:
    model = model_of(op, feeds, opset=24, **attributes).SerializeToString()
    with pytest.raises(ModelError, match=sentence):
        penstock.compile(model)
