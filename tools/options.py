"""Options that several commands share, and how their values are read.

In: texts from the command line. Out: values for the compiler and the runtime. The one idea: an option is spelled,
described and checked in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def complete_phase(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Phases, for shell completion."""
    from penstock.compiler.pipeline import PHASE_NAMES

    return [name for name in PHASE_NAMES if name.startswith(incomplete)]


def complete_step(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Phases and passes, for shell completion: of a list, the last one."""
    from penstock.compiler.pipeline import PHASE_NAMES, pass_files

    done, comma, last = incomplete.rpartition(",")
    names = ["all", "changed", *PHASE_NAMES, *pass_files()]
    return [f"{done}{comma}{name}" for name in names if name.startswith(last)]


def complete_target(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Targets, for shell completion."""
    from penstock.compiler.backends import backends

    return [name for name in backends() if name.startswith(incomplete)]


def several(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator out of many, in order of help."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


target_options = several(
    click.option(
        "--target",
        default="cpu",
        show_default=True,
        metavar="NAME[:LEVEL,...]",
        shell_complete=complete_target,
        help="Device to compile for, with its instruction set levels (default: all of them).",
    ),
    click.option("--isa", multiple=True, metavar="LEVEL", help="Only this instruction set level; may be repeated."),
    click.option(
        "--dim",
        "dims",
        multiple=True,
        metavar="NAME=VALUE",
        help="Value of a symbolic dimension, or its range (batch=1..64); may be repeated.",
    ),
)

plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="FILE",
    help="A Python file of custom operators, which is run; may be repeated.",
)

printing_options = several(
    click.option(
        "--print-ir-before",
        multiple=True,
        metavar="STEP",
        shell_complete=complete_step,
        help="Print the IR before a pass or phase, or 'all' passes, on standard error.",
    ),
    click.option(
        "--print-ir-after",
        multiple=True,
        metavar="STEP",
        shell_complete=complete_step,
        help="The same after it; also 'changed': after every pass that changed something.",
    ),
    click.option(
        "--dump-dir",
        type=click.Path(file_okay=False),
        help="Write the IR after every phase and pass into this folder, with its weights.",
    ),
)

range_options = several(
    click.option(
        "--from",
        "first",
        metavar="PHASE",
        shell_complete=complete_phase,
        help="First phase to run (default: import, or the one after the dump given).",
    ),
    click.option("--to", "last", metavar="PHASE", shell_complete=complete_phase, help="Last phase to run."),
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def compile_options(target: str, isa: Sequence[str], dims: Sequence[str], **others: Any) -> Any:
    """``CompileOptions`` from the options' texts. Raises OptionError."""
    from penstock.compiler.driver import CompileOptions

    if isa:
        target = f"{target}{',' if ':' in target else ':'}{','.join(isa)}"
    return CompileOptions.of(target=target, dims=read_dims(dims), **others)


def read_sizes(texts: Sequence[str]) -> dict[str, list[int]]:
    """``batch=1,8`` as the sizes a dimension is specialized for. Raises OptionError."""
    from penstock.compiler.errors import BAD_VALUE, OptionError

    sizes: dict[str, list[int]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        values = [value.strip() for value in listed.split(",")]
        if not (equals and name.strip() and all(value.isdecimal() for value in values)):
            reason = f"--specialize {text} is not NAME=VALUE,VALUE,..."
            raise OptionError(BAD_VALUE, reason, "For example: --specialize batch=1,8.")
        sizes.setdefault(name.strip(), []).extend(map(int, values))
    return sizes


def read_seconds(text: str) -> float:
    """``30``, ``30s``, ``1.5m`` or ``2h`` in seconds. Raises OptionError."""
    import re

    from penstock.compiler.errors import BAD_VALUE, OptionError

    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*([smh]?)", text.strip())
    if found is None:
        raise OptionError(BAD_VALUE, f"'{text}' is no time.", "For example: 30s, 2m.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def read_dims(texts: Sequence[str]) -> dict[str, int | tuple[int, int]]:
    """``NAME=VALUE`` and ``NAME=LOW..HIGH`` texts as a mapping. Raises OptionError."""
    from penstock.compiler.errors import BAD_VALUE, OptionError

    dims: dict[str, int | tuple[int, int]] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        low, dots, high = (part.strip() for part in value.partition(".."))
        if not equals or not name or not low.isdecimal() or (dots and not high.isdecimal()):
            raise OptionError(
                BAD_VALUE,
                f"--dim {text} is not NAME=VALUE or NAME=LOW..HIGH.",
                "For example: --dim batch=8, --dim seq=1..512.",
            )
        dims[name.strip()] = (int(low), int(high)) if dots else int(low)
    return dims


def observers(
    before: Sequence[str], after: Sequence[str], dump_dir: str | None, *, locations: bool = True
) -> list[Any]:
    """The observers that the printing options ask for."""
    import sys
    from pathlib import Path

    found: list[Any] = []
    if before or after:
        from penstock.compiler.printing import IRPrinter

        found.append(IRPrinter(before, after, sys.stderr, locations=locations))
    if dump_dir:
        from penstock.compiler.dumps import DumpWriter

        found.append(DumpWriter(Path(dump_dir)))
    return found
