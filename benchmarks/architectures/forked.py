"""Run a function in a process of its own: what crashes, hangs or eats memory costs one result.

In: a function and its arguments. Out: what it returned, as JSON can hold it, or an `Ended` saying how it ended instead.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """A process that gave no result: `how` is "timeout", "crash" or "error", `detail` says more."""

    how: str
    detail: str


@dataclass
class _Child:
    key: Any
    deadline: float
    limit: float
    text: bytes = b""


def run_forked(work: Iterable[tuple[Any, Callable[[], Any]]], limit: float, jobs: int = 1) -> Iterator[tuple[Any, Any]]:
    """Call every function in a forked child, `jobs` at a time, `limit` seconds each; yield (key, result)."""
    waiting = iter(work)
    running: dict[int, tuple[int, _Child]] = {}
    exhausted = False
    while running or not exhausted:
        while len(running) < jobs and not exhausted:
            try:
                key, function = next(waiting)
            except StopIteration:
                exhausted = True
                break
            reader, pid = _start(function)
            running[reader] = (pid, _Child(key, time.monotonic() + limit, limit))
        if not running:
            continue
        ready, _, _ = select.select(list(running), [], [], 0.5)
        for reader in list(running):
            pid, child = running[reader]
            if reader in ready:
                part = os.read(reader, 1 << 16)
                child.text += part
                if part:
                    continue
            elif time.monotonic() < child.deadline:
                continue
            else:
                os.kill(pid, signal.SIGKILL)
            os.close(reader)
            del running[reader]
            _, status = os.waitpid(pid, 0)
            yield child.key, _result(child, status, timed_out=reader not in ready)


def _start(function: Callable[[], Any]) -> tuple[int, int]:
    """Fork; returns where to read the child's answer, and its process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    os.close(reader)
    faulthandler.disable()  # what a dying child prints would only be noise: it is reported
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        answer = {"result": function()}
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{os.path.basename(place.filename)}:{place.lineno}"
        answer = {"error": f"{type(error).__name__}: {error} ({at})"}
    with os.fdopen(writer, "wb") as stream:
        stream.write(json.dumps(answer).encode())
    os._exit(0)


def _result(child: _Child, status: int, timed_out: bool) -> Any:
    if timed_out:
        return Ended("timeout", f"more than {child.limit:.0f} s")
    try:
        answer = json.loads(child.text)
    except ValueError:
        code = os.waitstatus_to_exitcode(status)
        return Ended("crash", f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}")
    return Ended("error", answer["error"]) if "error" in answer else answer["result"]
