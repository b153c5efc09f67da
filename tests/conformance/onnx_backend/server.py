"""Run cases where a crash does no harm: a server process that forks a child for each batch.

In (standard input, JSON lines): `{"mode": "native", "cases": ["test_abs", ...]}`. Out (standard output, JSON lines):
one `{"name", "status", "code", "detail"}` per case in order, then `{}`. The one idea: the server has imported
everything and made all cases once, single-threaded, so forking is safe and takes milliseconds; a child that dies or
hangs costs only the case it was running, and a fresh one goes on with the next.

`python server.py` is the server; `Client` is its other end.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Self

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[2]))

from conformance.onnx_backend.cases import Case, all_cases
from conformance.onnx_backend.execution import Result, execute

MEMORY_LIMIT = 12 << 30
"""Bytes of address space a child may take."""


class Client:
    """One server process. Use as a context manager; `run` is for one batch at a time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def run(self, mode: str, names: Sequence[str]) -> Iterator[tuple[str, Result]]:
        """Yield every named case's result as it comes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"mode": mode, "cases": list(names)}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            answer = json.loads(line)
            if not answer:
                return
            yield answer["name"], Result(answer["status"], answer["code"], answer["detail"])
        raise RuntimeError(f"the conformance server ended with status {self.process.wait()}")


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until the end of `requests`."""
    cases = all_cases()
    _warm_up()
    for line in requests:
        request = json.loads(line)
        for name, result in run_batch([cases[name] for name in request["cases"]], request["mode"]):
            entry = {"name": name, "status": result.status, "code": result.code, "detail": result.detail}
            answers.write(json.dumps(entry) + "\n")
            answers.flush()
        answers.write("{}\n")
        answers.flush()


def run_batch(cases: Sequence[Case], mode: str) -> Iterator[tuple[str, Result]]:
    """Run cases in forked children, one child until it dies, and yield each result."""
    position = 0
    while position < len(cases):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _child(cases[position:], mode, writer)
        os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as stream:
            for result in _results(stream, cases[position:], child):
                yield cases[position].name, result
                position += 1
        os.waitpid(child, 0)


def _child(cases: Sequence[Case], mode: str, writer: int) -> None:
    """Run cases one after the other, a JSON line each, and end the process without any clean-up."""
    import faulthandler
    import resource

    faulthandler.disable()  # what a dying child prints would only be noise: its case is reported as crashed
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for case in cases:
        result = execute(case, mode)
        os.write(writer, json.dumps([result.status, result.code, result.detail]).encode() + b"\n")
    os._exit(0)


def _results(stream: IO[bytes], cases: Sequence[Case], child: int) -> Iterator[Result]:
    """The child's results; when it dies or hangs, that case's result, and the end."""
    pending = b""
    for case in cases:
        deadline = time.monotonic() + case.time_limit
        while b"\n" not in pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                os.kill(child, signal.SIGKILL)
                yield Result("timeout", "", f"took more than {case.time_limit:.0f} s")
                return
            chunk = stream.read(65536)
            if not chunk:
                yield Result("crash", "", "the process died")
                return
            pending += chunk
        line, pending = pending.split(b"\n", 1)
        yield Result(*json.loads(line))


def _warm_up() -> None:
    """Import before forking what every child needs."""
    import importlib

    for module in ("penstock.compiler.driver", "penstock.compiler.interpreter", "penstock.compiler.frontends.onnx"):
        try:
            importlib.import_module(module)
        except ImportError:
            continue  # each case reports it, with its message


def main() -> None:
    """Serve on the original standard output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
