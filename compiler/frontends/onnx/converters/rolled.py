"""Loops that stay loops: a body converted once, and run as often as a run says.

In: a node with a body, what it carries and scans. Out: one ``graph.loop``. The one idea: the body is converted like any
subgraph, into a block of its own; what it reads from around it becomes what the loop captures, constants are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import Block, Operation, SSAValue

from penstock.compiler.dialects.graph.base import element_of, tensor_bytes
from penstock.compiler.dialects.graph.counting import counted
from penstock.compiler.dialects.graph.extent import Extents
from penstock.compiler.dialects.graph.loop import MOST_ROUNDS, UNKNOWN, Loop, Next
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import I1, I64, shape_of, tensor
from penstock.compiler.errors import SHAPE_UNKNOWN
from penstock.compiler.extents import Extent, is_static, typical
from penstock.compiler.frontends.onnx.arithmetic import Value
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal
from penstock.compiler.frontends.onnx.sizes import sizes_as_data
from penstock.compiler.frontends.onnx.values import Item, show_type

MOST_ROWS = 1 << 16
MOST_STACKED = 1 << 30
"""Memory for rows is laid out before anybody knows how many there will be: at most so many, and about so many bytes."""

Made = Callable[[SSAValue, Sequence[SSAValue], Sequence[SSAValue]], Sequence["Item | None"] | None]
"""Converts a body on the number of the round, carried values and rows: condition, carried values, what is stacked."""


@dataclass
class Rolled:
    """A loop to be: how often it runs (``rounds``: at most, as far as that is known; ``trips``: what a run feeds) and
    what goes into it. ``wanted``: which of the stacked results anybody reads; ``promise``: how many rows the model
    declares."""

    rounds: Extent | None
    trips: SSAValue | None
    going: SSAValue | None
    carried: Sequence[Item | None]
    scans: Sequence[SSAValue] = ()
    backward: Sequence[bool] = ()
    wanted: Sequence[bool] = ()
    promise: Extent | None = None
    grown: dict[int, tuple[SSAValue, int]] = field(default_factory=dict[int, "tuple[SSAValue, int]"])


def roll(n: NodeContext, loop: Rolled, convert: Made) -> list[Item | None]:
    """The carried values after the last round, then every stacked result (None: nobody wants it). Raises Refusal if the
    body cannot be the same in every round."""
    first = [_tensor(value) for value in loop.carried]
    rows = [tensor(n.shape(value)[1:], element_of(value)) for value in loop.scans]
    block = Block(arg_types=[tensor((), I64), *(value.type for value in first), *rows])
    importer = n.importer
    outer, importer.block = importer.block, block
    importer.rounds.append(block.args[0])
    given: list[SSAValue] | None = None
    count = 0
    try:
        made = convert(block.args[0], block.args[1 : 1 + len(first)], block.args[1 + len(first) :])
        if made is not None:
            condition, after, stacked = _split(n, loop, first, made, block)
            count = len(stacked)
            given = sizes_as_data(block, importer.static, [condition, *after, *stacked])
            _drop_unused(block, given)
    finally:
        importer.block = outer
        importer.rounds.pop()
        if given is None:
            forget(block)
    if given is None:
        return [None] * (len(first) + len(loop.wanted))
    return _Closing(n, loop, first, block, given).results(count)


def _tensor(value: Item | None) -> SSAValue:
    if not isinstance(value, SSAValue):
        what = "nothing" if value is None else show_type(value)
        reason = f"it runs as often as the model's inputs say, and {what} goes from round to round"
        raise Refusal(SHAPE_UNKNOWN, reason, "Carry tensors only, or make its trip count a small constant.")
    return value


def _split(
    n: NodeContext, loop: Rolled, first: Sequence[SSAValue], made: Sequence[Item | None], block: Block
) -> tuple[SSAValue, list[SSAValue], list[SSAValue]]:
    """Condition, carried values and wanted rows of a body that has been converted; values that grow are rows."""
    condition, *values = [_tensor(value) for value in made]
    after, stacked = values[: len(first)], values[len(first) :]
    if any(counted(op) for op in block.walk()):
        reason = "its body gives results as long as their data says, and it runs as often as the model's inputs say"
        raise Refusal(SHAPE_UNKNOWN, reason, "Make its trip count a small constant, or take NonZero out of its body.")
    rows = [row for row, wanted in zip(stacked, loop.wanted, strict=True) if wanted]
    for index, (old, new) in enumerate(zip(first, after, strict=True)):
        if old.type == new.type:
            continue
        argument = block.args[1 + index]
        piece = _appended(new, argument)
        same = element_of(old) == element_of(new) and len(shape_of(old.type)) == len(shape_of(new.type))
        if piece is None and same and not is_static((*shape_of(old.type), *shape_of(new.type))):
            for a, b in zip(shape_of(old.type), shape_of(new.type), strict=True):
                n.require_equal(a, b, f"it carries {show_type(old)} into a round and {show_type(new)} out of it")
        if piece is None:
            raise Refusal(
                SHAPE_UNKNOWN,
                f"it carries {show_type(old)} into a round and {show_type(new)} out of it, "
                "and how often it runs depends on the model's inputs",
                "Let what it carries keep its shape, or only append to it with Concat; or make its trip count a small "
                "constant.",
            )
        loop.grown[index] = (piece[0], piece[1])
        after[index] = argument  # as it was: only the pieces matter
        rows.append(piece[0])
    return condition, after, rows


def _appended(new: SSAValue, argument: SSAValue) -> tuple[SSAValue, int] | None:
    """What a round puts at the end of a carried value that it does nothing else with, and along which axis."""
    owner = new.owner
    if not isinstance(owner, Concat) or len(owner.operands) != 2 or owner.operands[0] is not argument:
        return None
    return (owner.operands[1], owner.axis) if _only_use(argument, owner) and _only_result(new) else None


def _only_use(value: SSAValue, owner: Operation) -> bool:
    return all(use.operation is owner for use in value.uses) and owner.operands[1] is not value


def _only_result(value: SSAValue) -> bool:
    return value.first_use is None


def _drop_unused(block: Block, given: Sequence[SSAValue]) -> None:
    kept = set(given)
    for op in reversed(list(block.ops)):
        if not any(result.first_use or result in kept for result in op.results):
            op.detach()
            op.erase()


def forget(block: Block) -> None:
    """Let go of what the ops of a block that comes to nothing use."""
    for op in block.ops:
        op.drop_all_references()


class _Closing:
    """A converted body on its way to become a loop."""

    def __init__(
        self, n: NodeContext, loop: Rolled, first: Sequence[SSAValue], block: Block, given: Sequence[SSAValue]
    ) -> None:
        self.n, self.loop, self.block, self.given = n, loop, block, list(given)
        self.first = list(first)
        self.captured: list[SSAValue] = []
        self.promised = False  # the number of rounds is what the model declares, and a run is held to it

    def results(self, stacked: int) -> list[Item | None]:
        n, loop, first = self.n, self.loop, self.first
        carried = self._drop_invariants()
        terminator = Next.create(operands=self.given, location=n.importer.location)
        self._capture(terminator)
        known = n.importer.evaluate(terminator.operands[0])
        certain = known is not None and bool(known.item()) and loop.going is None
        self.block.add_op(terminator)
        rows = terminator.operands[1 + len(carried) :]
        count, exact, limit = self._rounds(rows, certain)
        trips = loop.trips if loop.trips is not None else n.sizes(np.asarray(self._known_trips(), object))
        going = loop.going if loop.going is not None else n.constant(True, I1)
        made = n.importer.insert(
            Loop.around(
                [trips, going, *(first[index] for index in carried), *loop.scans, *self.captured],
                self.block,
                location=n.importer.location,
                carried=len(carried),
                scanned=len(loop.scans),
                backward=[*map(int, loop.backward), *([0] * stacked)] if any(loop.backward) else None,
                count=count,
                exact=exact,
                limit=limit,
            )
        )
        return self._given(made, carried)

    def _given(self, made: Loop, carried: Sequence[int]) -> list[Item | None]:
        """The carried values and stacked results in the node's order."""
        n, loop = self.n, self.loop
        last: list[Item | None] = list(self.first)
        for index, value in zip(carried, made.results, strict=False):
            last[index] = value
        stacks = iter(made.stacked)
        results: list[Item | None] = [next(stacks) if wanted else None for wanted in loop.wanted]
        for index, (_, axis) in loop.grown.items():
            last[index] = _joined(n, self.first[index], next(stacks), axis)
        if self.promised:
            ran = Value(n, n.reshape(made.results[-1], []))
            holds = ran.op("eq", Value(n, n.sizes(np.asarray(loop.promise, object))))
            made_here = set(made.results)
            return [
                n.checked(value, holds, "how often it runs")
                if isinstance(value, SSAValue) and (value in made_here or index in loop.grown)
                else value
                for index, value in enumerate([*last, *results])
            ]
        return [*last, *results]

    def _known_trips(self) -> Extent:
        rounds = self.loop.rounds
        return np.iinfo(np.int64).max if rounds is None else rounds

    def _rounds(self, rows: Sequence[SSAValue], certain: bool) -> tuple[Extent, bool, Extent]:
        """How many rounds there are, whether that is sure, and the most there may be."""
        loop = self.loop
        if certain and loop.rounds is not None:
            return loop.rounds, True, MOST_ROUNDS
        if loop.promise is not None and rows:
            self.promised = True
            return loop.promise, True, MOST_ROUNDS
        if not rows:
            return UNKNOWN, False, MOST_ROUNDS
        most: Extent = MOST_ROWS
        if loop.rounds is not None:
            most = loop.rounds
        else:
            size = sum(typical(tensor_bytes(row.type)) for row in rows)
            most = int(min(MOST_ROWS, max(MOST_STACKED // max(size, 1), 1)))
        return self.n.importer.counts.new("rounds", most), False, most

    def _drop_invariants(self) -> list[int]:
        """Carried values that every round hands on as they are, are captured instead; the others' positions."""
        left: list[int] = []
        for index in reversed(range(len(self.first))):
            argument = self.block.args[1 + index]
            if self.given[1 + index] is not argument:
                left.insert(0, index)
                continue
            argument.replace_all_uses_with(self.first[index])
            self.given = [self.first[index] if value is argument else value for value in self.given]
            del self.given[1 + index]
            self.block.erase_arg(argument)
        return left

    def _capture(self, terminator: Next) -> None:
        """Everything that the body reads from around it becomes an argument, or, a constant, an op of its own."""
        own: dict[SSAValue, SSAValue] = {}
        for op in [*self.block.ops, terminator]:
            for index, value in enumerate(list(op.operands)):
                owner = value.owner
                if owner is self.block or (isinstance(owner, Operation) and owner.parent is self.block):
                    continue
                if value not in own:
                    own[value] = self._inside(value)
                op.operands[index] = own[value]

    def _inside(self, value: SSAValue) -> SSAValue:
        owner = value.owner
        if isinstance(owner, Constant | Extents):
            copy = owner.clone()
            first = self.block.first_op
            if first is None:
                self.block.add_op(copy)
            else:
                self.block.insert_op_before(copy, first)
            return copy.results[0]
        self.captured.append(value)
        argument = self.block.insert_arg(value.type, len(self.block.args))
        argument.name_hint = value.name_hint
        return argument


def _joined(n: NodeContext, first: SSAValue, stack: SSAValue, axis: int) -> SSAValue:
    """``first`` and after it, along ``axis``, the pieces that rounds have given, which ``stack`` holds."""
    rounds, *shape = n.shape(stack)
    order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1)]
    moved = n.transpose(stack, order)
    joined = n.reshape(moved, [*shape[:axis], rounds * shape[axis], *shape[axis + 1 :]])
    if n.shape(first)[axis] == 0:
        return joined
    return n.build(Concat, first, joined, axis=axis)
