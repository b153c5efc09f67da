"""Loops that run as often as a run says, beside onnxruntime: trip counts fed, conditions computed, rows in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

import penstock
from penstock.compiler.context import CompilerContext
from penstock.compiler.frontends.onnx import check_model, import_model
from penstock.compiler.frontends.onnx.converters import control
from penstock.compiler.interpreter import run_module
from penstock.runtime.errors import RuntimeFailure

R = np.random.default_rng(7)
H = R.standard_normal((2, 4)).astype(np.float32)
W = (R.standard_normal((4, 4)) / 2).astype(np.float32)


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    """A model of one graph in ONNX's text syntax."""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')


def agrees(made: onnx.ModelProto, *feeds: Mapping[str, Any], loops: int = 1, **options: Any) -> None:
    """Compiled, the model has ``loops`` loops and gives what onnxruntime gives for each of ``feeds``, with one thread
    and, the same bits, with three; so does the reference interpreter."""
    peer = onnxruntime.InferenceSession(made.SerializeToString())
    compiled = penstock.compile(made.SerializeToString(), **options)
    one, three = (compiled.load().session(threads=threads) for threads in (1, 3))
    ctx = CompilerContext()
    module = import_model(made, ctx)
    assert sum(op.name == "graph.loop" for op in module.walk()) == loops
    names = [output.name for output in made.graph.output]
    for feed in feeds:
        expected = dict(zip(names, peer.run(None, dict(feed)), strict=True))
        ours, again, reference = one.run(feed), three.run(feed), run_module(module, ctx, feed)
        for name in names:
            theirs: Any = expected[name]
            assert ours[name].shape == theirs.shape
            np.testing.assert_allclose(ours[name], theirs, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(again[name], ours[name])
            np.testing.assert_allclose(reference[name], theirs, rtol=1e-4, atol=1e-5)


FED = """agraph (int64 n, float[2,4] h) => (float[2,4] last, float[m,2,4] every)
    <bool yes = {1}> {
    last, every = Loop (n, yes, h) <body = round (int64 i, bool go, float[2,4] s)
        => (bool on, float[2,4] t, float[2,4] r) {
        on = Identity (go)  p = MatMul (s, w)  t = Tanh (p)  f = Cast <to = 1> (i)  r = Add (t, f)
    }>
}"""


def fed() -> onnx.ModelProto:
    """A recurrence whose trip count is fed, with every state as an output."""
    made = model(FED)
    made.graph.initializer.append(numpy_helper.from_array(W, "w"))
    return made


def test_trip_counts_that_are_fed() -> None:
    feeds = [{"n": np.array(count), "h": H} for count in (0, 1, 7, 1000, 2, -3)]
    agrees(fed(), *feeds)


def test_more_rounds_than_there_is_room_for() -> None:
    session = penstock.compile(fed().SerializeToString()).load().session(threads=1)
    with pytest.raises(RuntimeFailure, match="65536"):
        session.run({"n": np.array(65537), "h": H})
    assert session.run({"n": np.array(3), "h": H})["every"].shape == (3, 2, 4)


WHILE = """agraph (float[4] x, float limit, bool begin) => (float[4] y, int64 rounds)
    <int64 zero = {0}, int64 one = {1}> {
    y, rounds = Loop (, begin, x, zero) <body = round (int64 i, bool go, float[4] v, int64 c)
        => (bool on, float[4] w, int64 d) {
        w = Add (v, v)  d = Add (c, one)  total = ReduceSum <keepdims = 0> (w)  on = Less (total, limit)
    }>
}"""


def test_a_condition_that_the_body_computes() -> None:
    x = np.ones(4, np.float32)
    feeds = [
        {"x": x, "limit": np.array(limit, np.float32), "begin": np.array(begin)}
        for limit, begin in ((100, True), (5, True), (1e9, True), (100, False), (1e30, True))
    ]
    agrees(model(WHILE), *feeds)


def test_a_loop_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.compiler.frontends.onnx.converters.rolled.MOST_ROUNDS", 1000)
    session = penstock.compile(model(WHILE).SerializeToString()).load().session(threads=1)
    x = np.zeros(4, np.float32)
    with pytest.raises(RuntimeFailure, match="has run 1000 times and would go on"):
        session.run({"x": x, "limit": np.array(1, np.float32), "begin": np.array(True)})


SCAN = """agraph (float[2,4] h, float[2,LENGTH,4] x, float[LENGTH,2,4] z)
    => (float[2,4] y, float[2,LENGTH,4] a, float[LENGTH,2] b) {
    y, a, b = Scan <num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [1, 0],
        scan_output_axes = [1, 0], scan_output_directions = [0, 1],
        body = round (float[2,4] s, float[2,4] u, float[2,4] v) => (float[2,4] t, float[2,4] p, float[2] q) {
            m = MatMul (s, w)  k = Add (m, u)  t = Tanh (k)  p = Mul (t, v)  q = ReduceSum <keepdims = 0> (p, ax)
        }> (h, x, z)
}"""


def scan(length: str) -> onnx.ModelProto:
    made = model(SCAN.replace("LENGTH", length))
    made.graph.initializer.append(numpy_helper.from_array(W, "w"))
    made.graph.initializer.append(numpy_helper.from_array(np.array([1]), "ax"))
    return made


def rows(length: int) -> dict[str, Any]:
    x, z = (R.standard_normal(shape).astype(np.float32) for shape in ((2, length, 4), (length, 2, 4)))
    return {"h": H, "x": x, "z": z}


def test_a_scan_over_many_steps() -> None:
    agrees(scan("10000"), rows(10000))


def test_a_scan_of_any_length() -> None:
    agrees(scan("n"), rows(1), rows(7), rows(1000), rows(3))


NESTED = """agraph (int64 n, int64 m, float[3] x) => (float[3] y, float[k,3] ys) <bool yes = {1}, float one = {1.0}> {
    y, ys = Loop (n, yes, x) <body = outer (int64 i, bool go, float[3] s) => (bool on, float[3] t, float[3] r) {
        on = Identity (go)  j = Add (m, i)  f = Cast <to = 1> (i)
        t = Loop (j, yes, s) <body = inner (int64 l, bool more, float[3] u) => (bool still, float[3] v) {
            q = Cast <to = 1> (l)  a = Add (u, q)  b = Add (a, f)  c = Mul (b, x)  v = Sin (c)
            big = ReduceMax <keepdims = 0> (v)  still = Less (big, one)
        }>
        r = Add (t, x)
    }>
}"""


def test_loops_in_loops() -> None:
    x = np.array([0.5, -0.25, 1.0], np.float32)
    feeds = [{"n": np.array(n), "m": np.array(m), "x": x} for n, m in ((0, 3), (1, 1), (5, 0), (7, 9))]
    agrees(model(NESTED), *feeds, loops=2)


CHOOSING = """agraph (int64 n, float[3] x, bool c) => (float[3] y) <bool yes = {1}, int64 two = {2}, int64 zero = {0}> {
    y = If (c) <then_branch = yes_ () => (float[3] a) {
        a = Loop (n, yes, x) <body = round (int64 i, bool go, float[3] s) => (bool on, float[3] t) {
            on = Identity (go)  odd = Mod (i, two)  even = Equal (odd, zero)
            t = If (even) <then_branch = p () => (float[3] k) { k = Add (s, x) },
                           else_branch = q () => (float[3] l) { o = Exp (s)  l = Softmax (o) }>
        }>
    }, else_branch = no_ () => (float[3] b) { b = Neg (x) }>
}"""


def test_if_around_and_inside() -> None:
    x = np.array([0.5, -0.25, 1.0], np.float32)
    feeds = [{"n": np.array(n), "x": x, "c": np.array(c)} for n, c in ((0, True), (5, True), (5, False), (6, True))]
    agrees(model(CHOOSING), *feeds)


SWAPPED = """agraph (int64 n, float[3] x, float[3] z) => (float[3] a, float[3] b, float[3] c, float[k,3] d)
    <bool yes = {1}> {
    a, b, c, d = Loop (n, yes, x, z, x) <body = round (int64 i, bool go, float[3] p, float[3] q, float[3] r)
        => (bool on, float[3] s, float[3] t, float[3] u, float[3] v) {
        on = Identity (go)  s = Identity (q)  t = Identity (p)  u = Identity (r)  v = Identity (p)
    }>
}"""


def test_values_that_are_only_handed_on() -> None:
    x, z = (R.standard_normal(3).astype(np.float32) for _ in range(2))
    agrees(model(SWAPPED), *({"n": np.array(n), "x": x, "z": z} for n in (0, 1, 4)))


GROWING = """agraph (int64 n, float[2,3] x, float[2,1] z) => (float[2,k] y) <bool yes = {1}> {
    y, last = Loop (n, yes, x, z) <body = round (int64 i, bool go, float[2,a] s, float[2,1] u)
        => (bool on, float[2,b] t, float[2,1] v) {
        on = Identity (go)  v = Sin (u)  t = Concat <axis = 1> (s, v)
    }>
}"""


def test_a_value_that_grows_by_what_is_appended() -> None:
    x, z = (R.standard_normal(shape).astype(np.float32) for shape in ((2, 3), (2, 1)))
    agrees(model(GROWING), *({"n": np.array(n), "x": x, "z": z} for n in (0, 1, 4)))


def test_what_cannot_be_the_same_in_every_round() -> None:
    grows = model(GROWING.replace("Concat <axis = 1> (s, v)", "Concat <axis = 1> (v, s)"))
    (problem,) = check_model(grows)
    assert problem.code == "PENS-M014"
    assert "it carries f32[2,3] into a round and f32[2,4] out of it" in problem.reason


def test_only_the_outputs_that_are_asked_for() -> None:
    session = penstock.compile(fed().SerializeToString()).load().session(threads=1)
    whole = session.run({"n": np.array(9), "h": H})
    for name in ("last", "every"):
        part = session.run({"n": np.array(9), "h": H}, outputs=[name])
        assert list(part) == [name]
        np.testing.assert_array_equal(part[name], whole[name])


def test_rounds_that_the_model_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "WORTH_UNROLLING", 0)
    made = fed()
    made.graph.output[1].type.tensor_type.shape.dim[0].dim_value = 5
    session = penstock.compile(made.SerializeToString()).load().session(threads=1)
    every = session.run({"n": np.array(5), "h": H})["every"]
    np.testing.assert_allclose(every[0], np.tanh(H @ W), rtol=1e-5)
    for wrong in (4, 6):
        with pytest.raises(RuntimeFailure, match=r"how often it runs is not what|runs more than 5 times"):
            session.run({"n": np.array(wrong), "h": H})


def test_random_numbers_are_those_of_unrolled_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model("""agraph (float[3] x) => (float[3] y, float[4,3] every) <int64 four = {4}, bool yes = {1}> {
        y, every = Loop (four, yes, x) <body = round (int64 i, bool go, float[3] s)
            => (bool on, float[3] t, float[3] r) {
            on = Identity (go)  r = RandomUniform <shape = [3]> ()  t = Add (s, r)
        }>
    }""")
    x = np.zeros(3, np.float32)
    unrolled = penstock.compile(made.SerializeToString()).load().session(threads=1).run({"x": x})
    monkeypatch.setattr(control, "WORTH_UNROLLING", 0)
    rolled = penstock.compile(made.SerializeToString()).load().session(threads=1).run({"x": x})
    np.testing.assert_array_equal(rolled["every"], unrolled["every"])
    assert len(np.unique(rolled["every"])) == 12


def test_a_body_that_counts_is_refused() -> None:
    made = model("""agraph (int64 n, float[3] x) => (float[3] y) <bool yes = {1}> {
        y = Loop (n, yes, x) <body = round (int64 i, bool go, float[3] s) => (bool on, float[3] t) {
            on = Identity (go)  at = NonZero (s)  c = Cast <to = 1> (at)  m = ReduceSum (c)  q = Reshape (m, one)
            t = Add (s, q)
        }>
    }""")
    made.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    (problem,) = check_model(made)
    assert problem.code == "PENS-M014"
    assert "its body gives results as long as their data says" in problem.reason


def test_a_profile_adds_up_the_rounds() -> None:
    session = penstock.compile(fed().SerializeToString()).load().session(threads=1)
    few, many, none = (session.profile({"n": np.array(n), "h": H})[1] for n in (2, 20, 0))
    assert len(few) == len(many) == len(none)
    pairs = [(a.flops, b.flops, c.flops) for a, b, c in zip(few, many, none, strict=True) if a.kernel and a.flops]
    assert pairs
    assert all(10 * a == b and c == 0 for a, b, c in pairs)
