"""Resize and Upsample give what ONNX's reference evaluator and onnxruntime give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.frontend.one_node import agree, compiled, expected, model_of

import penstock
from penstock.compiler.errors import ModelError

RNG = np.random.default_rng(13)
IMAGE = RNG.standard_normal((1, 2, 6, 7)).astype(np.float32)
SCALES = np.array([1, 1, 1.7, 0.6], np.float32)
SIZES = np.array([1, 2, 4, 11])
REGION = np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 1.1], np.float32)
COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(
    "how",
    [
        {"mode": "linear"},
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "cubic", "antialias": 1},
        {"mode": "nearest", "nearest_mode": "floor"},
        {"mode": "nearest", "nearest_mode": "ceil"},
        {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    ],
)
def test_every_mode(how: dict[str, Any], coordinates: str) -> None:
    parameters = {**how, "coordinate_transformation_mode": coordinates, "opset": 19, "tolerance": 1e-4}
    agree("Resize", {"x": IMAGE}, constants={"roi": None, "scales": SCALES}, **parameters)
    if how["mode"] != "nearest":  # where a rounding error decides, peers differ
        agree("Resize", {"x": IMAGE}, constants={"roi": None, "scales": None, "sizes": SIZES}, **parameters)


@pytest.mark.parametrize("how", [{"mode": "linear"}, {"mode": "cubic"}, {"mode": "linear", "antialias": 1}])
def test_cropped(how: dict[str, Any]) -> None:
    for tail in ({"scales": SCALES}, {"scales": None, "sizes": SIZES}):
        agree(
            "Resize", {"x": IMAGE}, constants={"roi": REGION, **tail}, opset=19, peer="onnxruntime", tolerance=1e-4,
            coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0, **how,
        )  # fmt: skip


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize(("axes", "sizes"), [([2, 3], [9, 3]), ([3, 2], [4, 13]), ([2, 3], [12, 14])])
def test_aspect_ratio(axes: list[int], sizes: list[int], policy: str) -> None:
    agree(
        "Resize", {"x": IMAGE}, constants={"roi": None, "scales": None, "sizes": np.array(sizes)}, opset=19,
        mode="linear", keep_aspect_ratio_policy=policy, axes=axes, tolerance=1e-4,
    )  # fmt: skip


def test_aspect_ratio_of_sizes_that_are_fed() -> None:
    for antialias in (0, 1):
        feeds = {"x": IMAGE, "roi": None, "scales": None, "sizes": np.array([3, 100])}
        agree(
            "Resize", feeds, opset=19, mode="linear", keep_aspect_ratio_policy="not_larger", axes=[2, 3],
            antialias=antialias, shape=[1, 2, 3, 4], tolerance=1e-4,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_integers_are_cut_off(dtype: Any) -> None:
    x = (IMAGE * 20).astype(dtype)
    exact = np.array([1, 1, 2, 0.5], np.float32)
    for scales, most in ((exact, 0), (SCALES, 1)):
        model = model_of("Resize", {"x": x}, constants={"roi": None, "scales": scales}, opset=19, mode="linear")
        ours, theirs = compiled(model, {"x": x})[0], expected(model, {"x": x}, "onnxruntime")[0]
        assert ours.dtype == theirs.dtype
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= most
    cubic = model_of("Resize", {"x": x}, constants={"roi": None, "scales": exact}, opset=19, mode="cubic")
    with pytest.raises(ModelError, match="can leave its range"):
        penstock.compile(cubic.SerializeToString())


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(mode: str) -> None:
    scales = [1.0, 1.0, 2.0, 1.5]
    agree("Upsample", {"x": IMAGE}, opset=7, scales=scales, mode=mode, peer="onnxruntime")
    constants = {"scales": np.array(scales, np.float32)}
    agree("Upsample", {"x": IMAGE}, opset=9, constants=constants, mode=mode, peer="onnxruntime")
    agree("Resize", {"x": IMAGE}, opset=10, constants=constants, mode=mode, peer="onnxruntime")


def test_volumes() -> None:
    volume = RNG.standard_normal((1, 1, 3, 4, 5)).astype(np.float32)
    scales = np.array([1, 1, 2, 1.5, 0.5], np.float32)
    agree("Resize", {"x": volume}, constants={"roi": None, "scales": scales}, opset=19, mode="linear")
