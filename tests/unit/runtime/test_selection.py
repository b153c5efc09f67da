"""Runs for some of the outputs: only what they need is executed and read, and everything else stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import parser

import penstock
from penstock.runtime.errors import RuntimeFailure
from penstock.runtime.session import Session

TEXT = """<ir_version: 8, opset_import: ["" : 18]>
agraph (float[64,64] a, float[64,64] b, int64[2] shape) =>
    (float[64,64] s, float[64,64] p, float[32,128] r, float[64] m) <int64[1] one = {1}>
{
    s = MatMul (a, a)
    t = MatMul (b, b)
    p = MatMul (s, t)
    u = Neg (t)
    r = Reshape (u, shape)
    m = ReduceMax <keepdims = 0> (t, one)
}"""
RNG = np.random.default_rng(0)
A, B = (RNG.standard_normal((64, 64)).astype(np.float32) for _ in range(2))
FEEDS = {"a": A, "b": B, "shape": np.array([32, 128])}


@pytest.fixture(scope="module")
def model() -> Any:
    """Four outputs: ``p`` needs ``s``, ``r`` and ``m`` share a product, ``r`` needs a check of ``shape``."""
    return penstock.compile(parser.parse_model(TEXT).SerializeToString()).load()


@pytest.fixture
def session(model: Any) -> Session:
    """A fresh session."""
    return model.session(threads=1)


@pytest.mark.parametrize("names", [["s"], ["p"], ["r"], ["m"], ["m", "s"], ["r", "p"], ["p", "s", "m", "r"], []])
def test_same_bits_whatever_is_chosen(session: Session, names: list[str]) -> None:
    """Each output alone and together, and all of them before and after."""
    everything = session.run(FEEDS)
    some = session.run(FEEDS, outputs=names)
    assert list(some) == names
    for name in names:
        np.testing.assert_array_equal(some[name], everything[name])
    again = session.run(FEEDS)
    for name, array in everything.items():
        np.testing.assert_array_equal(again[name], array)


def test_only_needed_commands_run(session: Session) -> None:
    """A record per command; the other product and what follows are left out."""
    _, full = session.profile(FEEDS)
    _, part = session.profile({"a": A}, outputs=["s"])
    assert [record.source for record in part] == ["MatMul(s)"]
    assert len(full) > len(session.profile({"b": B}, ["m"])[1]) == 2


def test_inputs_that_are_not_needed_may_be_left_out(session: Session) -> None:
    """They may be given too, but then they must fit."""
    assert session.needed_inputs(["s"]) == ("a",)
    assert session.needed_inputs(["m"]) == ("b",)
    assert session.needed_inputs(["p"]) == ("a", "b")
    assert session.needed_inputs(["r"]) == ("b", "shape")
    np.testing.assert_array_equal(session.run({"b": B}, ["m"])["m"], session.run(FEEDS)["m"])
    session.run(FEEDS, ["m"])
    with pytest.raises(RuntimeFailure, match="PENS-R011: Input b is missing"):
        session.run({"a": A}, ["m"])
    with pytest.raises(RuntimeFailure, match="PENS-R011: Input a is missing; input shape is missing"):
        session.run({"b": B})
    with pytest.raises(RuntimeFailure, match="PENS-R011: Input a has shape"):
        session.run({"b": B, "a": A[:3]}, ["m"])
    with pytest.raises(RuntimeFailure, match="PENS-R011: There is no input called z"):
        session.run({"b": B, "z": A}, ["m"])


def test_checks_belong_to_those_who_rely_on_them(session: Session) -> None:
    """A broken promise ends a run for ``r``, not one for the product behind it."""
    broken = {**FEEDS, "shape": np.array([128, 32])}
    with pytest.raises(RuntimeFailure, match="PENS-R017"):
        session.run(broken, ["r"])
    with pytest.raises(RuntimeFailure, match="PENS-R017"):
        session.run(broken)
    session.run(broken, ["m", "p"])


def test_arrays_given_for_outputs_are_computed_too(session: Session) -> None:
    target = np.empty((64, 64), np.float32)
    result = session.run({"a": A, "b": B}, ["m"], out={"s": target})
    assert list(result) == ["m"]
    np.testing.assert_array_equal(target, session.run(FEEDS)["s"])


def test_errors(session: Session) -> None:
    """Unknown names, closed sessions."""
    with pytest.raises(RuntimeFailure, match="PENS-R012: There is no output called q"):
        session.run(FEEDS, ["q"])
    with pytest.raises(RuntimeFailure, match="PENS-R012"):
        session.needed_inputs(["q"])
    session.run(FEEDS, ["s"])
    session.close()
    for outputs in (["s"], ["m"], None):
        with pytest.raises(RuntimeFailure, match="PENS-R014"):
            session.run(FEEDS, outputs)
    with pytest.raises(RuntimeFailure, match="PENS-R014"):
        session.needed_inputs(["m"])


def test_an_output_that_is_also_an_intermediate() -> None:
    """``s`` is computed in the caller's memory and read from there; chosen or not, ``p`` is right."""
    text = """<ir_version: 8, opset_import: ["" : 18]>
    agraph (float[64,64] a, float[64,64] b) => (float[64,64] s, float[64,64] p, float[3] k) <float[3] v = {1, 2, 3}> {
        s = MatMul (a, a)  p = MatMul (s, b)  k = Identity (v)
    }"""
    session = penstock.compile(parser.parse_model(text).SerializeToString()).load().session(threads=1)
    feeds = {"a": A, "b": B}
    np.testing.assert_array_equal(session.run(feeds, ["p"])["p"], session.run(feeds)["p"])
    assert session.needed_inputs(["k"]) == ()
    np.testing.assert_array_equal(session.run({}, ["k"])["k"], [1, 2, 3])


def test_what_outputs_need_survives_the_file() -> None:
    """Written and read back; more commands than one word of bits holds."""
    nodes = "".join(f"t{i} = MatMul (t{i - 1}, a) " for i in range(1, 90))
    text = f"""<ir_version: 8, opset_import: ["" : 18]>
    agraph (float[4,4] a, float[4,4] t0) => (float[4,4] t3, float[4,4] t70, float[4,4] t89) {{ {nodes} }}"""
    artifact = penstock.compile(parser.parse_model(text).SerializeToString())
    session = artifact.load().session(threads=1)
    x = np.eye(4, dtype=np.float32)[::-1].copy()
    feeds = {"a": x, "t0": np.arange(16, dtype=np.float32).reshape(4, 4)}
    full = session.run(feeds)
    for name, count in (("t3", 3), ("t70", 70), ("t89", 89)):
        result, records = session.profile(feeds, [name])
        assert len(records) == count
        np.testing.assert_array_equal(result[name], full[name])
