"""The conformance harness itself: ONNX's own evaluator passes, and crashes, hangs and exceptions are told apart."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conformance.onnx_backend import baseline, execution
from conformance.onnx_backend.cases import SHAPE_INPUTS, Arrays, Case, all_cases, bind_shape_inputs, graph_inputs
from conformance.onnx_backend.execution import Result
from conformance.onnx_backend.run import run_cases
from conformance.onnx_backend.server import Client, run_batch
from conformance.onnx_backend.symbolic import OWN_ORACLES


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def test_oracle_passes(client: Client) -> None:
    names = [name for name, case in all_cases().items() if case.group in ("Conv", "Reshape", "TopK", "simple")]
    results = dict(client.run("oracle", names))
    failing = {name for name, result in results.items() if result.status != "pass"}
    assert len(names) > 40
    assert failing == {"test_gradient_of_add", "test_gradient_of_add_and_mul"}
    assert {results[name].status for name in failing} == {"internal"}


def test_server_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash, a hang and an exception cost one result each; the cases after them run."""
    case = all_cases()["test_abs"]
    names = ["crash", "fine", "raises", "hangs", "wrong"]

    def run(model: object, inputs: Arrays) -> Arrays:
        assert isinstance(model, FakeModel)
        x = inputs["x"]
        if model.name == "crash":
            os.abort()
        if model.name == "raises":
            raise ZeroDivisionError("one line\nand another")
        if model.name == "hangs":
            time.sleep(60)
        return {"y": np.abs(x) + (1 if model.name == "wrong" else 0)}

    class FakeModel:
        def __init__(self, name: str) -> None:
            self.name = name
            self.graph = case.model.graph

    class QuickCase(Case):
        @property
        def time_limit(self) -> float:
            return 1.0

    monkeypatch.setitem(execution.RUNNERS, "fake", run)
    fields = {**vars(replace(case)), "tags": frozenset[str]()}
    cases = [QuickCase(**{**fields, "name": name, "model": FakeModel(name)}) for name in names]
    results = dict(run_batch(cases, "fake"))
    statuses = {name: result.status for name, result in results.items()}
    assert statuses == {"crash": "crash", "fine": "pass", "raises": "internal", "hangs": "timeout", "wrong": "wrong"}
    assert results["raises"].detail == "ZeroDivisionError: one line and another"


def test_comparison_is_exact_about_type_and_shape() -> None:
    case = all_cases()["test_abs"]
    (inputs, (expected,)), *_ = case.data_sets
    execution.compare(case, inputs, [np.abs(inputs["x"])], [expected])
    with pytest.raises(AssertionError):
        execution.compare(case, inputs, [np.abs(inputs["x"]).astype(np.float64)], [expected])
    with pytest.raises(AssertionError):
        execution.compare(case, inputs, [np.abs(inputs["x"]).reshape(-1)], [expected])


def test_binding_shape_inputs() -> None:
    case = all_cases()["test_reshape_reordered_all_dims"]
    inputs = case.data_sets[0][0]
    model, remaining = bind_shape_inputs(case.model, inputs)
    assert graph_inputs(case.model) == ["data", "shape"]
    assert graph_inputs(model) == list(remaining) == ["data"]
    assert execution.run_oracle(model, remaining)["reshaped"].shape == tuple(inputs["shape"])


def test_shape_inputs_exist() -> None:
    from onnx import defs

    for operator, indices in SHAPE_INPUTS.items():
        schemas = [schema for schema in defs.get_all_schemas_with_history() if schema.name == operator]
        assert schemas, operator
        most = max(len(schema.inputs) for schema in schemas)
        assert all(index < most for index in indices), operator


def test_differences() -> None:
    entry = baseline.Entry("Abs", "node", 13, (), {"reference": "pass", "native": "refused PENS-M006"})
    data = baseline.Baseline("0", {"a": entry})
    assert baseline.differences(data, "reference", {"a": Result("pass")}) == ([], [])
    assert baseline.differences(data, "native", {"a": Result("refused", "PENS-M007")}) == ([], [])
    worse, better = baseline.differences(data, "native", {"a": Result("wrong", "", "why")})
    assert (worse, better) == (["a: refused -> wrong (why)"], [])
    worse, better = baseline.differences(data, "native", {"a": Result("pass")})
    assert (worse, better) == ([], ["a: refused -> pass"])


def test_a_journal_is_gone_on_with(tmp_path: Path) -> None:
    """What it holds is not run again, and a line cut short is."""
    journal = tmp_path / "part.jsonl"
    kept = {"mode": "oracle", "name": "test_abs", "status": "refused", "code": "PENS-M006", "detail": "as it says"}
    journal.write_text(json.dumps(kept) + "\n" + json.dumps({**kept, "mode": "native"}) + "\n" + '{"mode": "ora\n')
    results = run_cases(["test_abs", "test_acos"], "oracle", 1, journal)
    assert results == {"test_abs": Result("refused", "PENS-M006", "as it says"), "test_acos": Result("pass")}
    assert json.loads(journal.read_text().splitlines()[-1])["name"] == "test_acos"


def test_own_oracles_are_what_the_suite_expects() -> None:
    """Where ONNX's evaluator is not asked, numpy gives the expected outputs of the cases themselves."""
    for name, oracle in OWN_ORACLES.items():
        case = all_cases()[name]
        for inputs, expected in case.data_sets:
            for ours, theirs in zip(oracle(inputs), expected, strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.atol)
