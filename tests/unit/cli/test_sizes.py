"""Commands on models whose sizes are chosen at run time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit.cli.conftest import Ran

Program = Callable[..., Ran]
Models = tuple[Path, Path]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """softmax(x w + past) as an ONNX file and an artifact; x is [batch, seq, 16], past [batch, 1, 24]."""
    import penstock

    folder = tmp_path_factory.mktemp("sizes")
    weight = np.random.default_rng(0).standard_normal((16, 24)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="mm"),
            helper.make_node("Add", ["h", "past"], ["a"], name="add"),
            helper.make_node("Softmax", ["a"], ["y"], name="soft", axis=-1),
        ],
        "sizes",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", 16]),
            helper.make_tensor_value_info("past", TensorProto.FLOAT, ["batch", 1, 24]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "seq", 24])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "m.onnx")
    penstock.compile(folder / "m.onnx", target="cpu:x86-64-v3", dims={"batch": (1, 8)}).save(folder / "m.pens")
    return folder / "m.onnx", folder / "m.pens"


def test_info_shows_sizes_and_formulas(penstock: Program, models: Models) -> None:
    """Ranges, texts of extents, and memory as a bound."""
    facts = json.loads(penstock("info", models[1], "--json").out)
    assert facts["symbols"] == [
        {"name": "batch", "low": 1, "high": 8},
        {"name": "seq", "low": 1, "high": 2**31 - 1},
    ]
    assert facts["inputs"][0]["shape"] == ["batch", "seq", 16]
    text = penstock("info", models[1]).out
    assert "batch: 1 to 8, chosen at run time" in text
    assert "seq: 1 or more, chosen at run time" in text
    assert "y: f32[batch, seq, 24]" in text


def test_run_takes_the_sizes_of_random_inputs(penstock: Program, models: Models) -> None:
    """``--dim``, or the arrays given for other inputs; the result agrees with onnxruntime."""
    given = ("--dim", "batch=3", "--dim", "seq=7")
    against = ("--check-against", "onnxruntime", "--model", models[0])
    ran = penstock("run", models[1], "--random", *given, *against, "--json")
    assert ran.status == 0
    assert json.loads(ran.out)["outputs"][0]["shape"] == [3, 7, 24]
    np.save("past.npy", np.ones((2, 1, 24), np.float32))
    ran = penstock("run", models[1], "-i", "past=past.npy", "--random", "--dim", "seq=5", *against, "--json")
    assert json.loads(ran.out)["outputs"][0]["shape"] == [2, 5, 24]


def test_a_size_that_is_not_known(penstock: Program, models: Models) -> None:
    """Asked for by name; and one out of its range is refused by the run."""
    ran = penstock("run", models[1], "--random", "--dim", "batch=3")
    assert ran.status == 2
    assert "the size 'seq' of the input 'x' is not known. [PENS-O" in ran.err
    assert "--dim seq=8" in ran.err
    for dim, words in (("bach=3", "no size 'bach' to choose; did you mean 'batch'?"), ("seq=1..4", "is one number")):
        ran = penstock("run", models[1], "--random", "--dim", dim)
        assert ran.status == 2
        assert words in ran.err
    ran = penstock("run", models[1], "--random", "--dim", "batch=9", "--dim", "seq=1")
    assert ran.status == 2
    assert "Input x has 9 along axis 0, and batch is 1 to 8" in ran.err


def test_bench_and_profile(penstock: Program, models: Models) -> None:
    """Of an artifact with sizes, and of a model compiled for them."""
    given = ("--dim", "batch=3", "--dim", "seq=7")
    for model in models:
        ran = penstock("bench", model, *given, "--repeat", "3", "--json")
        assert json.loads(ran.out)["results"][0]["runs"] == 3
    rows = json.loads(penstock("profile", models[1], *given, "--repeat", "2", "--json").out)["nodes"]
    product = next(row for row in rows if "mm" in row["source"])
    assert product["flops"] >= 2 * 3 * 7 * 16 * 24
