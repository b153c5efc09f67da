"""The measuring side of a benchmark: processes of several engines, timed in turn.

In: a model, its inputs, engines and numbers of threads. Out: a `Measurement` per engine and number of threads. The one
idea: what is compared runs in the same minutes, in rotation, each in a process of its own that idles while others are
timed; so noise hits all alike and no engine's threads or caches disturb another's.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCE = "onnxruntime"
"""The engine whose outputs the others' errors and whose times the others' ratios refer to."""


@dataclass
class Measurement:
    """One engine on one model with one number of threads. Times are seconds, sizes bytes.

    `error` is the largest absolute difference from the reference's outputs, as a part of the range of that output's
    values. `same_bits` says whether the outputs have the bits they have with one thread. `failure` replaces all.
    """

    model: str
    peer: str
    threads: int
    version: str = ""
    compile_s: float | None = None
    compile_peak: int | None = None
    size: int | None = None
    kernels: int | None = None
    load_s: float | None = None
    first_s: float | None = None
    median_s: float | None = None
    p10_s: float | None = None
    p90_s: float | None = None
    best_s: float | None = None
    calls: int = 0
    peak: int | None = None
    error: float | None = None
    same_bits: bool | None = None
    ratio: float | None = None
    failure: str = ""
    samples: list[int] = field(default_factory=list, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; without the samples."""
        document = asdict(self)
        del document["samples"]
        return document


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of `seconds` for each engine in turn, at least `calls` calls in each."""

    rounds: int = 5
    seconds: float = 0.4
    calls: int = 3
    priority: bool = False


class CellError(RuntimeError):
    """A command of a cell failed; the text says why."""


class Process:
    """A `cell.py` process. Commands raise CellError when the engine fails or the process dies."""

    def __init__(self, priority: bool) -> None:
        command = [sys.executable, str(Path(__file__).with_name("cell.py")), *(["--priority"] if priority else [])]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=priority,
        )

    def __call__(self, command: str, **arguments: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            raise CellError(f"the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise CellError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()
        self.process.wait()


def measure_model(
    model: Path, peers: Sequence[str], threads: Sequence[int], effort: Effort, inputs: Path | None = None
) -> list[Measurement]:
    """Measure one ONNX file, with the inputs in the .npz file beside it, in all engines and numbers of threads."""
    inputs = inputs or model.with_suffix(".npz")
    with tempfile.TemporaryDirectory() as folder:
        compiled = {peer: _compile(model, peer, Path(folder), effort) for peer in peers}
        results: list[Measurement] = []
        for count in threads:
            group = [Measurement(model.stem, peer, count, **compiled[peer][0]) for peer in peers]
            paths = [compiled[peer][1] for peer in peers]
            _measure_in_turn(group, paths, inputs, Path(folder), effort)
            results += group
        _compare_outputs(results, Path(folder))
    return results


def _compile(model: Path, peer: str, folder: Path, effort: Effort) -> tuple[dict[str, Any], str]:
    """Compile in a process of its own; the fields of a Measurement, and the path to load."""
    process = Process(effort.priority)
    try:
        opened = process("open", peer=peer)
        answer = process("compile", model=str(model), folder=str(folder))
    except CellError as error:
        return {"failure": f"compile: {error}"}, ""
    finally:
        process.close()
    path = answer.pop("path")
    if path == str(model):  # an engine that reads ONNX: its compilation is part of loading
        answer.update(compile_s=None, compile_peak=None)
    return {**answer, "version": opened["version"]}, path


def _measure_in_turn(group: list[Measurement], paths: list[str], inputs: Path, folder: Path, effort: Effort) -> None:
    """Load all, run all once, then time them in rotation; a failure is noted and the others go on."""
    running: list[tuple[Measurement, Process]] = []
    processes: list[Process] = []
    try:
        for item, path in zip(group, paths, strict=True):
            if item.failure:
                continue
            process = Process(effort.priority)
            processes.append(process)
            try:
                item.version = process("open", peer=item.peer)["version"]
                item.load_s = process("load", path=path, threads=item.threads)["load_s"]
                outputs = _outputs_path(folder, item)
                item.first_s = process("check", inputs=str(inputs), outputs=str(outputs))["first_s"]
                process("time", seconds=effort.seconds / 2, calls=1)  # warm-up
            except CellError as error:
                item.failure = str(error)
                continue
            running.append((item, process))
        for _ in range(effort.rounds):
            for item, process in running:
                answer = process("time", seconds=effort.seconds, calls=effort.calls)
                item.samples += answer["samples"]
                item.peak = answer["peak"]
    finally:
        for process in processes:
            process.close()
    for item, _ in running:
        samples = np.array(item.samples) * 1e-9
        item.p10_s, item.median_s, item.p90_s = (float(v) for v in np.percentile(samples, [10, 50, 90]))
        item.best_s, item.calls = float(samples.min()), len(samples)


def _compare_outputs(results: list[Measurement], folder: Path) -> None:
    """Fill in `error`, `same_bits` and `ratio`."""
    done = {(item.peer, item.threads): item for item in results if not item.failure}
    for item in done.values():
        reference = done.get((REFERENCE, item.threads))
        if reference is not None:
            item.error = relative_error(_outputs_path(folder, item), _outputs_path(folder, reference))
            assert item.median_s is not None
            assert reference.median_s is not None
            item.ratio = item.median_s / reference.median_s
        single = done.get((item.peer, 1))
        if single is not None:
            mine, others = _read(_outputs_path(folder, item)), _read(_outputs_path(folder, single))
            item.same_bits = all(mine[name].tobytes() == others[name].tobytes() for name in others)


def relative_error(outputs: Path, reference: Path) -> float:
    """The largest absolute difference over all outputs, each as a part of its reference's range; infinite for NaN."""
    mine, expected = _read(outputs), _read(reference)
    worst = 0.0
    for name, array in expected.items():
        if mine[name].shape != array.shape:
            return float("inf")
        wide = array.astype(np.float64)
        reach = float(wide.max() - wide.min()) or float(np.abs(wide).max()) or 1.0
        difference = float(np.abs(mine[name].astype(np.float64) - wide).max()) / reach
        worst = max(worst, difference if difference == difference else float("inf"))
    return worst


def _outputs_path(folder: Path, item: Measurement) -> Path:
    return folder / f"{item.model}-{item.peer}-{item.threads}.npz"


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as stored:
        return dict(stored)


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, vector extensions, cores, system, load."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    notable = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
    return {
        "processor": fields.get("model name", platform.processor()),
        "family": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "extensions": [flag for flag in notable if flag in flags],
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load": round(os.getloadavg()[0], 1),
    }
