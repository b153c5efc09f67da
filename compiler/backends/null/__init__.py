"""A device whose kernels do nothing: the template of a back end, and a test double.

In: tile kernels. Out: an image with a function per kernel that returns at once. The one idea: everything but the
kernels is real, so what a model costs on it is what the runtime itself costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.compiler.backends import NO_CODE, NO_OBJECTS

if TYPE_CHECKING:
    from penstock.compiler.backends import Code, KernelCode
    from penstock.compiler.backends.cpu.target import CpuTarget
    from penstock.compiler.dialects.tile.memory import Kernel

LEVEL = "x86-64-v3"


class NullBackend:
    """See ``backends.Backend``."""

    name = "null"
    doc = "kernels that do nothing: measures the runtime, tests what lies around the kernels"
    levels = (LEVEL,)
    text_forms = ("llvm", "asm")
    computes = False

    def levels_for(self, precision: str) -> tuple[str, ...]:
        return self.levels

    def describe(self, level: str) -> CpuTarget:
        from penstock.compiler.backends.cpu import BACKEND

        return BACKEND.describe(level)

    def compile(
        self,
        kernels: Sequence[Kernel],
        level: str,
        objects: Mapping[str, bytes] = NO_OBJECTS,
        known: Mapping[str, KernelCode] = NO_CODE,
    ) -> Code:
        from penstock.compiler.backends.cpu import BACKEND

        return BACKEND.compile([emptied(kernel) for kernel in kernels], level, known=known)

    def text(self, kernel: Kernel, level: str, form: str) -> str:
        from penstock.compiler.backends.cpu import BACKEND

        return BACKEND.text(emptied(kernel), level, form)


def emptied(kernel: Kernel) -> Kernel:
    """A kernel of the same name and buffers that does nothing."""
    from penstock.compiler.dialects.tile.builder import KernelBuilder

    types = [buffer.type for buffer in kernel.buffers]
    builder = KernelBuilder(kernel.sym_name, types, outputs=kernel.outputs, location=kernel.location)
    builder.kernel.units = kernel.units
    return builder.finish()


BACKEND = NullBackend()
