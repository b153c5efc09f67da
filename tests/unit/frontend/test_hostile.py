"""Files that mean harm: paths that lead out, data that is not there, structure without end; each is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import (
    BAD_VERSION,
    DUPLICATE_NAME,
    EXTERNAL_DATA_MISSING,
    EXTERNAL_DATA_OUTSIDE,
    INVALID_DATA,
    MODEL_TOO_LARGE,
    NOT_ENOUGH_MEMORY,
    UNREADABLE_MODEL,
    ModelError,
)
from penstock.compiler.frontends.onnx import check_model, import_model
from penstock.compiler.frontends.onnx.wire import encode_varint

F = TensorProto.FLOAT


def value(name: str, shape: Sequence[Any] = (6,)) -> Any:
    return helper.make_tensor_value_info(name, F, shape)


def model(*nodes: Any, weights: Sequence[Any] = (), functions: Sequence[Any] = (), opset: int = 18) -> onnx.ModelProto:
    """x of 6 numbers in, y of 6 numbers out."""
    graph = helper.make_graph(list(nodes), "g", [value("x")], [value("y")], list(weights))
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def codes(made: onnx.ModelProto | Path) -> list[str]:
    return [problem.code for problem in check_model(made)]


# Data files ----------------------------------------------------------------------------------------------------------


def stored(folder: Path, *entries: dict[str, str]) -> Path:
    """A model in ``folder`` with one weight of 24 bytes in a data file for each of ``entries``."""
    weights: list[Any] = []
    for number, given in enumerate(entries):
        tensor = numpy_helper.from_array(np.zeros(6, np.float32), f"w{number}")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, entry in given.items():
            tensor.external_data.add(key=key, value=entry)
        weights.append(tensor)
    names = ["x", *(weight.name for weight in weights)]
    made = model(helper.make_node("Sum", names, ["y"]), weights=weights)
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a model, with 48 bytes of data; there is a file outside of it."""
    (tmp_path / "secret.bin").write_bytes(b"\0" * 48)
    made = tmp_path / "model"
    made.mkdir()
    (made / "data.bin").write_bytes(np.arange(12, dtype=np.float32).tobytes())
    return made


def link_out(folder: Path) -> None:
    (folder / "other.bin").symlink_to(folder.parent / "secret.bin")


def link_folder(folder: Path) -> None:
    (folder / "other.bin").symlink_to(folder.parent)


def hard_link(folder: Path) -> None:
    os.link(folder.parent / "secret.bin", folder / "other.bin")


def loop(folder: Path) -> None:
    (folder / "other.bin").symlink_to(folder / "other.bin")


def device(folder: Path) -> None:
    (folder / "other.bin").symlink_to("/dev/zero")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "other.bin")


def directory(folder: Path) -> None:
    (folder / "other.bin").mkdir()


def empty(folder: Path) -> None:
    (folder / "other.bin").touch()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (link_out, EXTERNAL_DATA_OUTSIDE),
        (link_folder, EXTERNAL_DATA_OUTSIDE),
        (hard_link, EXTERNAL_DATA_OUTSIDE),
        (device, EXTERNAL_DATA_OUTSIDE),
        (loop, EXTERNAL_DATA_MISSING),
        (pipe, EXTERNAL_DATA_MISSING),
        (directory, EXTERNAL_DATA_MISSING),
        (empty, EXTERNAL_DATA_MISSING),
    ],
)
def test_what_is_no_file_of_the_folder_is_not_read(folder: Path, make: Callable[[Path], None], code: str) -> None:
    make(folder)
    assert codes(stored(folder, {"location": "other.bin"})) == [code]


@pytest.mark.parametrize(
    "location", ["", "/", "..", "a/../../secret.bin", "./../secret.bin", "\0", "data.bin\0", "~/data.bin\0"]
)
def test_paths_that_lead_out(folder: Path, location: str) -> None:
    assert codes(stored(folder, {"location": location})) == [EXTERNAL_DATA_OUTSIDE]


@pytest.mark.parametrize("location", ["x" * 5000, "a/" * 3000, "absent", "data.bin/x"])
def test_paths_to_nowhere(folder: Path, location: str) -> None:
    assert codes(stored(folder, {"location": location})) == [EXTERNAL_DATA_MISSING]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({"offset": "25"}, EXTERNAL_DATA_MISSING),
        ({"offset": str(2**62)}, EXTERNAL_DATA_MISSING),
        ({"offset": "-1"}, INVALID_DATA),
        ({"offset": "9" * 400}, INVALID_DATA),
        ({"offset": "0x10"}, INVALID_DATA),
        ({"length": "48"}, INVALID_DATA),
        ({"length": "0"}, INVALID_DATA),
        ({"length": "²"}, INVALID_DATA),
    ],
)
def test_places_in_a_file_that_cannot_be(folder: Path, entries: dict[str, str], code: str) -> None:
    assert codes(stored(folder, {"location": "data.bin", **entries})) == [code]


def test_weights_may_overlap(folder: Path) -> None:
    """Two weights in the same bytes are two weights; nothing writes to them."""
    path = stored(folder, {"location": "data.bin"}, {"location": "data.bin", "offset": "4"})
    with penstock.compile(path).load().session() as session:
        got = session.run({"x": np.zeros(6, np.float32)})["y"]
    np.testing.assert_array_equal(got, np.arange(6) * 2 + 1)


# Structure -----------------------------------------------------------------------------------------------------------


def nested(depth: int) -> onnx.ModelProto:
    """Branches within branches."""
    true = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["r"])], "b", [], [value("r")])
    for _ in range(depth):
        node = helper.make_node("If", ["yes"], ["r"], then_branch=body, else_branch=body)
        body = helper.make_graph([node], "b", [], [value("r")])
        body.node[0].attribute[1].g.CopyFrom(
            helper.make_graph([helper.make_node("Neg", ["x"], ["r"])], "b", [], [value("r")])
        )
    return model(true, *body.node, helper.make_node("Identity", ["r"], ["y"]))


def test_subgraphs_in_subgraphs() -> None:
    assert codes(nested(8)) == []
    assert MODEL_TOO_LARGE in codes(nested(20))
    deep = b""
    for field in (6, 5, 1) * 5000 + (7,):  # g of an attribute, of a node, of a graph ...; of a model
        deep = encode_varint(field << 3 | 2) + encode_varint(len(deep)) + deep
    with pytest.raises(ModelError) as caught:
        import_model(deep, CompilerContext())
    assert caught.value.code == UNREADABLE_MODEL


def function(name: str, *calls: str) -> Any:
    nodes = [helper.make_node(call, ["a"], [f"b{i}"], domain="own") for i, call in enumerate(calls)]
    result = helper.make_node("Sum", [f"b{i}" for i in range(len(calls))], ["c"])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["c"], [*nodes, result], imports)


@pytest.mark.parametrize(
    "functions",
    [
        [function("F", "F")],
        [function("F", "G"), function("G", "F")],
        [function("F", *["F1"] * 8), *(function(f"F{i}", *[f"F{i + 1}"] * 8) for i in range(1, 15)), function("F15")],
    ],
    ids=["itself", "each other", "8 to the power of 15"],
)
def test_functions_without_end(functions: Sequence[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.compiler.frontends.onnx.importer.MAX_OPS", 2000)
    assert MODEL_TOO_LARGE in codes(model(helper.make_node("F", ["x"], ["y"], domain="own"), functions=functions))


NEG = helper.make_node("Neg", ["x"], ["y"])


def weighed(name: str, dims: Sequence[int], raw: bytes = b"") -> onnx.ModelProto:
    tensor = TensorProto(name=name, data_type=F, dims=dims, raw_data=raw)
    return model(NEG, weights=[tensor])


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (weighed("w", [2**62, 2**62]), MODEL_TOO_LARGE),
        (weighed("w", [0, 2**39, 2**39]), MODEL_TOO_LARGE),
        (weighed("w", [2**20, 2**10], b"\0" * 16), INVALID_DATA),
        (weighed("w", [1], b"\0" * 16), INVALID_DATA),
        (weighed("w", [-4], b"\0" * 16), INVALID_DATA),
        (weighed("w", [1] * 100_000, b"\0" * 4), MODEL_TOO_LARGE),
        (weighed("", [1], b"\0" * 4), INVALID_DATA),
        (model(NEG, weights=[numpy_helper.from_array(np.zeros(1), "w")] * 2), DUPLICATE_NAME),
        (model(NEG, helper.make_node("Abs", ["x"], ["y"])), DUPLICATE_NAME),
        (model(NEG, opset=2**62), BAD_VERSION),
        (model(NEG, opset=-(2**62)), BAD_VERSION),
    ],
)
def test_structure_that_cannot_be(made: onnx.ModelProto, code: str) -> None:
    found = check_model(made)
    assert code in [problem.code for problem in found]
    assert all(len(problem.sentence) < 1000 for problem in found)


@pytest.mark.parametrize("name", ["\n", "../../x", "\N{RIGHT-TO-LEFT OVERRIDE}", "x" * 100_000, "%s{0}"])
def test_names_of_any_text(name: str) -> None:
    """Names are data: any text is compiled, and comes back as the name of an output."""
    made = model(helper.make_node("Neg", ["x"], [name], name=name))
    made.graph.output[0].name = name
    with penstock.compile(made).load().session() as session:
        assert list(session.run({"x": np.zeros(6, np.float32)})) == [name]


# Memory --------------------------------------------------------------------------------------------------------------


COMPILE_IN_LITTLE = """
import resource, sys
from pathlib import Path

import penstock
from penstock.compiler.errors import ModelError

penstock.compile(sys.argv[1])  # whatever is loaded once
data = Path(sys.argv[2]).read_bytes()
pages = int(Path("/proc/self/statm").read_text().split()[0])
room = pages * resource.getpagesize() + (16 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    penstock.compile(data)
except ModelError as error:
    print(error.code, error)
"""


def test_a_model_that_takes_more_memory_than_there_is(tmp_path: Path) -> None:
    """A weight that is copied when it is packed, with no room for a copy. In a process of its own: what other tests
    have freed here would be room."""
    weight = numpy_helper.from_array(np.ones((6, 1 << 22), np.float32), "w")
    product = helper.make_node("MatMul", ["x", "w"], ["p"])
    total = helper.make_node("ReduceMax", ["p"], ["m"], keepdims=1)
    onnx.save(model(NEG), tmp_path / "small.onnx")
    onnx.save(
        model(product, total, helper.make_node("Add", ["x", "m"], ["y"]), weights=[weight]), tmp_path / "large.onnx"
    )
    command = [sys.executable, "-c", COMPILE_IN_LITTLE, str(tmp_path / "small.onnx"), str(tmp_path / "large.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(NOT_ENOUGH_MEMORY), done.stdout
    assert "takes more memory than there is" in done.stdout
