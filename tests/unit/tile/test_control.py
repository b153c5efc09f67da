"""Loops, branches and while loops with carried tiles, and the split into units, against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.compiler.backends.cpu.jit import load_kernel
from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dtypes import F32, I1, I64, INDEX


def matmul(m: int, n: int, k: int, rows: int, columns: int) -> Any:
    """A blocked matrix product with a tail of rows."""
    b = KernelBuilder("matmul", [buffer(m * k, F32), buffer(k * n, F32), buffer(m * n, F32)])
    left, right, out = b.buffers
    tiles = -(-m // rows)
    with b.units(tiles * (n // columns)) as unit:
        row, column = b.imul(b.irem(unit, tiles), rows), b.imul(b.idiv(unit, tiles), columns)
        limit = [(0, b.isub(m, row))]
        with b.loop(0, k, 1, [b.splat(0.0, (rows, columns), F32)]) as loop:
            x = b.load(left, b.iadd(b.imul(row, k), loop.index), (rows, 1), (k, 0), limits=limit)
            y = b.load(right, b.iadd(b.imul(loop.index, n), column), (1, columns), (0, 1))
            loop.yield_(b.fma(x, y, loop.carried[0]))
        b.store(loop.results[0], out, b.iadd(b.imul(row, n), column), (n, 1), limits=limit)
    return b.finish()


@pytest.mark.parametrize("shape", [(13, 32, 7, 4, 32), (5, 38, 3, 6, 19), (6, 48, 1, 6, 48), (1, 17, 9, 1, 17)])
def test_matmul(check: Any, shape: tuple[int, ...]) -> None:
    m, n, k, rows, columns = shape
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    (result,) = check(matmul(m, n, k, rows, columns), [x, y, np.zeros((m, n), np.float32)], ulps=8)
    np.testing.assert_allclose(result.reshape(m, n), x @ y, rtol=1e-4, atol=1e-5)


def test_any_split_of_the_units_gives_the_same_bits(isa: str) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 33)).astype(np.float32), rng.normal(size=(33, 32)).astype(np.float32)
    kernel = load_kernel(matmul(40, 32, 33, 6, 16), isa)
    whole, split = np.zeros((40, 32), np.float32), np.zeros((40, 32), np.float32)
    kernel([x, y, whole])
    for begin, end in ((9, 14), (0, 1), (1, 1), (1, 9)):
        kernel([x, y, split], begin, end)
    np.testing.assert_array_equal(whole, split)


def test_loops_that_never_run_keep_what_they_carry(check: Any) -> None:
    b = KernelBuilder("none", [buffer(1, I64), buffer(40, F32)])
    with b.units(1):
        count = b.cast(b.load(b.buffers[0], 0), INDEX)
        with b.loop(5, count, 2, [b.splat(1.0, (2, 20), F32), b.constant(7, INDEX)]) as loop:
            loop.yield_(b.add(loop.carried[0], 1.0), b.index(b.iadd(loop.carried[1], loop.index)))
        with b.loop(3, 3, 1, [loop.results[0]]) as never:
            never.yield_(b.mul(never.carried[0], 0.0))
        tile = b.add(never.results[0], b.cast(loop.results[1], F32))
        b.store(tile, b.buffers[1], 0, (20, 1))
    kernel = b.finish()
    for count in (0, 5, 6, 7, 12):
        check(kernel, [np.array([count]), np.zeros(40, np.float32)])


def test_nested_loops_and_branches(check: Any) -> None:
    b = KernelBuilder("nested", [buffer(64, F32), buffer(16, F32)])
    with b.units(1):
        with b.loop(0, 4, 1, [b.splat(0.0, (16,), F32)]) as outer:
            row = b.load(b.buffers[0], b.imul(outer.index, 16), (16,), (1,))
            with b.then(b.compare("eq", b.irem(outer.index, 2), 0)) as branch:
                with b.loop(0, outer.index, 1, [row]) as inner:
                    inner.yield_(b.add(inner.carried[0], 2.0))
                branch.yield_(inner.results[0], b.constant(1.0, F32))
            with b.otherwise(branch):
                branch.yield_(b.mul(row, -1.0), b.extract(row, (3,)))
            total, scalar = branch.results
            outer.yield_(b.add(outer.carried[0], b.mul(total, scalar)))
        with b.when(b.compare("gt", b.extract(outer.results[0], (0,)), -1e9)):
            b.store(outer.results[0], b.buffers[1], 0, (1,))
    check(b.finish(), [np.arange(64, dtype=np.float32), np.zeros(16, np.float32)], ulps=2)


def test_while(check: Any) -> None:
    """Newton's method for square roots, as long as any lane moves."""
    b = KernelBuilder("newton", [buffer(16, F32), buffer(16, F32)])
    with b.units(1):
        x = b.load(b.buffers[0], 0, (16,), (1,))
        loop_carried = [b.add(x, 1.0), b.constant(0, INDEX)]
        with b.while_(loop_carried) as loop:
            with loop.condition() as go_on:
                guess, step = loop.before
                moved = b.compare("gt", b.unary("abs", b.sub(b.mul(guess, guess), x)), 1e-3)
                some = b.extract(b.reduce("or", moved, (0,)), (0,))
                go_on.append(b.binary("and_", some, b.compare("lt", step, 50)))
            with loop.body() as following:
                guess, step = loop.carried
                following += [b.mul(b.add(guess, b.div(x, guess)), 0.5), b.index(b.iadd(step, 1))]
        b.store(loop.results[0], b.buffers[1], 0, (1,))
    values = np.linspace(0.1, 90, 16).astype(np.float32)
    (result,) = check(b.finish(), [values, np.zeros(16, np.float32)], ulps=2)
    np.testing.assert_allclose(result, np.sqrt(values), rtol=1e-3)


def test_carried_masks_and_scalars(check: Any) -> None:
    b = KernelBuilder("masks", [buffer(20, F32), buffer(20, I1)])
    with b.units(1):
        x = b.load(b.buffers[0], 0, (20,), (1,))
        none = b.splat(0, (20,), I1)
        with b.loop(0, 5, 1, [none, b.constant(0.0, F32)]) as loop:
            hit = b.compare("eq", x, b.mul(loop.carried[1], 3.0))
            loop.yield_(b.binary("or_", loop.carried[0], hit), b.add(loop.carried[1], 1.0))
        b.store(loop.results[0], b.buffers[1], 0, (1,))
    check(b.finish(), [np.arange(20, dtype=np.float32), np.zeros(20, bool)])
