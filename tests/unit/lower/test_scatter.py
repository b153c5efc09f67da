"""Scattering kernels against the reference semantics: which update wins, and the same bits for any cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.lower.dispatching import check, make, strict

from penstock.compiler.dialects.graph.scatter import REDUCTIONS, ScatterElements, ScatterNd
from penstock.compiler.dtypes import BF16, F16, F32, F64, I1, I32, I64, element_type, numpy_dtype, tensor

Shape = tuple[int, ...]
ND: list[tuple[Shape, Shape]] = [
    ((7,), (5, 1)),
    ((1,), (3, 1)),
    ((300,), (2, 3, 1)),
    ((4, 5, 6), (9, 3)),
    ((13, 4, 5), (3, 1)),
    ((3, 200), (4, 1)),
    ((2, 1000), (1, 1)),
    ((5, 3), (2, 0)),
    ((4, 6), (0, 1)),
    ((0, 3), (0, 1)),
    ((3, 0), (2, 1)),
    ((), (2, 0)),
    ((257, 3), (2, 2)),
]
ELEMENTS: list[tuple[Shape, Shape, int]] = [
    ((7,), (5,), 0),
    ((1,), (3,), 0),
    ((5, 7), (5, 3), 1),
    ((5, 7), (3, 9), 1),
    ((5, 37), (4, 37), 0),
    ((5, 37), (9, 20), 0),
    ((3, 5, 17), (2, 9, 10), 1),
    ((3, 5, 17), (9, 4, 3), 0),
    ((2, 3, 1, 1), (2, 9, 1, 1), 1),
    ((4, 6), (0, 6), 0),
    ((4, 6), (4, 0), 0),
    ((0, 6), (0, 2), 1),
    ((5, 130, 3), (5, 130, 1), 2),
]


def values(kind: Any, shape: Shape, seed: int) -> Any:
    """Small numbers of an element type, with NaN and infinity among the floating-point ones (of bf16 numpy cannot
    compare them)."""
    rng = np.random.default_rng(seed)
    if kind == I1:
        return rng.integers(0, 2, shape).astype(bool)
    numbers = rng.integers(-4, 5, shape).astype(np.float64)
    if numbers.size > 3 and numpy_dtype(kind).kind not in "iu":
        numbers = numbers + rng.standard_normal(shape)
        numbers.reshape(-1)[1:3] = (0.5, 2.5) if kind == BF16 else (np.nan, np.inf)
    return numbers.astype(numpy_dtype(kind))


def places(high: Any, shape: Shape) -> Any:
    """Indices that repeat, count from the end, and lie outside."""
    return np.random.default_rng(3).integers(-np.asarray(high) - 2, np.asarray(high) + 2, shape)


def nd(x: Shape, indices: Shape, kind: Any, reduction: str) -> tuple[Any, list[Any]]:
    depth = indices[-1]
    updates = (*indices[:-1], *x[depth:])
    dispatch = make(
        "scatter",
        [tensor(x, kind), tensor(indices, I64), tensor(updates, kind)],
        lambda *a: [ScatterNd.build(*a, reduction=reduction).out],
    )
    return dispatch, [values(kind, x, 1), places(x[:depth], indices), values(kind, updates, 2)]


def elements(x: Shape, indices: Shape, axis: int, kind: Any, reduction: str) -> tuple[Any, list[Any]]:
    dispatch = make(
        "scatter",
        [tensor(x, kind), tensor(indices, I64), tensor(indices, kind)],
        lambda *a: [ScatterElements.build(*a, axis=axis, reduction=reduction).out],
    )
    return dispatch, [values(kind, x, 1), places(x[axis], indices), values(kind, indices, 2)]


@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize(("x", "indices"), ND)
def test_windows_at_coordinates(x: Shape, indices: Shape, reduction: str) -> None:
    check(*nd(x, indices, F32, reduction), tolerance=0)


@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize(("x", "indices", "axis"), ELEMENTS)
def test_elements_along_an_axis(x: Shape, indices: Shape, axis: int, reduction: str) -> None:
    check(*elements(x, indices, axis, F32, reduction), tolerance=0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", [F16, BF16, F64, I32, I64, I1, element_type("ui8"), element_type("i8")])
def test_reductions_of_every_type(reduction: str, kind: Any) -> None:
    """Rounded at every step, wrapping, or logical; NaN spreads."""
    check(*nd((6, 5), (9, 1), kind, reduction), tolerance=0)
    check(*elements((4, 19), (7, 19), 0, kind, reduction), tolerance=0)
    check(*elements((4, 19), (4, 40), 1, kind, reduction), tolerance=0)


@pytest.mark.parametrize(("x", "indices"), ND)
def test_units_stay_in_their_part(x: Shape, indices: Shape) -> None:
    """The strict interpreter finds no access outside a buffer and no two units at one element."""
    strict(*nd(x, indices, F32, "max"))


@pytest.mark.parametrize(("x", "indices", "axis"), ELEMENTS)
def test_lines_are_apart(x: Shape, indices: Shape, axis: int) -> None:
    strict(*elements(x, indices, axis, F32, "min"))
