"""LSTM, GRU and RNN with packed weights (hidden widths of whole panels) and without, against onnxruntime."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit.lower.dispatching import ISAS

import penstock


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("hidden", "batch"), [(64, 1), (128, 3), (65, 7), (1, 2)])
@pytest.mark.parametrize(("op", "reset"), [("LSTM", 0), ("GRU", 0), ("GRU", 1), ("RNN", 0)])
def test_against_onnxruntime(op: str, reset: int, hidden: int, batch: int, direction: str, isa: str) -> None:
    rng = np.random.default_rng(hidden)
    ways, gates = (2 if direction == "bidirectional" else 1), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    shapes = {"w": (ways, gates * hidden, 19), "r": (ways, gates * hidden, hidden), "b": (ways, 2 * gates * hidden)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.1, s).astype(np.float32), name) for name, s in shapes.items()]
    outputs = ["y", "state", *(["cell"] if op == "LSTM" else [])]
    parameters: dict[str, Any] = {"linear_before_reset": reset} if op == "GRU" else {}
    node = helper.make_node(op, ["x", *shapes], outputs, hidden_size=hidden, direction=direction, **parameters)
    x = rng.standard_normal((5, batch, 19)).astype(np.float32)
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    graph = helper.make_graph(
        [node], "g", infos, [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    expected: Any = onnxruntime.InferenceSession(model).run(None, {"x": x})
    found = penstock.compile(model, target=f"cpu:{isa}").load().session(threads=2).run({"x": x})
    for name, array in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


LISTED = {"LeakyRelu": 1, "ThresholdedRelu": 1, "ScaledTanh": 2, "HardSigmoid": 2, "Affine": 2, "Elu": 1, "Softsign": 0}


@pytest.mark.parametrize("name", LISTED)
def test_activations_by_their_onnx_names(name: str) -> None:
    """Numbers are listed for the functions that take them; the second direction has its own."""
    rng = np.random.default_rng(3)
    shapes = {"w": (2, 7, 3), "r": (2, 7, 7), "b": (2, 14)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.4, s).astype(np.float32), key) for key, s in shapes.items()]
    numbers: dict[str, Any] = {"activation_alpha": [0.6]} if LISTED[name] else {}
    numbers |= {"activation_beta": [0.3]} if LISTED[name] == 2 else {}
    node = helper.make_node(
        "RNN", ["x", *shapes, "lengths"], ["y", "state"], hidden_size=7, direction="bidirectional", clip=2.0,
        activations=["Tanh", name], **numbers,
    )  # fmt: skip
    x, lengths = rng.standard_normal((5, 2, 3)).astype(np.float32), np.array([5, 2], np.int32)
    infos = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, [2]),
    ]
    made = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in ("y", "state")]
    graph = helper.make_graph([node], "g", infos, made, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    feeds = {"x": x, "lengths": lengths}
    expected: Any = onnxruntime.InferenceSession(model).run(None, feeds)
    found = penstock.compile(model).load().session(threads=1).run(feeds)
    for key, array in zip(("y", "state"), expected, strict=True):
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-6)


TEAMS: dict[str, dict[str, Any]] = {
    "LSTM": {"direction": "bidirectional", "batch": 1},
    "GRU": {"batch": 3},
    "GRU reset after": {"batch": 1, "linear_before_reset": 1},
    "RNN": {"batch": 7, "direction": "reverse"},
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", TEAMS)
def test_threads_share_steps(name: str, isa: str) -> None:
    """A kernel whose threads exchange the state after every step: right, and the same bits, with any number of threads,
    on threads of the host that start late, and on a host that runs its tasks one after the other, last one first."""
    op, parameters = name.split()[0], dict(TEAMS[name])
    rng, batch, hidden = np.random.default_rng(5), parameters.pop("batch"), 320
    ways, gates = (2 if "direction" in parameters and op == "LSTM" else 1), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    shapes = {"w": (ways, gates * hidden, 9), "r": (ways, gates * hidden, hidden), "b": (ways, 2 * gates * hidden)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.05, s).astype(np.float32), key) for key, s in shapes.items()]
    node = helper.make_node(op, ["x", *shapes, "lengths"], ["y", "state"], hidden_size=hidden, **parameters)
    feeds = {"x": rng.standard_normal((61, batch, 9)).astype(np.float32), "lengths": np.full(batch, 61, np.int32)}
    feeds["lengths"][0] = 47
    infos = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, feeds["x"].shape),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch]),
    ]
    made = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in ("y", "state")]
    graph = helper.make_graph([node], "g", infos, made, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    expected: Any = onnxruntime.InferenceSession(model).run(None, feeds)
    loaded = penstock.compile(model, target=f"cpu:{isa}").load()
    alone = {key: value.copy() for key, value in loaded.session(threads=1).run(feeds).items()}
    for key, array in zip(("y", "state"), expected, strict=True):
        np.testing.assert_allclose(alone[key], array, rtol=1e-4, atol=1e-5)
    counts: list[int] = []

    def backwards(task: Any, count: int) -> None:
        counts.append(count)
        for index in reversed(range(count)):
            task(index)

    def late(task: Any, count: int) -> None:
        workers = [threading.Timer(0.002 * index, task, (index,)) for index in range(count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    sessions = [loaded.session(threads=threads) for threads in (2, 3, 5)]
    sessions += [loaded.session(threads=3, executor=executor) for executor in (backwards, late)]
    for session in sessions:
        for _ in range(2):
            for key, value in session.run(feeds).items():
                np.testing.assert_array_equal(value, alone[key])
    assert max(counts) > 1
