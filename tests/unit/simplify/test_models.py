"""The tiny models: simplifying keeps what they compute, and finds what they are made of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.simplify.checking import apply

from penstock.compiler.context import CompilerContext
from penstock.compiler.frontends.onnx import import_model
from penstock.compiler.interpreter import run_module
from penstock.compiler.locations import source_names
from penstock.compiler.pipeline import phase

MODELS = Path(__file__).parents[2] / "data" / "models"
EXPECTED: dict[str, dict[str, int]] = {
    "bert_base": {"attention": 2, "gelu": 2, "normalize": 5, "softmax": 0, "erf": 0},
    "gpt2_decode": {"attention": 2, "gelu": 2, "normalize": 5, "softmax": 0, "tanh": 0, "select": 0},
    "gpt2_prefill": {"attention": 2, "gelu": 2, "normalize": 5, "softmax": 0, "tanh": 0, "select": 0},
    "lstm": {"lstm": 1, "transpose": 0, "slice": 0, "concat": 0},
    "minilm_b1": {"attention": 2, "gelu": 2, "normalize": 5, "softmax": 0},
    "mobilenet_v2": {"conv": 52, "transpose": 0, "pow": 0},
    "resnet50": {"conv": 53, "mul": 1},
    "unet_small": {"attention": 1, "resize": 0},
    "vit_b16": {"attention": 2, "gelu": 2, "normalize": 5},
    "whisper_enc": {"attention": 2, "gelu": 4, "normalize": 5},
}


@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.glob("*.onnx")))
def test_simplify_keeps_what_models_compute(name: str):
    ctx = CompilerContext()
    module = import_model(MODELS / f"{name}.onnx", ctx)
    inputs = dict(np.load(MODELS / f"{name}.npz"))
    expected: dict[str, Any] = dict(np.load(MODELS / f"{name}.expected.npz"))
    sources = {source for op in module.walk() for source in source_names(op.location)}
    before = _kinds(module)
    apply(module, ctx, *phase("simplify").passes)
    outputs = run_module(module, ctx, inputs)
    assert list(outputs) == list(expected)
    for output, reference in expected.items():
        tolerance = 1e-4 * max(float(np.ptp(reference)), 1e-6)
        np.testing.assert_allclose(outputs[output], reference, rtol=0, atol=tolerance)
    after = _kinds(module)
    assert sum(after.values()) < sum(before.values())
    assert {kind: after[kind] for kind in EXPECTED.get(name, {})} == EXPECTED.get(name, {})
    assert {source for op in module.walk() for source in source_names(op.location)} <= sources


def _kinds(module: Any) -> Counter[str]:
    return Counter(op.name.removeprefix("graph.") for op in module.walk() if op.name.startswith("graph."))
