"""Operators of the domain com.microsoft give onnxruntime's results."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import penstock
from penstock.compiler.frontends.onnx import check_model

RNG = np.random.default_rng(5)
F, U8 = TensorProto.FLOAT, TensorProto.UINT8


def model_of(
    op: str, feeds: Mapping[str, Any], outputs: Mapping[str, int], domain: str = "com.microsoft", **attributes: Any
) -> bytes:
    """A model of one node with its operands fed; what is called ``-`` something is left out."""
    operands, made = (["" if name.startswith("-") else name for name in names] for names in (feeds, outputs))
    node = helper.make_node(op, operands, made, name="node", domain=domain, **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.shape(array))
        for name, array in feeds.items()
        if not name.startswith("-")
    ]
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items() if name[0] != "-"]
    graph = helper.make_graph([node], "g", infos, results)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def agree(op: str, feeds: Mapping[str, Any], outputs: Mapping[str, int] | None = None, **attributes: Any) -> None:
    """Our results are onnxruntime's: integers the same, numbers close."""
    outputs = outputs or {"y": F}
    model = model_of(op, feeds, outputs, **attributes)
    arrays = {name: np.asarray(array) for name, array in feeds.items() if not name.startswith("-")}
    expected: Any = onnxruntime.InferenceSession(model).run(None, arrays)
    ours = penstock.compile(model).load().session(threads=1).run(arrays)
    for name, peer in zip((name for name in outputs if name[0] != "-"), expected, strict=True):
        assert ours[name].dtype == peer.dtype
        if peer.dtype.kind == "f":
            np.testing.assert_allclose(ours[name], peer, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(ours[name], peer)


def some(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("op", ["Gelu", "BiasGelu", "FastGelu", "QuickGelu"])
def test_gelu(op: str) -> None:
    x = np.concatenate([some(3, 33) * 3, np.array([[0.0, -0.0, 90, -90] + [1.5] * 29], np.float32)])
    agree(op, {"x": x} | ({"bias": some(33)} if op in ("BiasGelu", "FastGelu") else {}))


def test_fast_gelu_without_bias() -> None:
    agree("FastGelu", {"x": some(2, 5, 7)})


@pytest.mark.parametrize(("left", "right"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_fused_matmul(left: int, right: int) -> None:
    a, b = some(2, 7, 5) if left else some(2, 5, 7), some(2, 9, 7) if right else some(2, 7, 9)
    for op in ("FusedMatMul", "TransposeMatMul"):
        agree(op, {"a": a, "b": b}, transA=left, transB=right, alpha=0.125)


@pytest.mark.parametrize("flags", list(itertools.product((0, 1), repeat=4)))
def test_fused_matmul_with_batches_behind_rows(flags: tuple[int, int, int, int]) -> None:
    left, right, left_batch, right_batch = flags
    a, b = some(2, 4, 5, 3) if left else some(2, 4, 3, 5), some(2, 4, 6, 5) if right else some(2, 4, 5, 6)
    a, b = (np.moveaxis(x, 2, 0) if behind else x for x, behind in ((a, left_batch), (b, right_batch)))
    feeds = {"a": np.ascontiguousarray(a), "b": np.ascontiguousarray(b)}
    agree("FusedMatMul", feeds, transA=left, transB=right, transBatchA=left_batch, transBatchB=right_batch)


@pytest.mark.parametrize("given", [("gamma",), ("gamma", "beta"), ("gamma", "beta", "bias")])
def test_skip_layer_normalization(given: tuple[str, ...]) -> None:
    feeds = {"x": some(2, 3, 17), "skip": some(2, 3, 17)} | {name: some(17) for name in given}
    agree("SkipLayerNormalization", feeds, epsilon=1e-5)
    agree("SkipLayerNormalization", feeds, {"y": F, "-mean": F, "-deviation": F, "sum": F}, epsilon=1e-5)


@pytest.mark.parametrize("given", [("gamma",), ("gamma", "bias")])
def test_skip_simplified_layer_normalization(given: tuple[str, ...]) -> None:
    feeds = {"x": some(2, 3, 17), "skip": some(2, 3, 17)} | {name: some(17) for name in given}
    agree("SkipSimplifiedLayerNormalization", feeds, epsilon=1e-6)


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_qlinear(op: str) -> None:
    feeds = {
        "a": RNG.integers(0, 256, (3, 5, 7), dtype=np.uint8), "as": np.float32(0.25), "az": np.uint8(100),
        "b": RNG.integers(0, 256, (5, 1), dtype=np.uint8), "bs": np.float32(0.5), "bz": np.uint8(17),
        "ys": np.float32(2.0), "yz": np.uint8(50),
    }  # fmt: skip
    agree(op, feeds, {"y": U8})


@pytest.mark.parametrize(
    ("activation", "numbers"), [("Relu", []), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.75]), ("HardSigmoid", [0.3, 0.4])]
)
def test_fused_conv(activation: str, numbers: list[float]) -> None:
    feeds = {"x": some(1, 3, 9, 7), "w": some(4, 3, 3, 3), "bias": some(4)}
    given = {"activation_params": numbers} if numbers else {}
    agree("FusedConv", feeds, activation=activation, pads=[1, 1, 1, 1], kernel_shape=[3, 3], **given)


@pytest.mark.parametrize(
    ("activation", "numbers"),
    [(name, {}) for name in ("Relu", "Softplus", "Softsign")]
    + [(name, {"activation_alpha": 0.3}) for name in ("LeakyRelu", "Elu")],
)
def test_fused_gemm(activation: str, numbers: dict[str, float]) -> None:
    feeds = {"a": some(7, 5), "b": some(9, 7), "c": some(9)}
    agree("FusedGemm", feeds, transA=1, transB=1, alpha=0.5, beta=2.0, activation=activation, **numbers)


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_quantize_linear_of_the_domain(kind: Any) -> None:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    agree("QuantizeLinear", {"x": some(3, 5) * 9, "s": np.float32(0.3), "z": kind(5)}, {"y": code})
    numbers = RNG.integers(0, 200, (3, 5)).astype(kind)
    agree("DequantizeLinear", {"x": numbers, "s": np.float32(0.3), "z": kind(5)})


@pytest.mark.parametrize("given", ["mask positions", "mask", "segments", ""])
def test_embed_layer_normalization(given: str) -> None:
    words = RNG.integers(0, 11, (2, 5), dtype=np.int32)
    segments = {"s": RNG.integers(0, 3, (2, 5), dtype=np.int32)} if given else {"-s": None}
    feeds = {"w": words} | segments | {"we": some(11, 8), "pe": some(6, 8)}
    feeds |= {"se": some(3, 8)} if given else {"-se": None}
    feeds |= {"gamma": some(8), "beta": some(8)}
    if "mask" in given:
        feeds["mask"] = np.int32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    if "positions" in given:
        feeds["positions"] = RNG.integers(0, 6, (2, 5), dtype=np.int32)
    agree("EmbedLayerNormalization", feeds, {"y": F, "m": TensorProto.INT32, "sum": F}, epsilon=1e-6)


def test_simplified_layer_normalization() -> None:
    """Which onnxruntime has in ONNX's own domain."""
    feeds = {"x": some(2, 3, 17), "scale": some(17)}
    agree("SimplifiedLayerNormalization", feeds, domain="", epsilon=1e-6, axis=-1)


def test_refusals() -> None:
    """A missing operand and an operator that is not there, each in a sentence."""
    (missing,) = check_model(model_of("BiasGelu", {"x": some(2)}, {"y": F}))
    (unknown,) = check_model(model_of("NoSuch", {"x": some(2)}, {"y": F}))
    assert (missing.code, unknown.code) == ("PENS-M009", "PENS-M006")
