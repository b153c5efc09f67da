"""From the plan's IR to the records the runtime executes.

In: a ``plan.program`` with addresses, the kernels of a level and the scratch memory they need. Out:
``artifact.plan.Plan``. The one idea: nothing is decided here; places become (space, offset, bytes) and the numbers of
one level are picked. The buffers of a program with symbols are listed with their lifetimes, to be placed at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from xdsl.ir import SSAValue

from penstock.compiler.artifact.plan import (
    ArenaBuffer,
    BufferRange,
    Command,
    CommandKind,
    Move,
    Order,
    Plan,
    Space,
    TensorInfo,
    WeightSlot,
)
from penstock.compiler.dialects.plan import loops
from penstock.compiler.dialects.plan import program as plan
from penstock.compiler.dialects.plan.base import memory_bytes, memory_of, shape_of_memory
from penstock.compiler.dialects.plan.memory import room
from penstock.compiler.dialects.plan.needs import needs
from penstock.compiler.dtypes import type_name
from penstock.compiler.extents import Extent
from penstock.compiler.limits import at_most
from penstock.compiler.locations import source_names


def plan_for(program: plan.Program, level: str, kernels: Sequence[str], scratch: Extent) -> Plan:
    """The plan for one instruction set level, whose kernels are ``kernels`` in order of their numbers."""
    numbers = {symbol: number for number, symbol in enumerate(kernels)}
    position = program.levels.index(level)
    weights = [op for op in program.body.ops if isinstance(op, plan.Weight)]
    symbols = program.symbol_table()
    by_name = {symbol.name: index for index, symbol in enumerate(symbols)}
    ranges, counted, length = _Ranges(program), program.counted_symbols(), program.length_symbol()
    return Plan(
        inputs=[_info(op) for op in program.body.ops if isinstance(op, plan.Input)],
        outputs=[_info(op) for op in program.body.ops if isinstance(op, plan.Output)],
        kernels=list(kernels),
        commands=[_command(op, numbers, position, ranges) for op in program.commands()],
        weights=tuple(WeightSlot(op.key, op.offset, memory_bytes(op.out)) for op in weights),
        arena_bytes=program.arena,
        scratch_bytes_per_thread=at_most(scratch, counted),
        symbols=tuple(symbols),
        buffers=tuple(ArenaBuffer(room(op, program), *op.lives) for op in ranges.buffers),
        sizes=tuple(by_name[name] for op in ranges.sizes for name in op.symbols),
        equal=tuple(program.equalities()),
        needs=needs(program),
        counted=tuple(counted.values()),
        kept=len(program.kept()),
        axes=tuple(op.axis for op in program.kept()),
        length=0 if length is None else symbols.index(length),
        grown=program.grown,
    )


def _command(op: plan.Command, numbers: dict[str, int], position: int, ranges: _Ranges) -> Command:
    reads, writes = tuple(map(ranges.of, op.reads)), tuple(map(ranges.of, op.writes))
    if isinstance(op, plan.Check):
        source = " + ".join(source_names(op.location))
        return Command(CommandKind.CHECK, reads, writes, source=source, message=op.message)
    if isinstance(op, plan.Bind):
        return Command(CommandKind.BIND, reads, writes, units=op.extent, source=" + ".join(source_names(op.location)))
    if isinstance(op, loops.Loop | loops.Next):
        return Command(
            CommandKind.LOOP if isinstance(op, loops.Loop) else CommandKind.NEXT,
            reads,
            writes,
            kernel=ranges.loops[op.number][isinstance(op, loops.Loop)],
            units=op.limit if isinstance(op, loops.Loop) else 1,
            source=" + ".join(source_names(op.location)),
            guards=tuple((ranges.of(value), holds) for value, holds in op.guards),
        )
    if not isinstance(op, plan.Dispatch):
        return Command(CommandKind.COPY, reads, writes, source="copy", bytes=2 * reads[0].bytes)
    return Command(
        CommandKind.DISPATCH,
        reads,
        writes,
        kernel=numbers[op.kernel],
        units=op.units[position],
        grain=op.grain[position],
        team=bool(op.team and op.team[position]),
        source=" + ".join(source_names(op.location)),
        flops=op.flops,
        bytes=op.bytes,
        guards=tuple((ranges.of(value), holds) for value, holds in op.guards),
    )


class _Ranges:
    """Where values lie: buffers and sizes are counted in order of the program."""

    def __init__(self, program: plan.Program) -> None:
        placed = not program.symbols
        self.buffers = [] if placed else [op for op in program.body.ops if isinstance(op, plan.Buffer)]
        self.sizes = [op for op in program.body.ops if isinstance(op, plan.Sizes)]
        self._numbers = {op: number for number, op in enumerate(self.buffers)}
        self.loops = loops.spans(program)
        ends = accumulate((8 * len(op.symbols) for op in self.sizes), initial=0)
        self._starts = dict(zip(self.sizes, ends, strict=False))

    def of(self, value: SSAValue) -> BufferRange:
        moves = tuple(
            Move(self.loops[part.loop][0], Order[part.order.upper()], part.step, part.turns)
            for part in loops.parts_of(value)
        )
        return replace(self._still(value), moves=moves) if moves else self._still(value)

    def _still(self, value: SSAValue) -> BufferRange:
        """Where ``value`` lies in round 0, or in the last one where rounds go backward."""
        place, offset = plan.base_of(value)
        size = memory_bytes(value)
        match place:
            case plan.Input():
                return BufferRange(Space.INPUT, offset, size, place.index)
            case plan.Output():
                return BufferRange(Space.OUTPUT, offset, size, place.index)
            case plan.Weight():
                return BufferRange(Space.WEIGHTS, place.offset + offset, size)
            case plan.Sizes():
                return BufferRange(Space.SIZES, self._starts[place] + offset, size)
            case plan.Buffer() if place in self._numbers:
                return BufferRange(Space.BUFFER, offset, size, self._numbers[place])
            case plan.Buffer():
                return BufferRange(Space.ARENA, place.offset + offset, size)
            case _:
                raise AssertionError(f"{place.name} has no address")


def _info(op: plan.Input | plan.Output) -> TensorInfo:
    kind = memory_of(op.out)
    return TensorInfo(op.called, type_name(kind.element_type), shape_of_memory(kind))
