"""The ops of a plan: places (input, output, weight, sizes, buffer, view) and commands (dispatch, copy, check, bind).

In: memory by name. Out: what to run on it, in order. The one idea: places are values and commands name them, so the
text reads like a program, while every place has an address: a space (this run's arena, the mapped weights, a caller's
input or output) and a byte offset in it. Buffers of a program with symbols are placed when their sizes are known::

    plan.program @main levels ["x86-64-v4", "x86-64-v3"] arena 2048 {
      %x = plan.input {index = 0, called = "x"} : () -> memref<1x784xf32>
      %w = plan.weight {key = "fc1.weight#7d51c2a9", offset = 0} : () -> memref<8x784x64xf32>
      %h = plan.buffer {offset = 0, lives = [0, 1]} : () -> memref<1x512xf32>
      plan.dispatch @fc1(%x : memref<1x784xf32>, %w : ...) -> (%h : ...) units [8, 8] grain [1, 1] flops ... bytes ...
      ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, NoTerminator, SymbolOpInterface

from penstock.compiler.dialects.declared import Int, Ints, Text, Texts, TypeRuleError
from penstock.compiler.dialects.plan.base import PlanOp, memory, memory_bytes, memory_of
from penstock.compiler.dtypes import I1, I64
from penstock.compiler.extent_text import parse
from penstock.compiler.extents import Dim, Extent, Symbol, surely, surely_differ
from penstock.compiler.specialise import lone_symbol

if TYPE_CHECKING:
    from xdsl.dialects.builtin import LocationAttr

UNPLACED = -1


class Place(PlanOp):
    """Base of the ops whose result is memory."""

    def check(self) -> None:
        if len(self.results) != 1:
            raise TypeRuleError(f"{self.name} has one result")


class Input(Place):
    """Memory of the caller's that is read: the model's input number ``index``."""

    name = "plan.input"
    index = Int(doc="position among the model's inputs")
    called = Text(doc="the input's name in the model")


class Output(Place):
    """Memory of the caller's that is written: the model's output number ``index``.

    One that a session keeps from run to run is the memory of an input: what a run does not write is what it was."""

    name = "plan.output"
    index = Int(doc="position among the model's outputs")
    called = Text(doc="the output's name in the model")
    keeps = Int(UNPLACED, doc="position of the input that is the same memory, which the session keeps")
    axis = Int(0, doc="of what is kept: the axis along which it grows")


class Weight(Place):
    """A constant, mapped from the artifact; ``key`` is its key in the weight store."""

    name = "plan.weight"
    key = Text(doc="key in the weight store")
    offset = Int(UNPLACED, doc="bytes from the start of the weights")


class Buffer(Place):
    """Memory in the arena, needed from command ``lives[0]`` to command ``lives[1]``; others may use it before and
    after."""

    name = "plan.buffer"
    offset = Int(UNPLACED, doc="bytes from the start of the arena")
    lives = Ints(optional=True, doc="the first and the last command that touch it")


class Sizes(Place):
    """The sizes of the run, one i64 for each of ``symbols``: what kernels over symbolic extents read."""

    name = "plan.sizes"
    symbols = Texts(doc="names of symbols of the program")

    def check(self) -> None:
        super().check()
        if memory_of(self.out) != memory((len(self.symbols),), I64):
            raise TypeRuleError(f"the sizes of {len(self.symbols)} symbols are as many i64, not {self.out.type}")


class View(Place):
    """Part of other memory, or all of it in another shape. Takes no time and no memory."""

    name = "plan.view"
    offset = Int(0, doc="bytes from the start of the operand")

    def check(self) -> None:
        super().check()
        (base,) = self.operands
        end = self.offset + memory_bytes(self.out)
        if surely(self.offset, "<", 0) or surely(end, ">", memory_bytes(base)):
            raise TypeRuleError(f"a view of {memory_bytes(self.out)} bytes at {self.offset} leaves its operand")


class Command(PlanOp):
    """Base of what the runtime executes: operands are memory that is read, then memory that is written."""

    @property
    def reads(self) -> Sequence[SSAValue]:
        """The operands that are read."""
        raise NotImplementedError(self.name)

    @property
    def writes(self) -> Sequence[SSAValue]:
        """The operands that are written."""
        return list(self.operands)[len(self.reads) :]

    @property
    def guards(self) -> Sequence[tuple[SSAValue, bool]]:
        """Booleans, and what each must be, or else the command is left out."""
        return ()


class Copy(Command):
    """Copies the first operand's bytes to the second."""

    name = "plan.copy"

    @property
    def reads(self) -> Sequence[SSAValue]:
        return list(self.operands)[:1]

    def check(self) -> None:
        source, target = self.operands
        if surely_differ(memory_bytes(source), memory_bytes(target)):
            raise TypeRuleError("a copy takes memory and writes memory of the same size")


class Check(Command):
    """Ends the run with ``message`` unless the boolean that it reads first is true.

    The second operand is the memory that is right only if so: a view of it that just those who rely on the check read.
    ``outputs`` are the model's outputs that rely on it.
    """

    name = "plan.check"
    message = Text(doc="a sentence without its full stop")
    outputs = Ints(optional=True, doc="positions of the outputs that must not be given unless it holds")

    @property
    def reads(self) -> Sequence[SSAValue]:
        return list(self.operands)[:1]

    @property
    def writes(self) -> Sequence[SSAValue]:
        return ()

    def check(self) -> None:
        if not 1 <= len(self.operands) <= 2:
            raise TypeRuleError("a check reads one boolean, and has at most one memory that relies on it")
        holds = self.operands[0]
        if memory_of(holds).element_type != I1 or memory_bytes(holds) != 1:
            raise TypeRuleError("a check reads one boolean")


class Bind(Command):
    """Reads how many there are, one i64, of what a kernel has counted. From here on that is the value of the counted
    symbol in ``extent``, if it has none yet; in any case it must be what ``extent`` then is."""

    name = "plan.bind"
    extent = Int(doc="what has been counted")

    @property
    def reads(self) -> Sequence[SSAValue]:
        return list(self.operands)

    def check(self) -> None:
        (count,) = self.operands
        if memory_of(count) != memory((1,), I64):
            raise TypeRuleError("a bind reads one i64")


class Dispatch(Command):
    """Runs a kernel; the last ``outputs`` operands are written.

    ``units`` and ``grain`` have one number per level of the program: the kernel's parallel units, and the fewest of
    them worth handing to one more thread; ``team`` is 1 for a level where the kernel works in phases. ``flops`` and
    ``bytes`` are the work of one execution. The kernel does not run unless the booleans that come last among the
    operands are as ``when`` says: nobody reads its results then.
    """

    name = "plan.dispatch"
    kernel = Text(doc="symbol of the kernel, the same for every level")
    outputs = Int(doc="how many of the last operands are written")
    units = Ints(doc="parallel units, per level")
    grain = Ints(doc="fewest units worth one more thread, per level")
    team = Ints((), doc="per level 1 if the kernel's units run in phases; none: no kernel's do")
    flops = Int(0, doc="operations, a multiply-add counts two")
    bytes = Int(0, doc="bytes read and written")
    when = Ints((), doc="1 or 0 for each of the last operands: what these booleans must be for it to run")

    @property
    def _buffers(self) -> list[SSAValue]:
        return list(self.operands)[: len(self.operands) - len(self.when)]

    @property
    def reads(self) -> Sequence[SSAValue]:
        return self._buffers[: len(self._buffers) - self.outputs]

    @property
    def writes(self) -> Sequence[SSAValue]:
        return self._buffers[len(self._buffers) - self.outputs :]

    @property
    def guards(self) -> Sequence[tuple[SSAValue, bool]]:
        conditions = list(self.operands)[len(self._buffers) :]
        return [(value, bool(holds)) for value, holds in zip(conditions, self.when, strict=True)]

    def check(self) -> None:
        if any(memory_of(value).element_type != I1 or memory_bytes(value) != 1 for value, _ in self.guards):
            raise TypeRuleError("a dispatch is guarded by single booleans")
        if not set(self.when) <= {0, 1}:
            raise TypeRuleError("a guard is 1 or 0")
        if not 0 < self.outputs <= len(self._buffers):
            raise TypeRuleError(f"a kernel on {len(self.operands)} buffers cannot write {self.outputs}")
        negative = any(surely(units, "<", 0) for units in self.units)
        if len(self.units) != len(self.grain) or min((*self.grain, 1)) < 1 or negative:
            raise TypeRuleError("a dispatch has units (not negative) and a grain (positive) for every level")
        if self.team and (len(self.team) != len(self.units) or not set(self.team) <= {0, 1}):
            raise TypeRuleError("a kernel is a team's (1) or not (0), for every level")

    def print(self, printer: Printer) -> None:
        def typed(value: SSAValue) -> None:
            printer.print_ssa_value(value)
            printer.print_string(" : ")
            printer.print_attribute(value.type)

        printer.print_string(f" {_symbol(self.kernel)}(")
        printer.print_list(self.reads, typed)
        printer.print_string(") -> (")
        printer.print_list(self.writes, typed)
        printer.print_string(f") units [{', '.join(map(_quoted, self.units))}] grain {list(self.grain)}")
        if self.team:
            printer.print_string(f" team {list(self.team)}")
        printer.print_string(f" flops {_quoted(self.flops)} bytes {_quoted(self.bytes)}")
        if self.when:

            def guard(item: tuple[SSAValue, bool]) -> None:
                printer.print_string("" if item[1] else "not ")
                typed(item[0])

            printer.print_string(" when [")
            printer.print_list(self.guards, guard)
            printer.print_string("]")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        def typed() -> SSAValue:
            unresolved = parser.parse_unresolved_operand()
            parser.parse_punctuation(":")
            return parser.resolve_operand(unresolved, parser.parse_type())

        kernel = parser.parse_symbol_name().data
        reads = parser.parse_comma_separated_list(parser.Delimiter.PAREN, typed)
        parser.parse_punctuation("->")
        writes = parser.parse_comma_separated_list(parser.Delimiter.PAREN, typed)
        parser.parse_keyword("units")
        units = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_extent(parser))
        parser.parse_keyword("grain")
        grain = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
        in_phases = parser.parse_optional_keyword("team") is not None
        team = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer) if in_phases else []
        parser.parse_keyword("flops")
        flops = _parse_extent(parser)
        parser.parse_keyword("bytes")
        moved = _parse_extent(parser)

        def guard() -> tuple[bool, SSAValue]:
            return parser.parse_optional_keyword("not") is None, typed()

        guarded = parser.parse_optional_keyword("when") is not None
        guards = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, guard) if guarded else []
        return cls.build(
            *reads,
            *writes,
            *(value for _, value in guards),
            kernel=kernel,
            outputs=len(writes),
            units=units,
            grain=grain,
            team=team,
            flops=flops,
            bytes=moved,
            when=[int(holds) for holds, _ in guards],
        )


class Program(PlanOp):
    """A whole plan: places and commands, in order. ``levels`` are the instruction set levels there is code for, each a
    module beside the program; ``arena`` is the size in bytes of the memory that intermediate values share.

    ``symbols`` are what its extents are made of, each with its range, in the order of a run's sizes; ``equal`` are
    pairs of extents that sizes must make equal. The last symbols may be *counted*: known once a ``plan.bind`` has read
    them, in their order, and never above the extents ``counted``. With symbols, ``arena`` is a bound: the sum of all
    buffers. Where a session keeps tensors, the symbol ``length`` is how many rows they have before a run, and ``grown``
    how many after it: at most as many as the symbol may be.
    """

    name = "plan.program"
    traits = traits_def(NoTerminator(), IsolatedFromAbove(), SymbolOpInterface())
    sym_name = Text()
    levels = Texts(doc="instruction set levels, best first")
    arena = Int(0, doc="bytes of the arena")
    symbols = Texts((), doc="symbols with their ranges")
    equal = Texts((), doc="extents that must be equal, as in 'past + 1 = total'")
    counted = Texts((), doc="the most that each of the last symbols can be")
    length = Text("", doc="the symbol that is how many rows a session keeps")
    grown = Int(0, doc="how many rows it keeps after a run")

    @classmethod
    def empty(cls, name: str, levels: Sequence[str], location: LocationAttr | None = None) -> Self:
        """A program without places and commands."""
        attributes = cls.encode_parameters({"sym_name": name, "levels": tuple(levels), "arena": 0})
        return cls.create(attributes=attributes, regions=[Region(Block())], location=location)

    @property
    def body(self) -> Block:
        return self.regions[0].block

    def symbol_table(self) -> list[Symbol]:
        """The symbols in the order of a run's sizes. Raises TypeRuleError for a text that is none."""
        found: list[Symbol] = []
        for text in self.symbols:
            symbol = lone_symbol(_extent_of(text))
            if symbol is None:
                raise TypeRuleError(f"'{text}' is no symbol")
            found.append(symbol)
        return found

    def counted_symbols(self) -> dict[Symbol, Extent]:
        """The symbols that are counted, in the order in which they become known, and the most that each can be. Raises
        TypeRuleError for texts that are none."""
        table, bounds = self.symbol_table(), [_extent_of(text) for text in self.counted]
        if len(bounds) > len(table):
            raise TypeRuleError(f"{len(bounds)} of {len(table)} symbols cannot be counted")
        return dict(zip(table[len(table) - len(bounds) :], bounds, strict=True))

    def equalities(self) -> list[tuple[Extent, Extent]]:
        """The pairs of extents that sizes must make equal. Raises TypeRuleError for a text that is none."""
        sides = [text.split(" = ") for text in self.equal]
        if any(len(pair) != 2 for pair in sides):
            raise TypeRuleError(f"{list(self.equal)} does not say which extents are equal, as in 'past + 1 = total'")
        return [(_extent_of(left), _extent_of(right)) for left, right in sides]

    def length_symbol(self) -> Symbol | None:
        """The symbol that is how many rows a session keeps; None where it keeps nothing. Raises TypeRuleError."""
        if not self.length:
            return None
        symbol = lone_symbol(_extent_of(self.length))
        if symbol is None or symbol not in self.symbol_table() or symbol in self.counted_symbols():
            raise TypeRuleError(f"'{self.length}' is no symbol of the program that can be kept")
        return symbol

    def kept(self) -> list[Output]:
        """The outputs that a session keeps, in order."""
        return [op for op in self.body.ops if isinstance(op, Output) and op.keeps != UNPLACED]

    def commands(self) -> Iterator[Command]:
        """The commands in order."""
        return (op for op in self.body.ops if isinstance(op, Command))

    def places(self, kind: type[Place]) -> list[Place]:
        """The places of one kind, in order."""
        return [op for op in self.body.ops if isinstance(op, kind)]

    def check(self) -> None:
        from penstock.compiler.dialects.plan.memory import check_program

        check_program(self)

    def print(self, printer: Printer) -> None:
        levels = ", ".join(f'"{level}"' for level in self.levels)
        printer.print_string(f" {_symbol(self.sym_name)} levels [{levels}] ")
        for keyword, texts in (("symbols", self.symbols), ("counted", self.counted), ("equal", self.equal)):
            if texts:
                printer.print_string(f"{keyword} [{', '.join(_string(text) for text in texts)}] ")
        if self.length:
            printer.print_string(f"length {_string(self.length)} grown {_quoted(self.grown)} ")
        printer.print_string(f"arena {_quoted(self.arena)} ")
        printer.print_region(self.regions[0], print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        name = parser.parse_symbol_name()
        parser.parse_keyword("levels")
        levels = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_str_literal)
        texts: dict[str, Attribute] = {}
        for parameter in (cls.symbols, cls.counted, cls.equal):
            if parser.parse_optional_keyword(parameter.name) is not None:
                listed = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_str_literal)
                texts[parameter.name] = parameter.encode(tuple(listed))
        if parser.parse_optional_keyword("length") is not None:
            texts["length"] = cls.length.encode(parser.parse_str_literal())
            parser.parse_keyword("grown")
            texts["grown"] = cls.grown.encode(_parse_extent(parser))
        parser.parse_keyword("arena")
        arena = _parse_extent(parser)
        region = parser.parse_region([])
        if not region.blocks:
            region.add_block(Block())
        attributes: dict[str, Attribute] = {
            "sym_name": name,
            "levels": cls.levels.encode(levels),
            "arena": cls.arena.encode(arena),
            **texts,
        }
        return cls.create(attributes=attributes, regions=[region])


def base_of(value: SSAValue) -> tuple[Place, Extent]:
    """The place that ``value`` is memory of, views resolved, and the byte offset in it. Raises TypeRuleError."""
    offset: Extent = 0
    owner = value.owner
    while isinstance(owner, View):
        offset += owner.offset
        owner = owner.operands[0].owner
    if not isinstance(owner, Place):
        raise TypeRuleError(f"memory comes from a place of the program, not from {_owner_name(owner)}")
    return owner, offset


def _owner_name(owner: Operation | Block) -> str:
    return owner.name if isinstance(owner, Operation) else "a block argument"


def _quoted(extent: Extent) -> str:
    return _string(str(extent)) if isinstance(extent, Dim) else str(extent)


def _string(text: str) -> str:
    return str(StringAttr(text))


def _parse_extent(parser: Parser) -> Extent:
    """A number, or the quoted text of a symbolic extent."""
    position = parser.pos
    text = parser.parse_optional_str_literal()
    if text is None:
        return parser.parse_integer()
    try:
        return parse(text)
    except ValueError as error:
        parser.raise_error(str(error), position)


def _extent_of(text: str) -> Extent:
    try:
        return parse(text)
    except ValueError as error:
        raise TypeRuleError(str(error)) from None


def _symbol(name: str) -> str:
    return f"@{name}" if name.replace(".", "_").isidentifier() else f"@{StringAttr(name)}"
