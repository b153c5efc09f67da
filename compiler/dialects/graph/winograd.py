"""Convolutions by Winograd's minimal filtering: fewer multiplications for windows of 3 by 3 that move by one.

In: activations [N, H, W, C] and weights transformed at compile time. Out: activations [N, H', W', O]. The one idea: a
tile of m by m outputs needs (m + 2)^2 products per channel instead of 9 m^2, if the inputs of the tile and the window
are first evaluated as polynomials at m + 2 points: y = A' [(G g G') * (B' d B)] A, products summed over channels.
(Winograd 1980; Lavin and Gray 2016; the construction for any points is Toom's and Cook's.)

Points decide the accuracy (Barabasz et al. 2020). 0, 1, -1 and infinity make transforms of ones alone: as exact as
the direct sum. For tiles of 4, points beside 1 on both sides (2/3 and 3/2) lose a third of what the usual 1 and 2 do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import f32

from penstock.compiler.dialects.graph.base import Cost, GraphOp, Int, Ints, Tensor, require, show
from penstock.compiler.dialects.graph.contraction import unpack_last
from penstock.compiler.dtypes import shape_of, tensor, type_name
from penstock.compiler.extents import ceildiv
from penstock.compiler.parallel import in_parts

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

WINDOW = 3
POINTS = {2: (Fraction(1),), 4: (Fraction(2, 3), Fraction(3, 2))}
"""Outputs of a tile along an axis, and the points used beside 0 and infinity, each with both signs."""


CACHED = 1 << 16
"""Elements of transformed weights that are computed at a time."""


@dataclass(frozen=True)
class Transforms:
    """Matrices for one axis, in double precision: ``outputs`` A' [m][n], ``weights`` G [n][3], ``inputs`` B' [n][n].

    Row 0 belongs to the point 0, rows 2 k + 1 and 2 k + 2 to a point and its negative, the last one to infinity.
    """

    outputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    inputs: NDArray[np.float64]


@cache
def transforms(tile: int) -> Transforms:
    """The matrices for ``tile`` outputs along an axis, computed exactly and then rounded."""
    points = [Fraction(0), *(sign * point for point in POINTS[tile] for sign in (1, -1))]
    size = tile + WINDOW - 1
    others = [[b for b in points if b != a] for a in points]
    scales = [math.prod((a - b for b in rest), start=Fraction(1)) for a, rest in zip(points, others, strict=True)]
    outputs = [[*(a**power for a in points), Fraction(power == tile - 1)] for power in range(tile)]
    weights = [[a**power / scale for power in range(WINDOW)] for a, scale in zip(points, scales, strict=True)]
    weights.append([Fraction(power == WINDOW - 1) for power in range(WINDOW)])
    inputs = [_polynomial(rest, size) for rest in [*others, points]]
    return Transforms(*(np.array(rows, np.float64) for rows in (outputs, weights, inputs)))


def _polynomial(roots: Sequence[Fraction], size: int) -> list[Fraction]:
    """Coefficients, lowest power first, of the product of (x - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients + [Fraction(0)] * (size - len(coefficients))


def transform_weights(w: NDArray[Any], tile: int, panel: int) -> NDArray[np.float32]:
    """Weights [3, 3, C, O] as [ceil(O/panel)][n n][C][panel] with n = tile + 2, computed in double precision a few
    channels at a time."""
    g, (_, _, channels, features) = transforms(tile).weights, w.shape
    points = len(g) ** 2
    panels, left = divmod(features, panel)
    shape = panels + (left > 0), points, channels, panel
    made = np.zeros(shape, np.float32) if left else np.empty(shape, np.float32)
    step = max(1, CACHED // (points * features))

    def transform(begin: int, end: int) -> None:
        for start in range(begin, end, step):  # einsum: a BLAS would wait for its threads
            part = w[:, :, start : min(start + step, end)].astype(np.float64, order="C")
            columns = np.einsum("ia,abco->ibco", g, part)
            values = np.einsum("jb,ibco->ijco", g, columns).reshape(points, -1, features)
            count = values.shape[1]
            here = slice(start, start + count)
            whole = values[..., : panels * panel].reshape(points, count, panels, panel)
            made[:panels, :, here] = whole.transpose(2, 0, 1, 3)
            if left:
                made[panels, :, here, :left] = values[..., panels * panel :]

    in_parts(channels, transform, made.nbytes, align=step)
    return made


class WinogradConv(GraphOp):
    """A convolution of channels-last x with a window of 3 by 3, step 1 and one group; u are transformed weights.

    u is [ceil(O/P)][n n][C][P] with n = ``tile`` + 2: what ``transform_weights`` makes, packed in panels of P.
    """

    name = "graph.winograd_conv"
    operand_names = ("x", "u")
    tile = Int(doc="outputs of a tile along each axis: 2 or 4")
    out_channels = Int(doc="number of output channels")
    pads_low = Ints(doc="zeros before the first row and column")
    pads_high = Ints(doc="zeros after the last row and column")

    @property
    def points(self) -> int:
        """Products per tile and channel: the points of both axes."""
        return (self.tile + WINDOW - 1) ** 2

    def infer(self) -> list[Tensor]:
        x, u = self.shapes()
        require(self.tile in POINTS, f"a tile of {self.name} has 2 or 4 outputs along an axis, not {self.tile}")
        fits = all(element == f32 for element in (self.element(), self.element(1)))
        require(fits, f"{self.name} takes f32, not {type_name(self.element())} and {type_name(self.element(1))}")
        require(len(x) == 4, f"{self.name} takes activations of rank 4, not {show(x)}")
        pads = (*self.pads_low, *self.pads_high)
        require(len(pads) == 4 and min(pads) >= 0, f"{self.name} has two pads of 0 or more on each side")
        require(len(u) == 4 and u[-1] != 0 and self.out_channels > 0, f"u of {self.name} has rank 4, not {show(u)}")
        expected = (-(-self.out_channels // u[-1]), self.points, x[-1], u[-1])
        require(u == expected, f"transformed weights have shape {show(expected)}, not {show(u)}")
        sides = zip(x[1:3], self.pads_low, self.pads_high, strict=True)
        extents = [n + low + high - (WINDOW - 1) for n, low, high in sides]
        require(all(extent > 0 for extent in extents), f"a window of 3 by 3 does not fit activations {show(x)}")
        return [tensor([x[0], *extents, self.out_channels], f32)]

    def evaluate(self, *operands: Array) -> Array:
        x: Any = operands[0].astype(np.float64)
        u: Any = unpack_last(operands[1], self.out_channels).astype(np.float64)
        matrices, tile = transforms(self.tile), self.tile
        size = tile + WINDOW - 1
        _, *extents, _ = shape_of(self.out.type)
        counts = [-(-extent // tile) for extent in extents]
        fill = [count * tile + WINDOW - 1 - n for count, n in zip(counts, x.shape[1:3], strict=True)]
        widths = [(low, max(0, room - low)) for low, room in zip(self.pads_low, fill, strict=True)]
        padded = np.pad(x, [(0, 0), *widths, (0, 0)])
        windows: Any = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))  # pyright: ignore
        windows = windows[:, ::tile, ::tile][:, : counts[0], : counts[1]]
        b, a = matrices.inputs, matrices.outputs
        u = u.reshape(size, size, *u.shape[1:])
        with np.errstate(all="ignore"):
            v = np.einsum("ia,jb,nyxcab->nyxijc", b, b, windows, optimize=True)
            products = np.einsum("nyxijc,ijco->nyxijo", v, u, optimize=True)
            y = np.einsum("ki,lj,nyxijo->nykxlo", a, a, products, optimize=True)
        whole = y.reshape(y.shape[0], counts[0] * tile, counts[1] * tile, -1)
        return whole[:, : extents[0], : extents[1]].astype(np.float32)

    def cost(self) -> Cost:
        batch, rows, columns, features = shape_of(self.out.type)
        tiles = batch * ceildiv(rows, self.tile) * ceildiv(columns, self.tile)
        channels = self.shapes()[0][-1]
        steps = 2 * (self.tile + WINDOW - 1) * 2  # multiply-adds of the transforms per point, roughly
        flops = 2 * tiles * self.points * (channels * features + steps * (channels + features) // 4)
        return Cost(flops, self.bytes_moved())
