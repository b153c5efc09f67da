"""``penstock check``: everything about a model that will not compile, before compiling, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from penstock.tools.options import json_option, plugin_option, several, target_options

if TYPE_CHECKING:
    from penstock.compiler.errors import Problem

EXAMPLES = """\b
Examples:
  penstock check model.onnx
  penstock check model.onnx --dim batch=1 --dim sequence=128
  penstock check model.onnx --json | jq '.problems[].node'
"""


@click.command(name="check", epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@several(
    target_options,
    plugin_option,
    click.option("--import-only", is_flag=True, help="Check the model itself, not whether its kernels can be made."),
    json_option,
)
def command(model: str, **given: Any) -> int:
    """Tell everything about MODEL that cannot be compiled, by node, with the reason and the nearest supported form.

    Exit status 0 if it can be compiled, 2 if not.
    """
    from pathlib import Path

    from penstock.compiler.driver import run_phases
    from penstock.compiler.errors import ModelError
    from penstock.compiler.frontends.onnx import check_model
    from penstock.tools.options import compile_options, read_dims

    options = compile_options(given["target"], given["isa"], given["dims"], plugins=given["plugins"])
    notes: list[str] = []
    try:
        problems: list[Problem] = check_model(model, dims=read_dims(given["dims"]), plugins=given["plugins"])
        if not problems and not given["import_only"]:
            notes = run_phases(model, options, last="emit", reproducers=Path.cwd()).report.notes
    except ModelError as error:
        problems = list(error.problems)
    if given["as_json"]:
        import json

        listed = [problem.as_dict() for problem in problems]
        click.echo(json.dumps({"model": model, "compiles": not problems, "problems": listed, "notes": notes}, indent=2))
    elif not problems:
        click.echo(f"{model} can be compiled for {options.target}.")
        for note in notes:
            click.echo(f"note: {note}")
    else:
        show(problems)
        places = "1 place" if len(problems) == 1 else f"{len(problems)} places"
        click.echo(f"{model} cannot be compiled as it is: {places} to change.")
    return 2 if problems else 0


def show(problems: Sequence[Problem]) -> None:
    """Print the problems as a table, one row each, and under each what to do."""
    from penstock.tools.tables import table_lines

    rows = [(str(problem.code), problem.node, problem.op, problem.reason) for problem in problems]
    header, rule, *lines = table_lines(("code", "node", "op", "what is wrong"), rows, words=(0, 1, 2, 3))
    click.echo(header)
    click.echo(rule)
    for line, problem in zip(lines, problems, strict=True):
        click.echo(line)
        if problem.hint:
            click.echo(f"           {problem.hint}")
