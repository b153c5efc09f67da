"""Several runs of a comparison as one: medians, with the least and the greatest ratio.

In: the JSON documents of runs of `compare.py` over the same models, engines and numbers of threads. Out: one document
of the same form. The one idea: the ratio of a cell is the median of the runs' ratios, not a ratio of medians, since
only what was timed in the same minutes compares; its least and greatest values are the band of noise.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Row = Mapping[str, Any]

MEDIANS = ("compile_s", "load_s", "first_s", "median_s", "p10_s", "p90_s", "ratio", "roofline")
GREATEST = ("compile_peak", "peak", "idle", "planned", "tensors", "size", "error")
TOTALS = ("calls",)


def combine(documents: Sequence[Document]) -> dict[str, Any]:
    """One document of all: ceilings the best of all runs, cells joined by model, engine and number of threads.

    Raises ValueError if there are none, or their cells differ.
    """
    if not documents:
        raise ValueError("there are no runs to combine")
    cells = [{_key(row): row for row in document["results"]} for document in documents]
    if any(found.keys() != cells[0].keys() for found in cells):
        raise ValueError("the runs are of different models, engines or numbers of threads")
    last = documents[-1]
    return {
        **last,
        "runs": sum(document.get("runs", 1) for document in documents),
        "ceilings": {count: _best([each["ceilings"][count] for each in documents]) for count in last["ceilings"]},
        "least_s": {name: min(each["least_s"][name] for each in documents) for name in last["least_s"]},
        "notes": list(dict.fromkeys(note for document in documents for note in document["notes"])),
        "results": [_joined([found[key] for found in cells]) for key in cells[0]],
    }


def _key(row: Row) -> tuple[str, str, int]:
    return row["model"], row["peer"], row["threads"]


def _best(ceilings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The highest of each ceiling."""
    levels = [
        max(same, key=lambda level: level["bandwidth"])
        for same in zip(*(found["levels"] for found in ceilings), strict=True)
    ]
    return {"flops": max(found["flops"] for found in ceilings), "levels": levels}


def _joined(rows: Sequence[Row]) -> dict[str, Any]:
    """One cell of all runs; if it failed in one, that failure."""
    failed = next((row for row in rows if row["failure"]), None)
    if failed is not None:
        return dict(failed)
    joined = dict(rows[-1])
    rules: tuple[tuple[tuple[str, ...], Callable[[list[Any]], Any]], ...] = (
        (MEDIANS, statistics.median),
        (GREATEST, max),
        (TOTALS, sum),
        (("best_s",), min),
        (("same_bits",), all),
    )
    for names, rule in rules:
        for name in names:
            known = [row[name] for row in rows if row[name] is not None]
            joined[name] = rule(known) if known else None
    ratios = [bound for row in rows for bound in (row.get("ratio_band") or [row["ratio"]]) if bound is not None]
    joined["ratio_band"] = [min(ratios), max(ratios)] if ratios else None
    return joined
