"""The measured side of a benchmark: one process for one engine, one model and one number of threads.

In (standard input, JSON lines): `open`, `compile`, `load`, `check`, `time`, `ceilings`, each with what it needs. Out
(standard output): a JSON line per command. The one idea: the process does nothing between commands, so that several of
them can be timed in turn. `process.py` is its other end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from compiled import compile_with
from peers import Arrays, Peer, Run, all_peers


def memory(field: str) -> int:
    """Bytes of resident memory: VmRSS now, VmHWM at most (since exec, unlike getrusage's figure)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def peak_memory() -> int:
    """Bytes of resident memory this process has had at most."""
    return memory("VmHWM")


class Cell:
    """The state between commands. Each method is a command; its keyword arguments come from the request."""

    def __init__(self) -> None:
        self.peer: Peer | None = None
        self.run: Run | None = None
        self.inputs: Arrays = {}

    def open(self, peer: str) -> dict[str, Any]:
        """Import an engine."""
        start = time.perf_counter()
        self.peer = all_peers()[peer]()
        version = self.peer.version()
        return {"version": version, "import_s": time.perf_counter() - start, "idle": memory("VmRSS")}

    def compile(self, model: str, folder: str, threads: int, cache: str | None) -> dict[str, Any]:
        """Compile a model; seconds include reading it and writing the result, not importing the engine.

        Where the engine is slow and an earlier run has compiled the same, the answer is that run's.
        """
        assert self.peer is not None
        keep = Path(cache) if cache else None
        answer = compile_with(self.peer, Path(model), Path(folder), threads, keep)
        return answer if answer.pop("old") else {**answer, "compile_peak": peak_memory()}

    def load(self, path: str, threads: int) -> dict[str, Any]:
        """Load what `compile` made."""
        assert self.peer is not None
        start = time.perf_counter()
        self.run = self.peer.load(Path(path), threads)
        return {"load_s": time.perf_counter() - start, "planned": self.peer.planned}

    def check(self, inputs: str, outputs: str) -> dict[str, Any]:
        """Run twice on the inputs of an .npz file and store the outputs in another; `peak` is before storing them.

        `tensors`: bytes of inputs and outputs, which belong to whoever calls.
        """
        assert self.run is not None
        with np.load(inputs) as stored:
            self.inputs = dict(stored)
        start = time.perf_counter()
        results = self.run(self.inputs)
        first = time.perf_counter() - start
        del results
        results = self.run(self.inputs)  # beside what the first call has left behind
        peak = peak_memory()
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in results.items()}
        np.savez(outputs, **arrays)
        tensors = sum(np.asarray(array).nbytes for array in (*self.inputs.values(), *arrays.values()))
        return {"first_s": first, "peak": peak, "tensors": tensors}

    def time(self, seconds: float, calls: int) -> dict[str, Any]:
        """Call again and again for about `seconds`, at least `calls` times; nanoseconds of each call.

        A fifth of the time goes to warming up: others have used the caches since the last turn.
        """
        assert self.run is not None
        run, inputs, clock = self.run, self.inputs, time.perf_counter_ns
        samples: list[int] = []
        warm = clock() + int(seconds * 0.2e9)
        while clock() < warm:
            run(inputs)
        end = clock() + int(seconds * 1e9)
        while True:
            start = clock()
            run(inputs)
            stop = clock()
            samples.append(stop - start)
            if stop >= end and len(samples) >= calls:
                return {"samples": samples}

    def ceilings(self, threads: int) -> dict[str, Any]:
        """What the machine reaches with so many threads: operations, and bytes from each level of memory, a second."""
        from penstock.tools.ceilings import measure, measure_levels

        return {"flops": measure(threads).flops, "levels": [asdict(level) for level in measure_levels(threads)]}


def raise_priority() -> None:
    """Put this session's scheduling group first where the kernel groups tasks by session and permits it (root)."""
    try:
        Path("/proc/self/autogroup").write_text("-20")
        os.nice(-10)
    except OSError:
        pass


def main() -> None:
    """Answer commands until standard input ends; an exception is an answer too."""
    if "--priority" in sys.argv:
        raise_priority()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cell = Cell()
    for line in sys.stdin:
        request = json.loads(line)
        command = getattr(cell, request.pop("command"))
        try:
            answer = command(**request)
        except ImportError as error:
            answer = {"error": f"not installed ({error})"[:400], "missing": True}
        except Exception as error:  # the other end tells the user, and goes on with the next model
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
