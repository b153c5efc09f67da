"""ONNX's own tests with every size made symbolic: what is imported without sizes computes what is expected with them.

Sizes that are equal in a test get one name, as an exporter gives them. Wrong results fail, and errors but refusals.
"""

from __future__ import annotations

import copy
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from unit.frontend.dynamic import imported

from penstock.compiler.errors import SHAPE_UNKNOWN, ModelError
from penstock.compiler.interpreter import run_module

MOST = 2  # tests of one operator


@cache
def cases() -> dict[str, Any]:
    """The first few tests of every operator that is compiled for static sizes, by name."""
    from onnx.backend.test.loader import load_model_tests

    found: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for case in load_model_tests(kind="node"):
        if case.model is None or len(case.model.graph.node) != 1 or counts[case.model.graph.node[0].op_type] >= MOST:
            continue
        if _arrays(case) is None or _outcome(case.model, case) != "right":
            continue
        counts[case.model.graph.node[0].op_type] += 1
        found[case.name] = case
    return found


def _arrays(case: Any) -> tuple[list[Any], list[Any]] | None:
    """Inputs and outputs of a test; None if one is no plain tensor."""
    groups: list[list[Any]] = []
    for group in case.data_sets[0]:
        arrays = [numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x for x in group]
        if not all(isinstance(x, np.ndarray | np.generic) and np.asarray(x).dtype.kind in "iufb" for x in arrays):
            return None
        groups.append([np.asarray(x) for x in arrays])
    fits = len(groups[0]) == len(case.model.graph.input)
    return (groups[0], groups[1]) if fits else None


def symbolic(model: Any) -> Any:
    """``model`` with a name for every size of 2 or more, and nothing said of outputs."""
    made = copy.deepcopy(model)
    for value in made.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value > 1:
                dim.dim_param = f"d{dim.dim_value}"
    for value in made.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_value")
    return made


def _outcome(model: Any, case: Any) -> str:
    arrays = _arrays(case)
    assert arrays is not None
    inputs, outputs = arrays
    try:
        module, ctx = imported(model)
    except ModelError as error:
        told = all(problem.code == SHAPE_UNKNOWN or "--dim" in problem.hint for problem in error.problems)
        return "meant" if told else str(error)
    actual = run_module(module, ctx, {v.name: x for v, x in zip(model.graph.input, inputs, strict=True)})
    for value, wanted in zip(model.graph.output, outputs, strict=True):
        made = actual[value.name]
        tolerance = 2e-2 if wanted.dtype.itemsize == 2 else 1e-4
        if made.shape != wanted.shape or made.dtype != wanted.dtype:
            return f"{value.name} is {made.dtype} of {made.shape}"
        if not np.allclose(made.astype(np.float64), wanted.astype(np.float64), tolerance, tolerance, equal_nan=True):
            return f"{value.name} is wrong"
    return "right"


@pytest.mark.filterwarnings("ignore")
def test_operators_on_symbolic_sizes() -> None:
    """Right, or refused for what is fed at run time (no shape of a result is declared) or depends on sizes."""
    found = {name: _outcome(symbolic(case.model), case) for name, case in cases().items()}
    failures = {name: outcome for name, outcome in found.items() if outcome not in ("right", "meant")}
    assert not failures
    counts = Counter(found.values())
    assert counts["right"] >= 200, counts
