"""Quantised operators give onnxruntime's integers: odd extents, ties, saturation, parameters of every shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import penstock

U8, I8, I32, F = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.FLOAT
RNG = np.random.default_rng(11)


def both(op: str, feeds: Mapping[str, Any], outputs: Mapping[str, int], **attributes: Any) -> list[tuple[Any, Any]]:
    """Our results and onnxruntime's, of a model of one node with all its operands fed."""
    opset = attributes.pop("opset", 21)
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    node = helper.make_node(op, list(arrays), list(outputs), name="node", **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    graph = helper.make_graph([node], "g", infos, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    expected: Any = onnxruntime.InferenceSession(model.SerializeToString()).run(None, arrays)
    ours = penstock.compile(model.SerializeToString()).load().session(threads=1).run(arrays)
    return [(ours[name], peer) for name, peer in zip(outputs, expected, strict=True)]


def agree(pairs: list[tuple[Any, Any]]) -> None:
    """Same types, same integers; numbers to the last place but one."""
    for ours, peer in pairs:
        assert ours.dtype == peer.dtype
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(ours, peer, rtol=3e-7)
        else:
            np.testing.assert_array_equal(ours, peer)


def numbers(shape: tuple[int, ...], kind: Any) -> Any:
    """Integers from all of a type's range."""
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
def test_quantize(kind: Any) -> None:
    """Halves go to even, what does not fit saturates, infinities too."""
    limit = float(np.iinfo(kind).max)
    x = np.array([0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf, limit, limit + 0.5, 3.25], np.float32)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    agree(both("QuantizeLinear", {"x": x, "s": np.float32(1), "z": kind(3)}, {"y": code}))
    agree(both("QuantizeLinear", {"x": x * 0.25, "s": np.float32(0.25), "z": kind(0)}, {"y": code}))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
def test_what_is_no_number(kind: Any) -> None:
    """NaN becomes the least integer; so quantisers' infinite scales of masks mean the same as in onnxruntime."""
    x = np.array([np.nan, 1, -np.nan, -3.4e38, np.inf, 0, 7], np.float32)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    agree(both("QuantizeLinear", {"x": x, "s": np.float32(1), "z": kind(5)}, {"y": code}))
    agree(both("QuantizeLinear", {"x": x, "s": np.float32(np.inf), "z": kind(0)}, {"y": code}))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantize_along_an_axis_and_back(axis: int) -> None:
    x = RNG.standard_normal((3, 5, 7)).astype(np.float32)
    scale = RNG.uniform(0.01, 0.1, x.shape[axis]).astype(np.float32)
    zero = numbers(scale.shape, np.int8)
    agree(both("QuantizeLinear", {"x": x, "s": scale, "z": zero}, {"y": I8}, axis=axis))
    q = numbers(x.shape, np.int8)
    agree(both("DequantizeLinear", {"q": q, "s": scale, "z": zero}, {"y": F}, axis=axis))


def test_blocks_whose_last_is_short() -> None:
    """Seven elements in blocks of three: the third scale serves one."""
    q, scale = numbers((2, 7), np.uint8), RNG.uniform(0.01, 0.1, (2, 3)).astype(np.float32)
    zero = numbers((2, 3), np.uint8)
    ours = penstock_only("DequantizeLinear", {"q": q, "s": scale, "z": zero}, axis=1, block_size=3)
    every = np.repeat(np.arange(3), 3)[:7]
    np.testing.assert_allclose(ours, (q.astype(np.float32) - zero[:, every]) * scale[:, every], rtol=3e-7)


def penstock_only(op: str, feeds: Mapping[str, Any], **attributes: Any) -> Any:
    """Our result, where onnxruntime has none."""
    node = helper.make_node(op, list(feeds), ["y"], name="node", **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    graph = helper.make_graph([node], "g", infos, [helper.make_tensor_value_info("y", F, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return penstock.compile(model.SerializeToString()).load().session(threads=1).run(feeds)["y"]


@pytest.mark.parametrize(("low", "high"), [(-3, 5), (1, 4), (-4, -1), (0, 0)])
def test_dynamic(low: float, high: float) -> None:
    """Ranges on both sides of zero and on one; a tensor of zeros has scale 1."""
    x = RNG.uniform(low, high, (5, 3)).astype(np.float32)
    agree(both("DynamicQuantizeLinear", {"x": x}, {"y": U8, "scale": F, "zero": U8}, opset=11))


@pytest.mark.parametrize(("left", "right"), [(np.uint8, np.int8), (np.uint8, np.uint8)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 37, 19), (4, 300, 33)])
def test_matmul_integer(left: Any, right: Any, shape: tuple[int, int, int]) -> None:
    """Sums are exact."""
    rows, depth, columns = shape
    a, b = numbers((rows, depth), left), numbers((depth, columns), right)
    agree(both("MatMulInteger", {"a": a, "b": b, "az": left(7), "bz": numbers((columns,), right)}, {"y": I32}))


def test_qlinear_matmul() -> None:
    a, b = numbers((5, 37), np.uint8), numbers((37, 19), np.uint8)
    feeds = {
        "a": a, "as": np.float32(0.02), "az": np.uint8(113), "b": b, "bs": np.float32(0.03), "bz": np.uint8(114),
        "ys": np.float32(0.5), "yz": np.uint8(118),
    }  # fmt: skip
    agree(both("QLinearMatMul", feeds, {"y": U8}))


@pytest.mark.parametrize("group", [1, 2])
def test_convolutions(group: int) -> None:
    """Padding stands for real zeros; the weights' scale is per output channel; the bias is added in i32."""
    x, w = numbers((1, 4, 9, 7), np.uint8), numbers((6, 4 // group, 3, 3), np.int8)
    attributes: dict[str, Any] = {"pads": [1, 0, 1, 2], "strides": [2, 1], "group": group}
    scale = RNG.uniform(0.01, 0.03, 6).astype(np.float32)
    feeds = {
        "x": x, "xs": np.float32(0.02), "xz": np.uint8(100), "w": w, "ws": scale, "wz": np.zeros(6, np.int8),
        "ys": np.float32(0.9), "yz": np.uint8(128), "bias": RNG.integers(-900, 900, 6, dtype=np.int32),
    }  # fmt: skip
    agree(both("QLinearConv", feeds, {"y": U8}, **attributes))
    plain = {"x": x, "w": w.view(np.uint8), "xz": np.uint8(100), "wz": np.uint8(3)}
    agree(both("ConvInteger", plain, {"y": I32}, **attributes))
