"""Compare inference engines on the benchmark models.

    python benchmarks/make_models.py
    python benchmarks/compare.py                                   # all models, 1 and 2 threads
    python benchmarks/compare.py resnet50 --threads 1 --rounds 10
    python benchmarks/compare.py --page docs/performance.md        # also write the page

In: a folder of `<name>.onnx` with `<name>.npz`. Out: lines as measurements come, `compare.json`, a page on request.
Use a quiet machine; `--priority` (root) raises the measured processes above others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from measure import REFERENCE, Effort, Measurement, machine, measure_model
from page import duration, megabytes, page
from peers import all_peers


def line(item: Measurement) -> str:
    """One measurement for the terminal."""
    head = f"{item.model:14} {item.peer:12} {item.threads} thr"
    if item.failure:
        return f"{head}  fails: {item.failure}"
    ratio = "" if item.ratio is None else f" ratio {item.ratio:5.2f}"
    error = "" if item.error is None else f" err {item.error:.0e}"
    built = "" if item.compile_s is None else f" compile {duration(item.compile_s)}, {item.kernels} kernels"
    bits = "" if item.same_bits is None else f" bits {'same' if item.same_bits else 'differ'}"
    times = f"{duration(item.median_s):>8} ({duration(item.p10_s)} to {duration(item.p90_s)})"
    return f"{head}  {times}{ratio}{error}{bits} load {duration(item.load_s)} peak {megabytes(item.peak)} MB{built}"


def write(path: Path, text: str) -> None:
    """Write a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def main() -> int:
    """Measure what was asked for; status 1 if a model failed in an engine."""
    here = Path(__file__).parent
    known = all_peers()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names (default: every .onnx file of the folder)")
    parser.add_argument("--models-dir", type=Path, default=here / "build", help="folder of the models (%(default)s)")
    parser.add_argument("--peers", default="penstock,onnxruntime", help=f"of {', '.join(known)} (%(default)s)")
    parser.add_argument("--threads", default="1,2", help="numbers of threads (%(default)s)")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="rounds of timing (%(default)s)")
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="per engine and round (%(default)s)")
    parser.add_argument("--priority", action="store_true", help="raise the measured processes' priority (root)")
    parser.add_argument("--json", type=Path, default=here / "build/compare.json", help="results (%(default)s)")
    parser.add_argument("--page", type=Path, help="write the results as a markdown page, e.g. docs/performance.md")
    arguments = parser.parse_args()
    peers = arguments.peers.split(",")
    unknown = [peer for peer in peers if peer not in known]
    if unknown:
        parser.error(f"no engine is called {', '.join(unknown)}; there are {', '.join(known)}")
    available = {path.stem: path for path in sorted(arguments.models_dir.glob("*.onnx"))}
    missing = [name for name in arguments.models if name not in available]
    if missing or not available:
        parser.error(f"{arguments.models_dir} has no {', '.join(missing) or 'models'}; make_models.py makes them")
    effort = Effort(arguments.rounds, arguments.seconds, priority=arguments.priority)
    threads = [int(count) for count in arguments.threads.split(",")]
    document: dict[str, object] = {"machine": machine(), "effort": asdict(effort), "reference": REFERENCE}
    results: list[Measurement] = []
    for name in arguments.models or available:
        for item in measure_model(available[name], peers, threads, effort):
            results.append(item)
            print(line(item), flush=True)
        document["results"] = [item.as_dict() for item in results]
        write(arguments.json, json.dumps(document, indent=1) + "\n")
    if arguments.page:
        write(arguments.page, page(document))
    return 1 if any(item.failure for item in results) else 0


if __name__ == "__main__":
    sys.exit(main())
