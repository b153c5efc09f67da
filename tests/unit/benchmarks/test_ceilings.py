"""The machine's ceilings: sizes as the system tells them, which level of memory holds what. Nothing judges speed."""

from __future__ import annotations

import pytest

from penstock.tools.ceilings import Level, cache_sizes, level_of, measure_levels, read_bandwidth

LEVELS = [Level("L2", 1000, 300.0), Level("L3", 10_000, 100.0), Level("memory", None, 30.0)]


@pytest.mark.parametrize(
    ("size", "name"), [(0, "L2"), (750, "L2"), (751, "L3"), (7500, "L3"), (7501, "memory"), (10**12, "memory")]
)
def test_a_working_set_lies_in_the_first_level_that_holds_it(size: int, name: str) -> None:
    assert level_of(LEVELS, size).name == name


def test_levels_are_those_of_this_machine() -> None:
    pytest.importorskip("llvmlite")
    levels = measure_levels(2)
    assert [level.capacity for level in levels[:-1]] == [
        size * (2 if level == 2 else 1) for level, size in sorted(cache_sizes().items()) if level in (2, 3)
    ]
    assert levels[-1].capacity is None
    assert all(level.bandwidth > 1e8 for level in levels)


@pytest.mark.parametrize("size", [1, 100_000])
def test_any_size_can_be_read(size: int) -> None:
    pytest.importorskip("llvmlite")
    assert read_bandwidth(size, 1) > 1e8
