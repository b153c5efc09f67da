"""LSTM, GRU and RNN compiled once for all lengths and batches: beside onnxruntime and ONNX's evaluator at many sizes.

Hidden widths are of one slice (64, 65) and of several that threads share (320); batches meet full tiles of rows and
every power of two that is left of them; lengths are 0, 1, primes, and less than a tile has rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from unit.lower.dispatching import ISAS

import penstock

WIDTH = 9
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LAYERS: dict[str, dict[str, Any]] = {
    "LSTM": {"direction": "bidirectional"},
    "GRU": {"direction": "reverse"},
    "GRU reset after": {"linear_before_reset": 1, "direction": "bidirectional"},
    "RNN": {},
}


def layer(name: str, hidden: int, steps: Any, batch: Any, *, lengths: bool = True, **parameters: Any) -> ModelProto:
    """A model of one layer over x[steps, batch, 9], whose sizes are numbers or names."""
    op, rng = name.split()[0], np.random.default_rng(hidden)
    ways, gates = (2 if parameters.get("direction") == "bidirectional" else 1), GATES[op]
    shapes = {"w": (ways, gates * hidden, WIDTH), "r": (ways, gates * hidden, hidden), "b": (ways, 2 * gates * hidden)}
    scale = 1 / hidden**0.5
    weights = [numpy_helper.from_array(rng.normal(0, scale, s).astype(np.float32), key) for key, s in shapes.items()]
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, batch, WIDTH])]
    if lengths:
        infos.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch]))
    outputs = ["y", "state", *(["cell"] if op == "LSTM" else [])]
    inputs = ["x", *shapes, *(["lengths"] if lengths else [])]
    node = helper.make_node(op, inputs, outputs, hidden_size=hidden, **parameters)
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph([node], "g", infos, made, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def feeds(steps: int, batch: int) -> dict[str, Any]:
    """Sequences of ``steps``, the first of them shorter."""
    rng = np.random.default_rng(steps)
    lengths = np.full(batch, steps, np.int32)
    lengths[0] = -(-steps * 2 // 3)
    return {"x": rng.standard_normal((steps, batch, WIDTH)).astype(np.float32), "lengths": lengths}


SIZES: dict[str, tuple[Any, Any, dict[str, Any], list[tuple[int, int]]]] = {
    "both": ("steps", "batch", {}, [(1, 1), (61, 1), (7, 2), (5, 13), (2, 31), (1, 7)]),
    "ranges": ("steps", "batch", {"steps": (0, 64), "batch": (1, 4)}, [(0, 1), (0, 3), (1, 4), (37, 3), (64, 1)]),
    "steps": ("steps", 3, {"steps": (0, 1000)}, [(0, 3), (1, 3), (29, 3)]),
    "batch": (11, "batch", {}, [(11, 1), (11, 6), (11, 19)]),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("hidden", "sizes"), [(65, "both"), (65, "steps"), (320, "both"), (320, "ranges"), (320, "batch")]
)
@pytest.mark.parametrize("name", LAYERS)
def test_every_size_from_one_artifact(name: str, hidden: int, sizes: str, isa: str) -> None:
    """Right, and the same bits with any number of threads."""
    steps, batch, dims, pairs = SIZES[sizes]
    model = layer(name, hidden, steps, batch, **LAYERS[name]).SerializeToString()
    peer = onnxruntime.InferenceSession(model)
    loaded = penstock.compile(model, target=f"cpu:{isa}", dims=dims).load()
    sessions = [loaded.session(threads=threads) for threads in (1, 2, 3)]
    for length, count in pairs:
        given = feeds(length, count)
        first, *others = ({key: value.copy() for key, value in s.run(given).items()} for s in sessions)
        for other in others:
            for key, value in first.items():
                np.testing.assert_array_equal(other[key], value)
        if length == 0:  # which onnxruntime does not take
            assert first["y"].shape[0] == 0
            assert not any(first[key].any() for key in first)
            continue
        expected: Any = peer.run(None, given)
        for key, array in zip(first, expected, strict=True):
            np.testing.assert_allclose(first[key], array, rtol=1e-4, atol=1e-5, err_msg=f"{key} at {length}, {count}")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("hidden", [64, 192])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "GRU reset after", "RNN"])
def test_numbers_that_are_none(name: str, hidden: int, isa: str) -> None:
    """NaN and infinity go where ONNX's evaluator has them, and not into other sequences."""
    parameters = {"linear_before_reset": 1} if name.endswith("after") else {}
    model = layer(name, hidden, "steps", "batch", lengths=False, **parameters)
    x = feeds(5, 7)["x"]
    x[2, 1, 3], x[1, 4, 0], x[3, 6, 8] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        expected: Any = ReferenceEvaluator(model).run(None, {"x": x})
    loaded = penstock.compile(model.SerializeToString(), target=f"cpu:{isa}").load()
    for threads in (1, 2):
        found = loaded.session(threads=threads).run({"x": x})
        for key, array in zip(found, expected, strict=True):
            assert np.isnan(array).any()
            np.testing.assert_allclose(found[key].reshape(array.shape), array, rtol=1e-4, atol=1e-5)
