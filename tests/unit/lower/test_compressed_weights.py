"""Kernels that read compressed weights, against the reference: every size, and numbers that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from unit.lower.dispatching import ISAS, check, make, native, reference, strict

from penstock.compiler.dialects.graph.activation import Relu
from penstock.compiler.dialects.graph.compression import Compressed, Decompress, compress
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.dtypes import I32, tensor
from penstock.compiler.passes.layout.pack_weights import pack


def compressed(depth: int, columns: int, panel: int, strange: dict[tuple[int, int], float] | None = None) -> Compressed:
    rng = np.random.default_rng(depth + columns)
    matrix = (rng.standard_normal((depth, columns)) * 0.1).astype(np.float32)
    for place, number in (strange or {}).items():
        matrix[place] = number
    found = compress(pack(matrix, panel), columns)
    assert found is not None
    return found


def product(rows: tuple[int, ...], weights: Compressed, columns: int, *, relu: bool = False) -> Dispatch:
    """A dispatch of rows of A times the weights."""
    panel = weights.words.shape[2] * 16

    def build(a: Any, *stored: Any) -> list[Any]:
        out = Matmul.build(a, Decompress.build(*stored).out, b_panel=panel, n=columns).out
        return [Relu.build(out).out if relu else out]

    return make("contraction", [rows, *(tensor(array.shape, I32) for array in weights)], build)


def operands(rows: tuple[int, ...], weights: Compressed) -> list[NDArray[Any]]:
    return [np.random.default_rng(1).standard_normal(rows).astype(np.float32), *weights]


@pytest.mark.parametrize(
    ("rows", "depth", "columns", "panel"),
    [
        *(((1,), 8, 1, 16), ((1,), 136, 64, 64), ((1,), 520, 97, 48), ((2,), 768, 80, 64), ((3,), 1032, 50, 64)),
        *(((4,), 264, 130, 32), ((7,), 64, 33, 16), ((2, 1), 136, 70, 64)),
    ],
)
def test_products_of_every_size(rows: tuple[int, ...], depth: int, columns: int, panel: int) -> None:
    weights = compressed(depth, columns, panel, {(3, 0): 0.0, (depth - 1, columns - 1): 1e-20} if depth > 99 else None)
    arrays = operands((*rows, depth), weights)
    check(product((*rows, depth), weights, columns, relu=columns == 97), arrays)
    if depth < 200:
        strict(product((*rows, depth), weights, columns), arrays, 1e-5)


STRANGE = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -3e38, 5e30]


def test_what_is_not_finite_spreads_as_it_does_in_f32() -> None:
    """Each strange number of A meets each strange weight, in a column of its own."""
    places = {(40 + 8 * n + n, 5 * n): number for n, number in enumerate(STRANGE)}
    depth, columns = 1024, 64
    weights = compressed(depth, columns, 64, places)
    dispatch = product((1, depth), weights, columns)
    assert weights.directory[-1, 0] >= len(STRANGE)
    for x in (np.inf, -np.inf, np.nan, 1e3, -1e-42, 0.0, -0.0):
        for row, _ in places:
            arrays = operands((1, depth), weights)
            arrays[0][0, row] = x
            (wanted,) = reference(dispatch, arrays)
            for isa in ISAS:
                (found,) = native(dispatch, arrays, isa)
                np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
                np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_an_element_is_read_wherever_it_is() -> None:
    """All elements of compressed weights, by themselves: the model's, bit for bit."""
    weights = compressed(264, 40, 48, {(0, 0): np.nan, (7, 1): -np.inf, (15, 2): -0.0, (8, 39): 1e-45})
    dispatch = make(
        "map", [tensor(array.shape, I32) for array in weights], lambda *stored: [Decompress.build(*stored).out]
    )
    (wanted,) = reference(dispatch, list(weights))
    for isa in ISAS:
        (found,) = native(dispatch, list(weights), isa)
        np.testing.assert_array_equal(found.view(np.uint32)[..., :40], wanted.view(np.uint32)[..., :40])
