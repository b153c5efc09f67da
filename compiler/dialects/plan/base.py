"""How an op of the ``plan`` dialect is declared, and its one type: memory with a shape.

In: numbers known at compile time and values of memref type (row-major, dense; the shape is for readers, kernels see
flat memory). Out: xDSL operations with one text form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, cast

from xdsl.dialects.builtin import MemRefType, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import traits_def

from penstock.compiler.dialects.declared import DeclaredOp, TypeRuleError
from penstock.compiler.dtypes import byte_width

if TYPE_CHECKING:
    from xdsl.dialects.builtin import LocationAttr

MemRef: TypeAlias = "MemRefType[Attribute]"


class PlanOp(DeclaredOp):
    """Base of the plan ops."""

    name: ClassVar[str]
    traits = traits_def()

    @classmethod
    def build(
        cls,
        *operands: SSAValue,
        result: Attribute | None = None,
        location: LocationAttr | None = None,
        **parameters: Any,
    ) -> Self:
        """The op on ``operands`` with Python values for parameters and, if it has one, a result of this type."""
        return cls.create(
            operands=operands,
            result_types=[] if result is None else [result],
            attributes=cls.encode_parameters(parameters),
            location=location,
        )

    def verify_(self) -> None:
        self.check_parameters()
        for value in (*self.operands, *self.results):
            if not isinstance(value.type, MemRefType):
                raise TypeRuleError(f"{self.name} works on memory, not on {value.type}")
        self.check()

    def check(self) -> None:
        """What must hold beyond parameters and types of the declared kinds. Raises TypeRuleError."""

    @property
    def out(self) -> SSAValue:
        """The only result."""
        return self.results[0]


def memory_of(value: SSAValue | Attribute) -> MemRef:
    """The type of a value as memory: a tensor's becomes the memref of its shape. Raises TypeRuleError for others."""
    kind = value if isinstance(value, Attribute) else value.type
    if isinstance(kind, TensorType):
        tensor = cast("TensorType[Attribute]", kind)
        return MemRefType(tensor.element_type, tensor.shape)
    if not isinstance(kind, MemRefType):
        raise TypeRuleError(f"expected memory, found {kind}")
    return cast(MemRef, kind)


def memory_bytes(value: SSAValue | Attribute) -> int:
    """Bytes that memory of this type takes."""
    kind = memory_of(value)
    return math.prod(kind.get_shape()) * byte_width(kind.element_type)
