"""Runs one tile kernel in this process: for tests, for tuning, for writing schedules.

In: a kernel and numpy arrays. Out: the arrays, written by machine code. The one idea: the code is the one that
would be packaged, linked by the same linker; the arrays are checked against the kernel's buffers before the call.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import MemRefType

from penstock.compiler.artifact.elf import link
from penstock.compiler.backends import KERNEL_ENTRY
from penstock.compiler.backends.cpu.compile import compile_kernel
from penstock.compiler.backends.cpu.target import host_isa
from penstock.compiler.dialects.tile.base import element
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.dtypes import numpy_dtype, shape_of
from penstock.compiler.extents import Extent, evaluate

_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_TAKE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


@dataclass
class LoadedKernel:
    """A kernel's machine code in memory; ``__call__`` runs units [begin, end) on checked arrays."""

    kernel: Kernel
    isa: str
    scratch_bytes: Extent
    _code: mmap.mmap
    _function: Any
    _keep: list[Any] = field(default_factory=list[Any])

    def prepare(self, arrays: list[NDArray[Any]]) -> tuple[Any, Any]:
        """The context and the buffers of a call. Raises ValueError for arrays that do not fit the buffers."""
        buffers = self.kernel.buffers
        if len(arrays) != len(buffers):
            raise ValueError(f"kernel {self.kernel.sym_name} takes {len(buffers)} arrays, not {len(arrays)}")
        sizes = self.kernel.sizes_in(arrays)
        for number, (array, value) in enumerate(zip(arrays, buffers, strict=True)):
            kind = value.type
            assert isinstance(kind, MemRefType)
            wanted, count = numpy_dtype(element(value)), evaluate(shape_of(kind)[0], sizes)
            if array.dtype != wanted or array.size < count or not array.flags.c_contiguous:
                raise ValueError(
                    f"array {number} of kernel {self.kernel.sym_name} must be contiguous with at least {count} "
                    f"elements of {wanted}, not {array.size} of {array.dtype}"
                )
            if number >= len(buffers) - self.kernel.outputs and not array.flags.writeable:
                raise ValueError(f"array {number} of kernel {self.kernel.sym_name} is written and must be writable")
        scratch = np.zeros(evaluate(self.scratch_bytes, sizes) + 128, np.uint8)
        aligned = -(-scratch.ctypes.data // 64) * 64
        take = _TAKE(_taking(evaluate(self.kernel.units, sizes)))
        context = (ctypes.c_uint64 * 8)(
            aligned, scratch.size - 64, 0, aligned, ctypes.cast(take, ctypes.c_void_p).value or 0
        )
        pointers = (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))
        self._keep = [scratch, context, take, pointers, *arrays]
        return context, pointers

    def __call__(self, arrays: list[NDArray[Any]], begin: int = 0, end: int | None = None) -> None:
        context, pointers = self.prepare(arrays)
        self._function(
            context, pointers, begin, evaluate(self.kernel.units, self.kernel.sizes_in(arrays)) if end is None else end
        )

    def time(self, arrays: list[NDArray[Any]], repeat: int = 20, inner: int | None = None) -> float:
        """Seconds of one call over all units: the best of ``repeat`` samples of ``inner`` calls.

        The kernel runs on copies of ``arrays`` that begin at cache lines, as the runtime's buffers do.
        """
        context, pointers = self.prepare([_at_cache_line(array) for array in arrays])
        function, units = self._function, evaluate(self.kernel.units, self.kernel.sizes_in(arrays))
        function(context, pointers, 0, units)
        if inner is None:
            start = time.perf_counter()
            function(context, pointers, 0, units)
            inner = max(1, int(2e-3 / max(time.perf_counter() - start, 1e-7)))
        best = float("inf")
        for _ in range(repeat):
            start = time.perf_counter()
            for _ in range(inner):
                function(context, pointers, 0, units)
            best = min(best, (time.perf_counter() - start) / inner)
        return best


def _taking(units: int) -> Callable[[Any], int]:
    """What a team kernel takes its units from on one thread: all of them, in the opposite order in odd phases."""
    following = (unit for phase in count() for unit in (*(range(units)[:: -1 if phase % 2 else 1]), -1))
    return lambda _: next(following)


def _at_cache_line(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins at a multiple of 64 bytes."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype)
    copy[:] = array.reshape(-1)
    return copy


def load_kernel(kernel: Kernel, isa: str | None = None) -> LoadedKernel:
    """Compile and load ``kernel`` for ``isa`` (default: the best level of this machine)."""
    level = isa or host_isa()
    compiled = compile_kernel(kernel, level)
    image = link([compiled.object], [{KERNEL_ENTRY: [kernel.sym_name]}])
    memory = mmap.mmap(-1, len(image.data), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(image.data)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = _SIGNATURE(start + image.entries[kernel.sym_name])
    return LoadedKernel(kernel, level, compiled.scratch_bytes, memory, function)


def run_kernel(
    kernel: Kernel, arrays: list[NDArray[Any]], isa: str | None = None, begin: int = 0, end: int | None = None
) -> None:
    """Compile ``kernel`` and run its units [begin, end) (default: all) on ``arrays``, one per buffer, outputs last.

    Raises ValueError if an array does not fit its buffer.
    """
    load_kernel(kernel, isa)(arrays, begin, end)


def time_kernel(kernel: Kernel, arrays: list[NDArray[Any]], isa: str | None = None, repeat: int = 20) -> float:
    """Seconds that one call of ``kernel`` over all its units takes (best of ``repeat`` samples)."""
    return load_kernel(kernel, isa).time(arrays, repeat)
