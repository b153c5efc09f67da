"""Custom operators with kernels: the object code becomes part of the artifact, is called as it says, and is checked."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import onnx
import pytest
from onnx import parser

import penstock
from penstock.compiler.dialects.graph.custom import Custom
from penstock.compiler.errors import ModelError
from penstock.compiler.interpreter import run_module
from penstock.compiler.irtext import to_text
from penstock.operators import Kernel, Operator, TensorType, compare

POLYNOMIAL = Path(__file__).parents[3] / "examples" / "custom_operators" / "polynomial.py"
RNG = np.random.default_rng(0)
X = RNG.standard_normal((7, 5)).astype(np.float32)

# y[i] = a[i] - b[i] * p[0], and z[i] = number of the unit: units are elements.
DIFFERENCE = """
@table = private constant [2 x float] [float 1.0, float 1.0]
define void @difference(ptr %ctx, ptr %buffers, i64 %begin, i64 %end) {
entry:
  %a = load ptr, ptr %buffers
  %b1 = getelementptr ptr, ptr %buffers, i64 1
  %b = load ptr, ptr %b1
  %p1 = getelementptr ptr, ptr %buffers, i64 2
  %p = load ptr, ptr %p1
  %y1 = getelementptr ptr, ptr %buffers, i64 3
  %y = load ptr, ptr %y1
  %z1 = getelementptr ptr, ptr %buffers, i64 4
  %z = load ptr, ptr %z1
  %given = load float, ptr %p
  %one = load float, ptr @table
  %factor = fmul float %given, %one
  %any = icmp slt i64 %begin, %end
  br i1 %any, label %loop, label %out
loop:
  %i = phi i64 [%begin, %entry], [%next, %loop]
  %pa = getelementptr float, ptr %a, i64 %i
  %va = load float, ptr %pa
  %pb = getelementptr float, ptr %b, i64 %i
  %vb = load float, ptr %pb
  %scaled = fmul float %vb, %factor
  %difference = fsub float %va, %scaled
  %py = getelementptr float, ptr %y, i64 %i
  store float %difference, ptr %py
  %pz = getelementptr i64, ptr %z, i64 %i
  store i64 %i, ptr %pz
  %next = add i64 %i, 1
  %go = icmp slt i64 %next, %end
  br i1 %go, label %loop, label %out
out:
  ret void
}
"""
HEAD = "define void @difference(ptr %ctx, ptr %buffers, i64 %begin, i64 %end) {"


@cache
def compiled(text: str, cpu: str = "x86-64-v3") -> bytes:
    """The object of LLVM IR text."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu=cpu, reloc="pic", codemodel="small", opt=2)
    return machine.emit_object(llvm.parse_assembly(text))


class Difference(Operator):
    """a - factor * b, and the positions; without b: 2 a."""

    domain = "com.example"
    code: Any = None

    def infer(self, a: TensorType, b: TensorType, *, factor: float = 1.0) -> Any:
        return a, TensorType(np.dtype(np.int64), a.shape)

    def evaluate(self, a: Any, b: Any, *, factor: float = 1.0) -> Any:
        return (a - b * np.float32(factor)), np.arange(a.size).reshape(a.shape)

    def kernel(self, a: TensorType, b: TensorType, *, factor: float = 1.0) -> Any:
        parameters = np.array([factor], np.float32)
        code = self.code or compiled(DIFFERENCE)
        return Kernel(code, "difference", units=int(np.prod(a.shape)), parameters=parameters, nanoseconds=1e5)


def model(nodes: str, inputs: str = "float[7,5] x", outputs: str = "float[7,5] y, int64[7,5] z") -> onnx.ModelProto:
    """A model of a few nodes."""
    head = '<ir_version: 8, opset_import: ["" : 18, "com.example" : 1]>'
    return parser.parse_model(f"{head}\nagraph ({inputs}) => ({outputs}) {{ {nodes} }}")


@pytest.mark.skipif(shutil.which("cc") is None, reason="the example is compiled by a C compiler, and there is none")
def test_example_by_its_own_measure() -> None:
    """Odd shapes, tails, none."""
    from penstock.compiler import plugins

    (kind,) = plugins.Operators([POLYNOMIAL])._given[("com.example", "Polynomial")]
    for shape in ((), (1,), (3, 0), (13, 17), (64, 257)):
        x = RNG.standard_normal(shape).astype(np.float32)
        assert compare(kind, x, np.array([1, -2, 0.5, 3], np.float32)) < 1e-6


def test_in_a_model() -> None:
    """Twice with other shapes, among graph ops; the same value as both inputs; the same bits for any threads."""
    made = model(
        """t = Exp (x)  a, z = com.example.Difference <factor = 0.5> (t, x)  b, c = com.example.Difference (a, a)
           d = Add (a, b)  w = Transpose (d)  y, e = com.example.Difference <factor = 3.0> (w, u)""",
        "float[7,5] x, float[5,7] u",
        "float[5,7] y, int64[7,5] z",
    )
    u = RNG.standard_normal((5, 7)).astype(np.float32)
    loaded = penstock.compile(made.SerializeToString(), plugins=[Difference]).load()
    expected = (np.exp(X) - X * np.float32(0.5)).T - 3 * u
    first = loaded.session(threads=1).run({"x": X, "u": u})
    np.testing.assert_allclose(first["y"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(first["z"], np.arange(35).reshape(7, 5))
    for threads in (2, 5):
        again = loaded.session(threads=threads).run({"x": X, "u": u})
        np.testing.assert_array_equal(again["y"], first["y"])


def test_interpreted_by_its_meaning() -> None:
    """The reference semantics are ``evaluate``, attributes and all."""
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.frontends.onnx import import_model

    ctx = CompilerContext()
    made = model("y, z = com.example.Difference <factor = 0.25> (x, x)")
    module = import_model(made, ctx, plugins=[Difference])
    np.testing.assert_array_equal(run_module(module, ctx, {"x": X})["y"], X - X * np.float32(0.25))
    assert any(isinstance(op, Custom) for op in module.walk())
    assert compiled(DIFFERENCE).hex()[:64] not in to_text(module)


def test_constants_are_folded_by_its_meaning() -> None:
    made = model(
        "k = Constant <value = float[2] {1, 5}> ()  y, z = com.example.Difference (k, k)  w = Add (x, y)",
        "float[2] x",
        "float[2] w, float[2] y",
    )
    artifact = penstock.compile(made.SerializeToString(), plugins=[Difference])
    assert artifact.report.launches <= 2
    result = artifact.load().session().run({"x": np.ones(2, np.float32)})
    np.testing.assert_array_equal(result["w"], [1, 1])


def test_dumps_need_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any phase on, the same bytes come out: the code lies among the weights."""
    from penstock.compiler import plugins
    from penstock.compiler.driver import CompileOptions, run_phases
    from penstock.compiler.dumps import DumpWriter

    made = model("y, z = com.example.Difference (x, x)").SerializeToString()
    whole = run_phases(made, CompileOptions(plugins=[Difference]), observers=[DumpWriter(tmp_path)])
    assert whole.artifact is not None
    monkeypatch.setattr(plugins, "_DEFINED", {})
    for dump in ("01-import", "06-fuse", "07-lower", "08-plan"):
        result = run_phases(tmp_path / f"{dump}.mlir", CompileOptions())
        assert result.artifact is not None
        ours, theirs = (x.load().session().run({"x": X})["y"] for x in (result.artifact, whole.artifact))
        np.testing.assert_array_equal(ours, theirs)


def test_other_targets() -> None:
    """Code for one level only, code for each, and a target that computes nothing."""
    made = model("y, z = com.example.Difference (x, x)").SerializeToString()

    class Both(Difference):
        name = "Difference"
        code = {level: compiled(DIFFERENCE, level) for level in ("x86-64-v3", "x86-64-v4")}  # noqa: RUF012

    class One(Difference):
        name = "Difference"
        code = {"x86-64-v3": compiled(DIFFERENCE)}  # noqa: RUF012

    class Best(Difference):
        name = "Difference"
        code = {"x86-64-v4": compiled(DIFFERENCE, "x86-64-v4")}  # noqa: RUF012

    sizes = [len(penstock.compile(made, plugins=[kind]).bytes) for kind in (Both, One)]
    assert min(sizes) > 0
    penstock.compile(made, "cpu:x86-64-v4", plugins=[Best])
    with pytest.raises(ModelError, match=r"PENS-M019: .*no usable object code for x86-64-v3: there is none"):
        penstock.compile(made, plugins=[Best])
    penstock.compile(made, "null", plugins=[One])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"x", "it is no 64-bit ELF object"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 90, "ELF|damaged|object"),
        (compiled(DIFFERENCE)[:-700], "damaged|ELF"),
        (compiled(DIFFERENCE.replace("@difference", "@other")), "it does not define the function difference"),
        (
            compiled("declare float @expf(float)\n" + HEAD + "%x = call float @expf(float 1.0)\n ret void }"),
            "a kernel calls expf, which the runtime does not have",
        ),
        (
            compiled("@n = global i64 5\n" + HEAD + "store i64 %begin, ptr @n\n ret void }"),
            r"it has data that is written to or relocated \(.data\)",
        ),
        ("/nowhere/difference.o", "difference.o cannot be read: No such file"),
    ],
)
def test_object_code_that_cannot_be_used(code: Any, words: str) -> None:
    class Bad(Difference):
        name = "Difference"

    Bad.code = code
    with pytest.raises(ModelError, match=rf"PENS-M019: .*com.example.Difference has no usable object code.*({words})"):
        penstock.compile(model("y, z = com.example.Difference (x, x)").SerializeToString(), plugins=[Bad])


def test_every_truncation_of_object_code_is_refused() -> None:
    """No prefix of an object is taken for one, and none ends in another exception."""
    from penstock.compiler.artifact.elf import fault_of

    whole = compiled(DIFFERENCE)
    assert fault_of(whole, "difference") is None
    for length in range(0, len(whole) - 1, 7):
        assert fault_of(whole[:length], "difference") is not None


def test_wrong_kernels() -> None:
    """A method that gives no kernel, attributes a kernel cannot keep, an evaluate that fails on constants."""

    class NoKernel(Difference):
        name = "Difference"

        def kernel(self, a: Any, b: Any, *, factor: float = 1.0) -> Any:
            return 3

    class Failing(Difference):
        name = "Difference"

        def evaluate(self, a: Any, b: Any, *, factor: float = 1.0) -> Any:
            raise RuntimeError("no such thing")

    made = model("y, z = com.example.Difference (x, x)").SerializeToString()
    with pytest.raises(ModelError, match=r"PENS-M019: .*gives no Kernel"):
        penstock.compile(made, plugins=[NoKernel])
    penstock.compile(made, plugins=[Failing])
    folded = model(
        "k = Constant <value = float[2] {1, 5}> ()  y, z = com.example.Difference (k, k)", "float[2] x", "float[2] y"
    )
    with pytest.raises(ModelError, match=r"PENS-M019: .*fails in evaluate: RuntimeError: no such thing \(test_custom"):
        penstock.compile(folded.SerializeToString(), plugins=[Failing])
    made = model("y, z = com.example.Difference (x, x)")
    array = onnx.numpy_helper.from_array(np.ones(2, np.float32))
    made.graph.node[0].attribute.append(onnx.helper.make_attribute("factor", array))
    with pytest.raises(ModelError, match=r"PENS-M019: .*its attributes are numbers, texts and tuples"):
        penstock.compile(
            made.SerializeToString(),
            plugins=[
                Difference,
            ],
        )
