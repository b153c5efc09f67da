"""Files as converters and editors of models leave them: not always tidy, but run by onnxruntime all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import INVALID_DATA, MODEL_TOO_LARGE
from penstock.compiler.frontends.onnx import check_model, import_model

F = TensorProto.FLOAT
X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5


def value(name: str, shape: Sequence[Any] | None = (2, 3)) -> Any:
    """A declared f32 input, output or value between."""
    return helper.make_tensor_value_info(name, F, shape)


def model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **graph: Any) -> onnx.ModelProto:
    """A model of one graph."""
    made = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), **graph)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def agrees(made: onnx.ModelProto, **inputs: Any) -> None:
    """Compiled, the model gives what onnxruntime gives."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    peer = onnxruntime.InferenceSession(made.SerializeToString(), options)
    ours = penstock.compile(made.SerializeToString()).load().session(threads=1).run(inputs)
    names = [output.name for output in made.graph.output]
    wanted: Any = peer.run(None, inputs)
    for name, theirs in zip(names, wanted, strict=True):
        np.testing.assert_array_equal(ours[name], theirs)


def test_an_output_listed_twice() -> None:
    agrees(model([helper.make_node("Neg", ["x"], ["y"])], [value("x")], [value("y"), value("y")]), x=X)


def test_an_open_dimension_written_as_minus_one() -> None:
    """It is one without a name; other negative extents are refused."""
    made = model([helper.make_node("Neg", ["x"], ["y"])], [value("x", [-1, 3])], [value("y", [-1, 3])])
    agrees(made, x=X)
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -2
    assert [problem.code for problem in check_model(made)] == [INVALID_DATA]


def test_shapes_that_are_out_of_date_are_noted() -> None:
    """Values and outputs keep the shapes of another batch when only a model's inputs are edited."""
    nodes = [helper.make_node("Neg", ["x"], ["m"], name="first"), helper.make_node("Abs", ["m"], ["y"], name="second")]
    made = model(nodes, [value("x")], [value("y", [1, 3])], value_info=[value("m", [1, 3, 1])])
    agrees(made, x=X)
    ctx = CompilerContext()
    import_model(made, ctx)
    assert [(note.node, note.reason) for note in ctx.notes] == [
        ("first", "its output 'm' is declared f32[1,3,1], but is f32[2,3]"),
        ("second", "its output 'y' is declared f32[1,3], but is f32[2,3]"),
    ]


# Sparse tensors ------------------------------------------------------------------------------------------------------


def sparse(indices: Any, dims: Sequence[int], name: str = "w") -> Any:
    """A sparse tensor of 1, 2 ... at ``indices``."""
    places = np.array(indices, np.int64)
    values = numpy_helper.from_array(np.arange(1, len(places) + 1, dtype=np.float32), name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(places, "at"), list(dims))


def stored_sparse(indices: Any, dims: Sequence[int]) -> onnx.ModelProto:
    """x plus a sparse initializer."""
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [value("x")], [value("y", None)])
    made.graph.sparse_initializer.append(sparse(indices, dims))
    return made


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]], ids=["positions", "coordinates"])
def test_sparse_initializers(indices: Any) -> None:
    agrees(stored_sparse(indices, [2, 3]), x=X)


def test_sparse_constants() -> None:
    node = helper.make_node("Constant", [], ["w"], sparse_value=sparse([0, 4], [2, 3]))
    agrees(model([node, helper.make_node("Mul", ["x", "w"], ["y"])], [value("x")], [value("y")]), x=X)


@pytest.mark.parametrize(
    ("indices", "dims", "code"),
    [
        ([1, 6], [2, 3], INVALID_DATA),
        ([-1, 2], [2, 3], INVALID_DATA),
        ([[0, 3], [1, 0]], [2, 3], INVALID_DATA),
        ([[0], [1]], [2, 3], INVALID_DATA),
        ([0, 1], [1 << 20, 1 << 15], MODEL_TOO_LARGE),
        ([0, 1], [-2, 3], INVALID_DATA),
    ],
)
def test_damaged_sparse_tensors_are_refused(indices: Any, dims: Sequence[int], code: str) -> None:
    """Elements outside of the shape, too few coordinates, a dense form that no machine should build."""
    assert code in [problem.code for problem in check_model(stored_sparse(indices, dims))]
