"""Artifacts of one hand-written kernel through the native runtime."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import penstock.runtime as runtime
from penstock.compiler.artifact import writer
from penstock.compiler.artifact.elf import LinkedImage, link
from penstock.compiler.artifact.plan import (
    BufferRange,
    Command,
    CommandKind,
    Plan,
    Space,
    TensorInfo,
    place_weights,
)
from penstock.compiler.artifact.plan_format import c_header, decode
from penstock.compiler.errors import ArtifactError, InternalError
from penstock.runtime.errors import PenstockError

N = 64
ADD = """
define void @add(ptr %ctx, ptr %buffers, i64 %begin, i64 %end) {
entry:
  %x = load ptr, ptr %buffers
  %second = getelementptr ptr, ptr %buffers, i64 1
  %w = load ptr, ptr %second
  %third = getelementptr ptr, ptr %buffers, i64 2
  %y = load ptr, ptr %third
  %weight = load float, ptr %w
  %any = icmp slt i64 %begin, %end
  br i1 %any, label %loop, label %out
loop:
  %i = phi i64 [%begin, %entry], [%next, %loop]
  %from = getelementptr float, ptr %x, i64 %i
  %value = load float, ptr %from
  %sum = fadd float %value, %weight
  %more = fadd float %sum, 0x3FF4000000000000
  %to = getelementptr float, ptr %y, i64 %i
  store float %more, ptr %to
  %next = add i64 %i, 1
  %go = icmp slt i64 %next, %end
  br i1 %go, label %loop, label %out
out:
  ret void
}
"""


def compiled(text: str) -> bytes:
    """The object of LLVM IR text."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = target.create_target_machine(reloc="pic", codemodel="small", opt=2)
    return machine.emit_object(llvm.parse_assembly(text))


@pytest.fixture(scope="module")
def image() -> LinkedImage:
    """The linked kernel."""
    return link([compiled(ADD)])


def contents(image: LinkedImage, isa: str = "x86-64-v3") -> writer.Contents:
    """An artifact that computes y = x + w + 1.25 in the arena, then copies it out."""
    size = 4 * N
    weight, arena = BufferRange(Space.WEIGHTS, 0, 4), BufferRange(Space.ARENA, 0, size)
    commands = [
        Command(CommandKind.DISPATCH, (BufferRange(Space.INPUT, 0, size), weight), (arena,), 0, N, 8, "first node"),
        Command(CommandKind.COPY, (arena,), (BufferRange(Space.OUTPUT, 0, size),), source="copy"),
    ]
    plan = Plan(
        [TensorInfo("x", "f32", (1, N))],
        [TensorInfo("y", "f32", (1, N))],
        ["add"],
        commands,
        place_weights([("w", 4)]),
        size,
    )
    return writer.Contents({isa: plan}, {isa: image}, [np.array([2.0], np.float32)], {"made": "by a test"}, {})


@pytest.fixture(scope="module")
def artifact(image: LinkedImage) -> bytes:
    """The artifact's bytes."""
    return writer.to_bytes(contents(image))


X = np.linspace(-1, 1, N, dtype=np.float32).reshape(1, N)


def test_runs_from_file_and_memory_with_any_threads(artifact: bytes, tmp_path: Path) -> None:
    """The same bits however it is loaded and run."""
    path = tmp_path / "model.pens"
    path.write_bytes(artifact)
    for source in (path, artifact):
        with runtime.load(source, verify=True) as model:
            assert [(t.name, str(t.dtype), t.shape) for t in model.inputs] == [("x", "float32", (1, N))]
            assert model.manifest == {"made": "by a test"}
            assert model.memory.arena == 4 * N
            for threads in (1, 2, 5):
                with model.session(threads=threads) as session:
                    np.testing.assert_array_equal(session.run({"x": X})["y"], X + np.float32(2) + np.float32(1.25))


def test_artifact_is_a_plain_zip_and_deterministic(artifact: bytes, image: LinkedImage, tmp_path: Path) -> None:
    """Members stored, aligned, listed; equal inputs give equal bytes."""
    assert writer.to_bytes(contents(image)) == artifact
    path = tmp_path / "model.pens"
    assert writer.write(contents(image), path) == len(artifact)
    assert path.read_bytes() == artifact
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {i.filename for i in archive.infolist()} == {
            "manifest.json",
            "plan.bin",
            "code/x86-64-v3",
            "weights.bin",
        }
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
        assert list(decode(archive.read("plan.bin"))) == ["x86-64-v3"]


def test_host_executor(artifact: bytes) -> None:
    """Tasks run on the host's threads; an executor that drops tasks is reported."""
    with runtime.load(artifact) as model:
        ran: list[int] = []

        def execute(task: Any, count: int) -> None:
            workers = [threading.Thread(target=task, args=(i,)) for i in range(count)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            ran.append(count)

        with model.session(threads=3, executor=execute) as session:
            np.testing.assert_allclose(session.run({"x": X})["y"], X + 3.25)
        assert ran == [3]
        with (
            model.session(threads=3, executor=lambda task, count: None) as session,
            pytest.raises(PenstockError, match="PENS-R013"),
        ):
            session.run({"x": X})


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({"z": X}, ["PENS-R011", "no input called z", "input x is missing"]),
        ({"x": X.astype(np.float64)}, ["PENS-R011", "float64", "float32"]),
        ({"x": X[0]}, ["PENS-R011", "rank 1"]),
        ({"x": [[1.0], [2.0, 3.0]]}, ["PENS-R011", "nput x is no array"]),
        ({"x": np.zeros((1, 3), np.float32)}, ["PENS-R011", "[1, 3]", "[1, 64]"]),
    ],
)
def test_wrong_inputs_are_named(artifact: bytes, feeds: dict[str, Any], words: list[str]) -> None:
    """One sentence with every problem."""
    with runtime.load(artifact) as model, model.session(threads=1) as session:
        with pytest.raises(PenstockError) as caught:
            session.run(feeds)
        assert all(word in str(caught.value) for word in words)


def test_outputs_can_be_bound_and_chosen(artifact: bytes) -> None:
    """``out`` writes where it is told; unknown names and unfit arrays are refused."""
    with runtime.load(artifact) as model, model.session(threads=1) as session:
        y = np.empty((1, N), np.float32)
        assert session.run({"x": X}, out={"y": y})["y"] is y
        np.testing.assert_allclose(y, X + 3.25)
        for call in ({"outputs": ["q"]}, {"out": {"y": np.empty((1, 2), np.float32)}}):
            with pytest.raises(PenstockError, match="PENS-R012"):
                session.run({"x": X}, **call)  # type: ignore[arg-type]
        strided = np.zeros((1, 2 * N), np.float32)[:, ::2]
        strided[:] = X
        np.testing.assert_allclose(session.run({"x": strided})["y"], X + 3.25)


def test_nan_and_infinity_flow(artifact: bytes) -> None:
    """IEEE all the way."""
    x = X.copy()
    x[0, :2] = np.nan, np.inf
    with runtime.load(artifact) as model, model.session(threads=2) as session:
        y = session.run({"x": x})["y"]
    assert np.isnan(y[0, 0])
    assert y[0, 1] == np.inf


def test_profile_names_the_source(artifact: bytes) -> None:
    """A record per command."""
    with runtime.load(artifact) as model, model.session(threads=1) as session:
        _, records = session.profile({"x": X})
    assert [r.source for r in records] == ["first node", "copy"]
    assert all(r.end_ns >= r.start_ns for r in records)


def test_every_truncation_is_refused(artifact: bytes) -> None:
    """No prefix of an artifact loads, and none crashes."""
    for size in [*range(300), *range(300, len(artifact), 61), len(artifact) - 1]:
        with pytest.raises(PenstockError, match="PENS-R00"):
            runtime.load(artifact[:size])


def test_flipped_bits_never_change_what_is_executed(artifact: bytes) -> None:
    """A flip is refused, or it is in the weights or in padding and the rest is as it was."""
    rng = random.Random(5)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(artifact)
        bit = rng.randrange(len(damaged) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            model = runtime.load(bytes(damaged))
        except PenstockError:
            refused += 1
            continue
        with model, model.session(threads=1) as session:
            result = session.run({"x": X})["y"] - X
            assert np.unique(np.round(result, 3)).size == 1
    assert refused > 500


def test_weights_are_checked_on_request(artifact: bytes) -> None:
    """A changed weight loads, but not with ``verify``."""
    at = artifact.rindex(np.float32(2.0).tobytes() + b"PK")
    damaged = artifact[:at] + b"\1" + artifact[at + 1 :]
    runtime.load(damaged).close()
    with pytest.raises(PenstockError, match="PENS-R005"):
        runtime.load(damaged, verify=True)


def test_artifact_for_another_cpu(image: LinkedImage) -> None:
    """A sentence, never an illegal instruction."""
    foreign = writer.to_bytes(contents(image, "x86-64-v9"))
    with pytest.raises(PenstockError, match="PENS-R006"):
        runtime.load(foreign)
    with pytest.raises(PenstockError, match="PENS-R007"):
        runtime.load(writer.to_bytes(contents(image)), isa="x86-64-v4")


def test_the_instruction_set_that_the_environment_asks_for(image: LinkedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken where the host asks for none."""
    data = writer.to_bytes(contents(image))
    monkeypatch.setenv("PENSTOCK_ISA", "x86-64-v9")
    with pytest.raises(PenstockError, match="PENS-R007: The instruction set x86-64-v9 was asked for"):
        runtime.load(data)
    with runtime.load(data, isa="x86-64-v3") as model:
        assert model.isa == "x86-64-v3"
    monkeypatch.setenv("PENSTOCK_ISA", "")
    runtime.load(data).close()


def test_other_bad_files(tmp_path: Path, artifact: bytes) -> None:
    """Missing, empty and foreign files, and another format version."""
    for name, data, code in (("empty", b"", "PENS-R002"), ("text", b"hello" * 100, "PENS-R002")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PenstockError, match=code):
            runtime.load(tmp_path / name)
    with pytest.raises(PenstockError, match="PENS-R001"):
        runtime.load(tmp_path / "missing.pens")
    newer = bytearray(artifact)
    newer[-8] = 99
    with pytest.raises(PenstockError, match="PENS-R003"):
        runtime.load(bytes(newer))


def test_sessions_share_a_model_on_threads(artifact: bytes) -> None:
    """Many sessions at once; one session used twice at once is refused or waits its turn, never wrong."""
    with runtime.load(artifact) as model:
        failures: list[str] = []

        def work(seed: int) -> None:
            x = np.random.default_rng(seed).standard_normal((1, N)).astype(np.float32)
            with model.session(threads=1) as session:
                for _ in range(200):
                    if not np.array_equal(session.run({"x": x})["y"], x + np.float32(2) + np.float32(1.25)):
                        failures.append(f"seed {seed}")

        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failures


def test_a_session_in_use_is_refused(artifact: bytes) -> None:
    """From inside a call (the host's executor): running, profiling and closing are PENS-R010, and the call goes on."""
    codes: list[str] = []

    def execute(task: Any, count: int) -> None:
        for call in (lambda: session.run({"x": X}), lambda: session.profile({"x": X}), session.close):
            with pytest.raises(PenstockError) as caught:
                call()
            codes.append(caught.value.code)
        for index in range(count):
            task(index)

    with runtime.load(artifact) as model, model.session(threads=2, executor=execute) as session:
        np.testing.assert_allclose(session.run({"x": X})["y"], X + 3.25)
    assert codes == ["PENS-R010"] * 3


def test_numpy_scalars_are_kept_alive(image: LinkedImage) -> None:
    """A scalar is an input of rank 0; its value is copied before it can vanish."""
    made = contents(image)
    plan = made.plans["x86-64-v3"]
    command = plan.commands[0]
    scalar = BufferRange(Space.INPUT, 0, 4, 1)
    commands = [replace(command, reads=(command.reads[0], scalar)), plan.commands[1]]
    inputs = [*plan.inputs, TensorInfo("w", "f32", ())]
    data = writer.to_bytes(replace(made, plans={"x86-64-v3": replace(plan, inputs=inputs, commands=commands)}))
    with runtime.load(data) as model, model.session(threads=1) as session:
        for value in (1.0, 5.0, -3.0):
            np.testing.assert_allclose(session.run({"x": X, "w": np.float32(value)})["y"], X + value + 1.25, rtol=1e-6)


def test_closed_things_say_so(artifact: bytes) -> None:
    """PENS-R014."""
    model = runtime.load(artifact)
    session = model.session(threads=1)
    session.close()
    with pytest.raises(PenstockError, match="PENS-R014"):
        session.run({"x": X})
    model.close()
    with pytest.raises(PenstockError, match="PENS-R014"):
        model.session()
    with pytest.raises(PenstockError, match="PENS-R009"):
        runtime.load(artifact).session(threads=5000)


def test_nothing_is_left_when_writing_fails(image: LinkedImage, tmp_path: Path) -> None:
    """A folder that is not there, and a full disk."""
    with pytest.raises(ArtifactError, match="PENS-A001"):
        writer.write(contents(image), tmp_path / "no" / "model.pens")
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError, match="No space"), open("/dev/full", "wb", buffering=0) as full:
            full.write(writer.to_bytes(contents(image)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_writing_is_interrupted(
    image: LinkedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C just before the end."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        writer.write(contents(image), tmp_path / "model.pens")
    assert list(tmp_path.iterdir()) == []


def test_undefined_symbols_are_refused() -> None:
    """A kernel that would call libm."""
    text = "declare float @expf(float)\n" + ADD.replace(
        "%more = fadd float %sum, 0x3FF4000000000000", "%more = call float @expf(float %sum)"
    )
    with pytest.raises(InternalError, match="expf"):
        link([compiled(text)])


def test_c_header_follows_the_format() -> None:
    """runtime/native/plan_format.h is generated from the records."""
    header = Path(runtime.__file__).parent / "native" / "plan_format.h"
    assert header.read_text() == c_header()


def test_runtime_loads_numpy_and_nothing_else() -> None:
    """``import penstock.runtime`` in a fresh interpreter."""
    code = (
        "import sys, penstock.runtime\n"
        "files = {n: getattr(m, '__file__', None) or '' for n, m in list(sys.modules.items())}\n"
        "print(*{n.split('.')[0] for n, f in files.items() if 'site-packages' in f})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    third_party = set(done.stdout.split()) - {"penstock", "numpy", "sitecustomize", "usercustomize"}
    assert {name for name in third_party if not name.startswith(("_", "__editable__"))} == set()
