"""The plan: everything the runtime needs to know to execute a compiled model.

In: what the plan phase decided (order of commands, static offsets, sizes). Out: plain records that
:mod:`~penstock.compiler.artifact.plan_format` turns into ``plan.bin``. The one idea: a command names memory as
(space, byte offset, byte size), so the runtime only adds base addresses and never computes a layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

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


MAX_GUARDS = 32
"""Of one command: their senses are bits of one number."""


class PlanError(Exception):
    """The compiler built a plan that cannot be executed: an internal error, never the user's."""


class Space(IntEnum):
    """Where an argument lives: this run's arena, the mapped weights, input ``index`` or output ``index``."""

    ARENA = 0
    WEIGHTS = 1
    INPUT = 2
    OUTPUT = 3


class CommandKind(IntEnum):
    """What a command does. Send, receive and fence get their numbers when a second device exists."""

    DISPATCH = 0
    COPY = 1
    CHECK = 2


@dataclass(frozen=True)
class TensorInfo:
    """A model input or output: ``dtype`` by IR name (``f32``), ``shape`` in elements, row-major."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        size = ELEMENT_BYTES[self.dtype]
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True)
class BufferRange:
    """``bytes`` bytes at ``offset`` of a space; ``index`` picks the input or output (0 for arena and weights)."""

    space: Space
    offset: int
    bytes: int
    index: int = 0


@dataclass(frozen=True)
class WeightSlot:
    """Where one weight lies in ``weights.bin``."""

    name: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class Command:
    """One step: dispatch a kernel over ``units`` parallel units, copy ``reads[0]`` to ``writes[0]``, or end the run
    with ``message`` unless the boolean ``reads[0]`` is true.

    The kernel's buffers are ``reads`` then ``writes``. ``grain`` is the fewest units worth handing to one more thread
    (cost model): below ``2 * grain`` units the command stays serial. ``source`` names the source nodes, for profiling;
    ``flops`` and ``bytes`` are the work of one execution. ``guards``: single booleans, and what each must be, or else
    the command is left out.
    """

    kind: CommandKind
    reads: tuple[BufferRange, ...]
    writes: tuple[BufferRange, ...]
    kernel: int = 0
    units: int = 1
    grain: int = 1
    source: str = ""
    flops: int = 0
    bytes: int = 0
    message: str = ""
    guards: tuple[tuple[BufferRange, bool], ...] = ()

    @property
    def arguments(self) -> tuple[BufferRange, ...]:
        """The kernel's buffers in order."""
        return self.reads + self.writes


@dataclass
class Plan:
    """A whole executable plan. ``kernels`` are symbol names: each image must define every one of them.

    ``scratch_bytes_per_thread`` is what the largest ``tile.alloc`` user needs; ``arena_bytes`` covers all intermediate
    values. Several commands may name one kernel.
    """

    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    kernels: Sequence[str]
    commands: Sequence[Command]
    weights: Sequence[WeightSlot] = field(default_factory=tuple)
    arena_bytes: int = 0
    scratch_bytes_per_thread: int = 0
    needs: Sequence[frozenset[int]] = field(default_factory=tuple)
    """For each output, the numbers of the commands that compute it; empty: every output needs all commands."""

    @property
    def weights_bytes(self) -> int:
        """Size of ``weights.bin``."""
        return max((slot.offset + slot.bytes for slot in self.weights), default=0)

    def space_bytes(self, space: Space, index: int) -> int:
        """Size of a space. Raises PlanError for an input or output that does not exist."""
        if space in (Space.INPUT, Space.OUTPUT):
            tensors = self.inputs if space == Space.INPUT else self.outputs
            if not 0 <= index < len(tensors):
                raise PlanError(f"there is no {space.name.lower()} {index}")
            return tensors[index].bytes
        if index:
            raise PlanError(f"the {space.name.lower()} has no index {index}")
        return self.arena_bytes if space == Space.ARENA else self.weights_bytes

    def validate(self) -> None:
        """Raise PlanError unless the runtime will accept this plan (it checks the same things again at load)."""
        for role, tensors in (("input", self.inputs), ("output", self.outputs)):
            names = [tensor.name for tensor in tensors]
            if len(set(names)) != len(names):
                raise PlanError(f"two {role}s have one name: {names}")
            for tensor in tensors:
                if tensor.dtype not in ELEMENT_BYTES or any(extent < 0 for extent in tensor.shape):
                    raise PlanError(f"{role} {tensor.name} has dtype {tensor.dtype} and shape {tensor.shape}")
        everything = range(len(self.commands))
        if len(self.needs) not in (0, len(self.outputs)) or any(n not in everything for one in self.needs for n in one):
            raise PlanError("what the outputs need is not a set of commands for each")
        if len(set(self.kernels)) != len(self.kernels):
            raise PlanError("two kernels have one name")
        end = 0
        for slot in self.weights:
            if slot.offset < end or slot.offset % ALIGNMENT:
                raise PlanError(f"weight {slot.name} at {slot.offset} is misaligned or overlaps the one before")
            end = slot.offset + slot.bytes
        for number, command in enumerate(self.commands):
            try:
                self._validate_command(command)
            except PlanError as error:
                raise PlanError(f"command {number} ({command.source}): {error}") from None

    def _validate_command(self, command: Command) -> None:
        conditions = [condition for condition, _ in command.guards]
        if len(conditions) > MAX_GUARDS or any(condition.bytes != 1 for condition in conditions):
            raise PlanError("a command is guarded by a few single booleans")
        for argument in (*command.arguments, *conditions):
            size = self.space_bytes(argument.space, argument.index)
            if argument.offset < 0 or argument.bytes < 0 or argument.offset + argument.bytes > size:
                raise PlanError(f"{argument} does not lie inside its space of {size} bytes")
        for argument in command.writes:
            if argument.space in (Space.WEIGHTS, Space.INPUT):
                raise PlanError(f"{argument} is read-only but written")
        if command.units < 0 or command.grain < 1 or command.flops < 0 or command.bytes < 0:
            raise PlanError(f"units {command.units}, grain {command.grain}, {command.flops} flops are out of range")
        if command.kind == CommandKind.COPY:
            if len(command.reads) != 1 or len(command.writes) != 1 or command.reads[0].bytes != command.writes[0].bytes:
                raise PlanError("a copy takes one range and writes another of the same size")
        elif command.kind == CommandKind.CHECK:
            if [argument.bytes for argument in command.arguments] != [1] or command.writes or not command.message:
                raise PlanError("a check reads one boolean and has a message")
        elif not 0 <= command.kernel < len(self.kernels):
            raise PlanError(f"there is no kernel {command.kernel}")
        elif not command.writes:
            raise PlanError("a dispatch writes nothing")


def place_weights(sizes: Iterable[tuple[str, int]]) -> tuple[WeightSlot, ...]:
    """Lay out weights (name, bytes) one after the other, each at a multiple of :data:`ALIGNMENT`."""
    slots: list[WeightSlot] = []
    end = 0
    for name, size in sizes:
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        slots.append(WeightSlot(name, offset, size))
        end = offset + size
    return tuple(slots)
