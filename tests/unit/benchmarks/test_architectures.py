"""Architectures: processes of their own end as they should, errors are measured as said, and the page shows them."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "tests/data/models"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A module of benchmarks/architectures by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return lambda name: importlib.import_module(f"architectures.{name}")


def test_a_process_gives_its_result_or_says_how_it_ended(part: Callable[[str], Any]) -> None:
    forked = part("forked")

    def fails() -> None:
        raise ValueError("no such thing")

    work = {
        "answers": lambda: {"a": [1, 2.5, "x" * 200_000]},
        "fails": fails,
        "dies": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "leaves": lambda: os._exit(3),
        "hangs": lambda: time.sleep(60),
    }
    found = dict(forked.run_forked(work.items(), limit=3.0, jobs=2))
    assert found.keys() == work.keys()
    assert found["answers"] == {"a": [1, 2.5, "x" * 200_000]}
    assert isinstance(found["fails"], forked.Ended)
    assert found["fails"].detail.startswith("ValueError: no such thing (test_architectures.py:")
    assert found["dies"] == forked.Ended("crash", "ended by SIGSEGV")
    assert found["leaves"] == forked.Ended("crash", "ended with status 3")
    assert found["hangs"] == forked.Ended("timeout", "more than 3 s")


def test_errors_are_parts_of_the_range(part: Callable[[str], Any]) -> None:
    difference = part("comparison").difference
    wanted = np.array([-1.0, 0.0, 3.0], np.float32)
    assert difference(wanted + np.float32(0.5), wanted) == pytest.approx(0.125)
    assert difference(np.float32([5.0]), np.float32([4.0])) == pytest.approx(0.25)
    infinite = np.array([1.0, np.inf, np.nan, 2.0], np.float32)
    assert difference(infinite, infinite) == 0.0
    assert difference(np.nan_to_num(infinite), infinite) == float("inf")
    assert difference(np.array([1, 2]), np.array([1, 3])) == float("inf")
    assert difference(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0


def test_a_model_is_compiled_and_held_against_onnxruntime(tmp_path: Path, part: Callable[[str], Any]) -> None:
    pytest.importorskip("onnxruntime")
    compare, page = part("comparison").compare, part("page").page
    for suffix in ("onnx", "npz"):
        shutil.copy(MODELS / f"mlp_b1.{suffix}", tmp_path)
    paths = (tmp_path / "mlp_b1.onnx", tmp_path / "mlp_b1.npz")
    passed = compare(paths[0], paths[1:], "cpu", 1e-4)
    assert passed["status"] == "pass"
    assert 0 <= passed["error"] < 1e-5
    assert compare(paths[0], paths[1:], "cpu", -1.0)["status"] == "wrong"
    refused = {
        "status": "refused",
        "detail": "PENS-M006 \x1b[96mnode_1\x1b[0m (X): | no",
        "error": None,
        "seconds": None,
    }
    passed["tree"] = "abc123"
    missing = {"status": "not exported", "detail": "no", "error": None}
    outcomes = {"mlp": {"dynamo fixed": passed, "dynamo dynamic": missing}, "odd": {"dynamo fixed": refused}}
    text = page(outcomes, "cpu", "torch 2", {"mlp": {"batch": (2, 3), "sequence": (7, 7)}, "odd": {}})
    assert "Compiled by penstock at abc123 (1 exports), earlier commits (1 exports)." in text
    assert "| not run | 0 | 1 |" in text
    assert f"| mlp | {passed['error']:.0e} | *not exported* | batch 2, 3 |" in text
    assert "| odd | **refused** |  |  |" in text
    assert "* **refused**: odd (dynamo fixed): PENS-M006 node\\_1 (X): / no" in text


def test_why_there_is_no_export_is_one_line(part: Callable[[str], Any]) -> None:
    pytest.importorskip("torch")
    reason = part("export").reason
    assert reason("TypeError: no\n(Occurred when translating col2im).") == "TypeError: no"
    said = (
        "TorchExportError: Failed.\n\n## Exception summary\n\n<class 'a.b.Odd'>: it conflicts:\n- with this\n\n(more)"
    )
    assert reason(said) == "Odd: it conflicts: with this"
