"""Sampling kernels against the reference semantics: every mode; coordinates far outside, NaN and infinite."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from unit.lower.dispatching import check, make, strict

from penstock.compiler.dialects.graph.activation import Relu
from penstock.compiler.dialects.graph.sampling import Sample
from penstock.compiler.dtypes import BF16, F16, F32, F64, I1, I64, element_type, numpy_dtype, tensor

Shape = tuple[int, ...]
WAYS = list(itertools.product(("zeros", "border", "reflection"), (False, True)))


def places(shape: Shape, extents: Shape, *, wild: bool = True) -> Any:
    """Coordinates in and around a tensor, halves and whole numbers among them, a few of them nowhere."""
    rng = np.random.default_rng(5)
    near = rng.uniform(-1.5, 1.5, shape) * np.array(extents)
    halves = np.round(near * 2) / 2
    chosen = np.where(rng.random(shape) < 0.3, halves, near).astype(np.float32)
    if wild and chosen.size > 8:
        chosen.reshape(-1)[:5] = [np.nan, np.inf, -np.inf, 1e30, -3e9]
    return chosen


def sampled(x: Shape, at: Shape, kind: Any, **parameters: Any) -> Any:
    return make("map", [tensor(x, kind), tensor(at, F32)], lambda a, b: [Sample.build(a, b, **parameters).out])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(("outside", "corners"), WAYS)
@pytest.mark.parametrize(
    ("x", "count"),
    [((2, 3, 7), (19,)), ((1, 2, 5, 9), (3, 5)), ((2, 1, 1, 4), (1, 67)), ((1, 1, 3, 4), (0, 2)), ((1, 3, 2, 3), ())],
)
def test_images(x: Shape, count: Shape, mode: str, outside: str, corners: bool) -> None:
    at = (x[0], *count, len(x) - 2)
    values = np.random.default_rng(1).standard_normal(x).astype(np.float32)
    check(sampled(x, at, F32, mode=mode, outside=outside, align_corners=corners), [values, places(at, x[2:])], 1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("outside", "corners"), WAYS)
def test_volumes(mode: str, outside: str, corners: bool) -> None:
    x, at = (1, 2, 3, 4, 5), (1, 2, 3, 7, 3)
    values = np.random.default_rng(1).standard_normal(x).astype(np.float32)
    check(sampled(x, at, F32, mode=mode, outside=outside, align_corners=corners), [values, places(at, x[2:])], 1e-4)


@pytest.mark.parametrize("kind", [F16, BF16, F64])
def test_types_that_can_be_interpolated(kind: Any) -> None:
    x, at = (1, 2, 6, 7), (1, 4, 5, 2)
    values = np.random.default_rng(1).standard_normal(x).astype(numpy_dtype(kind))
    check(sampled(x, at, kind), [values, places(at, x[2:], wild=False)], 1e-2)


@pytest.mark.parametrize("kind", [I1, I64, element_type("ui8"), element_type("i16")])
def test_types_that_are_only_copied(kind: Any) -> None:
    x, at = (1, 2, 6, 7), (1, 4, 5, 2)
    values = np.random.default_rng(1).integers(0, 2, x).astype(numpy_dtype(kind))
    for outside, corners in WAYS:
        dispatch = sampled(x, at, kind, mode="nearest", outside=outside, align_corners=corners)
        check(dispatch, [values, places(at, x[2:])], 0)


def test_what_is_not_there_is_zero_whatever_stands_at_the_edge() -> None:
    """Infinity at the edge is not multiplied by the zero outside."""
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    at = np.array([[[-1.0, 0.0], [0.0, 5.0], [-1.0, -1.0], [9, 9]]], np.float32)
    dispatch = sampled((1, 1, 2, 2), (1, 4, 2), F32)
    check(dispatch, [x, at])


def test_what_follows_is_fused() -> None:
    def build(x: Any, at: Any) -> list[Any]:
        return [Relu.build(Sample.build(x, at).out).out]

    check(make("map", [(2, 3, 5, 6), (2, 4, 4, 2)], build))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(("outside", "corners"), WAYS)
def test_no_coordinate_leaves_the_image(mode: str, outside: str, corners: bool) -> None:
    x, at = (1, 2, 3, 4), (1, 3, 5, 2)
    values = np.random.default_rng(1).standard_normal(x).astype(np.float32)
    wild = places(at, x[2:])
    wild.reshape(-1)[5:12] = [2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 3.4e38, 1e-40, -0.0]
    strict(sampled(x, at, F32, mode=mode, outside=outside, align_corners=corners), [values, wild], 1e-4)
