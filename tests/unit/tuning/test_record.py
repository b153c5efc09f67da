"""Tuning records: what is written is read again, and what is not as it was written is refused in a sentence."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.tuning.test_search import network

import penstock
from penstock.compiler.caching.store import Store
from penstock.compiler.driver import CompileOptions
from penstock.compiler.errors import BAD_TUNING, BAD_VALUE, CANNOT_WRITE_OUTPUT, NOTED, ModelError, OptionError
from penstock.compiler.tuning import record as records
from penstock.compiler.tuning.record import MODEL, Choice, Record, Tunings, read_record

KEY = "schedule:" + "0" * 32
CHOICE = Choice(KEY, "x86-64-v4", "contraction: matmul", "6x32 sweep 1 chains 1", "6x64 sweep 1 chains 1", 0.125)


def sealed(plain: dict[str, Any]) -> bytes:
    """A record's text with a checksum that holds, whatever is in it."""
    plain.pop("checksum", None)
    return json.dumps({**plain, "checksum": records._checksum(plain)}).encode()


def changed(**facts: Any) -> bytes:
    """A record with other facts."""
    return sealed({**json.loads(Record.here([CHOICE]).to_text()), **facts})


def with_choice(**facts: Any) -> bytes:
    """A record of one choice, with other facts of it."""
    return changed(choices=[{**dataclasses.asdict(CHOICE), **facts}])


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Record.here([CHOICE, dataclasses.replace(CHOICE, key="panel:" + "f" * 32, gain=0.0)])
    record.save(tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert record.given == {CHOICE.key: CHOICE.choice, "panel:" + "f" * 32: CHOICE.choice}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    assert record.processor
    assert json.loads(record.to_text())["choices"][1]["what"] == "contraction: matmul"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1, 2]", "is no tuning record of the format"),
        (b'{"format": "penstock-tuning-9"}', "is no tuning record of the format"),
        (Record.here([CHOICE]).to_text().replace("6x32", "6x16").encode(), "its checksum does not hold"),
        (Record.here([CHOICE]).to_text().encode()[:-20], "is no JSON"),
        (b'{"format": "penstock-tuning-1"}', "its checksum does not hold"),
        (changed(choices=None), "lacks its machine, its version or its choices"),
        (changed(processor=7), "lacks its machine, its version or its choices"),
        (changed(processor="\x1b[2J"), "lacks its machine, its version or its choices"),
        (changed(choices=[7]), "has a choice, number 1, without key, level"),
        (changed(choices=[dataclasses.asdict(CHOICE)] * 2), "chooses twice for one key"),
        (changed(choices=[0] * 100_001), "has more than 100000 choices"),
        (with_choice(more=1), "has a choice, number 1, without key, level"),
        (with_choice(choice="x" * 5000), "with what is no printable text of at most 4096 characters"),
        (with_choice(what="\x1b]0;"), "with what is no printable text of at most 4096 characters"),
        (with_choice(key="colour:" + "0" * 32), "a kind of choice that is unknown"),
        (with_choice(key="schedule:0"), "a kind of choice that is unknown"),
        (with_choice(gain=2), "whose gain is no number from 0 to 1"),
        (with_choice(gain=float("nan")), "whose gain is no number from 0 to 1"),
        (with_choice(gain=True), "whose gain is no number from 0 to 1"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(data)
    with pytest.raises(OptionError) as caught:
        read_record(path)
    assert caught.value.code == BAD_TUNING
    assert reason in caught.value.message
    assert str(path) in caught.value.message


def test_nesting_of_any_depth_is_refused() -> None:
    """Also what can just be read, but not written to compute its checksum."""
    for depth in range(1, sys.getrecursionlimit() + 50):
        with pytest.raises(ValueError, match=r"is no JSON|its checksum does not hold"):
            records.parse_record(b'{"format":"penstock-tuning-1","x":' + b"[" * depth + b"]" * depth + b"}")


def test_a_file_too_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LARGEST_FILE", 1 << 20)
    (tmp_path / "record.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(OptionError, match="has more than 1 MB"):
        read_record(tmp_path / "record.json")


def test_a_missing_file_is_refused_before_anything_is_compiled(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read: No such file") as caught:
        penstock.compile(b"no model", tuned=tmp_path / "none.json")
    assert caught.value.code == BAD_TUNING


def test_a_record_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError) as caught:
        Record.here().save(tmp_path / "file" / "record.json")
    assert caught.value.code == CANNOT_WRITE_OUTPUT


def points(store: Store) -> list[Choice]:
    """A choice for every point of the model, as estimated."""
    from penstock.compiler.driver import run_phases

    found = run_phases(network(), CompileOptions(tuned=Record.here())).ctx.choices
    assert found is not None
    assert found.tuned == []
    return [Choice(p.key, p.level, p.what, p.default, p.default) for p in found.points.values()]


def test_a_choice_that_is_no_candidate_any_more_is_noted(store: Store) -> None:
    given = [dataclasses.replace(choice, choice="99x99") for choice in points(store)]
    made = penstock.compile(network(), tuned=Record.here(given))
    assert made.bytes == penstock.compile(network()).bytes
    told = [note for note in made.report.notes if "which is no candidate here" in note]
    assert any(note.startswith("'convolution'") for note in told)
    assert any("'99x99' (schedule)" in note for note in told)
    with pytest.raises(ModelError) as caught:
        penstock.compile(network(), tuned=Record.here(given), strict=True)
    assert caught.value.code == NOTED


def test_choices_of_other_models_do_not_matter(store: Store) -> None:
    made = penstock.compile(network(), tuned=Record.here([CHOICE]))
    assert made.bytes == penstock.compile(network()).bytes
    assert made.report.notes == penstock.compile(network()).report.notes


@pytest.mark.parametrize("damage", ["bytes", "key", "processor", "version"])
def test_the_cache_believes_nothing_else(damage: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tunings = Tunings(store)
    tunings.put(CHOICE)
    assert tunings.get(KEY) == CHOICE
    (path,) = tunings.files()
    other: dict[str, Callable[[], Record]] = {
        "key": lambda: Record.here([dataclasses.replace(CHOICE, key="panel:" + "0" * 32)]),
        "processor": lambda: dataclasses.replace(Record.here([CHOICE]), processor="another"),
        "version": lambda: dataclasses.replace(Record.here([CHOICE]), penstock="0"),
    }
    path.write_text(other[damage]().to_text() if damage in other else path.read_text().replace("0.125", "0.126"))
    assert tunings.get(KEY) is None


def test_another_processor_has_choices_of_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tunings = Tunings(store)
    tunings.put(CHOICE)
    monkeypatch.setattr(records, "processor", lambda: "another")
    assert tunings.get(KEY) is None
    tunings.put(dataclasses.replace(CHOICE, choice="other"))
    assert len(tunings.files()) == 2
    assert tunings.clear() == 2
    assert tunings.files() == []


def test_verdicts_on_models_are_a_kind_of_their_own(store: Store) -> None:
    verdict = dataclasses.replace(CHOICE, key=f"{MODEL}:{'1' * 32}", choice="faster", default="not faster")
    Tunings(store).put(verdict)
    assert Tunings(store).get(verdict.key) == verdict


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), 1e9, True, "30s", None])
def test_times_that_are_none_are_refused(seconds: Any) -> None:
    with pytest.raises(OptionError, match="is no time to tune for") as caught:
        CompileOptions(tune=seconds)
    assert caught.value.code == BAD_VALUE
