"""Shape and index ops against numpy and ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.graph.building import apply, onnxruntime_node, random


def test_reshape_transpose_expand():
    x = random(2, 3, 4)
    np.testing.assert_array_equal(apply("reshape", x, result="4x6xf32"), x.reshape(4, 6))
    np.testing.assert_array_equal(apply("transpose", x, permutation=(2, 0, 1)), x.transpose(2, 0, 1))
    np.testing.assert_array_equal(
        apply("expand", x[:, :1], result="5x2x7x4xf32"), np.broadcast_to(x[:, :1], (5, 2, 7, 4))
    )
    np.testing.assert_array_equal(apply("expand", np.int64(3), result="0x2xi64"), np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("starts", "steps", "sizes", "expected"),
    [
        ((1, 0), (1, 1), (2, 6), np.s_[1:3, :]),
        ((4, 5), (-1, -2), (5, 3), np.s_[::-1, ::-2]),
        ((0, 1), (3, 4), (2, 2), np.s_[::3, 1::4]),
        ((2, 2), (1, 1), (0, 1), np.s_[2:2, 2:3]),
        ((0, 0), (-1, -7), (1, 1), np.s_[:1, :1]),
    ],
)
def test_slice(starts: Any, steps: Any, sizes: Any, expected: Any):
    x = random(5, 6)
    actual = apply("slice", x, result=f"{sizes[0]}x{sizes[1]}xf32", starts=starts, steps=steps)
    np.testing.assert_array_equal(actual, x[expected])


def test_concat():
    a, b, c = random(2, 3), random(2, 0, seed=1), random(2, 5, seed=2)
    np.testing.assert_array_equal(apply("concat", a, b, c, axis=1), np.concatenate([a, b, c], axis=1))


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_pad_modes(mode: Any):
    x = random(4, 5)
    actual = apply("pad", x, low=(2, 0), high=(1, 3), mode=mode)
    np.testing.assert_array_equal(actual, np.pad(x, [(2, 1), (0, 3)], mode=mode))


def test_pad_with_a_value():
    x = np.arange(6).reshape(2, 3)
    actual = apply("pad", x, np.array([7]), low=(1, 0), high=(0, 2))
    np.testing.assert_array_equal(actual, np.pad(x, [(1, 0), (0, 2)], constant_values=7))
    empty = apply("pad", np.zeros((0, 2), np.float32), np.float32(1), low=(1, 1), high=(0, 0))
    np.testing.assert_array_equal(empty, np.ones((1, 3)))


def test_iota():
    np.testing.assert_array_equal(apply("iota", result="2x3xi64", axis=1), [[0, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(apply("iota", result="2x3xf16"), [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_gather(axis: int, kind: Any):
    x = random(3, 4, 5)
    for indices in (np.array(-1), np.array([[0, 2], [-3, 1]]), np.zeros((0, 2))):
        expected = np.take(x, indices.astype(int), axis=axis)
        np.testing.assert_array_equal(apply("gather", x, indices.astype(kind), axis=axis), expected)


def test_indices_outside_are_clamped():
    x = np.arange(5.0)
    np.testing.assert_array_equal(apply("gather", x, np.int64([7, -9, 5, -5])), [4, 0, 4, 0])
    np.testing.assert_array_equal(apply("gather_elements", x, np.int64([7, -9]), axis=0), [4, 0])
    np.testing.assert_array_equal(apply("gather_nd", x, np.int64([[7], [-9]])), [4, 0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_elements(axis: int):
    x = random(3, 4, 5)
    shape = [2, 3, 4]
    shape[axis] = 7
    indices = np.random.default_rng(1).integers(-x.shape[axis], x.shape[axis], shape)
    expected = onnxruntime_node("GatherElements", x, indices, axis=axis)
    np.testing.assert_array_equal(apply("gather_elements", x, indices, axis=axis), expected)


@pytest.mark.parametrize(
    ("shape", "indices", "batch_dims"),
    [
        ((3, 4, 5), (2, 3), 0),
        ((3, 4, 5), (6, 1, 2), 0),
        ((3, 4, 5), (3, 2), 1),
        ((2, 3, 4, 5), (2, 7, 2), 1),
        ((2, 3, 4, 5), (2, 3, 6, 1), 2),
        ((3, 4), (2, 0), 0),
    ],
)
def test_gather_nd(shape: Any, indices: Any, batch_dims: int):
    x = random(*shape)
    limits = x.shape[batch_dims : batch_dims + indices[-1]]
    numbers = np.stack(
        [np.random.default_rng(i).integers(-n, n, indices[:-1]) for i, n in enumerate(limits)]
        or [np.zeros((*indices[:-1], 0), np.int64)],
        axis=-1 if limits else 0,
    ).reshape(indices)
    actual = apply("gather_nd", x, numbers, batch_dims=batch_dims)
    expected = np.empty(actual.shape, x.dtype)
    for place in np.ndindex(*indices[:-1]):
        expected[place] = x[(*place[:batch_dims], *numbers[place])]
    np.testing.assert_array_equal(actual, expected)
