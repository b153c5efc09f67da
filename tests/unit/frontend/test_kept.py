"""Values that are kept as outputs: by their name, by their node's, inside bodies; and what cannot be kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import penstock
from penstock.compiler.errors import OptionError

from .test_control import CHOICE, POWERS, model

TEXT = """agraph (float[4,4] x) => (float[4,4] y) <float half = {0.5}> {
    a = MatMul (x, x)
    b = Relu (a)
    c, d = Split <axis = 0, num_outputs = 2> (b)
    e = Mul (c, half)
    y = Concat <axis = 0> (d, e)
}"""
X = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)


def kept(text: str, *names: str, **feeds: Any) -> dict[str, Any]:
    """All results of a model of which ``names`` are kept."""
    artifact = penstock.compile(model(text).SerializeToString(), keep=names)
    return artifact.load().session(threads=1).run(feeds or {"x": X})


def test_values_and_nodes_by_name() -> None:
    """A value inside a fused kernel, one by its node, both results of a node, and an output that is there already."""
    product = X @ X
    result = kept(TEXT, "a", "Relu(b)", "Split(c)", "y", "MatMul(a)")
    assert list(result) == ["y", "a", "Relu(b)", "c", "d", "MatMul(a)"]
    for name, expected in (("a", product), ("MatMul(a)", product), ("Relu(b)", np.maximum(product, 0))):
        np.testing.assert_allclose(result[name], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result["d"], np.maximum(product, 0)[2:], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result["y"], kept(TEXT)["y"])


def test_a_kept_value_alone_runs_only_what_it_needs() -> None:
    session = penstock.compile(model(TEXT).SerializeToString(), keep=["a"]).load().session(threads=1)
    result, records = session.profile({"x": X}, ["a"])
    np.testing.assert_allclose(result["a"], X @ X, rtol=1e-5, atol=1e-6)
    assert [record.source for record in records] == ["MatMul(a)"]


def test_inside_a_branch() -> None:
    x = np.ones((2, 3), np.float32)
    result = kept(CHOICE, "If(y)/m", "If(y)/Mul(a)", c=np.array(False), x=x)
    np.testing.assert_array_equal(result["If(y)/m"], -x)
    np.testing.assert_array_equal(result["If(y)/Mul(a)"], 2 * x)


def test_refusals() -> None:
    """Unknown names with the nearest one, all at once; every round's value; a list of letters."""
    with pytest.raises(OptionError, match=r"called 'MatMul\(b\)'; did you mean 'MatMul\(a\)'\?, 'zzzz'") as caught:
        kept(TEXT, "MatMul(b)", "zzzz", "a")
    assert caught.value.code == "PENS-O001"
    with pytest.raises(OptionError, match=r"'Loop\(y\)/t' is computed 5 times") as caught:
        kept(POWERS, "Loop(y)/t", x=np.ones(3, np.float32))
    assert caught.value.code == "PENS-O002"
    with pytest.raises(OptionError, match="keep is a list of names, not 'a'"):
        penstock.compile(model(TEXT).SerializeToString(), keep="a")
    sequence = "agraph (float[2] x) => (int64 y) { s = SequenceConstruct (x, x)  y = SequenceLength (s) }"
    with pytest.raises(OptionError, match="'s' is a sequence and cannot be kept"):
        kept(sequence, "s", x=np.ones(2, np.float32))
