"""Recurrences and rotary embeddings."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.recurrence import FUNCTIONS, Gru, Lstm, Recurrent, Rnn
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext

LAYERS: dict[str, type[Recurrent]] = {"LSTM": Lstm, "GRU": Gru, "RNN": Rnn}


@converter(*LAYERS)
def recurrent(n: NodeContext) -> list[SSAValue]:
    """All directions, layouts, activations, clip, initial states, sequence lengths and peepholes."""
    return recurrence(n, LAYERS[n.node.op], n.ranked(0, 3), n.ranked(1, 3), n.ranked(2, 3))


def recurrence(n: NodeContext, layer: type[Recurrent], x: SSAValue, w: SSAValue, r: SSAValue) -> list[SSAValue]:
    """A layer of a sequence and weights; its other operands are the node's inputs from 3 on."""
    lstm, gates = layer is Lstm, layer.gates
    batchwise = n.flag("layout")
    if batchwise:
        x = n.transpose(x, (1, 0, 2))
    (_, batch, _), (ways, _, hidden) = n.shape(x), n.shape(r)
    kind = element_of(x)

    def state(index: int) -> SSAValue:
        given = n.optional(index)
        if given is None:
            return n.expand(n.constant(0, kind), [ways, batch, hidden])
        return n.transpose(given, (1, 0, 2)) if batchwise else given

    bias = n.optional(3)
    bias = n.expand(n.constant(0, kind), [ways, 2 * gates * hidden]) if bias is None else bias
    operands = [x, w, r, bias, state(5), *([state(6)] if lstm else [])]
    extras: list[str] = []
    for index, name in ((4, "lengths"), *(((7, "peepholes"),) if lstm else ())):
        if n.has(index):
            operands.append(n.input(index))
            extras.append(name)
    parameters: dict[str, Any] = {
        "direction": n.choice("direction", "forward", "forward", "reverse", "bidirectional"),
        "extras": ",".join(extras),
        "clip": n.float("clip", 0.0),
    }
    activations = _activations(n)
    if activations:
        parameters["activations"] = activations
    if lstm:
        parameters["input_forget"] = n.flag("input_forget")
    elif layer is Gru:
        parameters["linear_before_reset"] = n.flag("linear_before_reset")
    op = n.op(layer, *operands, **parameters)
    every, *last = op.results
    if batchwise:
        return [n.transpose(every, (2, 0, 1, 3)), *(n.transpose(value, (1, 0, 2)) for value in last)]
    return [every, *last]


SPELLED = {name.replace("_", ""): name for name in FUNCTIONS}


def _activations(n: NodeContext) -> str:
    """The activation functions as the graph op spells them: ``elu(0.5),tanh``.

    ONNX lists the alphas, and the betas, of those functions alone that take them.
    """
    alphas, betas = (n.attribute_list(f"activation_{name}", kind=float) for name in ("alpha", "beta"))
    texts: list[str] = []
    for given in (str(item).lower() for item in n.attribute_list("activations", kind=str)):
        name = SPELLED.get(given, given)
        takes = len(FUNCTIONS.get(name, ()))
        numbers: list[float] = []
        if takes and alphas:
            numbers.append(float(alphas.pop(0)))
        if takes == 2 and betas:
            if not numbers:
                numbers.append(FUNCTIONS[name][0])
            numbers.append(float(betas.pop(0)))
        texts.append(name + (f"({';'.join(map(repr, numbers))})" if numbers else ""))
    return ",".join(texts)


@converter("RotaryEmbedding")
def rotary_embedding(n: NodeContext) -> SSAValue:
    """3-D and 4-D inputs, caches by position, partial rotation, interleaved pairs."""
    x, cosine, sine = n.ranked(0, 3, 4), n.ranked(1, 2, 3), n.ranked(2, 2, 3)
    shape = n.shape(x)
    if n.rank(x) == 3:
        heads = n.int("num_heads")
        sentence = f"a width of {shape[2]} does not make {heads} heads"
        n.require(heads > 0, sentence)
        n.require_equal(shape[2] % heads, 0, sentence)
        x = n.reshape(x, [shape[0], shape[1], heads, shape[2] // heads])
    else:
        x = n.transpose(x, (0, 2, 1, 3))
    width = n.shape(x)[3]
    rotated = n.int("rotary_embedding_dim", 0) or width
    sentence = f"{rotated} of {width} elements cannot be rotated in pairs"
    n.require(rotated > 0, sentence)
    n.require_at_most(rotated, width, sentence)
    n.require_equal(rotated % 2, 0, sentence)
    if n.has(3):
        cosine, sine = (n.build(Gather, c, n.input(3), axis=0) for c in (cosine, sine))
    out = rotate(n, x, cosine, sine, rotated, n.flag("interleaved"))
    return n.reshape(out, shape) if len(shape) == 3 else n.transpose(out, (0, 2, 1, 3))


def rotate(n: NodeContext, x: SSAValue, cosine: SSAValue, sine: SSAValue, rotated: int, interleaved: bool) -> SSAValue:
    """The first ``rotated`` elements of each head of ``x`` [B, S, H, D] turned in pairs, by the angles whose
    ``cosine`` and ``sine`` [B or 1, S, rotated / 2] are given."""
    batch, length, heads, width = n.shape(x)
    half = rotated // 2
    cosine, sine = (n.reshape(c, [*n.shape(c)[:-1], 1, n.shape(c)[-1]]) for c in (cosine, sine))
    head, rest = slice_of(n, x, {}, {3: rotated}, {}), slice_of(n, x, {3: rotated}, {3: width - rotated}, {})
    if interleaved:
        first, second = (slice_of(n, head, {3: s}, {3: half}, {3: 2}) for s in (0, 1))
    else:
        first, second = (slice_of(n, head, {3: s}, {3: half}, {}) for s in (0, half))

    def product(a: SSAValue, b: SSAValue) -> SSAValue:
        return n.build(graph_op("mul"), a, b)

    real = n.build(graph_op("sub"), product(cosine, first), product(sine, second))
    imaginary = n.build(graph_op("add"), product(sine, first), product(cosine, second))
    if interleaved:
        pairs = [n.reshape(part, [batch, length, heads, half, 1]) for part in (real, imaginary)]
        out = n.reshape(n.build(Concat, *pairs, axis=4), [batch, length, heads, rotated])
    else:
        out = n.build(Concat, real, imaginary, axis=3)
    return out if rotated == width else n.build(Concat, out, rest, axis=3)
