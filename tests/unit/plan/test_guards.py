"""What only the side of a select reads that is not taken is left out of a run; everything else never is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import parser

import penstock
from penstock.runtime.session import Session

RNG = np.random.default_rng(0)
A, B = (RNG.standard_normal((32, 32)).astype(np.float32) for _ in range(2))


def session(text: str, threads: int = 1) -> Session:
    """A session of a model of one graph."""
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')
    return penstock.compile(made.SerializeToString()).load().session(threads=threads)


def executed(found: Session, feeds: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The results, and the source nodes of the commands that were not left out."""
    results, records = found.profile(feeds)
    return results, {name for r in records if r.end_ns > r.start_ns for name in r.source.split(" + ")}


BRANCHES = """agraph (bool c, float[32,32] a, float[32,32] b) => (float[32,32] y, float[32,32] z) {
    s = MatMul (a, b)
    y, z = If (c) <
        then_branch = t () => (float[32,32] p, float[32,32] q) {
            p1 = MatMul (s, a)  p2 = Exp (p1)  p = Softmax (p2)  q = MatMul (p, b) },
        else_branch = e () => (float[32,32] r, float[32,32] u) {
            r1 = Sin (s)  r2 = Cos (r1)  r = MatMul (r2, r2)  u = Neg (s) }
    >
}"""


def expected(c: bool) -> tuple[Any, Any]:
    """What ``BRANCHES`` computes."""
    s = (A @ B).astype(np.float64)
    if not c:
        return np.cos(np.sin(s)) @ np.cos(np.sin(s)), -s
    e = np.exp(s @ A)
    p = np.exp(e - e.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return p, p @ B


@pytest.mark.parametrize("threads", [1, 3])
def test_the_branch_not_taken_is_left_out(threads: int) -> None:
    """In any order of runs: what the branch not taken has left in memory is never read."""
    found = session(BRANCHES, threads)
    small = {"a": A / 8, "b": B}
    for c in (True, False, False, True):
        feeds = {"c": np.array(c), "a": A, "b": B} if not c else {"c": np.array(c), **small}
        result, ran = executed(found, feeds)
        if not c:
            np.testing.assert_allclose(result["y"], expected(c)[0], rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(result["z"], expected(c)[1], rtol=1e-4, atol=1e-4)
        taken, other = ("MatMul(p1)", "MatMul(r)") if c else ("MatMul(r)", "MatMul(p1)")
        assert {f"If(y)/{taken}", "MatMul(s)"} <= ran
        assert f"If(y)/{other}" not in ran
        assert ("If(y)/MatMul(q)" in ran) == c
        assert not any("Cos" in name for name in ran) or not c


def test_the_same_bits_as_alone() -> None:
    """Each branch gives what a model of it alone gives."""
    found = session(BRANCHES)
    alone = session(
        BRANCHES.replace("(bool c, ", "(").replace(
            "s = MatMul (a, b)", "s = MatMul (a, b)  c = Constant <value = bool {1}> ()"
        )
    )
    feeds = {"a": A / 8, "b": B}
    first = alone.run(feeds)
    for _ in range(2):
        taken = found.run({"c": np.array(True), **feeds})
        for name in ("y", "z"):
            np.testing.assert_array_equal(taken[name], first[name])
        found.run({"c": np.array(False), **feeds})


def test_what_is_read_elsewhere_too_is_computed() -> None:
    """A value of a branch that is an output, or that both branches read."""
    text = """agraph (bool c, float[32,32] a) => (float[32,32] y, float[32,32] p) {
        p = MatMul (a, a)  q = MatMul (p, a)
        y = If (c) <
            then_branch = t () => (float[32,32] u) { u = MatMul (q, q) },
            else_branch = e () => (float[32,32] v) { v = MatMul (q, p) }
        >
    }"""
    found = session(text)
    for c in (True, False):
        result, ran = executed(found, {"c": np.array(c), "a": A})
        assert {"MatMul(p)", "MatMul(q)"} <= ran
        assert ("If(y)/MatMul(u)" in ran, "If(y)/MatMul(v)" in ran) == (c, not c)
        np.testing.assert_allclose(result["p"], A @ A, rtol=1e-4, atol=1e-4)


def test_branches_in_branches() -> None:
    """An inner condition that is computed in the outer branch, and is not there when that is not taken."""
    text = """agraph (bool c, float[32,32] a) => (float[32,32] y) <float zero = {0}> {
        y = If (c) <
            then_branch = t () => (float[32,32] u) {
                m = MatMul (a, a)  s = ReduceSum <keepdims = 0> (m)  low = Less (s, zero)
                u = If (low) <then_branch = tt () => (float[32,32] p) { p = MatMul (m, m) },
                              else_branch = te () => (float[32,32] q) { q = MatMul (m, a) }>
            },
            else_branch = e () => (float[32,32] v) { v = Neg (a) }
        >
    }"""
    found = session(text)
    for sign in (1, -1):
        a = np.abs(A) * np.float32(0.1)
        a[0] *= sign * 1000
        m = a @ a
        low = bool(m.sum() < 0)
        result, ran = executed(found, {"c": np.array(True), "a": a})
        np.testing.assert_allclose(result["y"], m @ m if low else m @ a, rtol=1e-3, atol=1e-3)
        assert ("If(y)/If(u)/MatMul(p)" in ran, "If(y)/If(u)/MatMul(q)" in ran) == (low, not low)
        result, ran = executed(found, {"c": np.array(False), "a": a})
        np.testing.assert_array_equal(result["y"], -a)
        assert not any("MatMul" in name for name in ran)


def test_rounds_after_the_exit_are_left_out() -> None:
    """The body of a loop runs as often as it should, not as often as it may."""
    text = """agraph (float[32,32] a, float top) => (float[32,32] y, int64 n)
    <bool yes = {1}, int64 ten = {10}, int64 zero = {0}> {
        y, n = Loop (ten, yes, a, zero)
        <body = round (int64 i, bool go, float[32,32] v, int64 k) => (bool on, float[32,32] w, int64 m)
        <int64 one = {1}> {
            w1 = MatMul (v, a)
            w = Tanh (w1)
            s = ReduceMax <keepdims = 0> (w)
            on = Less (s, top)
            m = Add (k, one)
        }>
    }"""
    found = session(text)
    for top in (0.3, 0.9, 5.0):
        value, rounds = A, 0
        for _ in range(10):
            value, rounds = np.tanh(value @ A), rounds + 1
            if not value.max() < top:
                break
        result, records = found.profile({"a": A, "top": np.array(top, np.float32)})
        assert result["n"] == rounds
        assert sum("MatMul" in r.source and r.end_ns > r.start_ns for r in records) == rounds
        if rounds < 3:
            np.testing.assert_allclose(result["y"], value, rtol=1e-3, atol=1e-3)


def test_chosen_outputs_bring_their_conditions() -> None:
    """A run for one output computes what decides whether its commands are needed."""
    text = BRANCHES.replace("bool c,", "float t,").replace(
        "s = MatMul (a, b)", "s = MatMul (a, b)  h = Exp (t)  c = Less (h, t2)"
    )
    text = text.replace("float[32,32] z) {", "float[32,32] z) <float t2 = {1}> {")
    found = session(text)
    assert found.needed_inputs(["z"]) == ("t", "a", "b")
    for t in (-1, 1):
        feeds = {"t": np.array(t, np.float32), "a": A / 8, "b": B}
        np.testing.assert_array_equal(found.run(feeds, ["z"])["z"], found.run(feeds)["z"])
