"""From LLVM IR text of kernels to object code.

In: tile kernels and an instruction set level. Out: one ELF object per kernel. The one idea: kernels are explicitly
vectorised, so there is no middle end; the code generator alone takes about 8 ms a kernel. A kernel compiled once is
kept by its text.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

from penstock.compiler.backends.cpu.target import cpu_target
from penstock.compiler.backends.llvm.emitter import KernelText, emit_kernel
from penstock.compiler.dialects.tile.memory import Kernel

CODEGEN_LEVEL = 2


@dataclass(frozen=True)
class KernelObject:
    """Object code of one kernel, and the scratch bytes a thread needs to run it."""

    name: str
    object: bytes
    scratch_bytes: int


_objects: dict[tuple[str, str], bytes] = {}
_lock = threading.Lock()


@cache
def target_machine(isa: str) -> Any:
    """LLVM's target machine for a level."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    return target.create_target_machine(cpu=isa, features="", opt=CODEGEN_LEVEL, reloc="pic", codemodel="small")


def compile_text(text: str, isa: str) -> bytes:
    """The object of a module's text; compiled at most once in this process."""
    import llvmlite.binding as llvm

    key = (isa, text)
    with _lock:
        if key not in _objects:
            machine = target_machine(isa)
            module = llvm.parse_assembly(text)
            module.triple = machine.triple
            module.data_layout = str(machine.target_data)
            _objects[key] = machine.emit_object(module)
        return _objects[key]


def assembly(kernel: Kernel, isa: str) -> str:
    """The kernel's assembly text, for people."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(emit(kernel, isa).text)
    module.triple = target_machine(isa).triple
    return target_machine(isa).emit_assembly(module)


def emit(kernel: Kernel, isa: str) -> KernelText:
    """The kernel's LLVM IR for a level."""
    return emit_kernel(kernel, cpu_target(isa).machine)


def compile_kernel(kernel: Kernel, isa: str) -> KernelObject:
    """Object code of one kernel. Raises InternalError if it would need a function it does not define."""
    text = emit(kernel, isa)
    return KernelObject(text.name, compile_text(text.text, isa), text.scratch_bytes)
