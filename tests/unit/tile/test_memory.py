"""Loads, stores, gathers and scatters over strides, bounds and limits, against the interpreter; nothing else moves."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dialects.tile.interpreter import dtype_of
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.dtypes import BF16, F16, F32, F64, I1, I8, I32, I64, INDEX, U8, U16

KINDS = [F32, F64, F16, BF16, I8, U16, I32, I64, I1]


def data(kind: Any, count: int) -> Any:
    values = np.arange(1, count + 1)
    return values % 2 == 0 if kind == I1 else (values % 100).astype(dtype_of(kind))


def copy_kernel(
    kind: Any, extents: tuple[int, ...], strides: tuple[int, ...], target_strides: tuple[int, ...], size: int, at: int,
    **access: Any,
) -> Kernel:  # fmt: skip
    """Loads a strided tile and stores it with other strides; the limits come from a buffer of run-time numbers."""
    limits = access.pop("limits", ())
    b = KernelBuilder("copy", [buffer(8, I64), buffer(size, kind), buffer(size, kind)])
    with b.units(1):
        bounds = [(dim, b.cast(b.load(b.buffers[0], slot), INDEX)) for slot, dim in enumerate(limits)]
        tile = b.load(b.buffers[1], at, extents, strides, limits=bounds, **access)
        access.pop("fill", None)
        b.store(tile, b.buffers[2], at, target_strides, limits=bounds, **access)
    return b.finish()


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7, -1, -2, -5])
def test_last_strides(check: Any, kind: Any, stride: int) -> None:
    for lanes in (1, 2, 5, 8, 16, 19, 33):
        kernel = copy_kernel(kind, (lanes,), (stride,), (-stride,), 600, 300)
        check(kernel, [np.zeros(8, np.int64), data(kind, 600), np.zeros(600, dtype_of(kind))])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_outer_strides_and_repeats(check: Any, kind: Any) -> None:
    for strides in ((40, 1), (1, 40), (0, 1), (1, 0), (-40, 1), (20, 2)):
        kernel = copy_kernel(kind, (3, 19), strides, (19, 1), 1000, 200)
        check(kernel, [np.zeros(8, np.int64), data(kind, 1000), np.zeros(1000, dtype_of(kind))])


@pytest.mark.parametrize("kind", [F32, F64, F16, I8, I1, I64], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 0, 9, -1])
def test_static_bounds(check: Any, kind: Any, stride: int) -> None:
    """Invalid lanes are never read: the tile begins before the buffer and ends behind it."""
    for lower, upper in itertools.product((0, 1, 5, 17), (2, 16, 18, 40)):
        step = abs(stride) or 1
        at = -lower * stride if stride >= 0 else (min(upper, 21) - 1) * step
        b = KernelBuilder("bounds", [buffer(max(1, (min(upper, 21) - 1 - lower) * step + 1), kind), buffer(63, kind)])
        with b.units(1):
            bounds = {"lower": (1, lower), "upper": (3, upper)}
            tile = b.load(b.buffers[0], at, (3, 21), (0, stride), **bounds, fill=1.0)
            b.store(tile, b.buffers[1], 0, (21, 1))
        count = b.buffers[0].type.get_shape()[0]  # type: ignore[attr-defined]
        check(b.finish(), [data(kind, count), np.zeros(63, dtype_of(kind))])


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("stride", [1, 2, 9])
def test_run_time_limits_of_the_last_dimension(check: Any, kind: Any, stride: int) -> None:
    for lanes in (1, 3, 16, 37):
        kernel = copy_kernel(kind, (lanes,), (stride,), (stride,), 400, 8, limits=(0,), fill=1.0)
        for limit in (-3, 0, 1, 2, 15, 16, 17, 36, 37, 1000):
            check(kernel, [np.full(8, limit), data(kind, 400), np.zeros(400, dtype_of(kind))])


@pytest.mark.parametrize("kind", [F32, I8, I1, F64], ids=str)
def test_run_time_limits_of_outer_dimensions(check: Any, kind: Any) -> None:
    for extents, strides in (((3, 5), (7, 1)), ((3, 1), (7, 1)), ((2, 3, 19), (90, 30, 1)), ((4, 19), (30, 0))):
        target = (1000 // 4, 19) if len(extents) == 2 else (100, 30)
        for dims in ((0,), (0, len(extents) - 1), (len(extents) - 1, 0)):
            kernel = copy_kernel(kind, extents, strides, (*target[: len(extents) - 1], 1), 1000, 9, limits=dims)
            for first, second in itertools.product((0, 2, 5), (0, 4, 50)):
                check(kernel, [np.array([first, second] * 4), data(kind, 1000), np.zeros(1000, dtype_of(kind))])


def test_bounds_and_limits_together(check: Any) -> None:
    for lower, limit in itertools.product((0, 3, 18), (0, 2, 10, 19, 40)):
        kernel = copy_kernel(
            F32, (2, 40), (40, 1), (40, 1), 100, 3, limits=(1, 0), lower=(0, lower), upper=(2, 35), fill=-1.0
        )
        for rows in (0, 1, 2):
            check(kernel, [np.array([limit, rows] * 4), data(F32, 100), np.zeros(100, np.float32)])


def test_fill_of_minus_infinity(check: Any) -> None:
    for kind in (F32, F64, F16, I8, I32, U8):
        b = KernelBuilder("fill", [buffer(5, kind), buffer(20, kind)])
        with b.units(1):
            tile = b.load(b.buffers[0], 0, (20,), (1,), upper=(5,), fill=float("-inf"))
            b.store(tile, b.buffers[1], 0, (1,))
        check(b.finish(), [data(kind, 5), np.zeros(20, dtype_of(kind))])


def test_padding_is_no_part_of_a_multiply_add(check: Any) -> None:
    """A row that lies in the padding contributes nothing, even where the weights are infinite."""
    b = KernelBuilder("padding", [buffer(40, F32), buffer(40, F32)])
    with b.units(1):
        x = b.load(b.buffers[0], 0, (4, 16), (1, 1), lower=(2, 0))
        weights = b.splat(2.0, (1, 16), F32)
        acc = b.splat(3.0, (4, 16), F32)
        b.store(b.reduce("add", b.fma(x, weights, acc), (0,)), b.buffers[1], 0, (0, 1))
    check(b.finish(), [data(F32, 40), np.zeros(40, np.float32)])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gather_and_scatter(check: Any, kind: Any) -> None:
    rng = np.random.default_rng(3)
    for extents in ((1,), (16,), (21,), (3, 19)):
        count = int(np.prod(extents))
        strides = tuple(int(np.prod(extents[d + 1 :])) for d in range(len(extents)))
        for masked in (False, True):
            b = KernelBuilder("permute", [buffer(100, kind), buffer(count, I64), buffer(100, kind)])
            with b.units(1):
                indices = b.cast(b.load(b.buffers[1], 0, extents, strides), INDEX)
                mask = b.compare("lt", indices, 60) if masked else None
                inside = b.select(mask, indices, 10**15) if mask is not None else indices
                b.scatter(b.gather(b.buffers[0], inside, mask, 1.0), b.buffers[2], inside, mask)
            indices = rng.permutation(100)[:count]
            check(b.finish(), [data(kind, 100), indices, np.zeros(100, dtype_of(kind))])


def test_of_equal_scatter_indices_the_last_lane_wins(check: Any) -> None:
    b = KernelBuilder("last", [buffer(37, F32), buffer(4, F32)])
    with b.units(1):
        indices = b.binary("remu", b.iota((37,), 0), 4)
        b.scatter(b.load(b.buffers[0], 0, (37,), (1,)), b.buffers[1], indices)
    (result,) = check(b.finish(), [data(F32, 37), np.zeros(4, np.float32)])
    assert result.tolist() == [37, 34, 35, 36]


def test_scratch_keeps_what_a_kernel_puts_there(check: Any) -> None:
    b = KernelBuilder("scratch", [buffer(64, F32), buffer(64, F32)])
    with b.units(4) as unit:
        first, second = b.alloc(16, F32), b.alloc(3, F64)
        offset = b.imul(unit, 16)
        b.store(b.load(b.buffers[0], offset, (16,), (1,)), first, 0, (1,))
        b.store(b.constant(2.0, F64), second, 2)
        reverse = b.load(first, 15, (16,), (-1,))
        b.prefetch(b.buffers[0], 10**9)
        b.store(b.mul(reverse, b.cast(b.load(second, 2), F32)), b.buffers[1], offset, (1,))
    (result,) = check(b.finish(), [data(F32, 64), np.zeros(64, np.float32)])
    assert result[0] == 32


def test_in_place(isa: str) -> None:
    """An output may be the same memory as an input read at the same place."""
    from penstock.compiler.backends.cpu.jit import run_kernel

    b = KernelBuilder("scale", [buffer(100, F32), buffer(100, F32)])
    with b.units(4) as unit:
        offset = b.imul(unit, 25)
        b.store(b.mul(b.load(b.buffers[0], offset, (25,), (1,)), 3.0), b.buffers[1], offset, (1,))
    array = np.arange(100, dtype=np.float32)
    run_kernel(b.finish(), [array, array], isa)
    np.testing.assert_array_equal(array, np.arange(100) * 3)
