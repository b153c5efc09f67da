"""From tile kernels to object code, by LLVM's code generator alone.

In: a tile kernel and an instruction set level. Out: an ELF object. The one idea: kernels are explicitly vectorised, so
there is no middle end, which leaves about 8 ms a kernel; and a text compiled once in this process is not compiled
again. Equal kernels give equal bytes.
"""

from __future__ import annotations

import re
import struct
import threading
from functools import cache
from typing import Any

from penstock.compiler import errors
from penstock.compiler.artifact.elf import instruction_bytes, section_headers
from penstock.compiler.backends import KERNEL_ENTRY, KernelCode
from penstock.compiler.backends.cpu.target import cpu_target
from penstock.compiler.backends.llvm.emitter import KernelText, emit_kernel
from penstock.compiler.dialects.tile.memory import Kernel

CODEGEN_LEVEL = 2


_objects: dict[tuple[str, str], bytes] = {}
_lock = threading.Lock()


@cache
def target_machine(isa: str) -> Any:
    """LLVM's target machine for a level. Loops come with their addresses reduced (llvm/addresses.py), so LLVM's pass
    for that is switched off, in this process: it takes ten times as long as all others."""
    import llvmlite.binding as llvm

    _switch_off_loop_strength_reduction()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = cpu_target(isa).machine
    return target.create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=CODEGEN_LEVEL, reloc="pic", codemodel="small"
    )


@cache
def _switch_off_loop_strength_reduction() -> None:
    """LLVM's options are global and may be given once."""
    import llvmlite.binding as llvm

    llvm.set_option("penstock", "-disable-lsr")


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


def compile_kernel(kernel: Kernel, isa: str) -> KernelCode:
    """Object code of one kernel. Raises InternalError if it would need a function it does not define."""
    text = emit_kernel(kernel, cpu_target(isa).machine, entry=KERNEL_ENTRY)
    code = compile_text(text.text, isa)
    missing = undefined_symbols(code)
    if missing:
        callers = "; ".join(f"{name} for {_caller(kernel, isa, name)}" for name in missing)
        raise errors.InternalError(
            errors.UNEXPECTED, f"kernel {kernel.sym_name} would call functions that it does not have: {callers}"
        )
    return KernelCode(code, text.scratch_bytes, instruction_bytes(code))


def undefined_symbols(code: bytes) -> list[str]:
    """Names of the symbols an object refers to but does not define."""
    sections = section_headers(code)
    missing: list[str] = []
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind != 2:
            continue
        strings = sections[link][4]
        for position in range(offset + 24, offset + size, 24):
            name, _, _, section = struct.unpack_from("<IBBH", code, position)
            if section == 0:
                end = code.index(b"\0", strings + name)
                missing.append(code[strings + name : end].decode())
    return missing


def _caller(kernel: Kernel, isa: str, symbol: str) -> str:
    """The tile op whose emission calls ``symbol``, found by compiling again with debug lines."""
    import llvmlite.binding as llvm

    text = emit_kernel(kernel, cpu_target(isa).machine, trace=True)
    machine = target_machine(isa)
    module = llvm.parse_assembly(text.text)
    module.triple = machine.triple
    line = 0
    for row in machine.emit_assembly(module).splitlines():
        location = re.match(r"\s+\.loc\s+\d+\s+(\d+)", row)
        if location:
            line = int(location[1])
        elif re.search(rf"\b{re.escape(symbol)}\b", row) and 0 < line <= len(text.operations):
            return text.operations[line - 1]
    return "an op that could not be told"
