"""Index expressions beside Python's own integers, over all values of their loop indices and lanes."""

from __future__ import annotations

from itertools import product

import pytest
from xdsl.ir import Block

from penstock.compiler.dtypes import INDEX
from penstock.compiler.passes.lower.affine import Expr, FloorDiv, Iv, Lane, Mod, iv, lane

OUTER, INNER = Block(arg_types=[INDEX, INDEX]).args


def value(expression: Expr, outer: int, inner: int, number: int) -> int:
    """The expression where its loop indices are ``outer`` and ``inner``, and its lane ``number``."""
    total = expression.constant
    for atom, factor in expression.terms:
        match atom:
            case Iv():
                total += factor * (outer if atom.value is OUTER else inner)
            case Lane():
                total += factor * number
            case FloorDiv():
                total += factor * (value(atom.numerator, outer, inner, number) // atom.divisor)
            case Mod():
                total += factor * (value(atom.numerator, outer, inner, number) % atom.divisor)
            case _:
                raise AssertionError(atom)
    return total


@pytest.mark.parametrize("divisor", [2, 3, 8, 24, 64, 100])
@pytest.mark.parametrize("constant", [0, 5, 64, -7])
@pytest.mark.parametrize(("far", "near"), [(16, 1), (64, 16), (24, 8), (3, 5), (100, 4)])
def test_quotients_and_remainders(far: int, near: int, constant: int, divisor: int) -> None:
    whole = iv(OUTER, 0, 9) * far + iv(INNER, 0, 3) * near + lane(0, 8) + constant
    for outer, inner, number in product(range(10), range(4), range(8)):
        there = outer * far + inner * near + number + constant
        assert value(whole.floordiv(divisor), outer, inner, number) == there // divisor
        assert value(whole.mod(divisor), outer, inner, number) == there % divisor


def test_lanes_within_a_part_of_a_panel_stay_neighbours() -> None:
    """16 columns that lie in one panel of 64: a contiguous load, not a gather."""
    column = iv(OUTER, 0, 15) * 16 + lane(0, 16)
    assert column.mod(64).is_linear()
    assert column.mod(64).stride(0) == 1
    assert not column.floordiv(64).lanes()
    assert column.floordiv(64) * 64 + column.mod(64) == column
