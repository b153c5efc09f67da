"""docs/errors.md: every error code, what it means and what to do.

In: compiler/errors.py and runtime/errors.py. Out: a table per kind.
"""

from __future__ import annotations

from pathlib import Path

PAGE = "docs/errors.md"

KINDS = {
    "M": ("The model", "`penstock check` tells all of them at once, by node."),
    "O": ("Options, pipelines and inputs of a command", ""),
    "I": ("IR text", "What `penstock opt` and `--from` read."),
    "T": ("The target", ""),
    "A": ("Writing the artifact", ""),
    "R": (
        "Loading and running an artifact",
        "Raised as `penstock.RuntimeFailure`; the native library returns the same numbers (`enum pens_status`).",
    ),
    "X": (
        "Defects of penstock",
        (
            "Exit status 1. A folder `penstock-failure-...` holds the IR before the failing pass, the traceback and "
            "the command that runs it again: please report it."
        ),
    ),
}


def render(root: Path) -> str:
    """The page."""
    from penstock.compiler.errors import codes
    from penstock.runtime.errors import CODES

    entries = [(str(code), code.meaning, code.remedy) for code in codes().values()]
    entries += [(entry.code, _readable(entry.template), entry.hint) for entry in CODES.values()]
    lines = [
        "# Errors",
        "",
        "What a person can act on ends in one sentence, a code and a hint: an exception derived from",
        "`penstock.PenstockError` with `code`, `message` and `hint`, or exit status 2. A code names a kind of failure",
        "for ever; the wording may improve. There is no traceback unless `penstock --debug` asks for one.",
    ]
    for letter, (title, about) in KINDS.items():
        lines += ["", f"## {title}: PENS-{letter}", ""]
        lines += [about, ""] if about else []
        lines += ["| code | what happened | what to do |", "|---|---|---|"]
        lines += [
            f"| {code} | {meaning} | {remedy} |" for code, meaning, remedy in sorted(entries) if code[5] == letter
        ]
    return "\n".join(lines) + "\n"


def _readable(template: str) -> str:
    """A template of the runtime's without braces: ``{path}`` becomes *path*."""
    return template.replace("{", "*").replace("}", "*")
