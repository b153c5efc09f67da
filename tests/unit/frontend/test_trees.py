"""Ensembles of trees give what onnxruntime and ONNX's reference evaluator give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from unit.frontend.one_node import agree, model_of

import penstock
from penstock.compiler.errors import ModelError

RNG = np.random.default_rng(19)
COMPARISONS = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]


def grown(trees: int, levels: int, columns: int, targets: int, modes: list[str]) -> dict[str, Any]:
    """Random trees, some branches shorter than others, as TreeEnsembleRegressor's attributes."""
    made: dict[str, list[Any]] = {
        name: []
        for name in (
            *("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes"),
            *("nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true"),
            *("target_treeids", "target_nodeids", "target_ids", "target_weights"),
        )
    }
    for tree in range(trees):
        waiting, number = [(0, 0)], 1
        while waiting:
            node, level = waiting.pop(0)
            leaf = level == levels or (level and RNG.random() < 0.3)
            row = [tree, node, int(RNG.integers(columns)), float(np.round(RNG.standard_normal(), 1))]
            ways = [0, 0] if leaf else [number, number + 1]
            row += ["LEAF" if leaf else str(RNG.choice(modes)), *ways, int(RNG.integers(2))]
            for name, value in zip(list(made)[:8], row, strict=True):
                made[name].append(value)
            if leaf:
                for target in range(targets):
                    for name, value in zip(list(made)[8:], (tree, node, target, float(RNG.random())), strict=True):
                        made[name].append(value)
            else:
                waiting += [(number, level + 1), (number + 1, level + 1)]
                number += 2
    return made


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
@pytest.mark.parametrize(
    ("trees", "levels", "targets", "modes"),
    [(1, 0, 1, ["BRANCH_LEQ"]), (7, 5, 1, ["BRANCH_LEQ"]), (4, 6, 3, COMPARISONS)],
)
def test_regression(trees: int, levels: int, targets: int, modes: list[str], aggregate: str) -> None:
    x = np.round(RNG.standard_normal((50, 6)), 1).astype(np.float32)
    x[3, 2], x[4, :] = np.nan, np.nan
    attributes = grown(trees, levels, 6, targets, modes)
    agree(
        "TreeEnsembleRegressor", {"x": x}, domain="ai.onnx.ml", opset=17, peer="onnxruntime", n_targets=targets,
        aggregate_function=aggregate, base_values=[0.5] * targets, **attributes,
    )  # fmt: skip


def tensor(*numbers: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.array(numbers, dtype))


@pytest.mark.parametrize("aggregate", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbered_nodes(dtype: Any, aggregate: int) -> None:
    """Two trees: a comparison over a membership in a set, and a comparison by equality."""
    x = RNG.integers(0, 8, (40, 2)).astype(dtype)
    agree(
        "TreeEnsemble", {"x": x}, domain="ai.onnx.ml", version=5, opset=21, n_targets=2, aggregate_function=aggregate,
        nodes_splits=tensor(3.0, 0.0, 4.0, dtype=dtype), nodes_featureids=[0, 1, 0],
        nodes_modes=tensor(0, 6, 4, dtype=np.uint8), nodes_truenodeids=[1, 0, 2], nodes_falsenodeids=[2, 1, 0],
        nodes_trueleafs=[0, 1, 1], nodes_falseleafs=[1, 1, 1], leaf_targetids=[0, 1, 0],
        leaf_weights=tensor(1.5, -2.0, 4.0, dtype=dtype), tree_roots=[0, 2],
        membership_values=tensor(1.0, 5.0, 6.0, float("nan"), dtype=dtype),
    )  # fmt: skip


def test_what_has_no_end_is_refused() -> None:
    attributes = grown(1, 2, 3, 1, ["BRANCH_LEQ"])
    x = np.zeros((2, 3), np.float32)
    loop = {**attributes, "nodes_truenodeids": [0] * len(attributes["nodes_modes"])}
    cases = [
        ({**loop, "nodes_treeids": attributes["nodes_treeids"]}, "deeper than 64|its root"),
        ({**attributes, "nodes_featureids": [9] * len(attributes["nodes_modes"])}, "features are of 3 columns"),
        ({**attributes, "post_transform": "PROBIT"}, "PROBIT is not compiled"),
        ({**attributes, "target_ids": [7] * len(attributes["target_ids"])}, "gives a target of 1"),
    ]
    for given, sentence in cases:
        model = model_of("TreeEnsembleRegressor", {"x": x}, domain="ai.onnx.ml", opset=17, n_targets=1, **given)
        with pytest.raises(ModelError, match=sentence):
            penstock.compile(model.SerializeToString())
