"""A size that must be a multiple of a number: read from the shape it stands in, and refused where it is none."""

from __future__ import annotations

import numpy as np
import pytest
from unit.frontend.dynamic import expected, floats, model, node, value

import penstock


def test_a_multiple_tells_its_size() -> None:
    made = model(
        [node("Reshape", "x t", "r"), node("Add", "r r", "y")],
        [value("x", ["n", "h"])],
        [value("y", None)],
        t=np.array([0, -1, 4]),
    )
    loaded = penstock.compile(made, target="cpu:x86-64-v3").load()
    assert [tensor.shape for tensor in loaded.inputs] == [("n", "4*(h floordiv 4)")]
    with loaded.session(threads=1) as session:
        for n, h in ((1, 8), (5, 12), (5, 4)):
            feeds = {"x": floats(n, h)}
            np.testing.assert_array_equal(session.run(feeds)["y"], expected(made, feeds)["y"])
            assert session.sizes == {"n": n, "h": h}
        for h, words in ((6, r"has 6 along axis 1 and needs 4\*\(h floordiv 4\) = 4"), (2, "h is 4 to")):
            with pytest.raises(penstock.PenstockError, match=words):
                session.run({"x": floats(1, h)})
