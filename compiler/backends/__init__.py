"""The back ends: from tile kernels to machine code, one package per device, found by scanning this folder.

In: a target's name. Out: its ``Backend``. The one idea: a package here that defines ``BACKEND`` is a target; nothing is
registered anywhere else. docs/add-a-backend.md walks through one; ``null`` is the template.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from penstock.compiler.artifact.elf import LinkedImage
    from penstock.compiler.backends.cpu.target import CpuTarget
    from penstock.compiler.dialects.tile.memory import Kernel
    from penstock.compiler.extents import Extent


@dataclass(frozen=True)
class KernelCode:
    """One kernel compiled for a level: object code that defines the function ``KERNEL_ENTRY``, scratch bytes that a
    thread must provide, and bytes of instructions."""

    object: bytes
    scratch_bytes: Extent
    code_bytes: int


KERNEL_ENTRY = "kernel"
"""The function of a kernel's object code, whatever the kernel is called: equal kernels have equal objects."""

NO_OBJECTS: Mapping[str, bytes] = MappingProxyType({})
NO_CODE: Mapping[str, KernelCode] = MappingProxyType({})


@dataclass(frozen=True)
class Code:
    """Machine code of a module's kernels for one level.

    ``image`` is the member of the artifact that the runtime maps, with the entry of every kernel; ``scratch_bytes`` is
    what one thread must provide to any of them; ``kernel_scratch`` and ``kernel_bytes`` give each kernel's own.
    ``made`` holds what was compiled, by kernel.
    """

    image: LinkedImage
    scratch_bytes: int
    kernel_scratch: dict[str, int]
    kernel_bytes: dict[str, int]
    made: dict[str, KernelCode] = field(default_factory=dict[str, "KernelCode"])


class Backend(Protocol):
    """What a device must offer to the pipeline.

    ``levels`` are its instruction sets, the most capable first; every dispatch is lowered once per level, by schedules
    that are given the level's description. ``text_forms`` are the forms of text a person can look at.
    ``computes`` is false for a device whose kernels have no results.
    """

    name: str
    doc: str
    levels: tuple[str, ...]
    text_forms: tuple[str, ...]
    computes: bool

    def levels_for(self, precision: str) -> tuple[str, ...]:
        """Those of ``levels`` that a compilation is for unless it says which, and that differ at this precision."""
        ...

    def describe(self, level: str) -> CpuTarget:
        """The frozen description of a level that schedules decide by. Raises TargetError for an unknown level."""
        ...

    def compile(
        self,
        kernels: Sequence[Kernel],
        level: str,
        objects: Mapping[str, bytes] = NO_OBJECTS,
        known: Mapping[str, KernelCode] = NO_CODE,
    ) -> Code:
        """Machine code of ``kernels``; equal kernels give equal bytes. Raises InternalError for what it cannot emit.
        ``objects`` holds, by key, the object code of kernels that come with their own (``Kernel.object``); ``known``,
        by kernel, what need not be compiled again."""
        ...

    def text(self, kernel: Kernel, level: str, form: str) -> str:
        """The kernel's code as text in one of ``text_forms``. Raises InternalError for what it cannot emit."""
        ...


@cache
def backends() -> dict[str, Backend]:
    """Every back end, by name."""
    found: dict[str, Backend] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.ispkg:
            candidate = getattr(importlib.import_module(f"{__name__}.{info.name}"), "BACKEND", None)
            if candidate is not None:
                found[candidate.name] = candidate
    return found


def backend(name: str) -> Backend:
    """The back end called ``name``. Raises TargetError, naming the nearest one."""
    from penstock.compiler import errors

    found = backends()
    if name not in found:
        raise errors.TargetError(
            errors.UNKNOWN_TARGET,
            f"there is no target {name!r}{errors.nearest(name, found)}",
            f"The targets are {', '.join(found)}.",
        )
    return found[name]
