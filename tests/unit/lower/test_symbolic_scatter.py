"""Scatters, regions, samples, determinants and linear attention over symbolic extents: one kernel, many sizes."""

from __future__ import annotations

from typing import Any

import pytest
from unit.lower.test_symbolic import TEXTS, B, S, T, check
from xdsl.dialects import test
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.determinant import Det
from penstock.compiler.dialects.graph.linear_attention import LinearAttention
from penstock.compiler.dialects.graph.recurrence import Rnn
from penstock.compiler.dialects.graph.roi import RoiMaxPool
from penstock.compiler.dialects.graph.sampling import Sample
from penstock.compiler.dialects.graph.scatter import ScatterElements, ScatterNd
from penstock.compiler.dtypes import F32, I64, tensor
from penstock.compiler.extents import Extent, NotStatic

WINDOWS: dict[str, tuple[Any, Any, Any, Extent]] = {
    "rows": ((T, 24), (S, 1), (S, 24), T),
    "numbers": ((T,), (S, 1), (S,), T),
    "long windows": ((3, S * T), (B, 1), (B, S * T), 3),
    "odd windows": ((3, 7 * T + 3), (2, 1), (2, 7 * T + 3), 3),
    "places": ((5, 5, B), (B, S, 2), (B, S, B), 5),
    "cache": ((B, 4, T, 8), (S, 1), (S, 4, T, 8), B),
    "few rows": ((40, 6), (S, 1), (S, 6), 40),
}


@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str, reduction: str) -> None:
    """Units over columns and over rows; indices that count from the end, and more than one for a place."""
    x, indices, updates, limit = WINDOWS[name]
    shapes = [x, tensor(indices, I64), updates]
    check("scatter", shapes, lambda *v: [ScatterNd.build(*v, reduction=reduction).out], TEXTS, limit, 1e-4)


ELEMENTS: dict[str, tuple[Any, Any, int, Extent]] = {
    "lines": ((B, T), (B, S), 1, T),
    "columns": ((T, S), (B, S), 0, T),
    "wide columns": ((7, B, S * T), (3, B, S * T), 0, 7),
    "narrow columns": ((T, 5), (S, 5), 0, T),
    "fewer lines": ((B + 2, T), (B, S), 1, T),
    "fewer columns": ((9, S + 3), (4, S), 0, 9),
    "between": ((B, T, 20), (B, S, 20), 1, T),
}


@pytest.mark.parametrize("reduction", ["none", "max"])
@pytest.mark.parametrize("name", ELEMENTS)
def test_elements(name: str, reduction: str) -> None:
    """Lines along the innermost axis, and lanes beside another."""
    x, indices, axis, limit = ELEMENTS[name]
    shapes = [x, tensor(indices, I64), indices]
    check("scatter", shapes, lambda *v: [ScatterElements.build(*v, axis=axis, reduction=reduction).out], TEXTS, limit)


def test_linear_attention() -> None:
    """Batch and steps; heads and their widths are numbers."""
    shapes = [(B, S, 4, 8), (B, S, 2, 8), (B, S, 2, 20), (B, 2, 8, 20), (B, S, 2, 1)]
    sizes = [numbers for numbers in TEXTS if numbers["seq"] < 10]  # random gates let the state grow with the steps

    def build(*values: SSAValue) -> list[SSAValue]:
        return list(LinearAttention.build(*values, scale=0.1, extras="gate").results)

    check("linear_attention", shapes, build, sizes, tolerance=1e-4)


def test_plain_recurrence() -> None:
    """Batch and steps."""
    shapes = [(S, B, 6), (1, 5, 6), (1, 5, 5), (1, 10), (1, B, 5)]
    check("recurrence", shapes, lambda *v: list(Rnn.build(*v).results), TEXTS, tolerance=1e-4)


def test_regions_and_samples() -> None:
    """Boxes, images of a batch, and places; also where the images' size is not known."""
    check("roi", [(B, 3, 9, 7), (S, 5)], lambda x, r: [RoiMaxPool.build(x, r, size=(2, 3), scale=3.0).out], TEXTS)
    check("map", [(B, 3, 9, 7), (B, S, T, 2)], lambda x, p: [Sample.build(x, p).out], TEXTS[:3], tolerance=1e-4)
    check("roi", [(B, 3, S, 7), (T, 5)], lambda x, r: [RoiMaxPool.build(x, r, size=(2, 3), scale=3.0).out], TEXTS)
    check("map", [(B, 3, S, T), (B, 5, 6, 2)], lambda x, p: [Sample.build(x, p).out], TEXTS, tolerance=1e-4)


def test_determinants() -> None:
    """Any number of matrices of known size."""
    check("determinant", [(B, S, 4, 4)], lambda x: [Det.build(x).out], TEXTS, tolerance=1e-4)


def test_what_must_be_known() -> None:
    """Extents that decide how a kernel is built are numbers."""

    def values(*shapes: Any) -> Any:
        return test.TestOp(result_types=[tensor(shape, F32) for shape in shapes]).results

    with pytest.raises(NotStatic, match="matrices of a determinant"):
        Det.build(*values((B, S, S)))
    with pytest.raises(NotStatic, match="heads of linear attention"):
        LinearAttention.build(*values((B, S, T, 8), (B, S, T, 8), (B, S, T, 8), (B, T, 8, 8)))
