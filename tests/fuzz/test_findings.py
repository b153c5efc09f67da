"""What the fuzzers found in the ONNX importer, each in its smallest form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import INVALID_NODE, MODEL_TOO_LARGE, SHAPE_CONFLICT
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


def imported(
    op: str,
    inputs: dict[str, tuple[Any, Sequence[Any]]],
    stored: dict[str, np.ndarray[Any, Any]] | None = None,
    declared: Sequence[Any] | None = None,
    domain: str = "",
    **attributes: Any,
) -> None:
    """Import a model of one node. ``inputs`` are element types and shapes; ``declared`` is the shape of its output."""
    values = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    weights = [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()]
    node = helper.make_node(op, [*inputs, *(stored or {})], ["y"], name="the_node", domain=domain, **attributes)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, declared)
    graph = helper.make_graph([node], "g", values, [output], weights)
    imports = [
        helper.make_opsetid("", 20),
        helper.make_opsetid("ai.onnx.ml", 5),
        helper.make_opsetid("com.microsoft", 1),
    ]
    import_model(helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString(), CompilerContext())


F, I = TensorProto.FLOAT, TensorProto.INT64
HUGE = 2**33
TREE: dict[str, Any] = {
    "nodes_featureids": [0],
    "nodes_splits": numpy_helper.from_array(np.ones(1, np.float32)),
    "nodes_modes": numpy_helper.from_array(np.zeros(1, np.uint8)),
    "nodes_truenodeids": [0],
    "nodes_falsenodeids": [1],
    "nodes_trueleafs": [1],
    "nodes_falseleafs": [1],
    "tree_roots": [0],
    "leaf_targetids": [0, 0],
    "leaf_weights": numpy_helper.from_array(np.ones(2, np.float32)),
    "n_targets": 1,
}
NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "trees of integers": (
        INVALID_NODE,
        dict(op="TreeEnsemble", domain="ai.onnx.ml", inputs={"x": (TensorProto.UINT32, (1, 1))}, **TREE),
    ),
    "concatenation of different ranks": (
        INVALID_NODE,
        {"op": "Concat", "inputs": {"a": (F, (3, 4)), "b": (F, (3,))}, "axis": 1},
    ),
    "a window stated for other axes": (
        INVALID_NODE,
        {
            "op": "DeformConv",
            "inputs": {"x": (F, (1, 1, 3, 3)), "w": (F, (1, 1, 2, 2)), "o": (F, (1, 8, 2, 2))},
            "kernel_shape": [2, 2, 2],
        },
    ),
    "a grid too large": (
        MODEL_TOO_LARGE,
        {
            "op": "AffineGrid",
            "inputs": {"t": (F, (1, 2, 3))},
            "stored": {"s": np.array([1, 1, HUGE, HUGE])},
            "align_corners": 1,
        },
    ),
    "a grid of no size": (
        INVALID_NODE,
        {"op": "AffineGrid", "inputs": {"t": (F, (1, 2, 3))}, "stored": {"s": np.empty(0, np.int64)}},
    ),
    "a window declared too large": (INVALID_NODE, {"op": "HannWindow", "inputs": {"n": (I, ())}, "declared": [2**40]}),
    "a window declared less than empty": (
        SHAPE_CONFLICT,
        {"op": "HannWindow", "inputs": {"n": (I, ())}, "declared": [-2]},
    ),
    "a window of a size that is no number": (
        INVALID_NODE,
        {"op": "HannWindow", "inputs": {}, "stored": {"n": np.array(np.inf)}},
    ),
    "a one-hot declared without its axis": (
        SHAPE_CONFLICT,
        {"op": "OneHot", "inputs": {"x": (I, (2,)), "d": (I, ()), "v": (F, (2,))}, "declared": []},
    ),
    "a scalar that is split": (INVALID_NODE, {"op": "Split", "inputs": {"x": (F, ())}, "num_outputs": 1}),
    "a scalar that is compressed": (
        INVALID_NODE,
        {"op": "Compress", "inputs": {"x": (F, ()), "c": (TensorProto.BOOL, (1,))}, "axis": 0},
    ),
    "a scalar quantised along an axis": (
        INVALID_NODE,
        {"op": "QuantizeLinear", "inputs": {"x": (F, ()), "s": (F, (2,))}},
    ),
    "a table of weights too large": (
        MODEL_TOO_LARGE,
        {
            "op": "Resize",
            "inputs": {"x": (F, (HUGE,)), "roi": (F, (2,)), "scales": (F, (1,))},
            "declared": [3],
            "mode": "linear",
            "antialias": 1,
        },
    ),
    "a list of another kind": (
        INVALID_NODE,
        {
            "op": "QLinearReduceMean",
            "domain": "com.microsoft",
            "inputs": dict.fromkeys("xszto", (F, (2, 2))),
            "axes": [1e30],
        },
    ),
    "elements that are made of thousands of millions": (
        MODEL_TOO_LARGE,
        {
            "op": "Resize",
            "inputs": {"x": (F, (1, 2**31, "h", 4))},
            "stored": {"r": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "to": np.array([1, 1, 3, 4])},
            "antialias": 1,
            "mode": "linear",
        },
    ),
    "a result of less than nothing": (
        INVALID_NODE,
        {
            "op": "Resize",
            "inputs": {"x": (F, (1, 1, 2, 2))},
            "stored": {
                "roi": np.zeros(0, np.float32),
                "scales": np.zeros(0, np.float32),
                "sizes": np.array([1, 1, -(2**63) + 7, 2]),
            },
            "keep_aspect_ratio_policy": "not_larger",
        },
    ),
    "an empty array that is huge": (
        MODEL_TOO_LARGE,
        {"op": "Expand", "inputs": {"x": (F, (1, 1, 1))}, "stored": {"s": np.array([0, 2**39, 2**39])}},
    ),
}


@pytest.mark.parametrize("what", list(NODES))
def test_nodes_that_ended_in_an_exception(what: str) -> None:
    code, node = NODES[what]
    with pytest.raises(PenstockError, match="the_node") as caught:
        imported(**node)
    assert caught.value.code == code


def test_a_size_that_makes_another_less_than_nothing() -> None:
    """n channels must be 1; n // 2 - 1 is then no size of the state."""
    outputs = [helper.make_tensor_value_info(name, F, None) for name in ("y", "present")]
    inputs = [helper.make_tensor_value_info("x", F, [2, 4, 2]), helper.make_tensor_value_info("w", F, [4, "n", "n//2"])]
    node = helper.make_node("CausalConvWithState", ["x", "w"], ["y", "present"], name="the_node")
    graph = helper.make_graph([node], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=13)
    with pytest.raises(PenstockError, match="the_node"):
        import_model(model.SerializeToString(), CompilerContext())


def test_short_time_transforms_of_no_frames() -> None:
    inputs = [helper.make_tensor_value_info("x", F, [1, 128, 1])]
    inputs += [helper.make_tensor_value_info(name, I, []) for name in ("step", "length")]
    output = helper.make_tensor_value_info("y", F, [1, 0, 9, 2])
    graph = helper.make_graph(
        [helper.make_node("STFT", ["x", "step", "", "length"], ["y"], name="the_node")], "g", inputs, [output]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(PenstockError, match="the_node"):
        import_model(model.SerializeToString(), CompilerContext())


def test_a_resize_of_nothing_by_a_region_that_is_fed() -> None:
    inputs = {"x": (F, (1, 0)), "roi": (F, (4,))}
    mode = "tf_crop_and_resize"
    imported("Resize", inputs, {"scales": np.ones(2, np.float32)}, [1, 0], coordinate_transformation_mode=mode)


@pytest.mark.parametrize(
    "opset", [13, 18], ids=["a node that is refused beside an empty value of symbolic shape", "the same, compiled"]
)
def test_an_empty_value_of_symbolic_shape(opset: int) -> None:
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"], name="the_node")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", F, ["n", 0, 3])],
        [helper.make_tensor_value_info("y", F, None)],
        [numpy_helper.from_array(np.array([2]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9).SerializeToString()
    if opset == 13:
        with pytest.raises(PenstockError, match="the_node"):
            import_model(model, CompilerContext())
    else:
        assert import_model(model, CompilerContext())
