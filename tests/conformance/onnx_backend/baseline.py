"""The committed results, and what a new run means beside them.

In: `baseline.json` (one line per case: what it is about and how it ended in each mode), `symbolic.json` (how it ended
with symbolic sizes, for those that pass natively and have sizes) and fresh results. Out: the differences, as
regressions and improvements. The one idea: outcomes have an order (`RANK`); moving down it is a regression and moving
up an improvement, and either fails a test until someone looks and updates the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .cases import Case
from .execution import MODES, Result

PATH = Path(__file__).with_name("baseline.json")
SYMBOLIC_PATH = Path(__file__).with_name("symbolic.json")

RANK = {"pass": 5, "fixed": 5, "bound": 4, "refused": 3, "wrong": 2, "internal": 1, "timeout": 1, "crash": 0}
"""How good an outcome is. A refusal is better than a wrong result: its user knows."""


@dataclass(frozen=True)
class Entry:
    """One case in the baseline; `results` maps a mode to a label such as `pass` or `refused PENS-M006`."""

    group: str
    kind: str
    opset: int
    tags: tuple[str, ...]
    results: Mapping[str, str]

    def status(self, mode: str) -> str:
        """The outcome in a mode, without a refusal's code."""
        return self.results[mode].split(" ")[0]


@dataclass(frozen=True)
class Baseline:
    """All cases of one version of the `onnx` package."""

    onnx_version: str
    cases: Mapping[str, Entry]

    def groups(self) -> dict[str, list[str]]:
        """Names of cases by group, both sorted."""
        groups: dict[str, list[str]] = {}
        for name, entry in sorted(self.cases.items()):
            groups.setdefault(entry.group, []).append(name)
        return dict(sorted(groups.items()))

    def passing(self, mode: str) -> list[str]:
        """Names of the cases that pass in a mode."""
        return [name for name, entry in self.cases.items() if entry.status(mode) in ("pass", "bound")]

    def count(self, mode: str, names: Iterable[str]) -> dict[str, int]:
        """How many of the named cases ended in which way."""
        counts = dict.fromkeys(RANK, 0)
        for name in names:
            counts[self.cases[name].status(mode)] += 1
        return counts

    def tagged(self, tag: str) -> list[str]:
        """Names of the cases with a tag; with the tag `all`, every name."""
        return [name for name, entry in self.cases.items() if tag == "all" or tag in entry.tags]


def load(path: Path = PATH) -> Baseline:
    """Read the committed baseline; without the file, one of no cases (which fails `test_baseline_has_every_case`)."""
    if not path.exists():
        return Baseline("", {})
    document = json.loads(path.read_text())
    cases = {
        name: Entry(
            item["group"], item["kind"], item["opset"], tuple(item["tags"]), {mode: item[mode] for mode in MODES}
        )
        for name, item in document["cases"].items()
    }
    return Baseline(document["onnx"], cases)


def save(cases: Iterable[Case], results: Mapping[str, Mapping[str, str]], path: Path = PATH) -> None:
    """Write the baseline; `results` maps a mode to labels by case name."""
    lines: dict[str, object] = {}
    for case in sorted(cases, key=lambda case: case.name):
        item: dict[str, object] = {
            "group": case.group,
            "kind": case.kind,
            "opset": case.opset,
            "tags": sorted(case.tags),
        }
        item.update((mode, results[mode][case.name]) for mode in MODES)
        lines[case.name] = item
    _write(lines, path)


def load_symbolic(path: Path = SYMBOLIC_PATH) -> Mapping[str, str]:
    """Labels by case name; without the file, none."""
    return json.loads(path.read_text())["cases"] if path.exists() else {}


def save_symbolic(labels: Mapping[str, str], path: Path = SYMBOLIC_PATH) -> None:
    """Write the labels of the cases that have sizes."""
    _write({name: label for name, label in sorted(labels.items()) if label != "fixed"}, path)


def _write(cases: Mapping[str, object], path: Path) -> None:
    """A line per case, and the version of ONNX they are from."""
    import onnx

    lines = [f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in cases.items()]
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f'{{"onnx": {json.dumps(onnx.__version__)}, "cases": {{\n' + ",\n".join(lines) + "\n}}\n")
    os.replace(temporary, path)


def differences(baseline: Baseline, mode: str, results: Mapping[str, Result]) -> tuple[list[str], list[str]]:
    """Regressions and improvements, a line each."""
    return changes({name: baseline.cases[name].results[mode] for name in results}, results)


def changes(labels: Mapping[str, str], results: Mapping[str, Result]) -> tuple[list[str], list[str]]:
    """The same from what cases were labelled before."""
    worse: list[str] = []
    better: list[str] = []
    for name, result in results.items():
        before = labels[name].split(" ")[0]
        change = RANK[result.status] - RANK[before]
        if change:
            line = f"{name}: {before} -> {result.label}" + (f" ({result.detail})" if result.detail else "")
            (better if change > 0 else worse).append(line)
    return worse, better
