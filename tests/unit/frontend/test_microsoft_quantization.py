"""Quantised operators of the domain com.microsoft give onnxruntime's results, integers the same but for ties."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit.frontend.test_microsoft import agree, model_of, some

import penstock
from penstock.compiler.frontends.onnx import check_model

RNG = np.random.default_rng(12)
F, U8, I8 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8


def bytes_of(*shape: int, kind: Any = np.uint8) -> Any:
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def stored(op: str, fed: dict[str, Any], weights: dict[str, Any], **attributes: Any) -> tuple[Any, Any]:
    """Our result and onnxruntime's of a node whose ``weights`` are stored in the model, which it demands."""
    names = ["" if name[0] == "-" else name for name in (*fed, *weights)]
    node = helper.make_node(op, names, ["y"], name="node", domain="com.microsoft", **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in fed.items()
    ]
    kept = [numpy_helper.from_array(array, name) for name, array in weights.items() if name[0] != "-"]
    kind = helper.np_dtype_to_tensor_dtype(next(iter(fed.values())).dtype) if op == "MatMulNBits" else F
    graph = helper.make_graph([node], "g", infos, [helper.make_tensor_value_info("y", kind, None)], kept)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    text = model.SerializeToString()
    (expected,) = onnxruntime.InferenceSession(text).run(None, fed)
    return penstock.compile(text).load().session(threads=1).run(fed)["y"], np.asarray(expected)


@pytest.mark.parametrize("zero", ["none", "packed", "float"])
@pytest.mark.parametrize(("bits", "block", "depth"), [(4, 16, 40), (4, 32, 32), (8, 32, 70), (2, 16, 33)])
def test_matmul_nbits(bits: int, block: int, depth: int, zero: str) -> None:
    """Depths that do not fill the last block, and a bias."""
    if bits != 4 and zero == "float":
        pytest.skip("onnxruntime has no such kernel")
    columns, blocks = 9, -(-depth // block)
    weights = {"b": bytes_of(columns, blocks, block * bits // 8), "s": some(columns, blocks)}
    if zero == "packed":
        weights["z"] = bytes_of(columns, -(-blocks * bits // 8))
    elif zero == "float":
        weights["z"] = (some(columns, blocks) * 3 + 8).astype(np.float32)
    else:
        weights["-z"] = None
    fed = {"a": some(2, 5, depth)}
    found, expected = stored("MatMulNBits", fed, weights, bits=bits, block_size=block, K=depth, N=columns)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    fed, more = {"a": some(1, depth)}, weights | {"-g": None, "bias": some(columns)}
    if zero != "float":
        found, expected = stored("MatMulNBits", fed, more, bits=bits, block_size=block, K=depth, N=columns)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", ["uint4", "int4", "bytes 4", "bytes 8"])
def test_gather_block_quantized(kind: str, zero: bool) -> None:
    rows, width, block = 7, 40, 16
    blocks = -(-width // block)
    numbers = bytes_of(rows, width) >> (0 if kind == "bytes 8" else 4)
    zeros = bytes_of(rows, blocks) >> (0 if kind == "bytes 8" else 4)
    bits = 4
    if kind in ("uint4", "int4"):
        dtype = getattr(ml_dtypes, kind)
        data, points = numbers.view(dtype), zeros.view(dtype)
    elif kind == "bytes 4":
        data = numbers[:, ::2] | numbers[:, 1::2] << 4
        padded = np.concatenate([zeros, zeros[:, :1]], axis=1)
        points = padded[:, ::2] | padded[:, 1::2] << 4
    else:
        data, points, bits = numbers, zeros, 8
    indices = np.int64([[3, 0, 6], [-1, -7, 2]])
    weights = {"d": data, "s": some(rows, blocks)} | ({"z": points} if zero else {})
    more: dict[str, Any] = {"bits": bits} if kind.startswith("bytes") else {}
    more |= {"block_size": block, "gather_axis": 0, "quantize_axis": 1}
    found, expected = gathered(weights, indices, **more)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found, expected = gathered(weights, np.int64([7, 1, -8]), **more)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def gathered(weights: dict[str, Any], indices: Any, **attributes: Any) -> tuple[Any, Any]:
    """Our result and onnxruntime's, the indices fed."""
    names = ["d", "i", *(name for name in weights if name != "d")]
    node = helper.make_node("GatherBlockQuantized", names, ["y"], name="node", domain="com.microsoft", **attributes)
    kept = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    info = helper.make_tensor_value_info("i", TensorProto.INT64, indices.shape)
    graph = helper.make_graph([node], "g", [info], [helper.make_tensor_value_info("y", F, None)], kept)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    text = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    (expected,) = onnxruntime.InferenceSession(text).run(None, {"i": indices})
    return penstock.compile(text).load().session(threads=1).run({"i": indices})["y"], np.asarray(expected)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("columns", [False, True])
def test_dynamic_quantize_matmul(columns: bool, kind: Any) -> None:
    scale = RNG.random(9 if columns else 1).astype(np.float32)
    feeds = {"a": some(3, 7), "b": bytes_of(7, 9, kind=kind), "s": scale, "z": bytes_of(*scale.shape, kind=kind)}
    agree("DynamicQuantizeMatMul", feeds | {"bias": some(9)})
    agree("DynamicQuantizeMatMul", {name: feeds[name] for name in "abs"})


def test_matmul_integer_to_float() -> None:
    feeds = {
        "a": bytes_of(2, 3, 7),
        "b": bytes_of(7, 9),
        "as": np.float32(0.02),
        "bs": RNG.random(9).astype(np.float32),
    }
    agree("MatMulIntegerToFloat", feeds | {"az": np.uint8(7), "bz": bytes_of(9), "bias": some(9)})
    agree("MatMulIntegerToFloat", feeds)


@pytest.mark.parametrize("quantised", [False, True])
def test_qgemm(quantised: bool) -> None:
    feeds = {"a": bytes_of(7, 3), "as": np.float32(0.02), "az": np.uint8(3), "b": bytes_of(9, 7, kind=np.int8)}
    feeds |= {"bs": RNG.random(9).astype(np.float32), "bz": np.zeros(9, np.int8)}
    feeds |= {"c": RNG.integers(-900, 900, (9,), dtype=np.int32)}
    more = {"ys": np.float32(3.5), "yz": np.uint8(100)} if quantised else {}
    agree("QGemm", feeds | more, {"y": U8 if quantised else F}, transA=1, transB=1)


@pytest.mark.parametrize("causal", [0, 1])
def test_qattention(causal: int) -> None:
    feeds = {"x": bytes_of(2, 5, 11), "w": bytes_of(11, 24, kind=np.int8), "b": some(24)}
    feeds |= {"xs": np.float32(0.01), "ws": np.float32(0.02), "m": np.int32([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])}
    feeds |= {"xz": np.uint8(120), "wz": np.int8(0)}
    agree("QAttention", feeds, num_heads=2, unidirectional=causal)


PARAMETERS = {"xs": np.float32(0.11), "xz": np.uint8(117)}
RESULT = {"ys": np.float32(1 / 130), "yz": np.uint8(3)}


def nearly(op: str, feeds: dict[str, Any], **attributes: Any) -> None:
    """Onnxruntime's integers, but for a unit where its table or its order of steps falls on the other side of a tie."""
    model = model_of(op, feeds, {"y": U8}, **attributes)
    arrays = {name: np.asarray(array) for name, array in feeds.items() if name[0] != "-"}
    (expected,) = onnxruntime.InferenceSession(model).run(None, arrays)
    found = penstock.compile(model).load().session(threads=1).run(arrays)["y"]
    assert found.dtype == np.asarray(expected).dtype
    distance = np.abs(found.astype(int) - np.asarray(expected).astype(int))
    assert distance.max(initial=0) <= 1
    assert np.count_nonzero(distance) <= 0.01 * distance.size


def test_functions() -> None:
    """Of every byte there is."""
    x = np.arange(256, dtype=np.uint8).reshape(2, 128)
    nearly("QLinearSigmoid", {"x": x} | PARAMETERS | RESULT)
    nearly("QLinearLeakyRelu", {"x": x} | PARAMETERS | {"ys": np.float32(0.12), "yz": np.uint8(30)}, alpha=0.2)


@pytest.mark.parametrize(("opset", "axis"), [(13, -1), (13, 1), (12, 1)])
def test_softmax(opset: int, axis: int) -> None:
    feeds = {"x": bytes_of(3, 5, 7)} | PARAMETERS | {"ys": np.float32(1 / 256), "yz": np.uint8(0)}
    nearly("QLinearSoftmax", feeds, opset=opset, axis=axis)


def test_softmax_of_an_infinite_scale() -> None:
    """A mask of -FLT_MAX gives a quantiser an infinite scale, and the softmax of a row of -inf is NaN. That is what
    the three operators say that this one stands for, of onnxruntime's as well, whose own table has 1 for each here."""
    x = np.array([[-128, -128, -128], [0, -128, 5]], np.int8)
    feeds = {"x": x, "xs": np.float32(np.inf), "xz": np.int8(0), "ys": np.float32(1 / 256), "yz": np.int8(-128)}
    steps = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["a"]),
        helper.make_node("Softmax", ["a"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "ys", "yz"], ["y"]),
    ]
    model = onnx.load_from_string(model_of("QLinearSoftmax", feeds, {"y": I8}, opset=13, axis=-1))
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    found = penstock.compile(model).load().session(threads=1).run(arrays)["y"]
    del model.graph.node[:]
    model.graph.node.extend(steps)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), plain).run(None, arrays)
    np.testing.assert_array_equal(found, expected)


def test_concat_and_where() -> None:
    feeds = {"ys": np.float32(0.3), "yz": np.uint8(90), "a": bytes_of(2, 3, 5), "as": np.float32(0.3)}
    feeds |= {"az": np.uint8(90), "b": bytes_of(2, 4, 5), "bs": np.float32(0.2), "bz": np.uint8(9)}
    nearly("QLinearConcat", feeds, axis=1)
    feeds = {"c": RNG.random((3, 5)) < 0.5, "a": bytes_of(3, 5)} | PARAMETERS | {"b": bytes_of(5)}
    nearly("QLinearWhere", feeds | {"bs": np.float32(0.2), "bz": np.uint8(9), "zs": np.float32(0.3), "zz": np.uint8(1)})


@pytest.mark.parametrize("last", [0, 1])
def test_pools(last: int) -> None:
    x = bytes_of(2, 9, 7, 5) if last else bytes_of(2, 5, 9, 7)
    feeds = {"x": x} | PARAMETERS | {"ys": np.float32(0.1), "yz": np.uint8(90)}
    nearly("QLinearGlobalAveragePool", feeds, channels_last=last)
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    nearly("QLinearAveragePool", feeds, channels_last=last, **attributes)


def test_reduce_mean() -> None:
    """Against numpy: onnxruntime declares the operator and has no kernel of it."""
    x = bytes_of(2, 5, 7)
    feeds = {"x": x, "xs": np.float32(0.1), "xz": np.uint8(100), "ys": np.float32(0.07), "yz": np.uint8(9)}
    model = model_of("QLinearReduceMean", feeds, {"y": U8}, axes=[1, 2], keepdims=0)
    found = penstock.compile(model).load().session(threads=1).run({k: np.asarray(v) for k, v in feeds.items()})["y"]
    mean = ((x.astype(np.float64) - 100) * 0.1).mean(axis=(1, 2))
    np.testing.assert_array_equal(found, np.clip(np.rint(mean / 0.07) + 9, 0, 255).astype(np.uint8))


def test_refusals() -> None:
    """Each in a sentence: sizes that contradict each other, reordered weights, widths of bits nobody packs."""
    feeds: dict[str, Any] = {"a": some(2, 32), "b": bytes_of(9, 1, 16), "s": some(9, 1)}
    attributes: dict[str, Any] = {"bits": 4, "block_size": 32, "K": 32, "N": 9}
    for wrong, more, code in (
        (feeds, {"N": 8}, "PENS-M009"),
        (feeds, {"bits": 3}, "PENS-M007"),
        (feeds, {"weight_prepacked": 1}, "PENS-M007"),
        (feeds | {"-z": None, "g": np.zeros(32, np.int32)}, {}, "PENS-M007"),
    ):
        (problem,) = check_model(model_of("MatMulNBits", wrong, {"y": F}, **(attributes | more)))
        assert str(problem.code) == code
    (problem,) = check_model(model_of("QLinearConcat", {"ys": np.float32(1), "yz": np.uint8(0)}, {"y": U8}, axis=0))
    assert str(problem.code) == "PENS-M009"
