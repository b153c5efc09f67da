"""How numbers are shown: times, sizes, and the tree of a compilation's steps.

In: records and figures. Out: lines of text. The one idea: one place decides units and digits.
"""

from __future__ import annotations

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
