"""Every tiny benchmark model gives onnxruntime's outputs: interpreted as a graph, and compiled, at one and two threads.

The models, inputs and recorded outputs are in tests/data/models, made by benchmarks/make_models.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import penstock

MODELS = Path(__file__).parents[2] / "data/models"
NAMES = sorted(path.stem for path in MODELS.glob("*.onnx"))
TOLERANCE = 1e-4
"""Largest error allowed, as a part of the range (maximum minus minimum) of the output's values."""

Arrays = Mapping[str, NDArray[np.generic]]


def read(name: str) -> Arrays:
    with np.load(MODELS / name) as stored:
        return dict(stored)


def assert_close(actual: Arrays, expected: Arrays) -> None:
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert actual[name].shape == array.shape
        assert actual[name].dtype == array.dtype
        reach = float(array.max()) - float(array.min())
        error = float(np.abs(actual[name].astype(np.float64) - array.astype(np.float64)).max())
        assert error <= TOLERANCE * reach, f"{name}: error {error:.3g} in values that span {reach:.3g}"


def test_every_family_is_there() -> None:
    assert len(NAMES) == 17
    for name in NAMES:
        assert (MODELS / f"{name}.onnx").stat().st_size < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_interpreted(name: str) -> None:
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.frontends.onnx import import_model
    from penstock.compiler.interpreter import run_module

    context = CompilerContext()
    module = import_model(MODELS / f"{name}.onnx", context)
    assert_close(run_module(module, context, read(f"{name}.npz")), read(f"{name}.expected.npz"))


@pytest.mark.parametrize("name", NAMES)
def test_compiled(name: str, tmp_path: Path) -> None:
    artifact = penstock.compile(MODELS / f"{name}.onnx")
    artifact.save(tmp_path / "model.pens")
    model = penstock.load(tmp_path / "model.pens")
    inputs, expected = read(f"{name}.npz"), read(f"{name}.expected.npz")
    runs = [model.session(threads=threads).run(inputs) for threads in (1, 2, 2)]
    for outputs in runs:
        assert_close(outputs, expected)
        for key, array in outputs.items():
            assert array.tobytes() == runs[0][key].tobytes(), f"{key}: bits differ between thread counts or runs"
