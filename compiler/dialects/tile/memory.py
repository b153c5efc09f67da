"""Ops that move register tiles between buffers and registers, and the kernel itself.

In: flat buffers, an offset in elements, and per-dimension strides. Out: register tiles. The one idea: a tile access
is affine (offset + sum of lane index times stride), with the valid part of each dimension stated, so that tails and
padding are a property of the access and not of control flow around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, MemRefType, StringAttr, VectorType, i64
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, MemoryReadEffect, MemoryWriteEffect, Pure, SymbolOpInterface

from penstock.compiler.dialects.declared import Float, Int, Ints, Text, Texts, TypeRuleError
from penstock.compiler.dialects.tile.base import TileOp, buffer, buffer_element, element, shape, with_shape
from penstock.compiler.dtypes import BF16, I1, I32, I64, INDEX, shape_of
from penstock.compiler.extents import Dim, Extent, quotient, surely

UNBOUNDED = 1 << 30


class Access(TileOp):
    """Base of load and store. ``strides`` has one entry per tile dimension, in elements (0 repeats, 1 is contiguous).

    Lane index i of dimension d is valid when ``lower[d] <= i < upper[d]`` (defaults: all) and, for the dimensions
    listed in ``limited``, also below the run-time limit given as an extra index operand (in that order). Invalid lanes
    are not touched in memory: loads give ``fill`` there, stores leave memory alone. A stride that depends on the sizes
    of the run is symbolic, and its value one more index operand, after the limits; the last dimension has none such.
    """

    strides = Ints(doc="elements between neighbours, per tile dimension")
    lower = Ints((), doc="first valid lane index per dimension")
    upper = Ints((), doc="end of the valid lane indices per dimension")
    limited = Ints((), doc="dimensions with a run-time limit operand")

    def symbolic_strides(self) -> tuple[int, ...]:
        """The dimensions whose stride is an operand."""
        return tuple(dim for dim, stride in enumerate(self.strides) if isinstance(stride, Dim))

    def check_access(self, tile: SSAValue, buffer: SSAValue, offset: SSAValue, extra: int) -> None:
        rank = len(shape(tile))
        symbolic = self.symbolic_strides()
        limits = extra - len(symbolic)
        if rank - 1 in symbolic:
            raise TypeRuleError(f"{self.name} has a stride known at compile time for the last dimension")
        if buffer_element(buffer) != element(tile) or offset.type != INDEX:
            raise TypeRuleError(f"{self.name} moves tiles of the buffer's element type at an index offset")
        if len(self.strides) != rank or len(self.limited) != limits:
            raise TypeRuleError(f"{self.name} needs one stride per tile dimension and one limit per limited dimension")
        if any(len(bound) not in (0, rank) for bound in (self.lower, self.upper)):
            raise TypeRuleError(f"{self.name} has bounds for all dimensions or none")


class Load(Access):
    """``%t = tile.load %buffer, %offset, %limits... {strides = [..]}``: a tile (a scalar at rank 0) from memory."""

    name = "tile.load"
    traits = traits_def(MemoryReadEffect())
    fill = Float(0.0, doc="value of invalid lanes (converted to the element type; may be -inf)")

    def check(self) -> None:
        self.check_access(self.results[0], self.operands[0], self.operands[1], len(self.operands) - 2)


class Store(Access):
    """``tile.store %tile, %buffer, %offset, %limits... {strides = [..]}``: a tile (or scalar) to memory."""

    name = "tile.store"
    traits = traits_def(MemoryWriteEffect())

    def check(self) -> None:
        self.check_access(self.operands[0], self.operands[1], self.operands[2], len(self.operands) - 3)


class Gather(TileOp):
    """``tile.gather %buffer, %indices[, %mask]``: lane i is buffer[indices[i]] (indices of type index), or ``fill``
    where the mask is off."""

    name = "tile.gather"
    traits = traits_def(MemoryReadEffect())
    fill = Float(0.0)

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        check_indices(cls.name, operands[1], operands[2:])
        return [with_shape(buffer_element(operands[0]), shape(operands[1]))]


class Scatter(TileOp):
    """``tile.scatter %tile, %buffer, %indices[, %mask]``: buffer[indices[i]] = lane i, lanes in order."""

    name = "tile.scatter"
    traits = traits_def(MemoryWriteEffect())

    def check(self) -> None:
        tile, buffer, indices, *mask = self.operands
        check_indices(self.name, indices, tuple(mask))
        if buffer_element(buffer) != element(tile) or shape(indices) != shape(tile):
            raise TypeRuleError("tile.scatter takes a tile of the buffer's element type and one index for each lane")


def check_indices(name: str, indices: SSAValue, mask: Sequence[SSAValue]) -> None:
    """Indices are of type index, and a mask has their shape. Raises TypeRuleError."""
    if element(indices) != INDEX or any(value.type != mask_type(indices) for value in mask):
        raise TypeRuleError(f"{name} takes indices of type index and a mask of their shape")


class Broadcast(TileOp):
    """A scalar, or a tile with dimensions of 1, repeated to the result's shape."""

    name = "tile.broadcast"
    traits = traits_def(Pure())

    def check(self) -> None:
        source, target = shape(self.operands[0]), shape(self.results[0])
        fits = not source or (
            len(source) == len(target) and all(a in (1, b) for a, b in zip(source, target, strict=True))
        )
        if not fits or element(self.operands[0]) != element(self.results[0]):
            raise TypeRuleError(f"tile.broadcast repeats dimensions of 1: {source} does not become {target}")


class Reshape(TileOp):
    """The same lanes in row-major order under another shape. Free where the last extent stays."""

    name = "tile.reshape"
    traits = traits_def(Pure())

    def check(self) -> None:
        source, target = self.operands[0], self.results[0]
        if math.prod(shape(source)) != math.prod(shape(target)) or element(source) != element(target):
            raise TypeRuleError("tile.reshape keeps the number of lanes and their type")


class Transpose(TileOp):
    """The last two dimensions of a tile exchanged."""

    name = "tile.transpose"
    traits = traits_def(Pure())

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        if len(shape(operands[0])) < 2:
            raise TypeRuleError("tile.transpose takes a tile of two dimensions or more")
        *outer, rows, columns = shape(operands[0])
        return [with_shape(element(operands[0]), (*outer, columns, rows))]


class Extract(TileOp):
    """The scalar at a static ``position`` of a tile."""

    name = "tile.extract"
    traits = traits_def(Pure())
    position = Ints()

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        extents, position = shape(operands[0]), parameters["position"]
        if len(position) != len(extents) or any(not 0 <= i < n for i, n in zip(position, extents, strict=True)):
            raise TypeRuleError(f"tile.extract has no lane {tuple(position)} in a tile of {extents}")
        return [element(operands[0])]


class Reduce(TileOp):
    """Lanes combined along ``dims``, which become 1, by ``kind``, in the order of a fixed tree."""

    name = "tile.reduce"
    traits = traits_def(Pure())
    kind = Text(None, "add", "mul", "max", "min", "maxu", "minu", "and", "or", "max_fast", "min_fast")
    dims = Ints()

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        dims = parameters["dims"]
        if any(not 0 <= dim < len(shape(operands[0])) for dim in dims):
            raise TypeRuleError(f"tile.reduce has no dimensions {tuple(dims)} in a tile of {shape(operands[0])}")
        extents = tuple(1 if d in dims else extent for d, extent in enumerate(shape(operands[0])))
        return [with_shape(element(operands[0]), extents)]


class Iota(TileOp):
    """Lane index along ``dim``, as index values, in a tile of the result's shape."""

    name = "tile.iota"
    traits = traits_def(Pure())
    dim = Int(0)

    def check(self) -> None:
        if element(self.results[0]) != INDEX or not 0 <= self.dim < len(shape(self.results[0])):
            raise TypeRuleError("tile.iota gives a tile of type index, numbered along one of its dimensions")


class Prefetch(TileOp):
    """``tile.prefetch %buffer, %offset``: a hint that the cache line will be read soon."""

    name = "tile.prefetch"
    traits = traits_def(MemoryReadEffect())
    locality = Int(3, doc="3 keeps in L1, 2 in L2")

    def check(self) -> None:
        buffer_element(self.operands[0])
        if self.operands[1].type != INDEX:
            raise TypeRuleError("tile.prefetch takes a buffer and an index")


class Words(TileOp):
    """``%w = tile.words %buffer``: the buffer of an even number of bf16, seen as half as many words of 32 bits, each of
    which holds a pair, the first number in its lower half. A view: the words are only read."""

    name = "tile.words"
    traits = traits_def(Pure())

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        pairs = quotient(shape_of(operands[0].type)[0], 2) if buffer_element(operands[0]) == BF16 else None
        if pairs is None:
            raise TypeRuleError(f"tile.words takes a buffer of an even number of bf16, not {operands[0].type}")
        return [buffer(pairs, I32)]


class Alloc(TileOp):
    """A buffer in the thread's scratch memory, alive for the whole kernel call; contents undefined at the start.

    ``shared`` buffers of a team kernel are the same memory for all its threads. A symbolic number of elements is given
    as an operand, too.
    """

    name = "tile.alloc"
    traits = traits_def(MemoryWriteEffect())
    shared = Int(0, doc="1: one for all threads that run the kernel together")

    @property
    def count(self) -> Extent:
        """Number of elements."""
        return shape_of(self.results[0].type)[0]

    def check(self) -> None:
        buffer_element(self.results[0])
        if [operand.type for operand in self.operands] != [INDEX] * isinstance(self.count, Dim):
            raise TypeRuleError("tile.alloc takes the number of its elements where that is symbolic")


class Take(TileOp):
    """``%unit = tile.take``: the next unit of the phase for this thread of a team kernel, or -1 when all units of the
    phase have been run, by whichever thread: what they wrote is then seen by all, and the next phase begins."""

    name = "tile.take"
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    @classmethod
    def infer(cls, operands: tuple[SSAValue, ...], parameters: dict[str, Any]) -> list[Attribute]:
        return [INDEX]


class Return(TileOp):
    """Ends a kernel."""

    name = "tile.return"
    traits = traits_def(IsTerminator())


class Kernel(TileOp):
    """One kernel: ``tile.kernel @name(%x: memref<..>, ...) units(%begin, %end) { ... }``.

    Runs the parallel units [%begin, %end) of 0 .. ``units``; units write disjoint memory. The last ``outputs`` buffers
    are written, the others are only read. Body arguments: the buffers, then %begin and %end. A kernel whose extents
    are symbolic reads the values of the symbols ``sizes``, in this order, from the last buffer before its outputs.

    A ``team`` kernel works in phases, and runs every unit once in each: its threads ``tile.take`` units, beginning with
    those of their ranges.
    """

    name = "tile.kernel"
    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface())
    sym_name = Text()
    units = Int(doc="number of parallel units")
    outputs = Int(1, doc="how many of the last buffers are written")
    sizes = Texts((), doc="symbols whose values the last buffer before the outputs holds")
    unit_cost = Float(0.0, doc="estimated nanoseconds one unit takes on one core")
    team = Int(0, doc="1: its units run in phases")
    cached = Int(0, doc="1: its code was in the kernel cache, and its body is left out")
    object = Text(optional=True, doc="key, in the weight store, of object code that takes the place of the body")
    entry = Text(optional=True, doc="the function of the object code")

    @classmethod
    def empty(
        cls, name: str, buffers: list[Attribute], *, outputs: int, sizes: Sequence[str] = (), location: Any = None
    ) -> Self:
        """A kernel with an empty body over ``buffers``; the builder fills it and sets ``units``."""
        body = Block(arg_types=[*buffers, INDEX, INDEX])
        return cls.create(
            attributes={
                "sym_name": StringAttr(name),
                "units": IntegerAttr(1, i64),
                "outputs": IntegerAttr(outputs, i64),
                **({"sizes": ArrayAttr([StringAttr(name) for name in sizes])} if sizes else {}),
            },
            regions=[Region(body)],
            location=location,
        )

    @property
    def body(self) -> Block:
        return self.regions[0].block

    @property
    def buffers(self) -> tuple[SSAValue, ...]:
        return tuple(self.body.args[:-2])

    def sizes_in(self, arrays: Sequence[Any]) -> dict[str, int]:
        """The values of the symbols, by name, in the arrays (or lists) the kernel is run on, one per buffer."""
        if not self.sizes:
            return {}
        values = arrays[len(self.buffers) - self.outputs - 1]
        return {name: int(value) for name, value in zip(self.sizes, values, strict=True)}

    def check(self) -> None:
        *buffers, begin, end = self.body.args
        if begin.type != INDEX or end.type != INDEX or not all(isinstance(b.type, MemRefType) for b in buffers):
            raise TypeRuleError("a kernel takes flat buffers, then the first and the last unit")
        for value in buffers:
            buffer_element(value)
        if not 0 <= self.outputs <= len(buffers) or surely(self.units, "<", 0):
            raise TypeRuleError(f"a kernel of {len(buffers)} buffers cannot write {self.outputs} of them")
        inputs = buffers[: len(buffers) - self.outputs]
        if self.sizes and (not inputs or inputs[-1].type != MemRefType(I64, [len(self.sizes)])):
            raise TypeRuleError("a kernel with sizes reads them from the last buffer before its outputs")

    def print(self, printer: Printer) -> None:
        printer.print_string(f" @{self.sym_name}(" if self.sym_name.isidentifier() else f' @"{self.sym_name}"(')
        *buffers, begin, end = self.body.args

        def argument(value: SSAValue) -> None:
            printer.print_ssa_value(value)
            printer.print_string(": ")
            printer.print_attribute(value.type)

        printer.print_list(buffers, argument)
        printer.print_string(") units(")
        printer.print_list([begin, end], printer.print_ssa_value)
        units = f'"{self.units}"' if isinstance(self.units, Dim) else str(self.units)
        printer.print_string(f" of {units})")
        default = {name: parameter.default for name, parameter in self.parameters.items()}
        extra = {
            name: value
            for name, value in self.attributes.items()
            if name not in ("sym_name", "units") and (name not in default or getattr(self, name) != default[name])
        }
        printer.print_op_attributes(extra, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.regions[0], print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        name = parser.parse_symbol_name()
        arguments = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_argument)
        parser.parse_keyword("units")
        parser.parse_punctuation("(")
        bounds = [parser.parse_argument(expect_type=False).resolve(INDEX)]
        parser.parse_punctuation(",")
        bounds.append(parser.parse_argument(expect_type=False).resolve(INDEX))
        parser.parse_keyword("of")
        text = parser.parse_optional_str_literal()
        units: Attribute = IntegerAttr(parser.parse_integer(), i64) if text is None else StringAttr(text)
        parser.parse_punctuation(")")
        extra = parser.parse_optional_attr_dict_with_keyword()
        region = parser.parse_region([*arguments, *bounds])  # pyright: ignore[reportArgumentType]
        attributes: dict[str, Attribute] = {"sym_name": name, "units": units}
        return cls.create(attributes={**attributes, **(extra.data if extra else {})}, regions=[region])


def mask_type(value: SSAValue) -> Attribute:
    """The mask type that fits a tile."""
    return VectorType(I1, list(shape(value))) if shape(value) else I1
