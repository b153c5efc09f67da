"""The CPU back end: tile kernels to x86-64 machine code, one image per instruction set level.

In: tile kernels scheduled for a level. Out: an image that the runtime maps and calls. The one idea: schedules choose
the register tiles, LLVM's code generator the registers; there is nothing in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.compiler.backends import NO_OBJECTS

if TYPE_CHECKING:
    from penstock.compiler.backends import Code
    from penstock.compiler.backends.cpu.target import CpuTarget
    from penstock.compiler.dialects.tile.memory import Kernel


class CpuBackend:
    """See ``backends.Backend``. Imports LLVM only when it is used."""

    name = "cpu"
    doc = "x86-64 processors with AVX2 (x86-64-v3) or AVX-512 (x86-64-v4)"
    levels = ("x86-64-v4", "x86-64-v3")
    text_forms = ("llvm", "asm")
    computes = True

    def describe(self, level: str) -> CpuTarget:
        from penstock.compiler.backends.cpu.target import cpu_target

        return cpu_target(level)

    def compile(self, kernels: Sequence[Kernel], level: str, objects: Mapping[str, bytes] = NO_OBJECTS) -> Code:
        from penstock.compiler.artifact.elf import link
        from penstock.compiler.backends import Code
        from penstock.compiler.backends.cpu.compile import compile_kernel, instruction_bytes
        from penstock.compiler.extents import largest

        made = [compile_kernel(kernel, level) for kernel in kernels if not kernel.object]
        brought: dict[str, dict[str, list[str]]] = {}  # by object: kernels by the function they call
        for kernel in kernels:
            if kernel.object:
                brought.setdefault(kernel.object, {}).setdefault(kernel.entry or "", []).append(kernel.sym_name)
        foreign = [kernel for kernel in kernels if kernel.object]
        return Code(
            image=link(
                [*(item.object for item in made), *(objects[key] for key in brought)],
                [*(None for _ in made), *brought.values()],
            ),
            scratch_bytes=largest(0, *(item.scratch_bytes for item in made)),
            kernel_scratch={item.name: item.scratch_bytes for item in made} | {k.sym_name: 0 for k in foreign},
            kernel_bytes={item.name: instruction_bytes(item.object) for item in made}
            | {kernel.sym_name: instruction_bytes(objects[kernel.object]) for kernel in foreign},
        )

    def text(self, kernel: Kernel, level: str, form: str) -> str:
        from penstock.compiler.backends.cpu.compile import assembly, emit

        if kernel.object:
            return f"; {kernel.sym_name} is {kernel.entry} of the object code {kernel.object}\n"
        return emit(kernel, level).text if form == "llvm" else assembly(kernel, level)


BACKEND = CpuBackend()
