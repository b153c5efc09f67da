"""Export every architecture in four ways, compile each, compare with onnxruntime, and write docs/architectures.md.

    python benchmarks/architectures --cache DIR --page docs/architectures.md     # all, and the page
    python benchmarks/architectures --cache DIR bert gpt2 --shapes fixed         # two, in two ways
    python benchmarks/architectures --cache DIR --export-only

Exports are made once and kept in the cache folder; `--again` makes them anew. Every export and every comparison runs
in a process of its own with a time limit. Needs `pip install -e .[compiler,bench]`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).parents[1])

from architectures import all_architectures
from architectures.export import EXPORTERS, SHAPES, WAYS, Way, export, export_path, reason, write_inputs
from architectures.forked import Ended, run_forked

RESULTS = "outcomes.json"
Key = tuple[str, Way]


def make_exports(names: list[str], ways: list[Way], cache: Path, jobs: int, limit: float, again: bool) -> None:
    """Make the exports that are not in the cache yet."""
    architectures = all_architectures()
    work: list[tuple[Key, Any]] = []
    for name in names:
        if again or not (cache / f"{name}.1.npz").exists():
            write_inputs(architectures[name], cache)
        for way in ways:
            path = export_path(cache, name, way)
            if again or not (path.exists() or path.with_suffix(".failed").exists()):
                work.append(((name, way), partial(export, architectures[name], way, cache)))
    for (name, way), result in run_forked(work, limit, jobs):
        if isinstance(result, Ended):
            export_path(cache, name, way).unlink(missing_ok=True)
            result = f"{result.how}: {result.detail}"
            export_path(cache, name, way).with_suffix(".failed").write_text(result)
        print(f"export {name:24} {' '.join(way):20} {result.splitlines()[0][:200] if result else 'ok'}", flush=True)


def make_comparisons(names: list[str], ways: list[Way], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Compile and compare every export there is: `{name: {"dynamo fixed": outcome}}`."""
    import onnxruntime  # noqa: F401 -- before forking, so that every child has it

    import penstock.compiler.driver  # noqa: F401
    from architectures.comparison import Outcome, compare

    architectures, tree = all_architectures(), revision()
    outcomes: dict[Key, dict[str, Any]] = {}
    work: list[tuple[Key, Any]] = []
    for name in names:
        for way in ways:
            path = export_path(options.cache, name, way)
            if not path.exists():
                failed = path.with_suffix(".failed")
                if failed.exists():
                    outcomes[name, way] = Outcome("not exported", reason(failed.read_text())).as_dict()
                continue
            sizes = (0, 1) if way[1] == "dynamic" else (0,)
            inputs = [options.cache / f"{name}.{which}.npz" for which in sizes]
            work.append(((name, way), partial(compare, path, inputs, options.target, architectures[name].tolerance)))
    for key, result in run_forked(work, options.limit, options.jobs):
        if isinstance(result, Ended):
            result = Outcome("internal" if result.how == "error" else result.how, result.detail).as_dict()
        outcomes[key] = result | {"tree": tree}
        line = f"{key[0]:24} {' '.join(key[1]):20} {result['status']:10}"
        figures = "" if result["error"] is None else f"error {result['error']:.1e}, compiled in {result['seconds']} s"
        print(f"{line} {figures} {result['detail'][:600]}", flush=True)
    return {name: {" ".join(way): outcomes[name, way] for way in ways if (name, way) in outcomes} for name in names}


def keep(path: Path, outcomes: dict[str, dict[str, Any]], order: list[str]) -> dict[str, dict[str, Any]]:
    """Merge `outcomes` into those in the file at `path`; returns all, in the order of the architectures and ways."""
    kept: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    for name, by_way in outcomes.items():
        kept.setdefault(name, {}).update(by_way)
    ways = [" ".join(way) for way in WAYS]
    kept = {name: {way: kept[name][way] for way in ways if way in kept[name]} for name in order if name in kept}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    return kept


def revision() -> str:
    """The commit of the sources that compile, "" where git cannot tell; with a + where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parents[2]), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> str:
    """Of what made the exports and the reference."""
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "onnx", "onnxruntime"))


def main() -> int:
    """Parse options, export, compare, write."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/architectures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="architectures (default: all)")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the exports; outside the repository")
    parser.add_argument("--exporter", choices=EXPORTERS, action="append", help="only this one")
    parser.add_argument("--shapes", choices=SHAPES, action="append", help="only these")
    parser.add_argument("--target", default="cpu", help="target to compile for (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one (default: %(default)s)")
    parser.add_argument("--export-only", action="store_true", help="only make the exports")
    parser.add_argument("--compare-only", action="store_true", help="only compare the exports there are")
    parser.add_argument("--again", action="store_true", help="make exports anew")
    parser.add_argument("--page", type=Path, help="write all outcomes known to the cache as Markdown")
    options = parser.parse_args()
    known = all_architectures()
    names = options.names or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no architecture is called {', '.join(unknown)}; there are {', '.join(known)}")
    ways = [way for way in WAYS if way[0] in (options.exporter or EXPORTERS) and way[1] in (options.shapes or SHAPES)]
    options.cache.mkdir(parents=True, exist_ok=True)
    os.nice(10)
    if not options.compare_only:
        make_exports(names, ways, options.cache, options.jobs, options.limit, options.again)
    if options.export_only:
        return 0
    outcomes = make_comparisons(names, ways, options)
    kept = keep(options.cache / RESULTS, outcomes, list(known))
    if options.page:
        from architectures.page import page

        options.page.write_text(
            page(kept, options.target, versions(), {name: each.sizes for name, each in known.items()})
        )
    statuses = [outcome["status"] for by_way in outcomes.values() for outcome in by_way.values()]
    print(", ".join(f"{status} {statuses.count(status)}" for status in dict.fromkeys(statuses)))
    return 0 if set(statuses) <= {"pass", "not exported", "no reference"} else 1


if __name__ == "__main__":
    sys.exit(main())
