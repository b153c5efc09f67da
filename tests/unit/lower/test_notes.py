"""What lowering tells the user of a model that it compiles in a slower way."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.errors import NOTED, ModelError


def grouped(groups: int, features: int) -> bytes:
    weights = numpy_helper.from_array(np.ones((features, 8 // groups, 3, 3), np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 9, 9])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, features, 7, 7])
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="grouped", group=groups)
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def test_narrow_groups_are_noted_and_refused_under_strict() -> None:
    sentence = "node 'grouped' (Conv): each of its 4 groups has 3 output channels, which fill only a part of a vector"
    assert penstock.compile(grouped(4, 12)).report.notes == [sentence]
    with pytest.raises(ModelError, match="node 'grouped'") as caught:
        penstock.compile(grouped(4, 12), strict=True)
    assert caught.value.code == NOTED


@pytest.mark.parametrize(("groups", "features"), [(1, 3), (2, 64), (8, 8), (8, 16)])
def test_full_vectors_are_not_noted(groups: int, features: int) -> None:
    penstock.compile(grouped(groups, features), strict=True)
