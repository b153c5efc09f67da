"""Conversion between element types; those that are only stored (8-bit floating-point, 4 and 2 bits) by their bits."""

from __future__ import annotations

from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.elementwise import Cast
from penstock.compiler.dialects.graph.storage import ROUNDING
from penstock.compiler.dtypes import is_storage, tensor
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import NodeContext


def converted(n: NodeContext, x: SSAValue, kind: Attribute, saturate: bool = True, rounding: str = "up") -> SSAValue:
    """``x`` as ``kind``; ``saturate`` and ``rounding`` as the graph's cast has them."""
    if element_of(x) == kind or not is_storage(kind):
        return n.cast(x, kind)
    return n.build(Cast, x, result=tensor(n.shape(x), kind), saturate=saturate, rounding=rounding)


@converter("Cast", "CastLike")
def cast(n: NodeContext) -> SSAValue:
    """Between all types but strings and complex numbers; saturate and round_mode."""
    kind = n.element_attribute("to") if n.node.op == "Cast" else element_of(n.input(1))
    return converted(n, n.input(0), kind, n.flag("saturate", True), n.choice("round_mode", "up", *ROUNDING))
