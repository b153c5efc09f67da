"""The plan: everything the runtime needs to know to execute a compiled model.

In: what the plan phase decided (order of commands, static offsets, sizes). Out: plain records that
:mod:`~penstock.compiler.artifact.plan_format` turns into ``plan.bin``. The one idea: a command names memory as
(space, byte offset, byte size), so the runtime only adds base addresses. Where a model has symbols these numbers are
extents, and the runtime places the buffers of the arena once it knows the sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from penstock.compiler.extents import (
    Extent,
    Symbol,
    is_static,
    largest,
    surely,
    surely_differ,
    symbols_of,
    told_symbol,
)
from penstock.compiler.limits import at_most

ALIGNMENT = 64
"""Every weight, arena block and scratch area starts at a multiple of this many bytes (a cache line, a zmm register)."""

ELEMENT_BYTES = {
    "f16": 2, "bf16": 2, "f32": 4, "f64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8,
    "ui8": 1, "ui16": 2, "ui32": 4, "ui64": 8, "i1": 1,
    "f8e4m3fn": 1, "f8e4m3fnuz": 1, "f8e5m2": 1, "f8e5m2fnuz": 1, "f8e8m0": 1, "f4e2m1": 1,
    "i4": 1, "ui4": 1, "i2": 1, "ui2": 1,
}  # fmt: skip
"""Bytes per element of each storable type, by the IR's names; a boolean takes one byte,
and so do numbers of fewer than 8 bits."""


class Dtype(IntEnum):
    """Element types on disk and in the C ABI."""

    F16 = 1
    BF16 = 2
    F32 = 3
    F64 = 4
    I8 = 5
    I16 = 6
    I32 = 7
    I64 = 8
    UI8 = 9
    UI16 = 10
    UI32 = 11
    UI64 = 12
    I1 = 13
    F8E4M3FN = 14
    F8E4M3FNUZ = 15
    F8E5M2 = 16
    F8E5M2FNUZ = 17
    F8E8M0 = 18
    F4E2M1 = 19
    I4 = 20
    UI4 = 21
    I2 = 22
    UI2 = 23


MAX_GUARDS = 32
"""Of one command: their senses are bits of one number."""

MAX_LOOPS = 16
"""In each other."""


class PlanError(Exception):
    """The compiler built a plan that cannot be executed: an internal error, never the user's."""


class Space(IntEnum):
    """Where an argument lives: this run's arena, the mapped weights, input ``index`` or output ``index``, the values of
    the symbols listed in ``Plan.sizes`` (i64 each), buffer ``index`` that the runtime places in the arena."""

    ARENA = 0
    WEIGHTS = 1
    INPUT = 2
    OUTPUT = 3
    SIZES = 4
    BUFFER = 5


class CommandKind(IntEnum):
    """What a command does. Send, receive and fence get their numbers when a second device exists."""

    DISPATCH = 0
    COPY = 1
    CHECK = 2
    BIND = 3
    LOOP = 4
    NEXT = 5


@dataclass(frozen=True)
class TensorInfo:
    """A model input or output: ``dtype`` by IR name (``f32``), ``shape`` in elements, row-major."""

    name: str
    dtype: str
    shape: tuple[Extent, ...]

    @property
    def bytes(self) -> Extent:
        """Size in bytes."""
        size: Extent = ELEMENT_BYTES[self.dtype]
        for extent in self.shape:
            size *= extent
        return size


class Order(IntEnum):
    """Which of several parts of memory a round of a loop has: part i, the i-th from the end; of two, i mod 2 (``NOW``)
    or the other one."""

    FORWARD = 0
    BACKWARD = 1
    NOW = 2
    NEXT = 3


@dataclass(frozen=True)
class Move:
    """Memory moves with the rounds of the loop that command ``loop`` begins: there are ``turns`` parts, ``step`` bytes
    apart."""

    loop: int
    order: Order
    step: Extent
    turns: Extent


@dataclass(frozen=True)
class BufferRange:
    """``bytes`` bytes at ``offset`` of a space; ``index`` picks the input, output or buffer (0 for other spaces).
    ``moves``: how far from there a round of a loop finds them."""

    space: Space
    offset: Extent
    bytes: Extent
    index: int = 0
    moves: tuple[Move, ...] = ()

    @property
    def reach(self) -> Extent:
        """Bytes from the start of the space to the end of the last part."""
        return self.offset + self.bytes + sum(largest(move.turns - 1, 0) * move.step for move in self.moves)


@dataclass(frozen=True)
class ArenaBuffer:
    """``bytes`` of the arena that the runtime places, needed by the commands ``first`` .. ``last``."""

    bytes: Extent
    first: int
    last: int


@dataclass(frozen=True)
class WeightSlot:
    """Where one weight lies in ``weights.bin``."""

    name: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class Command:
    """One step: dispatch a kernel over ``units`` parallel units, copy ``reads[0]`` to ``writes[0]``, end the run with
    ``message`` unless the boolean ``reads[0]`` is true, or bind: read from ``reads[0]``, an i64, what ``units`` is.

    A loop reads its trip count (i64) and whether to begin (i1), and writes the number of the round (i64); command
    ``kernel`` ends it, which reads whether there is another round and writes how many there were. There are ``units``
    rounds at most.

    The kernel's buffers are ``reads`` then ``writes``. ``grain`` is the fewest units worth handing to one more thread
    (cost model): below ``2 * grain`` units the command stays serial. ``source`` names the source nodes, for profiling;
    ``flops`` and ``bytes`` are the work of one execution. ``guards``: single booleans, and what each must be, or else
    the command is left out. ``team``: the kernel runs its units in phases; it is called once by each of its threads,
    which take the units, while others are called for any ranges that together are all units.
    """

    kind: CommandKind
    reads: tuple[BufferRange, ...]
    writes: tuple[BufferRange, ...]
    kernel: int = 0
    units: Extent = 1
    grain: int = 1
    source: str = ""
    flops: Extent = 0
    bytes: Extent = 0
    message: str = ""
    guards: tuple[tuple[BufferRange, bool], ...] = ()
    team: bool = False

    @property
    def arguments(self) -> tuple[BufferRange, ...]:
        """The kernel's buffers in order."""
        return self.reads + self.writes


@dataclass
class Plan:
    """A whole executable plan. ``kernels`` are symbol names: each image must define every one of them.

    ``scratch_bytes_per_thread`` is what the largest ``tile.alloc`` user needs; ``arena_bytes`` covers all intermediate
    values. Several commands may name one kernel.

    A plan with ``symbols`` has ``buffers`` instead of addresses in the arena, ``arena_bytes`` is then a bound, and
    ``sizes`` are the numbers of the symbols whose values the space SIZES holds, one i64 after the other. Sizes are
    refused unless they make the pairs of extents in ``equal`` equal. The last symbols are counted, if there are
    ``counted``: a bind gives them their values, each at most the extent listed here. Memory is as large as it may
    become with them: ``buffers``, ``arena_bytes``, scratch, and for each output ``rooms``.
    """

    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    kernels: Sequence[str]
    commands: Sequence[Command]
    weights: Sequence[WeightSlot] = field(default_factory=tuple)
    arena_bytes: Extent = 0
    scratch_bytes_per_thread: Extent = 0
    symbols: Sequence[Symbol] = field(default_factory=tuple)
    buffers: Sequence[ArenaBuffer] = field(default_factory=tuple)
    sizes: Sequence[int] = field(default_factory=tuple)
    equal: Sequence[tuple[Extent, Extent]] = field(default_factory=tuple)
    needs: Sequence[frozenset[int]] = field(default_factory=tuple)
    """For each output, the numbers of the commands that compute it; empty: every output needs all commands."""
    counted: Sequence[Extent] = field(default_factory=tuple)
    kept: int = 0
    """How many of the last inputs are the memory of as many last outputs, which a session keeps from run to run."""
    axes: Sequence[int] = field(default_factory=tuple)
    """Of each of them, the axis along which it grows; for the manifest, runs do not need it."""
    length: int = 0
    """The number of the symbol that is how many rows they have before a run, if there are any."""
    grown: Extent = 0
    """How many they have after it."""

    def counted_symbols(self) -> dict[Symbol, Extent]:
        """The symbols that are counted, in the order in which they become known, and the most that each can be."""
        first = len(self.symbols) - len(self.counted)
        if first < 0:
            raise PlanError(f"{len(self.counted)} of {len(self.symbols)} symbols cannot be counted")
        return dict(zip(self.symbols[first:], self.counted, strict=True))

    @property
    def rooms(self) -> tuple[Extent, ...]:
        """For each output, the bytes that memory for it must have."""
        counted = self.counted_symbols()
        return tuple(at_most(tensor.bytes, counted) for tensor in self.outputs)

    @property
    def weights_bytes(self) -> int:
        """Size of ``weights.bin``."""
        return max((slot.offset + slot.bytes for slot in self.weights), default=0)

    def space_bytes(self, space: Space, index: int) -> Extent:
        """Size of a space. Raises PlanError for an input, output or buffer that does not exist."""
        if space in (Space.INPUT, Space.OUTPUT):
            tensors = self.inputs if space == Space.INPUT else self.outputs
            if not 0 <= index < len(tensors):
                raise PlanError(f"there is no {space.name.lower()} {index}")
            return tensors[index].bytes if space == Space.INPUT else self.rooms[index]
        if space == Space.BUFFER:
            if not 0 <= index < len(self.buffers):
                raise PlanError(f"there is no buffer {index}")
            return self.buffers[index].bytes
        if index:
            raise PlanError(f"the {space.name.lower()} has no index {index}")
        if space == Space.SIZES:
            return 8 * len(self.sizes)
        if space == Space.ARENA and (self.buffers or self.symbols):
            return 0
        return self.arena_bytes if space == Space.ARENA else self.weights_bytes

    def validate(self) -> None:
        """Raise PlanError unless the runtime will accept this plan (it checks the same things again at load, and what
        depends on sizes when they are known)."""
        for role, tensors in (("input", self.inputs), ("output", self.outputs)):
            names = [tensor.name for tensor in tensors]
            if len(set(names)) != len(names):
                raise PlanError(f"two {role}s have one name: {names}")
            for tensor in tensors:
                if tensor.dtype not in ELEMENT_BYTES or any(surely(extent, "<", 0) for extent in tensor.shape):
                    raise PlanError(f"{role} {tensor.name} has dtype {tensor.dtype} and shape {tensor.shape}")
        everything = range(len(self.commands))
        if len(self.needs) not in (0, len(self.outputs)) or any(n not in everything for one in self.needs for n in one):
            raise PlanError("what the outputs need is not a set of commands for each")
        if len(set(self.kernels)) != len(self.kernels):
            raise PlanError("two kernels have one name")
        self._validate_symbols()
        self._validate_kept()
        self._validate_counted()
        self._validate_loops()
        end = 0
        for slot in self.weights:
            if slot.offset < end or slot.offset % ALIGNMENT:
                raise PlanError(f"weight {slot.name} at {slot.offset} is misaligned or overlaps the one before")
            end = slot.offset + slot.bytes
        for number, command in enumerate(self.commands):
            try:
                self._validate_command(number, command)
            except PlanError as error:
                raise PlanError(f"command {number} ({command.source}): {error}") from None

    def _validate_symbols(self) -> None:
        names = [symbol.name for symbol in self.symbols]
        if len(set(names)) != len(names) or any(not 0 <= symbol.low <= symbol.high for symbol in self.symbols):
            raise PlanError(f"the symbols {', '.join(map(str, self.symbols))} have one name twice or an empty range")
        if any(not 0 <= number < len(names) for number in self.sizes):
            raise PlanError("a size is that of no symbol")
        unknown = {symbol for extent in self.extents() for symbol in symbols_of(extent)} - set(self.symbols)
        if unknown:
            raise PlanError(f"the extents have symbols that the plan does not list: {', '.join(map(str, unknown))}")

    def _validate_kept(self) -> None:
        """Inputs and outputs that are one memory are alike, and their size is a number."""
        if not 0 <= self.kept <= min(len(self.inputs), len(self.outputs)):
            raise PlanError(f"{self.kept} of {len(self.inputs)} inputs cannot be kept")
        if self.kept and not 0 <= self.length < len(self.symbols) - len(self.counted):
            raise PlanError("the rows that are kept are those of no symbol")
        if self.kept and symbols_of(self.grown) & self.counted_symbols().keys():
            raise PlanError(f"how many rows are kept depends on {self.grown}, which is counted")
        for number in range(1, self.kept + 1):
            before, after = self.inputs[-number], self.outputs[-number]
            if (before.dtype, before.shape) != (after.dtype, after.shape) or not is_static(before.shape):
                raise PlanError(f"{before} and {after} are not one memory")

    def _validate_counted(self) -> None:
        """Counted symbols are bound in their order and known before they are needed; memory depends on none."""
        waiting = list(self.counted_symbols())
        sizes = (*self.counted, *(buffer.bytes for buffer in self.buffers), self.arena_bytes)
        for extent in (*sizes, self.scratch_bytes_per_thread, *(e for tensor in self.inputs for e in tensor.shape)):
            if symbols_of(extent) & set(waiting):
                raise PlanError(f"the size {extent} has to be known before anything is counted")
        for number, command in enumerate(self.commands):
            if command.kind == CommandKind.BIND and waiting and told_symbol(command.units) == waiting[0]:
                waiting.pop(0)
            # What is written may be as large as its place until it has been counted.
            known = [command.units, *(r.bytes for r in command.reads), *(r.offset for r in command.arguments)]
            known += [extent for r in command.arguments for move in r.moves for extent in (move.step, move.turns)]
            unknown = [extent for extent in known if symbols_of(extent) & set(waiting)]
            reads_sizes = any(self._uncounted(r, len(waiting)) for r in command.reads)
            if unknown or reads_sizes:
                raise PlanError(f"command {number} ({command.source}) depends on what has not been counted yet")
        if waiting:
            raise PlanError(f"nothing counts {', '.join(map(str, waiting))}")

    def _validate_loops(self) -> None:
        """Loops nest, each with its end, and nothing is counted in them; what moves does so with a loop."""
        begun: list[int] = []
        for number, command in enumerate(self.commands):
            if command.kind == CommandKind.LOOP:
                begun.append(number)
                partner = self.commands[command.kernel : command.kernel + 1]
                if [(p.kind, p.kernel) for p in partner] != [(CommandKind.NEXT, number)] or len(begun) > MAX_LOOPS:
                    raise PlanError(f"the loop at command {number} has no end")
            elif command.kind == CommandKind.NEXT and (not begun or begun.pop() != command.kernel):
                raise PlanError(f"command {number} ends no loop")
            elif command.kind == CommandKind.BIND and begun:
                raise PlanError(f"command {number} counts in a loop")
            for argument in (*command.arguments, *(condition for condition, _ in command.guards)):
                for move in argument.moves:
                    if not any(c.kind == CommandKind.LOOP for c in self.commands[move.loop : move.loop + 1]):
                        raise PlanError(f"command {number} moves with no loop")
                    if move.order in (Order.NOW, Order.NEXT) and move.turns != 2:
                        raise PlanError(f"command {number} has a value in {move.turns} places")
        if begun:
            raise PlanError("a loop does not end")

    def _uncounted(self, read: BufferRange, waiting: int) -> bool:
        """Whether sizes are read among which there is one of the last ``waiting`` symbols."""
        if read.space != Space.SIZES or not waiting:
            return False
        if not is_static((read.offset, read.bytes)):
            raise PlanError(f"{read} has no place known at compile time")
        first, end = read.offset // 8, -(-(read.offset + read.bytes) // 8)
        return any(number >= len(self.symbols) - waiting for number in self.sizes[first:end])

    def extents(self) -> Iterator[Extent]:
        """Every number of the plan that may be symbolic."""
        for tensor in (*self.inputs, *self.outputs):
            yield from tensor.shape
        for buffer in self.buffers:
            yield buffer.bytes
        for command in self.commands:
            for argument in (*command.arguments, *(condition for condition, _ in command.guards)):
                yield argument.offset
                yield argument.bytes
                for move in argument.moves:
                    yield from (move.step, move.turns)
            yield from (command.units, command.flops, command.bytes)
        for pair in self.equal:
            yield from pair
        yield from self.counted
        yield from (self.arena_bytes, self.scratch_bytes_per_thread)

    @property
    def is_static(self) -> bool:
        """True if every number is known at compile time."""
        return is_static(self.extents())

    def _validate_command(self, number: int, command: Command) -> None:
        conditions = [condition for condition, _ in command.guards]
        if len(conditions) > MAX_GUARDS or any(condition.bytes != 1 for condition in conditions):
            raise PlanError("a command is guarded by a few single booleans")
        self._validate_places(number, command)
        work = (command.units, command.flops, command.bytes)
        if any(surely(extent, "<", 0) for extent in work) or command.grain < 1:
            raise PlanError(f"units {command.units}, grain {command.grain}, {command.flops} flops are out of range")
        self._validate_kind(command)

    def _validate_kind(self, command: Command) -> None:
        """What each kind of command takes."""
        if command.kind == CommandKind.COPY:
            if len(command.reads) != 1 or len(command.writes) != 1:
                raise PlanError("a copy takes one range and writes another")
            if surely_differ(command.reads[0].bytes, command.writes[0].bytes):
                raise PlanError("a copy takes one range and writes another of the same size")
        elif command.kind == CommandKind.CHECK:
            if [argument.bytes for argument in command.arguments] != [1] or command.writes or not command.message:
                raise PlanError("a check reads one boolean and has a message")
        elif command.kind == CommandKind.BIND:
            if [argument.bytes for argument in command.arguments] != [8] or command.writes:
                raise PlanError("a bind reads one i64")
        elif command.kind in (CommandKind.LOOP, CommandKind.NEXT):
            sizes = [8, 1, 8] if command.kind == CommandKind.LOOP else [1, 8]
            if [argument.bytes for argument in command.arguments] != sizes or len(command.writes) != 1:
                raise PlanError("a loop reads its trip count and condition, and writes a number")
        elif not 0 <= command.kernel < len(self.kernels):
            raise PlanError(f"there is no kernel {command.kernel}")
        elif not command.writes:
            raise PlanError("a dispatch writes nothing")

    def _validate_places(self, number: int, command: Command) -> None:
        """Every argument lies in its space, which may be read or written as the command does it. Raises PlanError."""
        for argument in (*command.arguments, *(condition for condition, _ in command.guards)):
            size = self.space_bytes(argument.space, argument.index)
            end = argument.reach
            if any(surely(a, "<", b) for a, b in ((argument.offset, 0), (argument.bytes, 0), (size, end))):
                raise PlanError(f"{argument} does not lie inside its space of {size} bytes")
            if argument.space == Space.BUFFER:
                buffer = self.buffers[argument.index]
                if not buffer.first <= number <= buffer.last:
                    raise PlanError(f"{argument} is used outside of the life of {buffer}")
        for argument in command.writes:
            if argument.space in (Space.WEIGHTS, Space.INPUT, Space.SIZES):
                raise PlanError(f"{argument} is read-only but written")


def place_weights(sizes: Iterable[tuple[str, int]]) -> tuple[WeightSlot, ...]:
    """Lay out weights (name, bytes) one after the other, each at a multiple of :data:`ALIGNMENT`."""
    slots: list[WeightSlot] = []
    end = 0
    for name, size in sizes:
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        slots.append(WeightSlot(name, offset, size))
        end = offset + size
    return tuple(slots)
