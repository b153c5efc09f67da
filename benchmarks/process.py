"""The other end of `cell.py`: a process that runs one engine on one model, asked over pipes.

Out: answers as dictionaries. The one idea: whatever an engine does (raise, crash, hang) becomes a `CellError` with one
sentence, and a process that is not being asked is stopped, so that no spinning thread of its takes time from another.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class CellError(RuntimeError):
    """A command of a cell failed; the text says why."""


class NotInstalled(CellError):
    """The engine is not installed."""


class Process:
    """A `cell.py` process, leader of its own session. Commands raise CellError."""

    def __init__(self, priority: bool) -> None:
        command = [sys.executable, str(Path(__file__).with_name("cell.py")), *(["--priority"] if priority else [])]
        # Modules are compiled to bytecode once, as where engines are installed, not by every load.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __call__(self, command: str, limit: float = 60.0, **arguments: object) -> dict[str, Any]:
        """The answer to a command; after `limit` seconds the process is killed."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._line(command, limit)
        if not line:
            raise CellError(f"{command}: the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise (NotInstalled if answer.get("missing") else CellError)(f"{command}: {answer['error']}")
        return answer

    def _line(self, command: str, limit: float) -> bytes:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                self._signal(signal.SIGKILL)
                raise CellError(f"{command}: not done after {limit:.0f} s")
        return self.process.stdout.readline()

    def pause(self) -> None:
        """Stop the process and all it started."""
        self._signal(signal.SIGSTOP)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let a paused process run while the context lasts."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()

    def close(self) -> None:
        """End the process and all it started."""
        self._signal(signal.SIGKILL)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()
        self.process.wait()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass
