"""FlexAttention, with graphs that modify scores and probabilities, gives what ONNX's own evaluator gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import penstock
from penstock.compiler.frontends.onnx import check_model

RNG = np.random.default_rng(6)
CODES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}
CODES[np.dtype(np.float64)] = TensorProto.DOUBLE


def modifier(op: str, constant: Any, kind: int = TensorProto.FLOAT) -> Any:
    """A graph of one input and one output: ``op`` of it and a constant."""
    info = helper.make_tensor_value_info("x", kind, None)
    node = helper.make_node(op, ["x", "c"], ["y"])
    result = helper.make_tensor_value_info("y", kind, None)
    return helper.make_graph([node], "mod", [info], [result], [numpy_helper.from_array(constant, "c")])


def model_of(arrays: dict[str, Any], **attributes: Any) -> Any:
    node = helper.make_node("FlexAttention", list(arrays), ["y"], name="node", domain="ai.onnx.preview", **attributes)
    infos = [helper.make_tensor_value_info(name, CODES[array.dtype], array.shape) for name, array in arrays.items()]
    result = helper.make_tensor_value_info("y", CODES[arrays["q"].dtype], None)
    graph = helper.make_graph([node], "g", infos, [result])
    opsets = [helper.make_opsetid("", 26), helper.make_opsetid("ai.onnx.preview", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=13)


def operands(heads: int, shared: int, kind: Any) -> dict[str, Any]:
    shapes = {"q": (2, heads, 3, 7), "k": (2, shared, 5, 7), "v": (2, shared, 5, 9)}
    return {name: RNG.standard_normal(shape).astype(kind) for name, shape in shapes.items()}


def agree(arrays: dict[str, Any], tolerance: float = 1e-5, **attributes: Any) -> None:
    model = model_of(arrays, **attributes)
    (expected,) = ReferenceEvaluator(model).run(None, arrays)
    found = penstock.compile(model.SerializeToString()).load().session(threads=1).run(arrays)["y"]
    assert found.dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(found, np.asarray(expected), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (6, 2), (3, 1)])
def test_plain(heads: int, shared: int, kind: Any) -> None:
    agree(operands(heads, shared, kind), 3e-3 if kind is np.float16 else 1e-5)
    agree(operands(heads, shared, kind), 3e-3 if kind is np.float16 else 1e-5, scale=0.3)


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (6, 2)])
def test_modified(heads: int, shared: int) -> None:
    """A bias with hidden keys on the scores, and a factor on the probabilities, alone and together."""
    bias = RNG.standard_normal((heads, 3, 5)).astype(np.float32)
    bias[:, :, 3:] = -np.inf
    score, prob = modifier("Add", bias), modifier("Mul", RNG.random((1, 1, 3, 5)).astype(np.float32))
    for chosen in ({"score_mod": score}, {"prob_mod": prob}, {"score_mod": score, "prob_mod": prob}):
        agree(operands(heads, shared, np.float32), **chosen)


def test_precision_of_the_modifiers() -> None:
    """Half precision is modified in f32, unless softmax_precision asks for another type."""
    agree(operands(2, 2, np.float16), 3e-3, score_mod=modifier("Mul", np.float32([1.5])))
    wide = modifier("Mul", np.float64([1.5]), TensorProto.DOUBLE)
    agree(operands(2, 2, np.float32), score_mod=wide, softmax_precision=TensorProto.DOUBLE)


def test_refusals() -> None:
    """A modifier of another shape or type, and operands that do not fit, each in a sentence."""
    arrays = operands(4, 4, np.float32)
    for wrong, more in (
        (arrays, {"score_mod": modifier("Add", np.zeros((2, 1, 1, 1, 1), np.float32))}),
        (arrays, {"prob_mod": modifier("Greater", np.float32([0.5]))}),
        (arrays | {"k": arrays["k"][:, :3]}, {"score_mod": modifier("Add", np.float32([0.5]))}),
        (arrays | {"v": arrays["v"].astype(np.float64)}, {}),
        (arrays, {"softmax_precision": TensorProto.INT32}),
    ):
        problems = check_model(model_of(wrong, **more))
        assert problems
        assert {str(problem.code) for problem in problems} <= {"PENS-M009", "PENS-M013"}
