"""The verifier: is this IR well formed, and is it IR that may stand after this phase?

In: a module and, at a phase's border, what the phase allows. Out: nothing, or ``Violation`` naming the op, where it is
and the rule it breaks. The one idea: one walk checks everything, in order: each op's own rules (xDSL's), that values
are defined before they are used (which xDSL does not check), that nothing from outside is used in an isolated region,
that every op says which source nodes it comes from, and that only the dialects of the phase occur.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from itertools import chain

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, OpResult, SSAValue
from xdsl.traits import IsolatedFromAbove, IsTerminator
from xdsl.utils.exceptions import VerifyException

from penstock.compiler.dialects.plan.program import Program
from penstock.compiler.locations import describe, is_known

Allows = Callable[[Operation], str | None]
"""Why an op may not stand here (a clause such as 'graph.conv is not lowered yet'), or None if it may."""

WITHOUT_SOURCE = (ModuleOp, FuncOp, ReturnOp, Program)
"""Ops that hold a program together and come from no node of the user's model; so do terminators."""


class Violation(VerifyException):
    """A broken rule: ``op`` is the op that breaks it, ``rule`` a clause that says which."""

    def __init__(self, op: Operation, rule: str) -> None:
        self.op, self.rule = op, rule
        super().__init__(f"{rule}: {one_line(op)}{_where(op)}")


def verify(
    module: Operation, allows: Allows | None = None, *, locations: bool = True, sealed: AbstractSet[str] = frozenset()
) -> None:
    """Check ``module``; raises Violation at the first op that breaks a rule.

    ``allows`` says what may stand here (see ``Phase.allows``); ``locations`` asks for a known location on every op;
    what is inside ops with names in ``sealed`` was checked before and is taken for unchanged.
    Costs about 20 microseconds per op, nearly all of it the ops' own rules.
    """
    _Verifier(allows, locations, sealed).op(module, set())


class _Verifier:
    def __init__(self, allows: Allows | None, locations: bool, sealed: AbstractSet[str]) -> None:
        self._allows, self._locations, self._sealed = allows, locations, sealed

    def op(self, op: Operation, visible: set[SSAValue]) -> None:
        """Check ``op``, whose operands must be in ``visible``, and what is inside it."""
        for operand in op.operands:
            if operand not in visible:
                raise Violation(op, _why_invisible(op, operand))
        if self._locations and not isinstance(op, WITHOUT_SOURCE) and not op.has_trait(IsTerminator):
            self._check_location(op)
        reason = self._allows(op) if self._allows else None
        if reason is not None:
            raise Violation(op, reason)
        if op.regions and op.name not in self._sealed:
            inner: set[SSAValue] = set() if op.has_trait(IsolatedFromAbove) else visible
            for region in op.regions:
                self._blocks(op, list(region.blocks), inner)
        try:
            op.verify(verify_nested_ops=False)
        except (VerifyException, ValueError) as error:
            raise Violation(op, str(error).split("\n")[0].rstrip(".")) from error

    def _blocks(self, parent: Operation, blocks: list[Block], visible: set[SSAValue]) -> None:
        """Check a region: values of its blocks are visible in it only.

        In a region of several blocks (control flow that penstock itself never builds) a value counts as visible in
        all of them.
        """
        added: list[SSAValue] = []
        if len(blocks) > 1:
            added = list(chain.from_iterable((*b.args, *(r for o in b.ops for r in o.results)) for b in blocks))
            visible.update(added)
        for block in blocks:
            added += block.args
            visible.update(block.args)
            for op in block.ops:
                if op.parent is not block:
                    raise Violation(op, "it is listed in a block that is not its parent")
                self.op(op, visible)
                added += op.results
                visible.update(op.results)
        visible.difference_update(added)
        if blocks and blocks[0].is_empty and not isinstance(parent, ModuleOp):
            raise Violation(parent, "its body is empty")

    def _check_location(self, op: Operation) -> None:
        if not is_known(op.location):
            raise Violation(op, "it has no location, so nobody can tell which node of the model it comes from")


def _why_invisible(op: Operation, operand: SSAValue) -> str:
    if isinstance(operand, OpResult) and operand.op.parent is op.parent:  # what is nowhere defined has no owner
        return "it uses a value that is defined after it"
    return "it uses a value that is not visible here"


def one_line(op: Operation) -> str:
    """``op`` without its regions, on one line of at most 200 characters, for messages."""
    results = ", ".join(f"%{r.name_hint or index}" for index, r in enumerate(op.results))
    types = ", ".join(str(value.type) for value in op.operands)
    to = ", ".join(str(value.type) for value in op.results)
    text = f"{results} = {op.name} : ({types}) -> {to}" if op.results else f"{op.name} ({types})"
    return text if len(text) <= 200 else text[:197] + "..."


def _where(op: Operation) -> str:
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, FuncOp) and "sym_name" not in parent.attributes:
        parent = parent.parent_op()
    inside = ""
    if parent is not None:
        name = parent.sym_name.data if isinstance(parent, FuncOp) else parent.attributes["sym_name"]
        inside = f", in @{str(name).strip(chr(34))}"
    return inside + (f", from {describe(op.location)}" if is_known(op.location) else "")
