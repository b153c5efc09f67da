"""``penstock profile``: where a run's time goes, by node of the model, and how near to the machine's limits it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.tools.options import json_option, several, target_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.runtime import CommandRecord
    from penstock.tools.ceilings import Ceilings

EXAMPLES = """\b
Examples:
  penstock profile model.pens                     the 20 nodes that take longest
  penstock profile model.pens --top 0 --threads 2
  penstock profile model.pens --trace trace.json  for chrome://tracing or ui.perfetto.dev
"""


@click.command(name="profile", epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@several(
    click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads to run with."),
    click.option("--repeat", type=click.IntRange(1), default=20, show_default=True, help="Runs; medians are shown."),
    click.option("--top", type=click.IntRange(0), default=20, show_default=True, help="Rows to show; 0 for all."),
    click.option("--trace", type=click.Path(dir_okay=False), help="Write a Chrome trace of the last run."),
    click.option(
        "-i", "--input", "inputs", multiple=True, metavar="[NAME=]FILE", help="A .npy or .npz file of inputs."
    ),
    target_options,
    json_option,
)
def command(model: str, **given: Any) -> int:
    """Show the time of each node of MODEL, with GFLOP/s and the percentage of the roofline.

    The roofline is the machine's, measured at the beginning: f32 multiply-adds, and copies through memory.
    """
    from penstock.tools.ceilings import measure
    from penstock.tools.commands.compile import check_writable
    from penstock.tools.commands.run import target_of
    from penstock.tools.models import begin, load_model, read_inputs

    if given["trace"]:
        check_writable(Path(given["trace"]))
    loaded = load_model(model, target_of(given), given["dims"])
    arrays = read_inputs(loaded, given["inputs"], 0, given["dims"])
    ceilings = measure(given["threads"])
    with loaded.session(threads=given["threads"]) as session:
        session.run(arrays)
        runs: list[list[CommandRecord]] = []
        for _ in range(given["repeat"]):
            begin(session)
            runs.append(session.profile(arrays)[1])
    rows = by_source(runs)
    if given["trace"]:
        _write_trace(Path(given["trace"]), runs[-1])
    if given["as_json"]:
        import json

        listed = [row.as_dict(ceilings) for row in rows]
        facts = {"flops_per_second": ceilings.flops, "bytes_per_second": ceilings.bandwidth}
        click.echo(json.dumps({"model": model, "ceilings": facts, "nodes": listed}, indent=2))
    else:
        _show(rows, ceilings, given["top"], given["threads"], loaded.isa)
    return 0


@dataclass(frozen=True)
class Row:
    """A dispatch of the plan: its source nodes, its kernel, the median ``seconds`` of a run, operations and bytes."""

    source: str
    kernel: str
    seconds: float
    flops: int
    bytes: int

    def roofline(self, ceilings: Ceilings) -> float:
        """The share of the machine's limit that it reaches, from 0 to 1 (more where data stays in cache)."""
        return ceilings.least_seconds(self.flops, self.bytes) / self.seconds if self.seconds else 0.0

    def as_dict(self, ceilings: Ceilings) -> dict[str, object]:
        """For ``--json``."""
        return {
            "source": self.source,
            "kernel": self.kernel,
            "seconds": self.seconds,
            "flops": self.flops,
            "bytes": self.bytes,
            "roofline": round(self.roofline(ceilings), 4),
            "bound": "compute" if ceilings.is_compute_bound(self.flops, self.bytes) else "memory",
        }


def by_source(runs: Sequence[Sequence[CommandRecord]]) -> list[Row]:
    """One row per command with the median of its times over ``runs``, the longest first."""
    from statistics import median

    rows = [
        Row(
            records[0].source,
            records[0].kernel,
            median(record.end_ns - record.start_ns for record in records) / 1e9,
            records[0].flops,
            records[0].bytes,
        )
        for records in zip(*runs, strict=True)
    ]
    return sorted(rows, key=lambda row: -row.seconds)


def _write_trace(path: Path, records: Sequence[CommandRecord]) -> None:
    from penstock.compiler.dumps import write_whole
    from penstock.compiler.errors import CANNOT_WRITE_OUTPUT, OptionError

    try:
        write_whole(path, trace_json(records).encode())
    except OSError as error:
        raise OptionError(CANNOT_WRITE_OUTPUT, f"{path} cannot be written: {error.strerror or error}.") from error


def trace_json(records: Sequence[CommandRecord]) -> str:
    """The run in Chrome's trace event format (complete events, microseconds)."""
    import json

    events = [
        {
            "name": record.source or record.kernel,
            "cat": "dispatch",
            "ph": "X",
            "pid": 0,
            "tid": 0,
            "ts": record.start_ns / 1e3,
            "dur": (record.end_ns - record.start_ns) / 1e3,
            "args": {
                "kernel": record.kernel,
                "flops": record.flops,
                "bytes": record.bytes,
                "threads": record.threads,
                "GFLOP/s": round(record.flops / max(record.end_ns - record.start_ns, 1), 2),
            },
        }
        for record in records
    ]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, indent=1) + "\n"


def _show(rows: list[Row], ceilings: Ceilings, top: int, threads: int, isa: str) -> None:
    from penstock.tools.tables import seconds_text, table_lines

    total = sum(row.seconds for row in rows) or 1e-12
    shown = rows[:top] if top else rows
    lines: list[list[str]] = []
    for row in shown:
        seconds = row.seconds or 1e-9
        lines.append(
            [
                seconds_text(row.seconds),
                f"{row.seconds / total:.1%}",
                f"{row.flops / seconds / 1e9:.1f}",
                f"{row.bytes / seconds / 1e9:.1f}",
                f"{row.roofline(ceilings):.0%}" if ceilings.flops else "",
                "compute" if ceilings.is_compute_bound(row.flops, row.bytes) else "memory",
                row.kernel,
                row.source,
            ]
        )
    header = ("time", "share", "GFLOP/s", "GB/s", "roofline" if ceilings.flops else "", "bound", "kernel", "nodes")
    for line in table_lines(header, lines, words=(5, 6, 7)):
        click.echo(line)
    if len(shown) < len(rows):
        rest = sum(row.seconds for row in rows[top:])
        click.echo(f"and {len(rows) - len(shown)} more, {rest / total:.1%} of the time (--top 0 shows all)")
    least = sum(ceilings.least_seconds(row.flops, row.bytes) for row in rows)
    flops = sum(row.flops for row in rows)
    click.echo(
        f"in total {seconds_text(total)}, {flops / total / 1e9:.1f} GFLOP/s, {least / total:.0%} of the roofline; "
        f"{threads} thread{'s' if threads > 1 else ''}, {isa}",
    )
    peak = f"{ceilings.flops / 1e9:.1f} GFLOP/s" if ceilings.flops else "not measured: llvmlite is not installed"
    click.echo(f"ceilings measured here: {peak}; memory {ceilings.bandwidth / 1e9:.1f} GB/s")
