"""How views and indexing ops answer for their value at coordinates: each rewrites coordinates and asks its operand.

In: an op of the dispatch body and coordinates into its result. Out: the tile. The one idea: such an op moves no data;
it is arithmetic on index expressions (plus a mask where it invents values, as padding does).
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from functools import cache
from typing import Any

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import BlockArgument, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.elementwise import Cast
from penstock.compiler.dialects.graph.shape import Reshape, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import shape_of
from penstock.compiler.errors import PASS_FAILED, InternalError
from penstock.compiler.extents import Dim, largest, surely
from penstock.compiler.passes.lower.affine import Expr, data, delinearise, lane, linearise
from penstock.compiler.passes.lower.evaluator import Coordinates, Evaluator, broadcast_coordinates, rule
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type


@cache
def load() -> None:
    """Import every module of this folder named ``rules_`` something, which registers what it holds, as this one did."""
    package = importlib.import_module("penstock.compiler.passes.lower")
    for info in pkgutil.iter_modules(package.__path__):
        if info.name.startswith("rules_"):
            importlib.import_module(f"{package.__name__}.{info.name}")


@rule("graph.reshape")
def reshape(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """The same row-major position under the operand's extents."""
    source = op.operands[0]
    return e.value(source, delinearise(linearise(at, shape_of(op.out.type)), shape_of(source.type)))


@rule("graph.transpose")
def transpose(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """Coordinates in the operand's order of axes."""
    coordinates = [Expr()] * len(at)
    for result_axis, source_axis in enumerate(op.permutation):
        coordinates[source_axis] = at[result_axis]
    return e.value(op.operands[0], tuple(coordinates))


@rule("graph.expand")
def expand(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """Axes of extent 1 read their only element."""
    return e.value(op.operands[0], broadcast_coordinates(at, shape_of(op.operands[0].type)))


@rule("graph.slice")
def slice_(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """Coordinates scaled by the steps and moved by the starts."""
    moved = tuple(c * step + start for c, step, start in zip(at, op.steps, op.starts, strict=True))
    return e.value(op.operands[0], moved)


@rule("graph.iota")
def iota(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """The coordinate itself."""
    return e.from_index(at[op.axis], op.out)


@rule("graph.constant")
def constant(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """A small inline constant: a number, or a choice among its elements by position."""
    assert isinstance(op, Constant)
    inline, kind = op.attributes.get("value"), element_of(op.out)
    if not isinstance(inline, DenseIntOrFPElementsAttr):
        raise InternalError(PASS_FAILED, "a weight must be an operand of the dispatch, not inside it")
    values: list[Any] = list(inline.get_values())
    if len(set(values)) == 1:
        return Typed(e.b.constant(values[0], register_type(kind)), kind)
    position = linearise(at, shape_of(op.out.type))
    known = position.known()
    if known is not None:
        return Typed(e.b.constant(values[known], register_type(kind)), kind)
    chosen = e.b.constant(values[-1], register_type(kind))
    for index, number in reversed(list(enumerate(values[:-1]))):
        chosen = e.b.select(e.compare("eq", position, index), e.b.constant(number, register_type(kind)), chosen)
    return Typed(chosen, kind)


@rule("graph.extent")
def extent(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """Numbers computed from the sizes of the run, or a choice among them by position."""
    kind = element_of(op.out)
    numbers = [e.b.cast(e.b.index(value), register_type(kind)) for value in op.values]
    position = linearise(at, shape_of(op.out.type))
    known = position.known()
    if known is not None:
        return Typed(numbers[known], kind)
    chosen = numbers[-1]
    for index, number in reversed(list(enumerate(numbers[:-1]))):
        chosen = e.b.select(e.compare("eq", position, index), number, chosen)
    return Typed(chosen, kind)


@rule("graph.pad")
def pad(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """The operand where the coordinate is inside it, else the fill; or the mirrored, nearest or wrapped element."""
    source = op.operands[0]
    extents = shape_of(source.type)
    inner = tuple(c - low for c, low in zip(at, op.low, strict=True))
    if op.mode != "constant":
        return e.value(source, tuple(_mirror(e, c, n, op.mode) for c, n in zip(inner, extents, strict=True)))
    valid = _valid_lanes(e, op, inner, extents)
    if valid is not None:
        with e.valid({**e.tile.bounds, **valid}):
            return e.value(source, inner)
    mask = e.mask_and([e.inside(c, extent) for c, extent in zip(inner, extents, strict=True)])
    value = e.value(source, tuple(e.clamp(c, extent) for c, extent in zip(inner, extents, strict=True)))
    if mask is None:
        return value
    fill = e.value(op.operands[1], ()) if len(op.operands) > 1 else e.scalars.constant(0, value)
    return e.scalars.select(Typed(mask, element_of(op.out)), value, fill)


def _valid_lanes(
    e: Evaluator, op: Any, inner: Coordinates, extents: tuple[int, ...]
) -> dict[int, tuple[int, int]] | None:
    """The lanes of a pad with zeros that read its source, by dimension, where each coordinate is either inside or the
    number of a lane: others then load as zero. None where it is not so."""
    source = op.operands[0]
    while isinstance(source.owner, Cast | Reshape | Transpose):
        source = source.owner.operands[0]
    if not isinstance(source, BlockArgument) or not _is_zero(op.operands[1].owner):
        return None
    found: dict[int, tuple[int, int]] = {}
    for coordinate, extent in zip(inner, extents, strict=True):
        low, high = coordinate.bounds()
        if surely(low, ">=", 0) and surely(high, "<", extent):
            continue
        dims = coordinate.lanes()
        if len(dims) != 1 or isinstance(extent, Dim) or extent == 1:  # an axis of one is read without its lane
            return None
        (dim,) = dims
        if coordinate != lane(dim, e.tile.extents[dim]) or dim in e.tile.bounds or dim in e.tile.limits:
            return None
        found[dim] = (0, extent)
    return found or None


def _is_zero(op: Any) -> bool:
    """True for a constant number that is zero, and not minus zero."""
    number = op.attributes.get("value") if isinstance(op, Constant) else None
    values: list[Any] = list(number.get_values()) if isinstance(number, DenseIntOrFPElementsAttr) else [1]
    return all(value == 0 and math.copysign(1, value) > 0 for value in values)


def _mirror(e: Evaluator, coordinate: Expr, extent: int, mode: str) -> Expr:
    """The source coordinate of a padded one, for edge, reflect and wrap."""
    low, high = coordinate.bounds()
    if mode == "edge" or (surely(low, ">=", 0) and surely(high, "<", extent)):
        return e.clamp(coordinate, extent)
    if mode == "wrap":
        return coordinate.mod(extent)
    period = largest(2 * (extent - 1), 1)
    folded = coordinate.mod(period)
    mirrored = (folded * -1) + period
    if folded.lanes():
        return data(e.b.binary("min", e.index_tile(folded), e.index_tile(mirrored)), 0, extent - 1)
    smaller = e.b.imin(e.scalar(folded), e.scalar(mirrored))
    return data(smaller, 0, extent - 1) if isinstance(smaller, SSAValue) else Expr(smaller)


@rule("graph.concat")
def concat(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """Operand by operand: the value of the last one whose range starts at or before the coordinate."""
    start, chosen = 0, None
    for operand in op.operands:
        extent = shape_of(operand.type)[op.axis]
        if extent == 0:
            continue
        local = at[op.axis] - start
        low, high = local.bounds()
        if not surely(high, "<", 0) and not surely(low, ">=", extent):
            coordinates = tuple(e.clamp(local, extent) if d == op.axis else c for d, c in enumerate(at))
            value = e.value(operand, coordinates)
            chosen = value if chosen is None else e.scalars.select(_mask(e, local), value, chosen)
        start += extent
    if chosen is None:
        raise InternalError(PASS_FAILED, "a coordinate outside a concatenation")
    return chosen


def _mask(e: Evaluator, local: Expr) -> Typed:
    from penstock.compiler.dtypes import I1

    return Typed(e.compare("ge", local, 0), I1)


@rule("graph.gather")
def gather(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """The coordinate along the axis is read from the indices."""
    x, indices = op.operands
    rank = len(shape_of(indices.type))
    picked = at[op.axis : op.axis + rank]
    index = e.as_index(e.value(indices, picked), shape_of(x.type)[op.axis])
    return e.value(x, (*at[: op.axis], index, *at[op.axis + rank :]))


@rule("graph.gather_elements")
def gather_elements(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """The coordinate along the axis is read from the indices at the same place."""
    x, indices = op.operands
    index = e.as_index(e.value(indices, at), shape_of(x.type)[op.axis])
    return e.value(x, tuple(index if d == op.axis else c for d, c in enumerate(at)))


@rule("graph.gather_nd")
def gather_nd(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """The leading coordinates are read from the last axis of the indices."""
    x, indices = op.operands
    *outer, depth = shape_of(indices.type)
    batch, extents = op.batch_dims, shape_of(x.type)
    picked = [e.as_index(e.value(indices, (*at[: len(outer)], Expr(i))), extents[batch + i]) for i in range(depth)]
    return e.value(x, (*at[:batch], *picked, *at[len(outer) :]))
