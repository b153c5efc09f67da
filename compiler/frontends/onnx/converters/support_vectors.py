"""Support vector machines (domain ai.onnx.ml).

In: rows of features, the support vectors and their coefficients as attributes. Out: the kernel of every row with every
vector, and from it products with constant matrices: one column for each pair of classes. Large coefficients cancel, so
all of this is computed in f64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import F32, F64
from penstock.compiler.frontends.onnx.arithmetic import Value, Values
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.classical import (
    DOMAIN,
    chosen,
    class_labels,
    post_transform,
    transformed,
)
from penstock.compiler.frontends.onnx.node_context import Array, NodeContext

KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
MAX_CLASSES = 32  # with probabilities, whose iteration takes a step for each
LEAST_PROBABILITY = 1e-7
BODY_OPSET = 21


@converter("SVMRegressor", domain=DOMAIN)
def svm_regressor(n: NodeContext) -> SSAValue:
    """All kernels, one class included, without a transformation of the result."""
    x, transform = _rows(n), n.text("post_transform", "NONE")
    if transform != "NONE":
        raise n.unsupported(f"post_transform {transform} is not compiled", "Apply it with operators of its own.")
    count, weights, offset = n.int("n_supports", 0), _numbers(n, "coefficients"), _numbers(n, "rho")
    n.require(len(offset) == 1, f"there are {len(offset)} numbers rho, not one")
    n.require(len(weights) == (count or x.shape[1]), f"{len(weights)} coefficients are not {count or x.shape[1]}")
    kernel = _kernel(n, x, _vectors(n, x, count)) if count else x
    total = _product(n, kernel, weights[:, None]) + float(offset[0])
    total = Values.where(total > 0.0, 0.0 * total + 1.0, 0.0 * total - 1.0) if n.flag("one_class") else total
    return total.cast(F32).ssa


@converter("SVMClassifier", domain=DOMAIN)
def svm_classifier(n: NodeContext) -> list[SSAValue]:
    """Integer labels, two or more, all kernels, with or without probabilities; the label is the one with most votes.
    Machines without support vectors are refused, and what onnxruntime and ONNX's evaluator disagree on."""
    x, labels, sizes = _rows(n), class_labels(n, "classlabels_ints"), n.attribute_list("vectors_per_class")
    classes, count = len(labels), sum(sizes)
    if count <= 0:
        hint = "Export a linear machine as LinearClassifier, as skl2onnx does."
        raise n.unsupported("a machine without support vectors is not compiled", hint)
    n.require(classes == len(sizes) >= 2 and min(sizes) >= 0, f"vectors of {len(sizes)} classes have {classes} labels")
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    offsets = _numbers(n, "rho")
    n.require(len(offsets) == len(pairs), f"there are {len(offsets)} numbers rho for {len(pairs)} pairs of classes")
    weights = _numbers(n, "coefficients")
    n.require(len(weights) == (classes - 1) * count, f"{len(weights)} coefficients are not {(classes - 1) * count}")
    matrix = _of_pairs(weights.reshape(classes - 1, count), sizes, pairs)
    scores = _product(n, _kernel(n, x, _vectors(n, x, count)), matrix) + offsets
    label = chosen(n, _votes(n, scores, pairs, classes), labels)
    if n.attribute_list("prob_a", kind=float):
        return [label, transformed(n, _probabilities(n, scores.cast(F32), pairs, classes)).ssa]
    scores = scores.cast(F32)
    if classes > 2:
        return [label, transformed(n, scores).ssa]
    transform = post_transform(n)
    if transform not in ("NONE", "LOGISTIC") or (weights >= 0).all():
        what = "positive coefficients only" if (weights >= 0).all() else f"post_transform {transform}"
        raise n.unsupported(f"a machine of two classes with {what} is not compiled")
    return [label, transformed(n, Value(n, n.build(Concat, (-scores).ssa, scores.ssa, axis=1))).ssa]


def _rows(n: NodeContext) -> Value:
    """The features, [rows, columns], in f64 as rounded to f32."""
    x = n.cast(n.cast(n.ranked(0, 1, 2), F32), F64)
    return Value(n, n.reshape(x, [1, *n.shape(x)]) if n.rank(x) == 1 else x)


def _numbers(n: NodeContext, name: str) -> Array:
    return np.array(n.attribute_list(name, kind=float), np.float64)


def _vectors(n: NodeContext, x: Value, count: int) -> Array:
    """The support vectors, [count, columns of x]."""
    vectors = _numbers(n, "support_vectors")
    sentence = f"{vectors.size} numbers are not {count} support vectors of {x.shape[1]} columns"
    n.require(count > 0 and vectors.size % count == 0, sentence)
    n.require_equal(x.shape[1], vectors.size // count, sentence)
    return vectors.reshape(count, -1)


def _product(n: NodeContext, x: Value, matrix: Array) -> Value:
    return Value(n, n.build(Matmul, x.ssa, n.constant(np.ascontiguousarray(matrix, np.float64))))


def _kernel(n: NodeContext, x: Value, vectors: Array) -> Value:
    """The kernel of every row with every vector, [rows, vectors]; kernel_params are gamma, coef0 and degree."""
    kind = n.choice("kernel_type", "LINEAR", *KERNELS)
    gamma, shift, degree = (*n.attribute_list("kernel_params", kind=float), 0.0, 0.0, 0.0)[:3]
    if kind == "RBF":  # differences first: squares of far vectors would cancel
        apart = x.reshape([x.shape[0], 1, x.shape[1]]) - vectors
        return ((apart * apart).reduce("sum", 2) * -gamma).op("exp")
    product = _product(n, x, vectors.T)
    if kind == "POLY":
        return (product * gamma + shift).op("pow", float(degree))
    return (product * gamma + shift).op("tanh") if kind == "SIGMOID" else product


def _of_pairs(weights: Array, sizes: list[int], pairs: list[tuple[int, int]]) -> Array:
    """[vectors, pairs]: what each vector adds to the score of each pair of classes; of the coefficients
    [classes - 1, vectors], row j - 1 of class i's vectors and row i of class j's are those of the pair (i, j)."""
    starts = np.cumsum([0, *sizes])
    matrix = np.zeros((weights.shape[1], len(pairs)), np.float64)
    for column, (i, j) in enumerate(pairs):
        own, other = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        matrix[own, column], matrix[other, column] = weights[j - 1, own], weights[i, other]
    return matrix


def _votes(n: NodeContext, scores: Value, pairs: list[tuple[int, int]], classes: int) -> Value:
    """How often each class wins, [rows, classes]: the first of a pair where the score is positive, else the second."""
    first, second = (np.zeros((len(pairs), classes), np.float32) for _ in range(2))
    for row, (i, j) in enumerate(pairs):
        first[row, i], second[row, j] = 1, 1
    return _product(n, (scores > 0.0).cast(F64), first - second) + second.sum(axis=0)


def _probabilities(n: NodeContext, scores: Value, pairs: list[tuple[int, int]], classes: int) -> Value:
    """The probabilities of the classes, [rows, classes], from those of each class against each other (Platt scaling,
    coupled as libsvm does)."""
    slopes, shifts = _numbers(n, "prob_a"), _numbers(n, "prob_b")
    fits = len(slopes) == len(shifts) == len(pairs)
    n.require(fits, f"there are {len(slopes)} numbers prob_a and {len(shifts)} prob_b for {len(pairs)} pairs")
    wins = Values.minimum(
        Values.maximum((-(scores * slopes + shifts)).op("sigmoid"), LEAST_PROBABILITY), 1.0 - LEAST_PROBABILITY
    )
    if classes > MAX_CLASSES:
        raise n.unsupported(f"probabilities of {classes} classes are more than {MAX_CLASSES}")
    return _coupled(n, _quadratic(n, wins, pairs, classes), classes)


def _quadratic(n: NodeContext, wins: Value, pairs: list[tuple[int, int]], classes: int) -> Value:
    """The form that coupled probabilities minimise, [rows, classes, classes]: with r_ij how likely i wins against j,
    q_tt = sum r_jt^2 and q_tj = -r_jt r_tj (Wu, Lin, Weng 2004)."""
    number = {pair: index for index, pair in enumerate(pairs)}
    place = np.zeros((classes, classes), np.int64)
    for i, j in pairs:
        place[i, j], place[j, i] = number[i, j], len(pairs) + number[i, j]
    both = n.build(Concat, wins.ssa, (1.0 - wins).ssa, axis=1)
    likely = Value(n, both).take(n.constant(place.reshape(-1)), 1).reshape([wins.shape[0], classes, classes])
    inverse = Value(n, n.transpose(likely.ssa, (0, 2, 1)))
    apart = (1 - np.eye(classes)).astype(np.float32)
    diagonal = (likely * likely * apart).reduce("sum", 1, keepdims=True)
    return Values.where(Value(n, n.constant(apart > 0)), -(likely * inverse), diagonal)


def _coupled(n: NodeContext, form: Value, classes: int) -> Value:
    """libsvm's iteration, with its end: each row stops where the gradient is even within 0.005 / classes, or after as
    many rounds as there are classes, 100 at least."""
    from onnx import parser

    steps = "\n".join(_step(t, classes) for t in range(classes))
    body = parser.parse_graph(_BODY.format(k=classes, limit=0.005 / classes, steps=steps))
    start = n.expand(n.constant(1.0 / classes, F32), [form.shape[0], classes])
    rounds, go = n.constant(np.array(max(100, classes), np.int64)), n.constant(np.array(True))
    attributes: dict[str, Any] = {"body": body}
    _, found = n.importer.call(n.node, "Loop", [rounds, go, form.ssa, start], 2, attributes, opset=BODY_OPSET)
    return Value(n, found)


_BODY = """
body (int64 round, bool go, float[n,{k},{k}] q, float[n,{k}] p0) =>
     (bool more, float[n,{k},{k}] q_out, float[n,{k}] p_out)
<int64[1] two = {{2}}, int64[1] one = {{1}}, float limit = {{{limit}}}>
{{
  p0_column = Unsqueeze(p0, two)
  g0_column = MatMul(q, p0_column)
  g0 = Squeeze(g0_column, two)
  weighted = Mul(p0, g0)
  e0 = ReduceSum(weighted, one)
  off = Sub(g0, e0)
  far = Abs(off)
  error = ReduceMax(far, one)
  open = GreaterOrEqual(error, limit)
{steps}
  p_out = Where(open, p{k}, p0)
  q_out = Identity(q)
  open_i = Cast <to = 7> (open)
  any = ReduceMax <keepdims = 0> (open_i)
  more = Cast <to = 9> (any)
}}
"""


def _step(t: int, classes: int) -> str:
    """Step t of a round: the probability of class t moved to where the form is least, all scaled to sum to 1."""
    hot = ", ".join(str(int(t == each)) for each in range(classes))
    return f"""
  at{t} = Constant <value = int64[1] {{{t}}}> ()
  row{t}_ = Gather <axis = 1> (q, at{t})
  row{t} = Squeeze(row{t}_, one)
  diagonal{t} = Gather <axis = 1> (row{t}, at{t})
  own{t} = Gather <axis = 1> (g{t}, at{t})
  gap{t} = Sub(e{t}, own{t})
  move{t} = Div(gap{t}, diagonal{t})
  unit{t} = Constant <value = float[1] {{1}}> ()
  scale{t} = Add(move{t}, unit{t})
  bent{t} = Mul(move{t}, diagonal{t})
  twice{t} = Add(own{t}, own{t})
  rise{t} = Add(bent{t}, twice{t})
  climb{t} = Mul(move{t}, rise{t})
  energy{t} = Add(e{t}, climb{t})
  once{t} = Div(energy{t}, scale{t})
  e{t + 1} = Div(once{t}, scale{t})
  spread{t} = Mul(move{t}, row{t})
  moved{t} = Add(g{t}, spread{t})
  g{t + 1} = Div(moved{t}, scale{t})
  hot{t} = Constant <value = float[1,{classes}] {{{hot}}}> ()
  step{t} = Mul(move{t}, hot{t})
  risen{t} = Add(p{t}, step{t})
  p{t + 1} = Div(risen{t}, scale{t})"""
