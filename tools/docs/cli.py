"""docs/cli.md: every command with its arguments, options and examples, from its own help.

In: tools/commands. Out: a section per command.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import click

PAGE = "docs/cli.md"

ABOUT = """\
# The command line

`penstock COMMAND --help` shows what stands here. Commands are modules of `tools/commands`, found by listing the folder.

Exit status: 0 done; 2 something to correct, with one sentence, a [code](errors.md) and a hint on standard error; 1 a
defect of penstock, with a folder that reproduces it (or, from `run --check-against`, outputs that differ). `penstock
--debug COMMAND` shows the traceback of an error. With `--json`, standard output is JSON and nothing else. Files are
written whole or not at all.

Wherever a command takes a model, it takes an artifact (`.pens`) or an `.onnx` file, which is compiled on the spot.
"""


def render(root: Path) -> str:
    """The page."""
    from penstock.tools.cli import cli

    ctx = click.Context(cli, info_name="penstock")
    lines = [ABOUT]
    for name in cli.list_commands(ctx):
        command = cli.get_command(ctx, name)
        assert command is not None
        lines += _section(command, name, ctx)
    return "\n".join(lines) + "\n"


def _section(command: click.Command, name: str, parent: click.Context) -> list[str]:
    ctx = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(ctx))
    lines = [f"## penstock {name}", "", inspect.cleandoc(command.help or ""), "", f"    penstock {name} {usage}", ""]
    options = [param for param in command.params if isinstance(param, click.Option)]
    if options:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| {_spelling(option)} | {_meaning(option, ctx)} |" for option in options]
        lines.append("")
    if isinstance(command, click.Group):
        for part in command.commands:
            lines += [f"#{line}" if line.startswith("## ") else line for line in _part(command, part, name, parent)]
    if command.epilog:
        examples = command.epilog.replace("\b", "").strip().splitlines()
        lines += ["```sh", *(line.strip() for line in examples[1:]), "```", ""]
    return lines


def _part(group: click.Group, part: str, name: str, parent: click.Context) -> list[str]:
    """The section of a command of a group."""
    return _section(group.commands[part], f"{name} {part}", parent)


def _spelling(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag or option.metavar is None:
        return names
    return f"{names} {option.metavar}".replace("|", "\\|")


def _meaning(option: click.Option, ctx: click.Context) -> str:
    text = option.help or ""
    if option.show_default and option.default is not None:
        text += f" (default: {option.default})"
    if isinstance(option.type, click.Choice):
        text += f" One of: {', '.join(map(str, option.type.choices))}."
    return text.replace("|", "\\|")
