"""What a call costs: a model with next to nothing to do (one 8x8 linear layer), one thread.

    python benchmarks/call_overhead.py

In: nothing. Out: nanoseconds per call, the best and the median of many batches, from Python in every engine, and from
C in penstock (where a C compiler is found).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from peers import all_peers

CALLS = 2000
"""Calls in a batch: long enough for the clock, short enough that some batches run undisturbed."""


def write_model(path: Path) -> None:
    """y = x w + b with x: f32 [1, 8]."""
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((8, 8)), "b": random.standard_normal(8)}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="linear")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def batches(call: Callable[[], object], number: int) -> list[float]:
    """Nanoseconds per call in each of `number` batches, after one batch of warm-up."""
    for _ in range(CALLS):
        call()
    found: list[float] = []
    for _ in range(number):
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter_ns() - start) / CALLS)
    return found


def batches_from_c(artifact: Path, folder: Path, number: int) -> list[float] | None:
    """The same in a C program that is linked with libpenstock.a; None where there is no C compiler."""
    from penstock.runtime.library import FOLDER

    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    source, program = Path(__file__).with_suffix(".c"), folder / "call_overhead"
    flags = ["-std=c11", "-O2", f"-I{FOLDER}", "-pthread", "-o", str(program)]
    subprocess.run([compiler, str(source), str(Path(FOLDER) / "libpenstock.a"), *flags], check=True)
    done = subprocess.run([program, artifact, str(number), str(CALLS)], check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


def main() -> int:
    """Measure and print a line per way of calling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=100, help=f"batches of {CALLS} calls (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    inputs = {"x": np.ones((1, 8), np.float32)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "linear.onnx")
        for peer_name, peer_class in all_peers().items():
            peer = peer_class()
            try:
                peer.version()
            except ImportError:
                continue
            artifact = peer.compile(folder / "linear.onnx", folder).path
            run = peer.load(artifact, threads=1)
            found = batches(lambda run=run: run(inputs), arguments.batches)
            results[f"{peer_name} from Python"] = {"best": min(found), "median": statistics.median(found)}
            if peer_name == "penstock":
                native = batches_from_c(Path(artifact), folder, arguments.batches)
                if native is None:
                    print("penstock from C: not measured, there is no C compiler", file=sys.stderr)
                else:
                    results["penstock from C"] = {"best": min(native), "median": statistics.median(native)}
    if arguments.json:
        print(json.dumps(results))
    else:
        for label, item in results.items():
            print(f"{label:28} best {item['best']:7.0f} ns, median {item['median']:7.0f} ns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
