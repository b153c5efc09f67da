"""The CPU back end: tile kernels to x86-64 machine code, one image per instruction set level.

In: tile kernels scheduled for a level. Out: an image that the runtime maps and calls. The one idea: schedules choose
the register tiles, LLVM's code generator the registers; there is nothing in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.compiler.backends import KERNEL_ENTRY, NO_CODE, NO_OBJECTS
from penstock.compiler.precision import ROUNDED

if TYPE_CHECKING:
    from penstock.compiler.backends import Code, KernelCode
    from penstock.compiler.backends.cpu.target import CpuTarget
    from penstock.compiler.dialects.tile.memory import Kernel


class CpuBackend:
    """See ``backends.Backend``. Imports LLVM only when it is used."""

    name = "cpu"
    doc = "x86-64 processors with AVX2 (x86-64-v3) or AVX-512 (x86-64-v4), and AVX512_BF16 for bf16"
    levels = ("x86-64-v4-bf16", "x86-64-v4", "x86-64-v3")
    text_forms = ("llvm", "asm")
    computes = True

    def levels_for(self, precision: str) -> tuple[str, ...]:
        return self.levels if precision == ROUNDED else self.levels[1:]

    def describe(self, level: str) -> CpuTarget:
        from penstock.compiler.backends.cpu.target import cpu_target

        return cpu_target(level)

    def compile(
        self,
        kernels: Sequence[Kernel],
        level: str,
        objects: Mapping[str, bytes] = NO_OBJECTS,
        known: Mapping[str, KernelCode] = NO_CODE,
    ) -> Code:
        from penstock.compiler.artifact.elf import instruction_bytes, link
        from penstock.compiler.backends import Code
        from penstock.compiler.extents import largest

        made = {
            kernel.sym_name: known.get(kernel.sym_name) or _made(kernel, level)
            for kernel in kernels
            if not kernel.object
        }
        brought: dict[str, dict[str, list[str]]] = {}  # by object: kernels by the function they call
        for kernel in kernels:
            if kernel.object:
                brought.setdefault(kernel.object, {}).setdefault(kernel.entry or "", []).append(kernel.sym_name)
        foreign = [kernel for kernel in kernels if kernel.object]
        return Code(
            image=link(
                [*(item.object for item in made.values()), *(objects[key] for key in brought)],
                [*({KERNEL_ENTRY: [name]} for name in made), *brought.values()],
            ),
            scratch_bytes=largest(0, *(item.scratch_bytes for item in made.values())),
            kernel_scratch={name: item.scratch_bytes for name, item in made.items()}
            | {kernel.sym_name: 0 for kernel in foreign},
            kernel_bytes={name: item.code_bytes for name, item in made.items()}
            | {kernel.sym_name: instruction_bytes(objects[kernel.object]) for kernel in foreign},
            made=made,
        )

    def text(self, kernel: Kernel, level: str, form: str) -> str:
        from penstock.compiler.backends.cpu.compile import assembly, emit

        if kernel.object:
            return f"; {kernel.sym_name} is {kernel.entry} of the object code {kernel.object}\n"
        return emit(kernel, level).text if form == "llvm" else assembly(kernel, level)


def _made(kernel: Kernel, level: str) -> KernelCode:
    from penstock.compiler.backends.cpu.compile import compile_kernel
    from penstock.compiler.errors import UNEXPECTED, InternalError

    if kernel.cached:
        raise InternalError(UNEXPECTED, f"kernel {kernel.sym_name} has no body, and its code is not there")
    return compile_kernel(kernel, level)


BACKEND = CpuBackend()
