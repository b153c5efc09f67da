"""Printing IR while it is compiled: ``--print-ir-before`` and ``--print-ir-after``.

In: names of passes and phases, ``all`` or ``changed``. Out: IR text on a stream, each piece under a line that says
what it is. The one idea: an observer that prints and otherwise leaves the run alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from penstock.compiler.errors import BAD_VALUE, OptionError, nearest
from penstock.compiler.irtext import to_text
from penstock.compiler.pipeline import PHASE_NAMES, Phase, pass_files
from penstock.compiler.runner import Observer, Record

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from penstock.compiler.context import CompilerContext

ALL, CHANGED = "all", "changed"


class IRPrinter(Observer):
    """Prints the module before and after the passes and phases asked for.

    ``before`` and ``after`` hold names of passes or phases, or ``all``; ``after`` also ``changed`` (every pass that
    changed something). Raises OptionError for a name that is none of these.
    """

    def __init__(self, before: Iterable[str], after: Iterable[str], stream: TextIO, *, locations: bool = True) -> None:
        self._before, self._after = _names(before, (ALL,)), _names(after, (ALL, CHANGED))
        self._stream, self._locations = stream, locations
        self._text = ""

    def begin(self, module: ModuleOp, ctx: CompilerContext) -> None:
        if CHANGED in self._after:
            self._text = to_text(module)

    def before_phase(self, phase: Phase, module: ModuleOp, ctx: CompilerContext) -> None:
        if phase.name in self._before:
            self._print(f"before phase {phase.name}", module)

    def after_phase(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        if phase.name in self._after:
            self._print(f"after phase {phase.name}", module)

    def before_pass(self, which: ModulePass, module: ModuleOp, ctx: CompilerContext) -> None:
        if which.name in self._before or ALL in self._before:
            self._print(f"before {which}", module)

    def after_pass(self, which: ModulePass, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        text = to_text(module) if CHANGED in self._after else ""
        changed, self._text = text != self._text, text
        if which.name in self._after or ALL in self._after or (CHANGED in self._after and changed):
            self._print(f"after {which}", module)

    def _print(self, title: str, module: ModuleOp) -> None:
        self._stream.write(f"// ----- IR {title} -----\n{to_text(module, locations=self._locations)}\n")


def _names(asked: Iterable[str], words: tuple[str, ...]) -> frozenset[str]:
    names = frozenset(name.strip() for item in asked for name in item.split(",") if name.strip())
    known = {*words, *PHASE_NAMES, *pass_files()}
    for name in sorted(names - known):
        raise OptionError(
            BAD_VALUE,
            f"IR cannot be printed around '{name}', which is no pass or phase{nearest(name, known)}",
            f"Use a pass, a phase, or {' or '.join(words)}.",
        )
    return names
