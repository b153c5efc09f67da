"""Convolutions, in the sense of neural networks (cross-correlation), of any spatial rank and with groups.

In: activations and weights. Out: activations, accumulated in f32 for half precision; a bias is a separate add.
Weights in layout ``channels_first`` are [O][C/g][k...] (ONNX), in ``channels_last`` [k...][C/g][O]; depthwise weights
in ``channels_last`` are therefore [k...][1][C].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Int,
    Tensor,
    elements,
    require,
    require_equal,
    require_number,
    require_static,
    require_weights,
    show,
    wide,
)
from penstock.compiler.dialects.graph.contraction import paired, unpack_last, unpair
from penstock.compiler.dialects.graph.window import CHANNELS_FIRST, CHANNELS_LAST, Spatial, Windowed, window_views
from penstock.compiler.dtypes import shape_of, tensor

if TYPE_CHECKING:
    from xdsl.ir import Attribute

    from penstock.compiler.dialects.graph.base import Array


class Conv(Windowed):
    """Convolution of x with w. Element 0 of the window meets element ``-pads_low`` of x.

    w may be bf16 where x is f32: weights stored in half the bytes, widened where they are read.
    With ``panel`` = P (``channels_last`` only), w is what ``pack`` made of its last axis:
    [ceil(O/P)][k...][C/g][P], and ``out_channels`` says O; a panel does not cross groups. With ``pairs`` too, x and w
    are bf16, of one group and an even number of channels, w is [ceil(O/P)][k...][C/2][P][2], and the result is f32.
    """

    name = "graph.conv"
    operand_names = ("x", "w")
    groups = Int(1, doc="channels are cut into this many groups that do not meet")
    panel = Int(0, doc="output channels per panel of packed weights; 0: not packed")
    out_channels = Int(0, doc="number of output channels when weights are packed")
    pairs = Bool(False, doc="x and packed w are bf16, w in pairs of channels, and the result is f32")

    def window(self) -> tuple[int, ...]:
        """Extents of the window."""
        w = self.shapes()[1]
        if self.panel:
            return w[1:-3] if self.pairs else w[1:-2]
        return w[2:] if self.layout == CHANNELS_FIRST else w[:-2]

    def features(self) -> int:
        """Number of output channels."""
        w = self.shapes()[1]
        if self.panel:
            return self.out_channels
        return w[0] if self.layout == CHANNELS_FIRST else w[-1]

    def infer(self) -> list[Tensor]:
        require_weights(self)
        self.check_window()
        x, w = self.shapes()
        rank = self.spatial_rank
        fits = len(w) == rank + 2 + bool(self.panel) + self.pairs
        require(fits, f"weights of shape {show(w)} do not fit activations {show(x)}")
        batch, channels, spatial = self.split(x)
        features, groups = self.features(), self.groups
        require(groups > 0, f"a convolution has 1 group or more, not {groups}")
        if self.pairs:
            require(groups == 1 and self.layout == CHANNELS_LAST, "pairs are of channels of one group, channels last")
            kind = paired(self, channels, w, self.panel and math.ceil(features / self.panel))
            return [tensor(self.join(batch, features, self.output_extents(spatial, self.window())), kind)]
        if self.panel:
            self._check_panels(w)
        inner = w[1] if self.layout == CHANNELS_FIRST else w[-2]
        sentence = f"weights for {inner} input channels in {groups} group(s) do not fit activations with {channels}"
        require_equal(inner * groups, channels, sentence)
        require_static(self.window(), "the window of a convolution")
        if groups > 1:
            require_static((features,), "the output channels of a convolution in groups")
        require(features % groups == 0, f"{features} output channels cannot be cut into {groups} groups")
        return [tensor(self.join(batch, features, self.output_extents(spatial, self.window())), self.element())]

    def _check_panels(self, w: Sequence[int]) -> None:
        require(self.layout == CHANNELS_LAST, "packed weights need the layout channels_last")
        count = math.ceil(self.out_channels / self.panel)
        require(
            w[0] == count and w[-1] == self.panel,
            f"weights of shape {show(w)} are not {self.out_channels} output channels in panels of {self.panel}",
        )
        aligned = self.groups == 1 or (self.out_channels // self.groups) % self.panel == 0
        require(aligned, f"panels of {self.panel} output channels cross the borders of {self.groups} groups")

    def weights_channels_first(self, w: Array) -> Array:
        """``w`` as [O][C/g][k...]."""
        if self.pairs:
            w = unpair(w)
        if self.panel:
            w = unpack_last(w, self.out_channels)
        return w if self.layout == CHANNELS_FIRST else np.moveaxis(w, (-1, -2), (0, 1))

    def evaluate(self, *operands: Array) -> Array:
        x: Any = _summed(self.channels_first(operands[0]), self.element())
        w: Any = _summed(self.weights_channels_first(operands[1]), self.element(1))
        widths = [(0, 0), (0, 0), *zip(self.pads_low, self.pads_high, strict=True)]
        padded = np.pad(x, widths)
        extents = self.output_extents(x.shape[2:], w.shape[2:])
        with np.errstate(all="ignore"):
            y = _convolve(padded, w, self.groups, self.strides, self.dilations, extents)
        return self.from_channels_first(y).astype(np.float32 if self.pairs else operands[0].dtype, copy=False)

    def cost(self) -> Cost:
        per_element = self.split(self.shapes()[0])[1] // self.groups * math.prod(self.window())
        return Cost(2 * elements(self.out.type) * per_element, self.bytes_moved())


def _summed(x: Array, element: Attribute) -> Array:
    """``x`` in the type that a reference adds up in: twice as precise as f32, so that equal channels stay equal
    whatever order a BLAS takes them in."""
    x = wide(x, element)
    return x.astype(np.float64) if x.dtype == np.float32 else x


def _convolve(
    padded: Any, w: Any, groups: int, strides: Sequence[int], dilations: Sequence[int], extents: Sequence[int]
) -> Any:
    """One matrix product per group and position in the window. x [N, C, ...], w [O, C/g, ...], result [N, O, ...]."""
    batch, features, inner = padded.shape[0], w.shape[0], w.shape[1]
    y = np.zeros((batch, groups, features // groups, math.prod(extents)), padded.dtype)
    grouped = w.reshape(groups, features // groups, inner, *w.shape[2:])
    for position, view in window_views(padded, w.shape[2:], strides, dilations, extents):
        taps = grouped[(..., *position)]
        columns = view.reshape(batch, groups, inner, math.prod(extents))
        y += taps * columns if inner == 1 else np.matmul(taps, columns)
    return y.reshape(batch, features, *extents)


class ConvTranspose(Windowed):
    """The transpose of a convolution: every element of x adds its multiple of the window to the result.

    Weights are [C][O/g][k...] in layout ``channels_first`` (ONNX), [k...][C][O/g] in ``channels_last``. Along an axis
    the result has ``strides (extent - 1) + dilations (k - 1) + 1 + output_padding - pads_low - pads_high`` elements.
    """

    name = "graph.conv_transpose"
    operand_names = ("x", "w")
    groups = Int(1, doc="channels are cut into this many groups that do not meet")
    output_padding = Spatial(0, doc="elements added after the result's last")

    def window(self) -> tuple[int, ...]:
        """Extents of the window."""
        w = self.shapes()[1]
        return w[2:] if self.layout == CHANNELS_FIRST else w[:-2]

    def infer(self) -> list[Tensor]:
        require_number(self)
        self.check_window()
        x, w = self.shapes()
        require(len(w) == len(x), f"weights of shape {show(w)} do not fit activations {show(x)}")
        batch, channels, spatial = self.split(x)
        inner, outer = (w[0], w[1]) if self.layout == CHANNELS_FIRST else (w[-2], w[-1])
        sentence = (
            f"weights for {inner} input channels in {self.groups} group(s) do not fit activations with {channels}"
        )
        require(self.groups > 0, sentence)
        require_equal(inner, channels, sentence)
        require_equal(channels % self.groups, 0, sentence)
        full = self._full(spatial)
        extents = [n - low - high for n, low, high in zip(full, self.pads_low, self.pads_high, strict=True)]
        require(all(extent > 0 for extent in extents), f"pads leave nothing of a result of {show(full)}")
        return [tensor(self.join(batch, outer * self.groups, extents), self.element())]

    def _full(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Extents of the result before pads are taken away."""
        parts = zip(spatial, self.window(), self.strides, self.dilations, self.output_padding, strict=True)
        return tuple(s * (n - 1) + d * (k - 1) + 1 + extra for n, k, s, d, extra in parts)

    def evaluate(self, *operands: Array) -> Array:
        x: Any = _summed(self.channels_first(operands[0]), self.element())
        w: Any = _summed(operands[1], self.element())
        w = w if self.layout == CHANNELS_FIRST else np.moveaxis(w, (-2, -1), (0, 1))
        batch, channels, *spatial = x.shape
        groups, outer, window = self.groups, w.shape[1], w.shape[2:]
        full = self._full(spatial)
        y = np.zeros((batch, groups * outer, *full), x.dtype)
        columns = x.reshape(batch, groups, channels // groups, -1)
        grouped = w.reshape(groups, channels // groups, outer, *window)
        with np.errstate(all="ignore"):
            for position, view in window_views(y, window, self.strides, self.dilations, spatial):
                taps = np.swapaxes(grouped[(..., *position)], -1, -2)
                view += np.matmul(taps, columns).reshape(view.shape)
        inside = tuple(slice(low, n - high) for n, low, high in zip(full, self.pads_low, self.pads_high, strict=True))
        return self.from_channels_first(y[(..., *inside)]).astype(operands[0].dtype, copy=False)

    def cost(self) -> Cost:
        outer = self.split(shape_of(self.out.type))[1] // self.groups
        return Cost(2 * elements(self.operands[0].type) * outer * math.prod(self.window()), self.bytes_moved())
