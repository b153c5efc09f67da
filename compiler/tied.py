"""Tables whose rows are the columns of a product's weights too: tied embeddings, which are to be stored once.

In: a module or arrays. Out: which constants are tables, and whether their numbers are those of some weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from penstock.compiler.dialects.graph.base import elements
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import shape_of
from penstock.compiler.extents import is_number
from penstock.compiler.parallel import in_parts

LEAST = 1 << 20
"""Numbers from which on a table is worth storing once."""
MOST_READ = 64
"""Such a table has at least so many rows for each that is read: those of packed weights lie in pieces."""
BLOCK = 64


def table_of(op: Gather, least: int = LEAST) -> Constant | None:
    """The large constant [rows, width] of which ``op`` reads few rows, or None."""
    table, indices = op.operands
    owner, shape, read = table.owner, shape_of(table.type), elements(indices.type)
    if not isinstance(owner, Constant) or op.axis != 0 or len(shape) != 2 or elements(table.type) < least:
        return None
    return owner if is_number(read) and read * MOST_READ <= shape[0] else None


def tables(module: ModuleOp) -> list[Constant]:
    """All constants that ``table_of`` finds."""
    found = (table_of(op) for op in module.walk() if isinstance(op, Gather))
    return [table for table in found if table is not None]


def holds(weights: NDArray[Any], table: NDArray[Any]) -> bool:
    """Whether ``weights``, [K, N] or panels [ceil(N / P), K, P], have the rows of ``table`` [N, K] for columns, bit for
    bit."""
    panels = weights.ndim == 3
    rows, depth = table.shape
    block = weights.shape[2] if panels else BLOCK
    if weights.shape[-2] != depth or (weights.shape[0] * block < rows if panels else weights.shape[1] != rows):
        return False
    if weights.dtype != table.dtype:
        return False
    kind = np.dtype(f"u{table.dtype.itemsize}")
    weights, table = weights.view(kind), table.view(kind)
    differ: list[int] = []

    def compare(begin: int, end: int) -> None:
        for number in range(begin, end):
            some = table[number * block : (number + 1) * block]
            columns = weights[number] if panels else weights[:, number * block : (number + 1) * block]
            if differ or not np.array_equal(columns[:, : len(some)], some.T):
                differ.append(number)
                return

    compare(0, 1)  # nearly all that differ do so there
    if not differ:
        in_parts(-(-rows // block), compare, 2 * table.nbytes)
    return not differ
