"""Which commands an output needs.

In: a program, before or after places have addresses. Out: for each output, the numbers of its commands. The one idea:
places are values, so what a command reads says which commands must have run; a check belongs to those who read the
view that it guards. What binds a counted symbol is needed by every output: the symbol may stand anywhere. A loop is
needed as a whole or not at all.
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.dialects.plan.loops import outermost
from penstock.compiler.dialects.plan.program import Bind, Check, Command, Output, Place, Program, View, base_of


def needs(program: Program) -> tuple[frozenset[int], ...]:
    """For each output of ``program``, in order, the numbers of the commands that it needs, counted from 0."""
    commands = list(program.commands())
    writers: dict[Place, list[int]] = {}
    guards: dict[SSAValue, int] = {}
    relying: dict[int, list[int]] = {}
    for number, command in enumerate(commands):
        for operand in command.writes:
            writers.setdefault(base_of(operand)[0], []).append(number)
        if isinstance(command, Check):
            guards |= dict.fromkeys(command.operands[1:], number)
            for output in command.outputs or ():
                relying.setdefault(output, []).append(number)
    direct = [_read_from(command, number, writers, guards) for number, command in enumerate(commands)]
    together = {number: range(a, b + 1) for a, b in outermost(program) for number in range(a, b + 1)}
    binds = [number for number, command in enumerate(commands) if isinstance(command, Bind)]
    found: list[frozenset[int]] = []
    for output in (op for op in program.body.ops if isinstance(op, Output)):
        needed: set[int] = set()
        pending = [*binds, *writers.get(output, ()), *relying.get(output.index, ())]
        while pending:
            number = pending.pop()
            if number not in needed:
                needed.add(number)
                pending.extend(direct[number])
                pending.extend(together.get(number, ()))
        found.append(frozenset(needed))
    return tuple(found)


def _read_from(
    command: Command, number: int, writers: dict[Place, list[int]], guards: dict[SSAValue, int]
) -> list[int]:
    """The commands that must have run before ``command``, number ``number``, reads."""
    before: list[int] = []
    for operand in (*command.reads, *(value for value, _ in command.guards)):
        value = operand
        while isinstance(view := value.owner, View):
            before.extend([guards[value]] if value in guards else [])
            value = view.operands[0]
        before.extend(writer for writer in writers.get(base_of(operand)[0], ()) if writer < number)
    return before
