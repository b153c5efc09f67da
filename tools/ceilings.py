"""The machine's ceilings, measured: what a roofline is drawn with.

In: a number of threads. Out: f32 operations per second and bytes per second of memory that the machine reaches with so
many threads. The one idea: ceilings are measured, in the same process and minute as what they are compared with, since
data sheets know neither the clock under load nor the neighbours.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

CHAINS = {16: 24, 8: 12, 4: 12}
"""Independent accumulators, by lanes: more than latency (4 cycles) times throughput (2 per cycle), fewer than the
32 registers of AVX-512, or the 16 of narrower vectors."""

STEPS = 1_000_000
COPY_BYTES = 64 << 20
"""Bytes of each of the two arrays copied: several times the last level cache a core can expect."""

REPEATS = 5


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


def _flops(threads: int) -> float:
    try:
        lanes, loop = _fma_loop()
    except ImportError:
        return 0.0
    seconds = _best(threads, lambda: loop(STEPS, 1e-9))
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


@cache
def _fma_loop() -> tuple[int, Callable[[int, float], float]]:
    """Lanes of the widest vector, and a compiled loop of CHAINS[lanes] independent vector multiply-adds per step."""
    from llvmlite import binding

    llvm: Any = binding
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    lanes = 16 if features.get("avx512f") else 8 if features.get("avx2") else 4
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(opt=2, cpu=llvm.get_host_cpu_name(), features=features.flatten())
    module = llvm.parse_assembly(_loop_text(lanes))
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _engines.append(engine)  # owns the code
    kind = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)
    return lanes, kind(engine.get_function_address("peak"))


_engines: list[object] = []


def _loop_text(lanes: int) -> str:
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
