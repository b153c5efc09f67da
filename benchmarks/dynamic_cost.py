"""What symbolic extents cost: the dynamic version of each benchmark model beside the static one, at the same sizes.

    python benchmarks/make_models.py                         # <name>.onnx and <name>.npz into benchmarks/build
    python benchmarks/make_models.py --dynamic               # <name>.dynamic.onnx beside them
    python benchmarks/dynamic_cost.py [NAME ...]

In: a folder with both versions and the inputs. Out: a markdown table: median latencies of one thread, their ratio, the
largest difference as a part of the output's range, and the ratios' geometric mean. The sessions of a pair are timed in
turn, so that both see the same minutes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from page import duration, table

import penstock

HEADER = ("model", "static", "dynamic", "ratio", "difference", "compile static", "compile dynamic")


def sessions(folder: Path, name: str, target: str) -> tuple[list[Any], list[float]]:
    """A session of the static and of the dynamic version, and the seconds each took to compile."""
    made: list[Any] = []
    seconds: list[float] = []
    for version in (f"{name}.onnx", f"{name}.dynamic.onnx"):
        start = time.perf_counter()
        artifact = penstock.compile(folder / version, target=target)
        seconds.append(time.perf_counter() - start)
        path = folder / f"{version}.pens"
        artifact.save(path)
        made.append(penstock.load(path).session(threads=1))
    return made, seconds


def measure(pair: list[Any], inputs: dict[str, Any], seconds: float) -> list[float]:
    """Median seconds of a run of each session, run in turn for ``seconds``."""
    times: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for session, taken in zip(pair, times, strict=True):
            start = time.perf_counter()
            session.run(inputs)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def difference(first: dict[str, Any], second: dict[str, Any]) -> float:
    """The largest difference of two runs' outputs, as a part of the first's range."""
    parts = [
        float(np.abs(first[name].astype(np.float64) - second[name]).max() / max(np.ptp(first[name]), 1e-30))
        for name in first
        if first[name].size
    ]
    return max(parts, default=0.0)


def main() -> None:
    """Measure the models named, or all of which both versions are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--models-dir", type=Path, default=Path(__file__).with_name("build"))
    parser.add_argument("--seconds", type=float, default=4.0, help="time for each model (default: %(default)s)")
    parser.add_argument("--target", default="cpu", help="as for penstock compile (default: %(default)s)")
    arguments = parser.parse_args()
    folder: Path = arguments.models_dir
    names = arguments.names or sorted(path.name.removesuffix(".dynamic.onnx") for path in folder.glob("*.dynamic.onnx"))
    rows: list[list[str]] = []
    ratios: list[float] = []
    for name in names:
        with np.load(folder / f"{name}.npz") as stored:
            inputs = dict(stored)
        pair, compiled = sessions(folder, name, arguments.target)
        apart = difference(*(session.run(inputs) for session in pair))
        static, dynamic = measure(pair, inputs, arguments.seconds)
        ratios.append(dynamic / static)
        cells = [duration(static), duration(dynamic), f"{ratios[-1]:.2f}", f"{apart:.1e}", *map(duration, compiled)]
        rows.append([name, *cells])
        print(*rows[-1], sep="  ", flush=True)
    print()
    print("\n".join(table(HEADER, rows)))
    print(f"\nGeometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}, largest {max(ratios):.2f}.")


if __name__ == "__main__":
    main()
