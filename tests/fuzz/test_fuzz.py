"""Each fuzzer for a moment, with fixed seeds; and one run for every finding it ever had."""

from __future__ import annotations

import io
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz import artifacts, fuzz
from xdsl.dialects.builtin import StringAttr
from xdsl.parser.core import ForwardDeclaredValue

import penstock.runtime as runtime
from penstock.compiler.artifact import writer
from penstock.compiler.artifact.plan import BufferRange, Command, CommandKind, Plan, PlanError, Space
from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import IRError
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.locations import source_names
from penstock.compiler.verification import Violation, verify
from penstock.runtime.errors import PenstockError


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_damaged_models(start: int) -> None:
    for seed in range(start, start + 100):
        fuzz.reader(random.Random(seed))


def test_damaged_text() -> None:
    for seed in range(60):
        fuzz.text(random.Random(seed))


def test_a_string_without_end_is_found_at_once() -> None:
    """xDSL's lexer would try every way of cutting the rest of the line into pieces."""
    with pytest.raises(IRError, match=r"x\.mlir:1:6: this string does not end"):
        parse_module('%a = "' + "a" * 100 + "\n", CompilerContext(), "x.mlir")


@pytest.mark.parametrize("name", ["é", "\N{CJK UNIFIED IDEOGRAPH-65E5}", "\x1e", "\x00é", "a\u202eb", "\U0001f600"])
def test_names_of_every_script_read_back(name: str) -> None:
    """Of functions, in attributes and of nodes: the printer escapes them, and the lexer took that for bytes."""
    text = (
        f'func.func @"{name}"(%x: tensor<3xf32>) -> tensor<3xf32> {{\n'
        f'%y = graph.neg %x {{a = "{name}", b = ["x", "{name}"]}} : (tensor<3xf32>) -> tensor<3xf32> '
        f'loc(fused["{name}", "n"])\nfunc.return %y : tensor<3xf32> }}'
    )
    printed = to_text(parse_module(text, CompilerContext(), "x.mlir"))
    again = parse_module(printed, CompilerContext(), "x.mlir")
    assert to_text(again) == printed
    (op,) = (op for op in again.walk() if op.name == "graph.neg")
    assert source_names(op.location) == (name, "n")
    assert op.attributes["a"] == StringAttr(name)


def test_a_value_of_no_op_is_told() -> None:
    """The parser leaves it behind where the name is defined later, in a region that is isolated."""
    text = """func.func @f(%x: tensor<3xf32>) -> tensor<3xf32> {
        %y = graph.neg %x : (tensor<3xf32>) -> tensor<3xf32> loc("n") func.return %y : tensor<3xf32> }"""
    module = parse_module(text, CompilerContext(), "x.mlir")
    (op,) = (op for op in module.walk() if op.name == "graph.neg")
    op.operands[0] = ForwardDeclaredValue(op.operands[0].type)
    with pytest.raises(Violation, match="it uses a value that is not visible here"):
        verify(module)


@pytest.mark.parametrize("seed", [6138, 10004690, 10007330, 10009124])
def test_findings_in_text(seed: int) -> None:
    fuzz.text(random.Random(seed))


def test_memory_that_no_buffer_of_a_symbolic_model_is_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arena of a model with symbols is as large as its buffers are, whatever its plan says."""
    made = artifacts.symbolic()
    (plan,) = made.plans.values()
    reads = BufferRange(Space.INPUT, 0, plan.inputs[0].bytes)
    command = Command(CommandKind.DISPATCH, (reads,), (BufferRange(Space.ARENA, 0, 64),), source="k")
    changed = replace(plan, commands=[command], buffers=(), arena_bytes=64)
    with pytest.raises(PlanError):
        changed.validate()
    monkeypatch.setattr(Plan, "validate", lambda self: None)
    file = writer.to_bytes(replace(made, plans=dict.fromkeys(made.plans, changed)))
    with pytest.raises(PenstockError, match="damaged"):
        runtime.load(file)


@pytest.mark.parametrize("start", range(0, 600, 200))
def test_damaged_artifacts_in_python(start: int) -> None:
    for seed in range(start, start + 200):
        artifacts.use(random.Random(seed))


MANIFESTS: dict[str, bytes] = {
    "no text": b"\x80",
    "no JSON": b'{"inputs": [',
    "no object": b"[]",
    "a list in a list without end": b'{"a": ' + b"[" * 100_000,
    "a number of five thousand digits": b'{"commands": ' + b"1" * 5000 + b"}",
    "a number that is a truth value": b'{"commands": true}',
    "inputs that are none": b'{"inputs": 0.5}',
    "half a character": b'{"inputs": [{"name": "\\ud800", "dtype": "f32", "shape": []}]}',
    "a size without bounds": b'{"symbols": [{"name": "n", "low": 1}]}',
    "memory of nothing": b'{"memory": {"arena": 3}}',
    "more than there is": b'{"memory": {"weights": 18446744073709551616, "arena": 0, "scratch_per_thread": {}}}',
}


@pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_of_another_form(manifest: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(artifacts.artifacts()[0])) as archive:
        members = {item.filename: archive.read(item) for item in archive.infolist()} | {"manifest.json": manifest}
    file = io.BytesIO()
    writer.write_members(((name, [content], writer.PAGE) for name, content in members.items()), file)
    with pytest.raises(PenstockError, match="manifest") as caught:
        runtime.load(file.getvalue())
    assert caught.value.code == "PENS-R004"


def test_damaged_artifacts(tmp_path: Path) -> None:
    try:
        done = fuzz.run_loader(fuzz.prepare_loader(tmp_path), 1, 20_001)
    except fuzz.NoSanitizer as error:
        pytest.skip(str(error))
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "20000 runs\n"
