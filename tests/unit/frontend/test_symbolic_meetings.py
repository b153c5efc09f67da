"""Sizes chosen at run time beside control flow, scatters, storage types and custom operators."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import parser

import penstock
from penstock.compiler.errors import ModelError
from penstock.operators import Operator, TensorType, ops
from penstock.runtime.errors import RuntimeFailure
from penstock.runtime.session import Session

Arrays = dict[str, NDArray[Any]]
RNG = np.random.default_rng(0)
SIZES = [(1, 1), (3, 5), (8, 16), (70, 33), (2, 130)]


def session(text: str, **options: Any) -> Session:
    """A session of a model in ONNX's text form."""
    model = parser.parse_model('<ir_version: 10, opset_import: ["" : 21, "test" : 1]>' + text)
    return penstock.compile(model.SerializeToString(), **options).load().session(threads=2)


def floats(*shape: int) -> NDArray[np.float32]:
    """Random numbers."""
    return RNG.standard_normal(shape).astype(np.float32)


BRANCHES = """agraph (float[rows,columns] x, float[columns,columns] w, bool which) =>
    (float[rows,columns] y, float[rows] total) <int64[1] one = {1}>
{
    y = If (which) <
        then_branch = yes () => (float[rows,columns] a) { a = MatMul (x, w) },
        else_branch = no () => (float[rows,columns] b) { c = Exp (x)  b = Softmax <axis = 1> (c) }>
    total = ReduceSum <keepdims = 0> (x, one)
}"""


def test_branches() -> None:
    """The branch taken, at any size; the other one takes no time, and an output that needs neither runs neither."""
    run = session(BRANCHES)
    for number, (rows, columns) in enumerate(SIZES):
        x, w, which = floats(rows, columns), floats(columns, columns), np.array(number % 2 == 0)
        feeds: Arrays = {"x": x, "w": w, "which": which}
        shifted = np.exp(np.exp(x) - np.exp(x).max(1, keepdims=True))
        wanted = x @ w if which else shifted / shifted.sum(1, keepdims=True)
        results, records = run.profile(feeds)
        np.testing.assert_allclose(results["y"], wanted, rtol=1e-4, atol=1e-4)
        assert any(record.end_ns == record.start_ns for record in records)  # those of the other branch
        part, fewer = run.profile({"x": x}, ["total"])
        np.testing.assert_allclose(part["total"], x.sum(1), rtol=1e-4, atol=1e-4)
        assert len(fewer) < len(records)


def test_loops_that_end_early() -> None:
    """Rounds after the exit change nothing, whatever the sizes."""
    run = session("""agraph (float[rows,columns] x, float limit) => (float[rows,columns] y)
        <int64 rounds = {6}, bool go = {1}, float two = {2}> {
        y = Loop (rounds, go, x) <body = step (int64 i, bool before, float[rows,columns] v) =>
            (bool on, float[rows,columns] w) {
            w = Mul (v, two)  most = ReduceMax <keepdims = 0> (w)  on = Less (most, limit) }>
    }""")
    for rows, columns in SIZES:
        x = np.abs(floats(rows, columns)) + 0.5
        wanted = x
        for _ in range(6):
            wanted = wanted * 2
            if not wanted.max() < 20:
                break
        np.testing.assert_allclose(run.run({"x": x, "limit": np.float32(20)})["y"], wanted, rtol=1e-6)


def test_a_cache_that_is_written_to() -> None:
    """ScatterND at positions that are fed, into a cache of any length."""
    run = session("""agraph (float[past,heads,8] cache, int64[new,1] at, float[new,heads,8] fresh) =>
        (float[past,heads,8] out) { out = ScatterND (cache, at, fresh) }""")
    for past, new in ((4, 1), (130, 7), (33, 33), (1, 1)):
        cache, fresh = floats(past, 3, 8), floats(new, 3, 8)
        at = RNG.permutation(past)[:new].reshape(-1, 1).astype(np.int64)
        wanted = cache.copy()
        wanted[at[:, 0]] = fresh
        np.testing.assert_array_equal(run.run({"cache": cache, "at": at, "fresh": fresh})["out"], wanted)


def test_types_that_are_only_stored() -> None:
    """8-bit floating-point through any shape."""
    run = session("""agraph (float[rows,columns] x) => (float[rows,columns] y, float8e4m3fn[columns,rows] z) {
        q = Cast <to = 17> (x)  z = Transpose <perm = [1, 0]> (q)  y = Cast <to = 1> (q) }""")
    for rows, columns in SIZES:
        x = floats(rows, columns)
        stored = x.astype(ml_dtypes.float8_e4m3fn)
        results = run.run({"x": x})
        np.testing.assert_array_equal(results["y"], stored.astype(np.float32))
        np.testing.assert_array_equal(results["z"].view(np.uint8), stored.T.view(np.uint8))


class Squares(Operator):
    """x * x + shift, of ordinary ops."""

    domain, name, since = "test", "Squares", 1

    def infer(self, x: TensorType, *, shift: float = 0.0) -> TensorType:
        return x

    def decompose(self, x: Any, *, shift: float = 0.0) -> Any:
        return ops.add(x * x, shift)

    def evaluate(self, x: Any, *, shift: float = 0.0) -> Any:
        return x * x + np.float32(shift)


def test_custom_operators() -> None:
    """What an operator is made of takes the sizes as they come."""
    run = session(
        "agraph (float[rows,columns] x) => (float[rows,columns] y) { y = test.Squares <shift = 0.5> (x) }",
        plugins=[Squares],
    )
    for rows, columns in SIZES:
        x = floats(rows, columns)
        np.testing.assert_allclose(run.run({"x": x})["y"], x * x + 0.5, rtol=1e-6)


def test_loops_over_an_axis_whose_size_a_run_says() -> None:
    scanned = session("""agraph (float[steps,4] x, float[4] s) => (float[4] e, float[steps,4] y) {
        e, y = Scan <num_scan_inputs = 1, body = one (float[4] a, float[4] b) => (float[4] c, float[4] d) {
        c = Add (a, b)  d = Identity (c) }> (s, x) }""")
    rounds = session("""agraph (float[steps,4] x) => (float[steps,4] y) <bool go = {1}> {
        shape = Shape <start = 0, end = 1> (x)  none = Squeeze (shape)
        y = Loop (none, go, x) <body = one (int64 i, bool c, float[steps,4] a) => (bool d, float[steps,4] b) {
        d = Identity (c)  b = Neg (a) }> }""")
    for steps in (3, 1, 40):
        x, s = floats(steps, 4), floats(4)
        found = scanned.run({"x": x, "s": s})
        np.testing.assert_allclose(found["y"], s + np.cumsum(x, 0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["e"], s + x.sum(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(rounds.run({"x": x})["y"], -x if steps % 2 else x)


def test_what_needs_numbers_is_refused() -> None:
    """By one sentence that says which size to give."""
    with pytest.raises(ModelError, match=r"PENS-M020: .*--dim") as caught:
        session("agraph (float[b,n,n] x) => (float[b] y) { y = Det (x) }")
    assert len(caught.value.problems) == 1


def test_a_choice_of_outputs_over_changing_sizes() -> None:
    """A check of what is fed counts for those who rely on it alone."""
    run = session("""agraph (float[rows,6] x, int64[2] shape) => (float[rows,2,3] r, float[rows,6] n)
        <int64[1] lead = {-1}> {
        whole = Concat <axis = 0> (lead, shape)  r = Reshape (x, whole)  n = Neg (x) }""")
    for rows in (1, 7, 40):
        x = floats(rows, 6)
        np.testing.assert_array_equal(run.run({"x": x}, ["n"])["n"], -x)
        results = run.run({"x": x, "shape": np.array([2, 3])})
        np.testing.assert_array_equal(results["r"], x.reshape(rows, 2, 3))
        with pytest.raises(RuntimeFailure, match="PENS-R017"):
            run.run({"x": x, "shape": np.array([3, 2])}, ["r"])
