"""The benchmark scripts run end to end on small models, and what they write is right. Nothing here judges times."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "tests/data/models"


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts' own folder on the module path, as when they run."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_compare(tmp_path: Path) -> None:
    """Every measure of a model is there, and the page shows it."""
    pytest.importorskip("onnxruntime")
    options = ("--models-dir", MODELS, "--rounds", 1, "--seconds", 0.01, "--peers", "onnxruntime")
    done = script("compare.py", "mlp_b1", *options, "--json", tmp_path / "c.json", "--page", tmp_path / "c.md")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "c.json").read_text())
    assert [item["threads"] for item in document["results"]] == [1, 2]
    for item in document["results"]:
        assert item["failure"] == ""
        assert 0 < item["best_s"] <= item["p10_s"] <= item["median_s"] <= item["p90_s"]
        assert item["peak"] > 10e6
        assert item["size"] == (MODELS / "mlp_b1.onnx").stat().st_size
        assert (item["ratio"], item["error"], item["same_bits"]) == (1.0, 0.0, True)
    page = (tmp_path / "c.md").read_text()
    assert page.count("| mlp_b1 |") == 4
    assert "## Latency, 1 thread\n" in page


def test_compare_reports_failures(tmp_path: Path) -> None:
    """A model no engine can load is a line and status 1, not a traceback."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    np.savez(tmp_path / "bad.npz", x=np.zeros(1))
    done = script("compare.py", "--models-dir", tmp_path, "--peers", "onnxruntime", "--json", tmp_path / "c.json")
    assert done.returncode == 1
    assert "bad" in done.stdout
    assert "fails" in done.stdout
    assert "Traceback" not in done.stderr


def test_compare_refuses_unknown_names() -> None:
    done = script("compare.py", "nosuch", "--models-dir", MODELS)
    assert done.returncode == 2
    assert "no nosuch" in done.stderr


@pytest.mark.usefixtures("benchmark_modules")
def test_relative_error(tmp_path: Path) -> None:
    measure = importlib.import_module("measure")
    expected = np.array([-1.0, 3.0], np.float32)
    np.savez(tmp_path / "expected.npz", y=expected)
    for name, actual, error in (
        ("same", expected, 0.0),
        ("off", expected + np.float32(0.5), 0.125),
        ("nan", expected * np.float32(np.nan), np.inf),
        ("shape", expected.reshape(2, 1), np.inf),
    ):
        np.savez(tmp_path / f"{name}.npz", y=actual)
        assert measure.relative_error(tmp_path / f"{name}.npz", tmp_path / "expected.npz") == error


@pytest.mark.usefixtures("benchmark_modules")
def test_durations() -> None:
    page = importlib.import_module("page")
    texts = [page.duration(seconds) for seconds in (2.5, 0.0123, 4.2e-5, 7e-9, None)]
    assert texts == ["2.5 s", "12.3 ms", "42 us", "7 ns", ""]


@pytest.mark.usefixtures("benchmark_modules")
def test_single_operators_are_models() -> None:
    """Each micro benchmark is a valid model whose stated work is right for a case counted by hand."""
    onnxruntime = pytest.importorskip("onnxruntime")
    kernels = {kernel.name: kernel for kernel in importlib.import_module("single_ops").all_kernels()}
    assert kernels["conv 64->64 56x56 3x3"].flops == 2 * 64 * 64 * 9 * 56 * 56
    assert kernels["depthwise 96->96 112x112 3x3 s2"].flops == 2 * 96 * 9 * 56 * 56
    for name in ("matmul 1x3072x768", "LayerNormalization 128x768", "MaxPool 1x64x112x112"):
        kernel = kernels[name]
        session = onnxruntime.InferenceSession(kernel.model.SerializeToString())
        (output,) = session.run(None, dict(kernel.inputs))
        assert np.isfinite(output).all()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra `bench`")
def test_tiny_models_are_reproducible(tmp_path: Path) -> None:
    """The committed test data is what the script makes: the same graph, weights and inputs."""
    onnx = pytest.importorskip("onnx")
    done = script("make_models.py", "--tiny", "--out", tmp_path, "mlp_b32")
    assert done.returncode == 0, done.stderr
    made, committed = onnx.load(tmp_path / "mlp_b32.onnx"), onnx.load(MODELS / "mlp_b32.onnx")
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in committed.graph.node]
    assert made.graph.initializer == committed.graph.initializer
    with np.load(tmp_path / "mlp_b32.npz") as mine, np.load(MODELS / "mlp_b32.npz") as theirs:
        assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)
