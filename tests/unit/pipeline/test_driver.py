"""Compiling: determinism, ranges of phases, dumps and what they are good for, failures and their reproducers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from unit.pipeline.small import MLP, MODELS, NEGATION, parsed

import penstock
from penstock.compiler import pipeline
from penstock.compiler.driver import CompileOptions, run_phases
from penstock.compiler.dumps import DumpWriter, load_weights, read_state, save_weights
from penstock.compiler.errors import (
    BAD_DUMP,
    BAD_VALUE,
    CANNOT_WRITE_OUTPUT,
    MISSING_WEIGHTS,
    PASS_FAILED,
    PASS_LEFT_INVALID_IR,
    PHASE_ORDER,
    UNKNOWN_ISA,
    UNKNOWN_OPTION,
    UNKNOWN_TARGET,
    InternalError,
    IRError,
    OptionError,
    TargetError,
)
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.pipeline import Group, parse_pipeline
from penstock.compiler.runner import Observer, Runner
from penstock.compiler.weights import WeightStore


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Dumps of the small MLP, and its artifact."""
    folder = tmp_path_factory.mktemp("dumps")
    result = run_phases(MLP, CompileOptions(), observers=[DumpWriter(folder)])
    assert result.artifact is not None
    return folder, result.artifact.bytes


def test_compile_and_run_matches_onnxruntime() -> None:
    artifact = penstock.compile(MLP)
    inputs = dict(np.load(MLP.with_suffix(".npz")))
    expected = dict(np.load(MLP.with_suffix(".expected.npz")))
    outputs = artifact.load().session(threads=1).run(inputs)
    for name, wanted in expected.items():
        np.testing.assert_allclose(outputs[name], wanted, atol=1e-5)


def test_the_same_model_gives_the_same_bytes_from_path_bytes_and_twice(tmp_path: Path) -> None:
    first, second = penstock.compile(MLP), penstock.compile(str(MLP))
    assert first.bytes == second.bytes
    copy = tmp_path / MLP.name
    shutil.copy(MLP, copy)
    assert penstock.compile(copy).bytes == first.bytes, "nothing of the path goes in but the file's name"
    assert len(penstock.compile(MLP.read_bytes()).bytes) > 0


def test_save_writes_what_bytes_holds(tmp_path: Path) -> None:
    artifact = penstock.compile(MLP)
    artifact.save(tmp_path / "m.pens")
    assert (tmp_path / "m.pens").read_bytes() == artifact.bytes
    assert [p.name for p in tmp_path.iterdir()] == ["m.pens"]
    assert artifact.report.artifact_bytes == len(artifact.bytes)


def test_the_report_names_every_phase_and_adds_up() -> None:
    report = penstock.compile(MLP).report
    assert [record.name for record in report.phases] == list(pipeline.PHASE_NAMES)
    assert report.seconds == pytest.approx(sum(record.seconds for record in report.phases))
    facts = json.loads(json.dumps(report.as_dict()))
    assert facts["kernels"].keys() == {"x86-64-v4", "x86-64-v3"}
    assert facts["memory"]["weights"] > 0
    assert [step["name"] for step in facts["phases"][1]["steps"]] == list(pipeline.phase("simplify").passes)


def test_only_the_levels_asked_for() -> None:
    report = penstock.compile(MLP, target="cpu:x86-64-v3").report
    assert list(report.kernels) == ["x86-64-v3"]


@pytest.mark.parametrize(
    ("options", "error", "code", "words"),
    [
        ({"target": "cpv"}, TargetError, UNKNOWN_TARGET, "did you mean 'cpu'"),
        ({"target": "cpu:x86-64-v9"}, TargetError, UNKNOWN_ISA, "x86-64-v9"),
        ({"taget": "cpu"}, OptionError, UNKNOWN_OPTION, "there is no option 'taget'; did you mean 'target'?"),
        ({"dims": {"n": 0}}, OptionError, BAD_VALUE, "the dimension n cannot be 0"),
        ({"precision": "bf61"}, OptionError, BAD_VALUE, "the precision cannot be bf61"),
        ({"dims": {"n": True}}, OptionError, BAD_VALUE, "the dimension n cannot be True"),
    ],
)
def test_wrong_options(options: dict[str, object], error: type[Exception], code: str, words: str) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        penstock.compile(MLP, **options)  # type: ignore[arg-type]
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_debug_holds_the_ir_after_each_phase() -> None:
    import io
    import zipfile

    plain, debug = penstock.compile(MLP), penstock.compile(MLP, keep_debug=True)
    with zipfile.ZipFile(io.BytesIO(debug.bytes)) as archive:
        names = [name for name in archive.namelist() if name.startswith("debug/")]
        assert "debug/01-import.mlir" in names
        assert b"graph.dispatch" in archive.read("debug/06-fuse.mlir")
    assert len(debug.bytes) > len(plain.bytes)
    inputs = dict(np.load(MLP.with_suffix(".npz")))
    outputs = [artifact.load().session(threads=1).run(inputs)["logits"] for artifact in (plain, debug)]
    assert outputs[0].tobytes() == outputs[1].tobytes()


# Dumps ---------------------------------------------------------------------------------------------------------------


def test_every_phase_is_dumped_with_a_header_and_without_weights(dumped: tuple[Path, bytes]) -> None:
    folder, _ = dumped
    phases = [f"{p.number:02d}-{p.name}.mlir" for p in pipeline.PHASES]
    assert [name for name in phases if not (folder / name).exists()] == []
    for path in sorted(folder.glob("*.mlir")):
        text = path.read_text()
        assert text.startswith("// penstock ")
        assert "source nodes: " in text
        assert len(text.splitlines()) < 2000
        assert max(map(len, text.splitlines())) < 4000
        assert read_state(text) is not None
    header = (folder / "05-layout.mlir").read_text()
    assert "Chooses the layouts" in header
    assert "pack-weights: 3 PackMatmul" in header


def test_any_dump_goes_on_to_the_same_artifact(dumped: tuple[Path, bytes]) -> None:
    folder, expected = dumped
    for path in sorted(folder.glob("*.mlir")):
        result = run_phases(path, CompileOptions())
        assert result.artifact is not None
        assert result.artifact.bytes == expected, path.name


def test_an_edited_dump_goes_on_with_the_edit(dumped: tuple[Path, bytes], tmp_path: Path) -> None:
    folder, _ = dumped
    shutil.copytree(folder, tmp_path / "dump")
    path = tmp_path / "dump" / "02-simplify.mlir"
    text = path.read_text()
    assert "graph.relu" in text
    path.write_text(text.replace("graph.relu", "graph.neg"))
    edited = run_phases(path, CompileOptions())
    assert edited.artifact is not None
    outputs = edited.artifact.load().session(threads=1).run(dict(np.load(MLP.with_suffix(".npz"))))
    expected = dict(np.load(MLP.with_suffix(".expected.npz")))
    assert not np.allclose(outputs["logits"], expected["logits"])


def test_dumps_are_the_same_each_time(dumped: tuple[Path, bytes], tmp_path: Path) -> None:
    folder, _ = dumped
    run_phases(MLP, CompileOptions(), observers=[DumpWriter(tmp_path)])
    assert {p.relative_to(tmp_path) for p in tmp_path.rglob("*")} == {p.relative_to(folder) for p in folder.rglob("*")}
    for path in tmp_path.rglob("*.mlir"):
        assert path.read_text() == (folder / path.relative_to(tmp_path)).read_text()


def test_every_printed_form_reads_back(dumped: tuple[Path, bytes]) -> None:
    folder, _ = dumped
    for path in sorted(folder.glob("*.mlir")):
        module, _ = parsed(path.read_text())
        again, _ = parsed(to_text(module))
        assert to_text(again) == to_text(module)


def test_from_a_phase_that_cannot_come_next(dumped: tuple[Path, bytes]) -> None:
    folder, _ = dumped
    cases = [
        (folder / "02-simplify.mlir", "lower", "the phases up to lower are missing"),
        (folder / "02-simplify.mlir", "import", "is IR, which is not imported again"),
        (MLP, "fuse", "is a model, so the first phase is import, not fuse"),
    ]
    for source, first, words in cases:
        with pytest.raises(OptionError, match=words) as caught:
            run_phases(source, CompileOptions(), first=first)
        assert caught.value.code == PHASE_ORDER


def test_a_dump_without_its_weights(dumped: tuple[Path, bytes], tmp_path: Path) -> None:
    folder, _ = dumped
    shutil.copy(folder / "05-layout.mlir", tmp_path)
    with pytest.raises(
        IRError, match=r"05-layout.mlir refers to the weight '.*' and \d more, which is not there"
    ) as caught:
        run_phases(tmp_path / "05-layout.mlir", CompileOptions())
    assert caught.value.code == MISSING_WEIGHTS


@pytest.mark.parametrize("damage", ["short", "index", "entry", "gone"])
def test_damaged_weights(dumped: tuple[Path, bytes], tmp_path: Path, damage: str) -> None:
    folder, _ = dumped
    shutil.copytree(folder / "weights", tmp_path / "weights")
    index = tmp_path / "weights" / "index.json"
    some = next((tmp_path / "weights").glob("*.bin"))
    if damage == "short":
        some.write_bytes(some.read_bytes()[:-1])
    elif damage == "gone":
        some.unlink()
    else:
        index.write_text("{" if damage == "index" else '{"w": {"file": "x.bin", "dtype": "float99", "shape": [1]}}')
    with pytest.raises(IRError) as caught:
        load_weights(tmp_path / "weights", WeightStore())
    assert caught.value.code == MISSING_WEIGHTS


def test_weights_of_every_kind_come_back(tmp_path: Path) -> None:
    import ml_dtypes

    store, again = WeightStore(), WeightStore()
    arrays = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array(2.5),
        np.zeros((0, 3), np.int8),
        np.array([True, False]),
        np.array([1, 2], ml_dtypes.bfloat16),
        np.array([[np.nan, np.inf]], np.float16),
    ]
    keys = [store.add(array, f"w{i}") for i, array in enumerate(arrays)]
    save_weights(tmp_path, store, keys)
    load_weights(tmp_path, again)
    for key, array in zip(keys, arrays, strict=True):
        assert again[key].dtype == array.dtype
        assert again[key].shape == array.shape
        assert again[key].tobytes() == array.tobytes()


def test_a_damaged_header(dumped: tuple[Path, bytes], tmp_path: Path) -> None:
    folder, _ = dumped
    text = (folder / "05-layout.mlir").read_text()
    (tmp_path / "x.mlir").write_text(re.sub(r"penstock-dump: .*", "penstock-dump: {", text))
    with pytest.raises(IRError) as caught:
        run_phases(tmp_path / "x.mlir", CompileOptions())
    assert caught.value.code == BAD_DUMP


def test_a_kernel_from_elsewhere_is_refused(dumped: tuple[Path, bytes], tmp_path: Path) -> None:
    folder, _ = dumped
    shutil.copytree(folder, tmp_path / "dump")
    path = tmp_path / "dump" / "07-lower.mlir"
    path.write_text(path.read_text() + "// penstock-include: ../../x86-64-v4/other.mlir\n")
    with pytest.raises(IRError, match="belongs to no module") as caught:
        run_phases(path, CompileOptions())
    assert caught.value.code == BAD_DUMP


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError) as caught:
        run_phases(MLP, CompileOptions(), observers=[DumpWriter(tmp_path / "file" / "dumps")])
    assert caught.value.code == CANNOT_WRITE_OUTPUT


# Failures ------------------------------------------------------------------------------------------------------------


def test_a_failing_pass_leaves_a_reproducer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.tools.cli import main

    def broken(self: object, ctx: object, op: object) -> None:
        raise ZeroDivisionError("division of one by nothing")

    monkeypatch.setattr(pipeline.pass_class("share-kernels"), "apply", broken)
    with pytest.raises(InternalError) as caught:
        run_phases(MLP, CompileOptions(), reproducers=tmp_path)
    error = caught.value
    assert error.code == PASS_FAILED
    assert error.message == "the pass share-kernels failed with ZeroDivisionError: division of one by nothing."
    folder = error.reproducer
    assert folder is not None
    assert folder.parent == tmp_path
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    readme = (folder / "README.txt").read_text()
    command = "penstock opt input.mlir -p 'share-kernels,lower-dispatches"
    assert command in readme
    assert "ZeroDivisionError" in readme
    assert re.search(r"xdsl 0\.74", readme)
    assert "graph.dispatch" in (folder / "input.mlir").read_text()
    # What it says to run fails in the same way, and without the defect it does not.
    monkeypatch.chdir(folder)
    assert main(["opt", "input.mlir", "-p", "share-kernels"]) == 1
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main(["opt", "input.mlir", "-p", "share-kernels", "-o", str(tmp_path / "out.mlir")]) == 0


def test_invalid_ir_is_the_passs_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped(self: object, ctx: object, op: object) -> None:
        first = next(inner for inner in op.walk() if inner.name == "graph.neg")  # type: ignore[attr-defined]
        first.detach()
        next(inner for inner in op.walk() if inner.name == "func.return").parent.insert_op_before(  # type: ignore[attr-defined]
            first,
            next(inner for inner in op.walk() if inner.name == "func.return"),  # type: ignore[attr-defined]
        )

    monkeypatch.setattr(pipeline.pass_class("cse"), "apply", swapped)
    module, ctx = parsed()
    runner = Runner(ctx, verify_each=True)
    with pytest.raises(
        InternalError, match="the pass cse left invalid IR: it uses a value that is defined after"
    ) as caught:
        runner.run(module, parse_pipeline("dce,cse,dce"))
    assert caught.value.code == PASS_LEFT_INVALID_IR
    assert runner.completed == 1


def test_a_phase_border_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.pass_class("form-dispatches"), "apply", lambda *_: None)
    module, ctx = parsed()
    with pytest.raises(
        InternalError, match=r"the phase fuse left invalid IR: after the phase fuse, graph.neg may only"
    ):
        Runner(ctx).run(module, parse_pipeline("fuse"))


def test_a_users_error_in_a_pass_is_no_defect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: object, ctx: object, op: object) -> None:
        raise TargetError(UNKNOWN_ISA, "no such level.")

    monkeypatch.setattr(pipeline.pass_class("cse"), "apply", refuse)
    with pytest.raises(TargetError):
        run_phases(MLP, CompileOptions(), reproducers=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_observers_see_every_step() -> None:
    seen: list[str] = []

    class Watch(Observer):
        def before_phase(self, phase: pipeline.Phase, *_: object) -> None:
            seen.append(f"<{phase.name}")

        def after_phase(self, phase: pipeline.Phase, *_: object) -> None:
            seen.append(f"{phase.name}>")

        def before_pass(self, which: object, *_: object) -> None:
            seen.append(f"<{which}")

        def after_pass(self, which: object, *_: object) -> None:
            seen.append(f"{which}>")

    module, ctx = parsed()
    Runner(ctx, [Watch()]).run(module, [*parse_pipeline("dce"), Group((), pipeline.phase("place"))])
    assert seen == ["<dce", "dce>", "<place", "place>"]


def test_statistics_are_each_passs_own() -> None:
    text = NEGATION.replace(
        "func.return %b", '%c = graph.neg %b : (tensor<4xf32>) -> tensor<4xf32> loc("d")\n func.return %b'
    )
    module, ctx = parsed(text)
    records = Runner(ctx).run(module, parse_pipeline("dce,cse,dce"))
    assert [sum(record.statistics.values()) for record in records] == [1, 0, 0]
    assert [(record.ops_before, record.ops_after) for record in records] == [(5, 4), (4, 4), (4, 4)]


def test_all_tiny_models_are_there() -> None:
    assert len(list(MODELS.glob("*.onnx"))) >= 13


def test_ir_text_of_one_op_keeps_its_location() -> None:
    module, ctx = parsed()
    text = to_text(module)
    assert 'loc("neg")' in text
    assert "loc(unknown)" not in text
    assert to_text(parse_module(text, ctx)) == text
    assert "loc(" not in to_text(module, locations=False)
    assert '"graph.neg"(' in to_text(module, generic=True)
