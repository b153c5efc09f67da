"""Normalisations and attention against onnxruntime and ONNX's reference evaluator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from unit.graph.building import apply, onnxruntime_node, random, reference_node


def test_normalize_is_layer_normalization():
    x = random(3, 4, 17) * 3 + 5
    expected = onnxruntime_node("LayerNormalization", x, np.ones(17, np.float32), epsilon=1e-3)
    np.testing.assert_allclose(apply("normalize", x, axes=(2,), epsilon=1e-3), expected, rtol=1e-5, atol=1e-5)
    expected = reference_node("RMSNormalization", x, np.ones(17, np.float32), epsilon=1e-3)
    actual = apply("normalize", x, axes=(2,), epsilon=1e-3, center=False)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    image = random(2, 3, 4, 5)
    scale, bias = np.ones(3, np.float32), np.zeros(3, np.float32)
    expected = onnxruntime_node("InstanceNormalization", image, scale, bias)
    np.testing.assert_allclose(apply("normalize", image, axes=(2, 3)), expected, rtol=1e-4, atol=1e-5)


def test_normalize_in_half_precision_computes_in_f32():
    x = np.full((1, 4), 300, np.float16) + np.float16([0, 1, 2, 3])
    actual = apply("normalize", x, axes=(1,), center=False)
    np.testing.assert_allclose(actual, (x / 301.5).astype(np.float16), rtol=2e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax(axis: int):
    x = random(3, 1, 7) * 30
    np.testing.assert_allclose(apply("softmax", x, axis=axis), onnxruntime_node("Softmax", x, axis=axis), rtol=1e-5)
    expected = onnxruntime_node("LogSoftmax", x, axis=axis)
    np.testing.assert_allclose(apply("log_softmax", x, axis=axis), expected, rtol=1e-5, atol=1e-6)


def test_softmax_of_large_numbers_infinities_and_nan():
    x = np.float32([[1e30, 1e30], [-np.inf, 0], [-np.inf, -np.inf], [np.nan, 0], [np.inf, 0]])
    nan = np.nan
    np.testing.assert_array_equal(apply("softmax", x, axis=1), [[0.5, 0.5], [0, 1], [nan, nan], [nan, nan], [nan, nan]])
    assert apply("softmax", np.zeros((2, 0), np.float32), axis=1).shape == (2, 0)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", [None, (5,), (3, 5), (1, 1, 3, 5), (2, 4, 3, 5), (2, 1, 1, 5)])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention(heads: int, mask: Any, causal: int):
    q, k, v = random(2, 4, 3, 8), random(2, heads, 5, 8, seed=1), random(2, heads, 5, 6, seed=2)
    bias = None
    if mask is not None:
        bias = np.where(random(*mask, seed=3) > 0, random(*mask, seed=4), np.float32(-np.inf))
    # The reference evaluator takes the extent of queries from the mask, so it needs one that has it.
    inputs = [q, k, v] if bias is None else [q, k, v, np.broadcast_to(bias, np.broadcast_shapes(bias.shape, (3, 5)))]
    expected = reference_node("Attention", *inputs, is_causal=causal, scale=0.3)
    arrays = [q, k, v] if bias is None else [q, k, v, bias]
    actual = apply("attention", *arrays, scale=0.3, causal=bool(causal))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_attention_softcap_and_past():
    q, k, v = random(1, 2, 3, 8) * 9, random(1, 2, 3, 8, seed=1), random(1, 2, 3, 8, seed=2)
    past = random(1, 2, 4, 8, seed=3), random(1, 2, 4, 8, seed=4)
    expected = reference_node("Attention", q, k, v, None, *past, is_causal=1, softcap=2.0, outputs=3)[0]
    keys, values = np.concatenate([past[0], k], axis=2), np.concatenate([past[1], v], axis=2)
    parameters = {"scale": 1 / math.sqrt(8), "causal": True, "causal_offset": 4, "softcap": 2.0}
    actual = apply("attention", q, keys, values, **parameters)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_attention_that_sees_nothing_is_zero():
    q = random(1, 1, 3, 4)
    actual = apply("attention", q, q, q, scale=0.5, causal=True, causal_offset=-2)
    np.testing.assert_array_equal(actual[:, :, :2], 0)
    np.testing.assert_array_equal(actual[:, :, 2], q[:, :, 0])


def test_attention_in_half_precision():
    q, k, v = (random(1, 2, 5, 16, seed=i, dtype=np.float16) for i in range(3))
    exact = apply("attention", *(x.astype(np.float64) for x in (q, k, v)), scale=0.25)
    np.testing.assert_allclose(apply("attention", q, k, v, scale=0.25), exact.astype(np.float16), rtol=2e-3, atol=1e-4)
