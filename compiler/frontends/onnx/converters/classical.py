"""Operators of classical machine learning (domain ai.onnx.ml) that work on tensors of numbers."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.normalization import Softmax
from penstock.compiler.dialects.graph.reduction import ArgReduce
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import F32, I64, is_float, numpy_dtype
from penstock.compiler.frontends.onnx.arithmetic import Value, Values
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import Array, NodeContext

DOMAIN = "ai.onnx.ml"
MAX_LABELS = 4096


@converter("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(n: NodeContext) -> SSAValue:
    """Numbers. Indices out of range read the nearest element."""
    x, indices = n.ranked(0, 1, 32), n.input(1)
    count = math.prod(n.shape(indices))
    picked = n.build(Gather, x, n.reshape(indices, [count]), axis=n.rank(x) - 1)
    return n.reshape(picked, [1, count]) if n.rank(x) == 1 else picked


@converter("Binarizer", domain=DOMAIN)
def binarizer(n: NodeContext) -> SSAValue:
    """All types ONNX allows."""
    x = n.input(0)
    return n.cast((Value(n, x) > n.float("threshold", 0.0)).ssa, element_of(x))


@converter("Scaler", domain=DOMAIN)
def scaler(n: NodeContext) -> SSAValue:
    """All types ONNX allows."""
    x = n.cast(n.ranked(0, 1, 32), F32)
    offset, scale = (_row(n, name, x, missing) for name, missing in (("offset", 0.0), ("scale", 1.0)))
    return ((Value(n, x) - offset) * scale).ssa


def _row(n: NodeContext, name: str, x: SSAValue, missing: float) -> Array:
    """A list attribute with one number, or one for each element of the last axis."""
    given = n.attribute_list(name, kind=float) or [missing]
    n.require(len(given) in (1, n.shape(x)[-1]), f"{name} are one number or {n.shape(x)[-1]}, not {len(given)}")
    return np.array(given, np.float32)


@converter("Normalizer", domain=DOMAIN)
def normalizer(n: NodeContext) -> SSAValue:
    """All norms, along the last axis; a row of zeros stays as it is."""
    x = Value(n, n.cast(n.ranked(0, 1, 2), F32))
    axis = len(x.shape) - 1
    match n.choice("norm", "MAX", "MAX", "L1", "L2"):
        case "MAX":
            norm = Value(n, x.reduce("max", axis, keepdims=True).ssa)
        case "L1":
            norm = x.op("abs").reduce("sum", axis, keepdims=True)
        case _:
            norm = (x * x).reduce("sum", axis, keepdims=True).op("sqrt")
    return (x / Values.where(Values.equal(norm, 0.0), norm + 1.0, norm)).ssa


@converter("Imputer", domain=DOMAIN)
def imputer(n: NodeContext) -> SSAValue:
    """Floating-point numbers and integers; one value for all columns, or one for each."""
    x = Value(n, n.ranked(0, 1, 32))
    floating = is_float(element_of(x.ssa))
    values = (
        n.attribute_list("imputed_value_floats", kind=float) if floating else n.attribute_list("imputed_value_int64s")
    )
    n.require(len(values) in (1, x.shape[-1]), f"there are {len(values)} values for {x.shape[-1]} columns")
    replaced = n.float("replaced_value_float", 0.0) if floating else n.int("replaced_value_int64", 0)
    missing = x.op("is_nan") if floating and math.isnan(replaced) else Values.equal(x, replaced)
    fill = np.array(values).astype(numpy_dtype(element_of(x.ssa)))
    return Values.where(missing, Value(n, n.constant(fill)), x).ssa


@converter("LinearRegressor", domain=DOMAIN)
def linear_regressor(n: NodeContext) -> SSAValue:
    """Without a transformation of its result."""
    x, targets = n.cast(n.ranked(0, 1, 2), F32), n.int("targets", 1)
    transform = n.text("post_transform", "NONE")
    if transform != "NONE":
        raise n.unsupported(f"post_transform {transform} is not compiled", "Apply it with operators of its own.")
    rows = n.reshape(x, [1, *n.shape(x)]) if n.rank(x) == 1 else x
    weights = np.array(n.attribute_list("coefficients", kind=float), np.float32)
    n.require(
        weights.size == targets * n.shape(rows)[1], f"{weights.size} coefficients are not {targets} for each column"
    )
    product = Value(n, n.build(Matmul, rows, n.constant(np.ascontiguousarray(weights.reshape(targets, -1).T))))
    offsets = n.attribute_list("intercepts", kind=float) or [0.0]
    n.require(len(offsets) in (1, targets), f"there are {len(offsets)} intercepts for {targets} targets")
    return (product + np.array(offsets, np.float32)).ssa


@converter("LinearClassifier", domain=DOMAIN)
def linear_classifier(n: NodeContext) -> list[SSAValue]:
    """Integer labels, two or more, with a row of coefficients each; or two labels and one row, with LOGISTIC."""
    x, labels = n.cast(n.ranked(0, 1, 2), F32), class_labels(n, "classlabels_ints")
    rows = n.reshape(x, [1, *n.shape(x)]) if n.rank(x) == 1 else x
    weights, columns = np.array(n.attribute_list("coefficients", kind=float), np.float32), n.shape(rows)[1]
    single = len(labels) == 2 and weights.size == columns
    count = 1 if single else len(labels)
    if len(labels) < 2 or weights.size != count * columns:
        raise n.unsupported(f"{weights.size} coefficients for {count} labels of {columns} columns are not compiled")
    product = Value(n, n.build(Matmul, rows, n.constant(np.ascontiguousarray(weights.reshape(count, -1).T))))
    offsets = [float(item) for item in n.attribute_list("intercepts", kind=float)] or [0.0]
    n.require(len(offsets) in (1, count), f"there are {len(offsets)} intercepts for {count} labels")
    scores = product + np.array(offsets, np.float32)
    return classified_by_sign(n, scores, labels) if single else classified(n, scores, labels)


def class_labels(n: NodeContext, attribute: str) -> Array:
    """The labels of a classifier, i64 [classes]."""
    if n.attribute_list("classlabels_strings", kind=str):
        raise n.unsupported("its labels are strings, which are not compiled", "Use integers for labels.")
    return np.array(n.attribute_list(attribute), np.int64)


def chosen(n: NodeContext, scores: Value, labels: Array) -> SSAValue:
    """The label of the highest score (the first of equal ones) of each row."""
    best = n.build(ArgReduce, scores.ssa, kind="max", axis=1, keepdims=False)
    return n.build(Gather, n.constant(labels), best, axis=0)


def classified(n: NodeContext, scores: Value, labels: Array) -> list[SSAValue]:
    """A classifier's outputs: the label of the highest score, and ``scores`` [rows, classes] transformed."""
    return [chosen(n, scores, labels), transformed(n, scores).ssa]


def classified_by_sign(n: NodeContext, score: Value, labels: Array) -> list[SSAValue]:
    """The outputs of a classifier of two labels with one ``score`` [rows, 1] for the second, which is chosen where it
    is positive. Only for LOGISTIC do onnxruntime and ONNX's evaluator agree on what the scores are."""
    transform = post_transform(n)
    if transform != "LOGISTIC":
        hint = "Give each label coefficients of its own, or apply the transformation with operators of its own."
        raise n.unsupported(f"one score for two labels with post_transform {transform} is not compiled", hint)
    positive = (score > 0.0).cast(I64).reshape([score.shape[0]])
    both = n.build(Concat, (-score).ssa, score.ssa, axis=1)
    return [n.build(Gather, n.constant(labels), positive.ssa, axis=0), transformed(n, Value(n, both)).ssa]


def post_transform(n: NodeContext) -> str:
    """The attribute of that name."""
    return n.choice("post_transform", "NONE", "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def transformed(n: NodeContext, scores: Value) -> Value:
    """``scores`` [rows, classes] after the node's post_transform."""
    match post_transform(n):
        case "NONE":
            return scores
        case "SOFTMAX":
            return Value(n, n.build(Softmax, scores.ssa, axis=1))
        case "LOGISTIC":
            return scores.op("sigmoid")
        case "SOFTMAX_ZERO":
            return _softmax_zero(scores)
        case _:
            return _probit(scores)


def _softmax_zero(scores: Value) -> Value:
    """A softmax in which a score of 0 keeps the probability 0; where all are 0, each has 1/2."""
    zero = scores.op("abs") <= 1e-7
    shifted = (scores - Value(scores.n, scores.reduce("max", 1, keepdims=True).ssa)).op("exp")
    powers = Values.where(zero, 0.0 * scores, shifted)
    total = powers.reduce("sum", 1, keepdims=True)
    return Values.where(Values.equal(total, 0.0), 0.0 * powers + 0.5, powers / total)


def _probit(p: Value) -> Value:
    """The quantile of the normal distribution, by the approximation of the inverse error function that onnxruntime and
    ONNX's evaluator use (Winitzki 2008, a = 0.147). Infinite at 0 and 1, NaN outside."""
    x, a = p * 2.0 - 1.0, 0.147
    log = ((1.0 - x) * (1.0 + x)).op("log")
    half = 2.0 / (math.pi * a) + 0.5 * log
    root = ((half * half - log / a).op("sqrt") - half).op("sqrt")
    return Values.where(x < 0.0, -root, root) * math.sqrt(2.0)


@converter("FeatureVectorizer", domain=DOMAIN)
def feature_vectorizer(n: NodeContext) -> SSAValue:
    """All types ONNX allows."""
    sizes = n.attribute_list("inputdimensions")
    n.require(len(sizes) == len(n.inputs) > 0, f"there are {len(n.inputs)} inputs and {len(sizes)} sizes")
    parts: list[SSAValue] = []
    for index, size in enumerate(sizes):
        part = n.cast(n.ranked(index, 1, 2), F32)
        part = n.reshape(part, [1, *n.shape(part)]) if n.rank(part) == 1 else part
        n.require(n.shape(part)[1] == size, f"input {index} has {n.shape(part)[1]} columns, not {size}")
        parts.append(part)
    return n.build(Concat, *parts, axis=1)


@converter("LabelEncoder", domain=DOMAIN)
def label_encoder(n: NodeContext) -> SSAValue:
    """Numbers to numbers, at most 4096 labels."""
    x, keys, values = Value(n, n.input(0)), _labels(n, "keys"), _labels(n, "values")
    n.require(len(keys) == len(values), f"there are {len(keys)} keys and {len(values)} values")
    if len(keys) > MAX_LABELS:
        raise n.unsupported(f"{len(keys)} labels are more than {MAX_LABELS}", "Use Gather with a table.")
    default = _default(n, values)
    _, first = np.unique(keys[::-1], return_index=True)
    kept = len(keys) - 1 - first  # of equal keys the last counts
    table = Value(n, n.constant(np.append(values[kept], default)))
    known = np.asarray(keys[kept]).astype(numpy_dtype(element_of(x.ssa)))
    column = x.reshape([*x.shape, 1])
    hits = Values.equal(column, known)
    if known.dtype.kind == "f" and np.isnan(known).any():
        hits = hits | (column.op("is_nan") & Value(n, n.constant(np.isnan(known))))
    place = Value(n, n.constant(np.arange(len(known), dtype=np.int64)))
    where = Values.where(hits, place, len(known)).reduce("min", len(x.shape))
    return n.build(Gather, table.ssa, Values.minimum(where, len(known)).ssa, axis=0)


def _labels(n: NodeContext, what: str) -> Array:
    attributes = n.node.attributes
    if f"{what}_tensor" in attributes:
        return np.asarray(n.tensor_attribute(f"{what}_tensor")).reshape(-1)
    for suffix, dtype, kind in (("floats", np.float32, float), ("int64s", np.int64, int)):
        if f"{what}_{suffix}" in attributes:
            return np.array(n.attribute_list(f"{what}_{suffix}", kind=kind), dtype)
    raise n.unsupported(f"its {what} are strings, which are not compiled", "Encode strings before the model.")


def _default(n: NodeContext, values: Array) -> Array:
    if "default_tensor" in n.node.attributes:
        return np.asarray(n.tensor_attribute("default_tensor")).reshape(-1).astype(values.dtype)
    if values.dtype.kind == "f":
        return np.array([n.float("default_float", -0.0)], values.dtype)
    return np.array([n.int("default_int64", -1)], values.dtype)


@converter("OneHotEncoder", domain=DOMAIN)
def one_hot_encoder(n: NodeContext) -> SSAValue:
    """Integer categories, of whole or fractional numbers; with zeros=0 a run ends where an element is of none."""
    if n.attribute_list("cats_strings", kind=str):
        raise n.unsupported("its categories are strings, which are not compiled", "Encode strings before the model.")
    x, categories = Value(n, n.input(0)), np.array(n.attribute_list("cats_int64s"), np.int64)
    n.require(len(categories) > 0, "cats_int64s are one category or more")
    if len(categories) > MAX_LABELS:
        raise n.unsupported(f"{len(categories)} categories are more than {MAX_LABELS}", "Use OneHot.")
    hits = Values.equal(x.cast(I64).reshape([*x.shape, 1]), categories)
    made = hits.cast(F32)
    if n.flag("zeros", True):
        return made.ssa
    return n.checked(made.ssa, hits.any(len(x.shape)).all(), "the category of an element")


@converter("ZipMap", "CastMap", "DictVectorizer", domain=DOMAIN)
def maps(n: NodeContext) -> SSAValue:
    """Refused: maps are not compiled."""
    hint = "Export without it (options={'zipmap': False} in skl2onnx, zipmap=False in onnxmltools) for a tensor."
    raise n.unsupported(f"{n.node.op} works on maps, which are not compiled", hint if n.node.op == "ZipMap" else "")


@converter("CategoryMapper", domain=DOMAIN)
def category_mapper(n: NodeContext) -> SSAValue:
    """Refused: strings are not compiled."""
    raise n.unsupported("its categories are strings, which are not compiled", "Encode strings before the model.")
