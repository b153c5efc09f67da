"""docs/tile.md: the ``tile`` dialect, every op with its meaning, and the accuracy of the elementary functions.

In: the op classes, the docstrings of their modules, and the stated error bounds. Out: Markdown. Nothing about an op is
written here: what the page says of it is what its class says.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.compiler.dialects.tile.base import TileOp

PAGE = "docs/tile.md"

INTRODUCTION = """\
# The tile dialect

The second level: one kernel as rolled loops over register tiles. Schedules (`compiler/passes/lower/schedules`) write
it, back ends (`compiler/backends`) turn it into machine code.

## What a kernel looks like

```mlir
tile.kernel @gemm(%a: memref<1536xf32>, %b: memref<8192xf32>, %c: memref<192xf32>) units(%begin, %end of 1) {
  %sum = scf.for %k = %c0 to %c256 step %c1 iter_args(%total = %zero) -> (vector<6x32xf32>) {
    %column = tile.load %a, %k {strides = [256, 0]} : (memref<1536xf32>, index) -> vector<6x1xf32>
    %at = tile.mul %k, %c32 : (index, index) -> index
    %row = tile.load %b, %at {strides = [0, 1]} : (memref<8192xf32>, index) -> vector<1x32xf32>
    %next = tile.fma %column, %row, %total : (...) -> vector<6x32xf32>
    scf.yield %next : vector<6x32xf32>
  }
  tile.store %sum, %c, %c0 {strides = [32, 1]} : (vector<6x32xf32>, memref<192xf32>, index) -> ()
  tile.return : () -> ()
}
```

* A kernel runs the parallel units from `%begin` to `%end`, which write disjoint memory: any split gives the same bits.
* A value is an index, a scalar, a register tile (`vector`) or a flat buffer. Elementwise ops broadcast dimensions of 1.
* A `team` kernel runs all units once in each of its phases: its threads `tile.take` them.
* Loops and branches are `scf.for`, `scf.if` and `scf.while`; they carry tiles.
* `f16` and `bf16` are storage: arithmetic on them is done in `f32` and rounded.
* Integer division by zero gives 0 and never traps. On an unsigned element type, signed ops mean the unsigned ones.
  Shift amounts must be below the width.

`KernelBuilder` (`compiler/dialects/tile/builder.py`) builds kernels from Python, with loops as context managers.

## Looking at a kernel

* `penstock code dump/07-lower.mlir -k gemm --form llvm` prints its LLVM IR, `--form asm` its assembly, `--list` sizes.
* `compiler/dialects/tile/interpreter.py` runs it in numpy, and refuses any access out of bounds, any write to an input
  and units that touch each other's outputs. It is the oracle the back ends are tested against.
* `run_kernel` and `time_kernel` (`compiler/backends/cpu/jit.py`) run its machine code on numpy arrays.

## From tiles to machine vectors

The emitter (`compiler/backends/llvm`) unrolls outer dimensions into rows and splits the last one into vectors of the
machine's lanes (16 on x86-64-v4, 8 on x86-64-v3, for every element type). A row of equal lanes stays a scalar until a
vector is needed. Rows and vectors outside an access's static bounds are never touched; run-time limits become masks.
Addresses are reduced by the emitter, so LLVM's loop strength reduction, which took most of the time, is switched off.
No kernel calls a function: one that would is refused, naming the op.
"""

ACCURACY = """\
## Elementary functions

Our own polynomials (`math.py` and `trigonometry.py` in `compiler/backends`, fitted by `minimax.py`), shared by all back
ends. NaN, infinities, signed zeros and denormal results follow IEEE-754; sine, cosine and tangent are accurate for
every finite argument. Largest error in units in the last place, as stated in `BOUNDS` and checked over dense samples
and special cases by `tests/unit/tile/test_math.py`, which prints the measured errors when it is run as a script.

| function | f32 | f64 |
|---|---|---|
"""


def render(root: Path) -> str:
    """The page's Markdown."""
    del root
    from penstock.compiler.backends.math import BOUNDS
    from penstock.compiler.dialects.tile import operations

    parts = [INTRODUCTION]
    modules: dict[str, list[type[TileOp]]] = {}
    for op in operations():
        modules.setdefault(op.__module__, []).append(op)
    for module, ops in modules.items():
        title = (importlib.import_module(module).__doc__ or "").strip().split("\n")[0].rstrip(".")
        parts.append(f"## {title}\n\n| op | parameters | meaning |\n|---|---|---|")
        parts += [_row(op) for op in ops]
        parts.append("")
    rows = [f"| `{name}` | {single} | {double} |" for name, (single, double) in BOUNDS.items()]
    return "\n".join([*parts, ACCURACY + "\n".join(rows)])


def _row(op: type[TileOp]) -> str:
    meaning = " ".join((inspect.getdoc(op) or "").replace("``", "`").replace("|", "\\|").split())
    parameters = ", ".join(f"`{name}`" for name in op.parameters)
    return f"| `{op.name}` | {parameters} | {meaning} |"
