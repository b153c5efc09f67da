"""How an operation of the ``graph`` dialect is declared.

In: a class with operand names, typed parameters, a type rule and numpy semantics. Out: an xDSL operation that
builds, prints, parses, verifies, folds and evaluates itself. The one idea: everything an op means stands in its class,
so adding an op is adding a class to a module of this folder; the dialect finds it by scanning.

Text form (parameters at their default are left out)::

    %2 = graph.conv %x, %w {strides = [2, 2], pads_low = [1, 1]} : (tensor<..>, tensor<..>) -> tensor<..>
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from xdsl.dialects.builtin import ArrayAttr, FloatAttr, LocationAttr, TensorType, f64
from xdsl.ir import Attribute, Operation, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.traits import Pure

from penstock.compiler.dialects.declared import (
    Bool,
    DeclaredOp,
    Float,
    Int,
    Ints,
    Parameter,
    Text,
    TypeRuleError,
)
from penstock.compiler.dtypes import (
    BF16,
    F32,
    I1,
    byte_width,
    is_float,
    is_storage,
    negative_extents,
    numpy_dtype,
    shape_of,
    type_name,
)
from penstock.compiler.extents import Extent, NotStatic, is_static

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "Bool",
    "Cost",
    "Disagreement",
    "Float",
    "Floats",
    "GraphOp",
    "Int",
    "Ints",
    "Parameter",
    "Tensor",
    "Text",
    "TypeRuleError",
]

Tensor = TensorType[Attribute]


class Disagreement(TypeRuleError):
    """Extents ``a`` and ``b``, one of them symbolic, that must be equal and cannot be shown to be."""

    def __init__(self, sentence: str, a: Extent, b: Extent) -> None:
        super().__init__(sentence)
        self.a, self.b = a, b


class Floats(Parameter[tuple[float, ...]]):
    """A list of double-precision numbers."""

    def encode(self, value: Sequence[float]) -> Attribute:
        return ArrayAttr([FloatAttr(float(item), f64) for item in value])

    def decode(self, attribute: Attribute) -> tuple[float, ...]:
        if not isinstance(attribute, ArrayAttr):
            raise self.wrong(attribute)
        items = cast("ArrayAttr[Attribute]", attribute)
        return tuple(self._number(item) for item in items)

    def _number(self, item: Attribute) -> float:
        if not isinstance(item, FloatAttr):
            raise self.wrong(item)
        return float(item.value.data)


@dataclass(frozen=True)
class Cost:
    """What one execution of an op costs: ``flops`` (a multiply-add counts two) and ``bytes`` read plus written."""

    flops: int
    bytes: int


class GraphOp(DeclaredOp):
    """Base of every graph op. Subclasses give ``name``, ``operand_names``, parameters, ``infer`` and ``evaluate``.

    ``operand_names`` lists the operands; the last ``optional_operands`` of them may be absent, and with ``variadic``
    the last one may repeat. Results are tensors. All ops are pure.
    """

    name: ClassVar[str]
    operand_names: ClassVar[tuple[str, ...]] = ()
    optional_operands: ClassVar[int] = 0
    variadic: ClassVar[bool] = False
    holds_storage: ClassVar[bool] = False  # whether operands may be of types that are only stored and converted
    traits = traits_def(Pure())

    # Building ------------------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        *operands: SSAValue | Operation,
        location: LocationAttr | None = None,
        result: Tensor | None = None,
        **parameters: Any,
    ) -> Self:
        """An op on ``operands``; ``parameters`` are plain Python values; result types come from the type rule.

        ``result`` is for the ops whose result type is part of what they say (reshape, expand, cast, iota, slice ...).
        Raises TypeRuleError, with a sentence, when operands or parameters do not fit.
        """
        attributes = cls.encode_parameters(parameters)
        values = [SSAValue.get(operand) for operand in operands]
        require_extents([] if result is None else [result])
        op = cls.create(
            operands=values,
            result_types=[] if result is None else [result],
            attributes=attributes,
            location=location,
        )
        try:
            op.check_arity()
            types = op.infer()
            require_extents(types)
        except Exception:  # leave no use of the operands behind
            op.drop_all_references()
            raise
        if result is None or len(types) > 1:
            op.drop_all_references()
            op = cls.create(operands=values, result_types=types, attributes=attributes, location=location)
        return op

    @classmethod
    def encode_parameters(cls, parameters: dict[str, Any]) -> dict[str, Attribute]:
        """As the base does; a parameter at its default is left out, so that equal ops have equal attributes."""
        encoded = super().encode_parameters(parameters)
        defaults = {name: cls.parameters[name].default for name in encoded}
        return {
            name: attribute
            for name, attribute in encoded.items()
            if defaults[name] is None or cls.parameters[name].decode(attribute) != defaults[name]
        }

    # Meaning -------------------------------------------------------------------------------------------------------

    def infer(self) -> list[Tensor]:
        """The type rule: result types from operand types and parameters. Raises TypeRuleError.

        Ops whose result type is chosen by the builder check ``self.results[0].type`` and return it.
        """
        raise NotImplementedError(self.name)

    def evaluate(self, *operands: Array) -> Array | tuple[Array, ...]:
        """Reference semantics in numpy: operands as arrays of the operand types, results of the result types."""
        raise NotImplementedError(self.name)

    def fold(self) -> SSAValue | None:
        """An existing value this op is equal to (``x + 0`` is ``x``), or None. Must have the result's type."""
        return None

    def needs(self) -> list[tuple[Extent, Extent]]:
        """Pairs of extents that a run's sizes must make equal for the op to have a meaning."""
        return []

    def cost(self) -> Cost:
        """Default: one flop per result element, every operand read and every result written once."""
        return Cost(sum(elements(r.type) for r in self.results), self.bytes_moved())

    def bytes_moved(self) -> int:
        """Bytes of all operands plus all results."""
        return sum(tensor_bytes(value.type) for value in (*self.operands, *self.results))

    # Access --------------------------------------------------------------------------------------------------------

    def chosen_result(self) -> Tensor:
        """The result type the builder chose, for ops built with ``result=``. Raises TypeRuleError if there is none."""
        if not self.results:
            raise TypeRuleError(f"{self.name} is built with its result type")
        return tensor_type(self.results[0])

    @property
    def out(self) -> SSAValue:
        """The only (or first) result."""
        return self.results[0]

    def operand(self, name: str) -> SSAValue | None:
        """The operand called ``name``, or None when it is optional and absent."""
        index = self.operand_names.index(name)
        return self.operands[index] if index < len(self.operands) else None

    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the operands."""
        return [shape_of(value.type) for value in self.operands]

    def element(self, index: int = 0) -> Attribute:
        """Element type of operand ``index``."""
        return element_of(self.operands[index])

    # Verifying, printing, parsing ----------------------------------------------------------------------------------

    def check_arity(self) -> None:
        count, most = len(self.operands), len(self.operand_names)
        if count < most - self.optional_operands or (count > most and not self.variadic):
            raise TypeRuleError(f"{self.name} takes {most} operands ({', '.join(self.operand_names)}), not {count}")
        for value in self.operands:
            if not isinstance(value.type, TensorType):
                raise TypeRuleError(f"{self.name} takes tensors, not {value.type}")
            if not self.holds_storage and is_storage(element_of(value)):
                kind = type_name(element_of(value))
                raise TypeRuleError(f"{self.name} does not take {kind}, which is only stored and converted")
        self.check_parameters()

    def verify_(self) -> None:
        self.check_arity()
        expected = self.infer()
        actual = [result.type for result in self.results]
        if expected != actual:
            raise TypeRuleError(
                f"{self.name} must have result types {', '.join(map(str, expected))}, "
                f"but has {', '.join(map(str, actual))}"
            )


# Small helpers over tensor types -------------------------------------------------------------------------------------


def tensor_type(value: SSAValue | Attribute) -> Tensor:
    """The tensor type of a value (or the type itself). Raises TypeRuleError for anything else."""
    candidate = value if isinstance(value, Attribute) else value.type
    if not isinstance(candidate, TensorType):
        raise TypeRuleError(f"expected a tensor, found {candidate}")
    return cast(Tensor, candidate)


def require_extents(types: Sequence[Tensor]) -> None:
    """Raises TypeRuleError for a type with less than no elements along an axis."""
    for wrong in filter(None, map(negative_extents, types)):
        raise TypeRuleError(f"its result would have {wrong[0]} elements along an axis")


def element_of(value: SSAValue | Attribute) -> Attribute:
    """Element type of a tensor value or type."""
    return tensor_type(value).element_type


def elements(value_type: Attribute) -> int:
    """Number of elements of a tensor type."""
    return math.prod(shape_of(value_type))


def tensor_bytes(value_type: Attribute) -> int:
    """Bytes a tensor of this type takes, row-major and dense."""
    return elements(value_type) * byte_width(element_of(value_type))


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """numpy's broadcasting rule. Raises TypeRuleError when the shapes do not fit together."""
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result: list[int] = []
    for extents in zip(*padded, strict=True):
        wide = [extent for extent in extents if extent != 1]
        for extent in wide[1:]:
            sentence = "the shapes " + " and ".join(map(show, shapes)) + " do not broadcast together"
            require_equal(wide[0], extent, sentence)
        result.append(wide[0] if wide else 1)
    return tuple(result)


def normalise_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front. Raises TypeRuleError outside [-rank, rank)."""
    if not -rank <= axis < max(rank, 1):
        raise TypeRuleError(f"axis {axis} is outside a tensor of rank {rank}")
    return axis % rank if rank else 0


def show(shape: Sequence[int]) -> str:
    """A shape as sentences write it: ``[2,3]``."""
    return "[" + ",".join(map(str, shape)) + "]"


def wide(x: Array, element: Attribute) -> Array:
    """``x``, of IR element type ``element``, in the type arithmetic is done in (half precision computes in f32)."""
    from penstock.compiler.dialects.graph.scalar import compute_dtype

    return x.astype(numpy_dtype(compute_dtype(element)), copy=False)


def require(holds: bool, sentence: str) -> None:
    """Raises TypeRuleError with ``sentence`` unless ``holds``."""
    if not holds:
        raise TypeRuleError(sentence)


def require_equal(a: Extent, b: Extent, sentence: str) -> None:
    """``a`` and ``b`` are one extent. Raises TypeRuleError, and Disagreement where that depends on sizes."""
    if a != b:
        raise TypeRuleError(sentence) if is_static((a, b)) else Disagreement(sentence, a, b)


def require_same(a: Sequence[Extent], b: Sequence[Extent], sentence: str) -> None:
    """``a`` and ``b`` are one shape. Raises as ``require_equal``."""
    require(len(a) == len(b), sentence)
    differing = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    for x, y in sorted(differing, key=lambda pair: not is_static(pair)):  # what cannot be equal is told first
        require_equal(x, y, sentence)


def require_static(extents: Sequence[Extent], what: str) -> None:
    """``extents`` are numbers. Raises NotStatic, with ``what`` they are of."""
    if not is_static(extents):
        raise NotStatic(f"the extents of {what} must be known at compile time, but are {show(tuple(extents))}")


def require_float(op: GraphOp) -> None:
    """All operands of ``op`` have one floating-point type. Raises TypeRuleError."""
    require_same_elements(op)
    element = op.element()
    require(is_float(element), f"{op.name} takes floating-point tensors, not {type_name(element)}")


def require_same_elements(op: GraphOp) -> None:
    """All operands of ``op`` have one element type. Raises TypeRuleError."""
    kinds = sorted({type_name(element_of(value)) for value in op.operands})
    require(len(kinds) == 1, f"operands must share one element type, not {', '.join(kinds)}")


def require_number(op: GraphOp) -> None:
    """All operands of ``op`` have one element type, which is not boolean. Raises TypeRuleError."""
    require_same_elements(op)
    require(op.element() != I1, f"{op.name} takes numbers, not booleans")


def require_weights(op: GraphOp) -> None:
    """Operands x and weights of ``op`` hold numbers of one element type, or f32 and bf16: weights that are stored
    narrowly are widened where they are read. Raises TypeRuleError."""
    if (op.element(), op.element(1)) != (F32, BF16):
        require_number(op)


def only_region(op: Operation) -> Region:
    """The single region of an op."""
    (region,) = op.regions
    return region
