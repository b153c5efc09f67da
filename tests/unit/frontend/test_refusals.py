"""What the front end refuses: every problem at once, by source node, with a code; never another exception."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import ModelError
from penstock.compiler.frontends.onnx import check_model, import_model

MODELS = Path(__file__).parents[2] / "data" / "models"
F = TensorProto.FLOAT


def value(name: str, shape: Sequence[Any] | None = (2, 3), kind: int = F) -> Any:
    """A declared input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], opset: int = 18, **graph: Any
) -> onnx.ModelProto:
    """A model of one graph."""
    made = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), **graph)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])


def codes(candidate: Any, **options: Any) -> list[str]:
    """Codes of all problems."""
    return [str(problem.code) for problem in check_model(candidate, **options)]


def test_all_problems_are_told_at_once() -> None:
    """Three independent faults, each by its node; what depends on them is not reported."""
    nodes = [
        helper.make_node("NoSuchOp", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="innocent"),
        helper.make_node("StringNormalizer", ["x"], ["c"], name="second"),
        helper.make_node("Reshape", ["x", "shape"], ["d"], name="third"),
    ]
    inputs = [value("x"), value("shape", [2], TensorProto.INT64)]
    candidate = model(nodes, inputs, [value("b"), value("c"), value("d", ["rows", "columns"])])
    problems = check_model(candidate)
    assert [(str(p.code), p.node) for p in problems] == [
        ("PENS-M005", "first"),
        ("PENS-M006", "second"),
        ("PENS-M014", "third"),
    ]
    with pytest.raises(ModelError, match="3 reasons") as caught:
        import_model(candidate, CompilerContext())
    assert caught.value.code == "PENS-M005"


def test_structure() -> None:
    """Cycles, undefined values, contradicting shapes, unfit operands, wrong versions."""
    relu = helper.make_node
    assert "PENS-M010" in codes(
        model([relu("Relu", ["b"], ["a"]), relu("Relu", ["a"], ["b"])], [value("x")], [value("b")])
    )
    assert "PENS-M011" in codes(model([relu("Relu", ["nowhere"], ["y"])], [value("x")], [value("y")]))
    whole = value("y", [2, 3], TensorProto.INT64)
    assert "PENS-M013" in codes(model([relu("Relu", ["x"], ["y"], name="n")], [value("x")], [whole]))
    assert "PENS-M009" in codes(model([relu("Add", ["x", "z"], ["y"])], [value("x"), value("z", [5, 7])], [value("y")]))
    assert "PENS-M004" in codes(model([relu("Relu", ["x"], ["y"])], [value("x")], [value("y")], opset=99))
    assert "PENS-M008" in codes(
        model([relu("Identity", ["x"], ["y"])], [value("x", [2], TensorProto.STRING)], [value("y")])
    )


def test_symbolic_dimensions_take_values() -> None:
    """Those without one stay symbolic."""
    candidate = model([helper.make_node("Relu", ["x"], ["y"])], [value("x", ["batch", 3])], [value("y", ["batch", 3])])
    assert codes(candidate) == []
    assert codes(candidate, dims={"batch": 4}) == []


def test_unreadable_files(tmp_path: Path) -> None:
    """Missing, empty, garbage."""
    for name, data in (("empty.onnx", b""), ("garbage.onnx", bytes(range(256)) * 8)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError):
            import_model(tmp_path / name, CompilerContext())
    with pytest.raises(ModelError, match="PENS-M001"):
        import_model(tmp_path / "missing.onnx", CompilerContext())


def test_external_data_stays_in_the_folder(tmp_path: Path) -> None:
    """A path that leads out, a missing file, a range past the end; and a good one."""
    (tmp_path / "secret.bin").write_bytes(b"\0" * 64)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "data.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())

    def stored(location: str, length: int = 24) -> list[str]:
        tensor = numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, entry in (("location", location), ("offset", "0"), ("length", str(length))):
            tensor.external_data.add(key=key, value=entry)
        made = model([helper.make_node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")], initializer=[tensor])
        (folder / "m.onnx").write_bytes(made.SerializeToString())
        return codes(folder / "m.onnx")

    assert stored("data.bin") == []
    assert "PENS-M017" in stored("../secret.bin")
    assert "PENS-M017" in stored(str(tmp_path / "secret.bin"))
    assert "PENS-M016" in stored("absent.bin")
    assert stored("data.bin", 4096)


@pytest.mark.parametrize(
    "name", ["models/mlp_b1", "models/mobilenet_v2", "models/minilm_b1", "dynamic/bert_script", "dynamic/unet_dynamo"]
)
def test_damaged_models_are_refused_or_read(name: str) -> None:
    """Random bytes changed or cut: a ModelError, or a model that can still be imported; nothing else."""
    data = (MODELS.parent / f"{name}.onnx").read_bytes()
    rng = random.Random(11)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(min(len(damaged), 4000) if rng.random() < 0.7 else len(damaged))] = rng.randrange(256)
        cut = bytes(damaged[: rng.randrange(len(damaged))]) if rng.random() < 0.3 else bytes(damaged)
        try:
            import_model(cut, CompilerContext())
        except ModelError:
            refused += 1
    assert refused > 10


def constant(name: str, values: Any, kind: Any = np.int64) -> Any:
    return numpy_helper.from_array(np.asarray(values, kind), name)


X, Y, N = value("x", [4, 6]), value("y", None), helper.make_node

FOUND_BY_FUZZING = {
    "expand": N("Expand", ["x", "p"], ["y"]),
    "split": N("Split", ["x"], ["y"], num_outputs=1 << 62),
    "tile": N("Tile", ["x", "p"], ["y"]),
    "slice": N("Slice", ["x", "p", "q"], ["y"]),
    "pad": N("Pad", ["x", "p"], ["y"]),
    "range": N("Range", ["r", "s", "r"], ["y"]),
    "blocks": N("DepthToSpace", ["x"], ["y"], blocksize=2),
    "shape": N("ConstantOfShape", ["q"], ["y"]),
}


@pytest.mark.parametrize("name", FOUND_BY_FUZZING)
def test_parameters_that_contradict_each_other(name: str) -> None:
    """What fuzzing found to end in another exception, or never: each is refused by its node's name, at once."""
    node = FOUND_BY_FUZZING[name]
    node.name = name
    stored = [constant("p", [5, 7, 9]), constant("q", [-3]), constant("r", 1), constant("s", 1 << 62)]
    problems = check_model(model([node], [X], [Y], initializer=stored))
    assert [(str(problem.code), problem.node) for problem in problems] == [("PENS-M009", name)]


def test_what_is_large_is_not_computed_when_compiling() -> None:
    """A large identity and the sums over a scalar are graph ops, made without the memory of their values."""
    wide = value("x", [1 << 16, 1 << 15])
    assert check_model(model([N("EyeLike", ["x"], ["y"])], [wide], [value("y", None)])) == []
    scalar = [N("ReduceMean", ["x", "axes"], ["y"])]
    assert check_model(model(scalar, [value("x", [])], [Y], initializer=[constant("axes", [0])])) == []
