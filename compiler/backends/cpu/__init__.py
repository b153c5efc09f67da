"""The CPU back end: tile kernels to x86-64 machine code, one image per instruction set level.

In: tile kernels scheduled for a level. Out: an image that the runtime maps and calls. The one idea: schedules choose
the register tiles, LLVM's code generator the registers; there is nothing in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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

    def compile(self, kernels: Sequence[Kernel], level: str) -> Code:
        from penstock.compiler.artifact.elf import link
        from penstock.compiler.backends import Code
        from penstock.compiler.backends.cpu.compile import compile_kernel, instruction_bytes
        from penstock.compiler.extents import largest

        objects = [compile_kernel(kernel, level) for kernel in kernels]
        return Code(
            image=link([item.object for item in objects]),
            scratch_bytes=largest(0, *(item.scratch_bytes for item in objects)),
            kernel_scratch={item.name: item.scratch_bytes for item in objects},
            kernel_bytes={item.name: instruction_bytes(item.object) for item in objects},
        )

    def text(self, kernel: Kernel, level: str, form: str) -> str:
        from penstock.compiler.backends.cpu.compile import assembly, emit

        return emit(kernel, level).text if form == "llvm" else assembly(kernel, level)


BACKEND = CpuBackend()
