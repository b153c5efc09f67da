"""Counting n-grams of integers."""

from __future__ import annotations

import itertools

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.shape import Concat, Slice
from penstock.compiler.dtypes import F32, I64, tensor
from penstock.compiler.frontends.onnx.arithmetic import Value, Values
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import NodeContext

Pool = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
MAX_COMPARISONS = 1 << 24
MAX_COLUMNS = 1 << 16


@converter("TfIdfVectorizer")
def tf_idf_vectorizer(n: NodeContext) -> SSAValue:
    """Integers, all modes. Pools of strings are refused, and pools that take more than 2^24 comparisons."""
    if n.attribute_list("pool_strings", kind=str):
        raise n.unsupported("its pool is made of strings", "Encode strings as numbers before the model.")
    given = n.cast(n.ranked(0, 1, 2), I64)
    rows = n.reshape(given, [1, *n.shape(given)]) if n.rank(given) == 1 else given
    pools = _pools(n)
    found = Value(n, n.build(Matmul, _counts(n, Value(n, rows), pools).ssa, n.constant(_columns(n, pools))))
    columns = found.shape[1]
    mode = n.choice("mode", "TF", "TF", "IDF", "TFIDF")
    weights = np.array(n.attribute_list("weights", kind=float) or [1.0] * columns, np.float32)
    n.require(len(weights) >= columns, f"there are {len(weights)} weights for {columns} columns")
    if mode == "IDF":
        found = Values.minimum(found, 1.0)
    if mode != "TF":
        found = found * weights[:columns]
    return n.reshape(found.ssa, [columns] if n.rank(given) == 1 else n.shape(found.ssa))


def _pools(n: NodeContext) -> list[Pool]:
    """The n-grams of each length from 1 on: [number, length]."""
    flat = np.array(n.attribute_list("pool_int64s"), np.int64)
    starts = [int(start) for start in n.attribute_list("ngram_counts")]
    edges = [*starts, len(flat)]
    n.require(bool(starts) and edges == sorted(edges) and edges[0] >= 0, f"ngram_counts {starts} do not cut the pool")
    pools: list[Pool] = []
    for length, (start, end) in enumerate(itertools.pairwise(edges), 1):
        n.require((end - start) % length == 0, f"the pool's part for length {length} has {end - start} numbers")
        pools.append(flat[start:end].reshape(-1, length))
    return pools


def _counts(n: NodeContext, x: Value, pools: list[Pool]) -> Value:
    """How often each n-gram of the pool is in each row: f32, [rows, n-grams]."""
    least, most, skips = (n.int(name) for name in ("min_gram_length", "max_gram_length", "max_skip_count"))
    n.require(1 <= least <= most and skips >= 0, f"lengths from {least} to {most} with {skips} skips")
    rows, width = x.shape
    size = rows * width * (skips + 1) * sum(pool.size for pool in pools)
    if size > MAX_COMPARISONS:
        raise n.unsupported(f"its pool takes {size} comparisons, more than {MAX_COMPARISONS}")
    parts: list[Value] = []
    for length, pool in enumerate(pools, 1):
        total = Value(n, n.constant(np.zeros((rows, len(pool)), np.float32)))
        if len(pool) and least <= length <= most:
            for gap in range(1, skips + 2 if length > 1 else 2):
                windows = width - (length - 1) * gap
                if windows > 0:
                    total = total + _matches(n, x, pool, gap, windows)
        parts.append(total)
    return Value(n, n.build(Concat, *(part.ssa for part in parts), axis=1))


def _matches(n: NodeContext, x: Value, pool: Pool, gap: int, windows: int) -> Value:
    """Counts of n-grams whose elements are ``gap`` apart: [rows, n-grams]."""
    rows = x.shape[0]
    hits: Value | None = None
    for place in range(pool.shape[1]):
        part = tensor([rows, windows], element_of(x.ssa))
        column = Value(n, n.build(Slice, x.ssa, starts=[0, place * gap], steps=[1, 1], result=part))
        same = Values.equal(column.reshape([rows, windows, 1]), pool[:, place].reshape(1, 1, -1))
        hits = same if hits is None else hits & same
    assert hits is not None
    return hits.cast(F32).reduce("sum", 1)


def _columns(n: NodeContext, pools: list[Pool]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Which column of the result an n-gram counts in: [n-grams, columns]. Of equal n-grams only the last counts."""
    indexes = [int(index) for index in n.attribute_list("ngram_indexes")]
    names = [tuple(row) for pool in pools for row in pool.tolist()]
    n.require(len(indexes) == len(names) > 0, f"there are {len(indexes)} ngram_indexes for {len(names)} n-grams")
    n.require(0 <= min(indexes) and max(indexes) < MAX_COLUMNS, "ngram_indexes are columns of the result")
    table = np.zeros((len(indexes), max(indexes) + 1), np.float32)
    for row, column in {name: (row, indexes[row]) for row, name in enumerate(names)}.values():
        table[row, column] = 1
    return table
