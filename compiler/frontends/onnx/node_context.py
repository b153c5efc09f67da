"""What a converter works with: one node's operands, attributes and static values, and building graph ops for it.

In: a node and the importer's state. Out: graph ops located at the node. The one idea: a converter reads like the
operator's specification; everything about errors, locations and constants is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.elementwise import Cast
from penstock.compiler.dialects.graph.shape import Expand, Reshape, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import element_type, shape_of, tensor, type_name
from penstock.compiler.errors import (
    INVALID_NODE,
    SHAPE_UNKNOWN,
    UNSUPPORTED_ATTRIBUTE,
    UNSUPPORTED_TYPE,
    Code,
)
from penstock.compiler.frontends.onnx.records import TYPE_NAMES, Node, Tensor, type_title

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.importer import Importer

Array = NDArray[Any]
OpT = TypeVar("OpT", bound=GraphOp)


class Refusal(Exception):
    """A node that cannot be compiled: a code, one sentence, and the nearest supported form."""

    def __init__(self, code: Code, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason, self.hint = code, reason, hint


class NodeContext:
    """One node being converted."""

    def __init__(self, importer: Importer, node: Node, inputs: Sequence[SSAValue | None], opset: int) -> None:
        self.importer, self.node, self.inputs, self.opset = importer, node, list(inputs), opset

    # Operands --------------------------------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        """True if input ``index`` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int) -> SSAValue:
        """Input ``index``. Refuses the node if it is missing."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise Refusal(INVALID_NODE, f"input {index} is missing")
        return value

    def optional(self, index: int) -> SSAValue | None:
        """Input ``index`` or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def shape(self, value: SSAValue) -> tuple[int, ...]:
        return shape_of(value.type)

    def rank(self, value: SSAValue) -> int:
        return len(shape_of(value.type))

    def wants(self, output: int) -> bool:
        """True if output ``output`` has a name, that is, may be used."""
        return output < len(self.node.outputs) and self.node.outputs[output] != ""

    # Static values ---------------------------------------------------------------------------------------------------

    def static(self, index: int, what: str) -> Array:
        """The compile-time value of input ``index``. Refuses the node if it is only known at run time."""
        return self.known(self.input(index), what)

    def known(self, value: SSAValue, what: str) -> Array:
        """The compile-time value of ``value``."""
        array = self.importer.evaluate(value)
        if array is None:
            raise Refusal(
                SHAPE_UNKNOWN,
                f"{what} must be known at compile time, but depends on the model's inputs",
                "Make it a constant of the model, or give symbolic dimensions a value with --dim NAME=VALUE.",
            )
        return array

    def ints(self, index: int, attribute: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Integers given by input ``index`` (newer opsets) or by an attribute (older ones), else ``default``."""
        if self.has(index):
            return [int(item) for item in self.static(index, attribute).reshape(-1)]
        value = self.node.attributes.get(attribute)
        if value is None:
            return None if default is None else list(default)
        return [int(item) for item in self.attribute_list(attribute)]

    # Attributes ------------------------------------------------------------------------------------------------------

    def int(self, name: str, default: int | None = None) -> int:
        """An integer attribute. Refuses the node if it is required and missing."""
        return int(self._attribute(name, int, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """An integer attribute used as a truth value."""
        return bool(self.int(name, int(default)))

    def float(self, name: str, default: float | None = None) -> float:
        """A number."""
        return float(self._attribute(name, (int, float), default))

    def text(self, name: str, default: str | None = None) -> str:
        """A string attribute."""
        return str(self._attribute(name, str, default))

    def attribute_list(self, name: str, default: Sequence[Any] = ()) -> list[Any]:
        """A list attribute."""
        return list(self._attribute(name, tuple, tuple(default)))

    def _attribute(self, name: str, kind: Any, default: Any) -> Any:
        value = self.node.attributes.get(name, default)
        if value is None:
            raise Refusal(INVALID_NODE, f"the attribute {name} is missing")
        if not isinstance(value, kind):
            raise Refusal(INVALID_NODE, f"the attribute {name} is of the wrong kind")
        return value

    def tensor_attribute(self, name: str) -> Array:
        """A tensor attribute's array."""
        value = self.node.attributes.get(name)
        if not isinstance(value, Tensor):
            raise Refusal(INVALID_NODE, f"the attribute {name} is not a tensor")
        if value.problem is not None:
            code, reason, hint = value.problem
            raise Refusal(code, reason, hint)  # type: ignore[arg-type]
        return value.read()

    def element_attribute(self, name: str, default: int | None = None) -> Attribute:
        """An element type named by an ONNX type number."""
        code = self.int(name, default)
        if code not in TYPE_NAMES:
            raise Refusal(UNSUPPORTED_TYPE, f"the element type {type_title(code)} is not compiled")
        return element_type(TYPE_NAMES[code])

    def unsupported(self, reason: str, hint: str = "") -> Refusal:
        """A refusal for an attribute value or form that is not compiled."""
        return Refusal(UNSUPPORTED_ATTRIBUTE, reason, hint)

    # Building --------------------------------------------------------------------------------------------------------

    def build(self, kind: type[OpT], /, *operands: SSAValue, **parameters: Any) -> SSAValue:
        """Insert an op and return its (first) result."""
        return self.op(kind, *operands, **parameters).results[0]

    def op(self, kind: type[OpT], /, *operands: SSAValue, **parameters: Any) -> OpT:
        """Insert an op at this node's location."""
        return self.importer.insert(kind.build(*operands, location=self.importer.location, **parameters))

    def constant(self, array: Any, element: Attribute | None = None) -> SSAValue:
        """A constant tensor; a Python number or list needs ``element``."""
        from penstock.compiler.dtypes import numpy_dtype

        value = np.asarray(array) if element is None else np.asarray(array).astype(numpy_dtype(element))
        return self.importer.constant(value, self.node.name)

    def number(self, value: float, like: SSAValue) -> SSAValue:
        """A scalar constant of ``like``'s element type."""
        return self.constant(value, element_of(like))

    def reshape(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """``value`` under another shape; itself if it has it."""
        if tuple(shape) == self.shape(value):
            return value
        return self.build(Reshape, value, result=tensor(list(shape), element_of(value)))

    def transpose(self, value: SSAValue, permutation: Sequence[int]) -> SSAValue:
        """``value`` with axes reordered; itself if they are not."""
        if list(permutation) == list(range(len(permutation))):
            return value
        return self.build(Transpose, value, permutation=tuple(permutation))

    def expand(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """``value`` broadcast to ``shape``."""
        if tuple(shape) == self.shape(value):
            return value
        return self.build(Expand, value, result=tensor(list(shape), element_of(value)))

    def cast(self, value: SSAValue, element: Attribute) -> SSAValue:
        """``value`` converted to ``element``; itself if it has that type."""
        if element_of(value) == element:
            return value
        return self.build(Cast, value, result=tensor(list(self.shape(value)), element))

    def axis(self, name: str, default: int | None, rank: int) -> int:
        """An axis attribute, counted from the front. Refuses the node when it is out of range."""
        return self.normal_axis(self.int(name, default), rank)

    def normal_axis(self, axis: int, rank: int) -> int:
        """``axis`` counted from the front."""
        if not -rank <= axis < max(rank, 1):
            raise Refusal(INVALID_NODE, f"axis {axis} is outside a tensor of rank {rank}")
        return axis % rank if rank else 0

    def type_name(self, value: SSAValue) -> str:
        return type_name(element_of(value))


__all__ = ["Array", "Constant", "NodeContext", "Refusal"]
