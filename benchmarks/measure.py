"""The measuring side of a benchmark: processes of several engines, timed in turn.

In: a model, its inputs, engines and numbers of threads. Out: a `Measurement` per engine and number of threads. The one
idea: what is compared runs in the same minutes, in rotation, each in a process of its own that is stopped while others
are timed; so noise hits all alike and no engine's threads or caches disturb another's.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import Peer, all_peers
from process import CellError, NotInstalled, Process


@dataclass
class Measurement:
    """One engine on one model with one number of threads. Times are seconds, sizes bytes.

    `ratio` is the median of the fastest other engine of the same precision (not one of ours) over this one's: above 1
    is faster than all of them. `best_peer` is that engine. `roofline` is the part of the machine's ceilings reached.
    `error` is the largest absolute difference from the f64 reference's outputs, as a part of the range of that output's
    values. `same_bits` says whether the outputs have the bits they have with one thread. `failure` replaces all;
    `missing` says that it is an engine that is not installed. `peak` and `idle` are the process's resident memory at
    most, and when nothing but the engine was imported; `planned` is what the engine says weights and values take,
    `tensors` what the caller's inputs and outputs do.
    """

    model: str
    peer: str
    threads: int
    precision: str = "f32"
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
    idle: int | None = None
    planned: int | None = None
    tensors: int | None = None
    error: float | None = None
    same_bits: bool | None = None
    ratio: float | None = None
    best_peer: str = ""
    roofline: float | None = None
    failure: str = ""
    missing: bool = False
    samples: list[int] = field(default_factory=list, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; without the samples."""
        document = asdict(self)
        del document["samples"]
        return document


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of `seconds` for each engine in turn, and no more rounds after `most` seconds.

    `compile_limit` and `call_limit` are the seconds after which compiling or loading, and timing, count as failures.
    """

    rounds: int = 5
    seconds: float = 0.4
    most: float = 8.0
    calls: int = 1
    priority: bool = False
    compile_limit: float = 300.0
    call_limit: float = 120.0


def measure_model(
    model: Path,
    peers: Sequence[str],
    threads: Sequence[int],
    effort: Effort,
    *,
    reference: Path | None = None,
    cache: Path | None = None,
) -> list[Measurement]:
    """Measure one ONNX file, with the inputs in the .npz file beside it, in all engines and numbers of threads.

    `reference` has the outputs to compare with (.npz), `cache` is where slow compilations are kept.
    """
    known = all_peers()
    wanted = [known[name] for name in peers if _wanted(known[name], model)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths: dict[tuple[str, int], str] = {}
        results: list[Measurement] = []
        for peer in wanted:
            fields: dict[str, Any] = {}
            path = ""
            for index, count in enumerate(threads):
                if index == 0 or peer.per_thread_count:
                    fields, path = _compile(model, peer.name, count, folder, cache, effort)
                results.append(Measurement(model.stem, peer.name, count, peer.precision, **fields))
                paths[peer.name, count] = path
        for count in threads:
            group = [item for item in results if item.threads == count]
            _measure_in_turn(group, paths, model.with_suffix(".npz"), folder, effort)
        _compare_outputs(results, folder, reference)
        rank(results, known)
    return results


def compile_all(
    model: Path, peers: Sequence[str], threads: Sequence[int], cache: Path, effort: Effort
) -> Iterator[str]:
    """Compile in every engine whose compilations are kept; a line for each."""
    known = all_peers()
    for peer in (known[name] for name in peers if known[name].cached and _wanted(known[name], model)):
        for count in threads if peer.per_thread_count else threads[:1]:
            with tempfile.TemporaryDirectory() as name:
                fields, _ = _compile(model, peer.name, count, Path(name), cache, effort)
            outcome = fields.get("failure") or f"{fields['compile_s']:.1f} s"
            yield f"{model.stem} {peer.name} {count}: {outcome}"


def _wanted(peer: type[Peer], model: Path) -> bool:
    return peer.largest_model is None or model.stat().st_size <= peer.largest_model


def _compile(
    model: Path, peer: str, threads: int, folder: Path, cache: Path | None, effort: Effort
) -> tuple[dict[str, Any], str]:
    """Compile in a process of its own; the fields of a Measurement, and the path to load."""
    process = Process(effort.priority)
    keep = None if cache is None else str(cache)
    try:
        opened = process("open", peer=peer)
        request = {"model": str(model), "folder": str(folder), "threads": threads, "cache": keep}
        answer = process("compile", effort.compile_limit, **request)
    except CellError as error:
        return {"failure": str(error), "missing": isinstance(error, NotInstalled)}, ""
    finally:
        process.close()
    path = answer.pop("path")
    if path == str(model):  # an engine that reads ONNX: its compilation is part of loading
        answer.update(compile_s=None, compile_peak=None)
    return {**answer, "version": opened["version"]}, path


def _measure_in_turn(
    group: list[Measurement], paths: Mapping[tuple[str, int], str], inputs: Path, folder: Path, effort: Effort
) -> None:
    """Load all, run all once, then time them in rotation; a failure is noted and the others go on."""
    running: list[tuple[Measurement, Process]] = []
    processes: list[Process] = []
    try:
        for item in group:
            if item.failure:
                continue
            process = Process(effort.priority)
            processes.append(process)
            try:
                opened = process("open", peer=item.peer)
                item.version, item.idle = opened["version"], opened["idle"]
                path = paths[item.peer, item.threads]
                loaded = process("load", effort.compile_limit, path=path, threads=item.threads)
                item.load_s, item.planned = loaded["load_s"], loaded["planned"]
                outputs = _outputs_path(folder, item)
                request = {"inputs": str(inputs), "outputs": str(outputs)}
                checked = process("check", effort.call_limit, **request)
                item.first_s, item.peak, item.tensors = checked["first_s"], checked["peak"], checked["tensors"]
            except CellError as error:
                item.failure, item.missing = str(error), isinstance(error, NotInstalled)
                continue
            process.pause()
            running.append((item, process))
        for _ in range(effort.rounds):
            for item, process in running:
                _time(item, process, effort)
    finally:
        for process in processes:
            process.close()
    for item, _ in running:
        if not item.failure:
            samples = np.array(item.samples) * 1e-9
            item.p10_s, item.median_s, item.p90_s = (float(v) for v in np.percentile(samples, [10, 50, 90]))
            item.best_s, item.calls = float(samples.min()), len(samples)


def _time(item: Measurement, process: Process, effort: Effort) -> None:
    """One turn of one engine, unless it failed in an earlier one or has had its time."""
    if item.failure or sum(item.samples) * 1e-9 > effort.most:
        return
    with process.awake():
        try:
            answer = process("time", effort.call_limit, seconds=effort.seconds, calls=effort.calls)
        except CellError as error:
            item.failure = str(error)
            return
    item.samples += answer["samples"]


def _compare_outputs(results: list[Measurement], folder: Path, reference: Path | None) -> None:
    """Fill in `error` and `same_bits`."""
    done = {(item.peer, item.threads): item for item in results if not item.failure}
    for item in done.values():
        if reference is not None:
            item.error = relative_error(_outputs_path(folder, item), reference)
        single = done.get((item.peer, 1))
        if single is not None:
            mine, others = (list(_read(_outputs_path(folder, each)).values()) for each in (item, single))
            item.same_bits = [array.tobytes() for array in mine] == [array.tobytes() for array in others]


def rank(results: Sequence[Measurement], known: Mapping[str, type[Peer]]) -> None:
    """Fill in `best_peer` and `ratio`, among the results of one model with the same precision and number of threads."""
    for item in results:
        rivals = {
            other.peer: other.median_s
            for other in results
            if (other.model, other.threads, other.precision) == (item.model, item.threads, item.precision)
            and other.median_s is not None
            and not known[other.peer].ours
            and other.peer != item.peer
        }
        if rivals and item.median_s is not None:
            item.best_peer = min(rivals, key=lambda name: rivals[name])
            item.ratio = rivals[item.best_peer] / item.median_s


def relative_error(outputs: Path, reference: Path) -> float:
    """The largest absolute difference over all outputs, each as a part of its reference's range; infinite for NaN.

    Outputs are compared in order: engines that compile functions do not keep all names.
    """
    mine, expected = (list(_read(path).values()) for path in (outputs, reference))
    if [array.shape for array in mine] != [array.shape for array in expected]:
        return float("inf")
    worst = 0.0
    for actual, array in zip(mine, expected, strict=True):
        if not array.size:
            continue
        wide = array.astype(np.float64)
        reach = float(wide.max() - wide.min()) or float(np.abs(wide).max()) or 1.0
        difference = float(np.abs(actual.astype(np.float64) - wide).max()) / reach
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
