"""FlexAttention (ai.onnx.preview): attention whose scores and probabilities pass through graphs the model brings.

The graphs are converted in place, on the whole tensors they are defined on; without them it is plain attention.
"""

from __future__ import annotations

from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import element_of, require_same
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.normalization import Softmax
from penstock.compiler.dtypes import F32, F64, is_float, type_name
from penstock.compiler.errors import INVALID_NODE
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.attention import Scale
from penstock.compiler.frontends.onnx.converters.elementwise import widened
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal
from penstock.compiler.frontends.onnx.records import Graph

DOMAIN = "ai.onnx.preview"


@converter("FlexAttention", domain=DOMAIN)
def flex_attention(n: NodeContext) -> list[SSAValue | None]:
    """4-D inputs, grouped heads, score_mod and prob_mod; scores are products in f32 (f64 for f64)."""
    q, k, v = (n.ranked(index, 4) for index in range(3))
    kind = element_of(q)
    n.require(is_float(kind) and element_of(k) == kind == element_of(v), "its operands differ in type, or are integers")
    scale = Scale.of(n.shape(q)[3], n.float("scale") if "scale" in n.node.attributes else None)
    precision = n.element_attribute("softmax_precision") if n.int("softmax_precision", 0) else None
    precision = precision or (F64 if kind == F64 else F32)
    n.require(is_float(precision), f"softmax_precision is a floating-point type, not {type_name(precision)}")
    plain = not any(name in n.node.attributes for name in ("score_mod", "prob_mod"))
    if plain and (precision != F64 or kind == F64):
        return [n.build(Attention, q, k, v, scale=scale.factor, by_width=scale.by_width)]
    return [_modified(n, q, k, v, scale, precision)]


def _modified(
    n: NodeContext, q: SSAValue, k: SSAValue, v: SSAValue, scale: Scale, precision: Attribute
) -> SSAValue | None:
    """Scores as a tensor of their own, what the graphs make of them, and the product with the values."""
    (batch, heads, queries, depth), (_, shared, keys, _) = n.shape(q), n.shape(k)
    sentence = "its queries, keys and values do not fit together"
    require_same((*n.shape(k), *n.shape(v)[:3]), (batch, shared, keys, depth, batch, shared, keys), sentence)
    n.require(shared > 0, sentence)
    n.require_equal(heads % shared, 0, sentence)
    rows = heads // shared * queries
    grouped = n.reshape(widened(n, q), [batch, shared, rows, depth])
    scores = n.build(Matmul, grouped, n.transpose(widened(n, k), (0, 1, 3, 2)))
    scores = scale.of_scores(n, scores, depth)
    scores = n.cast(n.reshape(scores, [batch, heads, queries, keys]), precision)
    modified = _through(n, "score_mod", scores)
    if modified is None:
        return None
    weights = _through(n, "prob_mod", n.build(Softmax, modified, axis=3))
    if weights is None:
        return None
    weights = n.reshape(weights, [batch, shared, rows, keys])
    out = n.build(Matmul, weights, n.cast(v, precision))
    return n.cast(n.reshape(out, [batch, heads, queries, n.shape(v)[3]]), element_of(v))


def _through(n: NodeContext, name: str, x: SSAValue) -> SSAValue | None:
    """``x`` after the graph attribute ``name`` (itself without one); None if the graph cannot be converted."""
    graph = n.node.attributes.get(name)
    if graph is None:
        return x
    if not isinstance(graph, Graph) or len(graph.outputs) != 1:
        raise Refusal(INVALID_NODE, f"{name} is not a graph of one output")
    (result,) = n.importer.subgraph(graph, n, [x])
    if result is None:
        return None
    if not isinstance(result, SSAValue) or result.type != x.type:
        raise Refusal(INVALID_NODE, f"{name} changes its operand's shape or type")
    return result
