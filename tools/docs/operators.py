"""docs/operators.md: every ONNX operator with a converter, and what its converter says of its limits; element types.

In: the front end's converters and the table of element types. Out: a table per operator domain.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

PAGE = "docs/operators.md"

ABOUT = """\
# Operators and types

What the front end compiles: every operator with a converter of its own, from which opset on it is read in this form
(blank: all), and its limits. ONNX operators that are not here are compiled by the standard's function bodies where
they have one; whatever cannot be compiled is refused by the name of its node (`penstock check model.onnx`).
[ONNX support](onnx-support.md) says how they fare in ONNX's own tests.
"""

TYPES = """\
## Element types

| types | as |
|---|---|
| `f32` `f64`, `i8` to `i64`, `ui8` to `ui64`, booleans | stored and computed with |
| `f16` `bf16` | stored; computed with in f32, and rounded once at each result |
| float8: {floats} | stored, moved, converted, quantised and dequantised; one byte each |
| {narrow} | the same; one to a byte in memory, packed in the model's file |
| strings, complex numbers | refused |
"""


def render(root: Path) -> str:
    """The page."""
    from penstock.compiler.dtypes import STORAGE_FLOATS
    from penstock.compiler.frontends.onnx.converters import registry

    floats = ", ".join(name for name in STORAGE_FLOATS if name.startswith("f8"))
    narrow = ", ".join(("f4e2m1", "i4", "ui4", "i2", "ui2"))
    lines = [ABOUT, TYPES.format(floats=floats, narrow=narrow)]
    for domain, names in groupby(sorted(registry(), key=_by_domain), key=lambda name: name.rpartition(".")[0]):
        lines += [f"## {domain or 'ONNX'}", "", "| operator | from opset | limits |", "|---|---|---|"]
        for name in names:
            for entry in registry()[name]:
                since = str(entry.since) if entry.since > 1 else ""
                limits = " ".join((entry.convert.__doc__ or "").split()).replace("|", "\\|")
                lines.append(f"| {name.rpartition('.')[2]} | {since} | {limits} |")
        lines.append("")
    return "\n".join(lines)


def _by_domain(name: str) -> tuple[bool, str, str]:
    """ONNX's own operators first, then domain by domain."""
    domain, _, op = name.rpartition(".")
    return bool(domain), domain, op
