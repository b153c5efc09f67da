"""Ensembles of decision trees (domain ai.onnx.ml), walked by all rows and all trees at once.

In: the nodes of all trees as lists. Out: gathers and comparisons, one step for each level of the deepest tree. The one
idea: a node is a number, a leaf leads to itself, so every row is at its leaf after as many steps as any needs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.index import Gather, GatherElements
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import F32, F64, I64, is_float, numpy_dtype, type_name
from penstock.compiler.frontends.onnx.arithmetic import Value, Values
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.classical import (
    class_labels,
    classified,
    classified_by_sign,
    post_transform,
)
from penstock.compiler.frontends.onnx.converters.elementwise import widened
from penstock.compiler.frontends.onnx.node_context import Array, NodeContext

DOMAIN = "ai.onnx.ml"
MODES = {
    "BRANCH_LEQ": "le",
    "BRANCH_LT": "lt",
    "BRANCH_GTE": "ge",
    "BRANCH_GT": "gt",
    "BRANCH_EQ": "eq",
    "BRANCH_NEQ": "ne",
}
NUMBERED = ("le", "lt", "ge", "gt", "eq", "ne")
AGGREGATES = {"SUM": "sum", "AVERAGE": "sum", "MIN": "min", "MAX": "max"}
IDENTITIES: dict[str, Callable[[Any], Any]] = {
    "SUM": lambda dtype: 0,
    "AVERAGE": lambda dtype: 0,
    "MIN": lambda dtype: np.finfo(dtype).max,
    "MAX": lambda dtype: np.finfo(dtype).min,
}
"""What a leaf gives a target of which it says nothing."""
JOINED = {"SUM": operator.add, "AVERAGE": operator.add, "MIN": min, "MAX": max}
EQUAL, MEMBER = NUMBERED.index("eq"), len(NUMBERED)
MAX_DEPTH = 64


@dataclass(frozen=True)
class Trees:
    """All trees: per node the ``feature`` compared, with ``split``, by ``mode`` (a name of NUMBERED), where to go when
    that holds and when not (leaves: themselves), and whether NaN counts as holding; each tree's root; and per leaf what
    it gives each target, [nodes, targets]. ``complete``: for every target there is a tree all of whose leaves give it
    something."""

    feature: Array
    split: Array
    mode: Array
    holds: Array
    fails: Array
    missing: Array
    roots: Array
    gives: Array
    complete: bool = True

    @cached_property
    def depth(self) -> int:
        """Steps from the roots to the farthest leaf; MAX_DEPTH + 1 if there are more, or no end."""
        at, steps = np.unique(self.roots), 0
        while steps <= MAX_DEPTH:
            inner = at[(self.holds[at] != at) | (self.fails[at] != at)]
            if not inner.size:
                return steps
            at, steps = np.unique(np.concatenate([self.holds[inner], self.fails[inner]])), steps + 1
        return steps


def _walked(n: NodeContext, x: SSAValue, trees: Trees) -> SSAValue:
    """The leaf of every row in every tree: [rows, trees]."""
    if trees.depth > MAX_DEPTH:
        raise n.unsupported(f"its trees are deeper than {MAX_DEPTH} levels")
    rows, columns = n.shape(x)
    n.require(
        bool((trees.feature >= 0).all() and (trees.feature < columns).all()), f"features are of {columns} columns"
    )
    modes = sorted({NUMBERED[mode] for mode in trees.mode})
    at = Value(n, n.expand(n.constant(trees.roots.astype(np.int64)), [rows, len(trees.roots)]))

    def look(table: Array) -> Value:
        return Value(n, n.build(Gather, n.constant(np.ascontiguousarray(table)), at.ssa, axis=0))

    for _ in range(trees.depth):
        feature = Value(n, n.build(GatherElements, x, look(trees.feature).ssa, axis=1))
        split = look(trees.split)
        holds: Value | None = None
        for mode in modes:
            this = feature.op(mode, split)
            if len(modes) > 1:
                this = this & look(trees.mode == NUMBERED.index(mode))
            holds = this if holds is None else holds | this
        assert holds is not None
        if trees.missing.any():
            holds = holds | (feature.op("is_nan") & look(trees.missing))
        at = Values.where(holds, look(trees.holds), look(trees.fails))
    return at.ssa


def _summed(n: NodeContext, leaves: SSAValue, trees: Trees, aggregate: str) -> Value:
    """What the leaves give, over all trees: [rows, targets]."""
    given = Value(n, n.build(Gather, n.constant(np.ascontiguousarray(trees.gives)), leaves, axis=0))
    total = given.reduce(AGGREGATES[aggregate], 1)
    return total / float(len(trees.roots)) if aggregate == "AVERAGE" else total


@converter("TreeEnsembleRegressor", domain=DOMAIN)
def tree_ensemble_regressor(n: NodeContext) -> SSAValue:
    """All ways to aggregate (MIN and MAX of targets that every leaf gives), without a transformation of the result;
    comparisons in f32, in f64 for f64; trees of at most 64 levels."""
    x, aggregate = _rows(n), n.choice("aggregate_function", "SUM", *AGGREGATES)
    transform, targets = n.text("post_transform", "NONE"), n.int("n_targets", 1)
    if transform != "NONE":
        raise n.unsupported(f"post_transform {transform} is not compiled", "Apply it with operators of its own.")
    trees = _listed(n, "target", targets, aggregate, numpy_dtype(element_of(x)))
    total = _summed(n, _walked(n, x, trees), trees, aggregate)
    base = _numbers(n, "base_values")
    n.require(len(base) in (0, targets), f"there are {len(base)} base values for {targets} targets")
    return n.cast((total + base).ssa if len(base) else total.ssa, F32)


@converter("TreeEnsembleClassifier", domain=DOMAIN)
def tree_ensemble_classifier(n: NodeContext) -> list[SSAValue]:
    """Integer labels, two or more; forms in which onnxruntime and ONNX's evaluator disagree are refused; comparisons in
    f32, in f64 for f64; trees of at most 64 levels."""
    x, labels = _rows(n), class_labels(n, "classlabels_int64s")
    ids, base = set(n.attribute_list("class_ids")), _numbers(n, "base_values")
    if len(labels) < 2:
        raise n.unsupported(f"{len(labels)} labels are not compiled", "Give each class a label.")
    single = len(labels) == 2 and len(ids) == 1
    trees = _listed(n, "class", len(labels), "SUM", numpy_dtype(element_of(x)))
    scores = _summed(n, _walked(n, x, trees), trees, "SUM")
    if single:
        return _of_two(n, scores, labels, base, positive=bool((trees.gives >= 0).all()))
    n.require(len(base) in (0, len(labels)), f"there are {len(base)} base values for {len(labels)} labels")
    if len(labels) == 2 and base.any():
        raise n.unsupported("base values of two labels with weights each are not compiled", "Add them to a tree.")
    if not trees.complete and not (trees.gives >= 0).all():
        raise n.unsupported("labels that some leaves give no weight are not compiled", "Give each leaf all weights.")
    return classified(n, (scores + base if len(base) else scores).cast(F32), labels)


def _of_two(n: NodeContext, scores: Value, labels: Array, base: Array, *, positive: bool) -> list[SSAValue]:
    """The outputs of a classifier of two labels whose leaves give one weight, the score of the second label: a
    probability where all weights are ``positive``, else a number that is positive where that label is chosen."""
    transform = post_transform(n)
    if set(n.attribute_list("class_ids")) != {0} or len(base) > 1:
        raise n.unsupported("one weight for two labels is given as that of class 0, with at most one base value")
    score = Value(n, n.build(Gather, scores.ssa, n.constant(np.zeros(1, np.int64)), axis=1))
    score = (score + base if len(base) else score).cast(F32)
    if not positive and transform == "LOGISTIC":
        return classified_by_sign(n, score, labels)
    if transform != "NONE":
        hint = "Apply it with operators of its own."
        raise n.unsupported(f"one weight for two labels with post_transform {transform} is not compiled", hint)
    chosen = (score > (0.5 if positive else 0.0)).cast(I64).reshape([score.shape[0]])
    both = n.build(Concat, (1.0 - score if positive else -score).ssa, score.ssa, axis=1)
    return [n.build(Gather, n.constant(labels), chosen.ssa, axis=0), both]


def _rows(n: NodeContext) -> SSAValue:
    """The features, [rows, columns], in the type in which they are compared."""
    x = n.ranked(0, 2)
    return x if element_of(x) == F64 else n.cast(x, F32)


def _numbers(n: NodeContext, name: str) -> Array:
    """The numbers of an attribute, given as a list or, for more digits, as a tensor."""
    if f"{name}_as_tensor" in n.node.attributes:
        return np.asarray(n.tensor_attribute(f"{name}_as_tensor"), np.float64).reshape(-1)
    return np.array(n.attribute_list(name, kind=float), np.float64)


def _listed(n: NodeContext, what: str, targets: int, aggregate: str, dtype: Any) -> Trees:
    """Trees as the operators before opset 5 of the domain give them: nodes named by tree and number; attributes that
    begin with ``what`` say what leaves give."""

    def column(name: str) -> Array:
        return np.array(n.attribute_list(name), np.int64)

    names = list(zip(n.attribute_list("nodes_treeids"), n.attribute_list("nodes_nodeids"), strict=False))
    place, modes = {name: index for index, name in enumerate(names)}, n.attribute_list("nodes_modes", kind=str)
    count = len(names)
    n.require(count > 0 and len(place) == count == len(modes), "its nodes have names of their own and a mode each")
    known = all(mode == "LEAF" or mode in MODES for mode in modes)
    n.require(known, f"modes of nodes are LEAF, {', '.join(MODES)}")
    leaf, here = np.array([mode == "LEAF" for mode in modes]), np.arange(count)
    ways: list[Array] = []
    for attribute in ("nodes_truenodeids", "nodes_falsenodeids"):
        given = n.attribute_list(attribute)
        n.require(len(given) == count, f"{attribute} are {count} numbers")
        next_names = [(names[i][0], int(number)) for i, number in enumerate(given)]
        n.require(
            all(leaf[i] or name in place for i, name in enumerate(next_names)), f"{attribute} name nodes of their trees"
        )
        ways.append(np.array([i if leaf[i] else place[name] for i, name in enumerate(next_names)]))
    reached = set(np.concatenate([way[~leaf] for way in ways]).tolist())
    missing = column("nodes_missing_value_tracks_true")
    numbers = [column("nodes_featureids"), _numbers(n, "nodes_values").astype(dtype)]
    n.require(all(len(number) == count for number in numbers), f"there are {count} features and values")
    feature, split = np.where(leaf, 0, numbers[0]), np.where(leaf, 0, numbers[1]).astype(dtype)
    mode = np.array([0 if mode == "LEAF" else NUMBERED.index(MODES[mode]) for mode in modes])
    follows = missing.astype(bool) & ~leaf if len(missing) == count else np.zeros(count, bool)
    roots = np.array([i for i in here if i not in reached])
    n.require(
        len(roots) == len({tree for tree, _ in names}), "every tree has one node that no other leads to, its root"
    )
    gives, given = _given(n, what, targets, place, aggregate, dtype)
    of_tree = np.unique([tree for tree, _ in names], return_inverse=True)[1]
    covered = np.array([given[leaf & (of_tree == tree)].all(axis=0) for tree in range(len(roots))])
    if aggregate in ("MIN", "MAX") and not covered.any(axis=0).all():
        raise n.unsupported(f"aggregate_function {aggregate} of targets that some leaves do not give is not compiled")
    return Trees(
        feature, split, mode, ways[0], ways[1], follows, roots, gives, complete=bool(covered.any(axis=0).all())
    )


def _given(
    n: NodeContext, what: str, targets: int, place: dict[tuple[int, int], int], aggregate: str, dtype: Any
) -> tuple[Array, Array]:
    """([nodes, targets], the same of truth values): what every leaf gives each target, and whether it gives it any."""
    n.require(targets > 0, f"there are {targets} targets")
    n.table(len(place) * targets, "what its leaves give")
    gives = np.full((len(place), targets), IDENTITIES[aggregate](dtype), dtype)
    given = np.zeros((len(place), targets), bool)
    told = (n.attribute_list(f"{what}_{which}") for which in ("treeids", "nodeids", "ids"))
    for tree, node, target, weight in zip(*told, _numbers(n, f"{what}_weights").astype(dtype), strict=False):
        n.require((tree, node) in place and 0 <= target < targets, f"a leaf gives a target of {targets}")
        at = (place[(tree, node)], target)
        gives[at] = JOINED[aggregate](gives[at], weight)
        given[at] = True
    return gives, given


@converter("TreeEnsemble", domain=DOMAIN)
def tree_ensemble(n: NodeContext) -> SSAValue:
    """All comparisons, set membership included, and all ways to aggregate, without a transformation of the result;
    trees of at most 64 levels (a set counts one for each member)."""
    x = n.ranked(0, 2)
    if n.int("post_transform", 0) != 0:
        raise n.unsupported("a post_transform is not compiled", "Apply it with operators of its own.")
    aggregate, kind = n.int("aggregate_function", 1), element_of(x)
    n.require(0 <= aggregate < len(AGGREGATES), f"aggregate_function is {aggregate}")
    n.require(is_float(kind), f"its input is of floating-point numbers, not {type_name(kind)}")
    wide = widened(n, x)
    trees = _numbered(n, ("AVERAGE", "SUM", "MIN", "MAX")[aggregate], numpy_dtype(element_of(wide)))
    leaves = _walked(n, wide, trees)
    return n.cast(_summed(n, leaves, trees, ("AVERAGE", "SUM", "MIN", "MAX")[aggregate]).ssa, kind)


def _numbered(n: NodeContext, aggregate: str, dtype: Any) -> Trees:
    """Trees as TreeEnsemble gives them: inner nodes and leaves are numbered apart."""

    def column(name: str) -> Array:
        return np.array(n.attribute_list(name), np.int64)

    feature, roots, targets = column("nodes_featureids"), column("tree_roots"), n.int("n_targets")
    split, mode = (n.tensor_attribute(f"nodes_{what}").reshape(-1) for what in ("splits", "modes"))
    weight, target = n.tensor_attribute("leaf_weights").reshape(-1), column("leaf_targetids")
    count, leaves = len(feature), len(target)
    ways: list[Array] = []
    for way in ("true", "false"):
        number, leaf = column(f"nodes_{way}nodeids"), column(f"nodes_{way}leafs")
        fits = len(number) == len(leaf) == count and bool(
            ((number >= 0) & (number < np.where(leaf, leaves, count))).all()
        )
        n.require(fits, f"nodes_{way}nodeids name {count} nodes or {leaves} leaves")
        ways.append(number + np.where(leaf, count, 0))
    given = column("nodes_missing_value_tracks_true")
    missing = given.astype(bool) if len(given) == count else np.zeros(count, bool)
    fits = len(split) == len(mode) == count > 0 and len(weight) == leaves and mode.dtype.kind in "iu"
    n.require(fits, f"there are {count} nodes and {leaves} leaves with all they need")
    n.require(bool(((mode >= 0) & (mode <= MEMBER)).all()), f"modes of nodes are 0 to {MEMBER}")
    n.require(bool(((target >= 0) & (target < targets)).all()), f"leaves give {targets} targets")
    n.require(len(roots) > 0 and bool(((roots >= 0) & (roots < count)).all()), f"roots are some of {count} nodes")
    n.require(targets > 0, f"there are {targets} targets")
    n.table((count + leaves) * targets, "what its leaves give")
    gives = np.full((count + leaves, targets), IDENTITIES[aggregate](dtype), dtype)
    gives[count + np.arange(leaves), target] = weight.astype(dtype)
    own, ends = count + np.arange(leaves), np.zeros(leaves, np.int64)
    trees = Trees(
        np.append(feature, ends),
        np.append(split.astype(dtype), ends.astype(dtype)),
        np.append(mode.astype(np.int64), ends),
        np.append(ways[0], own),
        np.append(ways[1], own),
        np.append(missing, ends.astype(bool)),
        roots,
        gives,
    )
    return _without_sets(n, trees, count, dtype)


def _without_sets(n: NodeContext, trees: Trees, count: int, dtype: Any) -> Trees:
    """Membership in a set as one comparison after the other: each failing one leads to the next member's node."""
    members = np.flatnonzero(trees.mode[:count] == MEMBER)
    if not members.size:
        return trees
    values = n.tensor_attribute("membership_values").reshape(-1).astype(dtype)
    ends = np.flatnonzero(np.isnan(values))
    n.require(len(ends) == len(members), f"there are members of {len(ends)} sets for {len(members)} nodes")
    columns = {name: list(getattr(trees, name)) for name in ("feature", "split", "mode", "holds", "fails", "missing")}
    gives, start = list(trees.gives), 0
    for node, end in zip(members.tolist(), ends.tolist(), strict=True):
        given, start = values[start:end], end + 1
        n.require(len(given) > 0, "a set has a member")
        columns["mode"][node], columns["split"][node] = EQUAL, given[0]
        last = node
        for value in given[1:]:
            new = len(columns["mode"])
            columns["fails"].append(columns["fails"][last])
            columns["fails"][last] = new
            for name, item in (("feature", columns["feature"][node]), ("split", value), ("mode", EQUAL)):
                columns[name].append(item)
            columns["holds"].append(columns["holds"][node])
            columns["missing"].append(False)
            gives.append(trees.gives[node])
            last = new
    arrays = {name: np.array(column) for name, column in columns.items()}
    return replace(trees, **arrays, gives=np.array(gives))
