"""Measures two artifacts against each other, in the runtime, on this machine.

In: two artifacts of one model. Out: samples, each of which has the seconds that both took, for one number of threads.
The one idea: what else the machine does changes slowly beside a run, so the two take turns of a few runs each, and only
times from neighbouring turns are compared. The first run of a turn finds the other's data in the caches and is not
counted; of the others the least time counts, of every command by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from penstock.compiler.errors import CANNOT_TUNE, OptionError
from penstock.compiler.extent_text import parse
from penstock.compiler.extents import TYPICAL, evaluate
from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    from penstock.compiler.driver import Artifact
    from penstock.runtime import Model, Session

TURN_SECONDS = 0.01
RUNS = 2, 12
"""The fewest and the most runs of a turn that count."""
LEAST_SAMPLES, MOST_SAMPLES = 6, 40
"""For each number of threads, whatever the time that is left; and how many are enough."""

Command = tuple[str, str]
"""A command's source nodes and its kernel."""
Times = Mapping[Command, float]
WHOLE: Command = ("", "")


@dataclass(frozen=True)
class Sample:
    """Seconds of ``one`` artifact and of the ``other`` in turns beside each other, with so many ``threads``; of each
    command, or of ``WHOLE`` runs."""

    threads: int
    one: Times
    other: Times


class Meter(Protocol):
    """What measures. ``seconds`` is the time it should take; if it cannot within ``limit`` seconds, it stops with the
    next run and has no samples."""

    def commands(self, one: Artifact, other: Artifact, seconds: float, limit: float = math.inf) -> list[Sample]:
        """The times of commands."""
        ...

    def runs(self, one: Artifact, other: Artifact, seconds: float, limit: float = math.inf) -> list[Sample]:
        """The times of whole runs, without looking into them."""
        ...


class RuntimeMeter:
    """Runs artifacts with one thread, and with as many as a session has if nobody says how many."""

    def commands(self, one: Artifact, other: Artifact, seconds: float, limit: float = math.inf) -> list[Sample]:
        return _measure(one, other, seconds, _within(limit, _commands))

    def runs(self, one: Artifact, other: Artifact, seconds: float, limit: float = math.inf) -> list[Sample]:
        return _measure(one, other, seconds, _within(limit, _whole))


Inputs = Mapping[str, NDArray[Any]]
Run = Callable[["Session", Inputs], Times]


class _TimeIsUp(Exception):
    """There is no time for another run."""


def _within(limit: float, run: Run) -> Run:
    """``run``, which raises _TimeIsUp once ``limit`` seconds have passed."""
    end = time.perf_counter() + limit

    def timed(session: Session, inputs: Inputs) -> Times:
        if time.perf_counter() > end:
            raise _TimeIsUp
        return run(session, inputs)

    return timed


def _measure(one: Artifact, other: Artifact, seconds: float, run: Run) -> list[Sample]:
    """Turns of both, for every number of threads in turn. Raises OptionError if the model does not run."""
    models: list[Model] = []
    try:
        models += [one.load(), other.load()]
        inputs = example_inputs(models[0])
        sessions = [[model.session(threads=1) for model in models], [model.session() for model in models]]
        if sessions[1][0].threads == 1:
            sessions.pop()
        return _turns(sessions, inputs, seconds, run)
    except _TimeIsUp:
        return []
    except PenstockError as error:
        raise OptionError(CANNOT_TUNE, f"the model cannot be measured: {error.message}", CANNOT_TUNE.remedy) from error
    finally:
        for model in models:  # with its sessions
            model.close()


def _turns(sessions: list[list[Session]], inputs: Inputs, seconds: float, run: Run) -> list[Sample]:
    end = time.perf_counter() + seconds
    samples: list[Sample] = []
    for number in range(MOST_SAMPLES):
        if number >= LEAST_SAMPLES and time.perf_counter() > end:
            break
        for pair in sessions:
            order = (0, 1) if number % 2 == 0 else (1, 0)
            found = {which: _turn(pair[which], inputs, run) for which in order}
            if number > 0:  # in the first turns memory is touched for the first time
                samples.append(Sample(pair[0].threads, found[0], found[1]))
    return samples


def _turn(session: Session, inputs: Inputs, run: Run) -> Times:
    run(session, inputs)
    end = time.perf_counter() + TURN_SECONDS
    best = dict(run(session, inputs))
    for number in range(1, RUNS[1]):
        if number >= RUNS[0] and time.perf_counter() > end:
            break
        times = run(session, inputs)
        best = {command: min(seconds, times[command]) for command, seconds in best.items()}
    return best


def _commands(session: Session, inputs: Inputs) -> Times:
    times: dict[Command, float] = {}
    for record in session.profile(inputs)[1]:
        command = record.source, record.kernel
        times[command] = times.get(command, 0.0) + (record.end_ns - record.start_ns) * 1e-9
    return times


def _whole(session: Session, inputs: Inputs) -> Times:
    started = time.perf_counter()
    session.run(inputs)
    return {WHOLE: time.perf_counter() - started}


def example_inputs(model: Model) -> dict[str, NDArray[Any]]:
    """Arrays to run ``model`` on, the same every time: normal numbers for floating point, else 0 or 1, which are valid
    as indices and as masks. Sizes that a run chooses are as estimates take them to be."""
    sizes = {symbol.name: min(max(TYPICAL, symbol.low), symbol.high) for symbol in model.symbols}
    generator = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for info in model.inputs:
        shape = tuple(evaluate(parse(n), sizes) if isinstance(n, str) else n for n in info.shape)
        if info.dtype.kind == "f":
            arrays[info.name] = generator.standard_normal(shape).astype(info.dtype)
        else:
            arrays[info.name] = generator.integers(0, 2, shape).astype(info.dtype)
    return arrays
