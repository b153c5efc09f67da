"""``penstock opt``: run any passes on IR text or on an ONNX model, and print the IR.

In: IR text (a dump, a file, or '-' for standard input) or an ``.onnx`` file. Out: IR text. The one idea: everything
the compiler does can be done here one step at a time, on a text one can edit.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from penstock.tools.options import printing_options, range_options, several, target_options

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from penstock.compiler.context import CompilerContext
    from penstock.compiler.pipeline import Group

EXAMPLES = """\b
Examples:
  penstock opt model.onnx                                 the graph as imported
  penstock opt model.onnx -p simplify,layout,fuse         after these phases
  penstock opt dump/06-fuse.mlir -p lower                 one phase on a dump
  penstock opt test.mlir -p 'form-dispatches{max-ops=8}'  one pass with an option
  penstock opt - -p canonicalise,dce < test.mlir          from standard input
"""


@click.command(name="opt", epilog=EXAMPLES)
@click.argument("source", required=False, metavar="FILE")
@several(
    click.option(
        "-p", "--pipeline", "pipeline", default="", metavar="PASSES", help="Passes and phases to run, in order."
    ),
    range_options,
    click.option(
        "-o", "--output", type=click.Path(dir_okay=False), help="Write to a file, with its weights beside it."
    ),
    target_options,
    printing_options,
    click.option("--weights", type=click.Path(file_okay=False), help="Folder of weights that the IR refers to."),
    click.option(
        "--split-input-file", is_flag=True, help="Treat what '// -----' separates one by one; go on at errors."
    ),
    click.option("--locations/--no-locations", default=True, help="Print where ops come from (default: yes)."),
    click.option("--generic", is_flag=True, help="Print MLIR's generic form."),
    click.option("--verify-each/--no-verify-each", default=True, help="Verify after every pass (default: yes)."),
    click.option("--time", "timing", is_flag=True, help="Print the time of each pass on standard error."),
    click.option("--list", "listing", is_flag=True, help="List phases and passes."),
)
def command(source: str | None, **options: Any) -> int:
    """Run passes on IR text or an ONNX model, and print the IR.

    FILE is IR text, a dump, an .onnx file, or '-' for standard input.
    """
    if options["listing"]:
        _list_passes()
        return 0
    if source is None:
        raise click.UsageError("give a FILE, or '-' for standard input", click.get_current_context())
    tool = _Tool(**options)
    if source.endswith((".onnx", ".onnxtxt")):
        tool.emit(tool.run_model(source))
        return 0
    return tool.run_text(source)


class _Tool:
    """One run of the command."""

    def __init__(self, **options: Any) -> None:
        from penstock.compiler.driver import new_context
        from penstock.compiler.errors import BAD_VALUE, OptionError
        from penstock.compiler.pipeline import default_groups, parse_pipeline, phases_between
        from penstock.tools.options import compile_options, observers

        self._given = options
        self._options = compile_options(options["target"], options["isa"], options["dims"])
        new_context(self._options)  # refuses an unknown target before anything is read
        if options["pipeline"] and (options["first"] or options["last"]):
            raise OptionError(BAD_VALUE, "-p and --from/--to both say what to run.", "Give one of them.")
        groups: list[Group] = []
        if options["pipeline"]:
            groups = parse_pipeline(options["pipeline"])
        elif options["first"] or options["last"]:
            phases = phases_between(options["first"], options["last"])
            groups = default_groups([phase for phase in phases if phase.name not in ("import", "package")])
        self.groups = groups
        before, after = options["print_ir_before"], options["print_ir_after"]
        self.observers = observers(before, after, options["dump_dir"], locations=options["locations"])
        self._weights = options["weights"]

    def run_model(self, path: str) -> tuple[ModuleOp, CompilerContext]:
        """Import a model and run the passes."""
        from penstock.compiler.driver import Source

        return self._run(Source(path, self._options).make)

    def run_text(self, path: str) -> int:
        """Run the passes on a text; with --split-input-file on each part, errors printed between the results."""
        from penstock.compiler.irtext import SPLIT_MARKER, read_text
        from penstock.runtime.errors import PenstockError

        text = sys.stdin.read() if path == "-" else read_text(path)
        if not self._given["split_input_file"]:
            self.emit(self._run(lambda: self._read(text, path)))
            return 0
        status = 0
        line = 0
        for index, part in enumerate(text.split(SPLIT_MARKER)):
            if index:
                click.echo(SPLIT_MARKER)
            padded = "\n" * line + part  # so that messages count lines from the beginning of the file
            line += part.count("\n")
            try:
                self.emit(self._run(lambda padded=padded: self._read(padded, path)))
            except PenstockError as error:
                click.echo(f"error: {error.message} [{error.code}]")
                status = 2
        return status

    def _read(self, text: str, path: str) -> tuple[ModuleOp, CompilerContext]:
        from pathlib import Path

        from penstock.compiler.driver import new_context
        from penstock.compiler.dumps import read_ir, read_state
        from penstock.compiler.errors import INVALID_IR, IRError
        from penstock.compiler.verification import Violation, verify

        ctx = new_context(self._options)
        state = read_state(text)
        if state is not None and self._given["target"] == "cpu" and not self._given["isa"]:
            ctx.target, ctx.options = state.target, {**ctx.options, **state.options}
        place = Path("stdin.mlir") if path == "-" else Path(path)
        weights = Path(self._weights) if self._weights else None
        module = read_ir(text, place, ctx, weights, complete=bool(self.groups))
        try:
            verify(module)
        except Violation as violation:
            raise IRError(INVALID_IR, f"{place.name}: {violation}.") from violation
        return module, ctx

    def _run(self, make: Any) -> tuple[ModuleOp, CompilerContext]:
        from pathlib import Path

        from penstock.compiler.errors import InternalError
        from penstock.compiler.reproducer import write_reproducer
        from penstock.compiler.runner import Runner

        module, ctx = make()
        runner = Runner(ctx, self.observers, verify_each=self._given["verify_each"])
        try:
            records = runner.run(module, self.groups)
        except InternalError as error:
            write_reproducer(Path.cwd(), error, make, self.groups, runner.completed)
            raise
        if self._given["timing"]:
            from penstock.tools.tables import timing_lines

            for line in timing_lines(records):
                click.echo(line, err=True)
        return module, ctx

    def emit(self, result: tuple[ModuleOp, CompilerContext]) -> None:
        """Print the module, or write it with its weights."""
        from pathlib import Path

        from penstock.compiler.dumps import DumpState, write_dump
        from penstock.compiler.irtext import to_text

        module, ctx = result
        text = to_text(module, locations=self._given["locations"], generic=self._given["generic"])
        if self._given["output"] is None:
            click.echo(text, nl=False)
            return
        from penstock.compiler.pipeline import spell

        ran = spell(self.groups) or "nothing"
        last = next((group.phase.name for group in reversed(self.groups) if group.phase), None)
        state = DumpState(last, 0, ctx.target, dict(ctx.options))
        done = [f"Written by penstock opt; ran {ran}."]
        write_dump(Path(self._given["output"]), "written by penstock opt", done, text, module, ctx, state)


def _list_passes() -> None:
    from penstock.compiler.pipeline import PHASES, option_names, pass_class, pass_doc, pass_files

    for phase in PHASES:
        click.echo(f"{phase.number:2d} {phase.name}: {phase.takes} -> {phase.gives}")
        for file in pass_files().values():
            if file.phase == phase.name:
                which = pass_class(file.name)
                options = option_names(which)
                spec = f"{file.name}{{{' '.join(options)}}}" if options else file.name
                click.echo(f"     {spec}: {pass_doc(which)}")
