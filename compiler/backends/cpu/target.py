"""What penstock knows of CPUs: instruction set levels and the numbers schedules decide by.

In: the name of a level. Out: a frozen ``CpuTarget``. The one idea: schedules ask this description and nothing else,
so a new level is one more entry of ``LEVELS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from penstock.compiler import errors
from penstock.compiler.backends.llvm.machine import Machine


@dataclass(frozen=True)
class CpuTarget:
    """An instruction set level and a typical machine of it.

    ``lanes``: lanes of a machine vector in emitted code, for every element type. ``vector_registers`` of
    ``vector_bytes``. Cache sizes in bytes, of one core (``l3_bytes``: of the part of the last level cache one core can
    expect). Rates of one core: ``clock`` in GHz, multiply-add instructions and loads and stores per cycle, memory
    bandwidth in GB/s from the last level cache and from memory. ``pairs``: whether it multiplies pairs of bf16 in one
    instruction (AVX512_BF16).
    """

    isa: str
    lanes: int
    vector_registers: int
    vector_bytes: int
    mask_registers: int
    l1_bytes: int = 32 * 1024
    l2_bytes: int = 1024 * 1024
    l3_bytes: int = 8 * 1024 * 1024
    clock: float = 3.5
    fma_per_cycle: int = 2
    loads_per_cycle: int = 2
    stores_per_cycle: int = 1
    l3_bandwidth: float = 80.0
    memory_bandwidth: float = 20.0
    pairs: bool = False

    @property
    def peak_f32(self) -> float:
        """f32 operations per nanosecond of one core, a multiply-add counted as two."""
        return 2 * self.fma_per_cycle * (self.vector_bytes // 4) * self.clock

    @property
    def machine(self) -> Machine:
        """What the LLVM emitter needs to know."""
        wide = self.lanes == 16
        return Machine(
            self.lanes,
            self.isa.removesuffix(BF16_SUFFIX),
            fused=True,
            gathers=wide,
            masks_bytes=wide,
            scales=wide,
            pairs=self.pairs,
            features="+avx512bf16" if self.pairs else "",
        )


BF16_SUFFIX = "-bf16"
"""What the names of levels end in that have AVX512_BF16, which no level of the psABI includes."""

LEVELS: dict[str, CpuTarget] = {
    level.isa: level
    for level in (
        CpuTarget(
            f"x86-64-v4{BF16_SUFFIX}", lanes=16, vector_registers=32, vector_bytes=64, mask_registers=7, pairs=True
        ),
        CpuTarget("x86-64-v4", lanes=16, vector_registers=32, vector_bytes=64, mask_registers=7),
        CpuTarget("x86-64-v3", lanes=8, vector_registers=16, vector_bytes=32, mask_registers=0),
    )
}
"""Instruction set levels, the most capable first (the order in which a runtime tries them)."""


def cpu_target(isa: str) -> CpuTarget:
    """The description of a level. Raises TargetError for an unknown one."""
    if isa not in LEVELS:
        raise errors.TargetError(
            errors.UNKNOWN_ISA,
            f"the CPU has no instruction set level {isa!r}{errors.nearest(isa, LEVELS)}",
            f"levels are {', '.join(LEVELS)}",
        )
    return LEVELS[isa]


@cache
def host_isa() -> str:
    """The most capable level this machine runs. Raises TargetError if it runs none."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    avx512 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
    needed = {
        f"x86-64-v4{BF16_SUFFIX}": (*avx512, "avx512bf16"),
        "x86-64-v4": avx512,
        "x86-64-v3": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    }
    for isa in LEVELS:
        if all(features.get(name) for name in needed[isa]):
            return isa
    raise errors.TargetError(errors.UNKNOWN_ISA, f"this machine runs none of {', '.join(LEVELS)}")
