"""Sampling, regions and their kin give what ONNX's reference evaluator and onnxruntime give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.frontend.one_node import agree, compiled, expected, model_of

import penstock
from penstock.compiler.errors import ModelError

RNG = np.random.default_rng(12)


def some(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def grid(*shape: int) -> Any:
    return RNG.uniform(-1.4, 1.4, shape).astype(np.float32)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_grid_sample(mode: str, corners: int, padding: str) -> None:
    parameters: dict[str, Any] = {"padding_mode": padding, "align_corners": corners}
    feeds = {"x": some(2, 3, 5, 7), "grid": grid(2, 4, 9, 2)}
    if (mode, padding) != ("cubic", "border"):  # where peers differ we do as PyTorch and onnxruntime do
        agree("GridSample", feeds, mode=mode, opset=22, tolerance=1e-4, **parameters)
    old = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    agree("GridSample", feeds, mode=old, opset=16, tolerance=1e-4, peer="onnxruntime", **parameters)
    if mode != "cubic":
        feeds = {"x": some(1, 2, 3, 4, 5), "grid": grid(1, 2, 3, 4, 3)}
        agree("GridSample", feeds, mode=mode, opset=20, tolerance=1e-4, peer="onnxruntime", **parameters)


def test_grid_sample_of_doubles() -> None:
    feeds = {"x": some(1, 2, 5, 7).astype(np.float64), "grid": grid(1, 4, 9, 2)}
    agree("GridSample", feeds, opset=22, tolerance=1e-4)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 5, 6), (1, 1, 1, 4), (2, 1, 3, 4, 5)])
def test_affine_grid(size: tuple[int, ...], corners: int) -> None:
    spatial = len(size) - 2
    theta = some(size[0], spatial, spatial + 1)
    if corners and 1 in size[2:]:
        pytest.skip("the reference evaluator divides by zero")
    agree("AffineGrid", {"theta": theta}, constants={"size": np.array(size)}, opset=20, align_corners=corners)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("x", "weights", "parameters"),
    [
        ((1, 2, 6, 5), (4, 2, 3, 2), {}),
        ((2, 4, 7, 6), (2, 2, 3, 3), {"group": 2, "offset_group": 2, "pads": [1, 1, 1, 1]}),
        ((1, 3, 8, 9), (5, 3, 2, 3), {"strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 1, 0]}),
    ],
)
def test_deform_conv(x: Any, weights: Any, parameters: dict[str, Any], masked: bool) -> None:
    pads, strides = parameters.get("pads", [0] * 4), parameters.get("strides", [1, 1])
    dilations, offsets = parameters.get("dilations", [1, 1]), parameters.get("offset_group", 1)
    sizes = [
        (x[2 + a] + pads[a] + pads[a + 2] - dilations[a] * (weights[2 + a] - 1) - 1) // strides[a] + 1 for a in (0, 1)
    ]
    taps = weights[2] * weights[3]
    feeds = {"x": some(*x), "w": some(*weights), "o": some(x[0], 2 * offsets * taps, *sizes)}
    if masked:
        feeds |= {"b": some(weights[0]), "m": RNG.random((x[0], offsets * taps, *sizes), np.float32)}
    agree("DeformConv", feeds, opset=22, tolerance=1e-3, **parameters)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("samples", [0, 2])
def test_roi_align(samples: int, coordinates: str, mode: str) -> None:
    low = RNG.uniform(-2, 20, (9, 2))
    boxes = np.concatenate([low, low + RNG.uniform(0, 20, (9, 2))], 1).astype(np.float32)
    feeds = {"x": some(2, 5, 10, 12), "rois": boxes, "batch": RNG.integers(0, 2, 9)}
    size: dict[str, Any] = {"output_height": 3, "output_width": 5, "spatial_scale": 0.5, "sampling_ratio": samples}
    agree("RoiAlign", feeds, mode=mode, coordinate_transformation_mode=coordinates, opset=16, **size)
    if mode == "avg":
        agree("RoiAlign", feeds, mode=mode, opset=10, peer="onnxruntime", **size)


def test_max_roi_pool() -> None:
    low = RNG.uniform(-2, 20, (9, 2))
    boxes = np.concatenate([RNG.integers(0, 2, (9, 1)), low, low + RNG.uniform(0, 20, (9, 2))], 1).astype(np.float32)
    feeds = {"x": some(2, 5, 10, 12), "rois": boxes}
    agree("MaxRoiPool", feeds, pooled_shape=[3, 4], spatial_scale=0.5, opset=1, peer="onnxruntime", tolerance=0)


@pytest.mark.parametrize("extent", [1, 2, 3, 7, 20, 70])
def test_determinants(extent: int) -> None:
    matrices = some(3, 2, extent, extent) / np.float32(np.sqrt(extent))
    matrices[0, 0, :, 0] = 0
    agree("Det", {"x": matrices}, tolerance=1e-4)
    agree("Det", {"x": matrices[1, 1].astype(np.float64)}, tolerance=1e-9)


@pytest.mark.parametrize("shape", [(1, 2, 6), (2, 3, 5, 7), (1, 2, 4, 5, 3)])
def test_unpooling_puts_every_maximum_in_its_place(shape: tuple[int, ...]) -> None:
    spatial = len(shape) - 2
    own = some(*shape[:2], *(extent // 2 for extent in shape[2:]))
    sizes = [2 * extent for extent in own.shape[2:]]
    each = int(np.prod(sizes))
    within = RNG.permuted(np.tile(np.arange(each), (*shape[:2], 1)), axis=-1)[..., : int(np.prod(own.shape[2:]))]
    want = np.zeros((*shape[:2], each), np.float32)
    np.put_along_axis(want, within, own.reshape(within.shape), axis=-1)
    want, within = want.reshape(*shape[:2], *sizes), within.reshape(own.shape)
    planes = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *[1] * spatial)
    feeds = {"x": own, "i": within + planes * each}
    model = model_of("MaxUnpool", feeds, kernel_shape=[2] * spatial, strides=[2] * spatial)
    np.testing.assert_array_equal(compiled(model, feeds)[0], want)


@pytest.mark.parametrize(
    ("image", "block", "parameters"),
    [
        ((5, 6), (2, 3), {}),
        ((7, 8), (3, 2), {"strides": [2, 3], "pads": [1, 0, 1, 2], "dilations": [2, 1]}),
        ((4,), (3,), {"pads": [1, 1]}),
        ((6, 8), (2, 4), {"strides": [2, 4]}),
        ((7, 9), (2, 3), {"strides": [2, 3], "pads": [0, 1, 0, 1]}),
        ((3, 4, 5), (2, 2, 2), {"strides": [1, 2, 1], "pads": [0, 0, 1, 0, 0, 1]}),
    ],
)
def test_images_from_columns(image: Any, block: Any, parameters: dict[str, Any]) -> None:
    spatial = len(image)
    pads = parameters.get("pads", [0] * 2 * spatial)
    strides, dilations = (parameters.get(name, [1] * spatial) for name in ("strides", "dilations"))
    counts = [
        (image[a] + pads[a] + pads[a + spatial] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1
        for a in range(spatial)
    ]
    columns = some(2, 3 * int(np.prod(block)), int(np.prod(counts)))
    constants = {"image": np.array(image), "block": np.array(block)}
    agree("Col2Im", {"x": columns}, constants=constants, opset=18, **parameters)


@pytest.mark.parametrize(
    ("op", "feeds", "parameters", "sentence"),
    [
        ("GridSample", {"x": some(1, 2, 3, 4), "grid": grid(1, 2, 2, 3)}, {}, "does not fit a tensor of shape"),
        ("GridSample", {"x": some(1, 2, 3, 4), "grid": grid(1, 2, 2, 2)}, {"mode": "area"}, "area"),
        (
            "AffineGrid",
            {"theta": some(1, 2, 3)},
            {"constants": {"size": np.array([1, 1, 2, 2, 2])}},
            "do not fit a grid",
        ),
        ("DeformConv", {"x": some(1, 2, 4, 4), "w": some(1, 2, 3, 3), "o": some(1, 9, 2, 2)}, {}, "offsets have shape"),
        (
            "DeformConv",
            {"x": some(1, 3, 4, 4), "w": some(1, 2, 3, 3), "o": some(1, 18, 2, 2)},
            {},
            "do not make 1 groups",
        ),
        (
            "RoiAlign",
            {"x": some(1, 2, 4, 4), "r": some(3, 4), "b": np.zeros(2, np.int64)},
            {},
            "is not one image for each box",
        ),
        ("MaxRoiPool", {"x": some(1, 2, 4, 4), "r": some(3, 4)}, {"pooled_shape": [2, 2]}, "have 5 numbers each"),
        ("Det", {"x": some(2, 3)}, {}, "does not hold square matrices"),
        ("MaxUnpool", {"x": some(1, 1, 2), "i": np.zeros((1, 1, 3), np.int64)}, {"kernel_shape": [2]}, "one index for"),
        (
            "Col2Im",
            {"x": some(1, 4, 5)},
            {"constants": {"i": np.array([3, 3]), "b": np.array([2, 2])}},
            "are not .* blocks of",
        ),
    ],
)
def test_what_does_not_fit_is_refused(op: str, feeds: Any, parameters: Any, sentence: str) -> None:
    model = model_of(op, feeds, **parameters).SerializeToString()
    with pytest.raises(ModelError, match=sentence):
        penstock.compile(model)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    feeds = {"x": some(1, 8, 32, 32), "grid": grid(1, 40, 40, 2)}
    model = model_of("GridSample", feeds, mode="bicubic", opset=16)
    one, two = compiled(model, feeds)[0], compiled(model, feeds, threads=2)[0]
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, expected(model, feeds, "onnxruntime")[0], rtol=1e-3, atol=1e-3)
