"""Every lane-by-lane op on every element type, over odd shapes and special numbers, against the interpreter."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dialects.tile.interpreter import dtype_of
from penstock.compiler.dtypes import BF16, F16, F32, F64, I1, I8, I16, I32, I64, INDEX, U8, U16, U32, U64, is_float

FLOATS = [F32, F64, F16, BF16]
INTEGERS = [I8, I16, I32, I64, U8, U16, U32, U64]
SHAPES = [(1,), (3,), (16,), (17,), (5, 1), (2, 33), (2, 3, 19)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 2.5, -3.5, 1e-3, 300.0]


def samples(kind: Any, count: int, seed: str) -> NDArray[Any]:
    """Numbers of an element type, special ones among them."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    dtype = dtype_of(kind)
    if kind == I1:
        return rng.integers(0, 2, count).astype(bool)
    if is_float(kind):
        values = np.concatenate([rng.choice(SPECIAL, count // 2), rng.normal(0, 3, count - count // 2)])
        return rng.permutation(values).astype(dtype)
    info = np.iinfo(dtype)
    edges = np.array([info.min, info.max, 0, 1, 2, 3], dtype)
    wide = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
    small = (rng.integers(0, 20, count) - (10 if info.min else 0)).astype(dtype)
    return np.where(rng.random(count) < 0.3, rng.choice(edges, count), np.where(rng.random(count) < 0.5, wide, small))


FLOAT_OPS = ["neg", "abs", "sqrt", "floor", "ceil", "round_even", "add", "sub", "mul", "div", "max", "min",
             "max_fast", "min_fast", "fma", "rem"]  # fmt: skip
INTEGER_OPS = ["neg", "abs", "not_", "add", "sub", "mul", "div", "divu", "rem", "remu", "max", "min", "maxu", "minu",
               "and_", "or_", "xor", "fma", "pow"]  # fmt: skip
UNARY = {"neg", "abs", "sqrt", "floor", "ceil", "round_even", "not_"}


def apply(b: KernelBuilder, name: str, *tiles: Any) -> Any:
    if name == "fma":
        return b.fma(*tiles)
    return b.unary(name, *tiles) if name in UNARY else b.binary(name, *tiles)


def arity(name: str) -> int:
    return 3 if name == "fma" else 1 if name in UNARY else 2


@pytest.mark.parametrize("name", FLOAT_OPS)
@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_floats(check: Any, map_kernel: Any, name: str, kind: Any) -> None:
    shapes = [(2, 19)] if kind != F32 and name != "add" else SHAPES
    for extents in shapes:
        count = int(np.prod(extents))
        kernel = map_kernel(lambda b, *t: apply(b, name, *t), extents, [kind] * arity(name), kind)
        inputs = [samples(kind, count, f"{name}{i}{extents}") for i in range(arity(name))]
        # The interpreter's multiply-add may round twice.
        check(kernel, [*inputs, np.zeros(count, dtype_of(kind))], ulps=1.0 if name == "fma" else 0.0)


@pytest.mark.parametrize("name", INTEGER_OPS)
@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_integers(check: Any, map_kernel: Any, name: str, kind: Any) -> None:
    for extents in SHAPES if name in ("add", "div") else [(3, 17)]:
        count = int(np.prod(extents))
        kernel = map_kernel(lambda b, *t: apply(b, name, *t), extents, [kind] * arity(name), kind)
        check(
            kernel, [*(samples(kind, count, f"{name}{i}") for i in range(arity(name))), np.zeros(count, dtype_of(kind))]
        )


@pytest.mark.parametrize("name", ["shl", "shr", "shru"])
@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_shifts(check: Any, map_kernel: Any, name: str, kind: Any) -> None:
    dtype = dtype_of(kind)
    amounts = np.arange(40).astype(dtype) % np.array(dtype.itemsize * 8, dtype)
    kernel = map_kernel(lambda b, x, y: b.binary(name, x, y), (40,), [kind, kind], kind)
    check(kernel, [samples(kind, 40, name), amounts, np.zeros(40, dtype)])


@pytest.mark.parametrize("name", ["and_", "or_", "xor"])
def test_masks(check: Any, map_kernel: Any, name: str) -> None:
    kernel = map_kernel(lambda b, x, y: b.unary("not_", b.binary(name, x, y)), (3, 21), [I1, I1], I1)
    check(kernel, [samples(I1, 63, "a"), samples(I1, 63, "b"), np.zeros(63, bool)])


@pytest.mark.parametrize("kind", [*FLOATS, *INTEGERS, I1], ids=str)
def test_comparisons_and_select(check: Any, map_kernel: Any, kind: Any) -> None:
    predicates = ["eq", "ne", "lt", "le", "gt", "ge"]
    if kind in INTEGERS:
        predicates += ["ltu", "leu", "gtu", "geu"]
    for predicate in predicates[:2] if kind == I1 else predicates:
        kernel = map_kernel(
            lambda b, x, y, p=predicate: b.select(b.compare(p, x, y), y, x), (2, 23), [kind, kind], kind
        )
        inputs = [samples(kind, 46, predicate + "x"), samples(kind, 46, predicate + "y")]
        inputs[1][::3] = inputs[0][::3]
        check(kernel, [*inputs, np.zeros(46, dtype_of(kind))])


CASTS = [*FLOATS, *INTEGERS, I1, INDEX]


@pytest.mark.parametrize("source", [kind for kind in CASTS if kind != INDEX], ids=str)
def test_casts(check: Any, map_kernel: Any, source: Any) -> None:
    for target in CASTS:
        if target in (source, INDEX):
            continue
        values = samples(source, 46, f"{source}{target}")
        if is_float(source) and not is_float(target):
            # Only numbers the target holds: others are unspecified.
            values = np.abs(np.nan_to_num(values.astype(np.float64), nan=5, posinf=7, neginf=9)) % 100
            values = (values if "ui" in str(target) or target == I1 else values - 50).astype(dtype_of(source))
        kernel = map_kernel(lambda b, x, t=target: b.cast(x, t), (2, 23), [source], target)
        check(kernel, [values, np.zeros(46, dtype_of(target))])


@pytest.mark.parametrize("kind", [I8, I16, I32], ids=str)
def test_unsigned_casts(check: Any, map_kernel: Any, kind: Any) -> None:
    for target in (I64, F32, F64):
        kernel = map_kernel(lambda b, x, t=target: b.cast(x, t, "unsigned"), (29,), [kind], target)
        check(kernel, [samples(kind, 29, "u"), np.zeros(29, dtype_of(target))])


def test_bit_casts(check: Any, map_kernel: Any) -> None:
    for source, target in ((F32, I32), (I64, F64), (F16, I16)):
        kernel = map_kernel(lambda b, x, t=target: b.cast(x, t, "bits"), (29,), [source], target)
        check(kernel, [np.arange(29).astype(dtype_of(source)), np.zeros(29, dtype_of(target))])


@pytest.mark.parametrize("kind", [F16, BF16], ids=str)
def test_narrowing_is_to_nearest_even_without_double_rounding(check: Any, kind: Any) -> None:
    rng = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        halves = rng.integers(0, 1 << 15, 4096).astype(np.uint16).view(dtype_of(kind)).astype(np.float64)
    halves = halves[np.isfinite(halves)][:2048]
    ties = halves * (1 + 2.0 ** -(11 if kind == F16 else 8))
    values = np.concatenate([ties, ties * (1 + 1e-15), ties * (1 - 1e-15), -halves, [1e300, 5e-324, np.nan, np.inf]])
    values = values[: len(values) // 16 * 16]
    check(_cast_kernel(len(values), F64, kind), [values, np.zeros(len(values), dtype_of(kind))])
    with np.errstate(all="ignore"):
        single = values.astype(np.float32)
    check(_cast_kernel(len(values), F32, kind), [single, np.zeros(len(values), dtype_of(kind))])


def _cast_kernel(count: int, source: Any, target: Any) -> Any:
    b = KernelBuilder("cast", [buffer(count, source), buffer(count, target)])
    with b.units(count // 16) as unit:
        offset = b.imul(unit, 16)
        b.store(b.cast(b.load(b.buffers[0], offset, (16,), (1,)), target), b.buffers[1], offset, (1,))
    return b.finish()


def test_broadcasting(check: Any, map_kernel: Any) -> None:
    def body(b: KernelBuilder, x: Any) -> Any:
        column = b.reduce("max", x, (1,))
        row = b.reduce("min", x, (0,))
        outer = b.mul(column, row)
        return b.fma(column, b.add(row, 1.0), b.sub(outer, x))

    values = np.random.default_rng(2).normal(size=7 * 37).astype(np.float32)
    check(map_kernel(body, (7, 37), [F32], F32), [values, np.zeros(7 * 37, np.float32)], ulps=4)


def test_constants_of_all_types(check: Any, map_kernel: Any) -> None:
    for kind, number in ((F32, 0.1), (F64, 0.1), (F16, 0.1), (BF16, 0.1), (I8, -3), (I64, -(2**63)), (U64, 2**64 - 1)):
        kernel = map_kernel(lambda b, x, n=number: b.binary("max", x, n), (21,), [kind], kind)
        check(kernel, [np.zeros(21, dtype_of(kind)), np.zeros(21, dtype_of(kind))])
