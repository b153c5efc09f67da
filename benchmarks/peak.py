"""The machine's f32 multiply-add peak, measured: a loop of independent vector FMAs that touches no memory.

Out: flops per second of one core, with the widest vectors the processor has. The best of several short runs counts: the
peak is what the core can do, not what a busy machine lets it do at the moment.
"""

from __future__ import annotations

import ctypes
import time

CHAINS = 24
"""Independent accumulators: more than latency (4 cycles) times throughput (2 per cycle) needs, fewer than registers."""

ITERATIONS = 2_000_000


def vector_width() -> int:
    """f32 lanes of the widest vector FMA of this processor."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


def loop_ir(lanes: int, chains: int) -> str:
    """LLVM IR of `float peak(int64 iterations)`."""
    vector = f"<{lanes} x float>"
    phis = "\n".join(f"  %a{i} = phi {vector} [ %start, %entry ], [ %b{i}, %loop ]" for i in range(chains))
    call = f"call {vector} @llvm.fma.v{lanes}f32"
    steps = "\n".join(f"  %b{i} = {call}({vector} %a{i}, {vector} %scale, {vector} %shift)" for i in range(chains))
    sums = [f"  %s0 = fadd {vector} %b0, %b1"]
    sums += [f"  %s{i} = fadd {vector} %s{i - 1}, %b{i + 1}" for i in range(1, chains - 1)]
    total = "\n".join(sums)
    return f"""
declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})
define float @peak(i64 %n, float %x) {{
entry:
  %seed = insertelement {vector} poison, float %x, i32 0
  %start = shufflevector {vector} %seed, {vector} poison, <{lanes} x i32> zeroinitializer
  %scale = fmul {vector} %start, %start
  %shift = fadd {vector} %start, %start
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{steps}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %exit
exit:
{total}
  %result = extractelement {vector} %s{chains - 2}, i32 0
  ret float %result
}}
"""


def fma_peak(repeats: int = 7) -> float:
    """f32 flops per second of one core (two per multiply-add), the best of `repeats` runs."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    lanes = vector_width()
    module = binding.parse_assembly(loop_ir(lanes, CHAINS if lanes == 16 else 12))
    chains = CHAINS if lanes == 16 else 12
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=2
    )
    engine = binding.create_mcjit_compiler(module, target)
    engine.finalize_object()
    signature = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)
    loop = signature(engine.get_function_address("peak"))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        loop(ITERATIONS, 1e-3)
        best = min(best, time.perf_counter() - start)
    return 2.0 * lanes * chains * ITERATIONS / best


if __name__ == "__main__":
    print(f"{fma_peak() / 1e9:.1f} GFLOP/s on one core, {vector_width()} lanes")
