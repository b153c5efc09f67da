"""Whole layers of the domain com.microsoft: quantised convolutions and recurrences, pools with channels last, the
embeddings of quantised models.

Channels come first in every op of the graph that has not been laid out yet, so those that come last are moved.
"""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.normalization import Normalize
from penstock.compiler.dialects.graph.recurrence import Lstm
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Iota
from penstock.compiler.dtypes import F32, I1, I32, I64, tensor
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.microsoft import DOMAIN
from penstock.compiler.frontends.onnx.converters.normalization import scaled
from penstock.compiler.frontends.onnx.converters.pooling import pooled
from penstock.compiler.frontends.onnx.converters.quantization import moved, qlinear_conv
from penstock.compiler.frontends.onnx.converters.sequence import recurrence
from penstock.compiler.frontends.onnx.node_context import NodeContext


def channels_first(n: NodeContext, x: SSAValue) -> SSAValue:
    """The last axis moved behind the batch."""
    return n.transpose(x, [0, n.rank(x) - 1, *range(1, n.rank(x) - 1)])


def channels_last(n: NodeContext, x: SSAValue) -> SSAValue:
    """The axis behind the batch moved to the end."""
    return n.transpose(x, [0, *range(2, n.rank(x)), 1])


@converter("QLinearConv", domain=DOMAIN)
def quantised_conv(n: NodeContext) -> SSAValue:
    """As QLinearConv; channels first or last, weights as in ONNX."""
    if not n.flag("channels_last"):
        return qlinear_conv(n)
    first = channels_first(n, n.ranked(0, 3, 5))
    inner = NodeContext(n.importer, n.node, [first, *n.inputs[1:]], n.opsets, n.scope)
    return channels_last(n, qlinear_conv(inner))


@converter("NhwcMaxPool", domain=DOMAIN)
def nhwc_max_pool(n: NodeContext) -> SSAValue:
    """As MaxPool, with channels last."""
    return channels_last(n, pooled(n, channels_first(n, n.ranked(0, 3, 5)))[0])


@converter("DynamicQuantizeLSTM", domain=DOMAIN)
def dynamic_quantize_lstm(n: NodeContext) -> list[SSAValue]:
    """All of LSTM's options; weights' parameters per tensor or per gate row. Computed in f32: inputs and states are not
    quantised, so results are closer to the float model's than onnxruntime's."""
    w, r = (_weights(n, index, first) for index, first in ((1, 8), (2, 10)))
    return recurrence(n, Lstm, n.ranked(0, 3), w, r)


def _weights(n: NodeContext, index: int, first: int) -> SSAValue:
    """Weights [dirs, width, 4H] in f32 as [dirs, 4H, width]; their parameters are the inputs from ``first`` on."""
    x = n.ranked(index, 3)
    ways, _, rows = n.shape(x)
    parameters: list[SSAValue] = []
    for parameter in (n.input(first), n.input(first + 1)):
        each = n.shape(parameter) == (ways, rows)
        n.require(each or n.shape(parameter) == (ways,), f"{list(n.shape(parameter))} scales or zero points do not fit")
        parameters.append(n.reshape(parameter, [ways, 1, rows if each else 1]))
    numbers = n.build(graph_op("mul"), n.cast(moved(n, x, parameters[1]), F32), parameters[0])
    return n.transpose(numbers, (0, 2, 1))


@converter("QEmbedLayerNormalization", domain=DOMAIN)
def quantised_embeddings(n: NodeContext) -> list[SSAValue]:
    """As EmbedLayerNormalization, every table and parameter quantised per tensor."""
    words = n.ranked(0, 2)
    batch, length = n.shape(words)

    def meant(index: int, picked: SSAValue | None) -> SSAValue:
        """What table ``index`` stands for, of the rows ``picked``."""
        which = {2: 8, 3: 9, 4: 10, 5: 11, 6: 12}[index]
        rows = n.input(index) if picked is None else n.build(Gather, n.ranked(index, 2), picked, axis=0)
        scale, zero = (n.input(at) for at in (which, which + 5))
        n.require(all(math.prod(n.shape(x)) == 1 for x in (scale, zero)), "its tables have one scale and zero point")
        distance = n.cast(moved(n, rows, n.reshape(zero, [])), F32)
        return n.build(graph_op("mul"), distance, n.reshape(scale, []))

    positions = n.build(Iota, axis=1, result=tensor([1, length], I64))
    total = n.build(graph_op("add"), meant(2, words), meant(3, positions))
    if n.has(1):
        total = n.build(graph_op("add"), total, meant(4, n.ranked(1, 2)))
    normal = n.build(Normalize, total, axes=[2], epsilon=n.float("epsilon", 1e-12))
    counted = n.expand(n.constant(0, I32), [batch])
    if n.has(7):
        counted = n.build(Reduce, n.cast(n.cast(n.ranked(7, 2), I1), I32), kind="sum", axes=(1,))
    return [scaled(n, normal, meant(5, None), meant(6, None)), counted]
