"""Elementary functions against numpy's long double and the C library: error bounds, and every special case.

``python tests/unit/tile/test_math.py`` prints the measured errors.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.compiler.backends.cpu.jit import run_kernel
from penstock.compiler.backends.cpu.target import cpu_target
from penstock.compiler.backends.math import BOUNDS
from penstock.compiler.dialects.graph.scalar import GELU_TAIL_END
from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dialects.tile.interpreter import dtype_of
from penstock.compiler.dtypes import F32, F64

Array = NDArray[Any]
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, 1e-3, 100.0, 1e5,
           1.0001e5, -3e5, 2.0**28, 2.0**28 + 1, 1e10, -1e15, 1e22, 1e30, 3e38, -3e38, 0.92999, 0.93001, 3.9, 4.0, 6.0,
           9.0, 20.0, 22.0, 88.7, 88.73, -87.5, -103.0, -103.98, -104.0, 1e-38, 1e-40, -1e-40, 1e-45]  # fmt: skip
SPECIAL_F64 = [709.7, 709.79, -745.1, -745.2, -708.5, 1e-308, 1e-310, -5e-324, 1.7e308, -1e300, 1 + 1e-15, 1 - 1e-16]
RANGES: dict[str, list[tuple[float, float]]] = {
    "exp": [(-110, 90), (-750, 710), (-1, 1)],
    "exp2": [(-155, 130), (-1080, 1030), (-1, 1), (-1e-9, 1e-9)],
    "log": [(0, 3), (0.99, 1.01), (0, 1e38), (0, 1e-37)],
    "tanh": [(-10, 10), (-0.5, 0.5), (-1e-3, 1e-3), (-22, 22)],
    "erf": [(-6, 6), (-1, 1), (-1e-3, 1e-3)],
    "gelu_tail": [(-6, 6), (-1, 1), (-1e-3, 1e-3), (5.6, 5.8), (8.3, 8.5)],
    "sin": [(-10, 10), (-1e5, 1e5), (-1e9, 1e9), (-3e38, 3e38)],
    "cos": [(-10, 10), (-1e5, 1e5), (-1e9, 1e9), (-3e38, 3e38)],
    "tan": [(-10, 10), (-1e5, 1e5), (-1e9, 1e9), (-3e38, 3e38)],
    "asin": [(-1, 1), (-1e-3, 1e-3), (0.499, 0.501), (0.999, 1)],
    "acos": [(-1, 1), (-1e-3, 1e-3), (0.499, 0.501), (0.999, 1)],
    "atan": [(-4, 4), (-1e-3, 1e-3), (0.41, 0.42), (2.41, 2.42), (-1e9, 1e9)],
    "sinh": [(-10, 10), (-1e-3, 1e-3), (19.9, 20.1), (-89.5, 89.5), (-710.5, 710.5)],
    "cosh": [(-10, 10), (-1e-3, 1e-3), (19.9, 20.1), (-89.5, 89.5), (-710.5, 710.5)],
    "asinh": [(-10, 10), (-1e-3, 1e-3), (-1e4, 1e4), (-1e9, 1e9)],
    "acosh": [(1, 10), (1, 1.001), (1, 1e4), (1, 1e9)],
    "atanh": [(-1, 1), (-1e-3, 1e-3), (0.999, 1)],
}


def any_bits(rng: np.random.Generator, count: int, dtype: np.dtype[Any]) -> Array:
    """Numbers of all exponents."""
    return np.frombuffer(rng.bytes(count * dtype.itemsize), dtype)


def arguments(name: str, dtype: np.dtype[Any], count: int) -> Array:
    rng = np.random.default_rng(len(name))
    special = [*SPECIAL, *(SPECIAL_F64 if dtype == np.float64 else [])]
    parts = [rng.uniform(*limits, count).astype(dtype) for limits in RANGES[name]]
    values = np.concatenate([np.array(special).astype(dtype), *parts, any_bits(rng, count, dtype)])
    return np.concatenate([values, np.zeros(-len(values) % 16, dtype)])


def pairs(name: str, dtype: np.dtype[Any], count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(len(name))
    special = np.array([*SPECIAL, *(SPECIAL_F64 if dtype == np.float64 else [])]).astype(dtype)
    x, y = np.repeat(special, len(special)), np.tile(special, len(special))
    padding = [1.0] * (-(len(x) + 3 * count) % 16)

    def joined(*parts: Any) -> Array:
        return np.concatenate([np.asarray(part, dtype) for part in (*parts, any_bits(rng, count, dtype), padding)])

    return (
        joined(x, rng.uniform(0, 10, count), rng.uniform(0.9, 1.1, count)),
        joined(y, rng.uniform(-30, 30, count), rng.uniform(-900, 900, count)),
    )


def compute(name: str, operands: list[Array], isa: str, lanes: int = 0) -> Array:
    """The function by a kernel of tiles of ``lanes`` (0: a machine vector)."""
    kind = F32 if operands[0].dtype == np.float32 else F64
    lanes, count = lanes or cpu_target(isa).lanes, operands[0].size
    b = KernelBuilder("function", [buffer(count, kind)] * (len(operands) + 1))
    with b.units(count // lanes) as unit:
        offset = b.imul(unit, lanes)
        tiles = [b.load(source, offset, (lanes,), (1,)) for source in b.buffers[:-1]]
        value = b.unary(name, *tiles) if len(tiles) == 1 else b.binary(name, *tiles)
        b.store(value, b.buffers[-1], offset, (1,))
    result = np.zeros(count, dtype_of(kind))
    run_kernel(b.finish(), [*operands, result], isa)
    return result


def reference(name: str, operands: list[Array]) -> Array:
    """In long double, or in double by the C library for erf and its kin."""
    with np.errstate(all="ignore"):
        if name == "erf":
            return np.vectorize(math.erf)(operands[0].astype(np.float64)).astype(np.longdouble)
        if name == "gelu_tail":
            x, end = np.abs(operands[0]), GELU_TAIL_END[operands[0].dtype.itemsize]
            chance = np.vectorize(math.erfc)(x.astype(np.float64) * math.sqrt(0.5)) / 2
            return np.where(x > end, 0, x * chance.astype(np.longdouble))
        functions: dict[str, Callable[..., Any]] = {"pow": np.power, "rem": np.fmod}
        function = functions.get(name) or getattr(np, name)
        return function(*(x.astype(np.longdouble) for x in operands))


def error(name: str, result: Array, exact: Array) -> Array:
    """Units in the last place; 0 where both are NaN or the same infinity, infinite where only one is. The tail of gelu
    is in f64 as exact as numbers around 1/2 are."""
    dtype = result.dtype
    with np.errstate(all="ignore"):
        nearest = exact.astype(dtype)
        size = np.maximum(np.abs(nearest), 0.5) if (name, dtype) == ("gelu_tail", np.float64) else np.abs(nearest)
        ulps = np.abs(result.astype(np.longdouble) - exact) / np.spacing(size).astype(np.longdouble)
        special = ~np.isfinite(result) | ~np.isfinite(nearest)
        agree = (result == nearest) | (np.isnan(result) & np.isnan(nearest))
        # A result at the edge of the range may round to infinity or to the largest number.
        edge = np.isfinite(result) != np.isfinite(nearest)
        edge &= np.abs(np.where(np.isfinite(result), result, nearest)) == np.finfo(dtype).max
        return np.where(special, np.where(agree, 0.0, np.where(edge, 1.0, np.inf)), ulps).astype(np.float64)


def measured(name: str, kind: str, isa: str, count: int) -> tuple[float, list[Array], Array, Array]:
    """Largest error over all arguments; the operands, results and exact values."""
    dtype = np.dtype(np.float32 if kind == "f32" else np.float64)
    operands = list(pairs(name, dtype, count)) if name in ("pow", "rem") else [arguments(name, dtype, count)]
    result, exact = compute(name, operands, isa), reference(name, operands)
    return float(error(name, result, exact).max()), operands, result, exact


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", list(BOUNDS))
def test_error_bounds_and_special_cases(isa: str, name: str, kind: str) -> None:
    _, operands, result, exact = measured(name, kind, isa, 20000 if kind == "f32" else 4000)
    errors = error(name, result, exact)
    worst = int(errors.argmax())
    where = [x[worst] for x in operands], result[worst], exact[worst]
    assert errors[worst] <= BOUNDS[name][kind == "f64"], where
    signed = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(result[signed]), np.signbit(exact[signed]))


@pytest.mark.parametrize("name", list(BOUNDS))
def test_one_lane_is_computed_as_sixteen_are(isa: str, name: str) -> None:
    """A tile narrower than the machine's vectors gives the same bits (AVX-512 has an instruction for x * 2^n)."""
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        operands = list(pairs(name, dtype, 100)) if name in ("pow", "rem") else [arguments(name, dtype, 100)]
        operands = [x[: len(x) // 48 * 48] for x in operands]
        wide = compute(name, operands, isa)
        for lanes in (1, 3):
            np.testing.assert_array_equal(compute(name, operands, isa, lanes), wide)


def test_half_precision_goes_through_f32(check: Any, map_kernel: Any) -> None:
    from penstock.compiler.dtypes import BF16, F16

    for kind in (F16, BF16):
        values = np.linspace(-4, 4, 38).astype(dtype_of(kind))
        for name in ("exp", "tanh", "erf", "sin"):
            kernel = map_kernel(lambda b, x, n=name: b.unary(n, x), (2, 19), [kind], kind)
            check(kernel, [values, np.zeros(38, dtype_of(kind))], ulps=1.0)


def test_polynomials_are_those_the_fit_gives() -> None:
    """One of them, computed again."""
    mpmath = pytest.importorskip("mpmath")
    from penstock.compiler.backends import coefficients, minimax

    mpmath.mp.dps = 50
    function, low, high, degree, _, weight = minimax.fits()["SIN"]
    found = minimax.rounded(function, mpmath.mpf(low), mpmath.mpf(high), degree, weight, single=True)
    assert tuple(found) == coefficients.SIN_F32
    assert all(struct.unpack("<f", struct.pack("<f", c))[0] == c for c in found)


if __name__ == "__main__":
    levels = sys.argv[1:] or ["x86-64-v4", "x86-64-v3"]
    for function_name in BOUNDS:
        for kind_name in ("f32", "f64"):
            figures = [measured(function_name, kind_name, level, 200000)[0] for level in levels]
            print(function_name, kind_name, *(f"{figure:.2f}" for figure in figures))
