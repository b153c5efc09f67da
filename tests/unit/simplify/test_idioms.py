"""Softmax, normalisation and gelu from their parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from unit.graph.building import random
from unit.simplify.checking import Net

from penstock.compiler.locations import source_names


def softmax(net: Net, x: Any, shape: str, axis: int, maximum: bool = True, inverse: bool = False) -> Any:
    narrow = "x".join("1" if i == axis else part for i, part in enumerate(shape.split("x")))
    if maximum:
        x = net.sub(x, net.reshape(net.reduce(x, kind="max", axes=(axis,)), result=narrow))
    e = net.exp(x)
    total = net.reduce(e, kind="sum", axes=(axis,), keepdims=True)
    return net.mul(e, net.reciprocal(total)) if inverse else net.div(e, total)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("maximum", [False, True])
def test_softmax(maximum: bool, inverse: bool):
    net = Net(x="2x5x3xf32")
    y = softmax(net, net.x, "2x5x3xf32", 1, maximum, inverse)
    assert net.check(y, "recognise-softmax") == {"softmax": 1}


def test_log_softmax():
    net = Net(x="2x5xf32")
    y = net.sub(net.x, net.reduce(net.x, kind="max", axes=(1,), keepdims=True))
    y = net.sub(y, net.log(net.reduce(net.exp(y), kind="sum", axes=(1,), keepdims=True)))
    assert net.check(y, "recognise-softmax") == {"log_softmax": 1}


def test_what_is_no_softmax():
    net = Net(x="2x5xf32")
    e = net.exp(net.x)
    y = net.div(e, net.reduce(net.exp(net.neg(net.x)), kind="sum", axes=(1,), keepdims=True))
    assert "softmax" not in net.check(y, "recognise-softmax")
    net = Net(x="2x5xf32")
    e = net.exp(net.x)
    assert "softmax" not in net.check(
        net.div(e, net.reduce(e, kind="sum", axes=(0, 1), keepdims=True)), "recognise-softmax"
    )


def mean(net: Net, x: Any, axes: tuple[int, ...], count: int, how: str) -> Any:
    total = net.reduce(x, kind="sum", axes=axes, keepdims=True)
    return net.div(total, float(count)) if how == "div" else net.mul(total, 1 / count)


def norm(net: Net, x: Any, how: str, root: str, center: bool, count: int, axes: tuple[int, ...]) -> Any:
    if center:
        x = net.sub(x, mean(net, x, axes, count, how))
    variance = net.add(mean(net, net.mul(x, x), axes, count, how), 1e-3)
    if root == "div":
        return net.div(x, net.sqrt(variance))
    return net.mul(net.rsqrt(variance) if root == "rsqrt" else net.reciprocal(net.sqrt(variance)), x)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("root", ["div", "rsqrt", "reciprocal"])
@pytest.mark.parametrize("how", ["div", "mul"])
@pytest.mark.parametrize("axes", [(2,), (1, 2)])
def test_normalize(axes: tuple[int, ...], how: str, root: str, center: bool):
    net = Net(x="2x5x7xf32")
    y = norm(net, net.x, how, root, center, 7 if axes == (2,) else 35, axes)
    module = net.module(net.mul(y, random(7)))
    from unit.simplify.checking import check_module

    counts = check_module(module, net.ctx, "recognise-normalize", rtol=1e-4)
    assert counts == {"normalize": 1, "mul": 1, "constant": 1}
    (op,) = [op for op in module.walk() if op.name == "graph.normalize"]
    assert op.center == center  # pyright: ignore
    assert op.epsilon == pytest.approx(1e-3)  # pyright: ignore
    assert len(source_names(op.location)) >= (6 if center else 4)


def test_normalize_in_half_precision():
    net = Net(x="2x8xf16")
    y = norm(net, net.cast(net.x, result="2x8xf32"), "div", "rsqrt", False, 8, (1,))
    assert net.check(net.cast(y, result="2x8xf16"), "recognise-normalize", atol=1e-3) == {"normalize": 1}


@pytest.mark.parametrize("wrong", ["count", "no epsilon", "other axes", "other operand"])
def test_what_is_no_norm(wrong: str):
    net = Net(x="5x7xf32", y="5x7xf32")
    count = 8 if wrong == "count" else 7
    x = net.sub(
        net.x, mean(net, net.x, (0,) if wrong == "other axes" else (1,), 5 if wrong == "other axes" else 7, "div")
    )
    variance = mean(net, net.mul(x, x), (1,), count, "div")
    if wrong != "no epsilon":
        variance = net.add(variance, 1e-5)
    z = net.div(net.y if wrong == "other operand" else x, net.sqrt(variance))
    counts = net.check(z, "recognise-normalize", rtol=1e-4)
    assert ("normalize" in counts) == (wrong == "other axes")  # the root mean square of x - mean along another axis
    assert "sub" in counts


C = math.sqrt(2 / math.pi)
ROOT = math.sqrt(0.5)
GELUS: dict[str, Any] = {
    "as written": lambda n, x: n.mul(n.mul(x, 0.5), n.add(n.erf(n.mul(x, ROOT)), 1.0)),
    "half last": lambda n, x: n.mul(n.mul(n.add(n.erf(n.div(x, 1.4142135381698608)), 1.0), x), 0.5),
    "half of the bracket": lambda n, x: n.mul(x, n.mul(n.add(n.erf(n.mul(x, ROOT)), 1.0), 0.5)),
    "half inside": lambda n, x: n.mul(x, n.add(n.mul(n.erf(n.mul(x, ROOT)), 0.5), 0.5)),
    "divided by two": lambda n, x: n.div(n.mul(n.add(n.erf(n.mul(x, ROOT)), 1.0), x), 2.0),
    "one minus": lambda n, x: n.mul(n.mul(x, 0.5), n.sub(np.float32(1), n.erf(n.mul(x, -ROOT)))),
}
TANH: dict[str, Any] = {
    "as written": lambda n, x: n.mul(
        n.mul(x, 0.5),
        n.add(n.tanh(n.mul(n.add(x, n.mul(n.mul(n.mul(x, x), x), 0.044715)), C)), 1.0),
    ),
    "power": lambda n, x: n.mul(
        n.add(n.tanh(n.mul(n.add(x, n.mul(n.pow(x, 3.0), 0.044715)), C)), 1.0), n.mul(np.float32(0.5), x)
    ),
    "factored": lambda n, x: n.mul(
        n.mul(x, 0.5), n.add(n.tanh(n.mul(n.mul(x, C), n.add(n.mul(n.mul(x, x), 0.044715), 1.0))), 1.0)
    ),
}


@pytest.mark.parametrize("name", GELUS)
def test_gelu(name: str):
    net = Net(x="2x7xf32", b="7xf32")
    x = net.add(net.x, net.b)
    assert net.check(GELUS[name](net, x), "recognise-gelu") == {"add": 1, "gelu": 1}
    net = Net(x="2x7xf32", b="7xf32")
    assert net.check(GELUS[name](net, net.add(net.x, net.b)), "canonicalise", "recognise-gelu") == {"add": 1, "gelu": 1}


@pytest.mark.parametrize("name", TANH)
def test_gelu_tanh(name: str):
    for passes in (["recognise-gelu"], ["canonicalise", "recognise-gelu"]):
        net = Net(x="2x7xf32")
        module = net.module(TANH[name](net, net.x))
        from unit.simplify.checking import check_module

        assert check_module(module, net.ctx, *passes)["gelu"] == 1
        (op,) = [op for op in module.walk() if op.name == "graph.gelu"]
        assert op.approximate == "tanh"  # pyright: ignore


def test_what_is_no_gelu():
    net = Net(x="2x7xf32")
    y = net.mul(net.mul(net.x, 0.5), net.add(net.erf(net.mul(net.x, 0.7)), 1.0))
    assert "gelu" not in net.check(y, "recognise-gelu")
    net = Net(x="2x7xf32", y="2x7xf32")
    y = net.mul(net.mul(net.y, 0.5), net.add(net.erf(net.mul(net.x, ROOT)), 1.0))
    assert "gelu" not in net.check(y, "recognise-gelu")
    net = Net(x="2x7xf32")
    e = net.erf(net.mul(net.x, ROOT))
    y = net.mul(net.mul(net.x, 0.5), net.add(e, 1.0))
    assert "gelu" not in net.check(net.add(y, e), "recognise-gelu")


def test_silu_stays():
    net = Net(x="2x7xf32")
    y = net.mul(net.x, net.sigmoid(net.x))
    assert net.check(y, "recognise-gelu", "canonicalise") == {"sigmoid": 1, "mul": 1}
