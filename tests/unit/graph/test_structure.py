"""Constants and dispatches."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from unit.graph.building import round_trip, type_of
from xdsl.ir import Block
from xdsl.utils.exceptions import VerifyException

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.base import TypeRuleError
from penstock.compiler.dialects.graph.structure import Constant, Dispatch, Yield
from penstock.compiler.interpreter import evaluate_op
from penstock.compiler.locations import name_location
from penstock.compiler.weights import WeightStore

HERE = name_location("node")


@pytest.mark.parametrize(
    "array",
    [
        np.float32([1.5, -0.0, math.inf, -math.inf]),
        np.float32(math.nan),
        np.float64([0.1, 1e300, 5e-324]),
        np.float16([[1, 2], [3, 65504]]),
        np.int64([2**63 - 1, -(2**63)]),
        np.uint8([0, 255]),
        np.uint64([2**64 - 1]),
        np.uint64([2**64 - 1, 1, 2**63 + 1]),
        np.array([True, False]),
        np.array(True),
        np.zeros((0, 3), np.float32),
        np.float32(1e-45),
    ],
    ids=str,
)
def test_inline_constants_keep_every_bit(array: Any):
    from penstock.compiler.irtext import parse_module, to_text

    array, store = np.asarray(array), WeightStore()
    op = Constant.of(array, store, location=HERE)
    assert len(store) == 0
    text = round_trip(op)
    for candidate in (op, *parse_module(text, CompilerContext()).walk()):
        if isinstance(candidate, Constant):
            value = candidate.array(store)
            assert value.dtype == array.dtype
            assert value.shape == array.shape
            assert value.tobytes() == array.tobytes()
    assert to_text(op)


@pytest.mark.parametrize("array", [np.arange(9, dtype=np.float32), np.zeros(2, ml_dtypes.bfloat16)], ids=str)
def test_large_constants_are_stored(array: Any):
    ctx = CompilerContext()
    op = Constant.of(array, ctx.weights, name="layer/weight", location=HERE)
    assert op.key.startswith("layer/weight#")
    assert "dense" not in round_trip(op)
    (value,) = evaluate_op(op, [], ctx)
    np.testing.assert_array_equal(value, array)
    assert not value.flags.writeable
    assert Constant.of(array.copy(), ctx.weights, name="layer/weight").key == op.key
    assert op.cost().flops == 0


def test_constant_needs_a_value_or_a_key():
    with pytest.raises(TypeRuleError, match="either a value or a key"):
        Constant.create(result_types=[type_of("2xf32")]).verify()
    with pytest.raises(KeyError):
        Constant.of(np.arange(9), WeightStore()).array(WeightStore())


def dispatch() -> Dispatch:
    """relu(x + y), computed in one kernel."""
    outer = Block(arg_types=[type_of("2x3xf32"), type_of("3xf32")])
    body = Block(arg_types=[type_of("2x3xf32"), type_of("3xf32")])
    add = operation("add").build(*body.args, location=HERE)
    relu = operation("relu").build(add, location=HERE)
    body.add_ops([add, relu, Yield.build(relu, location=HERE)])
    return Dispatch.around(list(outer.args), body, kind="map", symbol="relu_0", location=HERE)


def test_dispatch_means_what_its_body_means():
    op = dispatch()
    op.verify()
    text = round_trip(op)
    assert 'graph.dispatch "map" @relu_0' in text
    x, y = np.float32([[1, -2, 3], [-4, 5, -6]]), np.float32([1, 1, -9])
    seen: list[str] = []
    (value,) = evaluate_op(op, [x, y], CompilerContext(), lambda inner, _: seen.append(inner.name))
    np.testing.assert_array_equal(value, np.maximum(x + y, 0))
    assert seen == ["graph.add", "graph.relu"]
    assert op.cost().flops == 12
    assert op.cost().bytes == 4 * (6 + 3 + 6)


def test_dispatch_checks_its_borders():
    op = dispatch()
    wrong = Block(arg_types=[type_of("3xf32")])
    op.operands[0] = wrong.args[0]
    with pytest.raises(VerifyException, match="have the types of its operands"):
        op.verify()
