"""One step of an optimiser (domain ai.onnx.preview.training): elementwise updates of every parameter."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.frontends.onnx.arithmetic import Value, Values
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import NodeContext

DOMAIN = "ai.onnx.preview.training"
Step = Callable[[Value, Value, list[Value]], list[Value]]


def _stepped(n: NodeContext, states: int, step: Step) -> list[SSAValue]:
    """``step`` of the learning rate, the number of updates so far and (parameter, gradient, states..) for each
    parameter; results are all new parameters, then all of each new state."""
    groups = states + 2
    count = (len(n.inputs) - 2) // groups
    n.require(count > 0 and len(n.inputs) == 2 + groups * count, f"it has {groups} tensors for each parameter")
    results: list[list[Value]] = []
    for index in range(count):
        tensors = [Value(n, n.input(2 + index + count * group)) for group in range(groups)]
        kind = element_of(tensors[0].ssa)
        sentence = "a parameter, its gradient and its states have one shape and type"
        n.require(all(element_of(t.ssa) == kind for t in tensors), sentence)
        for each in tensors[1:]:
            n.require_same(each.shape, tensors[0].shape, sentence)
        rate, time = (n.value(i, kind).reshape([]) for i in (0, 1))
        results.append(step(rate, time, tensors))
    return [new[part].ssa for part in range(groups - 1) for new in results]


@converter("Adagrad", domain=DOMAIN)
def adagrad(n: NodeContext) -> list[SSAValue]:
    """Any number of parameters."""
    decay, epsilon, norm = n.float("decay_factor", 0.0), n.float("epsilon", 0.0), n.float("norm_coefficient", 0.0)

    def step(rate: Value, time: Value, tensors: list[Value]) -> list[Value]:
        x, gradient, squares = tensors
        slope = x * norm + gradient
        new = squares + slope * slope
        return [x - rate / (time * decay + 1.0) * slope / (new.op("sqrt") + epsilon), new]

    return _stepped(n, 1, step)


@converter("Adam", domain=DOMAIN)
def adam(n: NodeContext) -> list[SSAValue]:
    """Any number of parameters."""
    alpha, beta, epsilon = n.float("alpha", 0.9), n.float("beta", 0.999), n.float("epsilon", 0.0)
    norm, after = n.float("norm_coefficient", 0.0), n.float("norm_coefficient_post", 0.0)

    def step(rate: Value, time: Value, tensors: list[Value]) -> list[Value]:
        x, gradient, mean, squares = tensors
        slope = x * norm + gradient
        mean = mean * alpha + slope * (1.0 - alpha)
        squares = squares * beta + slope * slope * (1.0 - beta)
        grown = [1.0 - (time * 0.0 + base).op("pow", time) for base in (beta, alpha)]
        corrected = Values.where(time > 0.0, rate * grown[0].op("sqrt") / grown[1], rate)
        return [(x - corrected * (mean / (squares.op("sqrt") + epsilon))) * (1.0 - after), mean, squares]

    return _stepped(n, 2, step)


@converter("Momentum", domain=DOMAIN)
def momentum(n: NodeContext) -> list[SSAValue]:
    """Standard and Nesterov; any number of parameters."""
    alpha, beta, norm = n.float("alpha"), n.float("beta"), n.float("norm_coefficient")
    nesterov = n.choice("mode", "standard", "standard", "nesterov") == "nesterov"

    def step(rate: Value, time: Value, tensors: list[Value]) -> list[Value]:
        x, gradient, moving = tensors
        slope = x * norm + gradient
        moving = moving * alpha + slope * Values.where(time > 0.0, time * 0.0 + beta, 1.0)
        return [x - rate * (slope + moving * alpha if nesterov else moving), moving]

    return _stepped(n, 1, step)
