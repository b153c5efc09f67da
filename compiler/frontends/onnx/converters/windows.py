"""Convolutions whose window only a run knows: what lies under each place of the window, times the weights.

In: activations and weights of any symbolic extents. Out: a matrix product of every output position's window, gathered
axis by axis, with the weights as a matrix. The one idea: along an axis, output o meets x at a place that is a formula
of o and of the window's position k, for a convolution as for its transpose; outside of x it meets zeros. Kernels of
their own need windows of known extents; weights that are stored in the model have them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.extents import Extent, is_static
from penstock.compiler.frontends.onnx.arithmetic import Value, Values, counting
from penstock.compiler.frontends.onnx.node_context import NodeContext


@dataclass(frozen=True)
class Axis:
    """One spatial axis: extents of the input, the window and the output, and how the window moves. ``pad`` zeros stand
    before the input of a convolution, and are cut off before the output of a transposed one."""

    extent: Extent
    window: Extent
    outputs: Extent
    stride: int
    dilation: int
    pad: Extent

    def places(self, n: NodeContext, *, transposed: bool) -> tuple[Value, Value]:
        """([outputs, window], the same of truth values): the element of the input, and whether there is one."""
        out = counting(n, self.outputs).reshape([self.outputs, 1])
        tap = counting(n, self.window).reshape([1, self.window])
        if transposed:
            sum_of_steps = out + Value(n, n.sizes([self.pad])) - tap * self.dilation
            inside = (sum_of_steps >= 0) & Values.equal(sum_of_steps % self.stride, 0)
            place = Values.maximum(sum_of_steps, 0) / self.stride
        else:
            place = out * self.stride + tap * self.dilation - Value(n, n.sizes([self.pad]))
            inside = place >= 0
        last = Value(n, n.sizes([self.extent - 1]))
        return Values.minimum(Values.maximum(place, 0), last), inside & (place <= last)


def is_open(groups: int, w: Sequence[Extent]) -> bool:
    """Whether weights of shape ``w`` (output channels first) need what is here."""
    return not is_static(w[2:]) or (groups > 1 and not is_static(w[:1]))


def windows_product(
    n: NodeContext, x: SSAValue, w: SSAValue, axes: Sequence[Axis], groups: int, *, transposed: bool = False
) -> SSAValue:
    """The convolution of ``x`` [N, C, spatial..] with ``w`` [O, C/g, window..], or its transpose with ``w``
    [C, O/g, window..]: [N, O, outputs..]."""
    rank = len(axes)
    for at, axis in enumerate(axes):  # [.., outputs, window, ..] in place of each spatial axis
        place, inside = axis.places(n, transposed=transposed)
        before, after = n.shape(x)[: 2 + 2 * at], n.shape(x)[3 + 2 * at :]
        picked = Value(n, x).take(place.reshape([axis.outputs * axis.window]).ssa, 2 + 2 * at)
        shape = [*before, axis.outputs, axis.window, *after]
        mask = inside.reshape([axis.outputs, axis.window, *[1] * len(after)])
        picked = picked.reshape(shape)
        x = Values.where(mask, picked, Value(n, n.number(0, picked.ssa))).ssa
    batch, channels = n.shape(x)[:2]
    count, taps = math.prod(axis.outputs for axis in axes), math.prod(axis.window for axis in axes)
    inner = _part(n, channels, groups, "input channels")
    columns = n.reshape(x, [batch, groups, inner, *n.shape(x)[2:]])
    outer = [3 + 2 * at for at in range(rank)]
    columns = n.transpose(columns, (0, 1, *outer, 2, *(each + 1 for each in outer)))
    columns = n.reshape(columns, [batch, groups, count, inner * taps])
    matrix, features = _matrix(n, w, groups, inner, taps, transposed=transposed)
    product = n.transpose(n.build(Matmul, columns, matrix), (0, 1, 3, 2))
    return n.reshape(product, [batch, groups * features, *(axis.outputs for axis in axes)])


def _matrix(
    n: NodeContext, w: SSAValue, groups: int, inner: Extent, taps: Extent, *, transposed: bool
) -> tuple[SSAValue, Extent]:
    """The weights as [groups, C/g * window, O/g], and O/g."""
    first, second, *window = n.shape(w)
    sentence = f"weights of shape {list(n.shape(w))} do not fit {groups * inner} channels in {groups} group(s)"
    if transposed:
        n.require_equal(first, groups * inner, sentence)
        matrix = n.reshape(w, [groups, inner, second, *window])
        matrix = n.transpose(matrix, (0, 1, *range(3, 3 + len(window)), 2))
        return n.reshape(matrix, [groups, inner * taps, second]), second
    n.require_equal(second, inner, sentence)
    features = _part(n, first, groups, "output channels")
    matrix = n.reshape(w, [groups, features, inner * taps])
    return n.transpose(matrix, (0, 2, 1)), features


def _part(n: NodeContext, channels: Extent, groups: int, what: str) -> Extent:
    n.require_equal(channels % groups, 0, f"{channels} {what} cannot be cut into {groups} groups")
    return channels // groups
