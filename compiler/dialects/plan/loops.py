"""The commands and places of loops: begin, next round, and memory that moves with the rounds.

In: commands in order. Out: which of them run again and again. The one idea: a loop is a stretch of commands between
``plan.loop`` and ``plan.next``; what it does to memory is in ``plan.part``, whose address depends on the number of the
round, so no command is copied and no value is either::

    plan.loop %trips, %going, %i {number = 0, ...}
      %x = plan.part %xs {loop = 0, step = 16, turns = 5}                    // row i
      %h = plan.part %state {loop = 0, step = 16, turns = 2, order = "now"}  // what the round before has written
      %to = plan.part %state {loop = 0, step = 16, turns = 2, order = "next"}
      plan.dispatch @cell(%x, %h) -> (%to) ...
    plan.next %more, %rounds {number = 0}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from penstock.compiler.dialects.declared import Int, Ints, Text, TypeRuleError
from penstock.compiler.dialects.plan.base import memory, memory_bytes, memory_of
from penstock.compiler.dialects.plan.program import Command, View
from penstock.compiler.dtypes import I1, I64
from penstock.compiler.extents import Extent, surely

if TYPE_CHECKING:
    from penstock.compiler.dialects.plan.program import Program

ORDERS = ("forward", "backward", "now", "next")
DEEPEST = 16
"""Loops in each other."""


class Part(View):
    """The part of other memory that belongs to a round of a loop: one of ``turns`` that are ``step`` bytes apart.

    Round i has part i (forward), part turns - 1 - i (backward), or, of two, part i mod 2 (now) and the other one
    (next). After the loop, ``now`` is what the last round has written.
    """

    name = "plan.part"
    loop = Int(doc="number of the loop")
    step = Int(doc="bytes from one part to the next")
    turns = Int(doc="how many parts there are")
    order = Text("forward", *ORDERS, doc="which of them a round has")

    def check(self) -> None:
        (base,) = self.operands
        end = self.offset + (self.turns - 1) * self.step + memory_bytes(self.out)
        if surely(self.offset, "<", 0) or surely(self.step, "<", 0) or surely(end, ">", memory_bytes(base)):
            raise TypeRuleError(f"{self.turns} parts of {memory_bytes(self.out)} bytes leave their operand")
        if self.order in ("now", "next") and self.turns != 2:
            raise TypeRuleError(f"a value goes from one of two places to the other, not of {self.turns}")


class Loop(Command):
    """Begins a loop: reads how many rounds there are at most (i64) and whether there is any (i1), and writes the number
    of the round. The commands up to ``plan.next`` of the same ``number`` run once per round. The run ends with a
    sentence if there would be more than ``limit``. The booleans that come last are those of a dispatch's ``when``."""

    name = "plan.loop"
    number = Int(doc="the loop's number in the program")
    limit = Int(doc="the most rounds")
    when = Ints((), doc="1 or 0 for each of the last operands: what these booleans must be for it to run")

    @property
    def reads(self) -> Sequence[SSAValue]:
        return list(self.operands)[:2]

    @property
    def writes(self) -> Sequence[SSAValue]:
        return list(self.operands)[2:3]

    @property
    def guards(self) -> Sequence[tuple[SSAValue, bool]]:
        return [(v, bool(holds)) for v, holds in zip(list(self.operands)[3:], self.when, strict=True)]

    def check(self) -> None:
        trips, going, number = list(self.operands)[:3]
        if memory_of(trips) != memory((), I64) or memory_of(number) != memory((), I64):
            raise TypeRuleError("a loop reads its trip count as one i64, and so is the number of a round")
        if any(memory_of(value) != memory((), I1) for value in (going,)):
            raise TypeRuleError("a loop reads one boolean")
        if any(memory_bytes(value) != 1 or memory_of(value).element_type != I1 for value, _ in self.guards):
            raise TypeRuleError("a loop is guarded by single booleans")
        if not set(self.when) <= {0, 1} or surely(self.limit, "<", 0):
            raise TypeRuleError("a guard is 1 or 0, and a limit not negative")


class Next(Command):
    """Ends a round: reads whether there is another one (i1), and writes how many there have been (i64)."""

    name = "plan.next"
    number = Int(doc="the loop's number in the program")

    @property
    def reads(self) -> Sequence[SSAValue]:
        return list(self.operands)[:1]

    def check(self) -> None:
        condition, rounds = self.operands
        if memory_of(condition) != memory((), I1) or memory_of(rounds) != memory((1,), I64):
            raise TypeRuleError("the end of a round reads one boolean and writes one i64")


def spans(program: Program) -> dict[int, tuple[int, int]]:
    """For each loop, by number, the numbers of the commands that begin and end it; inner loops first. Raises
    TypeRuleError if they do not nest."""
    open_: list[tuple[int, int]] = []
    found: dict[int, tuple[int, int]] = {}
    for position, command in enumerate(program.commands()):
        if isinstance(command, Loop):
            if command.number in found or any(number == command.number for number, _ in open_):
                raise TypeRuleError(f"two loops have the number {command.number}")
            open_.append((command.number, position))
            if len(open_) > DEEPEST:
                raise TypeRuleError(f"loops stand in each other more than {DEEPEST} deep")
        elif isinstance(command, Next):
            if not open_ or open_[-1][0] != command.number:
                raise TypeRuleError(f"command {position} ends no loop that has begun")
            number, begin = open_.pop()
            found[number] = (begin, position)
    if open_:
        raise TypeRuleError(f"the loop {open_[-1][0]} does not end")
    return found


def outermost(program: Program) -> list[tuple[int, int]]:
    """The first and the last command of each loop that stands in no other."""
    all_ = spans(program).values()
    return [(a, b) for a, b in all_ if not any(c < a and b < d for c, d in all_)]


def parts_of(value: SSAValue) -> Iterator[Part]:
    """The parts through which ``value`` is memory of its place, the nearest first."""
    while isinstance(owner := value.owner, View):
        if isinstance(owner, Part):
            yield owner
        value = owner.operands[0]


def part_extents(value: SSAValue) -> Iterator[Extent]:
    """The numbers that say where the parts are."""
    for part in parts_of(value):
        yield from (part.step, part.turns)
