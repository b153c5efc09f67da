"""The commands: what they print, what they write, what they refuse."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from unit.cli.conftest import Ran

from penstock.compiler.errors import (
    BAD_INPUT,
    BAD_VALUE,
    CANNOT_WRITE_OUTPUT,
    IR_SYNTAX,
    MISSING_PACKAGE,
    MODEL_NOT_FOUND,
    UNKNOWN_OPTION,
    UNKNOWN_PASS,
    UNKNOWN_TARGET,
)

Program = Callable[..., Ran]


def error(ran: Ran, code: str, words: str = "") -> None:
    """``ran`` ended with one sentence and ``code``."""
    assert ran.status == 2, ran
    first = ran.err.splitlines()[0]
    assert first.startswith("error: ")
    assert f"[{code}]" in first
    assert words in first


# compile -------------------------------------------------------------------------------------------------------------


def test_compile_writes_an_artifact_and_says_what_it_did(penstock: Program, mlp: Path, artifact: Path) -> None:
    ran = penstock("compile", mlp)
    assert ran.status == 0
    assert ran.err == "", "no progress where nobody watches"
    assert Path("mlp_b1.pens").read_bytes() == artifact.read_bytes()
    for word in ("import", "simplify", "package", "kernels", "memory", "artifact", "total", "x86-64-v4"):
        assert word in ran.out


def test_compile_without_winograd(penstock: Program, tmp_path: Path) -> None:
    """The flag and the pass's option say the same; without them, large convolutions are transformed."""
    weights = np.ones((16, 16, 3, 3), np.float32)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 24, 24])
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1] * 4)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [image], [result], [onnx.numpy_helper.from_array(weights, "w")])
    path = tmp_path / "conv.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    assert "winograd_conv" in penstock("compile", path, "--to", "layout").out
    for options in (("--no-winograd",), ("-p", "winograd{max-tile=0}")):
        assert "winograd_conv" not in penstock("compile", path, "--to", "layout", *options).out


def test_compile_without_compression(penstock: Program, mlp: Path) -> None:
    """The report and ``info`` say what compression saves; the flag turns it off."""
    small = ("-p", "compress-weights{many-bytes=1 least=1}")
    assert "without loss: " in penstock("compile", mlp, "-o", "m.pens", *small).out
    assert "  compress " in penstock("info", "m.pens").out
    assert "without loss" not in penstock("compile", mlp, "-o", "m.pens", *small, "--no-compress").out
    assert "  compress " not in penstock("info", "m.pens").out


def test_compile_with_narrow_weights(penstock: Program, mlp: Path) -> None:
    """The report, and later ``info``, say what is rounded."""
    ran = penstock("compile", mlp, "-o", "m.pens", "--precision", "bf16-weights")
    assert ran.status == 0
    assert "note: precision bf16-weights: " in ran.out
    assert "rounds   bf16-weights: " in penstock("info", "m.pens").out
    error(penstock("compile", mlp, "--precision", "half"), BAD_VALUE, "the precision cannot be half")


def test_compile_json(penstock: Program, mlp: Path) -> None:
    facts = json.loads(penstock("compile", mlp, "-o", "m.pens", "--json").out)
    assert facts["artifact"] == "m.pens"
    assert facts["artifact_bytes"] == Path("m.pens").stat().st_size
    assert facts["phases"][0]["name"] == "import"


def test_compile_times_of_passes_and_quiet(penstock: Program, mlp: Path) -> None:
    assert "  form-dispatches" in penstock("compile", mlp, "--time").out
    assert penstock("compile", mlp, "-q").out == ""


def test_compile_part_of_the_way_and_on(penstock: Program, mlp: Path, artifact: Path) -> None:
    assert penstock("compile", mlp, "--to", "fuse", "-o", "fused.mlir").status == 0
    assert "graph.dispatch" in Path("fused.mlir").read_text()
    assert penstock("compile", "--from", "lower", "fused.mlir", "-o", "on.pens").status == 0
    assert Path("on.pens").read_bytes() == artifact.read_bytes()
    assert "graph.dispatch" in penstock("compile", mlp, "--to", "fuse").out


def test_compile_prints_ir(penstock: Program, mlp: Path) -> None:
    ran = penstock("compile", mlp, "--print-ir-after", "fuse", "--print-ir-before", "cse")
    assert ran.err.count("// ----- IR after phase fuse -----") == 1
    assert ran.err.count("// ----- IR before cse -----") >= 2
    error(penstock("compile", mlp, "--print-ir-after", "fse"), BAD_VALUE, "did you mean 'fuse'?")


def test_compile_with_pass_options(penstock: Program, mlp: Path) -> None:
    few = json.loads(penstock("compile", mlp, "--json", "-p", "fuse{max-ops=1}").out)
    usual = json.loads(penstock("compile", mlp, "--json").out)
    assert few["launches"] > usual["launches"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere.onnx",), MODEL_NOT_FOUND, "nowhere.onnx"),
        (("{mlp}", "-o", "no/such/folder/m.pens"), CANNOT_WRITE_OUTPUT, "no/such/folder does not exist"),
        (("{mlp}", "--target", "gpuu"), UNKNOWN_TARGET, "gpuu"),
        (("{mlp}", "--dim", "batch"), BAD_VALUE, "--dim batch is not NAME=VALUE"),
        (("{mlp}", "-p", "fse"), UNKNOWN_PASS, "did you mean"),
    ],
)
def test_compile_refusals(penstock: Program, mlp: Path, arguments: tuple[str, ...], code: str, words: str) -> None:
    error(penstock("compile", *(a.format(mlp=mlp) for a in arguments)), code, words)
    assert list(Path().iterdir()) == [], "nothing is left behind"


def test_compile_to_a_full_disk_leaves_nothing(penstock: Program, mlp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.compiler.artifact import writer
    from penstock.compiler.errors import CANNOT_WRITE

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "write_to", full)
    error(penstock("compile", mlp), CANNOT_WRITE, "the disk is full")
    assert list(Path().iterdir()) == []


# run -----------------------------------------------------------------------------------------------------------------


def test_run_random_inputs_are_the_same_each_time(penstock: Program, artifact: Path) -> None:
    first = json.loads(penstock("run", artifact, "--random", "--json").out)
    again = json.loads(penstock("run", artifact, "--random", "0", "--json", "--threads", 2).out)
    other = json.loads(penstock("run", artifact, "--random", "7", "--json").out)
    assert first["outputs"] == again["outputs"] != other["outputs"]
    assert first["outputs"][0]["shape"] == [1, 10]


def test_run_on_files(penstock: Program, artifact: Path, mlp: Path) -> None:
    inputs, expected = dict(np.load(mlp.with_suffix(".npz"))), dict(np.load(mlp.with_suffix(".expected.npz")))
    (name,) = inputs
    np.save("x.npy", inputs[name])
    assert penstock("run", artifact, "-i", "x.npy", "-o", "y.npy").status == 0
    assert penstock("run", artifact, "-i", f"{name}=x.npy", "-o", "y.npz").status == 0
    assert penstock("run", mlp, "-i", mlp.with_suffix(".npz"), "-o", "z.npz", "--repeat", 3).status == 0
    np.testing.assert_allclose(np.load("y.npy"), expected["logits"], atol=1e-5)
    assert np.load("y.npz")["logits"].tobytes() == np.load("y.npy").tobytes() == np.load("z.npz")["logits"].tobytes()


def test_compile_keeps_values(penstock: Program, mlp: Path) -> None:
    """A node's value as one more output; unknown ones are refused."""
    import onnx

    node = onnx.load(mlp).graph.node[0]
    name = node.name or f"{node.op_type}({node.output[0]})"
    assert penstock("compile", mlp, "-o", "m.pens", "-q", "--keep", name).status == 0
    rows = json.loads(penstock("run", "m.pens", "--random", "--json").out)["outputs"]
    assert [row["name"] for row in rows] == ["logits", name]
    ran = penstock("compile", mlp, "-o", "m.pens", "--keep", name + "x")
    assert (ran.status, "PENS-O001" in ran.err, f"did you mean '{name}'" in ran.err) == (2, True, True)
    penstock("compile", mlp, "--dump-dir", "dump", "-q", "-o", "m.pens")
    ran = penstock("compile", "dump/06-fuse.mlir", "--keep", name)
    assert (ran.status, "PENS-O002" in ran.err) == (2, True)


def test_run_for_one_output(penstock: Program, artifact: Path) -> None:
    """Chosen by name; an unknown one is refused."""
    ran = penstock("run", artifact, "--random", "--fetch", "logits", "--json")
    assert (ran.status, [row["name"] for row in json.loads(ran.out)["outputs"]]) == (0, ["logits"])
    ran = penstock("run", artifact, "--random", "--fetch", "mask")
    assert (ran.status, "PENS-R012" in ran.err, "no output called mask" in ran.err) == (2, True, True)


def test_run_against_onnxruntime(penstock: Program, artifact: Path, mlp: Path) -> None:
    ran = penstock("run", artifact, "--random", "--check-against", "onnxruntime", "--model", mlp)
    assert ran.status == 0
    assert re.search(r"logits .* ok$", ran.out, re.MULTILINE)
    ran = penstock("run", mlp, "--random", "--check-against", "onnxruntime", "--tolerance", "-1", "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["agrees"] is False


def test_run_compares_nan_and_infinity_by_place() -> None:
    from penstock.tools.commands.run import compare

    a = np.array([1, np.nan, np.inf], np.float32)
    assert compare(a, a.copy(), 0)["agrees"]
    assert not compare(a, np.array([1, np.inf, np.nan], np.float32), 1)["agrees"]
    assert not compare(a, a.astype(np.float64), 1)["agrees"]
    assert compare(np.array([3]), np.array([3]), 0)["agrees"]
    assert not compare(np.array([3]), np.array([4]), 9)["agrees"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), BAD_INPUT, "no value for the inputs 'x'"),
        (("-i", "nowhere.npy"), BAD_INPUT, "nowhere.npy cannot be read"),
        (("-i", "text.npy"), BAD_INPUT, "text.npy cannot be read"),
        (("--random", "-o", "no/y.npz"), CANNOT_WRITE_OUTPUT, "the folder no does not exist"),
        (("--random", "--check-against", "onnxruntime"), BAD_INPUT, "is not an ONNX file"),
        (("-i", "y=small.npy", "--random"), "PENS-R011", "y"),
        (("-i", "x=small.npy"), "PENS-R011", "x"),
    ],
)
def test_run_refusals(penstock: Program, artifact: Path, arguments: tuple[str, ...], code: str, words: str) -> None:
    Path("text.npy").write_text("this is no array")
    np.save("small.npy", np.zeros(3, np.float32))
    error(penstock("run", artifact, *arguments), code, words)


def test_run_of_what_is_no_artifact(penstock: Program) -> None:
    Path("m.pens").write_bytes(b"nothing of the kind" * 100)
    error(penstock("run", "m.pens", "--random"), "PENS-R002", "not a penstock artifact")


def test_a_package_that_is_not_there(penstock: Program, mlp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    ran = penstock("run", mlp, "--random", "--check-against", "onnxruntime")
    error(ran, MISSING_PACKAGE, "onnxruntime is not installed")
    assert "pip install onnxruntime" in ran.err


# bench, profile ------------------------------------------------------------------------------------------------------


def test_bench(penstock: Program, mlp: Path) -> None:
    ran = penstock("bench", mlp, "--repeat", 5, "--threads", 1, "--threads", 2, "--against", "onnxruntime", "--json")
    rows = json.loads(ran.out)["results"]
    assert [(row["engine"].split()[0], row["threads"]) for row in rows] == [
        ("penstock", 1),
        ("onnxruntime", 1),
        ("penstock", 2),
        ("onnxruntime", 2),
    ]
    for row in rows:
        assert row["runs"] == 5
        assert 0 < row["least"] <= row["p50"] <= row["p90"] <= row["p99"]
    assert "p99" in penstock("bench", mlp, "--repeat", 2).out


def test_distribution() -> None:
    from penstock.tools.commands.bench import distribution

    found = distribution([i / 100 for i in range(100, 0, -1)])
    assert (found["least"], found["p50"], found["p90"], found["p99"]) == (0.01, 0.51, 0.91, 1.0)
    assert found["per_second"] == pytest.approx(1 / 0.505)


def test_profile_names_the_models_nodes(penstock: Program, artifact: Path, mlp: Path) -> None:
    ran = penstock("profile", artifact, "--repeat", 2, "--json", "--trace", "trace.json")
    facts = json.loads(ran.out)
    nodes = {node.name for node in onnx.load(mlp).graph.node}
    named = {name for row in facts["nodes"] for name in row["source"].split(" + ")}
    assert named
    assert named <= nodes
    assert facts["ceilings"]["flops_per_second"] > 1e9
    assert all(row["roofline"] >= 0 for row in facts["nodes"])
    events = json.loads(Path("trace.json").read_text())["traceEvents"]
    assert len(events) == len(facts["nodes"])
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
    text = penstock("profile", artifact, "--repeat", 1, "--top", 1).out
    assert "of the roofline" in text
    assert f"and {len(events) - 1} more" in text


def test_the_roofline() -> None:
    from penstock.tools.ceilings import Ceilings
    from penstock.tools.commands.profile import Row

    ceilings = Ceilings(flops=100e9, bandwidth=10e9)
    assert ceilings.least_seconds(200_000_000, 1000) == pytest.approx(2e-3)
    assert ceilings.least_seconds(1000, 10_000_000) == pytest.approx(1e-3)
    assert Row("n", "k", 4e-3, 200_000_000, 1000).roofline(ceilings) == pytest.approx(0.5)
    assert ceilings.is_compute_bound(200_000_000, 1000)
    assert not ceilings.is_compute_bound(1000, 10_000_000)


# check, info, ops, targets -------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """A model with two things wrong."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", ["b", "s"], ["n"], name="product"),
        helper.make_node("NoSuchThing", ["b"], ["m"], name="invented"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("b", TensorProto.FLOAT, [1, 4, 4]), value("s", TensorProto.FLOAT, [1, 1, 4])],
        [value("n", TensorProto.FLOAT, None), value("m", TensorProto.FLOAT, [1])],
    )
    path = tmp_path / "refused.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_check_tells_everything_at_once(penstock: Program, refused: Path) -> None:
    ran = penstock("check", refused)
    assert ran.status == 2
    assert "product" in ran.out
    assert "invented" in ran.out
    assert "2 places to change" in ran.out
    facts = json.loads(penstock("check", refused, "--json").out)
    assert facts["compiles"] is False
    assert [p["node"] for p in facts["problems"]] == ["product", "invented"]
    assert all(p["code"].startswith("PENS-M") and p["reason"] for p in facts["problems"])


def test_compile_tells_the_same(penstock: Program, refused: Path) -> None:
    ran = penstock("compile", refused)
    assert ran.status == 2
    assert "for 2 reasons" in ran.err
    assert "product" in ran.err
    assert "invented" in ran.err


def test_check_of_a_good_model(penstock: Program, mlp: Path) -> None:
    ran = penstock("check", mlp)
    assert (ran.status, ran.err) == (0, "")
    assert "can be compiled for cpu" in ran.out
    assert json.loads(penstock("check", mlp, "--json", "--import-only").out) == {
        "model": str(mlp),
        "compiles": True,
        "problems": [],
        "notes": [],
    }


def test_info_of_an_artifact_and_a_model(penstock: Program, artifact: Path, mlp: Path) -> None:
    facts = json.loads(penstock("info", artifact, "--json").out)
    assert facts["model"] == "mlp_b1.onnx"
    assert facts["inputs"][0]["name"] == "x"
    assert "weights.bin" in facts["members"]
    assert "launched" in penstock("info", artifact).out
    facts = json.loads(penstock("info", mlp, "--json").out)
    assert facts["outputs"][0] == {"name": "logits", "dtype": "f32", "shape": [1, 10]}
    assert "Gemm" in penstock("info", mlp).out


def test_ops_lists_both_levels(penstock: Program) -> None:
    facts = json.loads(penstock("ops", "--json").out)
    assert facts["onnx"]["Conv"]
    assert facts["graph"]["graph.conv"]
    text = penstock("ops", "softmax").out
    assert "LogSoftmax" in text
    assert "graph.softmax" in text
    assert "Conv" not in text
    error(penstock("ops", "Sofmax"), UNKNOWN_OPTION, "did you mean 'Softmax'?")


def test_targets(penstock: Program) -> None:
    rows = json.loads(penstock("targets", "--json").out)
    assert {"cpu", "null"} <= {row["target"] for row in rows}
    assert any(level["runs_here"] for row in rows for level in row["levels"])
    assert "this machine runs it" in penstock("targets").out


# opt -----------------------------------------------------------------------------------------------------------------


def test_opt_on_a_model(penstock: Program, mlp: Path) -> None:
    ran = penstock("opt", mlp, "-p", "simplify,layout,fuse", "--time", "--no-locations")
    assert "graph.dispatch" in ran.out
    assert "loc(" not in ran.out
    assert re.search(r"fuse +\d.*ops\n +form-dispatches", ran.err)


def test_opt_output_is_a_dump_with_weights(penstock: Program, mlp: Path, artifact: Path) -> None:
    assert penstock("opt", mlp, "-p", "simplify,quantize,place,layout", "-o", "out/x.mlir").status == 0
    assert list(Path("out/weights").glob("*.bin"))
    assert penstock("compile", "out/x.mlir", "-o", "x.pens", "--from", "fuse").status == 0
    assert Path("x.pens").read_bytes() == artifact.read_bytes()


def test_opt_refusals(penstock: Program) -> None:
    error(penstock("opt", "nowhere.mlir"), IR_SYNTAX, "nowhere.mlir cannot be read")
    Path("b.mlir").write_bytes(b"\xff\xfe")
    error(penstock("opt", "b.mlir"), IR_SYNTAX, "is not text")
    error(penstock("opt"), BAD_VALUE, "give a FILE")
    Path("c.mlir").write_text("func.func @f() { func.return }")
    error(penstock("opt", "c.mlir", "-p", "cse", "--to", "fuse"), BAD_VALUE, "-p and --from/--to")


def test_opt_lists_passes(penstock: Program) -> None:
    text = penstock("opt", "--list").out
    assert " 6 fuse: graph -> graph dispatches" in text
    assert "form-dispatches{max-ops}: " in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(penstock: Program, mlp: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    error(penstock("compile", mlp, "-o", "locked/m.pens"), CANNOT_WRITE_OUTPUT)


# code ----------------------------------------------------------------------------------------------------------------


def test_code_of_a_dump_and_of_a_pipe(penstock: Program, mlp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    assert penstock("compile", mlp, "--dump-dir", "dump", "-q").status == 0
    listed = penstock("code", "dump/07-lower.mlir", "--list")
    assert listed.status == 0
    assert len(listed.out.splitlines()) == 3
    assert "define" in penstock("code", "dump/09-emit.mlir", "--form", "llvm").out
    monkeypatch.setattr("sys.stdin", io.StringIO(penstock("opt", "dump/07-lower.mlir").out))
    assert penstock("code", "-", "--list").out == listed.out
