"""Pattern rewriting: local rules applied until none fires any more.

In: IR and patterns (objects that look at one op and may change what surrounds it). Out: the IR rewritten in place, and
how often each pattern fired. The one idea: a worklist of ops to look at again; every edit goes through ``Rewriter``,
which puts back the ops the edit touches, gives new ops the location of what they replace, and keeps names of values.

    class DoubleNegation(Pattern):
        \"\"\"neg(neg(x)) is x.\"\"\"

        roots = (Neg,)

        def rewrite(self, op: Neg, rewriter: Rewriter) -> None:
            inner = op.operands[0].owner
            if isinstance(inner, Neg):
                rewriter.replace(op, inner.operands[0])

    rewrite(ctx, module, [DoubleNegation()])

xDSL's walker has no limit on the number of rewrites, and its rewrites lose locations; hence this one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from xdsl.dialects.builtin import UNKNOWN_LOC, LocationAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.traits import IsTerminator, SymbolOpInterface, is_side_effect_free

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.counting import is_needed
from penstock.compiler.errors import REWRITE_LIMIT, InternalError
from penstock.compiler.extents import NotStatic, Undecided
from penstock.compiler.locations import describe, fuse, is_known

OpT = TypeVar("OpT", bound=Operation)

REWRITES_PER_OP = 64
LEAST_BUDGET = 10_000


class Pattern(ABC):
    """One rule. ``roots`` are the classes of ops it is tried on, subclasses included; empty means every op."""

    roots: ClassVar[tuple[type[Operation], ...]] = ()

    @abstractmethod
    def rewrite(self, op: Any, rewriter: Rewriter, /) -> None:
        """Change the IR around ``op`` through ``rewriter``, or return without having called it."""

    @property
    def name(self) -> str:
        """What statistics and error messages call it."""
        return type(self).__name__


class Rewriter:
    """The edits a pattern may make. New ops go before the op being rewritten and get its location if they have none."""

    def __init__(self, worklist: Worklist) -> None:
        self._worklist = worklist
        self._root: Operation | None = None
        self._location: LocationAttr = UNKNOWN_LOC
        self.changed = False

    def begin(self, root: Operation) -> None:
        """Called by the driver before a pattern is tried on ``root``."""
        self._root, self._location, self.changed = root, root.location, False

    def covers(self, *ops: Operation) -> None:
        """Say that what is built now stands for all of ``ops``: new ops get their locations, fused."""
        self._location = fuse(*(op.location for op in ops))

    def insert(self, op: OpT, *, before: Operation | None = None, after: Operation | None = None) -> OpT:
        """Insert ``op`` before the root (or before or after a given op) and return it."""
        anchor = after or before or self._root
        assert anchor is not None
        block = _block(anchor)
        if after is None:
            block.insert_op_before(op, anchor)
        else:
            block.insert_op_after(op, anchor)
        self._adopt(op)
        return op

    def replace(self, op: Operation, *new: SSAValue | Operation) -> None:
        """Replace the results of ``op``, one by one, and erase it.

        ``new`` is one value per result, or one op with as many results; an op not yet in a block is inserted before
        ``op``. Raises ValueError when the numbers do not agree.
        """
        for item in new:
            if isinstance(item, Operation) and item.parent is None:
                self.insert(item, before=op)
        if len(new) == 1 and isinstance(new[0], Operation):
            values: Sequence[SSAValue] = new[0].results
        else:
            values = [SSAValue.get(item) for item in new]
        if len(values) != len(op.results):
            raise ValueError(f"{op.name} has {len(op.results)} results, but {len(values)} replace them")
        for old, value in zip(op.results, values, strict=True):
            self.replace_uses(old, value)
        self.erase(op)

    def replace_uses(self, old: SSAValue, new: SSAValue) -> None:
        """Make every use of ``old`` a use of ``new``, which takes over its name if it has none."""
        self.changed = True
        for use in old.uses:
            self._worklist.push(use.operation)
        if new.name_hint is None:
            new.name_hint = old.name_hint
        old.replace_all_uses_with(new)

    def set_operand(self, op: Operation, index: int, value: SSAValue) -> None:
        """Make operand ``index`` of ``op`` be ``value``."""
        self._look_again_at_operands(op)
        op.operands[index] = value
        self.modified(op)

    def erase(self, op: Operation) -> None:
        """Erase ``op``, whose results must have no uses, with all that is in its regions."""
        self.changed = True
        self._look_again_at_operands(op)
        for inner in op.walk():
            self._worklist.discard(inner)
        op.detach()
        op.erase()

    def modified(self, op: Operation) -> None:
        """Say that ``op`` was changed in place: it and its users will be looked at again."""
        self.changed = True
        self._worklist.push(op)
        self._look_again_at_users(op)

    def _adopt(self, op: Operation) -> None:
        self.changed = True
        for inner in op.walk():
            if not is_known(inner.location):
                inner.location = self._location
            self._worklist.push(inner)

    def _look_again_at_users(self, op: Operation) -> None:
        for result in op.results:
            for use in result.uses:
                self._worklist.push(use.operation)

    def _look_again_at_operands(self, op: Operation) -> None:
        for value in op.operands:
            if isinstance(value.owner, Operation):
                self._worklist.push(value.owner)


class Worklist:
    """Ops still to look at, each at most once; last pushed is first out. All operations take constant time."""

    def __init__(self) -> None:
        self._ops: dict[Operation, None] = {}

    def push(self, op: Operation) -> None:
        self._ops[op] = None

    def pop(self) -> Operation:
        return self._ops.popitem()[0]

    def discard(self, op: Operation) -> None:
        self._ops.pop(op, None)

    def __bool__(self) -> bool:
        return bool(self._ops)


def rewrite(
    ctx: CompilerContext, root: Operation, patterns: Sequence[Pattern], *, budget: int | None = None
) -> Counter[str]:
    """Apply ``patterns`` to every op inside ``root`` until none fires; ops that become dead are erased.

    Ops are first visited in order; on each, the patterns are tried in the order given. A pattern whose condition
    depends on the sizes of a run does not fire. ``budget`` is the greatest number of rewrites (default: 64 per op, at
    least 10,000). Returns how often each pattern fired (``dead`` counts erased ops), which is also added to
    ``ctx.statistics``. Raises InternalError when the budget is used up.
    """
    worklist = Worklist()
    ops = [op for op in root.walk() if op is not root]
    for op in reversed(ops):
        worklist.push(op)
    left = budget if budget is not None else max(LEAST_BUDGET, REWRITES_PER_OP * len(ops))
    fired: Counter[str] = Counter()
    rewriter = Rewriter(worklist)
    given_up = False
    table: dict[type[Operation], list[Pattern]] = {}
    while worklist:
        op = worklist.pop()
        if op.parent is None:
            continue  # built by a pattern that gave up
        if is_dead(op):
            rewriter.begin(op)
            rewriter.erase(op)
            fired["dead"] += 1
            continue
        kind = type(op)
        if kind not in table:
            bases = kind.__mro__  # issubclass would ask every subclass of an abstract base
            table[kind] = [p for p in patterns if not p.roots or any(root in bases for root in p.roots)]
        for pattern in table[kind]:
            rewriter.begin(op)
            try:
                pattern.rewrite(op, rewriter)
            except (Undecided, NotStatic):  # what depends on the sizes of a run is no reason to rewrite
                given_up = True
            if rewriter.changed:
                fired[pattern.name] += 1
                left -= 1
                if left < 0:
                    raise _out_of_budget(pattern, op, fired)
                break
    if given_up:
        drop_detached_users(root)
        fired["dead"] += erase_dead(root)
    ctx.statistics.update(fired)
    return fired


def drop_detached_users(root: Operation) -> None:
    """Forget ops that were built and then given up: they stand nowhere, but use values inside ``root``."""
    values = [result for op in root.walk() for result in op.results]
    values += [value for op in root.walk() for region in op.regions for block in region.blocks for value in block.args]
    for value in values:
        for use in list(value.uses):
            if use.operation.parent is None:
                use.operation.drop_all_references()


def _out_of_budget(pattern: Pattern, op: Operation, fired: Counter[str]) -> InternalError:
    most, times = fired.most_common(1)[0]
    return InternalError(
        REWRITE_LIMIT,
        f"patterns keep rewriting without end: {most} fired {times} times; the last was {pattern.name} "
        f"on a {op.name} from {describe(op.location)}.",
    )


def is_dead(op: Operation) -> bool:
    """True if nothing uses the results of ``op`` and leaving it out changes nothing else."""
    for result in op.results:
        if result.first_use is not None:
            return False
    if op.has_trait(IsTerminator) or op.get_trait(SymbolOpInterface) is not None or is_needed(op):
        return False
    return is_side_effect_free(op)


def erase_dead(root: Operation) -> int:
    """Erase every dead op inside ``root``; returns how many. One sweep from the end to the beginning suffices."""
    erased = 0
    for region in root.regions:
        for block in reversed(list(region.blocks)):
            for op in reversed(list(block.ops)):
                if is_dead(op):
                    op.detach()
                    op.erase()
                    erased += 1
                elif op.regions:
                    erased += erase_dead(op)
    return erased


def move_body_before(region: Region, anchor: Operation, arguments: Iterable[SSAValue]) -> list[SSAValue]:
    """Inline the single block of ``region`` before ``anchor``, its arguments replaced by ``arguments``.

    Returns the operands of the block's terminator, which is erased; the block is left empty.
    """
    block = region.block
    for argument, value in zip(block.args, arguments, strict=True):
        argument.replace_all_uses_with(value)
    terminator = block.last_op
    assert terminator is not None
    values = list(terminator.operands)
    terminator.detach()
    terminator.erase()
    for op in list(block.ops):
        op.detach()
        _block(anchor).insert_op_before(op, anchor)
    return values


def _block(op: Operation) -> Block:
    block = op.parent
    assert block is not None, f"{op.name} is in no block"
    return block
