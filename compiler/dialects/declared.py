"""How penstock's own operations declare parameters, print and parse: shared by the graph, tile and plan dialects.

In: a class with typed parameters. Out: an xDSL operation whose text form follows from the declaration. The one idea:
parameters are plain Python values on the outside and attributes inside, with one text form for every dialect::

    %2 = graph.conv %x, %w {strides = [2, 2]} : (tensor<..>, tensor<..>) -> tensor<..>
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

from xdsl.dialects.builtin import ArrayAttr, FloatAttr, FunctionType, IntegerAttr, StringAttr, UnitAttr, f64, i1, i64
from xdsl.ir import Attribute, Operation
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from penstock.compiler.extent_text import parse
from penstock.compiler.extents import Dim, Extent

T = TypeVar("T")
DeclaredT = TypeVar("DeclaredT", bound="DeclaredOp")


class TypeRuleError(VerifyException):
    """Operand types or parameters an op cannot have; the message is one sentence fit for the model's author."""


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


def encode_extent(value: Extent) -> Attribute:
    """An integer, or the text of a symbolic one."""
    return StringAttr(str(value)) if isinstance(value, Dim) else _integer(int(value))


@lru_cache(4096)
def _integer(value: int) -> Attribute:
    """Attributes do not change, and a few numbers make up most of them."""
    return IntegerAttr(value, i64)


@lru_cache(4096)
def _integers(values: tuple[int, ...]) -> Attribute:
    """The same for lists of numbers."""
    return ArrayAttr([_integer(value) for value in values])


MOST_READ = 4096
_READ: dict[int, tuple[Attribute, tuple[Extent, ...]]] = {}
"""Lists that were read off attributes, by identity; an attribute that is here lives, so no other one has its number."""


def decode_extent(attribute: Attribute) -> Extent | None:
    """The integer, number or symbolic, that an attribute holds; None for another kind of attribute."""
    if isinstance(attribute, IntegerAttr):
        return attribute.value.data
    if not isinstance(attribute, StringAttr):
        return None
    try:
        return parse(attribute.data)
    except ValueError:
        return None


class Int(Parameter[int]):
    """An integer parameter, a number or symbolic."""

    def encode(self, value: Extent) -> Attribute:
        return encode_extent(value)

    def decode(self, attribute: Attribute) -> Extent:
        value = decode_extent(attribute)
        if value is None:
            raise self.wrong(attribute)
        return value


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
    """A list of integers, numbers or symbolic."""

    def encode(self, value: Sequence[Extent]) -> Attribute:
        if any(isinstance(item, Dim) for item in value):
            return ArrayAttr([encode_extent(item) for item in value])
        return _integers(tuple(map(int, value)))

    def decode(self, attribute: Attribute) -> tuple[Extent, ...]:
        known = _READ.get(id(attribute))
        if known is not None and known[0] is attribute:
            return known[1]
        if len(_READ) >= MOST_READ:
            _READ.clear()
        _READ[id(attribute)] = attribute, (values := self._decoded(attribute))
        return values

    def _decoded(self, attribute: Attribute) -> tuple[Extent, ...]:
        if not isinstance(attribute, ArrayAttr):
            raise self.wrong(attribute)
        values = [decode_extent(item) for item in cast("ArrayAttr[Attribute]", attribute)]
        if any(value is None for value in values):
            raise self.wrong(attribute)
        return tuple(value for value in values if value is not None)


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


class Texts(Parameter[tuple[str, ...]]):
    """A list of strings."""

    def encode(self, value: Sequence[str]) -> Attribute:
        return ArrayAttr([StringAttr(item) for item in value])

    def decode(self, attribute: Attribute) -> tuple[str, ...]:
        if not isinstance(attribute, ArrayAttr):
            raise self.wrong(attribute)
        items = list(cast("ArrayAttr[Attribute]", attribute))
        if not all(isinstance(item, StringAttr) for item in items):
            raise self.wrong(attribute)
        return tuple(item.data for item in items if isinstance(item, StringAttr))


class DeclaredOp(Operation):
    """Base of all ops declared with parameters: ``name``, ``parameters`` (collected), text form."""

    parameters: ClassVar[dict[str, Parameter[Any]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.parameters = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, Parameter)
        }

    @classmethod
    def encode_parameters(cls, parameters: dict[str, Any]) -> dict[str, Attribute]:
        """Attributes for Python values; None leaves a parameter at its default. Raises TypeError for unknown names."""
        unknown = set(parameters) - set(cls.parameters)
        if unknown:
            raise TypeError(f"{cls.name} has no parameter {sorted(unknown)}")
        return {name: cls.parameters[name].encode(value) for name, value in parameters.items() if value is not None}

    def own_parameters(self, **changed: Any) -> dict[str, Any]:
        """The parameters that are set, by name, with some ``changed``: what ``build`` takes for another op like this
        one."""
        return {**{name: getattr(self, name) for name in self.parameters if name in self.attributes}, **changed}

    def check_parameters(self) -> None:
        """Every required parameter is there and every attribute has the declared kind. Raises TypeRuleError."""
        for name, parameter in self.parameters.items():
            if name in self.attributes:
                parameter.decode(self.attributes[name])
            elif parameter.default is None and not parameter.optional:
                raise TypeRuleError(f"{self.name} needs the parameter {name}")

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
    if isinstance(value, ArrayAttr) and all(isinstance(item, IntegerAttr | StringAttr) for item in value):
        items = cast("ArrayAttr[IntegerAttr | StringAttr]", value)
        printer.print_string("[")
        printer.print_list(items, lambda item: _print_item(printer, item))
        printer.print_string("]")
    elif isinstance(value, IntegerAttr) and value.type == i64:
        printer.print_string(str(value.value.data))
    elif isinstance(value, FloatAttr) and value.type == f64 and math.isfinite(value.value.data):
        text = repr(float(value.value.data))
        printer.print_string(text if "." in text or "e" not in text else text.replace("e", ".0e"))
    else:
        printer.print_attribute(value)


def _print_item(printer: Printer, item: IntegerAttr | StringAttr) -> None:
    """A number without its type, which the parameter knows."""
    if isinstance(item, IntegerAttr):
        printer.print_string(str(item.value.data))
    else:
        printer.print_attribute(item)


def _normalise(parameter: Parameter[Any], attribute: Attribute) -> Attribute:
    """The attribute as the builder would have made it (``1.0`` parses as f64 already, ``true`` as i1)."""
    return parameter.encode(parameter.decode(attribute))


def ops_in(package: str, folder: Iterable[str], base: type[DeclaredT]) -> tuple[type[DeclaredT], ...]:
    """Every op class with a name that the modules of a dialect's package define, in order of modules and definition:
    an op is registered by being written. ``folder`` is the package's ``__path__``."""
    found: dict[str, type[DeclaredT]] = {}
    for info in pkgutil.iter_modules(list(folder)):
        module = importlib.import_module(f"{package}.{info.name}")
        for candidate in vars(module).values():
            if not isinstance(candidate, type) or candidate.__module__ != module.__name__:
                continue  # not a class, or one that the module only uses
            if issubclass(candidate, base) and "name" in vars(candidate):
                assert found.setdefault(candidate.name, candidate) is candidate, f"two ops are called {candidate.name}"
    return tuple(found.values())
