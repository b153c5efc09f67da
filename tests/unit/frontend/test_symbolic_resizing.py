"""Resize over symbolic axes: compiled once, run at several sizes, beside onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import penstock
from penstock.compiler.backends.cpu.target import host_isa
from penstock.compiler.errors import DEPENDS_ON_SIZES, ModelError

SIZES = [(4, 4, 8, 8), (5, 7, 3, 11), (16, 16, 16, 16), (2, 9, 1, 5)]
"""Height and width of x, then of the tensor whose size is asked for."""


def resizing(mode: str, coordinates: str, scales: tuple[float, float] | None, **others: object) -> ModelProto:
    """Resize of x by ``scales`` of its last two axes, or to the size of z."""
    images = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])]
    node_inputs, nodes, stored = ["x", ""], [], []
    if scales is None:
        images.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 3, "other", "another"]))
        nodes.append(helper.make_node("Shape", ["z"], ["size"], name="shape"))
        node_inputs += ["", "size"]
    else:
        stored.append(numpy_helper.from_array(np.array([1, 1, *scales], np.float32), "scales"))
        node_inputs.append("scales")
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, **others}
    nodes.append(helper.make_node("Resize", node_inputs, ["y"], name="resize", **attributes))
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph(nodes, "resizing", images, [result], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize("scales", [(1.0, 3.0), None])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "half_pixel_symmetric", "align_corners"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resizing(mode: str, coordinates: str, scales: tuple[float, float] | None, tmp_path: Path) -> None:
    model = resizing(mode, coordinates, scales).SerializeToString()
    path = tmp_path / "resizing.pens"
    penstock.compile(model, target=f"cpu:{host_isa()}").save(path)
    session = penstock.load(path).session(threads=1)
    oracle = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for height, width, other, another in SIZES:
        feeds = {"x": rng.standard_normal((2, 3, height, width)).astype(np.float32)}
        if scales is None:
            feeds["z"] = np.zeros((2, 3, other, another), np.float32)
        (want,) = oracle.run(None, feeds)
        np.testing.assert_allclose(session.run(feeds)["y"], np.asarray(want), atol=1e-5)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_sizes_that_are_numbers_beside_a_symbolic_batch(policy: str) -> None:
    """23 to 40: no ratio of small numbers."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 23, 23])
    stored = [numpy_helper.from_array(np.array([40, 31]), "sizes")]
    attributes = {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": policy}
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], name="resize", **attributes)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph([node], "resizing", [image], [result], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9).SerializeToString()
    x = np.random.default_rng(0).standard_normal((2, 1, 23, 23)).astype(np.float32)
    (want,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    session = penstock.compile(model, target=f"cpu:{host_isa()}").load().session(threads=1)
    np.testing.assert_allclose(session.run({"x": x})["y"], np.asarray(want), atol=1e-5)


def test_an_aspect_ratio_that_leaves_a_number_of_symbolic_sizes() -> None:
    """No row is asked for that has less than one element, so that the result has one, whatever the size of z."""
    images = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [2, 2]), ("z", ["n"]))
    ]
    nodes = [
        helper.make_node("Shape", ["z"], ["rows"]),
        helper.make_node("Concat", ["rows", "one"], ["sizes"], axis=0),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", keep_aspect_ratio_policy="not_larger"),
    ]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 2)
    graph = helper.make_graph(nodes, "resizing", images, [result], [numpy_helper.from_array(np.array([1]), "one")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    feeds = {"x": np.array([[1, 2], [3, 7]], np.float32), "z": np.zeros(5, np.float32)}
    (want,) = ReferenceEvaluator(model).run(None, feeds)
    session = penstock.compile(model.SerializeToString(), target=f"cpu:{host_isa()}").load().session(threads=1)
    np.testing.assert_allclose(session.run(feeds)["y"], np.asarray(want), atol=1e-5)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_antialias_over_symbolic_sizes(mode: str, policy: str) -> None:
    """How many elements a kernel covers depends on the sizes. The oracle is ONNX's evaluator."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "channels", "height", "width"])
    stored = [numpy_helper.from_array(np.array([6, 5]), "sizes")]
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode=mode, axes=[2, 3], antialias=1, keep_aspect_ratio_policy=policy
    )
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph([node], "resizing", [image], [result], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = penstock.compile(model.SerializeToString(), target=f"cpu:{host_isa()}").load().session(threads=1)
    for channels, height, width in ((1, 12, 9), (3, 13, 31), (2, 4, 5)):
        x = np.random.default_rng(height).standard_normal((1, channels, height, width)).astype(np.float32)
        (want,) = ReferenceEvaluator(model).run(None, {"x": x})
        np.testing.assert_allclose(session.run({"x": x})["y"], np.asarray(want), atol=1e-5)


def test_a_scale_beyond_what_sizes_are_computed_with_is_refused() -> None:
    with pytest.raises(ModelError, match=r"resize.*cannot be computed in 64 bits") as caught:
        penstock.compile(resizing("linear", "half_pixel", (1e-20, 0.5)).SerializeToString())
    assert DEPENDS_ON_SIZES in str(caught.value)
