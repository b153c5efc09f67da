"""Resize against ONNX's reference evaluator."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from unit.graph.building import apply, build, random, reference_node

COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
SIZES = [((5, 7), (10, 14)), ((5, 7), (3, 9)), ((4, 4), (1, 3)), ((1, 6), (3, 6))]


def both(x: Any, sizes: tuple[int, ...], **attributes: Any) -> tuple[Any, Any]:
    scales = tuple(b / a for a, b in zip(x.shape, sizes, strict=True))
    onnx = {"coordinate_transformation_mode": attributes.pop("coordinate_mode", "half_pixel"), **attributes}
    onnx = {name: int(value) if isinstance(value, bool) else value for name, value in onnx.items()}
    expected = reference_node("Resize", x, None, None, np.array(sizes, np.int64), opset=19, **onnx)
    own = {**attributes, "coordinate_mode": onnx["coordinate_transformation_mode"], "scales": scales}
    actual = apply("resize", x, result="x".join(map(str, sizes)) + "xf32", **own)
    return actual, expected


@pytest.mark.parametrize(("extents", "sizes"), SIZES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation(mode: str, coordinates: str, extents: Any, sizes: Any):
    x = random(1, 2, *extents)
    for outside, antialias in itertools.product([False, True], repeat=2):
        more: dict[str, Any] = {"antialias": True} if antialias else {}
        if outside and mode == "cubic":
            more["exclude_outside"] = True
        actual, expected = both(x, (1, 2, *sizes), mode=mode, coordinate_mode=coordinates, **more)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("extents", "sizes"), SIZES)
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest(coordinates: str, rounding: str, extents: Any, sizes: Any):
    x = random(1, 2, *extents)
    actual, expected = both(x, (1, 2, *sizes), mode="nearest", coordinate_mode=coordinates, nearest_mode=rounding)
    np.testing.assert_array_equal(actual, expected)


def test_scales_that_are_no_ratio_of_extents():
    x = random(1, 1, 4, 5)
    scales: Any = np.float32([1, 1, 1.3, 0.7])
    expected = reference_node("Resize", x, None, scales, mode="linear", opset=19)
    own = tuple(float(scale) for scale in scales)
    actual = apply("resize", x, result="1x1x5x3xf32", mode="linear", scales=own)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_taps_say_what_is_read():
    op: Any = build("resize", "4xf32", result="8xf32", mode="linear", scales=(2.0,))
    indices, weights = op.taps(0)
    np.testing.assert_array_equal(indices[:3], [[0, 0], [0, 1], [0, 1]])
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert op.resized_axes() == (0,)


def test_integers_are_copied_by_nearest():
    x = np.arange(4, dtype=np.uint8)
    actual = apply("resize", x, result="8xui8", mode="nearest", scales=(2.0,))
    np.testing.assert_array_equal(actual, np.repeat(x, 2))
