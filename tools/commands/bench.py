"""``penstock bench``: how long a run takes, as a distribution, and beside onnxruntime if asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from penstock.tools.options import json_option, several, target_options

EXAMPLES = """\b
Examples:
  penstock bench model.pens
  penstock bench model.pens --threads 1 --threads 2
  penstock bench model.onnx --against onnxruntime
"""

PERCENTILES = (50, 90, 99)
WARM_UP_SECONDS = 0.2


@click.command(name="bench", epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@several(
    click.option(
        "--threads", type=click.IntRange(1, 1024), multiple=True, help="Threads; may be repeated (default: 1)."
    ),
    click.option("--seconds", type=float, default=2.0, show_default=True, help="How long to measure each."),
    click.option("--repeat", type=click.IntRange(1), help="Run exactly so often, instead of for a time."),
    click.option(
        "-i", "--input", "inputs", multiple=True, metavar="[NAME=]FILE", help="A .npy or .npz file of inputs."
    ),
    click.option("--against", type=click.Choice(["onnxruntime"]), help="Measure it too, in turn with penstock."),
    click.option(
        "--model", "reference", metavar="FILE", help="The ONNX file for --against, when MODEL is an artifact."
    ),
    target_options,
    json_option,
)
def command(model: str, **given: Any) -> int:
    """Measure the latency of MODEL (an artifact, or an .onnx file compiled on the spot) on random inputs."""
    from penstock.tools.commands.run import target_of
    from penstock.tools.models import begin, load_model, nothing_kept, onnxruntime_session, read_inputs, reference_path

    reference = reference_path(model, given["reference"]) if given["against"] else None
    loaded = load_model(model, target_of(given), given["dims"])
    arrays = read_inputs(loaded, given["inputs"], 0, given["dims"])
    rows: list[dict[str, Any]] = []
    for threads in given["threads"] or (1,):
        session = loaded.session(threads=threads)
        engines: dict[str, Callable[[], object]] = {
            f"penstock ({loaded.isa})": lambda s=session: (begin(s), s.run(arrays))
        }
        if reference is not None:
            other = onnxruntime_session(reference, threads)
            engines["onnxruntime"] = lambda o=other: o.run(None, arrays | nothing_kept(loaded))
        for name, times in measure(engines, given["seconds"], given["repeat"]).items():
            rows.append({"engine": name, "threads": threads, **distribution(times)})
        session.close()
    if given["as_json"]:
        import json

        click.echo(json.dumps({"model": model, "results": rows}, indent=2))
    else:
        _show(rows)
    return 0


def measure(engines: dict[str, Callable[[], object]], seconds: float, repeat: int | None) -> dict[str, list[float]]:
    """Wall seconds of each run. The engines take turns, a batch of runs each, so that what else the machine does
    falls on all of them; a warm-up comes first."""
    for run in engines.values():
        end = time.perf_counter() + (WARM_UP_SECONDS if repeat is None else 0.0)
        run()
        while time.perf_counter() < end:
            run()
    times: dict[str, list[float]] = {name: [] for name in engines}
    spent = dict.fromkeys(engines, 0.0)
    while any(_unfinished(times[name], spent[name], seconds, repeat) for name in engines):
        for name, run in engines.items():
            batch_end = time.perf_counter() + 0.1
            while _unfinished(times[name], spent[name], seconds, repeat):
                started = time.perf_counter()
                run()
                now = time.perf_counter()
                times[name].append(now - started)
                spent[name] += now - started
                if now > batch_end:
                    break
    return times


def _unfinished(times: list[float], spent: float, seconds: float, repeat: int | None) -> bool:
    return len(times) < repeat if repeat is not None else spent < seconds


def distribution(times: list[float]) -> dict[str, float | int]:
    """Count, least, mean and percentiles of ``times``, in seconds, and runs per second."""
    ordered = sorted(times)
    mean = sum(ordered) / len(ordered)
    found: dict[str, float | int] = {"runs": len(ordered), "least": ordered[0], "mean": mean, "per_second": 1 / mean}
    for percent in PERCENTILES:
        found[f"p{percent}"] = ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
    return found


def _show(rows: list[dict[str, Any]]) -> None:
    from penstock.tools.tables import seconds_text, table_lines

    columns = ("least", *(f"p{percent}" for percent in PERCENTILES), "mean")
    lines = [
        [
            row["engine"],
            str(row["threads"]),
            *(seconds_text(row[name]) for name in columns),
            f"{row['per_second']:.1f}",
            str(row["runs"]),
        ]
        for row in rows
    ]
    for line in table_lines(("engine", "threads", *columns, "runs/s", "runs"), lines):
        click.echo(line)
