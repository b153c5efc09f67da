"""Structured control flow of a kernel as basic blocks and phis.

In: ``scf.for``, ``scf.if`` and ``scf.while`` with carried tiles. Out: blocks; one phi per carried machine vector.
The one idea: loops test at the bottom, so the body of a simple loop is a single block, which is what LLVM's code
generator does best without a middle end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from xdsl.dialects import scf
from xdsl.ir import SSAValue

from penstock.compiler.backends.llvm.emitter import CONTEXT_TAKE, Emitter, handles
from penstock.compiler.backends.llvm.tiles import Row, Tile, chunks
from penstock.compiler.backends.llvm.writer import Phi, Value
from penstock.compiler.dialects.tile.memory import Take


def _machine_rows(emitter: Emitter, tile: Tile) -> list[Row]:
    """The rows with every machine vector made, as phis need them."""
    return [tuple(chunks(emitter.writer, row, tile.last, emitter.width)) for row in tile.rows]


def _values(emitter: Emitter, values: Sequence[SSAValue]) -> list[list[Row]]:
    return [_machine_rows(emitter, emitter.tile(value)) for value in values]


def _phis(emitter: Emitter, like: list[list[Row]]) -> list[list[tuple[Phi, ...]]]:
    return [[tuple(emitter.writer.phi(v.element, v.lanes) for v in row) for row in rows] for rows in like]


def _results(phis: list[list[tuple[Phi, ...]]]) -> list[list[Row]]:
    return [[tuple(phi.value for phi in row) for row in rows] for rows in phis]


def _incoming(phis: list[list[tuple[Phi, ...]]], values: list[list[Row]], label: str) -> None:
    for phi, value in zip(chain(*chain(*phis)), chain(*chain(*values)), strict=True):
        phi.incoming.append((value.text, label))


def _finish(emitter: Emitter, phis: list[list[tuple[Phi, ...]]]) -> None:
    for phi in chain(*chain(*phis)):
        emitter.writer.finish_phi(phi)


def _define(emitter: Emitter, values: Sequence[SSAValue], rows: list[list[Row]]) -> None:
    for value, its_rows in zip(values, rows, strict=True):
        emitter.define(value, its_rows)


@handles("scf.for")
def emit_for(emitter: Emitter, op: scf.ForOp) -> None:
    """Guard, body that tests at its end, exit. A loop known to run at least once has no guard."""
    writer = emitter.writer
    lower, upper, step = (emitter.scalar(bound) for bound in (op.lb, op.ub, op.step))
    initial = _values(emitter, op.iter_args)
    if lower.number is not None and upper.number is not None and lower.number >= upper.number:
        _define(emitter, op.results, initial)
        return
    body, leave = writer.label("loop"), writer.label("done")
    guarded = lower.number is None or upper.number is None
    loop = emitter.addressing.before(op, lower, emitter.known_scalar, emitter.pointers)
    before = writer.block
    if guarded:
        writer.branch(writer.compare("icmp slt", lower, upper), body, leave)
    else:
        writer.jump(body)
    emitter.start(body)
    index = writer.phi("i64", 1)
    index.incoming.append((lower.text, before))
    carried = _phis(emitter, initial)
    _incoming(carried, initial, before)
    emitter.addressing.enter(loop, before)
    emitter.addressing.index(loop, index.value)
    emitter.define(op.body.block.args[0], [(index.value,)])
    _define(emitter, op.body.block.args[1:], _results(carried))
    terminator = emitter.block(op.body.block)
    following = _values(emitter, terminator.operands)
    latch = writer.block
    emitter.addressing.leave(loop, step, latch)
    increment = writer.emit(f"add nsw {index.value}, {step.text}", "i64")
    again = writer.compare("icmp slt", increment, upper)
    index.incoming.append((increment.text, latch))
    _incoming(carried, following, latch)
    writer.finish_phi(index)
    _finish(emitter, carried)
    writer.branch(again, body, leave)
    emitter.start(leave)
    results = _phis(emitter, initial)
    if guarded:
        _incoming(results, initial, before)
    _incoming(results, following, latch)
    _finish(emitter, results)
    _define(emitter, op.results, _results(results))


@handles("scf.if")
def emit_if(emitter: Emitter, op: scf.IfOp) -> None:
    """Two sides and a merge; without results an absent side is the merge itself."""
    writer = emitter.writer
    condition = emitter.scalar(op.cond)
    then, otherwise, merge = writer.label("then"), writer.label("else"), writer.label("endif")
    has_else = bool(op.false_region.blocks) and bool(op.results or len(op.false_region.block.ops) > 1)
    writer.branch(condition, then, otherwise if has_else else merge)
    arms: list[tuple[list[list[Row]], str]] = []
    for region, label in ((op.true_region, then), (op.false_region, otherwise)):
        if label is otherwise and not has_else:
            continue
        emitter.start(label)
        terminator = emitter.block(region.block)
        arms.append((_values(emitter, terminator.operands), writer.block))
        writer.jump(merge)
    emitter.start(merge)
    if not op.results:
        return
    phis = _phis(emitter, arms[0][0])
    for values, label in arms:
        _incoming(phis, values, label)
    _finish(emitter, phis)
    _define(emitter, op.results, _results(phis))


@handles("scf.while")
def emit_while(emitter: Emitter, op: scf.WhileOp) -> None:
    """Test at the top: the condition's block, the body, and back."""
    writer = emitter.writer
    test, body, leave = writer.label("test"), writer.label("body"), writer.label("done")
    initial = _values(emitter, op.arguments)
    entry = writer.block
    writer.jump(test)
    emitter.start(test)
    carried = _phis(emitter, initial)
    _incoming(carried, initial, entry)
    _define(emitter, op.before_region.block.args, _results(carried))
    condition = emitter.block(op.before_region.block)
    assert isinstance(condition, scf.ConditionOp)
    forwarded = _values(emitter, condition.operands[1:])
    go_on: Value = emitter.scalar(condition.operands[0])
    writer.branch(go_on, body, leave)
    emitter.start(body)
    _define(emitter, op.after_region.block.args, forwarded)
    terminator = emitter.block(op.after_region.block)
    following = _values(emitter, terminator.operands)
    _incoming(carried, following, writer.block)
    _finish(emitter, carried)
    writer.jump(test)
    emitter.start(leave)
    _define(emitter, op.results, forwarded)


@handles("tile.take")
def emit_take(emitter: Emitter, op: Take) -> None:
    """A call of the function in the context."""
    w = emitter.writer
    place = w.emit(f"getelementptr i8, ptr %ctx, i64 {CONTEXT_TAKE}", "ptr")
    function = w.emit(f"load ptr, {place}", "ptr")
    emitter.define(op.results[0], [(w.emit(f"call i64 {function.text}(ptr %ctx)", "i64"),)])
