"""How an operation of the ``graph`` dialect is declared.

In: a class with operand names, typed parameters, a type rule and numpy semantics. Out: an xDSL operation that
builds, prints, parses, verifies, folds and evaluates itself. The one idea: everything an op means stands in its class,
so adding an op is adding a class to a module of this folder; the dialect finds it by scanning.

Text form (parameters at their default are left out)::

    %2 = graph.conv %x, %w {strides = [2, 2], pads_low = [1, 1]} : (tensor<..>, tensor<..>) -> tensor<..>
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast, overload

from xdsl.dialects.builtin import (
    ArrayAttr,
    FloatAttr,
    FunctionType,
    IntegerAttr,
    LocationAttr,
    StringAttr,
    TensorType,
    UnitAttr,
    f64,
    i1,
    i64,
)
from xdsl.ir import Attribute, Operation, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from penstock.compiler.dtypes import byte_width, shape_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

T = TypeVar("T")
Tensor = TensorType[Attribute]


class TypeRuleError(VerifyException):
    """Operand types or parameters an op cannot have; the message is one sentence fit for the model's author."""


@dataclass(frozen=True)
class Cost:
    """What one execution of an op costs: ``flops`` (a multiply-add counts two) and ``bytes`` read plus written."""

    flops: int
    bytes: int


class Parameter(Generic[T]):
    """A typed compile-time parameter of an op, read as a plain Python value: ``op.strides == (2, 2)``.

    ``default`` None means the parameter is required unless ``optional``.
    """

    def __init__(self, default: T | None = None, *, optional: bool = False, doc: str = "") -> None:
        self.default, self.optional, self.doc = default, optional, doc
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, op: None, owner: type) -> Self: ...
    @overload
    def __get__(self, op: Operation, owner: type) -> T: ...
    def __get__(self, op: Operation | None, owner: type) -> T | Self:
        if op is None:
            return self
        attribute = op.attributes.get(self.name)
        return cast(T, self.default) if attribute is None else self.decode(attribute)

    def __set__(self, op: Operation, value: T) -> None:
        op.attributes[self.name] = self.encode(value)

    def encode(self, value: T) -> Attribute:
        """The attribute that holds ``value``. Raises TypeRuleError if the value does not fit."""
        raise NotImplementedError

    def decode(self, attribute: Attribute) -> T:
        """The value an attribute holds. Raises TypeRuleError if the attribute is of the wrong kind."""
        raise NotImplementedError

    def wrong(self, attribute: object) -> TypeRuleError:
        return TypeRuleError(f"parameter {self.name} has an unfit value {attribute}")


class Int(Parameter[int]):
    """An integer parameter."""

    def encode(self, value: int) -> Attribute:
        return IntegerAttr(int(value), i64)

    def decode(self, attribute: Attribute) -> int:
        if not isinstance(attribute, IntegerAttr):
            raise self.wrong(attribute)
        return attribute.value.data


class Bool(Parameter[bool]):
    """A boolean parameter."""

    def encode(self, value: bool) -> Attribute:
        return IntegerAttr(int(value), i1)

    def decode(self, attribute: Attribute) -> bool:
        if isinstance(attribute, UnitAttr):
            return True
        if not isinstance(attribute, IntegerAttr):
            raise self.wrong(attribute)
        return attribute.value.data != 0


class Float(Parameter[float]):
    """A double-precision parameter."""

    def encode(self, value: float) -> Attribute:
        return FloatAttr(float(value), f64)

    def decode(self, attribute: Attribute) -> float:
        if not isinstance(attribute, FloatAttr):
            raise self.wrong(attribute)
        return float(attribute.value.data)


class Ints(Parameter[tuple[int, ...]]):
    """A list of integers."""

    def encode(self, value: Sequence[int]) -> Attribute:
        return ArrayAttr([IntegerAttr(int(item), i64) for item in value])

    def decode(self, attribute: Attribute) -> tuple[int, ...]:
        if not isinstance(attribute, ArrayAttr):
            raise self.wrong(attribute)
        return tuple(item.value.data for item in cast("ArrayAttr[IntegerAttr]", attribute))


class Text(Parameter[str]):
    """A string parameter, restricted to ``choices`` when given."""

    def __init__(self, default: str | None = None, *choices: str, optional: bool = False, doc: str = "") -> None:
        super().__init__(default, optional=optional, doc=doc)
        self.choices = choices

    def encode(self, value: str) -> Attribute:
        if self.choices and value not in self.choices:
            raise TypeRuleError(f"parameter {self.name} is {value!r}; it must be one of {', '.join(self.choices)}")
        return StringAttr(value)

    def decode(self, attribute: Attribute) -> str:
        if not isinstance(attribute, StringAttr) or (self.choices and attribute.data not in self.choices):
            raise self.wrong(attribute)
        return attribute.data


class GraphOp(Operation):
    """Base of every graph op. Subclasses give ``name``, ``operand_names``, parameters, ``infer`` and ``evaluate``.

    ``operand_names`` lists the operands; the last ``optional_operands`` of them may be absent, and with ``variadic``
    the last one may repeat. Results are tensors. All ops are pure.
    """

    name: ClassVar[str]
    operand_names: ClassVar[tuple[str, ...]] = ()
    optional_operands: ClassVar[int] = 0
    variadic: ClassVar[bool] = False
    parameters: ClassVar[dict[str, Parameter[Any]]] = {}
    traits = traits_def(Pure())

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.parameters = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, Parameter)
        }

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
        unknown = set(parameters) - set(cls.parameters)
        if unknown:
            raise TypeError(f"{cls.name} has no parameter {sorted(unknown)}")
        attributes = {
            name: cls.parameters[name].encode(value) for name, value in parameters.items() if value is not None
        }
        values = [SSAValue.get(operand) for operand in operands]
        op = cls.create(
            operands=values,
            result_types=[] if result is None else [result],
            attributes=attributes,
            location=location,
        )
        op.check_arity()
        types = op.infer()
        if result is None or len(types) > 1:
            op.drop_all_references()
            op = cls.create(operands=values, result_types=types, attributes=attributes, location=location)
        return op

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

    def cost(self) -> Cost:
        """Default: one flop per result element, every operand read and every result written once."""
        return Cost(sum(elements(r.type) for r in self.results), self.bytes_moved())

    def bytes_moved(self) -> int:
        """Bytes of all operands plus all results."""
        return sum(tensor_bytes(value.type) for value in (*self.operands, *self.results))

    # Access --------------------------------------------------------------------------------------------------------

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
        for name, parameter in self.parameters.items():
            if name not in self.attributes and parameter.default is None and not parameter.optional:
                raise TypeRuleError(f"{self.name} needs the parameter {name}")
            if name in self.attributes:
                parameter.decode(self.attributes[name])

    def verify_(self) -> None:
        self.check_arity()
        expected = self.infer()
        actual = [result.type for result in self.results]
        if expected != actual:
            raise TypeRuleError(
                f"{self.name} must have result types {', '.join(map(str, expected))}, "
                f"but has {', '.join(map(str, actual))}"
            )

    def print(self, printer: Printer) -> None:
        if self.operands:
            printer.print_string(" ")
            printer.print_list(self.operands, printer.print_ssa_value)
        shown = [
            (name, self.attributes[name])
            for name, parameter in self.parameters.items()
            if name in self.attributes and getattr(self, name) != parameter.default
        ]
        shown += [(name, value) for name, value in self.attributes.items() if name not in self.parameters]
        if shown:
            printer.print_string(" {")
            printer.print_list(shown, lambda item: _print_parameter(printer, *item))
            printer.print_string("}")
        printer.print_string(" : ")
        printer.print_attribute(
            FunctionType.from_lists([o.type for o in self.operands], [r.type for r in self.results])
        )

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        position = parser.pos
        unresolved = parser.parse_optional_undelimited_comma_separated_list(
            parser.parse_optional_unresolved_operand, parser.parse_unresolved_operand
        )
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        signature = parser.parse_type()
        if not isinstance(signature, FunctionType):
            parser.raise_error("expected a function type", position)
        operands = parser.resolve_operands(unresolved or [], signature.inputs.data, position)
        for name, parameter in cls.parameters.items():
            if name in attributes:
                attributes[name] = _normalise(parameter, attributes[name])
        return cls.create(operands=operands, result_types=signature.outputs.data, attributes=attributes)


def _print_parameter(printer: Printer, name: str, value: Attribute) -> None:
    printer.print_string(f"{name} = ")
    if isinstance(value, ArrayAttr) and all(isinstance(item, IntegerAttr) for item in value):
        items = cast("ArrayAttr[IntegerAttr]", value)
        printer.print_string("[" + ", ".join(str(item.value.data) for item in items) + "]")
    elif isinstance(value, IntegerAttr) and value.type == i64:
        printer.print_string(str(value.value.data))
    elif isinstance(value, FloatAttr) and value.type == f64 and math.isfinite(value.value.data):
        text = repr(float(value.value.data))
        printer.print_string(text if "." in text or "e" not in text else text.replace("e", ".0e"))
    else:
        printer.print_attribute(value)


def _normalise(parameter: Parameter[Any], attribute: Attribute) -> Attribute:
    """The attribute as the builder would have made it (``1.0`` parses as f64 already, ``true`` as i1)."""
    return parameter.encode(parameter.decode(attribute))


# Small helpers over tensor types -------------------------------------------------------------------------------------


def tensor_type(value: SSAValue | Attribute) -> Tensor:
    """The tensor type of a value (or the type itself). Raises TypeRuleError for anything else."""
    candidate = value if isinstance(value, Attribute) else value.type
    if not isinstance(candidate, TensorType):
        raise TypeRuleError(f"expected a tensor, found {candidate}")
    return candidate


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
        wide = {extent for extent in extents if extent != 1}
        if len(wide) > 1:
            raise TypeRuleError("the shapes " + " and ".join(map(_show, shapes)) + " do not broadcast together")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def normalise_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front. Raises TypeRuleError outside [-rank, rank)."""
    if not -rank <= axis < max(rank, 1):
        raise TypeRuleError(f"axis {axis} is outside a tensor of rank {rank}")
    return axis % rank if rank else 0


def _show(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def is_concrete(candidate: object) -> bool:
    """True for a class that is an op of its own: a GraphOp with a name and no abstract base marker."""
    return (
        inspect.isclass(candidate)
        and issubclass(candidate, GraphOp)
        and "name" in vars(candidate)
        and isinstance(candidate.name, str)
    )


def only_region(op: Operation) -> Region:
    """The single region of an op."""
    (region,) = op.regions
    return region
