"""Operators of the domain com.microsoft, which onnxruntime's optimisers write into models.

They are fusions of ONNX's own, so each is given by those, as onnxruntime's contrib operator documentation defines it.
No schema of theirs comes with the onnx package: converters check operands themselves.
"""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.normalization import Normalize
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Iota
from penstock.compiler.dtypes import I1, I32, I64, tensor
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, softsign_of, widened
from penstock.compiler.frontends.onnx.converters.linear import conv, gemm, matmul
from penstock.compiler.frontends.onnx.converters.normalization import moments, scaled
from penstock.compiler.frontends.onnx.node_context import NodeContext

DOMAIN = "com.microsoft"


@converter("FusedMatMul", "TransposeMatMul", domain=DOMAIN)
def fused_matmul(n: NodeContext) -> SSAValue:
    """alpha, and factors with transposed axes: transBatch makes the first axis the last but one, trans then swaps the
    last two."""
    factors: list[SSAValue] = []
    for index, name in enumerate("AB"):
        x = n.input(index)
        rank = n.rank(x)
        if n.flag(f"transBatch{name}") and rank > 2:
            x = n.transpose(x, [*range(1, rank - 1), 0, rank - 1])
        if n.flag(f"trans{name}") and rank > 1:
            x = n.transpose(x, [*range(rank - 2), rank - 1, rank - 2])
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


@converter("FusedConv", domain=DOMAIN)
def fused_conv(n: NodeContext) -> SSAValue:
    """A convolution, an optional tensor added to it, and Relu, Tanh, Sigmoid, LeakyRelu, Clip or HardSigmoid."""
    x = conv(n)
    if n.has(3):
        x = n.build(graph_op("add"), x, n.input(3))
    return activated(n, x, n.text("activation", ""), n.attribute_list("activation_params", kind=float))


@converter("FusedGemm", domain=DOMAIN)
def fused_gemm(n: NodeContext) -> SSAValue:
    """A Gemm, and Relu, Tanh, Sigmoid, Softplus, Softsign, LeakyRelu, Elu or HardSigmoid."""
    name = n.text("activation", "")
    given = [n.float(f"activation_{key}") for key in ("alpha", "beta") if f"activation_{key}" in n.node.attributes]
    takes = {"LeakyRelu": 1, "Elu": 1, "HardSigmoid": 2}.get(name, 0)
    return activated(n, gemm(n), name, given[:takes])


def activated(n: NodeContext, x: SSAValue, name: str, numbers: list[float]) -> SSAValue:
    """An activation function by ONNX's name ("": none) with the numbers it takes. Refuses the others."""
    match name, numbers:
        case "", _:
            return x
        case "Relu" | "Tanh" | "Sigmoid" | "Softplus", []:
            return n.build(graph_op(name.lower()), x)
        case "Softsign", []:
            return softsign_of(n, x)
        case "LeakyRelu", [alpha]:
            return n.build(graph_op("leaky_relu"), x, alpha=alpha)
        case "Elu", [alpha]:
            return n.build(graph_op("elu"), x, alpha=alpha)
        case "HardSigmoid", [alpha, beta]:
            return n.build(graph_op("hard_sigmoid"), x, alpha=alpha, beta=beta)
        case "Clip", [low, high] if not math.isnan(low + high):
            return n.build(graph_op("min"), n.build(graph_op("max"), x, n.number(low, x)), n.number(high, x))
        case _:
            raise n.unsupported(f"the activation {name} with {len(numbers)} parameters is not compiled")


@converter("EmbedLayerNormalization", domain=DOMAIN)
def embed_layer_normalization(n: NodeContext) -> list[SSAValue]:
    """Words, positions (given or counted) and optional segments; all three outputs."""
    words = n.ranked(0, 2)
    batch, length = n.shape(words)
    total = n.build(Gather, n.ranked(2, 2), words, axis=0)
    positions = n.ranked(8, 2) if n.has(8) else n.build(Iota, axis=1, result=tensor([1, length], I64))
    total = n.build(graph_op("add"), total, n.build(Gather, n.ranked(3, 2), positions, axis=0))
    embedded = total
    if n.has(1):
        total = n.build(graph_op("add"), total, n.build(Gather, n.ranked(4, 2), n.ranked(1, 2), axis=0))
        embedded = total
    normal = n.build(Normalize, total, axes=[2], epsilon=n.float("epsilon", 1e-12))
    if n.has(7):
        counted = n.build(Reduce, n.cast(n.cast(n.ranked(7, 2), I1), I32), kind="sum", axes=(1,))
    else:
        counted = n.expand(n.constant(0, I32), [batch])
    return [scaled(n, normal, n.input(5), n.input(6)), counted, embedded]


@converter("SimplifiedLayerNormalization")
def simplified_layer_normalization(n: NodeContext) -> list[SSAValue]:
    """onnxruntime's name of RMSNormalization (in ONNX's own domain); both outputs, statistics in f32."""
    x = n.input(0)
    axes, epsilon = list(range(n.axis("axis", -1, n.rank(x)), n.rank(x))), n.float("epsilon", 1e-5)
    results = [scaled(n, n.build(Normalize, x, axes=axes, epsilon=epsilon, center=False), n.input(1), None)]
    if n.wants(1):
        mean, spread = moments(n, widened(n, x), axes)
        square = n.build(graph_op("add"), spread, n.build(graph_op("mul"), mean, mean))
        deviation = n.build(graph_op("sqrt"), n.build(graph_op("add"), square, n.number(epsilon, square)))
        results.append(n.build(graph_op("reciprocal"), deviation))
    return results
