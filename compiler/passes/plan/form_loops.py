"""The commands of a loop: its body once, on memory that moves with the rounds.

In: a ``graph.loop`` of dispatches, and places for what it reads. Out: commands between ``plan.loop`` and ``plan.next``,
and places of its results. The one idea: a carried value has two places, and each round reads one and writes the other,
while rows are read and written where the whole tensors lie; so nothing is copied but first values, and values that a
body passes on without computing them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.loop import Loop
from penstock.compiler.dialects.plan import loops as plan_loops
from penstock.compiler.dialects.plan import program as plan
from penstock.compiler.dialects.plan.base import memory, memory_bytes, memory_of
from penstock.compiler.dtypes import I64, shape_of

if TYPE_CHECKING:
    from penstock.compiler.passes.plan.form_commands import Former


def form_loop(former: Former, op: Loop) -> None:
    """Add the commands of ``op`` to the program, and note where its results lie."""
    number = former.loops
    former.loops += 1
    trips, going = (former.memory[value] for value in op.operands[:2])
    states = [_state(former, op, number, value) for value in op.first_values]
    round_, *arguments = op.body.args
    index = plan.Buffer.build(result=memory((), I64), location=op.location)
    former.memory[round_] = former.add(index, round_).out
    for result in (*op.stacked, op.results[-1]):
        former.place(result, op)
    guards, when = former.guards_before(op)
    begin = plan_loops.Loop.build(
        *(trips, going, index.out, *guards), number=number, limit=op.limit, when=when, location=op.location
    )
    former.add(begin)
    turns = op.count if op.exact else op.limit
    for position, scan in enumerate(op.scans):
        order = "backward" if op.turned(position) else "forward"
        argument = arguments[op.carried + position]
        rows = shape_of(scan.type)[0]
        former.memory[argument] = _part(former, op, number, former.memory[scan], argument, rows, order)
    targets = [after for _, after in states]
    terminator = op.body.last_op
    assert terminator is not None
    condition, *values = terminator.operands
    for position, (result, row) in enumerate(zip(op.stacked, values[op.carried :], strict=True), op.scanned):
        order = "backward" if op.turned(position) else "forward"
        targets.append(_part(former, op, number, former.memory[result], row, turns, order))
    former.memory.update(zip(arguments[: op.carried], (now for now, _ in states), strict=True))
    captured = arguments[op.carried + op.scanned :]
    former.memory.update(zip(captured, (former.memory[value] for value in op.captured), strict=True))
    former.block(op.body, values, targets, {})
    end = plan_loops.Next.build(
        former.memory[condition], former.memory[op.results[-1]], number=number, location=op.location
    )
    former.add(end)
    former.memory.update(zip(op.results[: op.carried], (now for now, _ in states), strict=True))


def _state(former: Former, op: Loop, number: int, first: SSAValue) -> tuple[SSAValue, SSAValue]:
    """The two places of a carried value, the first value copied to where round 0 reads it: what a round reads, and
    what it writes."""
    kind = memory((2, *shape_of(first.type)), element_of(first))
    state = former.add(plan.Buffer.build(result=kind, location=op.location), first).out
    start = former.add(plan.View.build(state, result=memory_of(first), location=op.location), first).out
    former.add(plan.Copy.build(former.memory[first], start, location=op.location))
    now = _part(former, op, number, state, first, 2, "now")
    return now, _part(former, op, number, state, first, 2, "next")


def _part(former: Former, op: Loop, number: int, base: SSAValue, like: SSAValue, turns: int, order: str) -> SSAValue:
    """The part of ``base`` of a round: one of ``turns`` of the type of ``like``, which lie one after the other."""
    kind = memory_of(like)
    part = plan_loops.Part.build(
        base,
        result=kind,
        loop=number,
        step=memory_bytes(kind),
        turns=turns,
        order=order,
        location=op.location,
    )
    return former.add(part, like).out
