"""A register tile as machine values.

In: a tile type and the machine's lane count. Out: rows of machine vectors. The one idea: outer dimensions are
unrolled into rows and the last one is split into chunks of the machine's lanes; a row whose lanes are all equal is
kept as one scalar until someone needs the vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from xdsl.ir import Attribute

from penstock.compiler.backends.llvm.writer import Value, Writer

Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile's machine values: ``rows`` in row-major order of the outer dimensions, each with its chunks.

    A row of a single scalar under a last extent above 1 means that scalar in every lane.
    """

    extents: tuple[int, ...]
    kind: Attribute
    rows: tuple[Row, ...]

    @property
    def last(self) -> int:
        """Extent of the last dimension (1 for a scalar)."""
        return self.extents[-1] if self.extents else 1

    @property
    def scalar(self) -> Value:
        """The value of a tile of rank 0."""
        assert not self.extents
        return self.rows[0][0]


def chunk_lanes(extent: int, width: int) -> list[int]:
    """Lanes of each machine vector that together hold ``extent`` lanes."""
    whole, rest = divmod(extent, width)
    return [width] * whole + ([rest] if rest else [])


def outer_indices(extents: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Index tuples of all dimensions but the last, in row-major order."""
    return product(*(range(extent) for extent in extents[:-1]))


def row_number(indices: tuple[int, ...], extents: tuple[int, ...]) -> int:
    """The row that holds outer ``indices`` of a tile of ``extents``, whose dimensions of 1 repeat."""
    number = 0
    for index, extent in zip(indices, extents, strict=False):
        number = number * extent + (index if extent != 1 else 0)
    return number


def row_count(extents: tuple[int, ...]) -> int:
    """Rows of a tile: the product of its outer extents."""
    return prod(extents[:-1]) if extents else 1


def is_uniform(row: Row, last: int) -> bool:
    """True if the row is one scalar for all its lanes."""
    return len(row) == 1 and row[0].lanes == 1 and last > 1


def chunks(writer: Writer, row: Row, last: int, width: int) -> list[Value]:
    """The row as machine vectors, a uniform one splatted."""
    if not is_uniform(row, last) or last == 1:
        return list(row)
    return [writer.splat(row[0], lanes) for lanes in chunk_lanes(last, width)]


def lane(writer: Writer, row: Row, index: int, last: int, width: int) -> Value:
    """One lane of a row as a scalar."""
    if is_uniform(row, last):
        return row[0]
    return writer.lane(row[index // width], index % width)
