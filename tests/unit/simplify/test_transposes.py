"""Transposes sink, meet and cancel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.graph.building import random
from unit.simplify.checking import Net

PASS = "cancel-transposes"
TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def through(net: Net, body: Any) -> dict[str, int]:
    """What is left of transposing x, applying ``body`` and transposing back."""
    y = body(net.transpose(net.x, permutation=TO_FIRST))
    return dict(net.check(net.transpose(y, permutation=TO_LAST), PASS, "dce"))


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (lambda net, t: net.relu(net.exp(t)), {"exp": 1, "relu": 1}),
        (lambda net, t: net.mul(t, 2.0), {"mul": 1}),
        (lambda net, t: net.add(t, random(3, 1, 1)), {"add": 1}),
        (lambda net, t: net.add(t, random(1, 3, 4, 1)), {"add": 1}),
        (lambda net, t: net.concat(t, t, axis=1), {"concat": 1}),
        (lambda net, t: net.softmax(t, axis=1), {"softmax": 1}),
        (lambda net, t: net.normalize(t, axes=(2, 3)), {"normalize": 1}),
        (lambda net, t: net.reduce(t, kind="sum", axes=(2,), keepdims=True), {"reduce": 1}),
        (lambda net, t: net.pad(t, np.float32(3), low=(0, 1, 2, 0), high=(0, 0, 0, 4)), {"pad": 1}),
        (lambda net, t: net.slice(t, result="1x2x3x2xf32", starts=(0, 1, 3, 0), steps=(1, 1, -1, 2)), {"slice": 1}),
        (
            lambda net, t: net.resize(t, result="1x3x8x5xf32", mode="linear", scales=(1.0, 1.0, 2.0, 1.0)),
            {"resize": 1},
        ),
        (lambda net, t: net.cumulative(t, axis=3, reverse=True), {"cumulative": 1}),
        (lambda net, t: net.cast(t, result="1x3x4x5xf64"), {"cast": 1}),
    ],
)
def test_pairs_cancel_through(body: Any, left: Any):
    net = Net(x="1x4x5x3xf32")
    assert through(net, lambda t: body(net, t)) == left


def test_two_transposed_operands_become_one_transpose():
    net = Net(x="4x5x3xf32", y="4x5x3xf32")
    a, b = (net.transpose(v, permutation=(2, 0, 1)) for v in (net.x, net.y))
    assert net.check(net.add(a, b), PASS) == {"add": 1, "transpose": 1}


def test_reduced_axes_leave_the_permutation():
    net = Net(x="4x5x3xf32")
    t = net.transpose(net.x, permutation=(2, 0, 1))
    assert net.check(net.reduce(t, kind="max", axes=(0,)), PASS) == {"reduce": 1}
    net = Net(x="4x5x3xf32")
    t = net.transpose(net.x, permutation=(2, 1, 0))
    assert net.check(net.reduce(t, kind="max", axes=(0,)), PASS) == {"reduce": 1, "transpose": 1}


def test_operands_of_one_element_per_channel_follow():
    net = Net(x="1x4x5x3xf32", s="1x3x1x1xf32")
    y = net.mul(net.transpose(net.x, permutation=TO_FIRST), net.s)
    assert net.check(net.transpose(y, permutation=TO_LAST), PASS) == {"reshape": 1, "mul": 1}


def test_a_transpose_that_others_use_stays_where_it_is():
    net = Net(x="4x5xf32")
    t = net.transpose(net.x, permutation=(1, 0))
    assert net.check(net.matmul(net.exp(t), net.transpose(net.neg(t), permutation=(1, 0))), PASS)["transpose"] == 2


def test_a_transpose_does_not_grow_by_broadcasting():
    net = Net(x="1x3xf32", y="5x3x1xf32")
    t = net.reshape(net.transpose(net.x, permutation=(1, 0)), result="1x3x1xf32")
    t = net.transpose(net.expand(t, result="1x3x2xf32"), permutation=(0, 2, 1))
    y = net.add(t, net.transpose(net.y, permutation=(0, 2, 1)))
    assert "transpose" in net.check(y, PASS)


def test_stuck_between_other_operands():
    net = Net(x="4x5xf32", y="5x4xf32")
    y = net.add(net.transpose(net.x, permutation=(1, 0)), net.y)
    assert net.check(y, PASS) == {"transpose": 1, "add": 1}
