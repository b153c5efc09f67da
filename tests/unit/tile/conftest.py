"""What tests of tile kernels share: every level this machine runs, and the comparison with the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.compiler.backends.cpu.jit import run_kernel
from penstock.compiler.backends.cpu.target import LEVELS, host_isa
from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dialects.tile.interpreter import dtype_of, interpret
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.dtypes import BF16

GUARD = 64
"""Elements kept free before and behind every array, whose contents must survive."""


def runnable(*, pairs: bool = False) -> list[str]:
    """The levels this machine runs; those that have instructions for ``pairs`` of bf16 only if they matter."""
    levels = list(LEVELS)
    return [level for level in levels[levels.index(host_isa()) :] if pairs or not LEVELS[level].pairs]


@pytest.fixture(params=runnable())
def isa(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def guarded(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """A copy of ``array`` inside a larger array, and the larger array."""
    whole = np.frombuffer(np.full((array.size + 2 * GUARD) * array.itemsize, 0xA5, np.uint8).tobytes(), array.dtype)
    whole = whole.copy()
    inner = whole[GUARD : GUARD + array.size]
    inner[:] = array.reshape(-1)
    return inner, whole


def same(got: NDArray[Any], expected: NDArray[Any], ulps: float) -> None:
    """Equal; for floating-point numbers up to ``ulps`` units in the last place, NaN equal to NaN."""
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
        return
    bf16 = got.dtype == dtype_of(BF16)
    if bf16:
        got, expected = got.astype(np.float32), expected.astype(np.float32)
    with np.errstate(all="ignore"):
        spacing = np.abs(expected) * 2.0**-7 + 1e-40 if bf16 else np.spacing(np.abs(expected))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    equal = (got == expected) | np.isnan(expected)
    with np.errstate(all="ignore"):
        error = np.where(equal, 0, np.abs(got.astype(np.float64) - expected.astype(np.float64)) / spacing)
    assert not np.any(error > ulps), (got[error > ulps][:5], expected[error > ulps][:5])


Check = Callable[..., list[NDArray[Any]]]


@pytest.fixture
def check(isa: str) -> Check:
    """Runs a kernel as machine code and in the interpreter, compares the outputs, returns them."""

    def run(kernel: Kernel, arrays: Sequence[NDArray[Any]], ulps: float = 0.0) -> list[NDArray[Any]]:
        kernel.verify()
        expected = [array.reshape(-1).copy() for array in arrays]
        interpret(kernel, expected)
        got, whole = zip(*map(guarded, arrays), strict=True)
        untouched = [w.copy() for w in whole]
        run_kernel(kernel, list(got), isa)
        for index, (g, w, before) in enumerate(zip(got, whole, untouched, strict=True)):
            for part in (slice(0, GUARD), slice(GUARD + g.size, None)):
                assert w[part].tobytes() == before[part].tobytes(), f"buffer {index} was written out of bounds"
            same(g, expected[index], ulps)
        return list(got[len(got) - kernel.outputs :])

    return run


Body = Callable[..., Any]


@pytest.fixture
def map_kernel() -> Callable[..., Kernel]:
    """A kernel that applies a function of (builder, *tiles) to whole buffers as tiles of one shape."""

    def make(
        body: Body, extents: tuple[int, ...], kinds: Sequence[Any], result: Any, count: int | None = None
    ) -> Kernel:
        size = int(np.prod(extents)) if extents else 1
        strides = tuple(int(np.prod(extents[d + 1 :])) for d in range(len(extents)))
        b = KernelBuilder("map", [*(buffer(size, kind) for kind in kinds), buffer(count or size, result)])
        with b.units(1):
            tiles = [b.load(source, 0, extents, strides) for source in b.buffers[:-1]]
            value = body(b, *tiles)
            from penstock.compiler.dialects.tile.base import shape

            out = shape(value)
            b.store(value, b.buffers[-1], 0, tuple(int(np.prod(out[d + 1 :])) for d in range(len(out))))
        return b.finish()

    return make
