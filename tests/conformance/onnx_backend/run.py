"""Run ONNX's backend tests, print how they ended, and update what is committed about them.

    python tests/conformance/onnx_backend/run.py --mode reference --filter '^test_conv' --show wrong,internal
    python tests/conformance/onnx_backend/run.py --update-baseline      # everything, and docs/onnx-support.md too
    python tests/conformance/onnx_backend/run.py --symbolic --update-baseline      # with symbolic sizes: symbolic.json
    python tests/conformance/onnx_backend/run.py --symbolic --journal part.jsonl   # ... to be gone on with if it ends

In: the cases (all, those of an operator, or those matching a pattern). Out: rates on standard output; with
`--update-baseline`, `baseline.json` and `docs/onnx-support.md`. Cases run in forked children, `--jobs` at a time.
"""

from __future__ import annotations

import argparse
import json
import queue
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[2]))

from conformance.onnx_backend import baseline, report
from conformance.onnx_backend.cases import Case, all_cases
from conformance.onnx_backend.execution import MODES, RUNNERS, SYMBOLIC, Result
from conformance.onnx_backend.server import Client

BATCH = 16
UPDATE = "python tests/conformance/onnx_backend/run.py --update-baseline"
UPDATE_SYMBOLIC = "python tests/conformance/onnx_backend/run.py --symbolic --update-baseline"


def run_cases(names: Sequence[str], mode: str, jobs: int, journal: Path | None = None) -> dict[str, Result]:
    """Run cases on `jobs` servers, in batches taken from one queue; results in the order of `names`. A `journal` gains
    a line for each result as it comes, and what it already holds is not run again."""
    wanted = set(names) if journal is not None else set[str]()
    results = {name: found for name, found in _journaled(journal, mode) if name in wanted}
    left = [name for name in names if name not in results]
    batches: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
    for start in range(0, len(left), BATCH):
        batches.put(left[start : start + BATCH])
    lock = threading.Lock()

    def work() -> None:
        with Client() as client:
            while True:
                try:
                    batch = batches.get_nowait()
                except queue.Empty:
                    return
                for name, result in client.run(mode, batch):
                    with lock:
                        results[name] = result
                        if journal is not None:
                            _note(journal, mode, name, result)

    threads = [threading.Thread(target=work) for _ in range(min(jobs, max(1, batches.qsize())))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    missing = [name for name in names if name not in results]
    if missing:
        raise RuntimeError(f"{len(missing)} cases have no result: a server failed; the first is {missing[0]}")
    return {name: results[name] for name in names}


def _journaled(journal: Path | None, mode: str) -> Iterator[tuple[str, Result]]:
    """The results of a mode in a journal; a line that an end cut short counts for nothing."""
    for text in journal.read_text().splitlines() if journal is not None and journal.exists() else ():
        try:
            entry = json.loads(text)
        except json.JSONDecodeError:
            continue
        if entry["mode"] == mode:
            yield entry["name"], Result(entry["status"], entry["code"], entry["detail"])


def _note(journal: Path, mode: str, name: str, result: Result) -> None:
    with journal.open("a") as file:
        file.write(json.dumps({"mode": mode, "name": name, **asdict(result)}) + "\n")


def summary(cases: Sequence[Case], results: dict[str, Result]) -> str:
    """A line per tag: rates of every outcome."""
    lines: list[str] = []
    for tag in ("focus", "core", "all"):
        counts = Counter(results[case.name].status for case in cases if tag == "all" or tag in case.tags)
        total = sum(counts.values())
        if total:
            parts = ", ".join(f"{status} {count}" for status, count in counts.most_common())
            rate = (counts["pass"] + counts["bound"]) / max(total - counts["fixed"], 1)
            lines.append(f"{tag:6} {total:5} cases: {rate:6.1%} pass ({parts})")
    return "\n".join(lines)


def show(results: dict[str, Result], statuses: set[str]) -> None:
    """Print the cases that ended in one of `statuses`, and how often each refusal or message occurs."""
    for name, result in results.items():
        if result.status in statuses:
            print(f"{result.label:20} {name}: {result.detail}")


def main() -> int:
    """Parse options, run, print, update."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=sorted(RUNNERS), action="append", help="default: reference and native")
    parser.add_argument(
        "--symbolic", action="store_true", help="make the sizes of all inputs symbols; cases that pass natively"
    )
    parser.add_argument("--filter", default="", help="only cases whose name matches this regular expression")
    parser.add_argument("--operator", help="only cases about this operator")
    parser.add_argument("--tag", choices=["focus", "core"], help="only cases with this tag")
    parser.add_argument(
        "--show", default="wrong,internal,crash,timeout", help="outcomes to list (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--journal", type=Path, help="a file that keeps results, so that a run can be gone on with")
    parser.add_argument("--update-baseline", action="store_true", help="write baseline.json and docs/onnx-support.md")
    arguments = parser.parse_args()
    if arguments.symbolic and arguments.mode:
        parser.error("--symbolic is a mode of its own")
    narrowed = arguments.filter or arguments.operator or arguments.tag or arguments.mode
    if arguments.update_baseline and narrowed:
        parser.error("--update-baseline runs every case in every mode")
    passing = set(baseline.load().passing("native")) if arguments.symbolic else set[str]()
    cases = [
        case
        for case in all_cases().values()
        if re.search(arguments.filter, case.name)
        and (not arguments.operator or case.group == arguments.operator)
        and (not arguments.tag or arguments.tag in case.tags)
        and (not arguments.symbolic or case.name in passing)
    ]
    if not cases:
        parser.error("no case matches")
    labels: dict[str, dict[str, str]] = {}
    for mode in [SYMBOLIC] if arguments.symbolic else arguments.mode or MODES:
        results = run_cases([case.name for case in cases], mode, arguments.jobs, arguments.journal)
        show(results, set(arguments.show.split(",")))
        print(f"mode {mode}\n{summary(cases, results)}")
        labels[mode] = {name: result.label for name, result in results.items()}
    if arguments.update_baseline:
        if arguments.symbolic:
            baseline.save_symbolic(labels[SYMBOLIC])
        else:
            baseline.save(cases, labels)
        report.write()
        print(f"wrote {(baseline.SYMBOLIC_PATH if arguments.symbolic else baseline.PATH).name} and {report.PATH.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
