"""If, Loop and Scan: what onnxruntime gives, names of nodes inside bodies, and what is refused in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

import penstock
from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import Problem
from penstock.compiler.frontends.onnx import check_model, import_model
from penstock.compiler.frontends.onnx.converters import control
from penstock.compiler.locations import source_names
from penstock.runtime.errors import RuntimeFailure

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    """A model of one graph in ONNX's text syntax."""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')


def agrees(made: onnx.ModelProto, *feeds: Mapping[str, Any]) -> None:
    """Compiled, the model gives what onnxruntime gives, for each of ``feeds``."""
    peer = onnxruntime.InferenceSession(made.SerializeToString())
    session = penstock.compile(made.SerializeToString()).load().session(threads=1)
    names = [output.name for output in made.graph.output]
    for feed in feeds:
        expected: Any = peer.run(None, dict(feed))
        ours, theirs = session.run(feed), dict(zip(names, expected, strict=True))
        for name in names:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def problems(made: onnx.ModelProto) -> list[Problem]:
    """Why the model cannot be compiled."""
    return check_model(made)


# If ------------------------------------------------------------------------------------------------------------------

CHOICE = """agraph (bool c, float[2,3] x) => (float[2,3] y, float[2,3] z) <float k = {2.0}> {
    w = Abs (x)
    y, z = If (c) <
        then_branch = yes () => (float[2,3] a, float[2,3] b) { a = Mul (w, k)  b = Sqrt (x) },
        else_branch = no () => (float[2,3] p, float[2,3] q) <float r = {-1.0}, float k = {2.0}> {
            m = Neg (x)  o = Add (r, k)  p = Add (m, o)  q = Exp (m)
        }
    >
}"""


def test_if_computes_both_branches() -> None:
    """Outer names, an initializer and a node's output that hide outer ones, NaN in the branch not taken."""
    agrees(model(CHOICE), {"c": np.array(True), "x": X}, {"c": np.array(False), "x": X})


def test_a_body_may_hide_names_around_it() -> None:
    """Its own value of that name counts inside, the outer one outside."""
    text = CHOICE.replace("m = Neg (x)  o = Add (r, k)  p = Add (m, o)", "w = Neg (x)  p = Add (w, r)").replace(
        "Exp (m)", "Exp (w)"
    )
    text = text.replace("=> (float[2,3] y,", "=> (float[2,3] w, float[2,3] y,", 1)
    session = penstock.compile(model(text).SerializeToString()).load().session(threads=1)
    result = session.run({"c": np.array(False), "x": X})
    for name, expected in (("w", abs(X)), ("y", -X - 1), ("z", np.exp(-X))):
        np.testing.assert_allclose(result[name], expected, rtol=1e-5)


@pytest.mark.parametrize("negated", [False, True])
def test_if_a_size_is_a_number_is_taken_to_be_not_so(negated: bool) -> None:
    """As torch writes squeeze(0): branches of two ranks. Every run checks the size; --dim gives the other branch."""
    text = """agraph (float[n,3] x) => (y) {
        s = Shape <start = 0, end = 1> (x)  one = Constant <value = int64[1] {1}> ()  e = Equal (s, one)  c = NEGATE (e)
        y = If (c) <
            then_branch = yes () => (a) { axes = Constant <value = int64[1] {0}> ()  a = Squeeze (x, axes) },
            else_branch = no () => (b) { b = Neg (x) }
        >
    }""".replace("NEGATE", "Not" if negated else "Identity")
    if negated:
        text = (
            text.replace("then_branch", "other").replace("else_branch", "then_branch").replace("other", "else_branch")
        )
    agrees(model(text), {"x": X}, {"x": np.ones((5, 3), np.float32)})
    session = penstock.compile(model(text).SerializeToString()).load().session(threads=1)
    with pytest.raises(RuntimeFailure, match="the branch that its sizes take"):
        session.run({"x": X[:1]})
    fixed = penstock.compile(model(text).SerializeToString(), dims={"n": 1}).load().session(threads=1)
    np.testing.assert_array_equal(fixed.run({"x": X[:1]})["y"], X[0])


def test_if_known_is_only_that_branch() -> None:
    """The branch not taken may be anything: another shape, an operator that is not compiled."""
    text = """agraph (float[2,3] x) => (float[3] y) {
        s = Size (x)  n = Constant <value = int64 {6}> ()  c = Equal (s, n)
        y = If (c) <
            then_branch = yes () => (float[3] a) { a = ReduceMax <keepdims = 0> (x, zero) },
            else_branch = no () => (int64[1] b) { b = NoSuchOp (x) }
        >
    }""".replace("=> (float[3] y) {", "=> (float[3] y) <int64[1] zero = {0}> {")
    session = penstock.compile(model(text).SerializeToString()).load().session(threads=1)
    np.testing.assert_array_equal(session.run({"x": X})["y"], X.max(axis=0))


def test_if_nested_and_in_a_loop() -> None:
    text = """agraph (int64 n, float[3] x) => (float[3] y) <bool yes = {1}, int64 four = {4}, int64 two = {2}> {
        y = Loop (four, yes, x) <body = round (int64 i, bool go, float[3] a) => (bool on, float[3] b) {
            on = Identity (go)
            low = Less (i, n)
            b = If (low) <
                then_branch = t () => (float[3] p) {
                    even = Less (i, two)
                    p = If (even) <then_branch = tt () => (float[3] q) { q = Add (a, x) },
                                   else_branch = te () => (float[3] r) { r = Mul (a, x) }>
                },
                else_branch = e () => (float[3] s) { s = Neg (a) }
            >
        }>
    }"""
    x = np.array([1.5, -2, 0.5], np.float32)
    agrees(model(text), *({"n": np.array(n), "x": x} for n in (0, 1, 3, 7)))


def test_checks_count_in_the_branch_taken_only() -> None:
    """A shape fed at run time that is not the declared one ends the run, unless its branch is not taken."""
    text = """agraph (bool c, float[2,3] x, int64[2] shape) => (float[3,2] y) {
        y = If (c) <
            then_branch = yes () => (float[3,2] a) { a = Reshape (x, shape) },
            else_branch = no () => (float[3,2] b) { b = Transpose <perm = [1, 0]> (x) }
        >
    }"""
    session = penstock.compile(model(text).SerializeToString()).load().session(threads=1)
    bad, good = np.array([6, 1]), np.array([3, -1])
    feeds = {"x": X, "c": np.array(False), "shape": bad}
    np.testing.assert_array_equal(session.run(feeds)["y"], X.T)
    np.testing.assert_array_equal(session.run({**feeds, "c": np.array(True), "shape": good})["y"], X.reshape(3, 2))
    with pytest.raises(RuntimeFailure, match=r"PENS-R017: node 'If\(y\)/Reshape\(a\)' \(Reshape\): its shape"):
        session.run({**feeds, "c": np.array(True)})


def test_if_refusals() -> None:
    """Branches that differ, a condition that is none, and faults inside a branch by the path of their node."""
    differ = CHOICE.replace("float[2,3] q) <", "float[3,2] q) <").replace(
        "q = Exp (m)", "t = Exp (m)  q = Transpose (t)"
    )
    (problem,) = problems(model(differ))
    assert problem.code == "PENS-M014"
    assert "give f32[2,3] and f32[3,2]" in problem.reason
    (problem,) = problems(model(CHOICE.replace("k = {2.0}> {\n            m", "k = {3.0}> {\n            m")))
    assert (problem.code, "'k'" in problem.reason) == ("PENS-M012", True)
    (problem,) = problems(model(CHOICE.replace("bool c", "bool[2] c")))
    assert problem.code == "PENS-M009"
    faulty = model(CHOICE.replace("b = Sqrt (x)", "b = NoSuchOp (x)"))
    faulty.graph.node[1].name = "choose"
    (problem,) = problems(faulty)
    assert (problem.code, problem.node) == ("PENS-M005", "choose/NoSuchOp(b)")
    (problem,) = problems(model(CHOICE.replace("Sqrt (x)", "Sqrt (nowhere)")))
    assert (problem.code, problem.node) == ("PENS-M011", "If(y)/Sqrt(b)")


def test_names_inside_bodies() -> None:
    """Ops are located at the path of their node; those of an initializer at its name."""
    ctx = CompilerContext()
    module = import_model(model(CHOICE), ctx)
    names = {name for op in module.walk() for name in source_names(op.location)}
    assert {"Abs(w)", "If(y)", "If(y)/Mul(a)", "If(y)/Neg(m)", "If(y)/Exp(q)", "k"} <= names


# Loop ----------------------------------------------------------------------------------------------------------------

POWERS = """agraph (float[3] x) => (float[3] y, float[5,3] every) <bool yes = {1}, int64 five = {5}> {
    y, every = Loop (five, yes, x) <body = round (int64 i, bool go, float[3] a) => (bool on, float[3] b, float[3] s) {
        on = Identity (go)
        f = Cast <to = 1> (i)
        t = Mul (a, x)
        b = Add (t, f)
        s = Sub (b, a)
    }>
}"""


@pytest.mark.parametrize("trips", [0, 1, 5])
def test_loop_unrolled(trips: int) -> None:
    text = POWERS.replace("five = {5}", f"five = {{{trips}}}").replace("float[5,3]", f"float[{trips},3]")
    agrees(model(text), {"x": np.array([1.5, -2, 0.5], np.float32)})


def test_loop_whose_values_grow() -> None:
    """Shapes may change from round to round where the number of rounds is known."""
    text = """agraph (float[1,2] x) => (float[8,2] y) <bool yes = {1}, int64 three = {3}> {
        y = Loop (three, yes, x) <body = round (int64 i, bool go, float[n,2] a) => (bool on, float[m,2] b) {
            on = Identity (go)
            b = Concat <axis = 0> (a, a)
        }>
    }"""
    agrees(model(text), {"x": np.array([[1, 2]], np.float32)})


def test_loop_that_ends_by_a_known_condition() -> None:
    text = """agraph (float[2] x) => (float[2] y, float[3,2] all) <bool yes = {1}, int64 two = {2}, int64 many = {9}> {
        y, all = Loop (many, yes, x) <body = round (int64 i, bool go, float[2] a) => (bool on, float[2] b, float[2] s) {
            on = Less (i, two)
            b = Add (a, x)
            s = Identity (b)
        }>
    }"""
    agrees(model(text), {"x": np.array([1, 2], np.float32)})


def test_loop_with_early_exit() -> None:
    """Rounds after the exit change nothing."""
    text = """agraph (float[1] x, bool start) => (float[1] y, int64 n)
    <int64 seven = {7}, float[1] top = {20}, int64 z = {0}>
    {
        y, n = Loop (seven, start, x, z)
        <body = round (int64 i, bool go, float[1] a, int64 k) => (bool on, float[1] b, int64 m) <int64 one = {1}> {
            b = Add (a, a)
            low = Less (b, top)
            on = Squeeze (low)
            m = Add (k, one)
        }>
    }"""
    feeds = [{"x": np.array([x], np.float32), "start": np.array(s)} for x in (1, 3, 25, 0.01) for s in (True, False)]
    agrees(model(text), *feeds)


def test_trip_count_fed_is_what_a_scan_output_declares() -> None:
    text = POWERS.replace("(float[3] x)", "(float[3] x, int64 n, bool c)", 1).replace("Loop (five, yes", "Loop (n, c")
    session = penstock.compile(model(text).SerializeToString()).load().session(threads=1)
    feeds = {"x": np.array([1.5, -2, 0.5], np.float32), "n": np.array(5), "c": np.array(True)}
    peer = onnxruntime.InferenceSession(model(text).SerializeToString())
    ours = session.run(feeds)
    expected: Any = peer.run(None, feeds)
    for name, array in zip(("y", "every"), expected, strict=True):
        np.testing.assert_allclose(ours[name], array, rtol=1e-5)
    for wrong in ({"n": np.array(4)}, {"n": np.array(6)}, {"c": np.array(False)}):
        with pytest.raises(RuntimeFailure, match=r"PENS-R017: .* how often it runs is not what"):
            session.run({**feeds, **wrong})


def test_loop_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that change shape where only a run knows how often, or under an uncertain condition; too many ops of a
    loop that cannot stay one."""
    text = """agraph (float[3] x, int64 n, bool c) => (float y) <bool yes = {1}> {
        y = Loop (n, c, x) <body = round (int64 i, bool go, float[a] v) => (bool on, float[b] w) {
            on = Identity (go)
            w = Concat <axis = 0> (v, v)
        }>
    }"""
    (problem,) = problems(model(text))
    assert (problem.code, "it carries f32[3] into a round and f32[6]" in problem.reason) == ("PENS-M014", True)
    (problem,) = problems(model(text.replace("Loop (n,", "Loop (four,").replace("bool yes = {1}", "int64 four = {4}")))
    assert "f32[6] and f32[3]" in problem.reason
    monkeypatch.setattr(control, "WORTH_UNROLLING", 2)
    monkeypatch.setattr(control, "MAX_UNROLLED", 3)
    (problem,) = problems(model(text.replace("Loop (n, c", "Loop (, yes").replace("Identity (go)", "Not (c)")))
    assert "it carries f32[3] into a round and f32[6]" in problem.reason


def test_faults_in_a_body_are_told_once() -> None:
    bad = POWERS.replace("t = Mul (a, x)", "t = MatMul (a, i)")
    (problem,) = problems(model(bad))
    assert problem.node == "Loop(y)/MatMul(t)"


def test_nesting_has_a_limit() -> None:
    """Functions and subgraphs in each other; the reader limits subgraphs alone."""
    body = "a = Neg (x)"
    for depth in range(20):
        other = f"else_branch = e{depth} () => (float[3] b) {{ b = Abs (x) }}"
        body = f"a = If (c) <then_branch = t{depth} () => (float[3] a) {{ {body} }}, {other}>"
    found = problems(model(f"agraph (bool c, float[3] x) => (float[3] a) {{ {body} }}"))
    assert {str(problem.code) for problem in found} >= {"PENS-M003"}


def test_functions_with_subgraphs() -> None:
    """A function's absent input does not make a subgraph's own name absent; its attributes reach into bodies."""
    text = """<ir_version: 8, opset_import: ["" : 18, "d" : 1]>
    agraph (bool c, float[3] x) => (float[3] y) { y = d.pick <factor = 3.0> (c, x) }
    <domain: "d", opset_import: ["" : 18]>
    pick <factor> (c, x, bias) => (y) {
        y = If (c) <
            then_branch = t () => (float[3] p) { bias = Constant <value_float: float = @factor> () p = Mul (x, bias) },
            else_branch = e () => (float[3] q) { q = Neg (x) }
        >
    }"""
    made = parser.parse_model(text)
    session = penstock.compile(made.SerializeToString()).load().session(threads=1)
    x = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(session.run({"c": np.array(True), "x": x})["y"], 3 * x)
    np.testing.assert_array_equal(session.run({"c": np.array(False), "x": x})["y"], -x)


# Scan ----------------------------------------------------------------------------------------------------------------

SCAN = """agraph (float[2] s, float[3,4,2] x, float[4,5] z) => (float[2] e, float[2,4] u, float[4,5] v) {
    e, u, v = Scan <num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [0, 1],
                    scan_output_axes = [-1, 0], scan_output_directions = [1, 0],
        body = round (float[2] a, float[3,2] p, float[5] q) => (float[2] b, float[2] c, float[5] d)
        <int64[1] zero = {0}> {
            t = ReduceSum <keepdims = 0> (p, zero)
            b = Add (a, t)
            c = Mul (b, b)
            d = Neg (q)
        }
    > (s, x, z)
}"""


def test_scan_axes_and_directions() -> None:
    rng = np.random.default_rng(0)
    feeds = {"s": rng.random(2), "x": rng.random((3, 4, 2)), "z": rng.random((4, 5))}
    agrees(model(SCAN), {name: array.astype(np.float32) for name, array in feeds.items()})


@pytest.mark.parametrize("lengths", [None, [3, 1], [1, 2]])
def test_scan_by_batch(lengths: list[int] | None) -> None:
    """Opset 8: a batch axis before all others, and a length for each element of the batch."""
    stored = "" if lengths is None else f"<int64[2] n = {{{lengths[0]}, {lengths[1]}}}>"
    text = f"""agraph (float[2,1] s, float[2,3,1] x) => (float[2,1] e, float[2,3,1] u) {stored} {{
        e, u = Scan <num_scan_inputs = 1, directions = [{0 if lengths else 1}],
            body = round (float[1] a, float[1] p) => (float[1] b, float[1] c) {{
                b = Add (a, p)
                c = Identity (b)
            }}
        > ({"n" if lengths else ""}, s, x)
    }}"""
    x = np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1)
    agrees(model(text, opset=8), {"s": np.array([[10], [20]], np.float32), "x": x})


def test_scan_refusals() -> None:
    (problem,) = problems(model(SCAN.replace("float[4,5] z)", "float[3,5] z)", 1)))
    assert "different numbers of elements to scan" in problem.reason
    (problem,) = problems(model(SCAN.replace("scan_input_axes = [1, 0]", "scan_input_axes = [1]")))
    assert "scan_input_axes are 2 numbers" in problem.reason
    (problem,) = problems(model(SCAN.replace("num_scan_inputs = 2", "num_scan_inputs = 4")))
    assert "num_scan_inputs is 4" in problem.reason
