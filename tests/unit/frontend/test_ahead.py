"""Where parameters are fed, shapes declared further on count: through elementwise operators, and no further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.frontends.onnx import check_model
from penstock.runtime.errors import RuntimeFailure

X = np.arange(1, 25, dtype=np.float32).reshape(2, 3, 4)


def model_of(nodes: Sequence[Any], shape: Sequence[int], **stored: Any) -> Any:
    """A model on ``x`` and fed ``axes`` whose result ``y`` has ``shape``; ``stored`` are its constants."""
    infos = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape),
        helper.make_tensor_value_info("axes", TensorProto.INT64, [1]),
    ]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(list(nodes), "g", infos, [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


SUM = helper.make_node("ReduceSum", ["x", "axes"], ["s"], name="sum")


def test_through_functions_scalars_and_the_value_itself() -> None:
    nodes = [
        SUM,
        helper.make_node("Sqrt", ["s"], ["root"]),
        helper.make_node("Mul", ["half", "root"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "half"], ["held"]),
        helper.make_node("Where", ["yes", "held", "s"], ["chosen"]),
        helper.make_node("CastLike", ["chosen", "x"], ["y"]),
    ]
    model = model_of(nodes, [2, 1, 4], half=np.float32(0.5), yes=np.array(True))
    session = penstock.compile(model.SerializeToString()).load().session(threads=1)
    for axis in (1, -2):
        expected = np.maximum(0.5 * np.sqrt(X.sum(axis=1, keepdims=True)), 0.5)
        np.testing.assert_allclose(session.run({"x": X, "axes": np.array([axis])})["y"], expected, rtol=1e-6)
    with pytest.raises(RuntimeFailure, match=r"PENS-R017: node .sum. .ReduceSum.: its axes is not what the model"):
        session.run({"x": X, "axes": np.array([2])})


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Add", ["s", "vector"], ["y"])],
        [helper.make_node("Transpose", ["s"], ["t"], perm=[2, 1, 0]), helper.make_node("Sqrt", ["t"], ["y"])],
        [helper.make_node("CastLike", ["x", "s"], ["y"])],
        [helper.make_node("Sqrt", ["s"], ["y"], domain="other")],
    ],
)
def test_what_may_change_a_shape_says_nothing(nodes: Sequence[Any]) -> None:
    problems = check_model(model_of([SUM, *nodes], [2, 3, 4], vector=np.ones(4, np.float32)))
    assert "PENS-M014" in [str(problem.code) for problem in problems if problem.node == "sum"]


def test_a_range_has_one_axis() -> None:
    scalar = {"start": np.int64(0), "step": np.int64(1)}
    nodes = [
        helper.make_node("Squeeze", ["axes"], ["end"]),
        helper.make_node("Range", ["start", "end", "step"], ["r"], name="range"),
        helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT),
    ]
    session = penstock.compile(model_of(nodes, [5], **scalar).SerializeToString()).load().session(threads=1)
    np.testing.assert_array_equal(session.run({"x": X, "axes": np.array([5])})["y"], np.arange(5))
    (problem,) = check_model(model_of(nodes, [5, 1], **scalar))
    assert problem.reason == "no parameters give the result of shape [5, 1] that the model declares"
