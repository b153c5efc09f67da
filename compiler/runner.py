"""The pass runner: takes a module through groups of passes, watched by observers.

In: a module, a context and groups of passes (compiler/pipeline.py). Out: the module, changed in place, and a record of
each step: time, size, what the pass counted. The one idea: the runner itself only runs, times and verifies; printing,
dumping and reproducing a failure are observers, which see the module before and after every step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.compiler.errors import PASS_FAILED, PASS_LEFT_INVALID_IR, InternalError
from penstock.compiler.pipeline import Group, Phase
from penstock.compiler.verification import Violation, verify
from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from penstock.compiler.context import CompilerContext


@dataclass
class Record:
    """One step that has been run: a pass, or a whole phase with its passes in ``steps``.

    ``seconds`` is wall time, that of a phase including verification and observers' work excluded.
    """

    name: str
    phase: str | None
    seconds: float = 0.0
    ops_before: int = 0
    ops_after: int = 0
    statistics: Counter[str] = field(default_factory=Counter[str])
    steps: list[Record] = field(default_factory=list["Record"])

    def as_dict(self) -> dict[str, object]:
        """For ``--json``; seconds to the microsecond."""
        return {
            "name": self.name,
            "seconds": round(self.seconds, 6),
            "ops_before": self.ops_before,
            "ops_after": self.ops_after,
            "statistics": dict(self.statistics),
            "steps": [step.as_dict() for step in self.steps],
        }


class Observer:
    """Sees every step. Each method may look at the module, none may change it."""

    def begin(self, module: ModuleOp, ctx: CompilerContext) -> None:
        """Before the first step of a run."""

    def before_phase(self, phase: Phase, module: ModuleOp, ctx: CompilerContext) -> None:
        """Before the first pass of ``phase``."""

    def after_phase(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        """After the last pass of ``phase`` and its verification."""

    def before_pass(
        self, which: ModulePass, remaining: Sequence[Group], module: ModuleOp, ctx: CompilerContext
    ) -> None:
        """Before a pass; ``remaining`` is what is left to run, this pass included."""

    def after_pass(self, which: ModulePass, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        """After a pass."""

    def failed(self, error: InternalError, which: ModulePass, ctx: CompilerContext) -> None:
        """A pass failed: called before ``error`` is raised, so that a reproducer can be attached to it."""


class Runner:
    """Runs groups of passes on a module.

    ``verify_each`` verifies after every pass instead of only at phase borders; ``locations`` asks that every op names
    its source (off for hand-written IR in tests).
    """

    def __init__(
        self,
        ctx: CompilerContext,
        observers: Sequence[Observer] = (),
        *,
        verify_each: bool = False,
        locations: bool = True,
    ) -> None:
        self.ctx = ctx
        self.observers = list(observers)
        self.verify_each = verify_each
        self.locations = locations

    def run(self, module: ModuleOp, groups: Sequence[Group]) -> list[Record]:
        """Run ``groups`` in order. Raises InternalError for a pass that fails or leaves invalid IR; errors of the
        user's (PenstockError) pass through."""
        for observer in self.observers:
            observer.begin(module, self.ctx)
        records: list[Record] = []
        for index, group in enumerate(groups):
            if group.phase is None:
                records += [self._pass(p, _remaining(groups, index, i), module) for i, p in enumerate(group.passes)]
            else:
                records.append(self._phase(group, group.phase, groups, index, module))
        return records

    def _phase(self, group: Group, phase: Phase, groups: Sequence[Group], index: int, module: ModuleOp) -> Record:
        for observer in self.observers:
            observer.before_phase(phase, module, self.ctx)
        record = Record(phase.name, phase.name, ops_before=count_ops(module))
        for i, which in enumerate(group.passes):
            record.steps.append(self._pass(which, _remaining(groups, index, i), module, phase))
        started = time.perf_counter()
        if group.passes:
            self._verify(module, group.passes[-1], phase)
        record.seconds = sum(step.seconds for step in record.steps) + time.perf_counter() - started
        record.ops_after = count_ops(module)
        for step in record.steps:
            record.statistics.update(step.statistics)
        for observer in self.observers:
            observer.after_phase(phase, record, module, self.ctx)
        return record

    def _pass(
        self, which: ModulePass, remaining: Sequence[Group], module: ModuleOp, phase: Phase | None = None
    ) -> Record:
        for observer in self.observers:
            observer.before_pass(which, remaining, module, self.ctx)
        self.ctx.statistics.clear()
        record = Record(which.name, phase.name if phase else None, ops_before=count_ops(module))
        started = time.perf_counter()
        try:
            which.apply(self.ctx, module)
        except InternalError as error:
            self._report(error, which)
            raise
        except PenstockError:
            raise
        except Exception as error:
            text = str(error).split("\n")[0] or "no message"
            failure = InternalError(
                PASS_FAILED, f"the pass {which.name} failed with {type(error).__name__}: {text.rstrip('.')}."
            )
            failure.__cause__ = error
            self._report(failure, which)
            raise failure from error
        record.seconds = time.perf_counter() - started
        if self.verify_each:
            self._verify(module, which, None)
        record.ops_after = count_ops(module)
        record.statistics = Counter(self.ctx.statistics)
        for observer in self.observers:
            observer.after_pass(which, record, module, self.ctx)
        return record

    def _verify(self, module: ModuleOp, which: ModulePass, phase: Phase | None) -> None:
        try:
            verify(module, phase.allows if phase else None, locations=self.locations)
        except Violation as violation:
            after = f"the phase {phase.name}" if phase else f"the pass {which.name}"
            error = InternalError(PASS_LEFT_INVALID_IR, f"{after} left invalid IR: {violation}.")
            error.__cause__ = violation
            self._report(error, which)
            raise error from violation

    def _report(self, error: InternalError, which: ModulePass) -> None:
        for observer in self.observers:
            observer.failed(error, which, self.ctx)


def count_ops(module: ModuleOp) -> int:
    """How many ops are inside ``module``."""
    return sum(1 for _ in module.walk()) - 1


def count_by_name(module: ModuleOp) -> Counter[str]:
    """How many ops of each name are inside ``module``."""
    counts = Counter(op.name for op in module.walk())
    counts["builtin.module"] -= 1
    return +counts


def _remaining(groups: Sequence[Group], index: int, inner: int) -> list[Group]:
    current = groups[index]
    return [Group(current.passes[inner:], current.phase), *groups[index + 1 :]]
