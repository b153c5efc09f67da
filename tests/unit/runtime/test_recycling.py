"""Memory of results: used again when, and only when, nobody can see it any more."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper

import penstock
from penstock.runtime.recycling import KEPT, LARGE_BYTES, Recycler

SHAPE, F32 = (64, LARGE_BYTES // 64), np.dtype(np.float32)
SIZE = 64 * SHAPE[1] * 4


def address(array: np.ndarray[Any, Any]) -> int:
    return array.__array_interface__["data"][0]


def test_memory_that_is_not_held_is_used_again_and_aligned():
    recycler = Recycler()
    first = recycler.empty(0, SHAPE, F32, SIZE)
    assert first.shape == SHAPE
    assert first.dtype == F32
    assert first.flags.writeable
    where = address(first)
    assert where % 64 == 0
    del first
    assert address(recycler.empty(0, SHAPE, F32, SIZE)) == where
    assert address(recycler.empty(1, SHAPE, F32, SIZE)) != where


def test_whatever_looks_at_a_result_keeps_its_memory():
    """Views, views of views, other types of view, buffers, DLPack and containers."""
    holders: list[Callable[[np.ndarray[Any, Any]], Any]] = [
        lambda array: array,
        lambda array: array[3:5, 1:],
        lambda array: array[3:5].T.reshape(-1, 2)[:, 0],
        lambda array: array.view(np.int32),
        lambda array: memoryview(array)[1:2],
        lambda array: np.from_dlpack(array),
        lambda array: np.asarray(memoryview(array)),
        lambda array: {"kept": [array.flat]},
        lambda array: iter(array),
    ]
    for holder in holders:
        recycler = Recycler()
        array = recycler.empty(0, SHAPE, F32, SIZE)
        where, held = address(array), holder(array)
        del array
        gc.collect()
        assert address(recycler.empty(0, SHAPE, F32, SIZE)) != where
        del held
        gc.collect()
        both = [recycler.empty(0, SHAPE, F32, SIZE) for _ in range(2)]
        assert where in map(address, both)


def test_other_sizes_replace_what_is_kept_and_no_more_is_kept_than_said():
    recycler = Recycler()
    held = [recycler.empty(0, SHAPE, F32, SIZE) for _ in range(KEPT + 3)]
    assert len({address(array) for array in held}) == KEPT + 3
    held.clear()
    larger = recycler.empty(0, (2, *SHAPE), F32, 2 * SIZE)
    assert larger.nbytes == 2 * SIZE
    blocks = recycler._blocks[0]  # pyright: ignore[reportPrivateUsage]
    assert [block.size >= 2 * SIZE for block in blocks] == [True]


def test_runs_do_not_change_results_that_are_held():
    """Two results held from runs with different inputs; memory comes back only when one is dropped."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    with penstock.compile(model).load().session(threads=1) as session:
        ones = np.ones(SHAPE, np.float32)
        kept = [session.run({"x": ones * n})["y"] for n in range(5)]
        for n, result in enumerate(kept):
            np.testing.assert_array_equal(result, -n * ones)
        view = session.run({"x": ones * 7})["y"][1]
        session.run({"x": ones * 8})
        np.testing.assert_array_equal(view, -7 * ones[1])
        dropped = {address(session.run({"x": ones})["y"]) for _ in range(4)}
        assert len(dropped) == 1
    np.testing.assert_array_equal(kept[4], -4 * ones)
