"""Whole models over symbolic dimensions, compiled once: the bits do not depend on threads or on the sizes before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
import penstock.runtime as runtime

SIZES = [(1, 1), (2, 7), (1, 64), (5, 17), (3, 130), (2, 7), (1, 1), (4, 33)]


def block() -> onnx.ModelProto:
    """Attention without heads over [batch, seq, 32] with a mask, then two layers with a residual."""
    rng = np.random.default_rng(0)
    weights = {"q": (32, 32), "k": (32, 32), "v": (32, 32), "up": (32, 80), "down": (80, 32)}
    nodes = [helper.make_node("MatMul", ["x", name], [f"x{name}"], name=f"to_{name}") for name in ("q", "k", "v")]
    nodes += [
        helper.make_node("Transpose", ["xk"], ["kt"], name="turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["xq", "kt"], ["scores"], name="score"),
        helper.make_node("Add", ["scores", "mask"], ["masked"], name="mask_scores"),
        helper.make_node("Softmax", ["masked"], ["p"], name="soft", axis=-1),
        helper.make_node("MatMul", ["p", "xv"], ["mixed"], name="mix"),
        helper.make_node("Add", ["mixed", "x"], ["h"], name="residual"),
        helper.make_node("MatMul", ["h", "up"], ["wide"], name="widen"),
        helper.make_node("Relu", ["wide"], ["active"], name="relu"),
        helper.make_node("MatMul", ["active", "down"], ["narrow"], name="narrow"),
        helper.make_node("Add", ["narrow", "h"], ["y"], name="residual2"),
        helper.make_node("ReduceMean", ["y"], ["mean"], name="pool", axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "block",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", 32]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 1, "seq"]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "seq", 32]),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", 32]),
        ],
        [
            numpy_helper.from_array((rng.standard_normal(shape) / 6).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def feeds(batch: int, seq: int) -> dict[str, Any]:
    """Arrays of these sizes."""
    rng = np.random.default_rng(batch * 1000 + seq)
    x = rng.standard_normal((batch, seq, 32)).astype(np.float32)
    return {"x": x, "mask": np.where(rng.random((batch, 1, seq)) < 0.2, -1e4, 0).astype(np.float32)}


@pytest.fixture(scope="module")
def model() -> Iterator[runtime.Model]:
    """The block, compiled and loaded."""
    with penstock.compile(block(), target="cpu:x86-64-v3").load() as loaded:
        yield loaded


def test_it_agrees_with_onnxruntime(model: runtime.Model) -> None:
    """One session, sizes up and down; and the same bits with three threads and in a session of its own."""
    oracle = onnxruntime.InferenceSession(block().SerializeToString(), providers=["CPUExecutionProvider"])
    with model.session(threads=1) as session, model.session(threads=3) as parallel:
        for batch, seq in SIZES:
            arrays = feeds(batch, seq)
            found = session.run(arrays)
            for name, wanted in zip(("y", "mean"), oracle.run(["y", "mean"], arrays), strict=True):
                np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=2e-5)
            with model.session(threads=1) as fresh:
                for other in (parallel.run(arrays), fresh.run(arrays)):
                    np.testing.assert_array_equal(other["y"], found["y"])
                    np.testing.assert_array_equal(other["mean"], found["mean"])


def test_buffers_share_memory(model: runtime.Model) -> None:
    """What a session holds is less than the bound that the manifest states."""
    from penstock.compiler.extent_text import parse
    from penstock.compiler.extents import evaluate

    sizes = {"batch": 4, "seq": 128}
    with model.session(threads=1) as session:
        session.set_sizes(sizes)
        assert session.memory < 0.8 * evaluate(parse(model.manifest["memory"]["arena"]), sizes)


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    """Symbols and extents have an order that does not come from hashes."""
    onnx.save(block(), tmp_path / "block.onnx")
    code = "import sys, penstock; penstock.compile(sys.argv[1], target='cpu:x86-64-v3').save(sys.argv[2])"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, tmp_path / "block.onnx", tmp_path / f"{seed}.pens"]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
    assert (tmp_path / "1.pens").read_bytes() == (tmp_path / "2.pens").read_bytes()
