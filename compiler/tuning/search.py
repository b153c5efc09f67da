"""The search of ``--tune``: candidates measured in the whole model on this machine, within a time that is kept.

In: a model, options and seconds. Out: a tuning record, and what the search came to. The one idea: one artifact tries a
candidate at every point of a stage at once, and the times of its commands, beside those of the artifact without, judge
each by itself: in the caches and after the neighbours that it will have, and in as many compilations as a point has
candidates, not as there are points.

A candidate is taken only if it is faster beyond the noise of the measurement, twice: when it is tried, and when all
that were found are tried together. In the end the whole model must be faster than the untuned one, or all is dropped.
Points are visited from the one that takes most time; what takes next to none is left alone.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from penstock.compiler.caching.store import Store, Unusable, default_folder
from penstock.compiler.errors import CANNOT_TUNE, OptionError
from penstock.compiler.tuning.choices import STAGES, Point, key_of
from penstock.compiler.tuning.meter import WHOLE, Command, Meter, RuntimeMeter, Sample
from penstock.compiler.tuning.record import MODEL, Choice, Record, Tunings

if TYPE_CHECKING:
    from penstock.compiler.driver import Artifact, CompileOptions
    from penstock.compiler.frontends.onnx.reader import ModelSource

LEAST_GAIN = 0.02
"""The least share of its time that a point must gain, beyond noise: less is not worth another kernel."""
LEAST_SHARE = 0.003
"""Of the model's time, that a point must take to be looked at."""
MEASURE_SHARE, MEASURE_SECONDS = 0.05, 1.0
"""One measurement takes this share of the time there is, but no more than these seconds."""
AFTERWARDS = 3
"""Steps, compilations with a measurement, for which there must be time when another candidate is tried: that one, the
second measurement of what won, and the comparison of the whole model."""
AGAIN, WHOLE_MODEL = 2, 3
"""How much longer than the first measurement these two are."""
FASTER, NOT_FASTER = "faster", "not faster"

Clock = Callable[[], float]
Measuring = Callable[["Artifact", "Artifact", float, float], list[Sample]]
"""A method of a meter."""


@dataclass(frozen=True)
class Tuning:
    """What the search came to: a ``record`` of all choices, how many points it ``measured`` now and found ``stored``,
    the whole model's ``gain`` (None: not measured now), and ``sentence`` for people."""

    record: Record
    measured: int
    stored: int
    gain: float | None
    sentence: str


def tune(
    model: ModelSource, options: CompileOptions, meter: Meter | None = None, clock: Clock = time.monotonic
) -> Tuning:
    """Search for ``options.tune`` seconds. Raises OptionError where nothing can be measured, or what compiling does."""
    search = Search(model, options, meter or RuntimeMeter(), clock)
    for number, stage in enumerate(STAGES):
        search.stage(stage, (number + 1) / len(STAGES))
    return search.finish()


def host_level(options: CompileOptions) -> str:
    """The instruction set level of ``options`` that this machine would run. Raises OptionError if it runs none."""
    from penstock.compiler.backends import backend
    from penstock.compiler.backends.cpu.target import LEVELS, host_isa

    levels = options.levels
    if not backend(options.backend).computes or options.backend != "cpu":
        reason = f"kernels of the target {options.backend} cannot be measured here."
        raise OptionError(CANNOT_TUNE, reason, CANNOT_TUNE.remedy)
    known = list(LEVELS)
    runs = known[known.index(host_isa()) :]
    level = next((level for level in levels if level in runs), None)
    if level is None:
        reason = f"code for {' and '.join(levels)} does not run on this machine, so it cannot be measured here."
        raise OptionError(CANNOT_TUNE, reason, CANNOT_TUNE.remedy)
    return level


# Judging -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """How the other artifact compares: ``gain`` is the share of time saved at least, beyond noise (negative: none);
    ``worst`` the ratio of times, median, for the number of threads where it is greatest."""

    gain: float
    worst: float

    def better(self, least: float) -> bool:
        """Whether it saves more than the share ``least``, and is slower for no number of threads."""
        return self.gain > least and self.worst <= 1.0


def judge(samples: Sequence[Sample], commands: Callable[[Command], bool]) -> Verdict | None:
    """The times of ``commands`` compared; None if one side has none, so that there is nothing to compare.

    Of the logarithms of the ratios, the median counts for each number of threads, with twice its standard error
    (from the median absolute deviation) taken as noise; numbers of threads count alike.
    """
    ratios: dict[int, list[float]] = {}
    for sample in samples:
        one, other = (sum(t for command, t in side.items() if commands(command)) for side in (sample.one, sample.other))
        if one <= 0 or other <= 0:
            return None
        ratios.setdefault(sample.threads, []).append(math.log(other / one))
    if not ratios:
        return None
    bounds: list[float] = []
    medians: list[float] = []
    for found in ratios.values():
        middle = statistics.median(found)
        spread = statistics.median(abs(ratio - middle) for ratio in found)
        medians.append(middle)
        bounds.append(middle + 2 * 1.2533 * 1.4826 * spread / math.sqrt(len(found)))
    return Verdict(1 - math.exp(statistics.mean(bounds)), math.exp(max(medians)))


def belongs(point: Point) -> Callable[[Command], bool]:
    """Whether a command computes what was chosen at ``point``."""
    if point.kernel:
        return lambda command: command[1] == point.kernel
    return lambda command: not point.nodes.isdisjoint(command[0].split(" + "))


# Searching -----------------------------------------------------------------------------------------------------------


@dataclass
class Search:
    """One search: what is settled so far, and the time that is left."""

    model: ModelSource
    options: CompileOptions
    meter: Meter
    clock: Clock
    settled: dict[str, Choice] = field(default_factory=dict[str, Choice])
    measured: int = 0
    stored: int = 0
    ran_out: bool = False

    def __post_init__(self) -> None:
        self.level = host_level(self.options)
        self.seconds = self.options.tune
        self.started = self.clock()
        if self.options.record is not None:
            self.settled = {choice.key: choice for choice in self.options.record.choices}
        self.tunings = _tunings() if self.options.cache else None
        self.plain = replace(  # each run is measured alone, so that nothing is kept from one to the next
            self.options,
            tune=0.0,
            target=f"{self.options.backend}:{self.level}",
            specialize={},
            state=(),
            keep_debug=False,
        )
        self.compiling = self.measuring = 0.0  # the longest so far, in seconds
        self.untuned, self.points = self._compile({})
        self.used: set[str] = set()

    def stage(self, kind: str, share: float) -> None:
        """Settle the points of one kind, within this share of the time."""
        deadline = self.started + share * self.seconds
        one, points = self.untuned, self.points
        if any(choice.changes for choice in self.settled.values()):
            if not self._fits(deadline):
                return
            one, points = self._compile(self._choices())
        self.used.update(points)
        open_points = [point for point in points.values() if point.kind == kind and not self._known(point)]
        if not open_points or not self._fits(deadline):
            return
        shares = _shares(self._measure(self.meter.commands, one, one), open_points)
        wanted = [p for p in sorted(open_points, key=lambda p: -shares[p.key]) if shares[p.key] >= LEAST_SHARE]
        winners = self._try_all(one, wanted, deadline)
        if winners:
            self._confirm(one, wanted, winners)

    def finish(self) -> Tuning:
        """The record of what is left after the comparison of the whole model."""
        chosen = {key: choice for key, choice in self.settled.items() if key in self.used}
        changed = {key: choice.choice for key, choice in chosen.items() if choice.changes}
        gain: float | None = None
        if changed:
            key = key_of(MODEL, self.level, "\n".join(f"{key} {choice}" for key, choice in sorted(changed.items())))
            known = self.tunings.get(key) if self.tunings else None
            if known is None:
                tuned, _ = self._compile(changed)
                samples = self._measure(self.meter.runs, self.untuned, tuned, WHOLE_MODEL)
                verdict = judge(samples, lambda command: command == WHOLE)
                gain = max(0.0, verdict.gain) if verdict else 0.0
                taken = FASTER if verdict is not None and verdict.better(0.0) else NOT_FASTER
                known = Choice(key, self.level, f"{len(changed)} choices together", taken, NOT_FASTER, gain)
                if samples:
                    self._keep(known)
            if known.choice != FASTER:
                chosen = {key: replace(c, choice=c.default, gain=0.0) for key, c in chosen.items()}
                changed, gain = {}, 0.0
        record = Record.here(chosen.values())
        return Tuning(record, self.measured, self.stored, gain, self._sentence(len(changed), gain))

    def _sentence(self, changed: int, gain: float | None) -> str:
        points = f"{self.measured} kernels and layouts measured, {self.stored} found in the cache"
        if self.measured + self.stored == 0 and self.ran_out:
            return f"no candidate was measured in {self.seconds:g} s, so nothing is changed: give --tune more time"
        if not changed and self.ran_out:
            return f"{points}; nothing was shown to be faster in {self.seconds:g} s, so nothing is changed"
        if not changed:
            return f"{points}; none of the other candidates makes the model faster, so nothing is changed"
        told = f", with which the model is faster by at least {gain:.1%}" if gain else ""
        return f"{points}; {changed} changed{told}"

    def _known(self, point: Point) -> bool:
        """Whether the point is settled, by now or by an earlier search whose choice is still a candidate."""
        if point.key in self.settled:
            return True
        known = self.tunings.get(point.key) if self.tunings else None
        if known is None or known.choice not in point.options:
            return False
        self.settled[point.key] = replace(known, default=point.default)
        self.stored += 1
        return True

    def _try_all(self, one: Artifact, wanted: Sequence[Point], deadline: float) -> dict[str, tuple[str, float]]:
        """By key, the best candidate that is faster beyond noise and its gain, for as long as there is time: round i
        tries candidate i of every point."""
        winners: dict[str, tuple[str, float]] = {}
        for number in range(1, max((len(point.options) for point in wanted), default=0)):
            if not self._fits(deadline, AFTERWARDS):
                break
            tried = {p.key: p.options[number] for p in wanted if number < len(p.options)}
            verdicts = self._try(one, wanted, tried)
            if verdicts is None:
                break
            for point, verdict in verdicts:
                if verdict.better(max(LEAST_GAIN, winners.get(point.key, ("", 0.0))[1])):
                    winners[point.key] = tried[point.key], verdict.gain
            self._done(wanted, number, winners)
        return winners

    def _done(self, wanted: Sequence[Point], number: int, winners: Mapping[str, tuple[str, float]]) -> None:
        """Points whose last candidate has just been tried, in vain, keep the cost model's: that, too, is a result."""
        for point in wanted:
            if number == len(point.options) - 1 and point.key not in winners:
                self.measured += 1
                self._settle(point, point.default, 0.0)

    def _confirm(self, one: Artifact, wanted: Sequence[Point], winners: Mapping[str, tuple[str, float]]) -> None:
        """Measure all that won once more, together; only what wins again is taken."""
        tried = {key: choice for key, (choice, _) in winners.items()}
        found = self._try(one, wanted, tried, AGAIN)
        if found is None:
            return
        verdicts = {point.key: verdict for point, verdict in found}
        for point in (point for point in wanted if point.key in winners):
            verdict = verdicts.get(point.key)
            won = verdict is not None and verdict.better(LEAST_GAIN)
            self.measured += 1
            self._settle(point, tried[point.key] if won else point.default, verdict.gain if verdict and won else 0.0)

    def _try(
        self, one: Artifact, wanted: Sequence[Point], tried: Mapping[str, str], slices: int = 1
    ) -> list[tuple[Point, Verdict]] | None:
        """How the candidates ``tried``, by key, compare with what ``one`` has; without points that a compilation with
        them does not come to, or whose commands cannot be told. None if time is up."""
        other, points = self._compile({**self._choices(), **tried})
        samples = self._measure(self.meter.commands, one, other, slices)
        if not samples:
            return None
        taken = {key: point.taken for key, point in points.items()}
        came = [point for point in wanted if point.key in tried and taken.get(point.key) == tried[point.key]]
        judged = [(point, judge(samples, belongs(point))) for point in came]
        return [(point, verdict) for point, verdict in judged if verdict is not None]

    def _fits(self, deadline: float, steps: int = 1) -> bool:
        """Whether so many steps, each as long as the longest so far, end before the deadline."""
        longer = (AGAIN - 1 + WHOLE_MODEL - 1) * self._slice() if steps == AFTERWARDS else 0.0
        fits = self.clock() + steps * (self.compiling + self.measuring) + longer <= deadline
        self.ran_out = self.ran_out or not fits
        return fits

    def _settle(self, point: Point, choice: str, gain: float) -> None:
        self.settled[point.key] = Choice(point.key, point.level, point.what, choice, point.default, round(gain, 4))
        self._keep(self.settled[point.key])

    def _keep(self, choice: Choice) -> None:
        if self.tunings is not None:
            self.tunings.put(choice)

    def _choices(self) -> dict[str, str]:
        return {key: choice.choice for key, choice in self.settled.items()}

    def _measure(self, how: Measuring, one: Artifact, other: Artifact, slices: int = 1) -> list[Sample]:
        """Samples; none if there is no time for them, before all of it is over."""
        began = self.clock()
        samples = how(one, other, slices * self._slice(), self.started + self.seconds - began)
        if slices == 1:
            self.measuring = max(self.measuring, self.clock() - began)
        self.ran_out = self.ran_out or not samples
        return samples

    def _slice(self) -> float:
        """Seconds that one measurement should take."""
        return min(MEASURE_SECONDS, MEASURE_SHARE * self.seconds)

    def _compile(self, choices: Mapping[str, str]) -> tuple[Artifact, Mapping[str, Point]]:
        """The model with these choices, for this machine's level, and the points that it comes to."""
        from penstock.compiler.driver import run_phases

        began = self.clock()
        listed = [Choice(key, "", "", choice, "") for key, choice in choices.items()]
        result = run_phases(self.model, replace(self.plain, tuned=Record.here(listed)))
        assert result.artifact is not None
        assert result.ctx.choices is not None
        self.compiling = max(self.compiling, self.clock() - began)
        return result.artifact, result.ctx.choices.points


def _shares(samples: Sequence[Sample], points: Sequence[Point]) -> dict[str, float]:
    """The share of the model's time that each point takes, by key."""
    times: dict[Command, float] = {}
    for sample in samples:
        for command, seconds in sample.one.items():
            times[command] = times.get(command, 0.0) + seconds
    total = sum(times.values()) or 1.0
    found: dict[str, float] = {}
    for point in points:
        mine = belongs(point)
        found[point.key] = sum(seconds for command, seconds in times.items() if mine(command)) / total
    return found


def _tunings() -> Tunings | None:
    folder = default_folder()
    try:
        return Tunings(Store(folder)) if folder is not None else None
    except Unusable:
        return None
