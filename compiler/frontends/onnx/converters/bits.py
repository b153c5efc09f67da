"""Operators on the bits of integers."""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.bits import BitCast
from penstock.compiler.dtypes import BF16, F16, I1, bit_width, tensor, type_name
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


@converter("BitCast")
def bit_cast(n: NodeContext) -> SSAValue:
    """Between all types of a width, and from booleans; half precision is refused."""
    x, kind = n.input(0), n.element_attribute("to")
    source = element_of(x)
    widths = {8 if element == I1 else bit_width(element) for element in (source, kind)}
    n.require(len(widths) == 1, f"{type_name(source)} and {type_name(kind)} differ in width")
    if source in (I1, kind):
        return n.cast(x, kind)
    if kind == I1:
        raise n.unsupported("bytes other than 0 and 1 are no booleans", "Compare with 0 instead.")
    if {source, kind} & {F16, BF16}:
        raise n.unsupported("half precision is computed in f32, which does not keep every bit", "Cast to f32 first.")
    return n.build(BitCast, x, result=tensor(n.shape(x), kind))
