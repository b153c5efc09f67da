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
from typing import TYPE_CHECKING, ClassVar

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
    """Sees every step. Each method may look at the module, none may change it.

    ``reads_ir`` is false for one that does not care what is in the module: then kernels may come from the cache, and
    stand in the IR without bodies.
    """

    reads_ir: ClassVar[bool] = True

    def begin(self, module: ModuleOp, ctx: CompilerContext) -> None:
        """Before the first step of a run."""

    def imported(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        """After the phase import, which has no passes."""

    def before_phase(self, phase: Phase, module: ModuleOp, ctx: CompilerContext) -> None:
        """Before the first pass of ``phase``."""

    def after_phase(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        """After the last pass of ``phase`` and its verification."""

    def before_pass(self, which: ModulePass, module: ModuleOp, ctx: CompilerContext) -> None:
        """Before a pass."""

    def after_pass(self, which: ModulePass, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        """After a pass."""


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
        self.completed = 0
        """How many passes have run to their end: after a failure, the number of the pass that failed, from 0."""
        self._checked: frozenset[str] = frozenset()
        """Dialects that could occur when all of the module was verified at a phase's border."""

    def run(self, module: ModuleOp, groups: Sequence[Group]) -> list[Record]:
        """Run ``groups`` in order. Raises InternalError for a pass that fails or leaves invalid IR; errors of the
        user's (PenstockError) pass through."""
        for observer in self.observers:
            observer.begin(module, self.ctx)
        records: list[Record] = []
        self.completed = 0
        for group in groups:
            if group.phase is None:
                records += [self._pass(which, module) for which in group.passes]
            else:
                records.append(self._phase(group, group.phase, module))
        return records

    def _phase(self, group: Group, phase: Phase, module: ModuleOp) -> Record:
        for observer in self.observers:
            observer.before_phase(phase, module, self.ctx)
        record = Record(phase.name, phase.name, ops_before=count_ops(module))
        for which in group.passes:
            record.steps.append(self._pass(which, module, phase))
        started = time.perf_counter()
        if group.passes:
            self.completed -= 1  # the last pass is done only when what the phase leaves is valid
            self._verify(module, group.passes[-1], phase)
            self.completed += 1
        record.seconds = sum(step.seconds for step in record.steps) + time.perf_counter() - started
        record.ops_after = count_ops(module)
        for step in record.steps:
            record.statistics.update(step.statistics)
        for observer in self.observers:
            observer.after_phase(phase, record, module, self.ctx)
        return record

    def _pass(self, which: ModulePass, module: ModuleOp, phase: Phase | None = None) -> Record:
        for observer in self.observers:
            observer.before_pass(which, module, self.ctx)
        self.ctx.statistics.clear()
        record = Record(which.name, phase.name if phase else None, ops_before=count_ops(module))
        started = time.perf_counter()
        try:
            which.apply(self.ctx, module)
        except (PenstockError, MemoryError):
            raise
        except Exception as error:
            text = str(error).split("\n")[0] or "no message"
            sentence = f"the pass {which.name} failed with {type(error).__name__}: {text.rstrip('.')}."
            raise InternalError(PASS_FAILED, sentence) from error
        record.seconds = time.perf_counter() - started
        if self.verify_each:
            self._verify(module, which, None)
        self.completed += 1
        record.ops_after = count_ops(module)
        record.statistics = Counter(self.ctx.statistics)
        for observer in self.observers:
            observer.after_pass(which, record, module, self.ctx)
        return record

    def _verify(self, module: ModuleOp, which: ModulePass, phase: Phase | None) -> None:
        try:
            if phase is None:
                verify(module, None, locations=self.locations)
                return
            sealed = {name for name in phase.sealed if name.split(".")[0] in self._checked}
            verify(module, phase.allows, locations=self.locations, sealed=sealed)
            if not sealed:
                self._checked = phase.dialects
        except Violation as violation:
            after = f"the phase {phase.name}" if phase else f"the pass {which.name}"
            raise InternalError(PASS_LEFT_INVALID_IR, f"{after} left invalid IR: {violation}.") from violation


def count_ops(module: ModuleOp) -> int:
    """How many ops are inside ``module``."""
    count = 0
    regions = list(module.regions)
    while regions:  # faster than ``walk``, and done after every pass
        for block in regions.pop().blocks:
            for op in block.ops:
                count += 1
                regions += op.regions
    return count


def count_by_name(module: ModuleOp) -> Counter[str]:
    """How many ops of each name are inside ``module``."""
    counts = Counter(op.name for op in module.walk())
    counts["builtin.module"] -= 1
    return +counts
