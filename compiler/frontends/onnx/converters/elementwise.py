"""ONNX's elementwise operators: most are one graph op; sums and extrema of many operands are chains."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph import operations
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import BF16, F16, F32, F64, is_float, is_unsigned
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import NodeContext
from penstock.compiler.frontends.onnx.records import Tensor
from penstock.compiler.frontends.onnx.values import Item

_OPS = {op.name.removeprefix("graph."): op for op in operations()}

UNARY = {
    "Neg": "neg", "Abs": "abs", "Sqrt": "sqrt", "Reciprocal": "reciprocal", "Exp": "exp", "Log": "log", "Erf": "erf",
    "Tanh": "tanh", "Sigmoid": "sigmoid", "Sin": "sin", "Cos": "cos", "Floor": "floor", "Ceil": "ceil",
    "Round": "round", "Sign": "sign", "Relu": "relu", "Not": "not", "IsNaN": "is_nan", "Softplus": "softplus",
    "HardSwish": "hard_swish",
}  # fmt: skip
BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "And": "and", "Or": "or", "Xor": "xor", "Equal": "eq",
    "Less": "lt", "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge",
}  # fmt: skip
CHAINS = {"Max": "max", "Min": "min", "Sum": "add"}


def graph_op(name: str) -> Any:
    """The class of graph op ``name``."""
    return _OPS[name]


def widened(n: NodeContext, x: SSAValue) -> SSAValue:
    """Half precision as f32, so that sums neither overflow nor are rounded before they are scaled."""
    return n.cast(x, F32) if element_of(x) in (F16, BF16) else x


@converter(*UNARY)
def unary(n: NodeContext) -> SSAValue:
    """All types ONNX allows."""
    x = n.input(0)
    kind = element_of(x)
    if n.node.op == "Erf" and not is_float(kind):
        return n.cast(n.build(graph_op("erf"), n.cast(x, F64)), kind)
    return n.build(graph_op(UNARY[n.node.op]), x)


@converter(*BINARY)
def binary(n: NodeContext) -> SSAValue:
    """All types ONNX allows, with broadcasting."""
    a, b = n.input(0), n.input(1)
    if n.opset < 7 and n.flag("broadcast") and "axis" in n.node.attributes:
        axis = n.axis("axis", None, n.rank(a))
        b = n.reshape(b, [*n.shape(b), *[1] * (n.rank(a) - axis - n.rank(b))])
    return n.build(graph_op(BINARY[n.node.op]), a, b)


@converter(*CHAINS, "Mean")
def chain(n: NodeContext) -> SSAValue:
    """Any number of operands, with broadcasting."""
    total = n.input(0)
    kind = graph_op(CHAINS.get(n.node.op, "add"))
    for index in range(1, len(n.inputs)):
        total = n.build(kind, total, n.input(index))
    if n.node.op == "Mean":
        total = n.build(graph_op("mul"), total, n.number(1.0 / len(n.inputs), total))
    return total


@converter("Pow")
def power(n: NodeContext) -> SSAValue:
    """The exponent may have another type; it is converted to the base's."""
    base, exponent = n.input(0), n.input(1)
    kind = element_of(base)
    if element_of(exponent) == kind and is_float(kind):
        return n.build(graph_op("pow"), base, exponent)
    if is_float(kind):
        return n.build(graph_op("pow"), base, n.cast(exponent, kind))

    wide = n.build(graph_op("pow"), n.cast(base, F64), n.cast(exponent, F64))
    whole = n.build(graph_op("round"), wide)
    if not is_float(element_of(exponent)):
        return n.cast(whole, kind)
    # A fraction is cut off, but 9 ** 3.0 must not become 728 for an error in the last place of 729.
    distance = n.build(graph_op("abs"), n.build(graph_op("sub"), wide, whole))
    near = n.build(graph_op("mul"), n.build(graph_op("abs"), whole), n.number(2.0**-40, whole))
    exact = n.build(graph_op("le"), distance, near)
    return n.cast(n.build(graph_op("select"), exact, whole, wide), kind)


@converter("Mod")
def modulo(n: NodeContext) -> SSAValue:
    """Both conventions: the sign of the divisor, or of the dividend with fmod=1."""
    return n.build(graph_op("mod"), n.input(0), n.input(1), fmod=n.flag("fmod"))


@converter("Clip")
def clip(n: NodeContext) -> SSAValue:
    """Bounds as attributes (before opset 11) or inputs, constant or not."""
    x = n.input(0)
    bounds: list[SSAValue | None] = [n.optional(1), n.optional(2)]
    if n.opset < 11:
        bounds = [n.number(n.float(name), x) if name in n.node.attributes else None for name in ("min", "max")]
    for name, bound in zip(("max", "min"), bounds, strict=True):
        if bound is not None:
            n.require(n.shape(bound) in ((), (1,)), f"a bound is one number, not of shape {list(n.shape(bound))}")
            x = n.build(graph_op(name), x, n.reshape(bound, []))
    return x


@converter("Gelu")
def gelu(n: NodeContext) -> SSAValue:
    """Exact and tanh forms."""
    return n.build(graph_op("gelu"), n.input(0), approximate=n.choice("approximate", "none", "none", "tanh"))


@converter("LeakyRelu")
def leaky_relu(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    return n.build(graph_op("leaky_relu"), n.input(0), alpha=n.float("alpha", 0.01))


@converter("Elu")
def elu(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    return n.build(graph_op("elu"), n.input(0), alpha=n.float("alpha", 1.0))


@converter("HardSigmoid")
def hard_sigmoid(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    return n.build(graph_op("hard_sigmoid"), n.input(0), alpha=n.float("alpha", 0.2), beta=n.float("beta", 0.5))


@converter("Selu")
def selu(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    x = n.input(0)
    inner = n.build(graph_op("elu"), x, alpha=n.float("alpha", 1.67326319217681884765625))
    return n.build(graph_op("mul"), inner, n.number(n.float("gamma", 1.05070102214813232421875), x))


@converter("PRelu")
def prelu(n: NodeContext) -> SSAValue:
    """The slope broadcasts to the input."""
    x, slope = n.input(0), n.input(1)
    if n.opset < 7 and n.rank(slope) == 1 and n.rank(x) > 2:
        slope = n.reshape(slope, [*n.shape(slope), *[1] * (n.rank(x) - 2)])
    below = n.build(graph_op("lt"), x, n.number(0, x))
    return n.build(graph_op("select"), below, n.build(graph_op("mul"), x, slope), x)


@converter("Softsign")
def softsign(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    return softsign_of(n, n.input(0))


def softsign_of(n: NodeContext, x: SSAValue) -> SSAValue:
    """x / (1 + |x|)."""
    return n.build(graph_op("div"), x, n.build(graph_op("add"), n.build(graph_op("abs"), x), n.number(1, x)))


@converter("ThresholdedRelu")
def thresholded_relu(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    x = n.input(0)
    above = n.build(graph_op("gt"), x, n.number(n.float("alpha", 1.0), x))
    return n.build(graph_op("select"), above, x, n.number(0, x))


@converter("Shrink")
def shrink(n: NodeContext) -> SSAValue:
    """All numeric types; the attributes are cut off to an integer for integers, as in the standard's function body."""
    x = n.input(0)
    limit, bias = n.float("lambd", 0.5), n.number(n.float("bias", 0.0), x)
    below = n.build(graph_op("lt"), x, n.number(max(-limit, 0.0) if is_unsigned(element_of(x)) else -limit, x))
    above = n.build(graph_op("gt"), x, n.number(limit, x))
    kept = n.build(graph_op("select"), below, n.build(graph_op("add"), x, bias), n.number(0, x))
    return n.build(graph_op("select"), above, n.build(graph_op("sub"), x, bias), kept)


@converter("Mish")
def mish(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    x = n.input(0)
    return n.build(graph_op("mul"), x, n.build(graph_op("tanh"), n.build(graph_op("softplus"), x)))


@converter("Swish")
def swish(n: NodeContext) -> SSAValue:
    """Floating-point types."""
    x = n.input(0)
    alpha = n.float("alpha", 1.0)
    scaled = x if alpha == 1.0 else n.build(graph_op("mul"), x, n.number(alpha, x))
    return n.build(graph_op("mul"), x, n.build(graph_op("sigmoid"), scaled))


@converter("IsInf")
def is_inf(n: NodeContext) -> SSAValue:
    """Detection of either sign can be switched off."""
    x = n.input(0)
    positive, negative = n.flag("detect_positive", True), n.flag("detect_negative", True)
    found = n.build(graph_op("is_inf"), x)
    if positive and negative:
        return found
    if not positive and not negative:
        return n.build(graph_op("and"), found, n.build(graph_op("not"), found))
    side = n.build(graph_op("gt" if positive else "lt"), x, n.number(0, x))
    return n.build(graph_op("and"), found, side)


@converter("Where")
def where(n: NodeContext) -> SSAValue:
    """All types, with broadcasting."""
    return n.build(graph_op("select"), n.input(0), n.input(1), n.input(2))


@converter("Identity")
def identity(n: NodeContext) -> Item:
    """Any tensor, sequence or optional."""
    return n.item(0)


@converter("Constant")
def constant(n: NodeContext) -> SSAValue:
    """All forms but strings."""
    import numpy as np

    attributes = n.node.attributes
    for name in ("value", "sparse_value"):
        if isinstance(attributes.get(name), Tensor):
            return n.constant(n.tensor_attribute(name))
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in attributes:
            return n.constant(np.asarray(attributes[name], dtype))
    raise n.unsupported("a constant of strings is not compiled")
