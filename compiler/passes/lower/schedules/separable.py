"""Depthwise-separable convolutions: a depthwise convolution and the pointwise one after it, row by row of the image.

In: ``graph.conv`` with one group per channel, elementwise ops, and ``graph.matmul`` of its pixels with packed weights.
Out: a kernel with a unit per row of the image. The one idea: what the depthwise convolution computes for a row stays in
the first levels of cache, where the product takes it from: it passes through memory neither way (Howard et al. 2017,
MobileNets; Sandler et al. 2018, MobileNetV2, section 5 on never materialising the wide tensor).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from penstock.compiler.extents import floordiv
from penstock.compiler.passes.lower.affine import Expr
from penstock.compiler.passes.lower.evaluator import Coordinates
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.contraction import Contraction, Part, choose_blocking
from penstock.compiler.passes.lower.schedules.window import Depthwise
from penstock.compiler.passes.lower.sliding import Sums
from penstock.compiler.passes.lower.tile_scalars import Typed


@schedule("separable")
def lower_separable(k: KernelLowering) -> None:
    """Units: batch x rows of the image."""
    Separable(k).emit()


class Separable:
    """One depthwise convolution and the product of its pixels being lowered."""

    def __init__(self, k: KernelLowering) -> None:
        self.k = k
        self.filter, self.product = Depthwise(k), Contraction(k)
        self.pixels: SSAValue = self.product.a  # [batch * rows * columns, channels]
        reshape: Any = self.pixels.owner
        self.image: SSAValue = reshape.operands[0]  # [batch, rows, columns, channels]
        self.batch, self.rows, self.columns, self.channels = k.e.shape(self.image)
        p = self.product
        chosen = choose_blocking(self.columns, p.n, self.channels, p.panel, k.machine, 4 * self.channels)
        p.blocking = replace(chosen, sweep=-(-self.columns // chosen.rows))
        p.length = p.depth

    def emit(self) -> None:
        k = self.k
        self.row = k.b.alloc(self.columns * self.channels, f32)
        flops = self.columns * self.channels * (3 * self.filter.flops + 2 * self.product.n)
        with k.parallel((self.batch, self.rows), flops / k.machine.peak_f32) as (batch, row):
            self.filter.walk.row(batch, (row,), self.filter.start, self.filter.taps, self._stage)
            first = (batch * self.rows + row) * self.columns
            k.e.staged[self.pixels] = lambda at: self._staged(at, first)
            n, width = self.product.n, self.product.blocking.columns
            with k.loop(0, floordiv(n, width)) as number:
                self._products(first, Strip(number * width, width))
            if n % width:
                self._products(first, k.tail(n, width))

    def _stage(self, sums: Sums, at: Coordinates) -> None:
        """What follows the depthwise convolution, into scratch [columns][channels]."""
        k = self.k
        k.e.define(self.filter.op.out, at, Typed(sums[0], self.filter.element))
        *_, column, channel = at
        k.e.store(k.e.value(self.image, at), self.row, column * self.channels + channel)

    def _staged(self, at: Coordinates, first: Expr) -> Typed:
        """Pixels of the row whose ``first`` pixel is known, from scratch."""
        pixel, channel = at
        return Typed(self.k.e.load_scratch(self.row, (pixel - first) * self.channels + channel), self.filter.element)

    def _products(self, first: Expr, columns: Strip) -> None:
        """All pixels of the row times some columns of the weights, and what follows."""
        product, whole = self.product, Part(Expr(), self.channels)

        def tile(rows: Strip) -> None:
            product.tile((), first + rows.start, rows.width, columns, whole)

        self.k.rows(self.columns, product.blocking.rows, tile)
