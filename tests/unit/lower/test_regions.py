"""Kernels over regions of interest against the reference semantics: boxes of any size, upside down, far outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.lower.dispatching import check, make, strict

from penstock.compiler.dialects.graph.activation import Relu
from penstock.compiler.dialects.graph.roi import RoiAlign, RoiMaxPool
from penstock.compiler.dtypes import BF16, F16, F32, F64, I64, numpy_dtype, tensor

BOXES = [
    [0, 0, 8, 8],
    [1.5, 2.25, 7.5, 5.0],
    [3, 3, 3, 3],
    [6, 6, 2, 2],
    [-9, -9, 30, 40],
    [100, 100, 120, 120],
    [np.nan, 0, 4, 4],
    [0, 0, np.inf, 4],
    [2.5, 0.5, 3.5, 6.5],
]


def align(x: Any, size: Any, element: Any = F32, **parameters: Any) -> tuple[Any, list[Any]]:
    rng, count = np.random.default_rng(2), len(BOXES)
    dispatch = make(
        "roi",
        [tensor(x, element), tensor((count, 4), element), tensor((count,), I64)],
        lambda *a: [RoiAlign.build(*a, size=size, **parameters).out],
    )
    values = rng.standard_normal(x).astype(numpy_dtype(element))
    boxes = np.array(BOXES).astype(numpy_dtype(element))
    return dispatch, [values, boxes, rng.integers(-x[0] - 1, x[0] + 1, count)]


@pytest.mark.parametrize("kind", ["average", "max"])
@pytest.mark.parametrize("half_pixel", [False, True])
@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize(
    ("x", "size"), [((2, 3, 8, 9), (3, 2)), ((1, 8, 7, 6), (2, 35)), ((1, 1, 1, 1), (1, 1)), ((2, 13, 5, 4), (7, 7))]
)
def test_aligned(x: Any, size: Any, samples: int, half_pixel: bool, kind: str) -> None:
    check(*align(x, size, kind=kind, samples=samples, half_pixel=half_pixel, scale=0.5), 1e-4)


@pytest.mark.parametrize("kind", [F16, BF16, F64])
def test_types(kind: Any) -> None:
    check(*align((2, 4, 8, 8), (2, 3), kind, scale=0.75), 1e-2)


def test_empty_and_followed() -> None:
    check(*align((1, 0, 4, 4), (2, 2)))
    count = len(BOXES)

    def build(*a: Any) -> list[Any]:
        return [Relu.build(RoiAlign.build(*a, size=(2, 5)).out).out]

    dispatch = make("roi", [(1, 3, 6, 6), (count, 4), tensor((count,), I64)], build)
    check(dispatch, align((1, 3, 6, 6), (2, 5))[1])


@pytest.mark.parametrize("kind", [F32, F16, F64])
@pytest.mark.parametrize(("x", "size"), [((2, 3, 8, 9), (3, 2)), ((1, 2, 7, 6), (5, 7)), ((1, 1, 1, 1), (1, 1))])
def test_greatest_of_elements(x: Any, size: Any, kind: Any) -> None:
    boxes = np.array([[i % 3 - 1, *box] for i, box in enumerate(BOXES)]).astype(numpy_dtype(kind))
    values = np.random.default_rng(2).standard_normal(x).astype(numpy_dtype(kind))
    dispatch = make(
        "roi",
        [tensor(x, kind), tensor(boxes.shape, kind)],
        lambda *a: [RoiMaxPool.build(*a, size=size, scale=0.5).out],
    )
    check(dispatch, [values, boxes], 0)


@pytest.mark.parametrize("half_pixel", [False, True])
def test_no_box_leaves_the_image(half_pixel: bool) -> None:
    wild = np.array([[-1e30, 0, 3, 3], [0, 0, 3, 2.0**63], [np.nan] * 4, [2, 1, -7, 0]], np.float32)
    rng = np.random.default_rng(4)
    values, batch = rng.standard_normal((2, 2, 3, 4)).astype(np.float32), np.array([0, 9, -9, 1])
    aligned = make(
        "roi",
        [values.shape, wild.shape, tensor(batch.shape, I64)],
        lambda *a: [RoiAlign.build(*a, size=(2, 3), samples=2, half_pixel=half_pixel).out],
    )
    strict(aligned, [values, wild, batch], 1e-4)
    numbered = np.concatenate([np.array([[np.nan], [1e30], [-5], [1]], np.float32), wild], 1)
    pooled = make("roi", [values.shape, numbered.shape], lambda *a: [RoiMaxPool.build(*a, size=(2, 3)).out])
    strict(pooled, [values, numbered])
