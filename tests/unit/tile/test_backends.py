"""The back ends' common interface, deterministic code, the refusal of missing functions, and the emit phase's pass."""

from __future__ import annotations

from typing import Any

import pytest
from xdsl.dialects.builtin import ModuleOp, StringAttr

from penstock.compiler import errors
from penstock.compiler.backends import Backend, backend, backends
from penstock.compiler.backends.cpu.compile import compile_kernel, compile_text, emit
from penstock.compiler.backends.cpu.target import LEVELS, cpu_target
from penstock.compiler.backends.llvm import elementwise
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dtypes import F32
from penstock.compiler.locations import name_location
from penstock.compiler.passes.emit.compile_kernels import CompileKernels


def exponential(scratch: int = 0) -> Any:
    b = KernelBuilder("exponential", [buffer(64, F32), buffer(64, F32)], location=name_location("/mlp/Exp"))
    with b.units(4) as unit:
        offset = b.imul(unit, 16)
        tile = b.unary("exp", b.load(b.buffers[0], offset, (16,), (1,)))
        if scratch:
            b.store(tile, b.alloc(scratch, F32), 0, (1,))
        b.store(tile, b.buffers[1], offset, (1,))
    return b.finish()


@pytest.mark.parametrize("name", list(backends()))
def test_a_backend_keeps_to_the_interface(name: str) -> None:
    device: Backend = backend(name)
    assert device.name == name
    assert device.doc
    assert device.levels
    for level in device.levels:
        assert device.describe(level) is not None
        code = device.compile([exponential(16)], level)
        assert set(code.image.entries) == {"exponential"}
        assert code.kernel_bytes["exponential"] > 0
        assert code.scratch_bytes == max(code.kernel_scratch.values())
        for form in device.text_forms:
            assert "exponential" in device.text(exponential(), level, form)
        again = device.compile([exponential(16)], level)
        assert again.image.data == code.image.data


def test_unknown_targets_and_levels_name_the_nearest() -> None:
    with pytest.raises(errors.TargetError, match="did you mean 'cpu'"):
        backend("cpuu")
    with pytest.raises(errors.TargetError, match="did you mean 'x86-64-v4'"):
        cpu_target("x86-64-v5")


def test_null_kernels_do_nothing() -> None:
    code = backend("null").compile([exponential(16)], "x86-64-v3")
    assert code.scratch_bytes == 0
    assert code.kernel_bytes["exponential"] < 32


def test_code_depends_on_nothing_but_the_kernel() -> None:
    for level in LEVELS:
        text = emit(exponential(), level).text
        assert compile_text(text, level) == compile_text(text + "\n; the same\n", level)


def test_scratch_is_summed_with_alignment() -> None:
    assert compile_kernel(exponential(17), "x86-64-v3").scratch_bytes == 128
    assert compile_kernel(exponential(), "x86-64-v3").scratch_bytes == 0


def test_a_library_call_names_its_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "_MATHEMATICS", ())
    monkeypatch.setitem(elementwise._FLOAT, "exp", lambda w, a: w.intrinsic("exp", a))  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(errors.InternalError, match=r"expf for tile.exp \(from /mlp/Exp\)"):
        compile_kernel(exponential(), "x86-64-v4")


def test_the_pass_reports_what_it_compiled() -> None:
    ctx = CompilerContext()
    levels = [ModuleOp([exponential(16)], sym_name=StringAttr(level)) for level in LEVELS]
    CompileKernels().apply(ctx, ModuleOp(levels))
    for level, module in zip(LEVELS, levels, strict=True):
        (kernel,) = module.body.block.ops
        assert "scratch_bytes = 64 : i64" in str(kernel)
        assert ctx.statistics[f"{level} kernels"] == 1
        assert ctx.statistics[f"{level} code bytes"] > 50
