"""8-bit floating-point and numbers of 4 and 2 bits in models: fed, stored, moved, converted, handed out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.frontends.onnx import check_model

RNG = np.random.default_rng(8)
KINDS = {
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    TensorProto.FLOAT8E8M0: ml_dtypes.float8_e8m0fnu,
    TensorProto.FLOAT4E2M1: ml_dtypes.float4_e2m1fn,
    TensorProto.INT4: ml_dtypes.int4,
    TensorProto.UINT4: ml_dtypes.uint4,
    TensorProto.INT2: ml_dtypes.int2,
    TensorProto.UINT2: ml_dtypes.uint2,
}


def bits(kind: int, shape: tuple[int, ...]) -> Any:
    """Any numbers of a type but NaN and infinity."""
    name = np.dtype(KINDS[kind]).name
    width = 2 if name.endswith("int2") else 4 if "4" in name.split("_")[0][-1:] else 8
    made = RNG.integers(0, 1 << width, shape, dtype=np.uint8).view(KINDS[kind])
    return np.where(np.isfinite(made.astype(np.float32)), made, np.ones_like(made))


def model_of(
    nodes: list[Any], feeds: dict[str, Any], outputs: dict[str, int], stored: dict[str, Any] | None = None
) -> Any:
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    made = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    weights = [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()]
    graph = helper.make_graph(nodes, "g", infos, made, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)


def run(model: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    return dict(penstock.compile(model.SerializeToString()).load().session(threads=1).run(feeds))


def same(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_moved_and_stored(kind: int) -> None:
    """A fed tensor and a weight, reshaped, transposed, joined, sliced, picked and chosen from: the same bits."""
    x, w = bits(kind, (3, 7)), bits(kind, (3, 5))
    nodes = [
        helper.make_node("Concat", ["x", "w"], ["a"], axis=1),
        helper.make_node("Transpose", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("Gather", ["c", "picked"], ["d"]),
        helper.make_node("Where", ["mask", "d", "first"], ["y"]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Identity", ["w"], ["weight"]),
    ]
    mask, first = RNG.random((5, 9)) < 0.5, bits(kind, (1,))
    stored = {"w": w, "shape": np.array([4, 9]), "picked": np.array([3, 0, 1, -1, 2]), "first": first}
    feeds = {"x": x, "mask": mask}
    found = run(model_of(nodes, feeds, dict.fromkeys(("y", "same", "weight"), kind), stored), feeds)
    picked = np.concatenate([x, w], axis=1).T.reshape(4, 9)[[3, 0, 1, -1, 2]]
    same(found["y"], np.where(mask, picked, first))
    same(found["same"], x)
    same(found["weight"], w)


@pytest.mark.parametrize("kind", KINDS)
def test_converted(kind: int) -> None:
    """To f32 and back natively, odd sizes and an empty tensor."""
    for shape in ((1,), (5, 13), (0, 3), (257,)):
        x = bits(kind, shape)
        nodes = [
            helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("CastLike", ["wide", "x"], ["y"]),
        ]
        found = run(model_of(nodes, {"x": x}, {"wide": TensorProto.FLOAT, "y": kind}), {"x": x})
        np.testing.assert_array_equal(found["wide"], x.astype(np.float32))
        least = kind == TensorProto.FLOAT8E8M0 and x.view(np.uint8) == 0  # which ONNX rounds up, as it does in f32
        same(found["y"], np.where(least, np.float32(2.0**-126).astype(x.dtype), x))


@pytest.mark.parametrize("block", [0, 4])
@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_four_bit_weights(kind: int, block: int) -> None:
    """As onnxruntime has them, packed in the file, by axis and by block."""
    w = bits(kind, (11, 8))
    scale = RNG.random((11, 2) if block else (8,)).astype(np.float32) + 0.5
    zero = bits(kind, scale.shape)
    node = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1, **({"block_size": 4} if block else {}))
    nodes = [node, helper.make_node("MatMul", ["x", "d"], ["y"])]
    x = RNG.standard_normal((3, 11)).astype(np.float32)
    model = model_of(nodes, {"x": x}, {"y": TensorProto.FLOAT}, {"w": w, "s": scale, "z": zero})
    model.opset_import[0].version, model.ir_version = 21, 10
    options = onnxruntime.SessionOptions()  # optimised, it would quantise x too
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    np.testing.assert_allclose(run(model, {"x": x})["y"], np.asarray(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != TensorProto.FLOAT8E8M0])
def test_quantised(kind: int) -> None:
    """Quantised and back: as onnx's evaluator does."""
    from onnx.reference import ReferenceEvaluator

    x = np.concatenate([RNG.standard_normal(41) * 3, [0, 0.25, 0.75, 1.25, -0.25, 1e9, -1e9]]).astype(np.float32)
    zero = np.zeros((), KINDS[kind])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    feeds = {"x": x}
    model = model_of(nodes, feeds, {"q": kind, "y": TensorProto.FLOAT}, {"s": np.float32(0.5), "z": zero})
    expected: Any = ReferenceEvaluator(model).run(None, feeds)
    found = run(model, feeds)
    same(found["q"], expected[0])
    np.testing.assert_array_equal(found["y"], expected[1])


def test_without_ml_dtypes_bits_are_handed_out(tmp_path: Path) -> None:
    """A process that has not loaded ml_dtypes sees bytes, and the name of what they are."""
    x = bits(TensorProto.FLOAT8E5M2, (5,))
    model = model_of([helper.make_node("Identity", ["x"], ["y"])], {"x": x}, {"y": TensorProto.FLOAT8E5M2})
    penstock.compile(model.SerializeToString()).save(tmp_path / "m.pens")
    program = (
        "import sys, numpy as np, penstock.runtime as r\n"
        f"m = r.load({str(tmp_path / 'm.pens')!r})\n"
        "assert 'ml_dtypes' not in sys.modules and m.inputs[0].dtype == np.uint8\n"
        "assert m.outputs[0].element == 'float8_e5m2'\n"
        "print(m.session().run({'x': np.arange(5, dtype=np.uint8)})['y'].tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[0, 1, 2, 3, 4]\n", done.stderr


def test_refusals() -> None:
    """No arithmetic on what is only stored, no strings, each in a sentence by the node."""
    four, text = bits(TensorProto.INT4, (3,)), TensorProto.STRING
    add = helper.make_node("Add", ["x", "x"], ["y"], name="node")
    (problem,) = check_model(model_of([add], {"x": four}, {"y": TensorProto.INT4}))
    assert (str(problem.code), problem.node) == ("PENS-M009", "node")
    assert "graph.add does not take i4" in problem.reason
    cast = helper.make_node("Cast", ["x"], ["y"], name="node", to=text)
    (problem,) = check_model(model_of([cast], {"x": four}, {"y": text}))
    assert (str(problem.code), problem.node) == ("PENS-M008", "node")
    packed = numpy_helper.from_array(four, "w")
    packed.raw_data = packed.raw_data[:-1]
    model = model_of([helper.make_node("Identity", ["w"], ["y"])], {}, {"y": TensorProto.INT4})
    model.graph.initializer.append(packed)
    (problem,) = check_model(model)
    assert "takes 2 bytes, not the 1 stored" in problem.reason
