"""The command line: ``penstock COMMAND ...``.

In: arguments. Out: the command's output and an exit status: 0 done; 2 for what the user can act on, with one sentence
and a code on standard error; 1 for a defect of penstock, with a folder that reproduces it. Never a traceback, unless
``--debug`` asks for one. The one idea: every module of ``tools/commands`` is a command, imported only when it is used
(or listed), and imports what is heavy only when it runs; so ``penstock --help`` is quick.
"""

from __future__ import annotations

import difflib
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from penstock.runtime.errors import PenstockError

COMMANDS = "penstock.tools.commands"
ORDER = ("compile", "run", "bench", "profile", "check", "info", "opt", "code", "cache", "ops", "targets", "completion")
"""The order of help; commands not in it come last, alphabetically."""

USER_ERROR, INTERNAL_ERROR, INTERRUPTED = 2, 1, 130


class CommandGroup(click.Group):
    """Commands found by listing ``tools/commands``; a module defines ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        folder = Path(__file__).parent / "commands"
        found = [info.name for info in pkgutil.iter_modules([str(folder)]) if not info.name.startswith("_")]
        return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return import_module(f"{COMMANDS}.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if not name.startswith("-") and name not in (known := self.list_commands(ctx)):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise click.UsageError(f"there is no command '{name}'{hint}", ctx)
        return super().resolve_command(ctx, args)


def print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """``--version``."""
    if asked:
        from importlib.metadata import version

        click.echo(f"penstock {version('penstock')}")
        ctx.exit()


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 2 something to correct (one sentence and a code say what), 1 a defect of penstock. "
    "docs/cli.md describes every command, docs/errors.md every code.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Print it.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Compile ONNX models into artifacts, run them, and look inside.

    \b
    penstock compile model.onnx -o model.pens
    penstock run model.pens --random
    penstock profile model.pens
    """
    ctx.obj = {"debug": debug}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status and prints what went wrong."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in args[: _first_word(args)]
    try:
        status = cli.main(args, prog_name="penstock", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        return _usage_error(error)
    except PenstockError as error:
        if debug:
            raise
        return report(error)
    except BrokenPipeError:
        # The reader of a pipe has left (`| head`): nothing more to say, also not while Python closes its streams.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        return _unexpected(error, args)


def report(error: PenstockError) -> int:
    """Print an error: ``error: sentence [CODE]`` and what to do; returns the exit status."""
    internal = error.code.startswith("PENS-X")
    text = f"{error.message} [{error.code}]"
    problems = getattr(error, "problems", ())
    if len(problems) > 1:
        text = error.message
    click.echo(f"{'internal error' if internal else 'error'}: {text}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
    if internal:
        folder = getattr(error, "reproducer", None)
        if folder is not None:
            click.echo(f"  This is a defect of penstock. {_shown(folder)} reproduces it: please report it.", err=True)
        else:
            click.echo("  This is a defect of penstock: please report it; --debug shows the traceback.", err=True)
    return INTERNAL_ERROR if internal else USER_ERROR


def _usage_error(error: click.ClickException) -> int:
    from penstock.compiler.errors import BAD_VALUE, UNKNOWN_OPTION

    unknown = isinstance(error, click.NoSuchOption) or "no command" in error.message
    message = error.format_message()
    sentence = (message[:1].lower() + message[1:]).rstrip(".")
    click.echo(f"error: {sentence} [{UNKNOWN_OPTION if unknown else BAD_VALUE}]", err=True)
    ctx = getattr(error, "ctx", None)
    if ctx is not None:
        click.echo(f"  {ctx.command_path} --help shows how to use it.", err=True)
    return USER_ERROR


def _unexpected(error: Exception, args: Sequence[str]) -> int:
    """Something nobody foresaw, outside the passes: keep the traceback in a file and say so."""
    import tempfile
    import traceback

    from penstock.compiler.errors import UNEXPECTED, InternalError

    first = str(error).split("\n")[0].rstrip(".") or "no message"
    failure = InternalError(UNEXPECTED, f"{type(error).__name__}: {first}.")
    try:
        folder = Path(tempfile.mkdtemp(prefix="penstock-failure-", dir=Path.cwd()))
        trace = "".join(traceback.format_exception(error))
        (folder / "README.txt").write_text(f"penstock {' '.join(args)}\n\n{trace}", encoding="utf-8")
        failure.reproducer = folder
    except OSError:
        pass
    return report(failure)


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _first_word(args: Sequence[str]) -> int:
    return next((index for index, arg in enumerate(args) if not arg.startswith("-")), len(args))


if __name__ == "__main__":
    sys.exit(main())
