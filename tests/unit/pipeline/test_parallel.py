"""Work in parts: everything once, cut where it may be, whatever the number of threads; what fails is told."""

from __future__ import annotations

import os

import pytest

from penstock.compiler.parallel import WORTH_SHARING, in_parts


@pytest.mark.parametrize("cpus", [1, 2, 3, 64])
@pytest.mark.parametrize(("count", "align"), [(0, 1), (1, 1), (7, 1), (100, 8), (64, 64), (65, 64), (13, 100)])
def test_every_index_is_done_once(count: int, align: int, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    parts: list[tuple[int, int]] = []
    in_parts(count, lambda begin, end: parts.append((begin, end)), 100 * WORTH_SHARING, align)
    assert sorted(index for begin, end in parts for index in range(begin, end)) == list(range(count))
    assert all(begin % align == 0 for begin, _ in parts)
    assert len(parts) <= max(1, min(cpus, 4))


def test_what_is_small_is_done_here() -> None:
    parts: list[tuple[int, int]] = []
    in_parts(1000, lambda begin, end: parts.append((begin, end)), WORTH_SHARING)
    assert parts == [(0, 1000)]


@pytest.mark.parametrize("bad", [0, 9])
def test_what_a_part_raises_is_raised(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def work(begin: int, end: int) -> None:
        if begin <= bad < end:
            raise ValueError(bad)

    with pytest.raises(ValueError, match=str(bad)):
        in_parts(10, work, 100 * WORTH_SHARING)
