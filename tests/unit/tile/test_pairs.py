"""Dot products of pairs of bf16: exact products, added upper halves first; what AVX512_BF16 does with denormals."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from unit.tile.conftest import runnable

from penstock.compiler.backends.cpu.jit import run_kernel
from penstock.compiler.backends.cpu.target import cpu_target
from penstock.compiler.dialects.declared import TypeRuleError
from penstock.compiler.dialects.tile.arithmetic import DotPairs, Pair
from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dialects.tile.interpreter import interpret
from penstock.compiler.dialects.tile.memory import Kernel, Words
from penstock.compiler.dtypes import BF16, F32, I32

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
LEAST_NORMAL = float(np.finfo(np.float32).tiny)


def dots(count: int, lanes: int) -> Kernel:
    """out[i] = x[i] . y[i] + c[i] over pairs, ``lanes`` at a time, the last ones limited."""
    types = [buffer(2 * count, BF16), buffer(2 * count, BF16), buffer(count, F32), buffer(count, F32)]
    b = KernelBuilder("dots", types, outputs=1)
    x, y, c, out = b.buffers
    first, second = b.words(x), b.words(y)
    with b.units(-(-count // lanes)) as unit:
        at = b.imul(unit, lanes)
        limits = [(0, b.isub(count, at))]
        a, w, z = (b.load(source, at, (lanes,), (1,), limits=limits) for source in (first, second, c))
        b.store(b.dot_pairs(a, w, z), out, at, (1,), limits=limits)
    kernel = b.finish()
    kernel.verify()
    return kernel


def oracle(x: NDArray[Any], y: NDArray[Any], c: NDArray[Any], *, flush: bool) -> NDArray[Any]:
    """Products and sums in f64, each sum rounded to f32; ``flush``: denormals are zero."""

    def flushed(values: NDArray[Any]) -> NDArray[Any]:
        return np.where(np.abs(values) < LEAST_NORMAL, values * 0, values) if flush else values

    with np.errstate(all="ignore"):
        a, b, total = (flushed(array.astype(np.float64)) for array in (x, y, c))
        for half in (1, 0):
            total = flushed((a[half::2] * b[half::2] + total).astype(np.float32).astype(np.float64))
        return total.astype(np.float32)


def arrays(kind: str, count: int) -> list[NDArray[Any]]:
    rng = np.random.default_rng(3)
    x: Any
    y: Any
    if kind == "patterns":  # any bits: infinities, NaN, denormals
        x, y = (rng.integers(0, 1 << 16, 2 * count).astype(np.uint16).view(BFLOAT16) for _ in range(2))
        return [x, y, rng.integers(0, 1 << 32, count, np.uint64).astype(np.uint32).view(np.float32)]
    x, y = (rng.standard_normal(2 * count).astype(BFLOAT16) for _ in range(2))
    c = rng.standard_normal(count).astype(np.float32)
    if kind == "cancelling":  # the order of sums shows
        x[1::2], y[1::2], c = -x[::2], y[::2], c * np.float32(1e-5)
    return [x, y, c]


@pytest.mark.parametrize("isa", runnable(pairs=True))
@pytest.mark.parametrize("kind", ["normal", "cancelling", "patterns"])
@pytest.mark.parametrize(("count", "lanes"), [(1, 16), (4099, 16), (67, 7), (96, 64), (5, 1)])
def test_dots(kind: str, count: int, lanes: int, isa: str) -> None:
    given, found = arrays(kind, count), np.zeros(count, np.float32)
    kernel = dots(count, lanes)
    run_kernel(kernel, [*given, found], isa)
    wanted = oracle(*given, flush=False)  # type: ignore[misc]
    flushed = oracle(*given, flush=True)  # type: ignore[misc]
    # Which form of the code is used depends on the number of lanes, so that both are right where there is the choice.
    right = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    if cpu_target(isa).pairs:
        right |= (found == flushed) | (np.isnan(found) & np.isnan(flushed))
    assert right.all()
    meant = np.zeros(count, np.float32)
    interpret(kernel, [*given, meant])
    np.testing.assert_array_equal(meant, wanted)


@pytest.mark.parametrize("isa", runnable(pairs=True))
@pytest.mark.parametrize(("rows", "lanes"), [(1, 16), (3, 32), (2, 7), (1, 1)])
def test_pair(rows: int, lanes: int, isa: str) -> None:
    """Any bits, in either half."""
    count = rows * lanes
    types = [buffer(count, BF16), buffer(count, BF16), buffer(count, I32)]
    b = KernelBuilder("pair", types, outputs=1)
    low, high, out = b.buffers
    with b.units(1):
        tiles = [b.load(source, 0, (rows, lanes), (lanes, 1)) for source in (low, high)]
        b.store(b.binary("pair", *tiles), out, 0, (lanes, 1))
    kernel = b.finish()
    kernel.verify()
    rng = np.random.default_rng(5)
    given = [rng.integers(0, 1 << 16, count).astype(np.uint16) for _ in range(2)]
    wanted = (given[0].astype(np.uint32) | given[1].astype(np.uint32) << 16).view(np.int32)
    for run in (lambda arrays: run_kernel(kernel, arrays, isa), lambda arrays: interpret(kernel, arrays)):  # pyright: ignore
        found = np.zeros(count, np.int32)
        run([*(bits.view(BFLOAT16) for bits in given), found])
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("isa", runnable(pairs=True))
@pytest.mark.parametrize("lanes", [16, 8, 3])
def test_rounding(lanes: int, isa: str) -> None:
    """f32 to bf16 as ml_dtypes rounds it, but for what AVX512_BF16 does with denormals; widened numbers come back."""
    x = np.random.default_rng(6).integers(0, 1 << 32, 48 * lanes, np.uint64).astype(np.uint32).view(np.float32)
    b = KernelBuilder("round", [buffer(x.size, F32), buffer(x.size, BF16)], outputs=1)
    source, out = b.buffers
    with b.units(48) as unit:
        at = b.imul(unit, lanes)
        half = b.cast(b.load(source, at, (lanes,), (1,)), BF16)
        assert b.cast(b.cast(half, F32), BF16) is half
        b.store(half, out, at, (1,))
    found = np.zeros(x.size, BFLOAT16)
    run_kernel(b.finish(), [x, found], isa)
    with np.errstate(all="ignore"):
        wanted = x.astype(BFLOAT16)
    right = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    if cpu_target(isa).pairs:
        right |= (np.abs(x) < LEAST_NORMAL) & (found == 0)
    assert right.all()


def test_what_it_takes() -> None:
    b = KernelBuilder("k", [buffer(3, BF16), buffer(4, F32), buffer(4, F32)], outputs=1)
    odd, floats, _ = b.buffers
    for source in (odd, floats):
        with pytest.raises(TypeRuleError, match="an even number of bf16"):
            Words.build(source)
    number = b.constant(0.0, F32)
    with pytest.raises(TypeRuleError, match="two operands of bf16"):
        Pair.build(number, number)
    with pytest.raises(TypeRuleError, match="pairs of bf16"):
        DotPairs.build(number, number, number)
