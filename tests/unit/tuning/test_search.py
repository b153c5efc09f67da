"""The search with a meter that makes times up: what is slower is never taken, and time is kept. Nothing is timed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from unit.frontend.dynamic import model, value

import penstock
from penstock.compiler.backends.cpu import target
from penstock.compiler.caching.store import VARIABLE, Store
from penstock.compiler.driver import Artifact, CompileOptions
from penstock.compiler.errors import CANNOT_TUNE, OptionError
from penstock.compiler.tuning import meter as measuring
from penstock.compiler.tuning.choices import PANEL, SCHEDULE, WINOGRAD
from penstock.compiler.tuning.meter import WHOLE, Sample
from penstock.compiler.tuning.record import Record, Tunings
from penstock.compiler.tuning.search import Tuning, tune

Rule = Callable[[Mapping[str, Any]], float]
"""How much longer what is computed by a tuned choice (of a manifest) takes: 1 for as long."""


def network() -> bytes:
    """A convolution and a matrix product, each with several ways to be computed."""
    weights = {"w": (32, 16, 3, 3), "m": (2048, 48)}
    generator = np.random.default_rng(1)
    arrays = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="convolution", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "m"], ["y"], name="product"),
    ]
    made = model(nodes, [value("x", [2, 16, 8, 8])], [value("y", [2, 48])], **arrays)
    return made.SerializeToString()


@dataclass
class Fake:
    """A meter: every command takes a microsecond, times what ``rule`` says, times ``noise``; whole runs take ``whole``
    times what their commands do. It counts calls, and each takes ``seconds`` of the clock that it is, ``slowing`` times
    as long as the one before."""

    rule: Rule = lambda choice: 1.0
    noise: Callable[[], float] = lambda: 1.0
    whole: float = 1.0
    slower: Mapping[int, float] = field(default_factory=dict[int, float])
    seconds: float = 0.0
    slowing: float = 1.0
    now: float = 0.0
    began: list[float] = field(default_factory=list[float])

    def clock(self) -> float:
        return self.now

    def commands(self, one: Artifact, other: Artifact, seconds: float, limit: float = math.inf) -> list[Sample]:
        return self._samples(lambda artifact: self._times(artifact), one, other, limit)

    def runs(self, one: Artifact, other: Artifact, seconds: float, limit: float = math.inf) -> list[Sample]:
        return self._samples(
            lambda artifact: {WHOLE: sum(self._times(artifact).values()) * (self.whole if tuned(artifact) else 1.0)},
            one,
            other,
            limit,
        )

    def _samples(
        self, times: Callable[[Artifact], dict[Any, float]], one: Artifact, other: Artifact, limit: float
    ) -> list[Sample]:
        self.began.append(self.now)
        self.seconds *= self.slowing
        self.now += min(self.seconds, limit)
        if self.seconds > limit:
            return []
        found: list[Sample] = []
        for number in range(20):
            threads = 1 + number % 2
            factor = self.slower.get(threads, 1.0) if tuned(other) else 1.0
            found.append(Sample(threads, times(one), {key: t * factor for key, t in times(other).items()}))
        return found

    def _times(self, artifact: Artifact) -> dict[Any, float]:
        (plan,) = artifact._contents.plans.values()
        times: dict[Any, float] = {}
        for command in plan.commands:
            seconds = 1e-6 * self.noise()
            for choice in tuned(artifact):
                if set(choice["nodes"]) & set(command.source.split(" + ")):
                    seconds *= self.rule(choice)
            times[command.source, plan.kernels[command.kernel]] = seconds
        return times


def tuned(artifact: Artifact) -> list[dict[str, Any]]:
    """The choices that an artifact says were tuned."""
    return artifact._contents.manifest.get("tuned", {}).get("choices", [])


def search(fake: Fake, seconds: float = 1000.0, **options: Any) -> Tuning:
    """A search with times that are made up, with kernels from the cache of these tests."""
    return tune(network(), CompileOptions(tune=seconds, **options), fake, fake.clock)


def changes(tuning: Tuning) -> dict[str, str]:
    """What was chosen other than estimated, by kind."""
    return {choice.key.split(":")[0]: choice.choice for choice in tuning.record.choices if choice.changes}


def test_what_is_slower_is_never_taken(store: Store) -> None:
    found = search(Fake(rule=lambda choice: 1.5))
    assert found.measured > 3
    assert changes(found) == {}
    assert penstock.compile(network(), tuned=found.record).bytes == penstock.compile(network()).bytes


def test_what_is_faster_is_taken_and_gives_the_same_artifact_every_time(store: Store) -> None:
    found = search(Fake(rule=lambda choice: 0.7 if choice["choice"] == "direct" else 1.0))
    assert changes(found) == {WINOGRAD: "direct"}
    assert found.gain is not None
    assert found.gain > 0.1
    one, again = (penstock.compile(network(), tuned=found.record) for _ in range(2))
    assert one.bytes == again.bytes != penstock.compile(network()).bytes
    (choice,) = tuned(one)
    assert (choice["choice"], choice["nodes"]) == ("direct", ["convolution"])
    assert one.report.tuned == 1
    x = {"x": np.random.default_rng(2).standard_normal((2, 16, 8, 8)).astype(np.float32)}
    expected, result = (made.load().session(threads=1).run(x)["y"] for made in (penstock.compile(network()), one))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("kind", [PANEL, SCHEDULE])
def test_every_kind_of_choice_can_win(kind: str, store: Store) -> None:
    levels = {PANEL: [""], SCHEDULE: ["x86-64-v4", "x86-64-v3"]}[kind]
    found = search(Fake(rule=lambda choice: 0.8 if choice["level"] in levels and choice["choice"] != "direct" else 1.3))
    assert kind in changes(found)
    made = penstock.compile(network(), tuned=found.record)
    assert len(tuned(made)) == sum(choice.changes for choice in found.record.choices)


@pytest.mark.parametrize("gain", [1.0, 0.99])
def test_noise_is_not_taken_for_a_gain(gain: float, store: Store) -> None:
    generator = random.Random(0)
    found = search(Fake(rule=lambda choice: gain, noise=lambda: generator.uniform(0.9, 1.1)))
    assert changes(found) == {}


def test_what_wins_once_only_is_not_taken(store: Store) -> None:
    fake = Fake()
    fake.rule = lambda choice: 0.7 if len(fake.began) == 2 else 1.0  # the first trial after the shares
    assert changes(search(fake)) == {}


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_slower_with_some_number_of_threads_is_not_taken(threads: int, store: Store) -> None:
    assert changes(search(Fake(rule=lambda choice: 0.5, slower={threads: 2.2}))) == {}


def test_all_is_dropped_if_the_whole_model_is_not_faster(store: Store) -> None:
    found = search(Fake(rule=lambda choice: 0.7, whole=2.0))
    assert found.measured > 3
    assert changes(found) == {}
    assert "nothing is changed" in found.sentence


def test_results_are_stored_and_found_again(store: Store) -> None:
    rule: Rule = lambda choice: 0.7 if choice["choice"] == "direct" else 1.0  # noqa: E731
    first, fake = search(Fake(rule=rule)), Fake(rule=lambda choice: 3.0)
    again = search(fake)
    assert again.record == first.record
    assert (again.measured, again.stored) == (0, first.measured)
    assert fake.began == []


def test_nothing_is_stored_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    fakes = Fake(seconds=1.0), Fake(seconds=1.0)
    assert [search(fake, 8.0).stored for fake in fakes] == [0, 0]
    assert all(fake.began for fake in fakes)


def test_a_plain_compilation_reads_nothing_of_it(store: Store) -> None:
    before = penstock.compile(network()).bytes
    search(Fake(rule=lambda choice: 0.7))
    assert penstock.compile(network()).bytes == before


@pytest.mark.parametrize("seconds", [1.0, 7.0, 12.0, 40.0])
def test_the_deadline_is_kept(seconds: float, store: Store) -> None:
    fake = Fake(rule=lambda choice: 0.9, seconds=1.0)
    search(fake, seconds)
    assert fake.now <= seconds
    assert fake.began


@pytest.mark.parametrize("seconds", [7.0, 12.0, 40.0])
def test_what_takes_longer_than_expected_is_broken_off_and_not_kept(seconds: float, store: Store) -> None:
    """Every measurement takes twice as long as the one before."""
    fake = Fake(rule=lambda choice: 0.7, seconds=0.5, slowing=2.0)
    found = search(fake, seconds)
    assert fake.now <= seconds
    assert changes(found) == {}
    assert "so nothing is changed" in found.sentence
    found = search(Fake(rule=lambda choice: 0.7))
    assert changes(found) != {}


def test_a_measurement_ends_when_time_is_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without samples, however long a model takes: here an hour for a run."""
    made = penstock.compile(network())
    now = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: float(next(now)))
    meter = measuring.RuntimeMeter()
    assert meter.runs(made, made, 1.0, 30.0) == meter.commands(made, made, 1.0, 4000.0) == []
    assert next(now) < 20 * 3600
    assert meter.runs(made, made, 1.0)


def test_too_little_time_is_told(store: Store) -> None:
    found = search(Fake(seconds=1.0), 1.0)
    assert found.sentence == "no candidate was measured in 1 s, so nothing is changed: give --tune more time"


def test_more_time_is_no_worse(store: Store) -> None:
    counts: list[int] = []
    for seconds in (3.0, 40.0, 400.0):
        Tunings(store).clear()
        counts.append(search(Fake(rule=lambda choice: 0.9, seconds=1.0), seconds).measured)
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_a_record_that_is_given_is_where_the_search_begins(store: Store) -> None:
    first = search(Fake(rule=lambda choice: 0.7 if choice["choice"] == "direct" else 1.0))
    Tunings(store).clear()
    assert changes(search(Fake(), tuned=first.record)) == {}  # the whole is not faster: dropped
    Tunings(store).clear()
    assert changes(search(Fake(whole=0.8), tuned=first.record)) == {WINOGRAD: "direct"}


@pytest.mark.parametrize("name", ["cpu:x86-64-v4", "null"])
def test_what_does_not_run_here_cannot_be_tuned(name: str, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(target, "host_isa", lambda: "x86-64-v3")
    with pytest.raises(OptionError) as caught:
        penstock.compile(network(), target=name, tune=1.0)
    assert caught.value.code == CANNOT_TUNE
    assert "measured here" in caught.value.message


def test_a_model_that_does_not_run_cannot_be_tuned(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(measuring, "example_inputs", lambda model: {})
    with pytest.raises(OptionError, match="Input x is missing") as caught:
        penstock.compile(network(), tune=20.0)
    assert caught.value.code == CANNOT_TUNE


def test_on_the_real_machine(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is found, the results are those of the model, and the record gives the artifact again."""
    monkeypatch.setattr(measuring, "TURN_SECONDS", 0.001)
    made = penstock.compile(network(), tune=6.0)
    assert made.report.tuning is not None
    assert made.report.notes[-1] == made.report.tuning.sentence
    assert penstock.compile(network(), tuned=made.report.tuning.record).bytes == made.bytes
    x = {"x": np.random.default_rng(2).standard_normal((2, 16, 8, 8)).astype(np.float32)}
    expected, result = (each.load().session(threads=1).run(x)["y"] for each in (penstock.compile(network()), made))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_sizes_chosen_at_run_time_are_made_up(store: Store) -> None:
    weights = np.ones((24, 40), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    symbolic = model(nodes, [value("x", ["n", 24])], [value("y", ["n", 40])], w=weights)
    made = penstock.compile(symbolic, dims={"n": (1, 64)})
    (x,) = measuring.example_inputs(made.load()).values()
    assert x.shape == (64, 24)
    samples = measuring.RuntimeMeter().commands(made, made, 0.0)
    assert {command[0] for sample in samples for command in sample.one} == {"product"}
    assert all(seconds > 0 for sample in samples for seconds in sample.other.values())


def test_a_record_without_choices_changes_nothing(store: Store) -> None:
    assert penstock.compile(network(), tuned=Record.here()).bytes == penstock.compile(network()).bytes


def test_the_record_travels_in_a_dump(tmp_path: Path, store: Store) -> None:
    from penstock.compiler.driver import run_phases
    from penstock.compiler.dumps import DumpWriter

    found = search(Fake(rule=lambda choice: 0.8 if choice["level"] else 1.0))
    options = CompileOptions(tuned=found.record)
    result = run_phases(network(), options, observers=[DumpWriter(tmp_path)])
    again = run_phases(tmp_path / "06-fuse.mlir", CompileOptions())
    assert result.artifact is not None
    assert again.artifact is not None
    assert result.report.tuned > 0
    assert again.artifact._contents.images == result.artifact._contents.images
