"""Extents in kernels: what is computed at their head from the sizes of a run, against the extents themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.utils.exceptions import VerifyException

from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dtypes import I64, INDEX
from penstock.compiler.extents import Extent, evaluate, symbol

NAMES = "abcdef"
A, B, C, D, E, F = map(symbol, NAMES)


@pytest.mark.parametrize(
    "extent",
    [
        (A + 3) // 4,
        (A - B) // 3,
        (A * B * C - D * E * F) // 7,  # may be far below what an index holds, but is not at the sizes of a run
        (A - 9 * B * C * D) // (E + F),
        (A + B - 1) * (C + D - 1) * (E + F - 1) // 4 - A * B * C * D * E * F // 5,
    ],
)
def test_floor_divisions(check: Any, extent: Extent) -> None:
    b = KernelBuilder("sizes", [buffer(1, I64)], sizes=NAMES)
    with b.units(1):
        b.store(b.cast(b.index(extent), I64), b.buffers[0], 0, ())
    kernel = b.finish()
    for sizes in ((1, 1, 1, 1, 1, 1), (3, 5, 2, 7, 11, 4), (40, 30, 20, 3, 2, 1), (1, 8, 9, 100, 200, 300)):
        (result,) = check(kernel, [np.array(sizes), np.zeros(1, np.int64)])
        assert result[0] == evaluate(extent, dict(zip(NAMES, sizes, strict=True)))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_indices_have_64_bits(number: int) -> None:
    b = KernelBuilder("sizes", [buffer(1, I64)])
    with b.units(1):
        b.store(b.cast(b.constant(number, INDEX), I64), b.buffers[0], 0, ())
    with pytest.raises(VerifyException, match="64 bits"):
        b.finish().verify()
