"""``penstock compile``: a model into an artifact, with a report of where the time went and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.tools.options import json_option, plugin_option, printing_options, range_options, several, target_options

if TYPE_CHECKING:
    from penstock.compiler.driver import Report
    from penstock.compiler.runner import Record

EXAMPLES = """\b
Examples:
  penstock compile model.onnx                          writes model.pens
  penstock compile model.onnx --dim batch=8 -o b8.pens
  penstock compile model.onnx --specialize batch=1,8   any size, and these two faster
  penstock compile model.onnx --tune 30s               measure candidates on this machine
  penstock compile model.onnx --isa x86-64-v3          for AVX2 only
  penstock compile model.onnx --keep /encoder/layer.3  a node's value, as one more output
  penstock compile gpt2.onnx --state auto --dim past=0..1024   the session keeps keys and values
  penstock compile model.onnx --dump-dir dump          the IR after every step
  penstock compile --from lower dump/06-fuse.mlir      go on from an edited dump
  penstock compile model.onnx --to fuse                print the IR after a phase
"""


@click.command(name="compile", epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@several(
    click.option("-o", "--output", type=click.Path(dir_okay=False), help="Artifact to write (default: MODEL's name)."),
    target_options,
    click.option(
        "--keep", multiple=True, metavar="NAME", help="Make a value, by its or its node's name, an output; repeatable."
    ),
    click.option(
        "--state",
        multiple=True,
        metavar="OUTPUT=INPUT",
        help="Keep an output that feeds an input in the session, and append to it; auto: all; repeatable.",
    ),
    plugin_option,
    click.option(
        "--specialize",
        multiple=True,
        metavar="NAME=N,N",
        help="Add plans for these values of a symbolic dimension (batch=1,8); of several, for every combination.",
    ),
    click.option("-p", "--passes", default="", metavar="PASSES", help="Options for passes, as 'fuse{max-ops=8}'."),
    click.option(
        "--precision",
        default="f32",
        show_default=True,
        metavar="NAME",
        help="f32; bf16-weights: weights in half the bytes, of 8 bits' precision; or bf16: products of such numbers.",
    ),
    click.option("--no-cache", is_flag=True, help="Compile every kernel; neither read nor write the kernel cache."),
    click.option(
        "--tune",
        metavar="SECONDS",
        default="0",
        show_default=True,
        help="Measure candidates on this machine for so long (30s, 2m), and take what is faster; docs/tuning.md.",
    ),
    click.option("--tuned", metavar="FILE", help="Take the choices of a tuning record."),
    click.option("--save-tuning", metavar="FILE", help="Write the record of what --tune chose."),
    click.option("--no-winograd", is_flag=True, help="Compute every convolution directly, tap by tap."),
    click.option("--no-compress", is_flag=True, help="Store all weights as they are, none in fewer bits."),
    click.option("--strict", is_flag=True, help="Treat what would only be noted as an error."),
    click.option("--keep-debug", is_flag=True, help="Put the IR after each phase into the artifact."),
    range_options,
    printing_options,
    click.option("--verify-each", is_flag=True, help="Verify after every pass, not only after every phase."),
    click.option("--time", "timing", is_flag=True, help="Show the time of every pass."),
    json_option,
    click.option("-q", "--quiet", is_flag=True, help="Say nothing when all is well."),
)
def command(model: str, **given: Any) -> int:
    """Compile MODEL (an .onnx file, or a dump of IR) into an artifact."""
    from penstock.compiler.driver import run_phases
    from penstock.compiler.errors import BAD_VALUE, OptionError
    from penstock.tools.options import compile_options, observers, read_seconds, read_sizes
    from penstock.tools.progress import progress

    options = compile_options(
        given["target"],
        given["isa"],
        given["dims"],
        passes=given["passes"],
        keep=given["keep"],
        state=given["state"],
        plugins=given["plugins"],
        winograd=not given["no_winograd"],
        compress=not given["no_compress"],
        precision=given["precision"],
        cache=not given["no_cache"],
        specialize=read_sizes(given["specialize"]),
        tune=read_seconds(given["tune"]),
        tuned=given["tuned"],
        strict=given["strict"],
        keep_debug=given["keep_debug"],
        verify_each=given["verify_each"],
    )
    target = Path(given["output"] or Path(model).with_suffix(".pens").name)
    check_writable(target)
    if given["save_tuning"]:
        if not options.tune:
            raise OptionError(BAD_VALUE, "there is no tuning to save without --tune.", "For example: --tune 30s.")
        check_writable(Path(given["save_tuning"]))
    if options.tune and not (given["quiet"] or given["as_json"]):
        click.echo(f"measuring on this machine for up to {options.tune:g} s", err=True)
    watching = observers(given["print_ir_before"], given["print_ir_after"], given["dump_dir"])
    with progress(Path(model).name, show=not (given["quiet"] or given["as_json"])) as bar:
        result = run_phases(
            model,
            options,
            first=given["first"],
            last=given["last"],
            observers=[*watching, bar],
            reproducers=Path.cwd(),
        )
        if result.artifact is not None:
            result.artifact.save(target)
    if given["save_tuning"] and result.report.tuning is not None:
        result.report.tuning.record.save(given["save_tuning"])
    if result.artifact is None:
        _write_ir(result, Path(given["output"]) if given["output"] else None)
        return 0
    report = result.artifact.report
    if given["as_json"]:
        import json

        click.echo(json.dumps({**report.as_dict(), "artifact": str(target)}, indent=2))
    elif not given["quiet"]:
        show(report, target, passes=given["timing"])
    return 0


def check_writable(path: Path) -> None:
    """Raise OptionError now rather than after the work, if ``path`` cannot be written."""
    import os

    from penstock.compiler.errors import CANNOT_WRITE_OUTPUT, OptionError

    parent = path.parent
    if not parent.is_dir():
        raise OptionError(CANNOT_WRITE_OUTPUT, f"the folder {parent} does not exist.", "Make it, or choose another -o.")
    if path.is_dir() or not os.access(parent, os.W_OK):
        raise OptionError(CANNOT_WRITE_OUTPUT, f"{path} cannot be written.", "Choose another -o.")


def _write_ir(result: Any, path: Path | None) -> None:
    from penstock.compiler.dumps import DumpState, write_dump
    from penstock.compiler.irtext import to_text

    text = to_text(result.module)
    if path is None:
        click.echo(text, nl=False)
        return
    last = result.report.phases[-1].name
    state = DumpState(last, 0, result.ctx.target, dict(result.ctx.options))
    done = [f"{len(result.report.phases)} phases ran."]
    write_dump(path, f"after the phase {last}", done, text, result.module, result.ctx, state)


def show(report: Report, target: Path, *, passes: bool = False) -> None:
    """Print the report for people."""
    from penstock.tools.tables import bytes_text, seconds_text, size_text, table_lines

    rows: list[tuple[str, ...]] = []
    for record in report.phases:
        share = f"{record.seconds / report.seconds:.0%}" if report.seconds else ""
        rows.append((record.name, seconds_text(record.seconds), share, str(record.ops_after), counted(record)))
        for step in record.steps if passes else ():
            rows.append((f"  {step.name}", seconds_text(step.seconds), "", str(step.ops_after), counted(step)))
    for line in table_lines(("phase", "time", "share", "ops", ""), rows, words=(0, 4)):
        click.echo(line)
    kernels = ", ".join(
        f"{count} for {isa} ({bytes_text(report.code_bytes[isa])})" for isa, count in report.kernels.items()
    )
    weights, arena, scratch = (
        size_text(report.memory[key], "at most " if key == "arena" else "")
        for key in ("weights", "arena", "scratch_per_thread")
    )
    cached = f", {report.cached} of them from the cache" if report.cached else ""
    facts = [
        ("kernels", f"{kernels}{cached}; {report.launches} launches per run"),
        ("memory", f"{weights} of weights, shared; {arena} per session, {scratch} per thread"),
        *([("kept", kept_text(report.kept))] if report.kept else []),
        *([("compress", compressed_text(report.compressed))] if report.compressed else []),
        *([("tuned", f"{report.tuned} choices differ from the estimates")] if report.tuned else []),
        *(("for sizes", special_text(one)) for one in report.specialized),
        ("artifact", f"{target}, {bytes_text(report.artifact_bytes)}"),
        ("total", f"{seconds_text(report.seconds)}"),
    ]
    click.echo()
    for name, text in facts:
        click.echo(f"{name:<9} {text}")
    for note in report.notes:
        click.echo(f"note: {note}")


def kept_text(kept: dict[str, Any]) -> str:
    """What a session keeps from run to run, which tensors by name, and what it takes."""
    from penstock.tools.tables import bytes_text

    pairs = ", ".join(f"{one['output']} feeds {one['input']}" for one in kept["tensors"])
    return f"{bytes_text(kept['bytes'])} per session, up to {kept['rows']} rows ({kept['size']}): {pairs}"


def compressed_text(compressed: Mapping[str, int]) -> str:
    """How many weights are compressed, and what it saves."""
    from penstock.tools.tables import bytes_text

    count, saved = compressed["count"], bytes_text(compressed["bytes_saved"])
    return f"{count} {'weight' if count == 1 else 'weights'} in 28 bits a number, without loss: {saved} less"


def special_text(special: dict[str, Any]) -> str:
    """A plan for fixed sizes: these, and what a session takes that has run them."""
    from penstock.tools.tables import size_text

    memory, sizes = special["memory"], special["sizes"]
    each = memory["scratch_per_thread"].values()
    scratch = size_text(max(each, key=lambda item: (isinstance(item, str), item), default=0))
    arena = size_text(memory["arena"], "at most ")
    return f"{', '.join(f'{name} = {size}' for name, size in sizes.items())}: {arena} per session, {scratch} per thread"


def counted(record: Record) -> str:
    """What a step counted, the greatest numbers first."""
    return ", ".join(f"{count} {name}" for name, count in record.statistics.most_common(5) if name != "dead")
