"""Compute convolutions with windows of 3 by 3 by Winograd's minimal filtering, where that takes less time.

Before: channels-last f32 ``conv`` of rank 2 with constant weights, one group, steps and dilations of 1. After:
``winograd_conv`` on transformed and packed weights, if an estimate of its time is well below the direct one's.

The estimate is arithmetic and reading the weights, which grow by (tile + 2)^2 / 9: small images with many channels take
the smaller tile or none. Tiles of 4 lose about three bits of accuracy, and stay within 2e-6 of the
results' range; tiles of 2 lose none. ``max-tile=2`` allows only those, ``max-tile=0`` (``--no-winograd``) none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dialects.graph.window import CHANNELS_LAST
from penstock.compiler.dialects.graph.winograd import POINTS, WINDOW, WinogradConv, transform_weights
from penstock.compiler.dtypes import shape_of
from penstock.compiler.extents import typical
from penstock.compiler.precision import ROUNDED
from penstock.compiler.releasing import Releasing
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.tuning.choices import WINOGRAD
from penstock.compiler.tuning.points import choose_for

PANEL = 32
LANES = 16
"""Channels are multiples of this: transforms work on whole vectors."""
READ = 12.0
"""Multiply-adds that one core does while it reads one weight from memory; products hide it, or it hides them."""
TRANSFORM = 5.0
"""Multiply-adds in the time that one element takes to be transformed and stored, about."""
GAIN = 1.15
"""How much faster it must be for the transform to pay for its larger weights."""


@dataclass(frozen=True)
class Winograd(ModulePass):
    """``max_tile``: the largest tile allowed (4, 2; 0 for none)."""

    name: ClassVar[str] = "winograd"
    max_tile: int = max(POINTS)

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        largest = min(self.max_tile, cast(int, compiler.options.get("winograd", self.max_tile)))
        rounded = compiler.options.get("precision") == ROUNDED
        rewrite(compiler, op, [ConvByWinograd(compiler, Releasing(compiler.weights, op), largest, rounded)])


def direct_time(batch: int, rows: int, columns: int, channels: int, features: int) -> float:
    """Estimated time in multiply-adds of one core of a direct convolution, which skips taps outside the image."""
    taps = (WINDOW * rows - 2) * (WINDOW * columns - 2) * batch
    return max(taps, READ * WINDOW * WINDOW) * channels * features


def winograd_time(batch: int, rows: int, columns: int, channels: int, features: int, tile: int) -> float:
    """Estimated time in multiply-adds of one core with tiles of ``tile``."""
    tiles = batch * math.ceil(rows / tile) * math.ceil(columns / tile)
    points = (tile + WINDOW - 1) ** 2
    return points * (TRANSFORM * tiles * (channels + features) + max(tiles, READ) * channels * features)


def tiles_by_time(op: Conv, largest: int, rounded: bool = False) -> list[int]:
    """The tiles there are, that of the least time first; 0 is the direct convolution, which takes half of its time if
    ``rounded`` to bf16."""
    batch, rows, columns, features = map(typical, shape_of(op.out.type))
    channels = shape_of(op.operands[0].type)[-1]
    times = {0: direct_time(batch, rows, columns, channels, features) / GAIN / (2 if rounded else 1)}
    for tile in POINTS:
        if tile <= largest:
            times[tile] = winograd_time(batch, rows, columns, channels, features, tile)
    return sorted(times, key=lambda tile: (times[tile], tile))


class ConvByWinograd(Pattern):
    """See the module."""

    roots = (Conv,)

    def __init__(self, ctx: CompilerContext, releasing: Releasing, largest: int, rounded: bool) -> None:
        self.ctx, self.releasing, self.largest, self.rounded = ctx, releasing, largest, rounded

    def rewrite(self, op: Conv, rewriter: Rewriter, /) -> None:
        constant = op.operands[1].owner
        if not isinstance(constant, Constant) or not _fits(op):
            return
        tiles = {f"tiles of {t}" if t else "direct": t for t in tiles_by_time(op, self.largest, self.rounded)}
        tile = choose_for(self.ctx, WINOGRAD, op, tiles)
        if tile == 0:
            return
        weights = constant.array(self.ctx.weights)
        packed = transform_weights(weights, tile, PANEL)
        name = constant.key if "key" in constant.attributes else "constant"
        made = self.releasing.made(Constant.of(packed, self.ctx.weights, name=name, location=constant.location))
        u = rewriter.insert(made).out
        new = WinogradConv.build(
            op.operands[0],
            u,
            tile=tile,
            out_channels=weights.shape[-1],
            pads_low=op.pads_low,
            pads_high=op.pads_high,
        )
        rewriter.replace(op, new)
        self.ctx.statistics[f"tiles of {tile}"] += 1
        self.releasing.replaced([constant.out])


def _fits(op: Conv) -> bool:
    """Whether the op is of the kind that Winograd's filtering computes."""
    x = shape_of(op.operands[0].type)
    if op.layout != CHANNELS_LAST or op.panel or op.groups != 1 or len(x) != 4 or element_of(op.out) != f32:
        return False
    unit = set(op.strides) | set(op.dilations) == {1}
    *window, channels, features = shape_of(op.operands[1].type)
    return unit and tuple(window) == (WINDOW, WINDOW) and channels % LANES == 0 and features % LANES == 0
