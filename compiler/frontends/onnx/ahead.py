"""Shapes that follow from what is declared further on.

In: a value whose shape depends on what is fed, and the nodes that come after it. Out: the shape the model promises for
it. The one idea: through elementwise operators on scalars and on values of the same unknown shape, the shape stays what
it is, until one of these values is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from penstock.compiler.frontends.onnx.records import Node

Shape = TypeVar("Shape")

_ALONE = """
    Abs Acos Acosh Asin Asinh Atan Atanh BitCast BitwiseNot Cast Ceil Celu Cos Cosh Dropout Elu Erf Exp Floor Gelu
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log LogSoftmax Mish Neg Not Reciprocal Relu Round Selu Shrink
    Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
"""
_FIRST = "CastLike Clip"
_BROADCAST = """
    Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod
    Mul Or Pow PRelu Sub Sum Where Xor
"""
ALONE, FIRST, BROADCAST = (frozenset(names.split()) for names in (_ALONE, _FIRST, _BROADCAST))
"""Operators whose (first) result has the shape of their one operand, of their first, and of all broadcast together."""


def declared_ahead(
    name: str, nodes: Sequence[Node], declared: Callable[[str], Shape | None], is_scalar: Callable[[str], bool]
) -> Shape | None:
    """The shape of value ``name`` by what is ``declared`` of the results of later ``nodes``, which are in order.
    None if nothing follows."""
    same = {name}
    for node in nodes:
        inputs = [value for value in node.inputs if value]
        if node.domain or not same.intersection(inputs) or not _keeps(node, inputs, same, is_scalar):
            continue
        shape = declared(node.outputs[0])
        if shape is not None:
            return shape
        same.add(node.outputs[0])
    return None


def _keeps(node: Node, inputs: Sequence[str], same: set[str], is_scalar: Callable[[str], bool]) -> bool:
    """Whether the first result of ``node`` has the shape that the values ``same`` have."""
    if not node.outputs or not node.outputs[0]:
        return False
    if node.op in ALONE or node.op in FIRST:
        return inputs[0] in same
    return node.op in BROADCAST and all(value in same or is_scalar(value) for value in inputs)
