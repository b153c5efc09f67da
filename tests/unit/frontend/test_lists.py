"""Sequences and optionals: what onnxruntime gives where they stay inside the model, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import penstock
from penstock.compiler.frontends.onnx import check_model

from .test_control import agrees, model

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
X_FEED = {"x": X}


def of(body: str, result: str, stored: str = "") -> onnx.ModelProto:
    """A model from ``x`` to ``y``, which has the type ``result``."""
    return model(f"agraph (float[2,3,4] x) => ({result} y) {stored} {{ {body} }}")


@pytest.mark.parametrize("position", ["", "0", "1", "2", "-1", "-2"])
def test_insert_erase_at(position: str) -> None:
    """Positions from both ends, and left out."""
    stored = f"<int64 p = {{{position or 0}}}, int64 one = {{1}}>"
    given = ", p" if position else ""
    body = f"""a = Neg (x)  b = Abs (x)  s = SequenceConstruct (x, a)
        t = SequenceInsert (s, b{given})  u = SequenceErase (t{given})  y = ConcatFromSequence <axis = 1> (t)"""
    agrees(of(body, "float[2,9,4]", stored), X_FEED)
    agrees(of(body.replace("y =", "z =") + "y = SequenceAt (u, one)", "float[2,3,4]", stored), X_FEED)


@pytest.mark.parametrize(
    ("split", "keep", "shape"),
    [("", 1, "[2,1,4]"), ("", 0, "[2,4]"), ("int64 n = {2}", 1, "[2,1,4]"), ("int64[2] n = {1,2}", 1, "[2,2,4]")],
)
def test_split_and_lengths(split: str, keep: int, shape: str) -> None:
    """Single elements with and without their axis, equal parts with a rest, parts of given sizes."""
    attributes, given = f"<axis = 1, keepdims = {keep}>", ", n" if split else ""
    stored = f"<int64 last = {{-1}}{', ' if split else ''}{split}>"
    body = f"s = SplitToSequence {attributes} (x{given})  y = SequenceAt (s, last)"
    agrees(of(body, f"float{shape}", stored), X_FEED)
    agrees(of(body.replace("y = SequenceAt (s, last)", "y = SequenceLength (s)"), "int64", stored), X_FEED)


def test_stacking() -> None:
    body = "a = Neg (x)  s = SequenceConstruct (x, a)  y = ConcatFromSequence <axis = -1, new_axis = 1> (s)"
    agrees(of(body, "float[2,3,4,2]"), X_FEED)


def test_a_loop_that_fills_a_sequence() -> None:
    """As TorchScript writes a list that is appended to."""
    text = """agraph (float[3] x) => (float[4,3] y) <bool yes = {1}, int64 four = {4}> {
        e = SequenceEmpty <dtype = 1> ()
        s = Loop (four, yes, e) <body = round (int64 i, bool go, seq(float[3]) a) => (bool on, seq(float[3]) b) {
            on = Identity (go)
            f = Cast <to = 1> (i)
            t = Mul (x, f)
            b = SequenceInsert (a, t)
        }>
        y = ConcatFromSequence <axis = 0, new_axis = 1> (s)
    }"""
    agrees(model(text), {"x": np.array([1, 2, -3], np.float32)})


def test_map() -> None:
    """Over a sequence, along with another and with a tensor."""
    text = """agraph (float[2,3,4] x, float[4] t) => (float[2,3,4] y, float[2,3,4] z) <int64 p = {1}> {
        a = Neg (x)  s = SequenceConstruct (x, a)  r = SequenceConstruct (a, x)
        u, v = SequenceMap (s, r, t) <body = each (float[2,3,4] i, float[2,3,4] j, float[4] k) =>
                                              (float[2,3,4] m, float[2,3,4] n) {
            m = Mul (i, k)
            o = Add (i, k)  n = Sub (o, j)
        }>
        y = SequenceAt (u, p)
        z = SequenceAt (v, p)
    }"""
    agrees(model(text), {**X_FEED, "t": np.array([1, -2, 0.5, 3], np.float32)})


def test_chosen_by_a_condition() -> None:
    """Both branches give a sequence, or an optional with a value: item by item."""
    text = """agraph (bool c, float[2,3,4] x) => (float[2,3,4] y, bool h) <int64 p = {1}> {
        s, o = If (c) <
            then_branch = t () => (seq(float[2,3,4]) a, optional(float[2,3,4]) d) {
                n = Neg (x)  a = SequenceConstruct (x, n)  d = Optional (n) },
            else_branch = e () => (seq(float[2,3,4]) b, optional(float[2,3,4]) f) {
                m = Abs (x)  b = SequenceConstruct (m, x)  f = Optional (m) }
        >
        i = Identity (s)  q = SequenceAt (i, p)
        h = OptionalHasElement (o)
        w = OptionalGetElement (o)
        y = Add (q, w)
    }"""
    session = penstock.compile(model(text).SerializeToString()).load().session(threads=1)
    for c, expected in ((True, -X - X), (False, X + X)):
        result = session.run({"c": np.array(c), "x": X})
        np.testing.assert_array_equal(result["y"], expected)
        assert result["h"]


def test_empty_optionals() -> None:
    text = """agraph (float[3] x) => (bool a, bool b, bool c) {
        e = Optional <type: type_proto = float[3]> ()
        a = OptionalHasElement (e)
        b = OptionalHasElement ()
        c = OptionalHasElement (x)
    }"""
    result = penstock.compile(model(text).SerializeToString()).load().session().run({"x": np.zeros(3, np.float32)})
    assert [bool(result[name]) for name in "abc"] == [False, False, True]


def problem(made: Any) -> str:
    """The one reason why the model cannot be compiled."""
    (found,) = check_model(made)
    return f"{found.code} {found.reason}"


def test_refusals() -> None:
    """Lists at the interface, positions fed or outside, tensors and lists in each other's place."""
    one = "s = SequenceConstruct (x, x)"
    assert problem(model(f"agraph (float[2] x) => (seq(float[2]) s) {{ {one} }}")) == (
        "PENS-M008 an output of type sequence is not compiled"
    )
    assert "input of type sequence" in problem(
        model("agraph (seq(float[2]) s) => (int64 y) { y = SequenceLength (s) }")
    )
    fed = model(f"agraph (float[2] x, int64 p) => (float[2] y) {{ {one} y = SequenceAt (s, p) }}")
    assert problem(fed).startswith("PENS-M014 its position must be known")
    assert "outside 2 items" in problem(of(f"{one} y = SequenceAt (s, p)", "float[2,3,4]", "<int64 p = {2}>"))
    assert "outside 2 items" in problem(
        of(f"{one} t = SequenceInsert (s, x, p) y = SequenceLength (t)", "int64", "<int64 p = {3}>")
    )
    assert "takes a tensor" in problem(of(f"{one} y = Relu (s)", "float[2,3,4]"))
    assert "takes a sequence" in problem(of("y = SequenceLength (x)", "int64"))
    mixed = of("i = Cast <to = 7> (x) s = SequenceConstruct (x, i) y = SequenceLength (s)", "int64")
    assert "one element type, not f32, i64" in problem(mixed)
    empty = of("e = SequenceEmpty () y = ConcatFromSequence <axis = 0> (e)", "float[2]")
    assert "empty sequence" in problem(empty)
    none = of("e = Optional <type: type_proto = float[3]> () y = OptionalGetElement (e)", "float[3]")
    assert "empty optional" in problem(none)
