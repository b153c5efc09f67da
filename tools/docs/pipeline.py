"""docs/pipeline.md: the phases, their passes, and how to look between them.

In: compiler/pipeline.py and the passes' docstrings. Out: the table of phases, and every pass with its documentation.
"""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = "docs/pipeline.md"

ABOUT = """\
# The pipeline

A model goes down ten named phases. Each is a list of passes; after each, a verifier checks that the IR is well formed
and holds only what the phase allows. `compiler/pipeline.py` is the only description of this: the driver, dumps, the
command line and this page derive from it.
"""

LOOKING = """\
## Looking between the steps

A *step* is a phase or a pass.

| to ... | say |
|---|---|
| see the IR after a step | `penstock compile model.onnx --print-ir-after=fuse` |
| see it whenever it changed | `penstock compile model.onnx --print-ir-after=changed` |
| keep the IR after every step | `penstock compile model.onnx --dump-dir dump` |
| go on from a dump, edited or not | `penstock compile dump/06-fuse.mlir` (or `--from=lower`) |
| run the first phases only | `penstock compile model.onnx --to=fuse` |
| run some passes on a text | `penstock opt dump/05-layout.mlir -p 'fuse{max-ops=8}'` |
| see where compile time goes | `penstock compile model.onnx --time` |

A pipeline, as `-p` takes it, is a list of passes and phases: `canonicalise,fuse{max-ops=8},lower`. A phase stands for
its passes; options given to it go to those of them that have such an option.

`--dump-dir` writes one file per phase (`06-fuse.mlir`) and one per pass that changed something
(`06-fuse.01-form-dispatches.mlir`). Each opens with what happened: what the step is for, how many ops of which kind
came and went, what its passes counted, and which source nodes the IR comes from. Weights lie beside, once, in
`weights/`, named by their digest; kernels one to a file in `kernels/`. Any of these files is input to `penstock opt`
and `penstock compile`, and gives the same artifact as the original run.

## When a pass fails

An exception in a pass, or IR that breaks a rule after it, is a defect of penstock. It ends in one sentence and a folder
`penstock-failure-...`, which holds the IR before the failing pass with its weights, the rest of the pipeline, the
versions of everything, the traceback, and the command that runs it again. Nothing is recorded while all goes well:
compilation is deterministic, so the run is repeated up to the failing pass.

## What the verifier checks

After every phase, and with `--verify-each` (always in tests and in `penstock opt`) after every pass:

* every op's own rules: operands, parameters, result types;
* a value is defined before it is used, and visible where it is used;
* every op names the source nodes it comes from;
* only the dialects and ops that the phase allows occur.

The phases after lower do not change what is inside of kernels, so that is verified once, at the first of these borders
that a run comes to.
"""


def render(root: Path) -> str:
    """The page."""
    from penstock.compiler.pipeline import PHASES

    lines = [ABOUT, "| # | phase | from | to | what it does |", "|---|---|---|---|---|"]
    lines += [f"| {p.number} | [{p.name}](#{p.name}) | {p.takes} | {p.gives} | {p.doc} |" for p in PHASES]
    lines += ["", LOOKING, "## The phases and their passes"]
    for phase in PHASES:
        lines += ["", f"### {phase.name}", "", phase.doc, ""]
        lines.append(
            f"Dialects allowed after it: {', '.join(f'`{name}`' for name in sorted(phase.dialects))}" + _limits(phase)
        )
        if phase.passes:
            lines += ["", f"Passes, in order: {', '.join(f'`{name}`' for name in phase.passes)}."]
        lines += _passes_of(phase.name)
    return "\n".join(lines) + "\n"


def _limits(phase: Any) -> str:
    """The sentence's end: what of those dialects may not occur."""
    text = f", without {', '.join(f'`{name}`' for name in sorted(phase.forbidden))}" if phase.forbidden else ""
    if phase.main:
        text += f"; directly in a function only {', '.join(f'`{name}`' for name in sorted(phase.main))}"
    return text + "."


def _passes_of(phase: str) -> list[str]:
    """A section for every pass in the phase's folder: its module's documentation and its options."""
    from penstock.compiler.pipeline import pass_class, pass_files

    lines: list[str] = []
    for file in pass_files().values():
        if file.phase != phase:
            continue
        which = pass_class(file.name)
        text = inspect.cleandoc(import_module(which.__module__).__doc__ or "").replace("``", "`")
        lines += ["", f"#### {file.name}", "", text]
        options = [item for item in dataclasses.fields(which) if item.init]
        if options:
            listed = ", ".join(f"`{item.name.replace('_', '-')}` (default {_default(item)})" for item in options)
            lines += ["", f"Options: {listed}."]
    return lines


def _default(item: dataclasses.Field[Any]) -> str:
    return "none" if item.default in ((), None, dataclasses.MISSING) else str(item.default)
