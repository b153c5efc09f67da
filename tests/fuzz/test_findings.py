"""What the fuzzers found in the ONNX importer, each in its smallest form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import INVALID_NODE, SHAPE_CONFLICT
from penstock.compiler.frontends.onnx import import_model
from penstock.runtime.errors import PenstockError


def resize(
    shape: Sequence[int], declared: Sequence[int], fed: str, axes: Sequence[int], policy: str = "stretch"
) -> ModelProto:
    """Resize of f32 ``shape`` along ``axes``; ``fed`` is an input of the model: "sizes", "scales" or "" (then sizes are
    stored, twos)."""
    kind = TensorProto.FLOAT if fed == "scales" else TensorProto.INT64
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    stored = []
    if fed:
        inputs.append(helper.make_tensor_value_info(fed, kind, [len(axes)]))
    else:
        stored.append(numpy_helper.from_array(np.full(len(axes), 2, np.int64), "sizes"))
    names = ["x", "", "scales"] if fed == "scales" else ["x", "", "", "sizes"]
    node = helper.make_node("Resize", names, ["y"], name="r", axes=axes, keep_aspect_ratio_policy=policy)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, declared)
    graph = helper.make_graph([node], "g", inputs, [output], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize("fed", ["sizes", "scales"])
@pytest.mark.parametrize(
    ("declared", "axes"),
    [((1, 1, 4), (2, 3)), ((1, 1, 4, 4, 4), (2, 3)), ((1, 7, 4, 4), (2, 3))],
    ids=["lower rank", "higher rank", "another extent that is not resized"],
)
def test_resize_to_a_declared_shape_that_cannot_be(fed: str, declared: Sequence[int], axes: Sequence[int]) -> None:
    with pytest.raises(PenstockError) as caught:
        import_model(resize((1, 1, 2, 2), declared, fed, axes).SerializeToString(), CompilerContext())
    assert caught.value.code == SHAPE_CONFLICT


@pytest.mark.parametrize("fed", ["sizes", ""])
def test_resize_of_nothing_has_no_aspect_ratio(fed: str) -> None:
    model = resize((1, 1, 0, 2), (1, 1, 2, 2), fed, (2, 3), "not_larger")
    with pytest.raises(PenstockError) as caught:
        import_model(model.SerializeToString(), CompilerContext())
    assert caught.value.code == INVALID_NODE


@pytest.mark.parametrize("depth", [1e30, np.inf, np.nan, 0, -3])
def test_one_hot_of_no_possible_depth(depth: float) -> None:
    refused("OneHot", np.zeros(3, np.int64), depth=np.array(depth), v=np.zeros(2, np.float32))


@pytest.mark.parametrize("k", [np.inf, np.nan, 2.5])
def test_top_k_of_no_integer(k: float) -> None:
    refused("TopK", np.zeros(3, np.float32), k=np.array([k], np.float32))


@pytest.mark.parametrize("bounds", [(-1e308, 1e308, 1.0), (0.0, 1.0, 5e-324)], ids=["distance", "step"])
def test_a_range_without_end(bounds: tuple[float, float, float]) -> None:
    refused("Range", None, start=np.array(bounds[0]), limit=np.array(bounds[1]), delta=np.array(bounds[2]))


def test_quantising_to_truth_values() -> None:
    refused("QuantizeLinear", np.zeros(3, np.float32), scale=np.array(1, np.float32), zero=np.array(False))


def refused(op: str, x: np.ndarray[Any, Any] | None, **parameters: np.ndarray[Any, Any]) -> None:
    """A node with an input like ``x`` and stored parameters is refused by name."""
    inputs = (
        [] if x is None else [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)]
    )
    outputs = ["y", "i"] if op == "TopK" else ["y"]
    node = helper.make_node(op, [value.name for value in inputs] + list(parameters), outputs, name="the_node")
    graph = helper.make_graph(
        [node],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(PenstockError, match="the_node") as caught:
        import_model(model.SerializeToString(), CompilerContext())
    assert caught.value.code == INVALID_NODE
