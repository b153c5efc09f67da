"""Trigonometric and hyperbolic functions beside those in ``elementwise``: each is one graph op."""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.node_context import NodeContext


@converter("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")
def trigonometric(n: NodeContext) -> SSAValue:
    """Floating-point types; to within 4 units in the last place."""
    return n.build(graph_op(n.node.op.lower()), n.input(0))
