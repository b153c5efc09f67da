"""Ops that move lanes, over shapes that do and do not fill machine vectors, against the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dialects.tile.interpreter import dtype_of
from penstock.compiler.dtypes import BF16, F16, F32, F64, I1, I8, I16, I32, I64, INDEX, U8

KINDS = [F32, F64, F16, BF16, I8, I16, I32, I64, U8, I1]


def data(kind: Any, count: int) -> Any:
    values = np.random.default_rng(count).integers(0, 200, count) - (0 if kind in (U8, I1) else 100)
    return values % 2 == 0 if kind == I1 else values.astype(dtype_of(kind))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(
    "extents", [(16, 16), (8, 8), (4, 4), (5, 7), (19, 3), (1, 33), (33, 1), (3, 16, 20), (2, 2), (32, 40)]
)
def test_transpose(check: Any, map_kernel: Any, kind: Any, extents: tuple[int, ...]) -> None:
    if kind not in (F32, F64, I8, I1) and extents != (5, 7):
        return
    count = int(np.prod(extents))
    kernel = map_kernel(lambda b, x: b.transpose(x), extents, [kind], kind)
    values = data(kind, count)
    (result,) = check(kernel, [values, np.zeros(count, dtype_of(kind))])
    np.testing.assert_array_equal(result, np.swapaxes(values.reshape(extents), -1, -2).reshape(-1))


@pytest.mark.parametrize("kind", [F32, I64, I1], ids=str)
@pytest.mark.parametrize(
    ("source", "target"),
    [((6, 64), (2, 3, 64)), ((24,), (24, 1)), ((24, 1), (1, 24)), ((24, 1), (24,)), ((6, 8), (3, 16)), ((1,), ()),
     ((40,), (8, 5)), ((3, 1, 17), (3, 17)), ((5, 1), (1, 5))],
)  # fmt: skip
def test_reshape(check: Any, map_kernel: Any, kind: Any, source: Any, target: Any) -> None:
    count = int(np.prod(source))
    kernel = map_kernel(lambda b, x: b.reshape(x, target), source, [kind], kind)
    check(kernel, [data(kind, count), np.zeros(count, dtype_of(kind))])


@pytest.mark.parametrize(
    ("source", "target"), [((1,), (37,)), ((1, 5), (3, 5)), ((3, 1), (3, 18)), ((1, 4, 1), (2, 4, 9)), ((), (2, 20))]
)
def test_broadcast(check: Any, map_kernel: Any, source: Any, target: Any) -> None:
    count = int(np.prod(target))
    for kind in (F32, I8, I1):
        kernel = map_kernel(lambda b, x: b.broadcast(x, target), source, [kind], kind, count)
        check(kernel, [data(kind, max(1, int(np.prod(source)))), np.zeros(count, dtype_of(kind))])


def test_extract(check: Any, map_kernel: Any) -> None:
    for position in ((0, 0), (2, 18), (1, 16)):
        kernel = map_kernel(lambda b, x, p=position: b.broadcast(b.extract(x, p), (4,)), (3, 19), [F32], F32, 4)
        check(kernel, [data(F32, 57), np.zeros(4, np.float32)])


@pytest.mark.parametrize("kind", [F32, F64, F16, I8, I32, I64, U8], ids=str)
@pytest.mark.parametrize("name", ["add", "mul", "max", "min", "maxu", "minu", "max_fast", "min_fast"])
def test_reduce(check: Any, map_kernel: Any, kind: Any, name: str) -> None:
    if name in ("maxu", "minu") and kind in (F32, F64, F16):
        return
    for extents, dims in (
        ((17,), (0,)),
        ((64,), (0,)),
        ((5, 19), (1,)),
        ((5, 19), (0,)),
        ((3, 2, 7), (0, 2)),
        ((1, 1), (1,)),
    ):
        count = int(np.prod(extents))
        out = int(np.prod([1 if d in dims else e for d, e in enumerate(extents)]))
        kernel = map_kernel(lambda b, x, d=dims: b.reduce(name, x, d), extents, [kind], kind, out)
        values = np.random.default_rng(5).integers(1, 3, count).astype(dtype_of(kind))
        check(kernel, [values, np.zeros(out, dtype_of(kind))])


def test_reductions_of_floats_have_one_order_whatever_the_data(check: Any, map_kernel: Any) -> None:
    values = np.random.default_rng(6).normal(size=4 * 100).astype(np.float32)
    kernel = map_kernel(lambda b, x: b.reduce("add", x, (1,)), (4, 100), [F32], F32, 4)
    (result,) = check(kernel, [values, np.zeros(4, np.float32)], ulps=64)
    (again,) = check(kernel, [np.concatenate([values[300:], values[:300]]), np.zeros(4, np.float32)], ulps=64)
    np.testing.assert_array_equal(np.roll(again, -1), result)


def test_nan_goes_through_max_and_min(check: Any, map_kernel: Any) -> None:
    for position in range(0, 37, 5):
        values = np.arange(37, dtype=np.float32)
        values[position] = np.nan
        for name in ("max", "min"):
            kernel = map_kernel(lambda b, x, n=name: b.reduce(n, x, (0,)), (37,), [F32], F32, 1)
            (result,) = check(kernel, [values, np.zeros(1, np.float32)])
            assert np.isnan(result[0])


def test_masks_reduce(check: Any, map_kernel: Any) -> None:
    for name in ("and", "or"):
        kernel = map_kernel(lambda b, x, n=name: b.reduce(n, x, (1,)), (4, 21), [I1], I1, 4)
        values = np.ones((4, 21), bool)
        values[1, 20], values[2], values[3, 3:] = False, False, False
        check(kernel, [values, np.zeros(4, bool)])


def test_iota(check: Any) -> None:
    for extents, dim in (((19,), 0), ((3, 19), 0), ((3, 19), 1), ((4, 1), 0), ((4, 1), 1)):
        count = int(np.prod(extents))
        b = KernelBuilder("iota", [buffer(count, I64)])
        with b.units(1):
            numbers = b.cast(b.mul(b.iota(extents, dim), b.constant(3, INDEX)), I64)
            b.store(numbers, b.buffers[0], 0, tuple(int(np.prod(extents[d + 1 :])) for d in range(len(extents))))
        check(b.finish(), [np.zeros(count, np.int64)])
