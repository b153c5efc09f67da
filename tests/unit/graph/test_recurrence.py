"""LSTM, GRU and RNN against onnxruntime, with every option it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.graph.building import apply, onnxruntime_node, random

STEPS, BATCH, FEATURES, HIDDEN = 6, 3, 4, 5
NAMES = {
    "Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Affine": "affine", "LeakyRelu": "leaky_relu",
    "ThresholdedRelu": "thresholded_relu", "ScaledTanh": "scaled_tanh", "HardSigmoid": "hard_sigmoid", "Elu": "elu",
    "Softsign": "softsign", "Softplus": "softplus",
}  # fmt: skip


def operands(gates: int, ways: int, states: int) -> list[Any]:
    shapes = [
        (STEPS, BATCH, FEATURES),
        (ways, gates * HIDDEN, FEATURES),
        (ways, gates * HIDDEN, HIDDEN),
        (ways, 2 * gates * HIDDEN),
        *[(ways, BATCH, HIDDEN)] * states,
    ]
    return [random(*shape, seed=i) * 0.7 for i, shape in enumerate(shapes)]


def close(actual: Any, expected: Any):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, (6, 1, 4)])
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(direction: str, peepholes: bool, lengths: Any):
    ways = 2 if direction == "bidirectional" else 1
    x, w, r, b, h, c = operands(4, ways, 2)
    peep = random(ways, 3 * HIDDEN, seed=9) if peepholes else None
    numbers = None if lengths is None else np.int32(lengths)
    expected = onnxruntime_node(
        "LSTM", x, w, r, b, numbers, h, c, peep, outputs=3, hidden_size=HIDDEN, direction=direction, clip=0.9
    )
    optional = {"lengths": numbers, "peepholes": peep}
    present = {name: value for name, value in optional.items() if value is not None}
    actual = apply("lstm", x, w, r, b, h, c, *present.values(), extras=",".join(present), direction=direction, clip=0.9)
    close(actual, expected)


@pytest.mark.parametrize("lengths", [None, (6, 1, 4)])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_gru(direction: str, linear: bool, lengths: Any):
    x, w, r, b, h = operands(3, 2 if direction == "bidirectional" else 1, 1)
    numbers = None if lengths is None else np.int32(lengths)
    attributes: Any = {"hidden_size": HIDDEN, "direction": direction, "linear_before_reset": int(linear)}
    expected = onnxruntime_node("GRU", x, w, r, b, numbers, h, outputs=2, **attributes)
    more = [] if numbers is None else [numbers]
    extras = "lengths" if more else ""
    actual = apply("gru", x, w, r, b, h, *more, extras=extras, direction=direction, linear_before_reset=linear)
    close(actual, expected)


@pytest.mark.parametrize("lengths", [None, (6, 1, 4)])
@pytest.mark.parametrize("clip", [0.0, 0.4])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_rnn(direction: str, clip: float, lengths: Any):
    ways = 2 if direction == "bidirectional" else 1
    x, w, r, b, h = operands(1, ways, 1)
    numbers = None if lengths is None else np.int32(lengths)
    attributes: Any = {"hidden_size": HIDDEN, "direction": direction} | ({"clip": clip} if clip else {})
    attributes["activations"] = ["Tanh", "LeakyRelu"][:ways]
    if ways == 2:
        attributes["activation_alpha"] = [0.3]
    expected = onnxruntime_node("RNN", x, w, r, b, numbers, h, outputs=2, **attributes)
    more = [] if numbers is None else [numbers]
    own = ",".join(["tanh", "leaky_relu(0.3)"][:ways])
    parameters: Any = {"extras": "lengths" if more else "", "direction": direction, "clip": clip, "activations": own}
    close(apply("rnn", x, w, r, b, h, *more, **parameters), expected)


@pytest.mark.parametrize("name", NAMES)
def test_activations(name: str):
    x, w, r, b, h, c = operands(4, 1, 2)
    takes = {"Affine": 2, "LeakyRelu": 1, "ThresholdedRelu": 1, "ScaledTanh": 2, "HardSigmoid": 2, "Elu": 1}.get(
        name, 0
    )
    numbers = [0.7, 0.3][:takes]
    attributes: Any = {"activations": ["Sigmoid", name, "Tanh"], "hidden_size": HIDDEN}
    if takes:
        attributes |= {"activation_alpha": [0.7]} | ({"activation_beta": [0.3]} if takes == 2 else {})
    expected = onnxruntime_node("LSTM", x, w, r, b, None, h, c, outputs=3, **attributes)
    own = NAMES[name] + (f"({';'.join(map(str, numbers))})" if numbers else "")
    close(apply("lstm", x, w, r, b, h, c, activations=f"sigmoid,{own},tanh"), expected)


def test_input_forget():
    x, w, r, b, h, c = operands(4, 1, 2)
    expected = onnxruntime_node("LSTM", x, w, r, b, None, h, c, outputs=3, hidden_size=HIDDEN, input_forget=1)
    close(apply("lstm", x, w, r, b, h, c, input_forget=True), expected)


def test_half_precision_keeps_the_type():
    arrays = [array.astype(np.float16) for array in operands(4, 1, 2)]
    actual = apply("lstm", *arrays)
    exact = apply("lstm", *(array.astype(np.float64) for array in arrays))
    for a, b in zip(actual, exact, strict=True):
        assert a.dtype == np.float16
        np.testing.assert_allclose(a, b, atol=2e-3)
