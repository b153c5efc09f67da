"""If, Loop and Scan.

In: a node with subgraphs. Out: the ops of the branch taken, or of every round; or, of a loop that is long, or as long
as a run says, a ``graph.loop`` (``rolled``). The one idea: all ops are pure, so a branch or round of which only a run
knows whether it counts is computed all the same, and its results are selected; what checks it makes count only where it
does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import I1, numpy_dtype, shape_of
from penstock.compiler.errors import INVALID_NODE, MODEL_TOO_LARGE, SHAPE_UNKNOWN
from penstock.compiler.extents import Dim, Extent, largest
from penstock.compiler.frontends.onnx.arithmetic import Value, Values, truth
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.rolled import Rolled, roll
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import Assumed, NodeContext, Refusal
from penstock.compiler.frontends.onnx.records import Graph
from penstock.compiler.frontends.onnx.values import Item, Listed, Maybe, show_type

MAX_UNROLLED = 20_000  # ops of all rounds of one loop that cannot be rolled
WORTH_UNROLLING = 1_000  # ops of all rounds of one that can
Items = list["Item | None"]


# If ------------------------------------------------------------------------------------------------------------------


@converter("If")
def branch(n: NodeContext) -> Items:
    """A condition known when compiling: only that branch is compiled. Else both are computed: equal types; of branches
    that differ the one is taken in which two open sizes are not equal, which every run checks."""
    condition = _truth(n, n.input(0), "its condition")
    sides = [n.graph("then_branch"), n.graph("else_branch")]
    for side in sides:
        if len(side.outputs) != len(n.node.outputs):
            reason = f"it has {len(n.node.outputs)} outputs, but its branch '{side.name}' has {len(side.outputs)}"
            raise Refusal(INVALID_NODE, reason)
    known = n.importer.evaluate(condition)
    if known is not None:
        return n.run(sides[0] if known.item() else sides[1])
    taken = Value(n, condition)
    equal = _compares_sizes(n, condition)
    try:
        first = _guarded(n, taken, lambda: n.run(sides[0]))
        second = _guarded(n, taken.op("not"), lambda: n.run(sides[1]))
        return [_chosen(n, taken, a, b, "its branches give") for a, b in zip(first, second, strict=True)]
    except (Assumed, Refusal):
        if equal is None:
            raise
    # An axis is squeezed where its extent is 1, say: a size that was left open is taken to be no such number.
    what = "the branch that its sizes take"
    holds = taken.op("not") if equal else taken
    made = n.run(sides[1] if equal else sides[0])
    return [n.checked(item, holds, what) if isinstance(item, SSAValue) else item for item in made]


def _compares_sizes(n: NodeContext, condition: SSAValue) -> bool | None:
    """True if ``condition`` is that two sizes which only a run knows are equal, False if that they differ; else
    None."""
    equal, owner = True, condition.owner
    while isinstance(owner, GraphOp) and owner.name in ("graph.reshape", "graph.not"):
        equal ^= owner.name == "graph.not"
        owner = owner.operands[0].owner
    if not isinstance(owner, GraphOp) or owner.name not in ("graph.eq", "graph.ne"):
        return None
    known = all(n.importer.evaluate(operand) is not None for operand in owner.operands)
    return equal == (owner.name == "graph.eq") if known else None


def _truth(n: NodeContext, value: SSAValue, what: str) -> SSAValue:
    """``value``, which holds one boolean, without axes."""
    shape = n.shape(value)
    n.require(math.prod(shape) == 1 and element_of(value) == I1, f"{what} is one boolean, not {show_type(value)}")
    return n.reshape(value, [])


def _guarded(n: NodeContext, taken: Value, convert: Callable[[], Items]) -> Items:
    """What ``convert`` gives; the checks it makes count in runs in which ``taken`` holds."""
    outer = n.importer.guard
    n.importer.guard = (taken if outer is None else taken.op("and", Value(n, outer))).ssa
    try:
        return convert()
    finally:
        n.importer.guard = outer


def _chosen(n: NodeContext, taken: Value, a: Item | None, b: Item | None, what: str) -> Item | None:
    """``a`` where ``taken`` holds, else ``b``: both are of one type."""
    if a is None or b is None or a is b:
        return None if a is None or b is None else a
    if isinstance(a, SSAValue) and isinstance(b, SSAValue) and a.type == b.type:
        return n.build(operation("select"), taken.ssa, a, b)
    if isinstance(a, Listed) and isinstance(b, Listed) and len(a.items) == len(b.items):
        pairs = [_chosen(n, taken, x, y, what) for x, y in zip(a.items, b.items, strict=True)]
        return Listed(tuple(item for item in pairs if isinstance(item, SSAValue)), a.element or b.element)
    if isinstance(a, Maybe) and isinstance(b, Maybe) and (a.item is None) == (b.item is None):
        return Maybe(None) if a.item is None else Maybe(_inner(_chosen(n, taken, a.item, b.item, what)))
    raise Refusal(
        SHAPE_UNKNOWN,
        f"{what} {show_type(a)} and {show_type(b)}, and which of them depends on the model's inputs",
        "Make what decides it a constant of the model, or let both have one type and shape.",
    )


def _inner(item: Item | None) -> SSAValue | Listed | None:
    return None if isinstance(item, Maybe) else item


# Loop ----------------------------------------------------------------------------------------------------------------


class _TooLong(Exception):
    """A loop that is better, or has to be, a loop in the graph. ``bounded``: it could be unrolled all the same."""

    def __init__(self, refusal: Refusal, *, bounded: bool) -> None:
        super().__init__()
        self.refusal, self.bounded = refusal, bounded


def _unrolled_or_rolled(n: NodeContext, unroll: Callable[[int], Items], rolled: Callable[[], Items]) -> Items:
    """What ``unroll`` gives for a loop of few ops, else what ``rolled`` gives; and if that is refused, the first again
    for as many ops as there may be."""
    importer = n.importer
    try:
        return unroll(WORTH_UNROLLING)
    except _TooLong as too_long:
        reason = too_long
    told, refused = len(importer.problems), None
    try:
        results = rolled()
        if not reason.bounded or len(importer.problems) == told:
            return results
    except Refusal as refusal:
        if not reason.bounded:
            raise
        refused = refusal
    del importer.problems[told:]
    try:
        return unroll(MAX_UNROLLED)
    except _TooLong as too_long:
        raise (refused or too_long.refusal) from None


@converter("Loop")
def loop(n: NodeContext) -> Items:
    """Unrolled where it is short (1,000 ops for all rounds it may have), else a loop as a run goes on."""
    return _unrolled_or_rolled(n, lambda most: _Loop(n, most).convert(), lambda: _Loop(n, 0).rolled())


class _Loop:
    """One Loop while it is unrolled. ``going`` is whether the current round counts; None: it surely does."""

    def __init__(self, n: NodeContext, most: int) -> None:
        self.n, self.body, self.most = n, n.graph("body"), most
        self.carried: Items = [n.item(index) for index in range(2, len(n.inputs))]
        scans = len(self.body.outputs) - 1 - len(self.carried)
        if scans < 0 or len(n.node.outputs) > len(self.body.outputs) - 1:
            reason = f"its body has {len(self.body.outputs)} outputs for {len(self.carried)} loop-carried values"
            raise Refusal(INVALID_NODE, f"{reason} and {len(n.node.outputs)} outputs")
        self.scans: list[list[SSAValue]] = [[] for _ in range(scans)]
        self.limit: Extent | None = None  # rounds, where that is known
        self.trips: Value | None = None  # rounds at most, where they are fed
        if n.fed(0):
            self.trips = n.value(0).reshape([])
        elif n.has(0):
            trips = n.extent(0, "its trip count")
            n.require(not isinstance(trips, float), f"its trip count is {trips}")
            self.limit = largest(0, trips)
        self.going: Value | None = None
        self.promise: int | None = None  # rounds that a scan output's declared shape stands for
        self.held: list[Value] = []  # what must hold for the promise

    def convert(self) -> Items:
        n, number, start = self.n, 0, self.n.importer.ops
        if isinstance(self.limit, Dim):
            raise _TooLong(_too_large(""), bounded=False)
        running = self._settle(_truth(n, n.input(1), "its condition")) if n.has(1) else True
        while running and self._more(number):
            outputs = self._round(number)
            number += 1
            if outputs is None:
                return [None] * len(n.node.outputs)
            running = self._settle(_truth(n, outputs, "the condition its body gives"), within=True)
            _limited(n, start, number, self.limit, self.most)
        if self.promise is not None and number < self.promise:
            raise Refusal(INVALID_NODE, f"it runs {number} times, but the model declares {self.promise}")
        return self._results()

    def _more(self, number: int) -> bool:
        """Whether there is a round ``number``, as far as that is known."""
        if self.limit is not None and number >= self.limit:
            return False
        if self.trips is not None:
            more = self.trips > number
            self.going = more if self.going is None else self.going.op("and", more)
        if self.going is None:
            return True
        if self.scans:
            return self._promised(number)
        if self.limit is None:
            raise _TooLong(_too_large(""), bounded=False)
        return True

    def _promised(self, number: int) -> bool:
        """Whether the declared shape of the first scan output has a round ``number``; a run will check that."""
        going = self.going
        assert going is not None
        if self.promise is None:
            self.promise = self._declared()
            if self.promise is None:
                raise _TooLong(_too_large(""), bounded=False)
            if self.promise < number:
                raise Refusal(INVALID_NODE, f"it runs {number} times at least, but the model declares {self.promise}")
        self.held.append(going if number < self.promise else going.op("not"))
        self.going = None  # the run ends unless it is so
        return number < self.promise

    def _declared(self) -> int | None:
        """How many rounds the model declares by the shape of its first scan output."""
        for index in range(len(self.scans)):
            shape = self.n.importer.declared_shape(self.n.node, len(self.carried) + index, self.n.scope)
            if shape and not isinstance(shape[0], Dim):
                return shape[0]
        return None

    def rolled(self) -> Items:
        """The node as a loop of the graph."""
        n, count = self.n, len(self.carried)
        going = _truth(n, n.input(1), "its condition") if n.has(1) else None
        known = None if going is None else n.importer.evaluate(going)
        if known is not None:
            going = None if known.item() else n.constant(False, I1)
        loop = Rolled(
            rounds=self.limit,
            trips=None if self.trips is None else self.trips.ssa,
            going=going,
            carried=self.carried,
            wanted=[n.wants(count + index) for index in range(len(self.scans))],
            promise=self._declared() if self.scans else None,
        )

        def convert(number: SSAValue, carried: Sequence[SSAValue], rows: Sequence[SSAValue]) -> Items | None:
            outputs = n.run(self.body, self._arguments(number, carried))
            if any(item is None for item in outputs):
                return None
            outputs[0] = _truth(n, _tensor_of(n, outputs[0]), "the condition its body gives")
            return outputs if n.has(1) else [n.constant(True, I1), *outputs[1:]]

        return roll(n, loop, convert)[: len(n.node.outputs)]

    def _settle(self, condition: SSAValue, *, within: bool = False) -> bool:
        """Take in a condition: False ends the loop, one that only a run knows makes the next round uncertain."""
        n = self.n
        known = n.importer.evaluate(condition)
        if known is not None:
            return bool(known.item())
        if within and not n.has(1):
            reason = "its condition is left out, but its body computes one from the model's inputs"
            raise n.unsupported(reason, "Give it a condition, or let its body give true.")
        value = Value(n, condition)
        # A select and not an "and": what the condition is computed from is not needed where the loop has ended.
        self.going = value if self.going is None else Values.where(self.going, value, truth(n, False))
        return True

    def _round(self, number: int) -> SSAValue | None:
        """Convert the body once more, and take over its results. The condition it gives, or None if it failed."""
        n = self.n
        n.importer.spend()
        arguments = self._arguments(n.constant(np.int64(number)), self.carried)
        selecting = self.going
        if selecting is None:
            outputs = n.run(self.body, arguments)
        else:
            outputs = _guarded(n, selecting, lambda: n.run(self.body, arguments))
        condition, after = outputs[0], outputs[1 : 1 + len(self.carried)]
        if any(item is None for item in outputs):
            return None
        n.require(isinstance(condition, SSAValue), "the condition its body gives is one boolean")
        if selecting is not None:
            pairs = zip(after, self.carried, strict=True)
            after = [_chosen(n, selecting, new, old, "after and before a round it carries") for new, old in pairs]
        self.carried = list(after)
        for values, item in zip(self.scans, outputs[1 + len(self.carried) :], strict=True):
            values.append(_same(n, values, item, "a round"))
        return condition if isinstance(condition, SSAValue) else None

    def _arguments(self, number: SSAValue, carried: Sequence[Item | None]) -> Items:
        """What the body is called with: both forms of one number are in use."""
        n = self.n
        arguments: Items = [number, n.constant(True, I1), *carried]
        for index, declared in enumerate(self.body.inputs[:2]):
            value = arguments[index]
            if declared.dims == (1,) and isinstance(value, SSAValue):
                arguments[index] = n.reshape(value, [1])
        return arguments

    def _results(self) -> Items:
        """The node's outputs after the last round."""
        n = self.n
        results = [*self.carried]
        for index, values in enumerate(self.scans):
            results.append(_stacked(n, values, 0) if values else self._nothing(index))
        if self.held:
            holds = self.held[0]
            for one in self.held[1:]:
                holds = holds.op("and", one)
            results = [n.checked(x, holds, "how often it runs") if isinstance(x, SSAValue) else x for x in results]
        return results[: len(n.node.outputs)]

    def _nothing(self, index: int) -> SSAValue | None:
        """A scan output of no rounds; what one would be, a round tells that nothing uses."""
        carried, scans = self.carried, self.scans
        self.going, self.promise, self.scans = None, None, [[] for _ in scans]
        made = self._round(0)
        item = self.scans[index][0] if made is not None else None
        self.carried, self.scans = carried, scans
        return None if item is None else _stacked(self.n, [], 0, item)


def _limited(n: NodeContext, start: int, rounds: int, total: Extent | None, most: int) -> None:
    """Give up unrolling a loop that becomes more than ``most`` ops, as soon as that can be seen."""
    made = n.importer.ops - start
    if made > most or (total is not None and made // rounds * total > most):
        often = "" if total is None else f" {total:,} times"
        raise _TooLong(_too_large(often), bounded=True)


def _too_large(often: str) -> Refusal:
    return Refusal(
        MODEL_TOO_LARGE,
        f"unrolled{often} it becomes more than {MAX_UNROLLED:,} operations",
        "Use LSTM, GRU, CumSum or whole-tensor operators in place of the loop.",
    )


def _tensor_of(n: NodeContext, item: Item | None) -> SSAValue:
    n.require(isinstance(item, SSAValue), "the condition its body gives is one boolean")
    assert isinstance(item, SSAValue)
    return item


def _same(n: NodeContext, before: Sequence[SSAValue], item: Item | None, what: str) -> SSAValue:
    """``item``, a tensor of the type of those before it."""
    if not isinstance(item, SSAValue):
        raise Refusal(INVALID_NODE, "a scan output of its body is not a tensor")
    if before and before[0].type != item.type:
        reason = f"its body gives {show_type(item)} in {what}, after {show_type(before[0])}: they cannot be stacked"
        raise Refusal(INVALID_NODE, reason)
    return item


def _stacked(n: NodeContext, values: Sequence[SSAValue], axis: int, like: SSAValue | None = None) -> SSAValue:
    """Values of one type stacked along a new axis; none of them: no elements of the type of ``like``."""
    one = values[0] if values else like
    assert one is not None
    shape = list(n.shape(one))
    axis = n.normal_axis(axis, len(shape) + 1)
    shape.insert(axis, 1 if values else 0)
    if not values:
        return n.constant(np.empty(shape, numpy_dtype(element_of(one))))
    parts = [n.reshape(value, shape) for value in values]
    return parts[0] if len(parts) == 1 else n.build(Concat, *parts, axis=axis)


# Scan ----------------------------------------------------------------------------------------------------------------


@converter("Scan")
def scan_by_batch(n: NodeContext) -> Items:
    """Unrolled (opset 8: for every element of the batch too; lengths are known when compiling)."""
    scans, states = _split(n, first=1)
    extents = {n.shape(value)[:2] for value in scans if n.rank(value) >= 2}
    n.require(len(extents) == 1, "its scan inputs have one batch and one sequence axis of equal extents")
    ((batch, length),) = extents
    n.require(all(n.rank(s) >= 1 and n.shape(s)[0] == batch for s in states), "its states have the batch first")
    lengths = n.ints(0, "its sequence_lens", [length] * batch) or []
    n.require(len(lengths) == batch and all(0 <= x <= length for x in lengths), "its sequence_lens fit its inputs")
    if not batch:
        raise n.unsupported("it scans a batch of no elements")
    backward = _flags(n, "directions", len(scans))

    def part(value: SSAValue, index: int) -> SSAValue:
        return _taken(n, value, 0, index)

    rows: list[Items] = []
    for b in range(batch):
        inputs = [slice_of(n, part(value, b), {}, {0: lengths[b]}, {}) for value in scans]
        row = _scan(n, [part(state, b) for state in states], inputs, [0] * len(inputs), backward)
        for index in range(len(states), len(row)):
            value = row[index]
            if isinstance(value, SSAValue) and lengths[b] < length:
                rest = [length - lengths[b], *n.shape(value)[1:]]
                zeros = n.expand(n.number(0, value), rest)
                row[index] = n.build(Concat, value, zeros, axis=0)
        rows.append(row)
    results: Items = []
    for column in zip(*rows, strict=True):
        known = [item for item in column if isinstance(item, SSAValue)]
        results.append(_stacked(n, known, 0) if len(known) == batch else None)
    return results


@converter("Scan", since=9)
def scan(n: NodeContext) -> Items:
    """Unrolled; all axes and directions."""
    scans, states = _split(n, first=0)
    given = [int(item) for item in n.attribute_list("scan_input_axes")] or [0] * len(scans)
    n.require(len(given) == len(scans), f"scan_input_axes are {len(scans)} numbers, not {len(given)}")
    n.require(all(n.rank(value) for value in scans), "its scan inputs have an axis to scan")
    axes = [n.normal_axis(axis, n.rank(value)) for axis, value in zip(given, scans, strict=True)]
    results = _scan(n, states, scans, axes, _flags(n, "scan_input_directions", len(scans)))
    count = len(results) - len(states)
    out_axes = [int(item) for item in n.attribute_list("scan_output_axes")] or [0] * count
    n.require(len(out_axes) == count, f"scan_output_axes are {count} numbers, not {len(out_axes)}")
    for index, axis in enumerate(out_axes, len(states)):
        value = results[index]
        if isinstance(value, SSAValue):
            order = list(range(1, n.rank(value)))
            order.insert(n.normal_axis(axis, n.rank(value)), 0)
            results[index] = n.transpose(value, order)
    for index, reverse in enumerate(_flags(n, "scan_output_directions", count), len(states)):
        value = results[index]
        if reverse and isinstance(value, SSAValue):
            axis = n.normal_axis(out_axes[index - len(states)], n.rank(value))
            extent = n.shape(value)[axis]
            results[index] = slice_of(n, value, {axis: extent - 1}, {}, {axis: -1}) if extent else value
    return results


def _split(n: NodeContext, first: int) -> tuple[list[SSAValue], list[SSAValue]]:
    """The scan inputs and the initial states, which stand before them from input ``first`` on."""
    values = [n.input(index) for index in range(first, len(n.inputs))]
    count = n.int("num_scan_inputs")
    n.require(1 <= count <= len(values), f"num_scan_inputs is {count}, but it has {len(values)} inputs")
    return values[len(values) - count :], values[: len(values) - count]


def _flags(n: NodeContext, name: str, count: int) -> list[bool]:
    """One direction each: True is backward."""
    values = [int(item) for item in n.attribute_list(name)] or [0] * count
    n.require(len(values) == count and set(values) <= {0, 1}, f"{name} are {count} zeros and ones, not {values[:8]}")
    return [value == 1 for value in values]


def _taken(n: NodeContext, value: SSAValue, axis: int, index: int) -> SSAValue:
    """The part of ``value`` at position ``index`` of ``axis``, without that axis."""
    one = slice_of(n, value, {axis: index}, {axis: 1}, {})
    return n.reshape(one, [extent for i, extent in enumerate(n.shape(value)) if i != axis])


def _scan(
    n: NodeContext, states: Sequence[SSAValue], scans: Sequence[SSAValue], axes: Sequence[int], backward: Sequence[bool]
) -> Items:
    """Final states, then scan outputs stacked along axis 0."""
    return _unrolled_or_rolled(
        n,
        lambda most: _unrolled_scan(n, states, scans, axes, backward, most),
        lambda: _rolled_scan(n, states, scans, axes, backward),
    )


def _rolled_scan(
    n: NodeContext, states: Sequence[SSAValue], scans: Sequence[SSAValue], axes: Sequence[int], backward: Sequence[bool]
) -> Items:
    body: Graph = n.graph("body")
    fronted = [
        n.transpose(value, [axis, *(i for i in range(n.rank(value)) if i != axis)])
        for value, axis in zip(scans, axes, strict=True)
    ]
    for value in fronted[1:]:
        n.require_equal(n.shape(value)[0], n.shape(fronted[0])[0], "its scan inputs have as many elements to scan")
    wanted = [n.wants(index) for index in range(len(states), len(body.outputs))]
    loop = Rolled(n.shape(fronted[0])[0], None, None, states, fronted, backward, wanted)

    def convert(_: SSAValue, carried: Sequence[SSAValue], rows: Sequence[SSAValue]) -> Items | None:
        made = n.run(body, [*carried, *rows])
        return None if any(item is None for item in made) else [n.constant(True, I1), *made]

    return roll(n, loop, convert)


def _unrolled_scan(
    n: NodeContext,
    states: Sequence[SSAValue],
    scans: Sequence[SSAValue],
    axes: Sequence[int],
    backward: Sequence[bool],
    most: int,
) -> Items:
    body: Graph = n.graph("body")
    extents = {n.shape(value)[axis] for value, axis in zip(scans, axes, strict=True)}
    if any(isinstance(extent, Dim) for extent in extents):
        raise _TooLong(_too_large(""), bounded=False)
    n.require(len(extents) == 1, f"its scan inputs have different numbers of elements to scan: {sorted(extents)}")
    n.require(len(body.outputs) >= len(states), f"its body has {len(body.outputs)} outputs for {len(states)} states")
    n.require(len(body.outputs) >= len(n.node.outputs), f"its body has {len(body.outputs)} outputs, it has more")
    (length,) = extents
    carried: Items = list(states)
    outputs: list[list[SSAValue]] = [[] for _ in body.outputs[len(states) :]]
    start = n.importer.ops
    for number in range(length):
        n.importer.spend()
        parts = [
            _taken(n, value, axis, length - 1 - number if back else number)
            for value, axis, back in zip(scans, axes, backward, strict=True)
        ]
        made = n.run(body, [*carried, *parts])
        if any(item is None for item in made):
            return [None] * len(body.outputs)
        carried = made[: len(states)]
        for state, item in zip(states, carried, strict=True):
            _same(n, [state], item, "a round")
        for values, item in zip(outputs, made[len(states) :], strict=True):
            values.append(_same(n, values, item, "a round"))
        _limited(n, start, number + 1, length, most)
    if length:
        return [*carried, *(_stacked(n, values, 0) for values in outputs)]
    likes = n.run(body, [*states, *(_blank(n, value, axis) for value, axis in zip(scans, axes, strict=True))])
    rest = likes[len(states) :]
    return [*states, *(_stacked(n, [], 0, item) if isinstance(item, SSAValue) else None for item in rest)]


def _blank(n: NodeContext, value: SSAValue, axis: int) -> SSAValue:
    """What a round that there is none of would get of a scan input."""
    shape = [extent for i, extent in enumerate(shape_of(value.type)) if i != axis]
    return n.expand(n.constant(0, element_of(value)), shape)
