"""Which dispatches a run may leave out: those that only feed the side of a select that is not taken.

In: a function of dispatches, or the body of a loop. Out: for each dispatch and loop, booleans and the values they must
have for its results to matter, and an order in which these are computed first. The one idea: what a select does not
choose may be anything, so a value that every reader reads under a condition need not be there when the condition does
not hold. Branches and rounds after a loop's exit, which the front end computes and selects from, thereby cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from penstock.compiler.artifact.plan import MAX_GUARDS
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.logic import Select
from penstock.compiler.dialects.graph.loop import Loop
from penstock.compiler.dialects.graph.shape import Expand, Reshape
from penstock.compiler.dialects.graph.structure import Checked, Constant, Dispatch
from penstock.compiler.dtypes import I1, shape_of

Guard: TypeAlias = "frozenset[tuple[SSAValue, bool]]"
NEVER_LEFT_OUT: Guard = frozenset()


def guards_of(block: Block) -> dict[Operation, list[tuple[SSAValue, bool]]]:
    """For every dispatch and loop that may be left out, the boolean values of the block and what each must be."""
    order = {op: number for number, op in enumerate(block.ops)}
    found = _Demand()
    result: dict[Operation, list[tuple[SSAValue, bool]]] = {}
    for op in reversed(list(block.ops)):
        own = found.of(op.results)
        if isinstance(op, Dispatch | Loop):
            # One that would need more conditions always runs, and then what it reads must be there.
            own = NEVER_LEFT_OUT if own is not None and len(own) > MAX_GUARDS else own
            inner = _inside(op) if isinstance(op, Dispatch) else {}
            arguments: list[SSAValue] = list(op.body.args) if inner else list(op.operands)
            for argument, operand in zip(arguments, op.operands, strict=True):
                found.need(operand, None if own is None else own | inner.get(argument, NEVER_LEFT_OUT))
            if own:
                result[op] = _in_order_of_appearance(own, order)
        elif isinstance(op, Checked):
            found.need(op.operands[0], own)
            found.need(op.operands[1], NEVER_LEFT_OUT)
        else:
            for operand in op.operands:
                found.need(operand, own if op.results else NEVER_LEFT_OUT)
    return result


def _in_order_of_appearance(guard: Guard, order: dict[Operation, int]) -> list[tuple[SSAValue, bool]]:
    """The conditions of a guard, arguments of the function first."""

    def place(condition: tuple[SSAValue, bool]) -> tuple[int, int, bool]:
        value, holds = condition
        if isinstance(value, OpResult):
            return order[value.op], value.index, holds
        assert isinstance(value, BlockArgument)
        return -1, value.index, holds

    return sorted(guard, key=place)


class _Demand:
    """Under which conditions values are read: what the conditions of all readers have in common."""

    def __init__(self) -> None:
        self.found: dict[SSAValue, Guard] = {}

    def need(self, value: SSAValue, guard: Guard | None) -> None:
        """``value`` is read under ``guard``; None: by what nobody reads."""
        if guard is not None:
            self.found[value] = self.found[value] & guard if value in self.found else guard

    def of(self, values: Iterable[SSAValue]) -> Guard | None:
        """The condition under which one of ``values`` is read; None if none is ever read."""
        read = [self.found[value] for value in values if value in self.found]
        return frozenset.intersection(*read) if read else None


def _inside(dispatch: Dispatch) -> dict[SSAValue, Guard]:
    """Under which conditions the body of a dispatch reads its arguments."""
    found = _Demand()
    for op in reversed(list(dispatch.body.ops)):
        own = found.of(op.results) if op.results else NEVER_LEFT_OUT
        condition = _condition(op, dispatch) if isinstance(op, Select) else None
        for index, operand in enumerate(op.operands):
            taken = frozenset({(condition, index == 1)}) if condition is not None and index else NEVER_LEFT_OUT
            found.need(operand, None if own is None else own | taken)
    return found.found


def _condition(select: Select, dispatch: Dispatch) -> SSAValue | None:
    """The one boolean of the function that a select in a dispatch chooses by; None if there is no such value."""
    value = select.operands[0]
    while isinstance(value.owner, Reshape | Expand):
        value = value.owner.operands[0]
    if not isinstance(value, BlockArgument) or not is_condition(value):
        return None
    value = dispatch.operands[value.index]
    while isinstance(value.owner, Reshape):
        value = value.owner.operands[0]
    return None if isinstance(value.owner, Constant | Checked) else value


def is_condition(value: SSAValue) -> bool:
    """True for one boolean."""
    return element_of(value) == I1 and all(extent == 1 for extent in shape_of(value.type))


def in_order(block: Block, guards: dict[Operation, list[tuple[SSAValue, bool]]]) -> list[Operation]:
    """The block's ops with what guards an op before it; as they stand where nothing is guarded."""
    order: list[Operation] = []
    placed: set[Operation] = set()
    stack: list[tuple[Operation, bool]] = [(op, False) for op in reversed(list(block.ops))]
    while stack:
        op, ready = stack.pop()
        if op in placed:
            continue
        if ready:
            placed.add(op)
            order.append(op)
            continue
        stack.append((op, True))
        before = [*op.operands, *(value for value, _ in guards.get(op, ()))]
        owners = [value.owner for value in reversed(before)]
        stack.extend((owner, False) for owner in owners if isinstance(owner, Operation) and owner not in placed)
    return order
