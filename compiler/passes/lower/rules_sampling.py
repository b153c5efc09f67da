"""How sampling answers for its value at coordinates: it reads the places from memory and interpolates there.

In: ``graph.sample`` and coordinates into its result. Out: the tile. The one idea: the formula is that of the op, run
with tiles; each lane gathers its own elements, and the arithmetic on places is shared by channels that are lanes.
"""

from __future__ import annotations

from typing import Any

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.sampling import axis_taps, interpolate
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dialects.tile.base import shape
from penstock.compiler.dtypes import INDEX
from penstock.compiler.extents import largest
from penstock.compiler.passes.lower.affine import Expr, data
from penstock.compiler.passes.lower.evaluator import Coordinates, Evaluator, rule
from penstock.compiler.passes.lower.tile_scalars import Typed


@rule("graph.sample")
def sample(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """The coordinates of the place, then the elements around it."""
    x, places = op.operands
    batch, channel, *place = at
    extents, kind = e.shape(x)[2:], element_of(op.out)
    place_kind = compute_dtype(element_of(places))
    taps = [
        axis_taps(
            e.scalars,
            Typed(e.value(places, (batch, *place, Expr(axis))).value, place_kind),
            extent,
            op.mode,
            op.outside,
            op.align_corners,
        )
        for axis, extent in enumerate(extents)
    ]

    def read(indices: tuple[Typed, ...]) -> Typed:
        chosen = [whole_index(e, index, extent) for index, extent in zip(indices, extents, strict=True)]
        return e.value(x, (batch, channel, *chosen))

    value = interpolate(e.scalars, taps, compute_dtype(kind), read)
    return Typed(e.scalars.rounded(value.value, kind), kind)


def whole_index(e: Evaluator, number: Typed, extent: int) -> Expr:
    """A whole number in floating point, inside an axis of ``extent``, as a coordinate of it."""
    index = e.b.cast(number.value, INDEX)
    if shape(index) and all(count == 1 for count in shape(index)):
        index = e.b.extract(index, (0,) * len(shape(index)))
    return data(index, 0, largest(extent - 1, 0))
