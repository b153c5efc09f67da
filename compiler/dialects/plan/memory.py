"""Lifetimes of buffers, and the proof that a program's addresses are sound.

In: a program. Out: which commands touch each buffer; or an exception that names the first rule broken. The one idea:
the proof uses only commands and addresses, not how they were chosen: every range lies inside its space, buffers alive
at one time share no byte, nothing is read before it is written, and inputs and weights are never written. What depends
on sizes is refused here if it is wrong for all of them, and checked by the runtime when it knows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.compiler.dialects.declared import TypeRuleError
from penstock.compiler.dialects.plan.base import memory_bytes, shape_of_memory
from penstock.compiler.dialects.plan.loops import Loop, Part, part_extents, parts_of, spans
from penstock.compiler.dialects.plan.program import (
    UNPLACED,
    Bind,
    Buffer,
    Command,
    Dispatch,
    Input,
    Output,
    Place,
    Program,
    Sizes,
    View,
    Weight,
    base_of,
)
from penstock.compiler.extents import Dim, Extent, Symbol, largest, quotient, surely, symbols_of, told_symbol
from penstock.compiler.limits import at_most

ALIGNMENT = 64
"""Every buffer and weight starts at a multiple of this many bytes: a cache line."""


def aligned(size: Extent) -> Extent:
    """``size`` in bytes, rounded up to a multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def lifetimes(program: Program) -> dict[Place, tuple[int, int]]:
    """The first and the last command, counted from 0, that touch each buffer; buffers nothing touches are left out.

    What a loop reads or writes that does not belong to one round alone lives as long as the loop."""
    result: dict[Place, tuple[int, int]] = {}
    moving: dict[int, set[Place]] = {}
    for number, command in enumerate(program.commands()):
        for operand in command.operands:
            place, _ = base_of(operand)
            if isinstance(place, Buffer):
                result[place] = (result.get(place, (number, number))[0], number)
                for part in parts_of(operand):
                    moving.setdefault(part.loop, set()).add(place)
    for loop, (begin, end) in spans(program).items():
        for place, (first, last) in result.items():
            inside, apart = begin <= first and last <= end, last < begin or end < first
            if place in moving.get(loop, ()) or not (inside or apart):
                result[place] = (min(first, begin), max(last, end))
    return result


def check_program(program: Program) -> None:
    """Raises TypeRuleError unless the program may be executed; addresses not chosen yet are not checked."""
    for op in program.body.ops:
        if not isinstance(op, Place | Command):
            raise TypeRuleError(f"a program holds places and commands, not {op.name}")
    for kind in (Input, Output):
        indices = [op.index for op in program.body.ops if isinstance(op, kind)]
        if indices != list(range(len(indices))):
            raise TypeRuleError(f"the program's {kind.name} have the indices {indices}, not 0, 1, 2 ...")
    _check_symbols(program)
    _check_kept(program)
    _check_commands(program)
    _check_loops(program)
    _check_counted(program)
    buffers = [op for op in program.body.ops if isinstance(op, Buffer)]
    if program.symbols:
        _check_lives(program, buffers)
    elif all(buffer.offset != UNPLACED for buffer in buffers):
        _check_buffers(program, buffers)
    _check_weights([op for op in program.body.ops if isinstance(op, Weight)])


def extents_of(program: Program) -> Iterator[Extent]:
    """Every number of a program that may be symbolic, but for its arena."""
    for op in program.body.ops:
        for result in op.results:
            yield from shape_of_memory(result)
        if isinstance(op, View):
            yield op.offset
            if isinstance(op, Part):
                yield from (op.step, op.turns)
        elif isinstance(op, Loop):
            yield op.limit
        elif isinstance(op, Dispatch):
            yield from (*op.units, op.flops, op.bytes)
        elif isinstance(op, Bind):
            yield op.extent
    for pair in program.equalities():
        yield from pair
    yield program.grown


def _check_symbols(program: Program) -> None:
    table = program.symbol_table()
    names = {symbol.name for symbol in table}
    if len(names) < len(table):
        raise TypeRuleError(f"two symbols of {list(program.symbols)} have one name")
    for symbol in sorted({s for extent in extents_of(program) for s in symbols_of(extent)} - set(table), key=str):
        raise TypeRuleError(f"the program does not list the symbol {symbol}")
    for op in program.body.ops:
        if isinstance(op, Sizes) and not names.issuperset(op.symbols):
            raise TypeRuleError(f"the program does not have all of the symbols {', '.join(op.symbols)}")


def _check_kept(program: Program) -> None:
    """What a session keeps comes last among inputs and outputs, in the same order, and has a size that is a number."""
    kept, symbol = program.kept(), program.length_symbol()
    if bool(kept) != (symbol is not None):
        raise TypeRuleError("a program has a length just where a session keeps something")
    inputs, last = program.places(Input), program.places(Output)[len(program.places(Output)) - len(kept) :]
    first = len(inputs) - len(kept)
    pairs = list(zip(inputs[first:], kept, strict=False))
    if first < 0 or last != kept or any(after.keeps != first + i for i, after in enumerate(kept)):
        raise TypeRuleError("what a session keeps are the last inputs and the last outputs, in the same order")
    for before, after in pairs:
        if before.out.type != after.out.type or isinstance(memory_bytes(after.out), Dim):
            raise TypeRuleError(f"what a session keeps has one size, unlike {before.out.type} and {after.out.type}")


def _check_commands(program: Program) -> None:
    written: set[Place] = set()
    for number, command in enumerate(program.commands()):
        if isinstance(command, Dispatch) and len(command.units) != len(program.levels):
            raise TypeRuleError(f"command {number} has units for {len(command.units)} levels")
        for operand in (*command.reads, *(value for value, _ in command.guards)):
            place, _ = base_of(operand)
            if isinstance(place, Buffer | Output) and place not in written:
                raise TypeRuleError(f"command {number} reads memory that nothing has written")
        for operand in command.writes:
            place, _ = base_of(operand)
            if not isinstance(place, Buffer | Output):
                raise TypeRuleError(f"command {number} writes {place.name}, which is read-only")
            written.add(place)
    for place in program.body.ops:
        if isinstance(place, Output) and place not in written:
            raise TypeRuleError(f"nothing writes the output {place.called}")


def _check_loops(program: Program) -> None:
    """Loops nest, what moves with their rounds is used in them, or after them if it is what the last has written, and
    nothing is counted in them."""
    found = spans(program)
    for number, command in enumerate(program.commands()):
        if isinstance(command, Bind) and any(begin < number < end for begin, end in found.values()):
            raise TypeRuleError(f"command {number} counts in a loop, where each round might count another number")
        for operand in command.operands:
            for part in parts_of(operand):
                begin, end = found.get(part.loop, (number, number))
                if number <= begin or (number >= end and (part.order != "now" or operand in command.writes)):
                    raise TypeRuleError(f"command {number} uses a part that the loop {part.loop} does not give it")


def _check_counted(program: Program) -> None:
    """Counted symbols are bound in their order, and nothing that a command needs depends on one before it is bound.
    What is written as a whole is as large as it may become, so its size may be known later."""
    counted = program.counted_symbols()
    for symbol, most in counted.items():
        if symbols_of(most) & counted.keys():
            raise TypeRuleError(f"the most that {symbol} can be is {most}, which is counted too")
    waiting = list(counted)
    for number, command in enumerate(program.commands()):
        if isinstance(command, Bind) and waiting and told_symbol(command.extent) == waiting[0]:
            waiting.pop(0)
        for extent in _needed(command):
            if symbols_of(extent) & set(waiting):
                raise TypeRuleError(f"command {number} depends on {extent}, which has not been counted yet")
        names = {symbol.name for symbol in waiting}
        for place in (base_of(operand)[0] for operand in command.reads):
            if isinstance(place, Sizes) and names.intersection(place.symbols):
                raise TypeRuleError(f"command {number} reads sizes that have not been counted yet")
    if waiting:
        raise TypeRuleError(f"nothing counts {', '.join(map(str, waiting))}")


def _needed(command: Command) -> Iterator[Extent]:
    """The extents that must be known when ``command`` runs."""
    for operand in command.operands:
        place, offset = base_of(operand)
        yield offset
        moves = list(part_extents(operand))
        if moves:  # a place that rounds fill may be longer than is known
            yield from (memory_bytes(operand), *moves)
        elif (
            operand in command.reads
            or not isinstance(command, Dispatch)
            or memory_bytes(operand) != memory_bytes(place.out)
        ):
            yield from (memory_bytes(operand), memory_bytes(place.out))
    if isinstance(command, Dispatch):
        yield from command.units
    elif isinstance(command, Bind):
        yield command.extent


def _check_lives(program: Program, buffers: Sequence[Buffer]) -> None:
    """Buffers that the runtime places: it takes their word for when they live."""
    alive = lifetimes(program)
    for buffer in buffers:
        if buffer.offset != UNPLACED:
            raise TypeRuleError("the buffers of a program with symbols are placed when it runs")
        span = alive.get(buffer, (0, 0))
        if "lives" in buffer.attributes and buffer.lives != span:
            raise TypeRuleError(f"a buffer that the commands {span} touch says that it lives {buffer.lives}")


def _check_buffers(program: Program, buffers: Sequence[Buffer]) -> None:
    alive = lifetimes(program)
    taken: list[tuple[int, int, tuple[int, int]]] = []
    for buffer in buffers:
        start, end = buffer.offset, buffer.offset + memory_bytes(buffer.out)
        if start % ALIGNMENT or start < 0 or end > program.arena:
            raise TypeRuleError(f"a buffer at {start} to {end} does not fit an arena of {program.arena} bytes")
        span = alive.get(buffer, (0, 0))
        if buffer.lives != span:
            raise TypeRuleError(f"a buffer that the commands {span} touch says that it lives {buffer.lives}")
        for other_start, other_end, other in taken:
            if start < other_end and other_start < end and span[0] <= other[1] and other[0] <= span[1]:
                raise TypeRuleError(f"buffers at {start} and {other_start} overlap while both are alive")
        taken.append((start, end, span))


def _check_weights(weights: Sequence[Weight]) -> None:
    end = 0
    for weight in sorted((w for w in weights if w.offset != UNPLACED), key=lambda w: w.offset):
        if weight.offset < end or weight.offset % ALIGNMENT:
            raise TypeRuleError(f"the weight {weight.key} at {weight.offset} is misaligned or overlaps another")
        end = weight.offset + memory_bytes(weight.out)


def arena_without_reuse(program: Program) -> Extent:
    """Bytes the buffers would take if none shared memory with another; an upper bound where they are symbolic."""
    return sum(_rounded(room(op, program)) for op in program.body.ops if isinstance(op, Buffer))


def room(place: Place, program: Program) -> Extent:
    """Bytes that a place's memory needs to have, whatever is counted."""
    counted: dict[Symbol, Extent] = program.counted_symbols()
    return at_most(memory_bytes(place.out), counted) if counted else memory_bytes(place.out)


def _rounded(size: Extent) -> Extent:
    """A bound of ``aligned(size)`` that sums up well: without rounding what depends on sizes."""
    if not isinstance(size, Dim) or (quotient(size, ALIGNMENT) is not None and surely(size, ">", 0)):
        return aligned(largest(size, 1))
    return size + ALIGNMENT
