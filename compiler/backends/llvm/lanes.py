"""Ops that move lanes: broadcast, reshape, transpose, extract, reduce, iota.

In: tiles. Out: tiles of another shape. The one idea: rows and whole machine vectors are renamed for free; lanes are
moved by shuffles only where a last dimension changes. Reductions are fixed trees, so equal inputs give equal bits.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from penstock.compiler.backends.llvm.elementwise import lanewise
from penstock.compiler.backends.llvm.emitter import Emitter, handles
from penstock.compiler.backends.llvm.tiles import (
    Row,
    chunk_lanes,
    chunks,
    is_uniform,
    lane,
    outer_indices,
    row_count,
    row_number,
)
from penstock.compiler.backends.llvm.types import element_bits
from penstock.compiler.backends.llvm.writer import Value, Writer
from penstock.compiler.dialects.tile import memory
from penstock.compiler.dialects.tile.base import shape


@handles("tile.broadcast")
def emit_broadcast(emitter: Emitter, op: memory.Broadcast) -> None:
    """Rows are shared, scalars stay scalars."""
    tile, extents = emitter.tile(op.operands[0]), shape(op.results[0])
    rows = [
        tile.rows[row_number(indices, tile.extents)] if tile.extents else tile.rows[0]
        for indices in outer_indices(extents)
    ]
    emitter.define(op.results[0], rows)


@handles("tile.reshape")
def emit_reshape(emitter: Emitter, op: memory.Reshape) -> None:
    """Free where the last extent stays; else lanes are picked one by one."""
    tile, extents = emitter.tile(op.operands[0]), shape(op.results[0])
    last = extents[-1] if extents else 1
    if last == tile.last:
        emitter.define(op.results[0], tile.rows)
        return
    w, width = emitter.writer, emitter.width

    def source(position: int) -> Value:
        row, column = divmod(position, tile.last)
        return lane(w, tile.rows[row], column, tile.last, width)

    rows: list[Row] = []
    for row in range(row_count(extents)):
        scalars = [source(row * last + i) for i in range(last)]
        if len({id(s) for s in scalars}) == 1:
            rows.append((scalars[0],))
            continue
        row_chunks: list[Value] = []
        for size in chunk_lanes(last, width):
            row_chunks.append(w.collect(scalars[:size]))
            scalars = scalars[size:]
        rows.append(tuple(row_chunks))
    emitter.define(op.results[0], rows)


@handles("tile.extract")
def emit_extract(emitter: Emitter, op: memory.Extract) -> None:
    """One lane."""
    tile, position = emitter.tile(op.operands[0]), op.position
    row = tile.rows[row_number(position[:-1], tile.extents)]
    emitter.define(op.results[0], [(lane(emitter.writer, row, position[-1], tile.last, emitter.width),)])


@handles("tile.iota")
def emit_iota(emitter: Emitter, op: memory.Iota) -> None:
    """Known numbers."""
    w, extents, dim = emitter.writer, shape(op.results[0]), op.dim
    last = extents[-1]
    if dim != len(extents) - 1:
        rows: list[Row] = [(w.constant(indices[dim], "i64"),) for indices in outer_indices(extents)]
        emitter.define(op.results[0], rows)
        return
    row, first = list[Value](), 0
    for lanes in chunk_lanes(last, emitter.width):
        row.append(w.lane_numbers(list(range(first, first + lanes)), "i64"))
        first += lanes
    emitter.define(op.results[0], [tuple(row)] * row_count(extents))


# Reduction --------------------------------------------------------------------------------------------------------

_REDUCTIONS = {"and": "and_", "or": "or_"}


def _tree(values: list[Value], combine: Callable[[Value, Value], Value]) -> Value:
    """Neighbours combined pairwise until one is left."""
    while len(values) > 1:
        paired = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = paired + values[len(paired) * 2 :]
    return values[0]


def _across(w: Writer, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
    """All lanes of a machine vector combined: upper half with lower half, again and again."""
    lanes = value.lanes
    if lanes == 1:
        return value
    half = 1 << ((lanes - 1).bit_length() - 1)
    lower = w.shuffle(value, None, list(range(half)))
    rest = w.shuffle(value, None, list(range(half, lanes)))
    if lanes == 2 * half:
        return _across(w, combine(lower, rest), combine)
    return combine(_across(w, lower, combine), _across(w, rest, combine))


@handles("tile.reduce")
def emit_reduce(emitter: Emitter, op: memory.Reduce) -> None:
    """Rows are combined first, then the vectors of a row, then the lanes of a vector."""
    w, tile = emitter.writer, emitter.tile(op.operands[0])
    extents, result = tile.extents, shape(op.results[0])
    combine = lanewise(emitter, _REDUCTIONS.get(op.kind, op.kind), tile.kind)
    groups: dict[tuple[int, ...], list[Row]] = {}
    for indices, row in zip(outer_indices(extents), tile.rows, strict=True):
        kept = tuple(0 if d in op.dims else i for d, i in enumerate(indices))
        groups.setdefault(kept, []).append(row)
    rows: list[Row] = []
    for group in groups.values():
        vectors = [chunks(w, row, tile.last, emitter.width) for row in group]
        combined = [_tree(list(column), combine) for column in zip(*vectors, strict=True)]
        if len(extents) - 1 in op.dims:
            full = [value for value in combined if value.lanes == emitter.width]
            total = [_across(w, _tree(full, combine), combine)] if full else []
            total += [_across(w, value, combine) for value in combined if value.lanes != emitter.width]
            combined = [_tree(total, combine)]
        rows.append(tuple(combined))
    assert len(rows) == row_count(result)
    emitter.define(op.results[0], rows)


# Transposition ----------------------------------------------------------------------------------------------------


@handles("tile.transpose")
def emit_transpose(emitter: Emitter, op: memory.Transpose) -> None:
    """Square blocks of machine vectors through shuffle networks."""
    w, width, tile = emitter.writer, emitter.width, emitter.tile(op.operands[0])
    *outer, height, length = tile.extents
    result: list[Row] = []
    for group in range(prod(outer)):
        rows = tile.rows[group * height : (group + 1) * height]
        result += _transpose(w, width, list(rows), length)
    emitter.define(op.results[0], result)


def _transpose(w: Writer, width: int, rows: list[Row], length: int) -> list[Row]:
    """The rows of the transpose of ``rows`` of ``length`` lanes."""
    if length == 1:
        return [_joined(w, width, [row[0] for row in rows])]
    if all(is_uniform(row, length) for row in rows):
        return [_joined(w, width, [row[0] for row in rows])] * length
    if len(rows) == 1:
        return [(lane(w, rows[0], i, length, width),) for i in range(length)]
    columns: list[list[Value]] = [[] for _ in range(length)]
    for top in range(0, len(rows), width):
        band = [chunks(w, row, length, width) for row in rows[top : top + width]]
        first = 0
        for block in zip(*band, strict=True):
            for i, value in enumerate(transpose_block(w, list(block))):
                columns[first + i].append(value)
            first += block[0].lanes
    return [tuple(column) for column in columns]


def _joined(w: Writer, width: int, scalars: list[Value]) -> Row:
    """Scalars as one row."""
    if len(scalars) > 1 and all(s == scalars[0] for s in scalars):
        return (scalars[0],)
    return tuple(w.collect(scalars[i : i + width]) for i in range(0, len(scalars), width))


def transpose_block(w: Writer, rows: list[Value]) -> list[Value]:
    """The columns of up to ``width`` machine vectors, each with as many lanes as there are rows."""
    height, length = len(rows), rows[0].lanes
    if length == 1:
        return [w.collect(rows)]
    if height == 1:
        return [w.lane(rows[0], i) for i in range(length)]
    size = max(1 << (height - 1).bit_length(), 1 << (length - 1).bit_length())
    padded = [_padded(w, row, size) for row in rows]
    padded += [w.poison(rows[0].element, size)] * (size - height)
    if size >= 8 and element_bits(rows[0].element) == 32:
        full = _transpose_words(w, padded)
    else:
        full = _transpose_any(w, padded)
    return [w.shuffle(column, None, list(range(height))) for column in full[:length]]


def _padded(w: Writer, value: Value, lanes: int) -> Value:
    if value.lanes == lanes:
        return value
    return w.shuffle(value, None, [*range(value.lanes), *[-1] * (lanes - value.lanes)])


def _mix(w: Writer, a: Value, b: Value, indices: list[int]) -> Value:
    """A shuffle of two values, skipped where both are padding."""
    return a if a.text == "poison" and b.text == "poison" else w.shuffle(a, b, indices)


def _transpose_any(w: Writer, rows: list[Value]) -> list[Value]:
    """Perfect shuffles: interleaving row i with row i + n/2, log2(n) times, transposes n rows of n lanes."""
    size = len(rows)
    lower = [i // 2 + (i % 2) * size for i in range(size)]
    upper = [i + size // 2 for i in lower]
    for _ in range(size.bit_length() - 1):
        pairs = zip(rows[: size // 2], rows[size // 2 :], strict=True)
        rows = [_mix(w, a, b, picks) for a, b in pairs for picks in (lower, upper)]
    return rows


def _transpose_words(w: Writer, rows: list[Value]) -> list[Value]:
    """32-bit lanes on x86, whose cheap shuffles work within 128 bits: 4x4 blocks inside the 128-bit parts first, then
    the parts are exchanged. One instruction for each shuffle: n log2(n) of them for n rows."""
    size = len(rows)
    parts = size // 4

    def within(pattern: list[int]) -> list[int]:
        return [p * 4 + (i % 4) + (size if i >= 4 else 0) for p in range(parts) for i in pattern]

    low, high, low2, high2 = map(within, ([0, 4, 1, 5], [2, 6, 3, 7], [0, 1, 4, 5], [2, 3, 6, 7]))
    blocks: list[list[Value]] = [[] for _ in range(4)]
    for g in range(0, size, 4):
        a, b, c, d = rows[g : g + 4]
        first, second = _mix(w, a, b, low), _mix(w, a, b, high)
        third, fourth = _mix(w, c, d, low), _mix(w, c, d, high)
        for k, (x, y) in enumerate(((first, third), (second, fourth))):
            blocks[2 * k].append(_mix(w, x, y, low2))
            blocks[2 * k + 1].append(_mix(w, x, y, high2))
    result: list[Value | None] = [None] * size
    for k, group in enumerate(blocks):
        for m, value in enumerate(_transpose_parts(w, group)):
            result[4 * m + k] = value
    return [value for value in result if value is not None]


def _transpose_parts(w: Writer, group: list[Value]) -> list[Value]:
    """The 128-bit parts of 2 or 4 vectors transposed as a matrix of parts."""

    def parts(numbers: list[int]) -> list[int]:
        return [4 * n + i for n in numbers for i in range(4)]

    if len(group) == 2:
        a, b = group
        return [_mix(w, a, b, parts([0, 2])), _mix(w, a, b, parts([1, 3]))]
    a, b, c, d = group
    first, second = _mix(w, a, b, parts([0, 1, 4, 5])), _mix(w, a, b, parts([2, 3, 6, 7]))
    third, fourth = _mix(w, c, d, parts([0, 1, 4, 5])), _mix(w, c, d, parts([2, 3, 6, 7]))
    return [
        _mix(w, x, y, parts(picks))
        for x, y in ((first, third), (second, fourth))
        for picks in ([0, 2, 4, 6], [1, 3, 5, 7])
    ]
