"""Layers of the domain com.microsoft give onnxruntime's results."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit.frontend.test_microsoft import agree, model_of, some
from unit.frontend.test_microsoft_quantization import bytes_of

import penstock
from penstock.compiler.frontends.onnx import check_model

F, U8 = TensorProto.FLOAT, TensorProto.UINT8
RNG = np.random.default_rng(21)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("groups", [1, 2])
def test_qlinear_conv(groups: int, last: int) -> None:
    x = bytes_of(2, 9, 7, 4) if last else bytes_of(2, 4, 9, 7)
    feeds = {"x": x, "xs": np.float32(0.02), "xz": np.uint8(100), "w": bytes_of(6, 4 // groups, 3, 2)}
    feeds |= {"ws": np.float32(0.01), "wz": np.uint8(120), "ys": np.float32(0.7), "yz": np.uint8(128)}
    feeds |= {"b": RNG.integers(-900, 900, (6,), dtype=np.int32)}
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "group": groups}
    agree("QLinearConv", feeds, {"y": U8}, channels_last=last, **attributes)


def test_nhwc_max_pool() -> None:
    agree("NhwcMaxPool", {"x": bytes_of(2, 9, 7, 5)}, {"y": U8}, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_dynamic_quantize_lstm(direction: str, each: bool) -> None:
    """Within what quantising inputs and states costs onnxruntime."""
    ways, hidden = 2 if direction == "bidirectional" else 1, 6
    scales = (ways, 4 * hidden) if each else (ways,)
    weights = {
        "w": bytes_of(ways, 5, 4 * hidden, kind=np.int8), "r": bytes_of(ways, hidden, 4 * hidden, kind=np.int8),
        "b": some(ways, 8 * hidden), "ws": np.full(scales, 0.005, np.float32), "wz": np.zeros(scales, np.int8),
        "rs": np.full(scales, 0.004, np.float32), "rz": np.zeros(scales, np.int8),
    }  # fmt: skip
    names = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    node = helper.make_node("DynamicQuantizeLSTM", names, ["y", "h", "c"], domain="com.microsoft", **attributes)
    x = RNG.uniform(-1, 1, (4, 3, 5)).astype(np.float32)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", F, x.shape)],
        [helper.make_tensor_value_info(name, F, None) for name in "yhc"],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    expected: Any = onnxruntime.InferenceSession(model).run(None, {"x": x})
    found = penstock.compile(model).load().session(threads=1).run({"x": x})
    for name, array in zip("yhc", expected, strict=True):
        np.testing.assert_allclose(found[name], array, atol=0.03)


@pytest.mark.parametrize("rule", ["linear", "gated_delta"])
def test_linear_attention(rule: str) -> None:
    feeds = {"q": some(2, 3, 24), "k": some(2, 3, 12) / 4, "v": some(2, 3, 16), "s": some(2, 2, 6, 8)}
    if rule == "gated_delta":
        feeds |= {"g": -np.abs(some(2, 3, 2)), "b": RNG.random((2, 3, 2)).astype(np.float32)}
    agree("LinearAttention", feeds, {"y": F, "t": F}, q_num_heads=4, kv_num_heads=2, update_rule=rule)


@pytest.mark.parametrize("given", ["segments", ""])
def test_quantised_embeddings(given: str) -> None:
    tables = {"we": bytes_of(11, 8), "pe": bytes_of(6, 8), "se" if given else "-se": bytes_of(3, 8)}
    feeds: dict[str, Any] = {"w": RNG.integers(0, 11, (2, 5), dtype=np.int32)}
    feeds |= {"s" if given else "-s": RNG.integers(0, 3, (2, 5), dtype=np.int32)} | tables
    feeds |= {"gamma": bytes_of(8), "beta": bytes_of(8), "mask": np.int32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])}
    names = ["1", "2", "3" if given else "-3", "4", "5"]
    feeds |= {f"s{name}" if name[0] != "-" else f"-s{name}": np.float32(0.03) for name in names}
    feeds |= {f"z{name}" if name[0] != "-" else f"-z{name}": np.uint8(110) for name in names}
    agree("QEmbedLayerNormalization", feeds, {"y": F, "m": TensorProto.INT32}, epsilon=1e-6)


def test_refusals() -> None:
    """Each in a sentence: scales that fit nothing, windows of states."""
    feeds = {"x": some(4, 3, 5), "w": bytes_of(1, 5, 24), "r": bytes_of(1, 6, 24)}
    feeds |= {f"-{i}": None for i in range(5)} | {"ws": some(3), "wz": bytes_of(3), "rs": some(1), "rz": bytes_of(1)}
    (problem,) = check_model(model_of("DynamicQuantizeLSTM", feeds, {"y": F}, hidden_size=6))
    assert str(problem.code) == "PENS-M009"
    feeds = {"q": some(2, 3, 24), "k": some(2, 3, 12), "v": some(2, 3, 16)}
    attributes: dict[str, Any] = {"q_num_heads": 4, "kv_num_heads": 2, "state_window": 2, "update_rule": "linear"}
    (problem,) = check_model(model_of("LinearAttention", feeds, {"y": F}, **attributes))
    assert str(problem.code) == "PENS-M007"
