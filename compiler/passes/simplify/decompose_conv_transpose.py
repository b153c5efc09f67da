"""Express transposed convolutions by ordinary ones that compute all phases of the stride at once.

Before: ``conv_transpose``. After: one ``conv`` whose output channels are (channel, phase) pairs, then the phases
interleaved by reshape and transpose, and cut to size. No zeros are inserted between inputs. (Shi et al. 2016, "Is the
deconvolution layer the same as a convolutional layer?")
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.convolution import Conv, ConvTranspose
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.shape import Pad, Reshape, Slice, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dialects.graph.window import CHANNELS_FIRST
from penstock.compiler.dtypes import numpy_dtype, shape_of, tensor
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite


@dataclass(frozen=True)
class DecomposeConvTranspose(ModulePass):
    """See the module."""

    name: ClassVar[str] = "decompose-conv-transpose"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        rewrite(compiler, op, [PhasesOfConvTranspose(compiler)])


@dataclass(frozen=True)
class Axis:
    """One spatial axis: for phase p and window element m, which tap of the transposed kernel (``taps[p, m]``; the
    number of taps stands for none), and the pads of the ordinary convolution."""

    taps: np.ndarray
    low: int
    high: int
    outputs: int


def plan_axis(inputs: int, outputs: int, window: int, stride: int, dilation: int, pad: int) -> Axis:
    """y[s q + p] = sum over m of w[tap(p, m)] x[q + m - low]."""
    reach = (window - 1) * dilation + 1
    shift = [(p + pad) // stride for p in range(stride)]
    first = [(p + pad) % stride for p in range(stride)]
    count = [max(0, -(-(reach - f) // stride)) for f in first]
    least = min(0, *(c - n + 1 for c, n in zip(shift, count, strict=True)))
    most = max(0, *shift)
    taps = np.full((stride, most - least + 1), window, np.int64)
    for p in range(stride):
        for m in range(least, most + 1):
            position = first[p] + stride * (shift[p] - m)
            if 0 <= position < reach and position % dilation == 0:
                taps[p, m - least] = position // dilation
    positions = -(-outputs // stride)
    return Axis(taps, -least, max(0, positions + most - inputs), positions)


class PhasesOfConvTranspose(Pattern):
    """See the module."""

    roots = (ConvTranspose,)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: ConvTranspose, rewriter: Rewriter, /) -> None:
        if op.layout != CHANNELS_FIRST:
            return
        x, w = op.operands
        batch, channels, *inputs = shape_of(x.type)
        _, features, *outputs = shape_of(op.out.type)
        window = op.window()
        parts = zip(inputs, outputs, window, op.strides, op.dilations, op.pads_low, strict=True)
        axes = [plan_axis(*part) for part in parts]
        phases = math.prod(op.strides)
        weights = self._weights(rewriter, op, w, axes, channels, features)
        conv = rewriter.insert(
            Conv.build(x, weights, pads_low=[a.low for a in axes], pads_high=[a.high for a in axes], groups=op.groups)
        )
        kind, rank = element_of(op.out), len(inputs)
        positions = list(shape_of(conv.out.type)[2:])
        assert shape_of(conv.out.type)[1] == features * phases
        split = self._reshape(rewriter, conv.out, [batch, features, *op.strides, *positions])
        order = [0, 1, *(axis for i in range(rank) for axis in (2 + rank + i, 2 + i))]
        woven = rewriter.insert(Transpose.build(split, permutation=order)).out
        full = [batch, features, *(q * s for q, s in zip(positions, op.strides, strict=True))]
        value = self._reshape(rewriter, woven, full)
        result = tensor([batch, features, *outputs], kind)
        rewriter.replace(op, Slice.build(value, starts=[0] * (rank + 2), steps=[1] * (rank + 2), result=result))

    @staticmethod
    def _reshape(rewriter: Rewriter, value: SSAValue, shape: list[int]) -> SSAValue:
        return rewriter.insert(Reshape.build(value, result=tensor(shape, element_of(value)))).out

    def _weights(
        self, rewriter: Rewriter, op: ConvTranspose, w: SSAValue, axes: list[Axis], channels: int, features: int
    ) -> SSAValue:
        """[C, O/g, k..] as [O * phases, C/g, m..]: taps gathered per phase, missing ones from an appended zero."""
        rank, groups = len(axes), op.groups
        kind = element_of(w)
        zero = rewriter.insert(Constant.of(np.zeros((), numpy_dtype(kind)), self.weights))
        value: SSAValue = rewriter.insert(Pad.build(w, zero, low=[0] * (rank + 2), high=[0, 0] + [1] * rank)).out
        for i, axis in enumerate(axes):
            table = rewriter.insert(Constant.of(axis.taps.reshape(-1), self.weights, name="taps"))
            value = rewriter.insert(Gather.build(value, table, axis=2 + i)).out
        shape = [groups, channels // groups, features // groups]
        for axis in axes:
            shape += list(axis.taps.shape)
        value = self._reshape(rewriter, value, shape)
        strides = [3 + 2 * i for i in range(rank)]
        order = [0, 2, *strides, 1, *(axis + 1 for axis in strides)]
        value = rewriter.insert(Transpose.build(value, permutation=order)).out
        phases = math.prod(op.strides)
        window = [axis.taps.shape[1] for axis in axes]
        return self._reshape(rewriter, value, [features * phases, channels // groups, *window])
