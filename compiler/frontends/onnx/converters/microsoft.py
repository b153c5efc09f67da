"""Operators of the domain com.microsoft, which onnxruntime's optimisers write into models.

They are fusions of ONNX's own, so each is given by those, as onnxruntime's contrib operator documentation defines it.
No schema of theirs comes with the onnx package: converters check operands themselves.
"""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.normalization import Normalize
from penstock.compiler.dtypes import F32
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.converters.linear import conv, matmul
from penstock.compiler.frontends.onnx.converters.normalization import moments, scaled
from penstock.compiler.frontends.onnx.converters.quantization import moved, quantized
from penstock.compiler.frontends.onnx.node_context import NodeContext

DOMAIN = "com.microsoft"


@converter("FusedMatMul", domain=DOMAIN)
def fused_matmul(n: NodeContext) -> SSAValue:
    """alpha and transposes of the last two axes; transposed batch axes are refused."""
    if n.flag("transBatchA") or n.flag("transBatchB"):
        raise n.unsupported("transBatchA and transBatchB are not compiled", "Use Transpose and MatMul.")
    factors: list[SSAValue] = []
    for index, name in enumerate(("transA", "transB")):
        x = n.input(index)
        if n.flag(name) and n.rank(x) > 1:
            outer = range(n.rank(x) - 2)
            x = n.transpose(x, [*outer, n.rank(x) - 1, n.rank(x) - 2])
        factors.append(x)
    product, alpha = matmul(n, *factors), n.float("alpha", 1.0)
    return product if alpha == 1.0 else n.build(graph_op("mul"), product, n.number(alpha, product))


@converter("Gelu", "BiasGelu", "FastGelu", domain=DOMAIN)
def biased_gelu(n: NodeContext) -> SSAValue:
    """Gelu of the input and, where given, a bias; FastGelu is the tanh form."""
    x = n.input(0)
    if n.node.op == "BiasGelu" or (n.node.op == "FastGelu" and n.has(1)):
        x = n.build(graph_op("add"), x, n.input(1))
    return n.build(graph_op("gelu"), x, approximate="tanh" if n.node.op == "FastGelu" else "none")


@converter("QuickGelu", domain=DOMAIN)
def quick_gelu(n: NodeContext) -> SSAValue:
    """x sigmoid(alpha x)."""
    x = n.input(0)
    inner = n.build(graph_op("mul"), x, n.number(n.float("alpha", 1.702), x))
    return n.build(graph_op("mul"), x, n.build(graph_op("sigmoid"), inner))


@converter("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=DOMAIN)
def skip_layer_normalization(n: NodeContext) -> list[SSAValue]:
    """All four outputs; the skip may broadcast to the input."""
    simplified = n.node.op == "SkipSimplifiedLayerNormalization"
    x, epsilon = n.build(graph_op("add"), n.input(0), n.input(1)), n.float("epsilon", 1e-12)
    n.require(n.shape(x) == n.shape(n.input(0)), "its skip does not broadcast to its input")
    bias, beta = n.optional(3 if simplified else 4), None if simplified else n.optional(3)
    if bias is not None:
        x = n.build(graph_op("add"), x, bias)
    axes = [n.rank(x) - 1]
    results = [scaled(n, n.build(Normalize, x, axes=axes, epsilon=epsilon, center=not simplified), n.input(2), beta)]
    if n.wants(1) or n.wants(2):
        wide = widened(n, x)
        mean, spread = moments(n, wide, axes)
        if simplified:
            spread = n.build(graph_op("add"), spread, n.build(graph_op("mul"), mean, mean))
        deviation = n.build(graph_op("sqrt"), n.build(graph_op("add"), spread, n.number(epsilon, spread)))
        results += [mean, n.build(graph_op("reciprocal"), deviation)]
    elif n.wants(3):
        results += [x, x]  # stand for outputs that nobody reads
    return [*results, x] if n.wants(3) else results


@converter("QLinearAdd", "QLinearMul", domain=DOMAIN)
def qlinear_binary(n: NodeContext) -> SSAValue:
    """Per tensor, with broadcasting; zero points may be left out."""
    factors: list[SSAValue] = []
    for first in (0, 3):
        scale = n.reshape(n.input(first + 1), [])
        distance = n.cast(moved(n, n.input(first), n.optional(first + 2)), F32)
        factors.append(n.build(graph_op("mul"), distance, n.cast(scale, F32)))
    value = n.build(graph_op("add" if n.node.op == "QLinearAdd" else "mul"), *factors)
    units = n.build(graph_op("div"), value, n.reshape(n.input(6), []))
    return quantized(n, units, n.optional(7), element_of(n.input(0)))


@converter("FusedConv", domain=DOMAIN)
def fused_conv(n: NodeContext) -> SSAValue:
    """A convolution, an optional tensor added to it, and Relu, Tanh, Sigmoid, LeakyRelu, Clip or HardSigmoid."""
    x = conv(n)
    if n.has(3):
        x = n.build(graph_op("add"), x, n.input(3))
    name, numbers = n.text("activation", ""), [float(item) for item in n.attribute_list("activation_params")]
    match name, numbers:
        case "", _:
            return x
        case "Relu" | "Tanh" | "Sigmoid", []:
            return n.build(graph_op(name.lower()), x)
        case "LeakyRelu", [alpha]:
            return n.build(graph_op("leaky_relu"), x, alpha=alpha)
        case "HardSigmoid", [alpha, beta]:
            return n.build(graph_op("hard_sigmoid"), x, alpha=alpha, beta=beta)
        case "Clip", [low, high] if not math.isnan(low + high):
            return n.build(graph_op("min"), n.build(graph_op("max"), x, n.number(low, x)), n.number(high, x))
        case _:
            raise n.unsupported(f"the activation {name} with {len(numbers)} parameters is not compiled")
