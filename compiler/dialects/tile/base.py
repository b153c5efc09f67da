"""How an op of the ``tile`` dialect is declared, and its types.

In: values that are index numbers, scalars, register tiles (``vector``) or flat buffers (one-dimensional ``memref``).
Out: xDSL operations with one text form. The one idea: elementwise ops broadcast tile dimensions of 1 (and scalars),
so that a rank-1 update is ``tile.fma`` of a column, a row and a tile, and nothing is copied to say so.

Integers are signless; where signedness matters there are two ops (``div``/``divu`` ...). ``i1`` is a lane mask; a
buffer of ``i1`` holds one byte per element.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from xdsl.dialects.builtin import IndexType, IntegerType, MemRefType, NoneAttr, VectorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import traits_def
from xdsl.traits import Pure

from penstock.compiler.dialects.declared import DeclaredOp, TypeRuleError
from penstock.compiler.dtypes import is_float, symbolic_shape
from penstock.compiler.extents import Dim, Extent

if TYPE_CHECKING:
    from xdsl.dialects.builtin import LocationAttr


class TileOp(DeclaredOp):
    """Base of the tile ops: ``infer`` gives the result types from operands and parameters."""

    name: ClassVar[str]

    @classmethod
    def build(
        cls,
        *operands: SSAValue,
        result: Attribute | None = None,
        location: LocationAttr | None = None,
        **parameters: Any,
    ) -> Self:
        """The op on ``operands`` with Python values for parameters; ``result`` where the type is not inferable."""
        attributes = cls.encode_parameters(parameters)
        types = [result] if result is not None else cls.infer(operands, parameters)
        return cls.create(operands=operands, result_types=types, attributes=attributes, location=location)

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        """Result types. Raises TypeRuleError."""
        return []

    def verify_(self) -> None:
        self.check_parameters()
        self.check()

    def check(self) -> None:
        """What must hold beyond parameters of the declared kinds. Raises TypeRuleError."""
        values = {name: getattr(self, name) for name in self.parameters}
        expected = self.infer(tuple(self.operands), values)
        actual = [result.type for result in self.results]
        if expected and expected != actual:
            raise TypeRuleError(f"{self.name} must have type {', '.join(map(str, expected))}")


class Elementwise(TileOp):
    """Base of pure ops that work lane by lane on ``kinds`` of numbers (any, float, integer) and broadcast dims of 1."""

    arity: ClassVar[int] = 1
    kinds: ClassVar[str] = "any"
    traits = traits_def(Pure())

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        if len(operands) != cls.arity:
            raise TypeRuleError(f"{cls.name} takes {cls.arity} operands, not {len(operands)}")
        kind = element(operands[0])
        if any(element(operand) != kind for operand in operands) or not is_number(kind):
            raise TypeRuleError(f"{cls.name} takes numbers of one element type")
        if cls.kinds != "any" and is_float(kind) != (cls.kinds == "float"):
            raise TypeRuleError(f"{cls.name} takes {cls.kinds} operands, not {kind}")
        return [with_shape(element(operands[0]), broadcast(*operands))]


def shape(value: SSAValue | Attribute) -> tuple[int, ...]:
    """Extents of a register tile; () for a scalar."""
    kind = value if isinstance(value, Attribute) else value.type
    return tuple(kind.get_shape()) if isinstance(kind, VectorType) else ()


def element(value: SSAValue | Attribute) -> Attribute:
    """Element type of a tile, a buffer or a scalar."""
    kind: Any = value if isinstance(value, Attribute) else value.type
    return kind.element_type if isinstance(kind, VectorType | MemRefType) else kind


def buffer(count: Extent, element_type: Attribute) -> Attribute:
    """The type of a flat buffer of ``count`` elements."""
    if not isinstance(count, Dim):
        return MemRefType(element_type, [count])
    extents, texts = symbolic_shape((count,))
    return MemRefType(element_type, extents, NoneAttr(), texts)


def with_shape(element_type: Attribute, extents: tuple[int, ...]) -> Attribute:
    """The tile type of ``extents`` (or the scalar type when there are none)."""
    return _tile(element_type, tuple(extents)) if extents else element_type


@lru_cache(4096)
def _tile(element_type: Attribute, extents: tuple[int, ...]) -> Attribute:
    """Types do not change, and a kernel has few."""
    return VectorType(element_type, list(extents))


def broadcast(*values: SSAValue) -> tuple[int, ...]:
    """The common extents of tiles of equal rank (scalars fit anything). Raises TypeRuleError if they differ."""
    result: tuple[int, ...] = ()
    for extents in map(shape, values):
        if not extents or extents == result:
            continue
        if result and len(result) != len(extents):
            raise TypeRuleError(f"tiles of different rank: {result} and {extents}")
        base = result or (1,) * len(extents)
        if any(1 not in pair and pair[0] != pair[1] for pair in zip(base, extents, strict=True)):
            raise TypeRuleError(f"tiles {base} and {extents} do not broadcast")
        result = tuple(max(a, b) if 0 not in (a, b) else 0 for a, b in zip(base, extents, strict=True))
    return result


def buffer_element(value: SSAValue) -> Attribute:
    """Element type of a flat buffer. Raises TypeRuleError for anything else."""
    if not isinstance(value.type, MemRefType) or value.type.get_num_dims() != 1:
        raise TypeRuleError(f"expected a flat buffer, found {value.type}")
    kind: Attribute = value.type.element_type  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
    return kind


def is_integer(kind: Attribute) -> bool:
    """True for index and integer element types (masks included)."""
    return isinstance(kind, IndexType | IntegerType)


def is_number(kind: Attribute) -> bool:
    """True for element types tiles can hold."""
    return is_float(kind) or is_integer(kind)


def only_block(op: Operation) -> Any:
    """The only block of an op's only region."""
    return op.regions[0].block
