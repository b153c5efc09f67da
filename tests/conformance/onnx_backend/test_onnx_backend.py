"""ONNX's backend test suite: every case ends as the committed baseline says.

A regression fails; so does an improvement, until the baseline is updated with the command in the message. Cases run in
forked children of a server process (`server.py`), so none can take the test run down; with xdist, each worker has its
own server.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance.onnx_backend import baseline, report
from conformance.onnx_backend.cases import all_cases
from conformance.onnx_backend.execution import MODES, SYMBOLIC
from conformance.onnx_backend.run import UPDATE, UPDATE_SYMBOLIC
from conformance.onnx_backend.server import Client

BASELINE = baseline.load()
SYMBOLIC_BASELINE = baseline.load_symbolic()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("group", list(BASELINE.groups()))
def test_cases_of(group: str, mode: str, client: Client) -> None:
    results = dict(client.run(mode, BASELINE.groups()[group]))
    assert list(results) == BASELINE.groups()[group]
    worse, better = baseline.differences(BASELINE, mode, results)
    assert not worse, "regressions:\n" + "\n".join(worse)
    assert not better, f"improvements; run `{UPDATE}` and commit what it writes:\n" + "\n".join(better)


def sample() -> list[str]:
    """With symbolic sizes, the first case of every fourth operator: all of them take minutes."""
    groups = [[name for name in names if name in SYMBOLIC_BASELINE] for names in BASELINE.groups().values()]
    return [names[0] for names in groups if names][::4]


@pytest.mark.parametrize("name", sample())
def test_symbolic_sizes(name: str, client: Client) -> None:
    results = dict(client.run(SYMBOLIC, [name]))
    worse, better = baseline.changes(SYMBOLIC_BASELINE, results)
    assert not worse, "regressions:\n" + "\n".join(worse)
    assert not better, f"improvements; run `{UPDATE_SYMBOLIC}` and commit what it writes:\n" + "\n".join(better)


def test_nothing_is_wrong_with_symbolic_sizes() -> None:
    assert len(SYMBOLIC_BASELINE) > 1900
    passing = sum(label.startswith("pass") for label in SYMBOLIC_BASELINE.values())
    assert passing > 0.9 * len(SYMBOLIC_BASELINE)
    assert {label.split(" ")[0] for label in SYMBOLIC_BASELINE.values()} == {"pass", "refused"}


def test_baseline_has_every_case() -> None:
    onnx = pytest.importorskip("onnx")
    assert BASELINE.cases, f"there is no baseline; run `{UPDATE}`"
    if onnx.__version__ != BASELINE.onnx_version:
        pytest.skip(f"the baseline is of onnx {BASELINE.onnx_version}")
    cases = all_cases()
    assert list(cases) == list(BASELINE.cases)
    assert {name: tuple(sorted(case.tags)) for name, case in cases.items()} == {
        name: entry.tags for name, entry in BASELINE.cases.items()
    }
    assert len(BASELINE.tagged("core")) == 1309


@pytest.mark.parametrize("mode", MODES)
def test_nothing_crashes_and_hardly_anything_is_wrong(mode: str) -> None:
    count = BASELINE.count(mode, BASELINE.cases)
    assert count["crash"] == 0
    assert count["wrong"] <= 0.003 * len(BASELINE.cases)


@pytest.mark.parametrize("mode", MODES)
def test_focus_rate(mode: str) -> None:
    names = BASELINE.tagged("focus")
    count = BASELINE.count(mode, names)
    assert count["pass"] >= 0.95 * len(names)
    assert count["wrong"] <= 0.003 * len(names)


def test_page_is_current() -> None:
    assert report.PATH.read_text() == report.page(BASELINE), f"run `{UPDATE}`"
