"""``penstock completion``: a script that teaches a shell to complete commands, options, passes, phases and targets."""

from __future__ import annotations

import click

EXAMPLES = """\b
Examples:
  penstock completion bash >> ~/.bashrc
  penstock completion zsh >> ~/.zshrc
  penstock completion fish > ~/.config/fish/completions/penstock.fish
"""


@click.command(name="completion", epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the script that makes SHELL complete penstock's commands."""
    from click.shell_completion import get_completion_class

    from penstock.tools.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "penstock", "_PENSTOCK_COMPLETE").source())
    return 0
