"""Micro benchmarks: one operator at a time, in GFLOP/s or GB/s, beside onnxruntime and the measured peak.

    python benchmarks/kernels.py --filter 'conv|matmul' --threads 1
    python benchmarks/kernels.py --targets --threads 1,2    # GEMM and ResNet-50's layers against what we mean to reach

In: the single-operator models of `single_ops.py`. Out: a table on standard output, JSON with `--json`. The engines are
timed in turn in processes of their own (`measure.py`); the peak is measured for each number of threads, again and again
between the kernels, and the best counts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from measure import Effort, Measurement, machine, measure_model
from page import duration, table
from peers import all_peers
from roofline import measure_machine
from single_ops import Kernel, all_kernels


def rate(kernel: Kernel, item: Measurement, peak: float) -> str:
    """Speed by the median: GFLOP/s with the part of the peak, or GB/s."""
    if item.failure or item.median_s is None:
        return f"fails: {item.failure[:60]}"
    if kernel.flops:
        speed = kernel.flops / item.median_s
        return f"{duration(item.median_s)}, {speed / 1e9:.0f} GF/s, {speed / peak:.0%}"
    return f"{duration(item.median_s)}, {kernel.bytes / item.median_s / 1e9:.1f} GB/s"


def standing(kernel: Kernel, item: Measurement, peak: float) -> str:
    """The target and whether it is reached, by the median; empty where there is none."""
    if kernel.target is None:
        return ""
    reached = item.median_s is not None and kernel.flops / item.median_s >= kernel.target * peak
    return f"{kernel.target:.0%} {'reached' if reached else 'missed'}"


def measure_kernel(kernel: Kernel, peers: list[str], threads: list[int], effort: Effort) -> list[Measurement]:
    """Write the model and its inputs to a temporary folder and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.onnx"
        onnx.save(kernel.model, path)
        np.savez(path.with_suffix(".npz"), **kernel.inputs)
        results = measure_model(path, peers, threads, effort)
    for item in results:
        item.model = kernel.name
    return results


def table_rows(
    measured: list[tuple[Kernel, list[Measurement]]], peaks: dict[int, float]
) -> tuple[list[list[str]], list[str]]:
    """A row per kernel and number of threads, and what became of the targets."""
    known = all_peers()
    rows: list[list[str]] = []
    verdicts: list[str] = []
    for kernel, items in measured:
        for count, peak in peaks.items():
            cells = [item for item in items if item.threads == count]
            ours = [item for item in cells if known[item.peer].ours]
            ratios = [f"{item.ratio:.2f}" for item in ours if item.ratio is not None]
            verdict = [text for item in ours if (text := standing(kernel, item, peak))]
            verdicts += verdict
            speeds = [rate(kernel, item, peak) for item in cells]
            rows.append([kernel.name, str(count), *speeds, ", ".join(ratios), ", ".join(verdict)])
    return rows, verdicts


def main() -> int:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only kernels whose name matches this regular expression")
    parser.add_argument("--targets", action="store_true", help="only kernels with a target: GEMM, ResNet-50's layers")
    parser.add_argument("--peers", default="penstock,onnxruntime", help=f"of {', '.join(all_peers())} (%(default)s)")
    parser.add_argument("--threads", default="1", help="numbers of threads, e.g. 1,2 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="per engine and round (%(default)s)")
    parser.add_argument("--priority", action="store_true", help="raise the measured processes' priority (root)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    kernels = [kernel for kernel in all_kernels() if re.search(arguments.filter, kernel.name)]
    kernels = [kernel for kernel in kernels if kernel.target or not arguments.targets]
    if not kernels:
        parser.error("no kernel matches")
    peers, threads = arguments.peers.split(","), [int(count) for count in arguments.threads.split(",")]
    effort = Effort(arguments.rounds, arguments.seconds, priority=arguments.priority)
    peaks = dict.fromkeys(threads, 0.0)
    measured: list[tuple[Kernel, list[Measurement]]] = []
    for number, kernel in enumerate(kernels, 1):
        print(f"\r{number}/{len(kernels)} {kernel.name:40}", end="", file=sys.stderr, flush=True)
        for count, found in measure_machine(threads, effort.priority).items():
            peaks[count] = max(peaks[count], found.flops)
        measured.append((kernel, measure_kernel(kernel, peers, threads, effort)))
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    for count, peak in peaks.items():
        print(f"f32 multiply-add peak, {count} thread(s): {peak / 1e9:.0f} GFLOP/s")
    rows, verdicts = table_rows(measured, peaks)
    print("\n" + "\n".join(table(["kernel", "threads", *peers, "ratio", "target"], rows)))
    if verdicts:
        print(f"\n{sum(text.endswith('reached') for text in verdicts)} of {len(verdicts)} targets reached")
    if arguments.json:
        results = [item.as_dict() for _, items in measured for item in items]
        document = {"machine": machine(), "peaks": peaks, "results": results}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
