"""Micro benchmarks: one operator at a time, in GFLOP/s or GB/s, beside onnxruntime and the measured peak.

    python benchmarks/kernels.py --filter 'conv|matmul' --threads 1

In: the single-operator models of `single_ops.py`. Out: a table on standard output, JSON with `--json`. The
engines are timed in turn in processes of their own (`measure.py`); the peak is measured before and after, and the
better one counts.
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
from single_ops import Kernel, all_kernels

from penstock.tools.ceilings import measure as measure_ceilings


def rate(kernel: Kernel, item: Measurement, peak: float) -> str:
    """Speed by the median: GFLOP/s with the part of the peak, or GB/s."""
    if item.failure or item.median_s is None:
        return f"fails: {item.failure[:60]}"
    if kernel.flops:
        speed = kernel.flops / item.median_s
        return f"{duration(item.median_s)}, {speed / 1e9:.0f} GF/s, {speed / (peak * item.threads):.0%}"
    return f"{duration(item.median_s)}, {kernel.bytes / item.median_s / 1e9:.1f} GB/s"


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


def main() -> int:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only kernels whose name matches this regular expression")
    parser.add_argument("--peers", default="penstock,onnxruntime", help=f"of {', '.join(all_peers())} (%(default)s)")
    parser.add_argument("--threads", default="1", help="numbers of threads, e.g. 1,2 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="per engine and round (%(default)s)")
    parser.add_argument("--priority", action="store_true", help="raise the measured processes' priority (root)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    kernels = [kernel for kernel in all_kernels() if re.search(arguments.filter, kernel.name)]
    if not kernels:
        parser.error("no kernel matches")
    peers, threads = arguments.peers.split(","), [int(count) for count in arguments.threads.split(",")]
    effort = Effort(arguments.rounds, arguments.seconds, priority=arguments.priority)
    peak = measure_ceilings().flops
    measured: list[tuple[Kernel, list[Measurement]]] = []
    for number, kernel in enumerate(kernels, 1):
        print(f"\r{number}/{len(kernels)} {kernel.name:40}", end="", file=sys.stderr, flush=True)
        measured.append((kernel, measure_kernel(kernel, peers, threads, effort)))
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    peak = max(peak, measure_ceilings().flops)
    print(f"f32 multiply-add peak, one core: {peak / 1e9:.0f} GFLOP/s\n")
    rows: list[list[str]] = []
    for kernel, items in measured:
        for count in threads:
            cells = [item for item in items if item.threads == count]
            ours = [item for item in cells if all_peers()[item.peer].ours]
            ratios = [f"{item.ratio:.2f}" for item in ours if item.ratio is not None]
            rows.append([kernel.name, str(count), *(rate(kernel, item, peak) for item in cells), ", ".join(ratios)])
    print("\n".join(table(["kernel", "threads", *peers, "ratio"], rows)))
    if arguments.json:
        results = [item.as_dict() for _, items in measured for item in items]
        document = {"machine": machine(), "peak": peak, "results": results}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
