"""A picture of a comparison: how fast each engine is beside the best peer, model by model.

In: the JSON document `compare.py` writes. Out: an SVG or PNG file, one panel per number of threads, a row per model, a
dot per engine; 1 is the fastest peer, to the right is faster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

MARKERS = "osD^vPX*<>"
Row = Mapping[str, Any]


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the picture in one step; the name's ending says in which format."""
    rows: list[Row] = [row for row in document["results"] if row["median_s"] and row["precision"] == "f32"]
    threads = list(dict.fromkeys(row["threads"] for row in rows)) or [1]
    models = list(dict.fromkeys(row["model"] for row in rows))
    size = (4.5 * len(threads), 1.5 + 0.35 * len(models))
    figure, panels = plt.subplots(1, len(threads), sharey=True, squeeze=False, figsize=size, layout="constrained")
    for axes, count in zip(panels[0], threads, strict=True):
        _panel(axes, [row for row in rows if row["threads"] == count], models, document["ours"])
        axes.set_title(f"{count} thread{'s' if count > 1 else ''}")
    panels[0][0].set_yticks(range(len(models)), models)
    panels[0][0].invert_yaxis()
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format=path.suffix.removeprefix("."))
    plt.close(figure)
    os.replace(temporary, path)


def _panel(axes: Any, rows: list[Row], models: list[str], ours: list[str]) -> None:
    """One number of threads: speeds relative to the fastest engine that is not ours."""
    fastest: dict[str, float] = {}
    for row in rows:
        if row["peer"] not in ours:
            fastest[row["model"]] = min(row["median_s"], fastest.get(row["model"], row["median_s"]))
    for index, peer in enumerate(dict.fromkeys(row["peer"] for row in rows)):
        mine = [row for row in rows if row["peer"] == peer and row["model"] in fastest]
        speeds = [fastest[row["model"]] / row["median_s"] for row in mine]
        places = [models.index(row["model"]) for row in mine]
        first = peer in ours
        marker = MARKERS[index % len(MARKERS)]
        axes.scatter(speeds, places, s=60 if first else 24, marker=marker, label=peer, zorder=3 if first else 2)
    axes.axvline(1.0, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("speed, fastest peer = 1")
    axes.grid(axis="y", linewidth=0.3)
