"""``--tune``, ``--tuned`` and ``--save-tuning``, and what other commands say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.cli.conftest import Ran

from penstock.compiler.caching.store import VARIABLE
from penstock.compiler.driver import CompileOptions, run_phases
from penstock.compiler.errors import BAD_TUNING, BAD_VALUE, PHASE_ORDER, OptionError
from penstock.compiler.tuning.record import Choice, Record, Tunings
from penstock.tools.options import read_seconds

Program = Callable[..., Ran]


@pytest.fixture
def record(mlp: Path, tmp_path: Path) -> Path:
    """A record that takes the last candidate at every point of the model."""
    found = run_phases(mlp, CompileOptions(tuned=Record.here())).ctx.choices
    assert found is not None
    points = found.points.values()
    Record.here(Choice(p.key, p.level, p.what, p.options[-1], p.default) for p in points).save(tmp_path / "given.json")
    return tmp_path / "given.json"


def test_what_tune_saves_gives_the_same_artifact(
    penstock: Program, mlp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    ran = penstock("compile", mlp, "--tune", "2s", "--save-tuning", "saved.json", "-o", "one.pens")
    assert ran.status == 0
    assert "measured" in ran.out
    assert ran.err.startswith("measuring on this machine for up to 2 s")
    assert penstock("compile", mlp, "--tuned", "saved.json", "-o", "two.pens", "-q").status == 0
    assert Path("one.pens").read_bytes() == Path("two.pens").read_bytes()
    stored = len(Tunings(_store(tmp_path)).files())
    assert f"tuning   {stored} measured" in penstock("cache", "stats").out
    assert penstock("cache", "clear", "--tuning").out.startswith(f"removed {stored} measured choice")
    assert json.loads(penstock("cache", "stats", "--json").out)["tunings"] == 0


def _store(tmp_path: Path) -> object:
    from penstock.compiler.caching.store import Store

    return Store(tmp_path / "cache")


def test_the_artifact_says_what_was_tuned(penstock: Program, mlp: Path, record: Path) -> None:
    ran = penstock("compile", mlp, "--tuned", record, "-o", "tuned.pens")
    assert "choices differ from the estimates" in ran.out
    told = json.loads(penstock("info", "tuned.pens", "--json").out)["tuned"]
    assert told["choices"][0].keys() == {"nodes", "what", "level", "choice", "default"}
    assert all(choice["choice"] != choice["default"] for choice in told["choices"])
    assert (
        f"tuned    {len(told['choices'])} choices, measured on {told['processor']}"
        in penstock("info", "tuned.pens").out
    )
    assert penstock("compile", mlp, "-o", "plain.pens", "-q").status == 0
    assert "tuned" not in penstock("info", "plain.pens").out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--tune", "soon"), BAD_VALUE, "'soon' is no time"),
        (("--tune", "99999h"), BAD_VALUE, "is no time to tune for"),
        (("--tuned", "none.json"), BAD_TUNING, "the tuning record none.json cannot be read"),
        (("--save-tuning", "x.json"), BAD_VALUE, "there is no tuning to save without --tune"),
        (("--tune", "5s", "--to", "fuse"), PHASE_ORDER, "nothing to measure in what the phase fuse makes"),
    ],
)
def test_what_cannot_be_is_refused(
    penstock: Program, mlp: Path, arguments: tuple[str, ...], code: str, sentence: str
) -> None:
    ran = penstock("compile", mlp, *arguments)
    assert ran.status == 2
    assert code in ran.err
    assert sentence in ran.err


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("30s", 30), ("1.5m", 90), ("2 h", 7200)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-3s", "1d", "1e5", "nan"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="is no time"):
        read_seconds(text)
