"""Structure ops: constants, and the dispatch region that one fused kernel will compute.

In: bytes from the weight store or small inline values; for ``dispatch``, any tensors. Out: tensors.
The one idea: a dispatch is isolated from above and its body is ordinary graph ops, so what a fused kernel means is
what its body means, and the interpreter can run it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, LocationAttr, StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure, SingleBlockImplicitTerminator
from xdsl.utils.exceptions import VerifyException

from penstock.compiler.dialects.graph.base import (
    Cost,
    GraphOp,
    Tensor,
    Text,
    TypeRuleError,
    element_of,
    elements,
    require,
    tensor_bytes,
    tensor_type,
)
from penstock.compiler.dtypes import BF16, I1, from_numpy, is_storage, numpy_dtype, shape_of, tensor
from penstock.compiler.extents import Symbol, surely, symbols_of

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array
    from penstock.compiler.weights import WeightStore

INLINE_ELEMENTS = 8


class Constant(GraphOp):
    """A constant tensor: ``value`` inline (at most 8 elements), or ``key`` into the weight store."""

    name = "graph.constant"
    key = Text(optional=True, doc="key of the bytes in the weight store")
    ADDITIONAL: ClassVar[tuple[str, ...]] = ("value",)

    @classmethod
    def of(
        cls, array: Array, weights: WeightStore, *, name: str = "constant", location: LocationAttr | None = None
    ) -> Constant:
        """The constant op for ``array``: inline when small, else in ``weights`` under a key made from ``name``."""
        array = np.asarray(array)
        result = tensor(array.shape, from_numpy(array.dtype))
        attributes: dict[str, Attribute]
        known_to_xdsl = result.element_type != BF16 and not is_storage(result.element_type)
        if array.size <= INLINE_ELEMENTS and known_to_xdsl:
            attributes = {"value": _dense(result, array)}
        else:
            attributes = {"key": StringAttr(weights.add(array, name))}
        return cls.create(result_types=[result], attributes=attributes, location=location)

    def array(self, weights: WeightStore) -> Array:
        """The constant's value, read-only when it comes from the store. Raises KeyError if the key is unknown."""
        inline = self.attributes.get("value")
        shape, dtype = shape_of(self.out.type), numpy_dtype(tensor_type(self.out).element_type)
        if inline is None:
            return weights[self.key]
        assert isinstance(inline, DenseIntOrFPElementsAttr)
        values: list[Any] = list(inline.get_values())
        if len(values) == 1:
            return np.full(shape, values[0]).astype(dtype)
        # Left to itself, numpy would hold 64-bit integers of either side of 2^63 as floats.
        exact = np.array(values, dtype) if dtype.kind == "u" else np.array(values).astype(dtype)
        return exact.reshape(shape)

    def print(self, printer: Printer) -> None:
        """As every op; NaN and infinities as the bytes of the value (xDSL would read its own notation as integers)."""
        inline = self.attributes.get("value")
        if not isinstance(inline, DenseIntOrFPElementsAttr) or all(map(math.isfinite, inline.get_values())):
            super().print(printer)
            return
        printer.print_string(f' {{value = dense<"0x{inline.data.data.hex()}"> : ')
        printer.print_attribute(self.out.type)
        printer.print_string("} : () -> ")
        printer.print_attribute(self.out.type)

    def infer(self) -> list[Tensor]:
        result = self.chosen_result()
        inline = self.attributes.get("value")
        if (inline is None) == ("key" not in self.attributes):
            raise TypeRuleError("graph.constant has either a value or a key")
        if (
            isinstance(inline, DenseIntOrFPElementsAttr)
            and elements(result) > INLINE_ELEMENTS
            and not inline.is_splat()
        ):
            raise TypeRuleError(f"a constant of more than {INLINE_ELEMENTS} elements is kept in the weight store")
        return [result]

    def evaluate(self, *operands: Array) -> Array:
        raise TypeError("a constant's value comes from Constant.array")

    def cost(self) -> Cost:
        return Cost(0, 0)


def _dense(result: Tensor, array: Array) -> Attribute:
    flat: list[Any] = np.asarray(array).reshape(-1).tolist()
    if array.dtype.kind == "b":
        flat = [int(item) for item in flat]
    return DenseIntOrFPElementsAttr.from_list(result, flat)  # pyright: ignore


class Checked(GraphOp):
    """x, if ``holds`` is true when the model runs; if not, the run ends with ``message``.

    For what a model promises but cannot know before it runs, such as a shape that is fed to it. Whatever depends on the
    promise uses the result, so a promise nobody relies on is not checked.
    """

    name = "graph.checked"
    operand_names = ("x", "holds")
    holds_storage = True
    message = Text(doc="what a run says that breaks the promise: a sentence without its full stop")

    def infer(self) -> list[Tensor]:
        x, holds = (value.type for value in self.operands)
        require(element_of(self.operands[1]) == I1 and elements(holds) == 1, "a check reads one boolean")
        return [tensor(shape_of(x), element_of(self.operands[0]))]

    def evaluate(self, *operands: Array) -> Array:
        """Raises ValueError with the message."""
        if not operands[1].all():
            raise ValueError(f"{self.message}.")
        return operands[0]

    def fold(self) -> SSAValue | None:
        """A promise known to be kept: x."""
        holds = self.operands[1].owner
        value = holds.attributes.get("value") if isinstance(holds, Constant) else None
        kept = isinstance(value, DenseIntOrFPElementsAttr) and all(value.get_values())
        return self.operands[0] if kept else None

    def cost(self) -> Cost:
        return Cost(0, self.bytes_moved())


class Yield(GraphOp):
    """Ends a dispatch's body; its operands are the dispatch's results."""

    name = "graph.yield"
    operand_names = ("results",)
    holds_storage = True
    optional_operands = 1
    variadic = True
    traits = traits_def(IsTerminator())

    def infer(self) -> list[Tensor]:
        return []


def _touched(value: SSAValue) -> int:
    """Bytes of an input or result of a dispatch that are read or written."""
    users = [use.operation for use in value.uses]
    appends = [op for op in (value.owner, *users) if isinstance(op, Operation) and op.name == "graph.append"]
    if appends:
        return tensor_bytes(appends[0].operands[1].type) if isinstance(value.owner, Operation) else 0
    whole = tensor_bytes(value.type)
    if not users or any(op.name != "graph.slice" for op in users):
        return whole
    sliced = sum(tensor_bytes(op.results[0].type) for op in users)
    return whole if surely(sliced, ">", whole) else sliced


class Dispatch(GraphOp):
    """One fused kernel: its operands become the arguments of its body, ``graph.yield`` gives its results.

    ``kind`` names the root's schedule (map, contraction, convolution, window, reduction, normalization, attention,
    recurrence, gather ...); ``symbol`` is the kernel's name, made from the root's source node.
    """

    name = "graph.dispatch"
    operand_names = ("inputs",)
    holds_storage = True
    optional_operands = 1
    variadic = True
    traits = traits_def(IsolatedFromAbove(), SingleBlockImplicitTerminator(Yield), Pure())
    kind = Text(doc="schedule family of the root")
    symbol = Text(doc="kernel name")

    @classmethod
    def around(cls, inputs: Sequence[SSAValue], body: Block, *, kind: str, symbol: str, location: LocationAttr) -> Self:
        """A dispatch on ``inputs`` whose ``body`` has one argument per input and ends in a yield."""
        terminator = body.last_op
        assert isinstance(terminator, Yield)
        return cls.create(
            operands=list(inputs),
            result_types=[value.type for value in terminator.operands],
            attributes={"kind": StringAttr(kind), "symbol": StringAttr(symbol)},
            regions=[Region(body)],
            location=location,
        )

    @property
    def body(self) -> Block:
        return self.regions[0].block

    @property
    def terminator(self) -> Yield:
        last = self.body.last_op
        assert isinstance(last, Yield)
        return last

    def symbols(self) -> set[Symbol]:
        """The symbols that the extents and parameters inside are made of."""
        values = [*self.body.args, *(result for op in self.body.ops for result in op.results)]
        extents = [extent for value in values for extent in shape_of(value.type)]
        for op in self.body.ops:
            extents += [extent for name in getattr(op, "parameters", ()) for extent in numbers(getattr(op, name))]
        return {symbol for extent in extents for symbol in symbols_of(extent)}

    def infer(self) -> list[Tensor]:
        return [tensor_type(value) for value in self.terminator.operands]

    def verify_(self) -> None:
        super().verify_()
        if [arg.type for arg in self.body.args] != [value.type for value in self.operands]:
            raise VerifyException("a dispatch's body arguments have the types of its operands")

    def cost(self) -> Cost:
        """The flops of the body; bytes of inputs and results only, since what is inside stays in registers. Of what a
        session keeps, the rows that are read or written."""
        inner = [op.cost() for op in self.body.ops if isinstance(op, GraphOp) and not isinstance(op, Yield)]
        values = (*self.body.args, *self.terminator.operands)
        return Cost(sum(cost.flops for cost in inner), sum(map(_touched, values)))

    def print(self, printer: Printer) -> None:
        printer.print_string(f' "{self.kind}" @{_quoted(self.symbol)}(')
        pairs = list(zip(self.body.args, self.operands, strict=True))
        printer.enter_scope()

        def pair(item: tuple[SSAValue, SSAValue]) -> None:
            printer.print_ssa_value(item[0])
            printer.print_string(" = ")
            printer.print_ssa_value(item[1])
            printer.print_string(" : ")
            printer.print_attribute(item[1].type)

        printer.print_list(pairs, pair)
        printer.print_string(") ")
        printer.print_region(self.regions[0], print_entry_block_args=False)
        printer.exit_scope()

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        kind = parser.parse_str_literal()
        symbol = parser.parse_symbol_name().data

        def pair() -> tuple[Parser.Argument, SSAValue]:
            name = parser.parse_argument(expect_type=False)
            parser.parse_punctuation("=")
            unresolved = parser.parse_unresolved_operand()
            parser.parse_punctuation(":")
            value_type = parser.parse_type()
            return name.resolve(value_type), parser.resolve_operand(unresolved, value_type)

        pairs = parser.parse_comma_separated_list(parser.Delimiter.PAREN, pair)
        region = parser.parse_region([name for name, _ in pairs])
        terminator = region.block.last_op
        results = [value.type for value in terminator.operands] if isinstance(terminator, Operation) else []
        return cls.create(
            operands=[value for _, value in pairs],
            result_types=results,
            attributes={"kind": StringAttr(kind), "symbol": StringAttr(symbol)},
            regions=[region],
        )


def numbers(parameter: Any) -> Sequence[Any]:
    """The items of a parameter that is a list, or the parameter itself."""
    return cast("Sequence[Any]", parameter) if isinstance(parameter, tuple) else (parameter,)


def _quoted(symbol: str) -> str:
    return symbol if symbol.replace("_", "a").replace(".", "a").replace("$", "a").isalnum() else f'"{symbol}"'
