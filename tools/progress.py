"""Progress of a compilation on a terminal: the phase and pass that run now.

In: what the runner tells its observers. Out: a line on standard error that changes, on a terminal only.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.compiler.pipeline import PHASES, Phase
from penstock.compiler.runner import Observer

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from penstock.compiler.context import CompilerContext


class _Bar(Observer):
    """Tells a rich progress bar where the compilation is; without a bar, does nothing."""

    reads_ir: ClassVar[bool] = False

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task = bar, task

    def before_phase(self, phase: Phase, module: ModuleOp, ctx: CompilerContext) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=phase.number - 1, step=phase.name)

    def before_pass(self, which: ModulePass, module: ModuleOp, ctx: CompilerContext) -> None:
        if self._bar is not None:
            self._bar.update(self._task, step=which.name)


@contextmanager
def progress(title: str, *, show: bool) -> Generator[Observer]:
    """An observer that shows progress while the block runs, if ``show`` and standard error is a terminal."""
    if not (show and sys.stderr.isatty()):
        yield _Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[step]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=len(PHASES), step="import")
        yield _Bar(bar, task)
