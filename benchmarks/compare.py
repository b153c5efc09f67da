"""Compare inference engines on the benchmark models: models x engines x numbers of threads.

    python benchmarks/make_models.py
    python benchmarks/compare.py --compile-only                    # engines' slow compilations, kept for later runs
    python benchmarks/compare.py                                   # all models, all engines, 1 and 2 threads
    python benchmarks/compare.py resnet50 --peers penstock,onnxruntime --threads 1
    python benchmarks/compare.py mlp_b1 --quick                    # while developing: a rough answer in seconds
    python benchmarks/compare.py --runs 3 --page docs/performance.md          # three runs, medians, as a page
    python benchmarks/compare.py --merge a.json b.json --page performance.md  # of runs made before

In: a folder of `<name>.onnx` with `<name>.npz`. Out: lines as measurements come, tables at the end, `compare.json`, a
plot, a page on request. An engine that is not installed, or fails on a model, is a blank with its reason; the status is
1 if ours fails on a model, or every engine does.
With --runs the results of each run are kept beside compare.json, which has their medians.
Use a quiet machine; `--priority` (root) raises the measured processes above others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cost import Cost, cost_of
from measure import Effort, Measurement, compile_all, machine, measure_model
from page import ceilings, duration, failures, latency, megabytes, page, rankings
from peers import all_peers
from reference import reference_of
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from roofline import Machine, fill_in, measure_machine
from runs import combine

QUICK = Effort(rounds=3, seconds=0.05, most=0.5)


def line(item: Measurement) -> str:
    """One measurement for the terminal."""
    head = f"{item.model:14} {item.peer:17} {item.threads} thr"
    if item.failure:
        return f"{head}  fails: {item.failure}"
    ratio = "" if item.ratio is None else f" ratio {item.ratio:5.2f}"
    part = "" if item.roofline is None else f" roofline {item.roofline:4.0%}"
    error = "" if item.error is None else f" err {item.error:.0e}"
    kernels = "" if item.kernels is None else f", {item.kernels} kernels"
    built = "" if item.compile_s is None else f" compile {duration(item.compile_s)}{kernels}"
    bits = "" if item.same_bits is None else f" bits {'same' if item.same_bits else 'differ'}"
    times = f"{duration(item.median_s):>8} ({duration(item.p10_s)} to {duration(item.p90_s)})"
    rest = f"{ratio}{part}{error}{bits} load {duration(item.load_s)} peak {megabytes(item.peak)} MB{built}"
    return f"{head}  {times}{rest}"


def write(path: Path, text: str) -> None:
    """Write a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


class Comparison:
    """What has been measured so far, as a document for JSON, page and plot."""

    def __init__(self, effort: Effort, threads: list[int]) -> None:
        self.effort = effort
        self.machine = machine()
        self.ceilings = measure_machine(threads, effort.priority)
        self.costs: dict[str, Cost | None] = {}
        self.results: list[Measurement] = []
        self.notes: list[str] = []

    def add(self, model: Path, peers: list[str], threads: list[int], cache: Path) -> None:
        """Measure a model in every engine, and print a line for each measurement."""
        again = measure_machine(threads, self.effort.priority)
        self.ceilings = {count: best_of(self.ceilings[count], again[count]) for count in threads}
        self.costs[model.stem] = cost_of_file(model)
        reference, reason = reference_of(model, model.with_suffix(".npz"))
        if reference is None:
            self.notes.append(f"{model.stem}: no errors are given, since there is no f64 reference: {reason}")
        found = measure_model(model, peers, threads, self.effort, reference=reference, cache=cache)
        self.results += found
        fill_in(found, self.costs, self.ceilings)
        for item in found:
            print(line(item), flush=True)

    def document(self) -> dict[str, Any]:
        """For JSON; the highest ceilings so far count for all.

        `least_s` is the roofline in seconds, by model and number of threads.
        """
        fill_in(self.results, self.costs, self.ceilings)
        least = {
            f"{model}/{count}": found.least_seconds(cost)
            for model, cost in self.costs.items()
            for count, found in self.ceilings.items()
            if cost is not None
        }
        return {
            "machine": self.machine,
            "effort": asdict(self.effort),
            "ours": [name for name, peer in all_peers().items() if peer.ours],
            "ceilings": {str(count): found.as_dict() for count, found in self.ceilings.items()},
            "costs": {name: None if cost is None else asdict(cost) for name, cost in self.costs.items()},
            "least_s": least,
            "notes": self.notes,
            "results": [item.as_dict() for item in self.results],
        }

    def status(self) -> int:
        """1 if ours failed, or no engine ran one of the models."""
        ours = {name for name, peer in all_peers().items() if peer.ours}
        ran = {item.model for item in self.results if not item.failure}
        return int(any(item.model not in ran or (item.failure and item.peer in ours) for item in self.results))


def best_of(first: Machine, second: Machine) -> Machine:
    """The higher ceilings, where both were measured."""
    return first.best(second) if first.levels and second.levels else first


def cost_of_file(model: Path) -> Cost | None:
    """The cost, or None for what is no model; the engines will say so."""
    try:
        return cost_of(model)
    except Exception:
        return None


def show(document: dict[str, Any]) -> None:
    """The tables, on the terminal."""
    wide = Console(width=None if sys.stdout.isatty() else 240)
    counts = list(dict.fromkeys(row["threads"] for row in document["results"]))
    titled = [("What the machine reaches", ceilings(document))]
    titled += [
        (title, latency(part, count, brief=True)) for count in counts for title, part in rankings(document, count)
    ]
    for title, (header, body) in titled:
        shown = Table(title=title)
        for index, name in enumerate(header):
            shown.add_column(name, justify="left" if index == 0 else "right")
        for row in body:
            shown.add_row(*(f"[bold]{cell.strip('*')}" if cell.startswith("**") else escape(cell) for cell in row))
        wide.print(shown)
    for text in (*document["notes"], *failures(document["results"])):
        wide.print(escape(text), highlight=False)


def picture(document: dict[str, Any], path: Path) -> None:
    """The plot, or a word on why there is none."""
    try:
        from plot import draw
    except ImportError as error:
        print(f"no plot: {error}; pip install matplotlib", file=sys.stderr)
        return
    draw(document, path)


def main() -> int:
    """Measure what was asked for."""
    here = Path(__file__).parent
    known = all_peers()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names (default: every .onnx file of the folder)")
    parser.add_argument("--models-dir", type=Path, default=here / "build", help="folder of the models (%(default)s)")
    parser.add_argument("--peers", default=",".join(known), help="engines (%(default)s)")
    parser.add_argument("--threads", default="1,2", help="numbers of threads (%(default)s)")
    parser.add_argument("--rounds", type=int, help=f"rounds of timing ({Effort.rounds})")
    parser.add_argument("--seconds", type=float, help=f"per engine and round ({Effort.seconds})")
    parser.add_argument("--runs", type=int, default=1, help="whole runs, of which medians are shown (%(default)s)")
    parser.add_argument("--merge", type=Path, nargs="+", help="measure nothing: show the medians of these results")
    parser.add_argument("--quick", action="store_true", help="a rough answer: 3 rounds of 0.05 s")
    parser.add_argument("--compile-only", action="store_true", help="fill the cache of slow compilations, and stop")
    parser.add_argument("--priority", action="store_true", help="raise the measured processes' priority (root)")
    parser.add_argument("--cache", type=Path, help="where slow compilations are kept (cache in the models' folder)")
    parser.add_argument("--json", type=Path, default=here / "build/compare.json", help="results (%(default)s)")
    parser.add_argument("--plot", type=Path, help="picture, .svg or .png (compare.svg beside the results)")
    parser.add_argument("--page", type=Path, help="write the results as a markdown page, e.g. docs/performance.md")
    arguments = parser.parse_args()
    if arguments.merge:
        return publish(arguments, combine([json.loads(path.read_text()) for path in arguments.merge]))
    peers = arguments.peers.split(",")
    unknown = [peer for peer in peers if peer not in known]
    if unknown:
        parser.error(f"no engine is called {', '.join(unknown)}; there are {', '.join(known)}")
    available = {path.stem: path for path in sorted(arguments.models_dir.glob("*.onnx"))}
    missing = [name for name in arguments.models if name not in available]
    if missing or not available:
        parser.error(f"{arguments.models_dir} has no {', '.join(missing) or 'models'}; make_models.py makes them")
    plain = QUICK if arguments.quick else Effort()
    effort = Effort(
        plain.rounds if arguments.rounds is None else arguments.rounds,
        plain.seconds if arguments.seconds is None else arguments.seconds,
        plain.most,
        priority=arguments.priority,
    )
    threads = [int(count) for count in arguments.threads.split(",")]
    cache: Path = arguments.cache or arguments.models_dir / "cache"
    models = [available[name] for name in arguments.models or available if not name.endswith(".dynamic")]
    if arguments.compile_only:
        for model in models:
            for text in compile_all(model, peers, threads, cache, effort):
                print(text, flush=True)
        return 0
    documents: list[dict[str, Any]] = []
    status = 0
    for number in range(1, arguments.runs + 1):
        path = arguments.json if arguments.runs == 1 else arguments.json.with_suffix(f".{number}.json")
        comparison = Comparison(effort, threads)
        for model in models:
            comparison.add(model, peers, threads, cache)
            write(path, json.dumps(comparison.document(), indent=1) + "\n")
        documents.append(json.loads(path.read_text()))
        status |= comparison.status()
    if arguments.runs == 1:
        return publish(arguments, documents[0]) | status
    document = combine(documents)
    write(arguments.json, json.dumps(document, indent=1) + "\n")
    return publish(arguments, document) | status


def publish(arguments: argparse.Namespace, document: dict[str, Any]) -> int:
    """Show a document, draw it, and write the page if one was asked for; 0."""
    show(document)
    picture(document, arguments.plot or arguments.json.with_suffix(".svg"))
    if arguments.page:
        write(arguments.page, page(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
