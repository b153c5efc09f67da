"""What each op folds to when it changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.graph.building import arguments, build, type_of

from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.weights import WeightStore


def constant(value: Any, dtype: Any = np.float32) -> Constant:
    return Constant.of(np.asarray(value, dtype), WeightStore())


@pytest.mark.parametrize(
    ("name", "second", "folds"),
    [
        ("add", 0, True),
        ("add", -0.0, True),
        ("sub", 0, True),
        ("mul", 1, True),
        ("div", 1, True),
        ("pow", 1, True),
        ("mul", 0, False),
        ("add", [0, 0, 0], True),
        ("add", [[0], [0]], False),
        ("sub", 1, False),
    ],
)
def test_neutral_elements(name: str, second: Any, folds: bool):
    (x,) = arguments(type_of("3xf32"))
    op = operation(name).build(x, constant(second))
    assert (op.fold() is x) == folds
    swapped = operation(name).build(constant(second), x)
    assert (swapped.fold() is x) == (folds and name in ("add", "mul"))


def test_boolean_neutral_elements():
    (x,) = arguments(type_of("3xi1"))
    assert operation("and").build(x, constant(True, bool)).fold() is x
    assert operation("or").build(constant(False, bool), x).fold() is x
    assert operation("or").build(x, constant(True, bool)).fold() is None
    assert operation("xor").build(x, constant(False, bool)).fold() is x


@pytest.mark.parametrize("name", ["neg", "not"])
def test_involutions(name: str):
    (x,) = arguments(type_of("3xi1" if name == "not" else "3xf32"))
    inner = operation(name).build(x)
    assert operation(name).build(inner).fold() is x
    assert inner.fold() is None


@pytest.mark.parametrize("name", ["abs", "relu", "floor", "ceil", "round", "sign"])
def test_idempotent(name: str):
    (x,) = arguments(type_of("3xf32"))
    inner = operation(name).build(x)
    assert operation(name).build(inner).fold() is inner.out


def test_extrema():
    x, y, wide = arguments(*map(type_of, ("3xf32", "3xf32", "2x3xf32")))
    largest = operation("max")
    assert largest.build(x, x).fold() is x
    once = largest.build(x, y)
    assert largest.build(once, y).fold() is once.out
    assert largest.build(y, once).fold() is once.out
    assert largest.build(x, y).fold() is None
    assert operation("min").build(once, y).fold() is None
    assert largest.build(largest.build(x, wide), x).fold() is not None
    assert largest.build(x, largest.build(x, wide)).fold() is not None


def test_select():
    c, a, b = arguments(*map(type_of, ("3xi1", "3xf32", "3xf32")))
    select = operation("select")
    assert select.build(constant(True, bool), a, b).fold() is a
    assert select.build(constant(False, bool), a, b).fold() is b
    assert select.build(c, a, a).fold() is a
    assert select.build(c, a, b).fold() is None
    scalar = constant(1.0)
    assert select.build(constant([True] * 3, bool), scalar, b).fold() is None


@pytest.mark.parametrize(
    ("name", "types", "result", "parameters"),
    [
        ("cast", ("3xf32",), "3xf32", {}),
        ("reshape", ("3x4xf32",), "3x4xf32", {}),
        ("transpose", ("3x4xf32",), None, {"permutation": (0, 1)}),
        ("expand", ("3x4xf32",), "3x4xf32", {}),
        ("slice", ("3x4xf32",), "3x4xf32", {"starts": (0, 0), "steps": (1, 1)}),
        ("concat", ("3x4xf32",), None, {"axis": 1}),
        ("pad", ("3xf32", "f32"), None, {"low": (0,), "high": (0,)}),
        ("reduce", ("3x1xf32",), None, {"kind": "sum", "axes": (1,), "keepdims": True}),
        ("reduce", ("3x1xf32",), None, {"kind": "sum", "axes": ()}),
        ("resize", ("3x4xf32",), "3x4xf32", {"mode": "linear", "scales": (1.0, 1.0)}),
    ],
)
def test_identities(name: str, types: Any, result: Any, parameters: Any):
    op = build(name, *types, result=result, **parameters)
    assert op.fold() is op.operands[0]


@pytest.mark.parametrize(
    ("name", "types", "result", "parameters"),
    [
        ("cast", ("3xf32",), "3xf16", {}),
        ("transpose", ("4x4xf32",), None, {"permutation": (1, 0)}),
        ("slice", ("4xf32",), "4xf32", {"starts": (3,), "steps": (-1,)}),
        ("concat", ("3x4xf32", "3x0xf32"), None, {"axis": 1}),
        ("reduce", ("3x1xf32",), None, {"kind": "sum", "axes": (1,)}),
    ],
)
def test_not_identities(name: str, types: Any, result: Any, parameters: Any):
    assert build(name, *types, result=result, **parameters).fold() is None
