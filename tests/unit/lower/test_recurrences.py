"""LSTM, GRU and RNN with packed weights (hidden widths of whole panels) and without, against onnxruntime."""

from __future__ import annotations

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
