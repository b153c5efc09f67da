"""The machine's ceilings, measured: what a roofline is drawn with.

In: a number of threads. Out: f32 operations per second and bytes per second of memory that the machine reaches with so
many threads. The one idea: ceilings are measured, in the same process and minute as what they are compared with, since
data sheets know neither the clock under load nor the neighbours.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CHAINS = {16: 24, 8: 12, 4: 12}
"""Independent accumulators, by lanes: more than latency (4 cycles) times throughput (2 per cycle), fewer than the
32 registers of AVX-512, or the 16 of narrower vectors."""

STEPS = 1_000_000
COPY_BYTES = 64 << 20
"""Bytes of each of the two arrays copied: several times the last level cache a core can expect."""

REPEATS = 10

STREAMS = 8
"""Vectors read in one step of the loop that measures reading."""

READ_BYTES = 512 << 20
"""Bytes a thread reads in one measurement: some milliseconds, however small what is read again."""


@dataclass(frozen=True)
class Ceilings:
    """``flops``: f32 operations per second, a multiply-add counted twice. ``bandwidth``: bytes per second to memory.

    ``flops`` is 0 where it could not be measured (llvmlite is not installed).
    """

    flops: float
    bandwidth: float

    def least_seconds(self, flops: int, moved: int) -> float:
        """The roofline: no run of so many operations and bytes can be shorter."""
        return max(flops / self.flops if self.flops else 0.0, moved / self.bandwidth)

    def is_compute_bound(self, flops: int, moved: int) -> bool:
        """Whether arithmetic, not memory, is the lower ceiling."""
        return bool(self.flops) and flops / self.flops > moved / self.bandwidth


def measure(threads: int = 1) -> Ceilings:
    """The ceilings with ``threads`` threads, the best of several short runs; takes about half a second."""
    return Ceilings(_flops(threads), _bandwidth(threads))


@dataclass(frozen=True)
class Level:
    """A level of memory: ``name``, the ``capacity`` in bytes that all threads have of it together (None: no end), and
    the ``bandwidth`` in bytes per second at which they read it."""

    name: str
    capacity: int | None
    bandwidth: float


def measure_levels(threads: int = 1) -> list[Level]:
    """The private cache, the shared cache and memory, as far as the system tells their sizes; about a second.

    Empty where it cannot be measured (llvmlite is not installed).
    """
    try:
        _loops()
    except ImportError:
        return []
    caches = cache_sizes()
    private, shared = caches.get(2), caches.get(3)
    levels: list[Level] = []
    if private:
        levels.append(Level("L2", threads * private, read_bandwidth(threads * private // 2, threads)))
    if shared:
        size = min(threads * shared // 4, shared // 2)
        levels.append(Level("L3", shared, read_bandwidth(size, threads)))
    levels.append(Level("memory", None, read_bandwidth(max(4 * (shared or 0), 2 * COPY_BYTES), threads)))
    return levels


def level_of(levels: Sequence[Level], working_set: int) -> Level:
    """The first level that holds so many bytes in three quarters of its capacity; the last, which has no end."""
    return next(level for level in levels if level.capacity is None or working_set <= 0.75 * level.capacity)


def cache_sizes() -> dict[int, int]:
    """Bytes by cache level of the first processor, instruction caches left out; empty where Linux does not say."""
    sizes: dict[int, int] = {}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (folder / "type").read_text().strip() != "Instruction":
            level, size = ((folder / name).read_text().strip() for name in ("level", "size"))
            sizes[int(level)] = int(size.removesuffix("K")) * 1024
    return sizes


def read_bandwidth(size: int, threads: int = 1) -> float:
    """Bytes per second at which ``threads`` threads read ``size`` bytes again and again, each its own part."""
    import numpy as np

    lanes, loops = _loops()
    step = STREAMS * lanes * 4
    steps = max(size // threads // step, 1)
    repeats = max(READ_BYTES // (steps * step), 1)
    buffers = [np.ones(steps * step + 64, np.uint8) for _ in range(threads)]
    turn = itertools.cycle([(buffer.ctypes.data + 63) & ~63 for buffer in buffers])
    lock = threading.Lock()

    def read() -> None:
        with lock:
            address = next(turn)
        loops.read(address, steps, repeats)

    return threads * steps * step * repeats / _best(threads, read)


def _flops(threads: int) -> float:
    try:
        lanes, loops = _loops()
    except ImportError:
        return 0.0
    seconds = _best(threads, lambda: loops.peak(STEPS, 1e-9))
    return threads * STEPS * CHAINS[lanes] * lanes * 2 / seconds


def _bandwidth(threads: int) -> float:
    """Bytes read and written per second by copying, each thread its own part of one pair of arrays."""
    import numpy as np

    source, target = np.ones(COPY_BYTES // 8), np.zeros(COPY_BYTES // 8)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    turn = iter(parts * (REPEATS + 1))
    lock = threading.Lock()

    def copy() -> None:
        with lock:
            a, b = next(turn)
        np.copyto(b, a)

    return 2 * COPY_BYTES / _best(threads, copy)


def _best(threads: int, work: Callable[[], object]) -> float:
    """Least wall time in which ``threads`` threads all do ``work`` once (it must not hold the interpreter's lock)."""
    best = float("inf")
    for _ in range(REPEATS):
        others = [threading.Thread(target=work) for _ in range(threads - 1)]
        started = time.perf_counter()
        for thread in others:
            thread.start()
        work()
        for thread in others:
            thread.join()
        best = min(best, time.perf_counter() - started)
    return best


@dataclass(frozen=True)
class _Loops:
    """Compiled loops: ``peak(steps, x)`` multiplies and adds, ``read(address, steps, repeats)`` loads."""

    peak: Callable[[int, float], float]
    read: Callable[[int, int, int], int]


@cache
def _loops() -> tuple[int, _Loops]:
    """f32 lanes of the widest vector, and the loops compiled for it. Raises ImportError without llvmlite."""
    from llvmlite import binding

    llvm: Any = binding
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(opt=2, cpu=llvm.get_host_cpu_name(), features=features.flatten())
    module = llvm.parse_assembly(_peak_text(lanes) + _read_text(lanes))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _engines.append(engine)  # owns the code
    peak = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)
    read = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int64)
    addresses = (engine.get_function_address(name) for name in ("peak", "read"))
    return lanes, _Loops(peak(next(addresses)), read(next(addresses)))


_engines: list[object] = []


def _peak_text(lanes: int) -> str:
    """CHAINS[lanes] independent vector multiply-adds per step."""
    vector = f"<{lanes} x float>"
    chains = range(CHAINS[lanes])
    phis = "\n".join(f"  %a{i} = phi {vector} [ %start, %entry ], [ %b{i}, %loop ]" for i in chains)
    call = f"call {vector} @llvm.fma.v{lanes}f32"
    steps = "\n".join(f"  %b{i} = {call}({vector} %a{i}, {vector} %start, {vector} %start)" for i in chains)
    sums = "\n".join(f"  %s{i} = fadd {vector} {f'%s{i - 1}' if i > 1 else '%b0'}, %b{i}" for i in chains if i)
    return f"""
declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})
define float @peak(i64 %n, float %x) {{
entry:
  %seed = insertelement {vector} poison, float %x, i32 0
  %start = shufflevector {vector} %seed, {vector} poison, <{lanes} x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{steps}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %exit
exit:
{sums}
  %result = extractelement {vector} %s{CHAINS[lanes] - 1}, i32 0
  ret float %result
}}
"""


def _read_text(lanes: int) -> str:
    """STREAMS vector loads per step, or-ed together so that none is dropped; the buffer from its start each repeat."""
    vector, streams = f"<{lanes} x i32>", range(STREAMS)
    phis = "\n".join(f"  %a{i} = phi {vector} [ %o{i}, %repeat ], [ %b{i}, %loop ]" for i in streams)
    outer = "\n".join(f"  %o{i} = phi {vector} [ zeroinitializer, %entry ], [ %b{i}, %next ]" for i in streams)
    loads = "\n".join(
        f"  %p{i} = getelementptr {vector}, ptr %base, i64 {i}\n"
        f"  %v{i} = load {vector}, ptr %p{i}, align 64\n"
        f"  %b{i} = or {vector} %a{i}, %v{i}"
        for i in streams
    )
    ors = "\n".join(f"  %s{i} = or {vector} {f'%s{i - 1}' if i > 1 else '%b0'}, %b{i}" for i in streams if i)
    return f"""
define i32 @read(i64 %address, i64 %n, i64 %repeats) {{
entry:
  %data = inttoptr i64 %address to ptr
  br label %repeat
repeat:
  %r = phi i64 [ 0, %entry ], [ %r1, %next ]
{outer}
  br label %loop
loop:
  %i = phi i64 [ 0, %repeat ], [ %i1, %loop ]
{phis}
  %offset = mul i64 %i, {STREAMS}
  %base = getelementptr {vector}, ptr %data, i64 %offset
{loads}
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %n
  br i1 %more, label %loop, label %next
next:
  %r1 = add i64 %r, 1
  %again = icmp ult i64 %r1, %repeats
  br i1 %again, label %repeat, label %exit
exit:
{ors}
  %result = extractelement {vector} %s{STREAMS - 1}, i32 0
  ret i32 %result
}}
"""
