"""``penstock cache``: what it shows of the kernel cache, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.cli.conftest import Ran

from penstock.compiler.caching.store import VARIABLE
from penstock.compiler.errors import CACHE_UNUSABLE

Program = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def test_why_names_hits_and_the_first_difference(penstock: Program, mlp: Path, folder: Path) -> None:
    def why(*options: str) -> list[dict[str, object]]:
        ran = penstock("cache", "why", mlp, "--json", *options)
        assert ran.status == 0
        return json.loads(ran.out)

    assert all(row["differs"] == "" and not row["hit"] for row in why())
    assert penstock("compile", mlp, "--isa", "x86-64-v3").status == 0
    rows = why()
    assert [row["hit"] for row in rows] == [row["level"] == "x86-64-v3" for row in rows]
    assert all(row["hit"] for row in why("--isa", "x86-64-v3"))
    missed = [row for row in rows if not row["hit"]]
    assert {(row["differs"], row["there"], row["here"]) for row in missed} == {
        ("target", "cpu x86-64-v3", "cpu x86-64-v4")
    }
    text = penstock("cache", "why", mlp).out
    assert "target: cpu x86-64-v4; the nearest has cpu x86-64-v3" in text
    assert f"{len(missed)} of {len(rows)} kernels are in the cache" in text


def test_stats_and_clear(penstock: Program, mlp: Path, folder: Path) -> None:
    out = penstock("compile", mlp).out
    assert "from the cache" not in out
    assert "of them from the cache" in penstock("compile", mlp).out
    assert "of them from the cache" not in penstock("compile", mlp, "--no-cache").out
    found = json.loads(penstock("cache", "stats", "--json").out)
    assert found["folder"] == str(folder)
    assert found["entries"] == len(list(folder.iterdir()))
    assert 0 < found["bytes"] < found["limit"]
    text = penstock("cache", "stats").out
    assert str(folder) in text
    assert f"kernels  {found['entries']}, " in text
    assert penstock("cache", "clear").out == f"removed {found['entries']} kernels from {folder}\n"
    assert list(folder.iterdir()) == []
    assert penstock("cache", "clear", "-q").out == ""


@pytest.mark.parametrize("command", [["stats"], ["clear"], ["why", "model.onnx"]])
def test_a_cache_that_cannot_be_used_is_refused(
    penstock: Program, command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    ran = penstock("cache", *command)
    assert ran.status == 2
    assert f"{folder} can be written to by other users. [{CACHE_UNUSABLE}]" in ran.err
    monkeypatch.setenv(VARIABLE, "off")
    ran = penstock("cache", *command)
    assert ran.status == 2
    assert f"switched off (PENSTOCK_CACHE). [{CACHE_UNUSABLE}]" in ran.err


def test_an_unknown_part_is_refused(penstock: Program) -> None:
    ran = penstock("cache", "fill")
    assert ran.status == 2
    assert "fill" in ran.err
