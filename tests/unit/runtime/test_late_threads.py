"""Runs do not wait for threads that do not come: on a busy machine, under a limit, with more threads than CPUs."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.artifact.plan_format import decode
from penstock.runtime.native.build import FLAGS, BuildError, find_compiler

NATIVE = Path(__file__).parents[3] / "runtime" / "native"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """late.c with the runtime's sources."""
    try:
        compiler, _ = find_compiler()
    except BuildError as error:
        pytest.skip(str(error))
    path = tmp_path / "late"
    sources = [str(Path(__file__).with_name("late.c")), *map(str, sorted(NATIVE.glob("*.c")))]
    subprocess.run([*compiler, *FLAGS, f"-I{NATIVE}", *sources, "-o", str(path)], check=True)
    return path


def model(node: onnx.NodeProto, x: tuple[int, ...], **weights: tuple[int, ...]) -> bytes:
    """One node on an input of this shape and random weights of these."""
    random = np.random.default_rng(1)
    tensors = [numpy_helper.from_array(random.normal(0, 0.05, s).astype(np.float32), k) for k, s in weights.items()]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return made.SerializeToString()


def test_a_run_completes_without_its_workers(program: Path, tmp_path: Path) -> None:
    """Independent units and units in phases, with workers that are held, that come, and that have no CPU to run on:
    the bits of one thread. The program counts the workers that it has held."""
    made = {
        "conv": model(helper.make_node("Conv", ["x", "w"], ["y"]), (1, 33, 31, 29), w=(40, 33, 3, 3)),
        "product": model(helper.make_node("MatMul", ["x", "w"], ["y"]), (67, 131), w=(131, 517)),
        "lstm": model(
            helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=320),
            (9, 1, 9),
            w=(1, 1280, 9),
            r=(1, 1280, 320),
        ),
    }
    paths = {name: tmp_path / f"{name}.pens" for name in made}
    for name, path in paths.items():
        penstock.compile(made[name]).save(path)
        variants = decode(zipfile.ZipFile(path).read("plan.bin")).values()
        teams = [any(command.team for command in variant.plan.commands) for variant in variants]
        assert all(teams) if name == "lstm" else not any(teams)
    done = subprocess.run([program, *paths.values()], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 0
