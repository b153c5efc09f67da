"""Many slices of one value are places in its memory: nothing is copied, and rounds of unrolled loops share kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import parser

import penstock

RNG = np.random.default_rng(0)


def compiled(text: str) -> tuple[Any, Any]:
    """The artifact of a model of one graph, and onnxruntime's session on it."""
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')
    return penstock.compile(made.SerializeToString()), onnxruntime.InferenceSession(made.SerializeToString())


@pytest.mark.parametrize("backward", [0, 1])
def test_rounds_share_kernels(backward: int) -> None:
    """Twelve rounds of a recurrence written out: a kernel or two for all of them."""
    artifact, peer = compiled(f"""
        agraph (float[1,8] h, float[12,1,8] x, float[8,8] w) => (float[1,8] e, float[12,1,8] y) {{
            e, y = Scan <num_scan_inputs = 1, scan_input_directions = [{backward}],
                body = b (float[1,8] a, float[1,8] p) => (float[1,8] n, float[1,8] o) {{
                    m = MatMul (a, w)  s = Add (m, p)  n = Tanh (s)  o = Identity (n) }}
            > (h, x)
        }}""")
    assert all(count <= 4 for count in artifact.report.kernels.values())
    feeds = {"h": RNG.standard_normal((1, 8)), "x": RNG.standard_normal((12, 1, 8)), "w": RNG.standard_normal((8, 8))}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    ours, theirs = artifact.load().session(threads=1).run(feeds), peer.run(None, feeds)
    np.testing.assert_allclose(ours["e"], theirs[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours["y"], theirs[1], rtol=1e-4, atol=1e-5)


PARTS = ", ".join(f"p{i}" for i in range(9))


@pytest.mark.parametrize(
    ("axis", "shape"),
    [(0, [9, 5]), (0, [27, 3]), (1, [1, 18, 2]), (1, [2, 9, 2]), (2, [3, 1, 9]), (0, [9]), (1, [1, 9, 0])],
)
@pytest.mark.parametrize("source", ["x", "t", "c"])
def test_every_cut_is_right(axis: int, shape: list[int], source: str) -> None:
    """Cut along leading, inner and last axes; of an input, of a computed value, of a constant; returned, and read."""
    kind = f"float[{','.join(map(str, shape))}]"
    part = [extent // 9 if i == axis else extent for i, extent in enumerate(shape)]
    small = f"float[{','.join(map(str, part))}]"
    values = ",".join(str(i / 4) for i in range(int(np.prod(shape))))
    stored = f"<{kind} c = {{{values}}}>" if source == "c" and values else ""
    if source == "c" and not values:
        pytest.skip("nothing is stored")
    artifact, peer = compiled(f"""
        agraph ({kind} x) => ({small} p3, {small} y, float z) {stored} {{
            t = Exp (x)  {PARTS} = Split <axis = {axis}, num_outputs = 9> ({source})
            u = Mul (p1, p8)  w = Sub (u, p4)  y = Add (w, p0)
            v = Sum (p2, p5, p6, p7)  z = ReduceSum <keepdims = 0> (v)
        }}""")
    feeds = {"x": RNG.standard_normal(shape).astype(np.float32)}
    ours = artifact.load().session(threads=1).run(feeds)
    for name, wanted in zip(("p3", "y", "z"), peer.run(None, feeds), strict=True):
        np.testing.assert_allclose(ours[name], wanted, rtol=1e-4, atol=1e-5)
