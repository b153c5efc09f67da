"""Models that are damaged, contradictory or hostile: one sentence, a code, status 2, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit.cli.conftest import Ran

from penstock.compiler.errors import (
    BAD_VERSION,
    CYCLE,
    DEPENDS_ON_SIZES,
    DUPLICATE_NAME,
    EXTERNAL_DATA_MISSING,
    EXTERNAL_DATA_OUTSIDE,
    INVALID_DATA,
    INVALID_NODE,
    MODEL_TOO_LARGE,
    SHAPE_CONFLICT,
    SHAPE_UNKNOWN,
    UNDEFINED_VALUE,
    UNKNOWN_OP,
    UNREADABLE_MODEL,
    UNSUPPORTED_TYPE,
)

Program = Callable[..., Ran]
F = TensorProto.FLOAT


def graph(*nodes: Any, inputs: Any = None, outputs: Any = None, weights: Any = ()) -> onnx.ModelProto:
    """A model of ``nodes`` with an input x and an output y of 4 numbers, unless said otherwise."""
    made = helper.make_graph(
        list(nodes),
        "g",
        inputs or [helper.make_tensor_value_info("x", F, [4])],
        outputs or [helper.make_tensor_value_info("y", F, [4])],
        list(weights),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"the_{op.lower()}", **attributes)


def external(location: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def versioned(**versions: int) -> onnx.ModelProto:
    model = graph(node("Neg", "x", "y"))
    model.ir_version = versions.get("ir", 10)
    model.opset_import[0].version = versions.get("opset", 18)
    return model


def short_weight() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.raw_data = tensor.raw_data[:-1]
    return tensor


def huge_weight() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.dims[:] = [1 << 40, 1 << 40]
    return tensor


ADD_W = node("Add", "x w", "y")
STRING = helper.make_tensor_value_info("x", TensorProto.STRING, [4])
RANKLESS = helper.make_tensor_value_info("x", F, None)
SYMBOLIC = helper.make_tensor_value_info("x", F, ["n"])

MODELS = {
    "a cycle": (graph(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b", "y")), CYCLE),
    "an undefined value": (graph(node("Add", "x nothing", "y")), UNDEFINED_VALUE),
    "a name twice": (graph(node("Neg", "x", "a"), node("Abs", "x", "a"), node("Neg", "a", "y")), DUPLICATE_NAME),
    "an unknown operator": (graph(node("Nonsense", "x", "y")), UNKNOWN_OP),
    "an unknown operator set": (versioned(opset=999), BAD_VERSION),
    "an unknown IR version": (versioned(ir=999), BAD_VERSION),
    "shapes that do not fit": (
        graph(ADD_W, weights=[numpy_helper.from_array(np.zeros(3, np.float32), "w")]),
        INVALID_NODE,
    ),
    "a declared type that is not": (
        graph(node("Neg", "x", "y"), outputs=[helper.make_tensor_value_info("y", TensorProto.INT64, [4])]),
        SHAPE_CONFLICT,
    ),
    "strings": (graph(node("Identity", "x", "y"), inputs=[STRING], outputs=[STRING]), UNSUPPORTED_TYPE),
    "what depends on sizes": (graph(node("Squeeze", "x", "y"), inputs=[SYMBOLIC]), DEPENDS_ON_SIZES),
    "an unknown rank": (graph(node("Neg", "x", "y"), inputs=[RANKLESS]), SHAPE_UNKNOWN),
    "too few inputs": (graph(node("Add", "x", "y")), INVALID_NODE),
    "a weight that is cut": (graph(ADD_W, weights=[short_weight()]), INVALID_DATA),
    "a weight of astronomic size": (graph(ADD_W, weights=[huge_weight()]), MODEL_TOO_LARGE),
    "data that is missing": (graph(ADD_W, weights=[external("w.bin")]), EXTERNAL_DATA_MISSING),
    "data outside the folder": (graph(ADD_W, weights=[external("../w.bin")]), EXTERNAL_DATA_OUTSIDE),
    "data at an absolute path": (graph(ADD_W, weights=[external("/etc/passwd")]), EXTERNAL_DATA_OUTSIDE),
}


@pytest.mark.parametrize("what", list(MODELS))
@pytest.mark.parametrize("command", ["compile", "check"])
def test_a_bad_model_is_refused(penstock: Program, what: str, command: str) -> None:
    model, code = MODELS[what]
    Path("m.onnx").write_bytes(model.SerializeToString())
    ran = penstock(command, "m.onnx")
    assert ran.status == 2, ran
    assert code in ran.out + ran.err, ran
    assert "INTERNAL" not in ran.err
    assert [path.name for path in Path().iterdir()] == ["m.onnx"]


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\x00" * 1000, b"\xff" * 1000, b"GIF89a" * 50, versioned().SerializeToString()[:-5]],
    ids=["empty", "letter", "zeros", "ones", "picture", "cut"],
)
def test_garbage_is_refused(penstock: Program, data: bytes) -> None:
    Path("m.onnx").write_bytes(data)
    for command in ("compile", "check", "info"):
        ran = penstock(command, "m.onnx")
        assert ran.status == 2, ran
        assert UNREADABLE_MODEL in ran.out + ran.err


def test_a_tiny_model_cut_anywhere_is_refused_or_compiles(penstock: Program, mlp: Path) -> None:
    data = mlp.read_bytes()
    for length in (*range(1, 200, 23), len(data) // 3, len(data) // 2, len(data) - 1):
        Path("m.onnx").write_bytes(data[:length])
        ran = penstock("check", "m.onnx", "--import-only")
        assert ran.status == 2, (length, ran)


def test_a_symbolic_dimension_with_a_value_compiles(penstock: Program) -> None:
    model = graph(node("Neg", "x", "y"), inputs=[SYMBOLIC], outputs=[helper.make_tensor_value_info("y", F, ["n"])])
    Path("m.onnx").write_bytes(model.SerializeToString())
    assert penstock("compile", "m.onnx", "--dim", "n=4").status == 0
    assert '"shape": [\n        4\n      ]' in penstock("run", "m.pens", "--random", "--json").out


def test_nan_inputs_flow(penstock: Program) -> None:
    Path("m.onnx").write_bytes(graph(node("Neg", "x", "y")).SerializeToString())
    np.save("x.npy", np.array([np.nan, np.inf, -np.inf, 1], np.float32))
    assert penstock("run", "m.onnx", "-i", "x.npy", "-o", "y.npy").status == 0
    np.testing.assert_array_equal(np.load("y.npy"), np.array([np.nan, -np.inf, np.inf, -1], np.float32))
