"""Operators on the bits of integers."""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.node_context import NodeContext

BINARY = {"BitwiseAnd": "bit_and", "BitwiseOr": "bit_or", "BitwiseXor": "bit_xor"}


@converter(*BINARY)
def bitwise(n: NodeContext) -> SSAValue:
    """All integer types, with broadcasting."""
    return n.build(graph_op(BINARY[n.node.op]), n.input(0), n.input(1))


@converter("BitwiseNot")
def bitwise_not(n: NodeContext) -> SSAValue:
    """All integer types."""
    return n.build(graph_op("bit_not"), n.input(0))


@converter("BitShift")
def bit_shift(n: NodeContext) -> SSAValue:
    """All integer types; shifting by the type's width or more leaves 0, or -1 of a negative number moved right."""
    direction = n.choice("direction", "", "LEFT", "RIGHT")
    return n.build(graph_op("shift_left" if direction == "LEFT" else "shift_right"), n.input(0), n.input(1))
