"""The measured side of a benchmark: one process for one engine, one model and one number of threads.

In (standard input, JSON lines): `open`, `compile`, `load`, `check`, `time`, each with what it needs. Out (standard
output): a JSON line per command. The one idea: the process does nothing between commands, so that several of them can
be timed in turn. `measure.py` is its other end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import Arrays, Peer, Run, all_peers


def peak_memory() -> int:
    """Bytes of resident memory this process has had at most (VmHWM, which exec resets, unlike getrusage's figure)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


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
        return {"version": version, "import_s": time.perf_counter() - start}

    def compile(self, model: str, folder: str) -> dict[str, Any]:
        """Compile a model; seconds include reading it and writing the result, not importing the engine."""
        assert self.peer is not None
        start = time.perf_counter()
        compiled = self.peer.compile(Path(model), Path(folder))
        seconds = time.perf_counter() - start
        return {
            "compile_s": seconds,
            "path": str(compiled.path),
            "size": compiled.size,
            "kernels": compiled.kernels,
            "compile_peak": peak_memory(),
        }

    def load(self, path: str, threads: int) -> dict[str, Any]:
        """Load what `compile` made."""
        assert self.peer is not None
        start = time.perf_counter()
        self.run = self.peer.load(Path(path), threads)
        return {"load_s": time.perf_counter() - start}

    def check(self, inputs: str, outputs: str) -> dict[str, Any]:
        """Run once on the inputs of an .npz file and store the outputs in another."""
        assert self.run is not None
        with np.load(inputs) as stored:
            self.inputs = dict(stored)
        start = time.perf_counter()
        results = self.run(self.inputs)
        first = time.perf_counter() - start
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in results.items()}
        np.savez(outputs, **arrays)
        return {"first_s": first, "peak": peak_memory()}

    def time(self, seconds: float, calls: int) -> dict[str, Any]:
        """Call again and again for about `seconds`, at least `calls` times; nanoseconds of each call."""
        assert self.run is not None
        run, inputs, clock = self.run, self.inputs, time.perf_counter_ns
        samples: list[int] = []
        end = clock() + int(seconds * 1e9)
        while True:
            start = clock()
            run(inputs)
            stop = clock()
            samples.append(stop - start)
            if stop >= end and len(samples) >= calls:
                return {"samples": samples, "peak": peak_memory()}


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
        except Exception as error:  # the other end tells the user, and goes on with the next model
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
