"""Attention of the domain com.microsoft gives onnxruntime's results, in its packings, masks and caches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from unit.frontend.test_microsoft import agree, model_of, some

import penstock
from penstock.compiler.frontends.onnx import check_model

F = TensorProto.FLOAT
B, S, L, H, D = 2, 5, 7, 3, 8  # batch, queries, keys, heads, width of a head
CACHED = {"y": F, "pk": F, "pv": F}


def mask_of(kind: str, queries: int, keys: int, *, lengths: tuple[int, ...] = (5, 3)) -> Any:
    """Masks that hide some keys of each row, in each of the shapes there are."""
    row = np.arange(keys)
    per_key = (row < np.array(lengths)[:, None]).astype(np.int32)
    return {
        "length": np.int32(lengths),
        "range": np.int32([*lengths, 1, 0]),
        "key": per_key,
        "query": np.repeat(per_key[:, None], queries, axis=1) * (np.arange(queries)[:, None] + row < keys),
    }[kind].astype(np.int32)


@pytest.mark.parametrize("kind", ["length", "key", "query"])
@pytest.mark.parametrize("biased", [False, True])
def test_multi_head(kind: str, biased: bool) -> None:
    """Cross attention, values of another width."""
    feeds = {"q": some(B, S, H * D), "k": some(B, L, H * D), "v": some(B, L, H * 4)}
    feeds |= {"b" if biased else "-b": some(H * (2 * D + 4)), "m": mask_of(kind, S, L)}
    feeds |= {"bias" if biased else "-bias": some(1, H, S, L)}
    agree("MultiHeadAttention", feeds, num_heads=H)


@pytest.mark.parametrize("kept", [0, 1])
def test_multi_head_packed(kept: int) -> None:
    """As the same operands apart, which is what onnxruntime runs on CPUs."""
    apart = {name: some(B, S, H * D) for name in "qkv"}
    packed = np.stack([apart[name].reshape(B, S, H, D) for name in "qkv"[kept:]], axis=3)
    feeds = {name: apart[name] for name in "qkv"[:kept]} | {"packed": packed}
    expected: Any = onnxruntime.InferenceSession(
        model_of("MultiHeadAttention", apart, {"y": F}, num_heads=H, scale=0.2)
    ).run(None, apart)
    model = model_of("MultiHeadAttention", feeds, {"y": F}, num_heads=H, scale=0.2)
    found = penstock.compile(model).load().session(threads=1).run(feeds)["y"]
    np.testing.assert_allclose(found, expected[0], rtol=1e-5, atol=1e-5)


def test_multi_head_with_keys_by_head() -> None:
    feeds = {"q": some(B, S, H * D), "k": some(B, H, L, D), "v": some(B, H, L, D)}
    agree("MultiHeadAttention", feeds, num_heads=H)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("past", [0, 4])
def test_multi_head_cache(past: int, causal: int) -> None:
    feeds = {name: some(B, S, H * D) for name in "qkv"} | {"-b": None, "-m": None, "-bias": None}
    feeds |= {"p": some(B, H, past, D), "r": some(B, H, past, D)}
    agree("MultiHeadAttention", feeds, CACHED, num_heads=H, unidirectional=causal)


@pytest.mark.parametrize("kind", ["", "length", "range", "key", "query"])
@pytest.mark.parametrize("causal", [0, 1])
def test_packed(kind: str, causal: int) -> None:
    feeds = {"x": some(B, S, 11), "w": some(11, 3 * H * D), "b": some(3 * H * D)}
    if kind:
        feeds["m"] = mask_of(kind, S, S, lengths=(4, 3))
    agree("Attention", feeds, num_heads=H, unidirectional=causal)


def test_packed_with_other_widths_bias_and_cache() -> None:
    sizes = [H * D, H * D, H * 4]
    feeds = {"x": some(B, S, 11), "w": some(11, sum(sizes)), "b": some(sum(sizes)), "-m": None, "-p": None}
    agree("Attention", feeds | {"bias": some(1, H, S, S)}, num_heads=H, qkv_hidden_sizes=sizes)
    feeds = {"x": some(B, S, 11), "w": some(11, 3 * H * D), "b": some(3 * H * D)}
    feeds |= {"m": mask_of("key", S, S + 4, lengths=(9, 6)), "p": some(2, B, H, 4, D)}
    agree("Attention", feeds, {"y": F, "present": F}, num_heads=H, unidirectional=1)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("four", [False, True])
@pytest.mark.parametrize("rotated", [0, 4])
def test_rotary(rotated: int, four: bool, interleaved: int) -> None:
    angles = np.random.default_rng(0).random((20, (rotated or D) // 2)).astype(np.float32)
    for positions in (np.int64([3]), np.random.default_rng(1).integers(0, 20, (B, S))):
        x = some(B, H, S, D) if four else some(B, S, H * D)
        feeds = {"x": x, "p": positions, "cos": np.cos(angles), "sin": np.sin(angles)}
        more = {"num_heads": H, "rotary_embedding_dim": rotated} if rotated else {}
        agree("RotaryEmbedding", feeds, interleaved=interleaved, **more)


def test_refusals() -> None:
    """Each in a sentence: caches in one buffer, odd masks, widths that make no heads."""
    feeds: dict[str, Any] = {name: some(B, S, H * D) for name in "qkv"}
    for op, given, more, code in (
        ("MultiHeadAttention", feeds, {"num_heads": 7}, "PENS-M009"),
        (
            "MultiHeadAttention",
            feeds | {"-b": None, "m": np.zeros((3 * B + 2,), np.int32)},
            {"num_heads": H},
            "PENS-M007",
        ),
        ("Attention", {"x": some(B, S, 4), "w": some(4, 9)}, {"num_heads": 3, "do_rotary": 1}, "PENS-M007"),
        (
            "Attention",
            {"x": some(B, S, 4), "w": some(4, 9)},
            {"num_heads": 3, "qkv_hidden_sizes": [1, 2, 3]},
            "PENS-M009",
        ),
    ):
        (problem,) = check_model(model_of(op, given, {"y": F}, **more))
        assert str(problem.code) == code, problem
