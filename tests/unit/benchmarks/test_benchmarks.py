"""The benchmark scripts run end to end on small models, and what they write is right. Nothing here judges times."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one small model, its inputs, and its outputs computed by numpy in f64."""
    onnx = pytest.importorskip("onnx")
    for suffix in (".onnx", ".npz"):
        shutil.copy(MODELS / f"mlp_b1{suffix}", tmp_path)
    weights = [
        onnx.numpy_helper.to_array(w).astype(np.float64) for w in onnx.load(tmp_path / "mlp_b1.onnx").graph.initializer
    ]
    with np.load(tmp_path / "mlp_b1.npz") as inputs:
        x = inputs["x"].astype(np.float64)
    biases = {b.shape[0]: b for b in weights if b.ndim == 1}
    for matrix in sorted((w for w in weights if w.ndim == 2), key=lambda w: -w.shape[1]):
        x = x @ matrix.T + biases[matrix.shape[0]]
        x = x if len(matrix) == 10 else np.maximum(x, 0)
    np.savez(tmp_path / "mlp_b1.reference.npz", logits=x)
    return tmp_path


def test_compare(folder: Path) -> None:
    """Every measure of a model is there, and the page shows it."""
    pytest.importorskip("onnxruntime")
    options = ("--models-dir", folder, "--rounds", 2, "--seconds", 0.01, "--peers", "onnxruntime,onnxruntime-bound")
    done = script("compare.py", "mlp_b1", *options, "--json", folder / "c.json", "--page", folder / "c.md")
    assert done.returncode == 0, done.stderr
    document = json.loads((folder / "c.json").read_text())
    assert document["costs"]["mlp_b1"]["flops"] == 2 * (49 * 37 + 37 * 24 + 24 * 10)
    found = {(item["peer"], item["threads"]): item for item in document["results"]}
    assert list(found) == [(peer, count) for peer in ("onnxruntime", "onnxruntime-bound") for count in (1, 2)]
    for (peer, count), item in found.items():
        assert item["failure"] == ""
        assert 0 < item["best_s"] <= item["p10_s"] <= item["median_s"] <= item["p90_s"]
        assert item["peak"] > 10e6
        assert item["tensors"] == 4 * (49 + 10)
        assert item["size"] == (MODELS / "mlp_b1.onnx").stat().st_size
        assert 0 < item["error"] < 1e-6, "the f64 reference differs from f32 by rounding, and by no more"
        assert item["same_bits"] is True
        assert item["best_peer"] in {"onnxruntime", "onnxruntime-bound"} - {peer}
        assert item["ratio"] == found[item["best_peer"], count]["median_s"] / item["median_s"]
        assert item["roofline"] * item["median_s"] == pytest.approx(document["least_s"][f"mlp_b1/{count}"])
    page = (folder / "c.md").read_text()
    assert page.split("## What a call costs")[0].count("| mlp_b1 |") == 6
    assert "## Latency, 1 thread\n" in page
    assert "reading memory, GB/s" in page


def test_an_engine_that_is_not_installed_is_a_blank(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "modules/openvino").mkdir(parents=True)
    (folder / "modules/openvino/__init__.py").write_text("raise ModuleNotFoundError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(folder / "modules"))
    options = ("--models-dir", folder, "--quick", "--threads", 1, "--peers", "onnxruntime,openvino")
    done = script("compare.py", *options, "--json", folder / "c.json", "--page", folder / "c.md")
    assert done.returncode == 0, done.stderr
    assert "openvino: open: not installed (not here)" in done.stdout
    page = (folder / "c.md").read_text()
    assert "* openvino: open: not installed (not here)\n" in page
    assert " | – |\n" in page


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
def test_the_best_peer_is_the_fastest_other_engine_of_the_same_precision() -> None:
    measure, peers = importlib.import_module("measure"), importlib.import_module("peers")
    times = {"penstock": 2.0, "onnxruntime": 3.0, "openvino": 4.0, "openvino-default": 1.0, "iree": None}
    times["penstock-bf16"] = 0.5
    known = peers.all_peers()
    items = [measure.Measurement("m", name, 1, known[name].precision, median_s=s) for name, s in times.items()]
    items.append(measure.Measurement("m", "iree", 2, "f32", median_s=0.1))
    measure.rank(items, known)
    ratios = {item.peer: (item.best_peer, item.ratio) for item in items if item.threads == 1}
    assert ratios == {
        "penstock": ("onnxruntime", 1.5),
        "onnxruntime": ("openvino", 4 / 3),
        "openvino": ("onnxruntime", 0.75),
        "openvino-default": ("", None),
        "iree": ("", None),
        "penstock-bf16": ("openvino-default", 2.0),
    }
    page = importlib.import_module("page")
    document = {"results": [item.as_dict() for item in items], "ours": ["penstock", "penstock-bf16"]}
    tables = {title: [row["peer"] for row in part["results"]] for title, part in page.rankings(document, 1)}
    ranked = ["penstock", "onnxruntime", "openvino", "iree", "iree"]
    assert tables == {"Latency, 1 thread": ranked, "Latency in bf16, 1 thread": ["openvino-default", "penstock-bf16"]}
    document = {"results": [row for row in document["results"] if row["peer"] != "penstock-bf16"], "ours": ["penstock"]}
    assert [(title, len(part["results"])) for title, part in page.rankings(document, 1)] == [("Latency, 1 thread", 6)]


def test_runs_are_combined_by_medians_of_their_ratios(tmp_path: Path) -> None:
    """Slow minutes of one run move neither time nor ratio; the band shows them, errors and memory are the worst."""

    def run(median: float, ratio: float, error: float, failure: str = "") -> dict[str, object]:
        row = {"model": "m", "peer": "penstock", "threads": 1, "precision": "f32", "version": "1", "failure": failure}
        row |= dict.fromkeys(("compile_s", "compile_peak", "size", "kernels", "load_s", "first_s", "planned"))
        row |= dict.fromkeys(("median_s", "p10_s", "p90_s", "best_s"), median)
        row |= {"calls": 5, "peak": 7, "idle": 3, "tensors": 2}
        row |= {"error": error, "same_bits": True, "ratio": ratio, "best_peer": "o", "roofline": None, "missing": False}
        machine = {"processor": "p", "family": "1/2", "extensions": ["avx2"], "cores": 2, "system": "s", "load": 0.1}
        levels = [{"name": "L2", "size": 1, "bandwidth": 10 * median}]
        return {
            "machine": machine | {"python": "3", "numpy": "2"},
            "effort": {"rounds": 3, "seconds": 0.5},
            "ours": ["penstock"],
            "ceilings": {"1": {"flops": 1 / median, "levels": levels}},
            "costs": {},
            "least_s": {"m/1": median},
            "notes": ["a note"],
            "results": [row],
        }

    documents = [run(2.0, 1.5, 0.1), run(9.0, 1.1, 0.3), run(3.0, 1.4, 0.2)]
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    files = [tmp_path / f"{number}.json" for number in range(3)]
    done = script("compare.py", "--json", tmp_path / "c.json", "--page", tmp_path / "c.md", "--merge", *files)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "c.md").read_text()
    assert "the median of 3 runs" in text
    assert "| m | 2 s | 3 s (3 to 3) | 1.40 (1.10 to 1.50) | o |" in text
    assert "| f32 multiply-adds, GFLOP/s | 0 |" in text
    assert "| reading L2, GB/s | 0 |" in text
    assert "| m | penstock | 1 |  |  |  |  |  | 7e-06 | 4e-06 |  | 2e-06 | 1.40 |  | 3.0e-01 | yes |" in text
    files[1].write_text(json.dumps(run(9.0, 1.1, 0.3, failure="no")))
    script("compare.py", "--json", tmp_path / "c.json", "--page", tmp_path / "c.md", "--merge", *files)
    assert "m (1): penstock: no" in (tmp_path / "c.md").read_text()


@pytest.mark.usefixtures("benchmark_modules")
def test_a_compilation_is_kept_until_what_it_depends_on_changes(tmp_path: Path) -> None:
    compiled, peers = importlib.import_module("compiled"), importlib.import_module("peers")
    calls: list[int] = []

    class Slow(peers.Peer):
        name, cached = "slow", True

        def version(self) -> str:
            return "1"

        def compile(self, model: Path, folder: Path, threads: int) -> object:
            calls.append(threads)
            if model.read_text() == "bad":
                raise ValueError("no such operator")
            (folder / "made").write_text("code")
            return peers.Compiled(folder / "made", 4, None)

        def load(self, path: Path, threads: int) -> object:
            raise NotImplementedError

    model, cache = tmp_path / "m.onnx", tmp_path / "cache"
    model.write_text("first")
    answers = [compiled.compile_with(Slow(), model, tmp_path, 1, cache) for _ in range(2)]
    assert [answer["old"] for answer in answers] == [False, True]
    assert Path(answers[1]["path"]).read_text() == "code"
    assert answers[0]["compile_s"] == answers[1]["compile_s"]
    compiled.compile_with(Slow(), model, tmp_path, 2, cache)
    assert calls == [1], "one compilation serves all numbers of threads"
    model.write_text("bad")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such operator"):
            compiled.compile_with(Slow(), model, tmp_path, 1, cache)
    assert calls == [1, 1], "a failure is kept too"
    Slow.cached = False
    model.write_text("first")
    assert compiled.compile_with(Slow(), model, tmp_path, 1, cache)["path"] == str(tmp_path / "made")


@pytest.mark.usefixtures("benchmark_modules")
def test_an_engine_that_hangs_or_crashes_is_a_failure() -> None:
    process = importlib.import_module("process")
    slow = process.Process(priority=False)
    with pytest.raises(process.CellError, match="ceilings: not done after 0 s"):
        slow("ceilings", 0.0, threads=1)
    slow.close()
    dead = process.Process(priority=False)
    os.kill(dead.process.pid, 9)
    with pytest.raises(process.CellError, match="open: the process ended with status -9"):
        dead("open", peer="onnxruntime")
    dead.close()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra `bench`")
@pytest.mark.parametrize("name", ["mlp_b32", "lstm", "digits_b64"])
def test_the_reference_is_the_model_in_f64(tmp_path: Path, name: str) -> None:
    """What torch computes in f64 from the seeds is what onnxruntime computed in f32 from the file."""
    arguments = (MODELS / f"{name}.onnx", MODELS / f"{name}.npz", tmp_path / "reference.npz")
    done = script("reference.py", *arguments)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "reference.npz") as wide, np.load(MODELS / f"{name}.expected.npz") as expected:
        assert wide.files == expected.files
        for key in wide.files:
            assert wide[key].dtype == np.float64
            np.testing.assert_allclose(wide[key], expected[key], rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("benchmark_modules")
def test_the_cost_of_convolutions_recurrences_and_tables() -> None:
    """Counted by hand: taken rows of a table, not all; per output position of a convolution; per step of an LSTM."""
    pytest.importorskip("onnx")
    cost_of = importlib.import_module("cost").cost_of
    digits = cost_of(MODELS / "digits_b1.onnx")
    assert digits.flops == 2 * (64 * 24 * 9 + 16 * 48 * 24 * 9 + 10 * 192)
    assert cost_of(MODELS / "lstm.onnx").flops == 2 * 9 * 4 * 48 * (45 + 48)
    bert = cost_of(MODELS / "bert_base.onnx")
    assert bert.bytes < (MODELS / "bert_base.onnx").stat().st_size


@pytest.mark.usefixtures("benchmark_modules")
def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw = importlib.import_module("plot").draw
    rows = [
        {"model": model, "peer": peer, "threads": threads, "median_s": seconds, "precision": "f32"}
        for model in ("a", "b")
        for peer, seconds in (("penstock", 1e-3), ("onnxruntime", 2e-3), ("iree", None))
        for threads in (1, 2)
    ]
    draw({"results": rows, "ours": ["penstock"]}, tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text()
    assert text.startswith("<?xml")
    assert "speed, fastest peer = 1" in text
    assert "iree" not in text


@pytest.mark.usefixtures("benchmark_modules")
def test_durations() -> None:
    page = importlib.import_module("page")
    texts = [page.duration(seconds) for seconds in (2.5, 0.0123, 4.2e-5, 7e-9, None)]
    assert texts == ["2.5 s", "12.3 ms", "42 us", "7 ns", ""]


def test_kernels_against_the_measured_peak(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    options = ("--filter", "matmul 256x256", "--targets", "--rounds", 1, "--seconds", 0.01, "--peers", "penstock")
    done = script("kernels.py", *options, "--json", tmp_path / "k.json")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "k.json").read_text())
    (item,) = document["results"]
    reached = 2 * 256**3 / item["median_s"] >= 0.9 * document["peaks"]["1"]
    assert f"{int(reached)} of 1 targets reached" in done.stdout
    assert item["peak"] > item["idle"] > 0
    assert item["planned"] >= 256 * 256 * 4


@pytest.mark.usefixtures("benchmark_modules")
def test_single_operators_are_models() -> None:
    """Each micro benchmark is a valid model whose stated work is right for a case counted by hand."""
    onnxruntime = pytest.importorskip("onnxruntime")
    single_ops = importlib.import_module("single_ops")
    kernels = {kernel.name: kernel for kernel in single_ops.all_kernels()}
    assert kernels["conv 64->64 56x56 3x3"].flops == 2 * 64 * 64 * 9 * 56 * 56
    assert sum(kernel.target is not None for kernel in kernels.values()) == len(single_ops.TARGETS) == 4 + 22
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
