"""The suite that every back end passes: small models become artifacts that load, run and, if it computes, are right.

Back ends are those found in compiler/backends; a new one is tested as soon as it is there.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import penstock
from penstock.compiler.backends import backend, backends
from penstock.compiler.errors import NOTED, ModelError
from penstock.tools.cli import main

MODELS = Path(__file__).parents[2] / "data/models"
NAMES = ("mlp_b1", "mobilenet_v2", "minilm_b1", "lstm", "unet_small", "dlrm_b64")
"""A contraction, convolutions, attention, a recurrence, resizing and concatenation, gathers."""

LEVELS = [(name, level) for name, found in backends().items() for level in found.levels]


def runs_here(level: str) -> bool:
    from penstock.tools.commands.targets import runs_here

    return runs_here(level)


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_a_model(name: str, level: str, model: str, tmp_path: Path) -> None:
    if not runs_here(level):
        pytest.skip(f"this machine does not run {level}")
    artifact = penstock.compile(MODELS / f"{model}.onnx", target=f"{name}:{level}")
    artifact.save(tmp_path / "model.pens")
    inputs = dict(np.load(MODELS / f"{model}.npz"))
    expected = dict(np.load(MODELS / f"{model}.expected.npz"))
    loaded = penstock.load(tmp_path / "model.pens")
    assert loaded.isa == level
    for threads in (1, 2):
        found = loaded.session(threads=threads).run(inputs)
        assert list(found) == list(expected)
        for output, array in expected.items():
            assert found[output].shape == array.shape
            assert found[output].dtype == array.dtype
            if backend(name).computes:
                reach = float(array.max() - array.min())
                assert float(np.abs(found[output] - array).max()) <= 1e-4 * reach


@pytest.mark.parametrize("name", backends())
def test_equal_models_give_equal_artifacts(name: str, tmp_path: Path) -> None:
    paths = [tmp_path / "first.pens", tmp_path / "second.pens"]
    for path in paths:
        penstock.compile(MODELS / "mlp_b1.onnx", target=name).save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_does_not_compute_says_so() -> None:
    """The null device has the same launches and memory as the CPU, and hardly any code."""
    real, empty = (penstock.compile(MODELS / "mlp_b1.onnx", target=f"{name}:x86-64-v3") for name in ("cpu", "null"))
    assert not backend("null").computes
    (first, code), (second, no_code) = (opened(artifact.bytes) for artifact in (real, empty))
    assert first["commands"] == second["commands"]
    assert first["memory"] == second["memory"]
    assert no_code < code
    assert "computes" not in first
    assert second["computes"] is False
    assert real.report.notes == []
    assert empty.report.notes == ["the kernels of target 'null' do nothing, so the outputs are no results"]


def test_running_what_does_not_compute_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "null.pens"
    penstock.compile(MODELS / "mlp_b1.onnx", target="null").save(path)
    assert main(["run", str(path), "--random"]) == 0
    assert "the kernels of target 'null' do nothing; these are no results" in capsys.readouterr().err


def test_strict_exits_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = str(MODELS / "mlp_b1.onnx")
    assert main(["compile", model, "--target", "null", "--strict", "-o", str(tmp_path / "null.pens")]) == 2
    assert f"[{NOTED}]" in capsys.readouterr().err
    assert not (tmp_path / "null.pens").exists()


def test_strict_refuses_what_does_not_compute() -> None:
    with pytest.raises(ModelError, match="the outputs are no results") as caught:
        penstock.compile(MODELS / "mlp_b1.onnx", target="null", strict=True)
    assert caught.value.code == NOTED


def opened(artifact: bytes) -> tuple[dict[str, Any], int]:
    """The manifest, and the bytes of the code."""
    with zipfile.ZipFile(io.BytesIO(artifact)) as archive:
        return json.loads(archive.read("manifest.json")), archive.getinfo("code/x86-64-v3").file_size
