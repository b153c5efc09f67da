"""Whole models that torch exported with dynamic axes: imported once, right at two sizes; by no more ops than needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from unit.frontend.dynamic import imported, input_shapes, op_names

from penstock.compiler.interpreter import run_module
from penstock.compiler.specialise import equalities

FOLDER = Path(__file__).parents[2] / "data" / "dynamic"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
TOKENS, PAST = "[batch,seq:1..32]", "[batch,3,past,8]"
H, W = (f"4*(({name}:4..2147483644) floordiv 4)" for name in "hw")
INPUTS = {
    "bert": [TOKENS] * 3,
    "gpt2": ["[batch,seq]", PAST, PAST, PAST, PAST],
    "lstm": ["[batch,seq,45]"],
    "resnet": ["[batch,3,h,w]"],
    "unet": [f"[batch,4,{H},{W}]", "[batch]"],
    "vit": ["[batch,3,32,32]"],
}


def test_both_exporters_are_here() -> None:
    assert NAMES == sorted(f"{family}_{way}" for family in INPUTS for way in ("dynamo", "script"))


@pytest.mark.parametrize("name", NAMES)
def test_a_dynamic_model(name: str) -> None:
    """The same symbols from both exporters; no shape arithmetic is left but sizes read as numbers."""
    module, ctx = imported(FOLDER / f"{name}.onnx")
    assert input_shapes(module) == INPUTS[name.partition("_")[0]]
    assert not equalities(module)
    assert op_names(module).count("extent") <= (5 if name.startswith("unet") else 1)  # resizing reads sizes
    for index in range(2):
        with np.load(FOLDER / f"{name}.{index}.npz") as inputs:
            outputs = run_module(module, ctx, dict(inputs))
        with np.load(FOLDER / f"{name}.{index}.expected.npz") as expected:
            assert outputs.keys() == set(expected.files)
            for output in expected.files:
                assert outputs[output].shape == expected[output].shape
                np.testing.assert_allclose(outputs[output], expected[output], 2e-4, 2e-4)
