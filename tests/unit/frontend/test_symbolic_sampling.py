"""Sampling, regions, crops and products over symbolic sizes: compiled once, run natively, beside onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from unit.frontend.dynamic import I64, Feeds, floats, i64, model, node, value

import penstock
from penstock.compiler.backends.cpu.target import host_isa


def compare(candidate: Any, *runs: Feeds, evaluator: bool = False) -> None:
    """Compile once and run each of ``runs``, beside onnxruntime or ONNX's evaluator."""
    text = candidate.SerializeToString()
    session = penstock.compile(text, target=f"cpu:{host_isa()}").load().session(threads=1)
    oracle = ReferenceEvaluator(candidate) if evaluator else onnxruntime.InferenceSession(text)
    for feeds in runs:
        found: Any = oracle.run(None, dict(feeds))
        (want,), (got,) = found, session.run(dict(feeds)).values()
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    made = model(
        [node("GridSample", "x grid", "y", mode=mode, padding_mode=padding, align_corners=corners)],
        [value("x", ["n", "c", "h", "w"]), value("grid", ["n", "p", "q", 2])],
        [value("y", None)],
    )
    compare(*[made, *({"x": floats(n, 2, h, w), "grid": floats(n, 5, h, 2)} for n, h, w in ((1, 4, 5), (2, 1, 7)))])


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_roi_align(kind: str) -> None:
    made = model(
        [node("RoiAlign", "x boxes image", "y", mode=kind, output_height=2, output_width=3, spatial_scale=0.5)],
        [value("x", ["n", "c", "h", "w"]), value("boxes", ["k", 4]), value("image", ["k"], I64)],
        [value("y", None)],
    )
    boxes = np.array([[0, 0, 6, 9], [3, 1, 11, 14], [2, 2, 5, 5]], np.float32)
    compare(
        *[made, {"x": floats(1, 1, 8, 9), "boxes": boxes[:1], "image": i64(0)}],
        *[{"x": floats(2, 9, 5, 13), "boxes": boxes, "image": i64(0, 1, 1)}],
    )


def test_max_roi_pool() -> None:
    made = model(
        [node("MaxRoiPool", "x boxes", "y", pooled_shape=[2, 2])],
        [value("x", ["n", "c", "h", "w"]), value("boxes", ["k", 5])],
        [value("y", None)],
    )
    boxes = np.array([[0, 0, 0, 3, 4], [0, 1, 1, 2, 6]], np.float32)
    compare(made, {"x": floats(1, 3, 8, 9), "boxes": boxes}, {"x": floats(2, 1, 5, 7), "boxes": boxes[:1]})


@pytest.mark.parametrize("corners", [0, 1])
def test_affine_grid(corners: int) -> None:
    made = model(
        [node("Shape", "x", "s"), node("AffineGrid", "theta s", "y", align_corners=corners)],
        [value("x", ["n", "c", "h", "w"]), value("theta", ["n", 2, 3])],
        [value("y", None)],
        opset=20,
    )
    compare(
        *[made, *({"x": floats(n, 1, h, w), "theta": floats(n, 2, 3)} for n, h, w in ((1, 4, 5), (3, 7, 2)))],
        evaluator=True,
    )


def test_deform_conv() -> None:
    made = model(
        [node("DeformConv", "x w offset", "y", kernel_shape=[2, 2], pads=[1, 0, 0, 1], strides=[1, 2])],
        [value("x", ["n", 3, "h", "w"]), value("offset", ["n", 8, "p", "q"])],
        [value("y", None)],
        opset=19,
        w=floats(4, 3, 2, 2),
    )
    runs = [
        {"x": floats(n, 3, h, w), "offset": floats(n, 8, h, (w - 1) // 2 + 1)} for n, h, w in ((1, 4, 6), (2, 5, 9))
    ]
    compare(made, *runs, evaluator=True)


def test_center_crop_pad() -> None:
    """Extents that are cut, kept and padded by one artifact."""
    made = model(
        [node("CenterCropPad", "x shape", "y", axes=[0, 2])],
        [value("x", ["h", 2, "w"])],
        [value("y", None)],
        shape=i64(6, 5),
    )
    runs: Sequence[Feeds] = [{"x": floats(h, 2, w)} for h, w in ((9, 4), (6, 5), (1, 12), (3, 3))]
    compare(made, *runs, evaluator=True)


def test_power_of_one_number() -> None:
    """The exponent is one number beside whole vectors."""
    made = model([node("Pow", "x p", "y")], [value("x", ["a", "b"]), value("p", [])], [value("y", None)])
    compare(made, *({"x": np.abs(floats(a, b)), "p": np.array(2.5, np.float32)} for a, b in ((2, 3), (5, 33))))


def test_attention_of_symbolic_widths() -> None:
    """Nothing is read or written beyond the widths of queries and values, which no tile divides."""
    nodes = [
        node("Transpose", "k", "t", perm=[0, 1, 3, 2]),
        node("MatMul", "q t", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights v", "y"),
    ]
    inputs = [value("q", ["b", 2, "s", "d"]), value("k", ["b", 2, "t", "d"]), value("v", ["b", 2, "t", "e"])]
    runs = [
        {"q": floats(1, 2, s, d), "k": floats(1, 2, t, d), "v": floats(1, 2, t, e)}
        for s, t, d, e in ((4, 6, 8, 8), (5, 7, 9, 33), (3, 70, 33, 5))
    ]
    compare(model(nodes, inputs, [value("y", None)]), *runs)


def test_convolution_of_symbolic_channels() -> None:
    made = model(
        [node("Conv", "x w", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        [value("x", ["n", "c", "h", "w"]), value("w", ["o", "c", 3, 3])],
        [value("y", None)],
    )
    compare(made, *({"x": floats(1, c, 5, 6), "w": floats(o, c, 3, 3)} for c, o in ((2, 3), (5, 17), (16, 65))))
