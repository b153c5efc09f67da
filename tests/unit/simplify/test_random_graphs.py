"""Random graphs compute the same after each pass and after all, in f64 so that only a real difference shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.simplify.checking import Net, apply, check_module, passes
from xdsl.ir import SSAValue

from penstock.compiler.dtypes import shape_of
from penstock.compiler.pipeline import phase

USUAL_ORDER = phase("simplify").passes
FILECHECK = Path(__file__).parents[2] / "filecheck" / "simplify"


def text(shape: Any) -> str:
    return "x".join(map(str, (*shape, "f64")))


class Grower:
    """Grows a graph: ``step`` adds an op on values made so far."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.net = Net(x="2x3x4xf64", y="1x3x4xf64", z="4x3xf64")
        self.values: list[SSAValue] = [self.net.x, self.net.y, self.net.z]

    def number(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most))

    def choose(self, items: Any) -> Any:
        return items[self.number(0, len(items) - 1)]

    def constant(self, shape: Any) -> Any:
        kind = self.choose(("zero", "one", "two", "uniform", "random"))
        fixed = {"zero": 0.0, "one": 1.0, "two": 2.0, "uniform": -0.75}
        if kind in fixed:
            return np.full(shape, fixed[kind])
        return np.random.default_rng(self.number(0, 9)).standard_normal(shape)

    def step(self) -> None:
        x = self.choose(self.values)
        shape = shape_of(x.type)
        grow = self.choose([self.unary, self.binary, self.binary, self.view, self.view, self.along, self.product])
        value = grow(x, shape)
        if value is not None and math.prod(shape_of(value.type)) <= 400:
            self.values.append(value)

    def unary(self, x: Any, shape: Any) -> Any:
        del shape
        name = self.choose(("neg", "abs", "relu", "tanh", "sigmoid", "gelu", "exp_of_tanh", "root", "square", "casts"))
        net = self.net
        if name == "exp_of_tanh":
            return net.exp(net.tanh(x))
        if name == "root":
            return net.sqrt(net.add(net.abs(x), 0.5))
        if name == "square":
            return net.pow(net.tanh(x), 2.0)
        if name == "casts":
            boolean = net.cast(net.ge(x, 0.0), result=text(shape_of(x.type)))
            return net.select(net.gt(boolean, 0.5), x, net.neg(x))
        return getattr(net, name)(x)

    def binary(self, x: Any, shape: Any) -> Any:
        name = self.choose(("add", "sub", "mul", "max", "min", "div"))
        narrow = tuple(extent if self.number(0, 1) else 1 for extent in shape)[self.number(0, len(shape)) :]
        others = [v for v in self.values if shape_of(v.type) == shape]
        other = self.choose([*others, self.constant(narrow), self.constant(())])
        if name == "div":
            other = np.abs(self.constant(narrow)) + 0.5
        if name == "mul" and isinstance(other, SSAValue):
            other = self.net.tanh(other)
        swap = not isinstance(other, SSAValue) and name != "div" and self.number(0, 1)
        return getattr(self.net, name)(*((other, x) if swap else (x, other)))

    def view(self, x: Any, shape: Any) -> Any:
        net, rank = self.net, len(shape)
        name = self.choose(("transpose", "transpose", "reshape", "slice", "concat", "pad", "expand", "gather"))
        if name == "transpose":
            return net.transpose(x, permutation=self.draw(st.permutations(range(rank))))
        if name == "reshape":
            cut = self.number(0, rank)
            options = [(math.prod(shape),), (*shape[:cut], 1, *shape[cut:]), tuple(e for e in shape if e != 1)]
            if rank > 1:
                options.append((shape[0] * shape[1], *shape[2:]))
            return net.reshape(x, result=text(self.choose(options)))
        axis = self.number(0, rank - 1) if rank else 0
        if rank == 0:
            return net.expand(x, result=text((2, 3)))
        if name == "slice":
            sizes = list(shape)
            sizes[axis] = self.number(1, shape[axis])
            backwards = self.number(0, 1)
            starts, steps = [0] * rank, [1] * rank
            starts[axis] = shape[axis] - 1 if backwards else shape[axis] - sizes[axis]
            steps[axis] = -1 if backwards else 1
            return net.slice(x, result=text(sizes), starts=starts, steps=steps)
        if name == "concat":
            return net.concat(x, x if self.number(0, 1) else net.neg(x), axis=axis)
        if name == "pad":
            low = [self.number(0, 1) for _ in shape]
            return net.pad(x, np.float64(self.number(0, 1)), low=low, high=[0] * rank)
        if name == "gather":
            indices = [self.number(-shape[axis], shape[axis] - 1) for _ in range(self.number(1, 3))]
            return net.gather(x, np.array(indices), axis=axis)
        wide = tuple(2 if extent == 1 else extent for extent in shape)
        return net.expand(x, result=text((self.number(1, 2), *wide)))

    def along(self, x: Any, shape: Any) -> Any:
        if not shape:
            return None
        net, axis = self.net, self.number(0, len(shape) - 1)
        name = self.choose(("sum", "max", "softmax", "norm", "soft parts", "norm parts", "cumulative"))
        if name in ("sum", "max"):
            return net.reduce(x, kind=name, axes=(axis,), keepdims=bool(self.number(0, 1)))
        if name == "softmax":
            return net.softmax(x, axis=axis)
        if name == "norm":
            return net.normalize(x, axes=(axis,), epsilon=0.1)
        if name == "cumulative":
            return net.cumulative(x, axis=axis, reverse=bool(self.number(0, 1)))
        if name == "soft parts":
            power = net.exp(net.sub(x, net.reduce(x, kind="max", axes=(axis,), keepdims=True)))
            return net.div(power, net.reduce(power, kind="sum", axes=(axis,), keepdims=True))
        count = float(shape[axis])
        centred = net.sub(x, net.div(net.reduce(x, kind="sum", axes=(axis,), keepdims=True), count))
        variance = net.div(net.reduce(net.pow(centred, 2.0), kind="sum", axes=(axis,), keepdims=True), count)
        return net.div(centred, net.sqrt(net.add(variance, 0.01)))

    def product(self, x: Any, shape: Any) -> Any:
        if len(shape) < 2:
            return None
        net = self.net
        if self.number(0, 2) == 0:  # attention of x with itself
            swap = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
            scores = net.mul(net.matmul(x, net.transpose(x, permutation=swap)), 0.5)
            return net.matmul(net.softmax(scores, axis=len(shape) - 1), x)
        y = net.matmul(x, np.random.default_rng(self.number(0, 9)).standard_normal((shape[-1], self.number(1, 4))) / 2)
        if self.number(0, 1):
            y = net.add(net.mul(y, self.constant((shape_of(y.type)[-1],))), self.constant((shape_of(y.type)[-1],)))
        return y


@given(st.data())
@settings(max_examples=60)
def test_all_passes_keep_what_is_computed(data: Any):
    grower = Grower(data.draw)
    for _ in range(grower.number(3, 14)):
        grower.step()
    module = grower.net.module(*grower.values[-2:])
    check_module(module, grower.net.ctx, *USUAL_ORDER, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", sorted(passes()))
@given(st.data())
@settings(max_examples=15)
def test_each_pass_keeps_what_is_computed(name: str, data: Any):
    grower = Grower(data.draw)
    for _ in range(grower.number(3, 12)):
        grower.step()
    module = grower.net.module(*grower.values[-2:])
    check_module(module, grower.net.ctx, name, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", sorted(passes()))
def test_every_pass_has_a_filecheck_test_and_says_what_it_does(name: str):
    import importlib

    assert (FILECHECK / f"{name}.mlir").exists()
    module = importlib.import_module(passes()[name].__module__)
    assert module.__name__.endswith("." + name.replace("-", "_"))
    assert "Before:" in (module.__doc__ or "")
    assert "After:" in (module.__doc__ or "")


def test_passes_on_an_empty_function():
    net = Net(x="3xf32")
    module = net.module(net.x)
    assert apply(module, net.ctx, *USUAL_ORDER) == apply(module, net.ctx, *sorted(passes()))
