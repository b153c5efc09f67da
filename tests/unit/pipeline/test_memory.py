"""Compiling holds a model's weights once beside the file they are mapped from: a pass that rewrites them frees them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.compiler.driver import CompileOptions, run_phases

WIDTH, LAYERS = 768, 8


def perceptron(path: Path) -> int:
    """Write layers whose weights are stored transposed, as torch has them; returns the bytes of all weights."""
    random = np.random.default_rng(0)
    nodes = [helper.make_node("Gemm", [f"x{i}", f"w{i}"], [f"x{i + 1}"], f"fc{i}", transB=1) for i in range(LAYERS)]
    weights = [random.standard_normal((WIDTH, WIDTH), np.float32) for _ in range(LAYERS)]
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [1, WIDTH]) for i in (0, LAYERS)]
    stored = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(weights)]
    graph = helper.make_graph(nodes, "perceptron", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return sum(array.nbytes for array in weights)


def test_weights_are_held_once_when_compiling(tmp_path: Path) -> None:
    weights = perceptron(tmp_path / "m.onnx")
    options = CompileOptions(target="null")
    run_phases(tmp_path / "m.onnx", options)  # imports everything and fills its caches
    tracemalloc.start()
    try:
        result = run_phases(tmp_path / "m.onnx", options)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.artifact is not None
    assert held < 1.2 * weights
    assert peak < 1.5 * weights, f"{peak / weights:.2f} times the weights"
