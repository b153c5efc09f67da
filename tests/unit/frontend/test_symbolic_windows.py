"""Convolutions with weights that are fed, so that only a run knows their window: one artifact for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from unit.frontend.dynamic import floats
from unit.frontend.one_node import expected

import penstock


def model(op: str, rank: int, kind: int = 1, result: int = 1, **attributes: Any) -> Any:
    """One convolution of x with w, all sizes of both symbolic."""
    node = helper.make_node(op, ["x", "w"], ["y"], name="conv", **attributes)
    inputs = [helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(rank + 2)]) for name in "xw"]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", result, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def agrees(made: Any, *feeds: dict[str, Any]) -> None:
    session = penstock.compile(made.SerializeToString()).load().session(threads=2)
    for arrays in feeds:
        (ours,), (theirs,) = session.run(arrays).values(), expected(made, arrays, "onnxruntime")
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_convolution() -> None:
    made = model("Conv", 2, strides=[2, 1], dilations=[1, 2], pads=[1, 0, 2, 1], group=2)
    agrees(
        made,
        {"x": floats(2, 4, 7, 9), "w": floats(6, 2, 3, 2)},
        {"x": floats(1, 2, 5, 5), "w": floats(2, 1, 1, 3)},
    )


def test_same_padding() -> None:
    made = model("Conv", 1, strides=[2], auto_pad="SAME_LOWER")
    agrees(made, {"x": floats(1, 3, 8), "w": floats(2, 3, 3)}, {"x": floats(2, 1, 5), "w": floats(1, 1, 4)})


def test_transposed_convolution() -> None:
    made = model("ConvTranspose", 1, strides=[3], dilations=[2], pads=[1, 2], output_padding=[1], group=2)
    agrees(made, {"x": floats(2, 4, 5), "w": floats(4, 3, 3)}, {"x": floats(1, 2, 4), "w": floats(2, 1, 4)})


def test_whole_numbers() -> None:
    made, rng = model("ConvInteger", 1, kind=2, result=6, pads=[1, 1]), np.random.default_rng(7)
    draw = lambda *shape: rng.integers(0, 9, shape).astype(np.uint8)  # noqa: E731
    agrees(made, {"x": draw(2, 3, 6), "w": draw(2, 3, 3)}, {"x": draw(1, 1, 4), "w": draw(3, 1, 2)})


def test_windows_larger_than_the_input_end_the_run() -> None:
    session = penstock.compile(model("Conv", 1).SerializeToString()).load().session(threads=1)
    with pytest.raises(penstock.PenstockError):
        session.run({"x": floats(1, 1, 3), "w": floats(1, 1, 5)})


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_three_axes(op: str) -> None:
    made = model(op, 3, strides=[1, 2, 1], pads=[1, 0, 0, 0, 1, 0])
    agrees(
        made,
        {"x": floats(1, 2, 5, 4, 6), "w": floats(2, 2, 3, 2, 3)},
        {"x": floats(2, 1, 3, 7, 4), "w": floats(1, 1, 2, 3, 1)},
    )
