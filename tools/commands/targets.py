"""``penstock targets``: what can be compiled for, and what this machine can run."""

from __future__ import annotations

import click

from penstock.tools.options import json_option


@click.command(name="targets")
@json_option
def command(as_json: bool) -> int:
    """List targets with their instruction set levels, and which of them this machine runs."""
    from penstock.compiler.backends import backends

    rows = [
        {
            "target": name,
            "doc": found.doc,
            "levels": [{"level": level, "runs_here": runs_here(level)} for level in found.levels],
        }
        for name, found in backends().items()
    ]
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        click.echo(f"{row['target']}: {row['doc']}")
        for level in row["levels"]:
            assert isinstance(level, dict)
            click.echo(
                f"  {level['level']:<12} {'this machine runs it' if level['runs_here'] else 'not on this machine'}"
            )
    return 0


def runs_here(level: str) -> bool:
    """Whether the processor of this machine has the instructions of an x86-64 ``level``."""
    from penstock.compiler.backends.cpu.target import LEVELS, host_isa
    from penstock.compiler.errors import TargetError

    try:
        best = host_isa()
    except TargetError:
        return False
    names = list(LEVELS)
    return level in names and names.index(level) >= names.index(best)
