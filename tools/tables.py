"""How figures are shown: times, sizes, tables, and the tree of a compilation's steps.

In: records and figures. Out: lines of text. The one idea: one place decides units and digits; figures are never cut, a
column of words is, and only on a terminal that is too narrow.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.compiler.runner import Record


def seconds_text(seconds: float) -> str:
    """A duration in the unit that gives it one to four digits before the point."""
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.1f} {unit}"
    return f"{seconds:.2f} s"


def bytes_text(count: float) -> str:
    """A size in decimal units."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def size_text(size: int | str, before: str = "") -> str:
    """A size in bytes, or the formula of one that is known when the model runs, with a word ``before`` that."""
    return bytes_text(size) if isinstance(size, int) else f"{before}({size}) B"


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,)) -> list[str]:
    """Rows under a header, columns two spaces apart: those in ``words`` to the left, the others (figures) to the right.

    On a terminal too narrow for all, the widest columns of words are cut. An empty column is left out.
    """
    columns = [i for i, name in enumerate(header) if name or any(row[i] for row in rows)]
    widths = {i: max(len(header[i]), *(len(row[i]) for row in rows), 0) if rows else len(header[i]) for i in columns}
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1 << 30
    excess = sum(widths.values()) + 2 * (len(columns) - 1) - room
    while excess > 0 and (cuttable := [i for i in columns if i in words and widths[i] > 12]):
        widest = max(cuttable, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1

    def line(cells: Sequence[str]) -> str:
        parts: list[str] = []
        for i in columns:
            cell = cells[i] if len(cells[i]) <= widths[i] else cells[i][: widths[i] - 3] + "..."
            parts.append(cell.ljust(widths[i]) if i in words else cell.rjust(widths[i]))
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * widths[i] for i in columns)
    return [line(header), rule, *(line(row) for row in rows)]


def timing_lines(records: Sequence[Record], indent: str = "") -> list[str]:
    """The tree of steps with wall times, shares of the whole, and sizes in ops."""
    total = sum(record.seconds for record in records) or 1e-9
    lines: list[str] = []
    for record in records:
        size = f"{record.ops_before} -> {record.ops_after} ops"
        lines.append(
            f"{indent}{record.name:<28}{seconds_text(record.seconds):>10} {record.seconds / total:6.1%}  {size}"
        )
        lines += [f"{indent}  {line}" for line in timing_lines(record.steps)] if record.steps else []
    return lines
