"""Classifiers and support vector machines as scikit-learn's exporters write them give what their peers give.

The peer is onnxruntime, and ONNX's reference evaluator as well where it does the same; where they disagree, a model is
refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from unit.frontend.one_node import agree, compiled, expected, model_of
from unit.frontend.test_trees import COMPARISONS, grown

import penstock
from penstock.compiler.errors import ModelError

RNG = np.random.default_rng(23)
ML = "ai.onnx.ml"
TWO: dict[str, Any] = {"domain": ML, "opset": 17, "outputs": 2, "kinds": [np.int64, np.float32]}


def rows(count: int = 37, columns: int = 5) -> Any:
    """Features on a coarse grid, so that comparisons meet equal numbers, some missing."""
    x = np.round(RNG.standard_normal((count, columns)), 1).astype(np.float32)
    x[RNG.random(x.shape) < 0.05] = np.nan
    return x


def forest(labels: list[int], ids: list[int], low: float = 0.0, trees: int = 5, levels: int = 4) -> dict[str, Any]:
    """Random trees whose leaves give classes ``ids`` weights of at least ``low``, as TreeEnsembleClassifier's."""
    made = grown(trees, levels, 5, len(ids), COMPARISONS)
    for name in ("treeids", "nodeids", "ids", "weights"):
        made[f"class_{name}"] = made.pop(f"target_{name}")
    made["class_ids"] = [ids[each] for each in made["class_ids"]]
    made["class_weights"] = [float(np.float32(weight + low)) for weight in made["class_weights"]]
    return {**made, "classlabels_int64s": labels}


def refused(op: str, feeds: Any, sentence: str, **attributes: Any) -> None:
    model = model_of(op, feeds, **{**TWO, **attributes})
    with pytest.raises(ModelError, match=sentence):
        penstock.compile(model.SerializeToString())


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("low", [0.0, -0.5])
def test_forests_of_many_classes(low: float, transform: str) -> None:
    attributes = forest([3, -1, 8], [0, 1, 2], low)
    for peer, base in (("onnxruntime", [0.5, 0.0, -0.25]), ("onnx", [])):
        given = {"base_values": base} if base else {}
        agree(
            "TreeEnsembleClassifier", {"x": rows()}, peer=peer, post_transform=transform, **attributes, **given, **TWO
        )


def test_forests_of_two_classes() -> None:
    x = rows()
    agree("TreeEnsembleClassifier", {"x": x}, peer="onnx", **forest([5, 7], [0, 1]), **TWO)  # as random forests
    for base in ([], [0.3]):
        given = {"base_values": base} if base else {}
        one, signed = forest([5, 7], [0], trees=1), forest([5, 7], [0], -0.6)
        for peer in ("onnxruntime", "onnx"):
            agree("TreeEnsembleClassifier", {"x": x}, peer=peer, **one, **given, **TWO)
            agree("TreeEnsembleClassifier", {"x": x}, peer=peer, post_transform="LOGISTIC", **signed, **given, **TWO)
        agree("TreeEnsembleClassifier", {"x": x}, peer="onnxruntime", **signed, **given, **TWO)


@pytest.mark.parametrize("version", [1, 3])
def test_forests_of_doubles(version: int) -> None:
    """Comparisons are in f64 where the features are: 0.1 is less than the f32 next to it."""
    x = rows().astype(np.float64)
    x[:, 0] = np.where(RNG.random(37) < 0.5, 0.1, np.float64(np.float32(0.1)))
    attributes = forest([3, -1, 8], [0, 1, 2])
    if version == 3:
        for name in ("nodes_values", "class_weights"):
            attributes[f"{name}_as_tensor"] = numpy_helper.from_array(np.array(attributes.pop(name), np.float64), name)
    else:
        attributes["nodes_values"] = [float(np.float32(value)) for value in attributes["nodes_values"]]
    agree("TreeEnsembleClassifier", {"x": x}, peer="onnxruntime", version=version, **attributes, **TWO)


@pytest.mark.parametrize("aggregate", ["MIN", "MAX"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_of_trees(dtype: Any, aggregate: str) -> None:
    x = RNG.integers(-2, 3, (23, 5)).astype(dtype)
    attributes = grown(4, 3, 5, 2, COMPARISONS)
    agree(
        "TreeEnsembleRegressor", {"x": x}, domain=ML, opset=17, peer="onnxruntime", kinds=[np.float32], n_targets=2,
        aggregate_function=aggregate, base_values=[0.5, -1.0], **attributes,
    )  # fmt: skip


def test_one_artifact_for_every_number_of_rows() -> None:
    model = model_of("TreeEnsembleClassifier", {"x": rows()}, **forest([3, -1, 8], [0, 1, 2]), **TWO)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    session = penstock.compile(model.SerializeToString()).load().session(threads=2)
    for count in (1, 2, 17, 64):
        x = rows(count)
        (label, scores), (wanted, probabilities) = session.run({"x": x}).values(), expected(model, {"x": x})
        np.testing.assert_array_equal(label, wanted)
        np.testing.assert_allclose(scores, probabilities, rtol=1e-5, atol=1e-6)


def test_forests_that_peers_disagree_on_are_refused() -> None:
    feeds, op = {"x": rows()}, "TreeEnsembleClassifier"
    single = forest([5, 7], [0])
    refused(op, feeds, "one weight for two labels with post_transform LOGISTIC", post_transform="LOGISTIC", **single)
    refused(op, feeds, "one weight for two labels with post_transform SOFTMAX", post_transform="SOFTMAX", **single)
    refused(op, feeds, "given as that of class 0", **forest([5, 7], [1]))
    refused(op, feeds, "at most one base value", base_values=[0.5, 0.5], **single)
    refused(op, feeds, "base values of two labels", base_values=[0.5, 0.5], **forest([5, 7], [0, 1]))
    refused(op, feeds, "labels that some leaves give no weight", **forest([5, 7, 9], [0, 1], -0.5))
    refused(op, feeds, "1 labels are not compiled", **forest([1], [0]))
    strings = {**forest([5, 7], [0, 1]), "classlabels_strings": ["a", "b"]}
    del strings["classlabels_int64s"]
    refused(op, feeds, "labels are strings", **strings)
    partial = {**grown(2, 2, 5, 1, COMPARISONS), "n_targets": 2, "aggregate_function": "MIN"}
    refused("TreeEnsembleRegressor", feeds, "that some leaves do not give", outputs=1, kinds=[np.float32], **partial)


@pytest.mark.parametrize("transform", ["SOFTMAX_ZERO", "PROBIT"])
def test_transformations_of_linear_classifiers(transform: str) -> None:
    x = RNG.random((9, 2)).astype(np.float32)
    agree(
        "LinearClassifier", {"x": x}, peer="onnxruntime", classlabels_ints=[5, 7, 9], post_transform=transform,
        coefficients=[0.7, 0.1, 0.0, 0.9, 0.0, 0.0], intercepts=[0.1, 0.0, 0.0 if transform != "PROBIT" else 0.5],
        **TWO,
    )  # fmt: skip


def test_one_row_of_coefficients_for_two_labels() -> None:
    x = RNG.standard_normal((9, 3)).astype(np.float32)
    options: dict[str, Any] = {"classlabels_ints": [5, 7], "coefficients": [0.7, 0.1, -0.4], "intercepts": [0.1]}
    for peer in ("onnxruntime", "onnx"):
        agree("LinearClassifier", {"x": x}, peer=peer, post_transform="LOGISTIC", **options, **TWO)
    refused("LinearClassifier", {"x": x}, "one score for two labels with post_transform NONE", **options)


def machine(classes: int, kernel: str, *, probabilities: bool = False) -> dict[str, Any]:
    """Random support vectors, as SVMClassifier's attributes."""
    sizes = [3, 1, 4, 2][:classes]
    count, pairs = sum(sizes), classes * (classes - 1) // 2
    draw = lambda size: RNG.standard_normal(size).astype(np.float32).tolist()  # noqa: E731
    made: dict[str, Any] = {
        "support_vectors": draw(count * 5), "vectors_per_class": sizes,
        "coefficients": [-0.5, *draw((classes - 1) * count - 1)],
        "rho": draw(pairs), "kernel_type": kernel, "kernel_params": [0.25, 0.5, 3.0],
        "classlabels_ints": [4, -2, 9, 0][:classes],
    }  # fmt: skip
    return {**made, "prob_a": (-1 - RNG.random(pairs)).tolist(), "prob_b": draw(pairs)} if probabilities else made


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_support_vectors(classes: int, kernel: str) -> None:
    x = RNG.standard_normal((13, 5)).astype(np.float32)
    for transform in ["NONE", "LOGISTIC", *(["SOFTMAX", "SOFTMAX_ZERO"] if classes > 2 else [])]:
        attributes = {**machine(classes, kernel), "post_transform": transform}
        for peer in ("onnxruntime", "onnx") if transform == "NONE" else ("onnxruntime",):
            agree("SVMClassifier", {"x": x}, peer=peer, tolerance=1e-4, **attributes, **TWO)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_probabilities(classes: int) -> None:
    """Of three classes and more ONNX's evaluator couples them wrongly: onnxruntime does as libsvm."""
    x = RNG.standard_normal((13, 5)).astype(np.float32)
    attributes = machine(classes, "RBF", probabilities=True)
    agree("SVMClassifier", {"x": x}, peer="onnxruntime", tolerance=1e-4, **attributes, **TWO)
    if classes == 2:
        agree("SVMClassifier", {"x": x}, peer="onnx", tolerance=1e-4, **attributes, **TWO)


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("one_class", [0, 1])
def test_support_vector_regression(one_class: int, kernel: str) -> None:
    x = RNG.standard_normal((13, 5)).astype(np.float32)
    draw = RNG.standard_normal(26).astype(np.float32).tolist()
    options: dict[str, Any] = {"rho": [0.1], "kernel_params": [0.25, 0.5, 2.0], "one_class": one_class, "domain": ML}
    for peer in ("onnxruntime", "onnx"):
        vectors = {"support_vectors": draw[:20], "coefficients": draw[20:24], "n_supports": 4, "kernel_type": kernel}
        agree("SVMRegressor", {"x": x}, peer=peer, opset=17, tolerance=1e-4, **vectors, **options)
        agree("SVMRegressor", {"x": x}, peer=peer, opset=17, coefficients=draw[20:25], n_supports=0, **options)


def test_machines_that_peers_disagree_on_are_refused() -> None:
    feeds = {"x": RNG.standard_normal((3, 5)).astype(np.float32)}
    two = machine(2, "RBF")
    refused("SVMClassifier", feeds, "post_transform SOFTMAX", post_transform="SOFTMAX", **two)
    refused("SVMClassifier", feeds, "positive coefficients only", **{**two, "coefficients": [0.5] * 4})
    refused("SVMClassifier", feeds, "without support vectors", classlabels_ints=[0, 1], coefficients=[1.0] * 10)
    refused("SVMClassifier", feeds, "1 numbers rho for 3 pairs", **{**machine(3, "RBF"), "rho": [0.5]})
    refused("SVMClassifier", feeds, "support vectors of 5 columns", **{**two, "support_vectors": [0.5] * 8})


@pytest.mark.parametrize("x", [RNG.integers(0, 6, 7), RNG.integers(0, 6, (3, 4)), RNG.integers(0, 6, 7).astype("f4")])
def test_one_hot(x: Any) -> None:
    for peer in ("onnxruntime", "onnx"):
        agree("OneHotEncoder", {"x": x}, domain=ML, opset=17, peer=peer, kinds=[np.float32], cats_int64s=[4, 0, 2])


def test_one_hot_of_what_is_no_category() -> None:
    x = np.array([4, 0, 2, 0])
    model = model_of("OneHotEncoder", {"x": x}, domain=ML, opset=17, kinds=[np.float32], cats_int64s=[4, 0, 2], zeros=0)
    np.testing.assert_array_equal(compiled(model, {"x": x})[0], np.eye(3)[[0, 1, 2, 1]])
    with pytest.raises(penstock.PenstockError, match="category of an element"):
        compiled(model, {"x": np.array([4, 5, 2, 0])})


def test_maps_and_strings_are_refused() -> None:
    """With how to export without them."""
    x = np.zeros((2, 3), np.float32)
    node = helper.make_node("ZipMap", ["x"], ["y"], name="zip", domain=ML, classlabels_int64s=[0, 1, 2])
    kind = helper.make_map_type_proto(7, helper.make_tensor_type_proto(1, None))
    result = helper.make_value_info("y", helper.make_sequence_type_proto(kind))
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, (2, 3))], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ML, 1)])
    with pytest.raises(ModelError, match=r"'zip' \(ZipMap\): ZipMap works on maps.*zipmap=False"):
        penstock.compile(model.SerializeToString())
    refused("OneHotEncoder", {"x": x}, "categories are strings", cats_strings=["a"], outputs=1, kinds=[np.float32])
    refused("CategoryMapper", {"x": x}, "categories are strings", outputs=1, kinds=[np.int64])
