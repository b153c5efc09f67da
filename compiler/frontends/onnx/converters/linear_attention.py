"""LinearAttention (opset 27): queries, keys and values packed by head, with a recurrent state."""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of, require_same
from penstock.compiler.dialects.graph.linear_attention import LinearAttention
from penstock.compiler.dtypes import F32, F64
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.attention import Scale
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.node_context import NodeContext


@converter("LinearAttention")
@converter("LinearAttention", domain="com.microsoft")
def linear_attention(n: NodeContext) -> list[SSAValue]:
    """All update rules, grouped heads, past and present; the state is held in f32 between steps (f64 for f64)."""
    if n.int("state_window", 0):
        raise n.unsupported("windows of states are not compiled", "Export without state_window.")
    q, k, v = (n.ranked(index, 3) for index in range(3))
    heads, shared = n.int("q_num_heads"), n.int("kv_num_heads")
    rule = n.choice("update_rule", "gated_delta", "linear", "gated", "delta", "gated_delta")
    q, k, v = _split(n, q, heads), _split(n, k, shared), _split(n, v, shared)
    batch, steps, _, depth = n.shape(q)
    for index, name, needed in ((4, "decay", "gated" in rule), (5, "beta", "delta" in rule)):
        n.require(n.has(index) == needed, f"the update rule {rule} {'needs' if needed else 'has no'} {name}")
    state = n.optional(3)
    if state is None:
        state = n.expand(n.constant(0, element_of(q)), [batch, shared, depth, n.shape(v)[3]])
    operands, extras = [q, k, v, state], list[str]()
    if n.has(4):
        decay = n.ranked(4, 3)
        *places, count = n.shape(decay)
        require_same(places, (batch, steps), "decay is given for every step of every row")
        each = count == shared  # a width that only runs know is taken to be that of rows
        n.require_equal(count, shared if each else shared * depth, "decay has one number per head, or one per row")
        gate = n.build(graph_op("exp"), widened(n, decay))
        operands.append(n.reshape(gate, [batch, steps, shared, 1 if each else depth]))
        extras.append("gate")
    if n.has(5):
        operands.append(n.expand(n.ranked(5, 3), [batch, steps, shared]))
        extras.append("beta")
    wanted = F64 if element_of(q) == F64 else F32
    n.require(all(element_of(widened(n, x)) == wanted for x in operands), "its operands differ in precision")
    scale = Scale.of(depth, n.float("scale", 0.0) or None)
    told = {"scale": scale.factor, "by_width": scale.by_width, "extras": ",".join(extras)}
    out, last = n.op(LinearAttention, *operands, **told).results
    return [n.reshape(out, [batch, steps, heads * n.shape(v)[3]]), last]


def _split(n: NodeContext, x: SSAValue, heads: int) -> SSAValue:
    """[B, T, heads D] as [B, T, heads, D]."""
    batch, steps, width = n.shape(x)
    sentence = f"a width of {width} does not make {heads} heads"
    n.require(heads > 0, sentence)
    n.require_equal(width % heads, 0, sentence)
    return n.reshape(x, [batch, steps, heads, width // heads])
