"""Reshapes sink to the lowest rank and cancel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.simplify.checking import Net

PASS = "cancel-reshapes"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (lambda n, t: n.gelu(t), {"gelu": 1}),
        (lambda n, t: n.add(t, np.arange(4, dtype=np.float32)), {"add": 1}),
        (lambda n, t: n.add(t, np.ones((1, 1, 4), np.float32)), {"reshape": 1, "add": 1}),
        (lambda n, t: n.mul(t, 3.0), {"mul": 1}),
        (lambda n, t: n.add(t, n.neg(t)), {"neg": 1, "add": 1}),
        (lambda n, t: n.select(n.gt(t, 0.0), t, n.exp(t)), {"gt": 1, "exp": 1, "select": 1}),
        (lambda n, t: n.cast(t, result="2x3x4xf64"), {"cast": 1}),
        (lambda n, t: n.normalize(t, axes=(2,)), {"normalize": 1}),
        (lambda n, t: n.log_softmax(t, axis=2), {"log_softmax": 1}),
        (lambda n, t: n.softmax(t, axis=1), {"reshape": 2, "softmax": 1}),
        (lambda n, t: n.normalize(t, axes=(1, 2)), {"reshape": 2, "normalize": 1}),
        (lambda n, t: n.add(t, np.arange(3, dtype=np.float32).reshape(3, 1)), {"reshape": 2, "add": 1}),
    ],
)
def test_pairs_cancel_through(body: Any, left: Any):
    net = Net(x="6x4xf32")
    y = body(net, net.reshape(net.x, result="2x3x4xf32"))
    element = str(y.type).rsplit("x", 1)[1].rstrip(">")
    assert net.check(net.reshape(y, result=f"6x4x{element}"), PASS, "dce") == left


def test_two_operands_of_different_ranks():
    net = Net(x="24xf32", y="6x4xf32", z="2x3x4xf32")
    a, b = net.reshape(net.x, result="2x3x4xf32"), net.reshape(net.y, result="2x3x4xf32")
    y = net.mul(net.add(a, b), net.z)
    assert net.check(net.reshape(y, result="24xf32"), PASS, "dce") == {"reshape": 2, "add": 1, "mul": 1}


def test_reshapes_to_a_lower_rank_stay():
    net = Net(x="2x3x4xf32")
    assert net.check(net.exp(net.reshape(net.x, result="6x4xf32")), PASS) == {"reshape": 1, "exp": 1}


def test_slices_of_what_the_reshape_left_alone():
    net = Net(x="6x4xf32")
    t = net.reshape(net.x, result="2x3x4xf32")
    y = net.slice(t, result="2x3x2xf32", starts=(0, 0, 3), steps=(1, 1, -2))
    assert net.check(net.reshape(y, result="6x2xf32"), PASS, "dce") == {"slice": 1}
    net = Net(x="6x4xf32")
    t = net.reshape(net.x, result="2x3x4xf32")
    y = net.slice(t, result="2x2x4xf32", starts=(0, 1, 0), steps=(1, 1, 1))
    assert net.check(net.reshape(y, result="4x4xf32"), PASS, "dce") == {"reshape": 2, "slice": 1}


def test_results_of_one_element_and_of_none():
    net = Net(x="1xf32")
    assert net.check(net.exp(net.reshape(net.x, result="1x1xf32")), PASS) == {"exp": 1, "reshape": 1}
    net = Net(x="0xf32")
    assert net.check(net.exp(net.reshape(net.x, result="0x5xf32")), PASS) == {"reshape": 1, "exp": 1}
