"""GroupQueryAttention gives onnxruntime's results: prompts, growing caches, caches in one buffer, every option."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from unit.frontend.test_microsoft import model_of, some

import penstock
from penstock.compiler.frontends.onnx import check_model
from penstock.runtime.errors import PenstockError

F = TensorProto.FLOAT
B, H, G, D = 2, 4, 2, 16  # batch, heads of queries, of keys, width of a head
OUTPUTS = {"y": F, "pk": F, "pv": F}
ATTRIBUTES = {"num_heads": H, "kv_num_heads": G}


def angles(count: int = 32) -> dict[str, Any]:
    turns = np.random.default_rng(0).random((count, D // 2)).astype(np.float32) * 3
    return {"cos": np.cos(turns), "sin": np.sin(turns)}


def operands(
    batch: int, new: int, past: int, lengths: tuple[int, ...], total: int, packed: bool = False
) -> dict[str, Any]:
    """Feeds in the operator's order; ``lengths`` count positions with the past."""
    if packed:
        feeds: dict[str, Any] = {"q": some(batch, new, (H + 2 * G) * D), "-k": None, "-v": None}
    else:
        feeds = {"q": some(batch, new, H * D), "k": some(batch, new, G * D), "v": some(batch, new, G * D)}
    caches = {"rk": some(batch, G, past, D), "rv": some(batch, G, past, D)} if past else {"-rk": None, "-rv": None}
    return feeds | caches | {"s": np.int32(lengths) - 1, "t": np.int32([total])}


def both(feeds: dict[str, Any], keys: int, **attributes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our results and onnxruntime's; the model states that caches have ``keys`` positions."""
    model: Any = model_of("GroupQueryAttention", feeds, OUTPUTS, **(ATTRIBUTES | attributes))
    message = onnx.load_from_string(model)
    batch = feeds["q"].shape[0]
    for value in list(message.graph.output)[1:]:
        value.CopyFrom(helper.make_tensor_value_info(value.name, F, (batch, G, keys, D)))
    model = message.SerializeToString()
    arrays = {name: array for name, array in feeds.items() if name[0] != "-"}
    expected: Any = onnxruntime.InferenceSession(model).run(None, arrays)
    ours = penstock.compile(model).load().session(threads=1).run(arrays)
    return dict(ours), dict(zip(OUTPUTS, expected, strict=True))


def agree(feeds: dict[str, Any], keys: int, **attributes: Any) -> None:
    """Equal where a row has tokens: what stands in the places of padding means nothing."""
    ours, peer = both(feeds, keys, **attributes)
    new, lengths = feeds["q"].shape[1], feeds["s"] + 1
    for row, length in enumerate(lengths):
        real = min(new, length)
        np.testing.assert_allclose(ours["y"][row, :real], peer["y"][row, :real], rtol=1e-5, atol=1e-5)
        for name in ("pk", "pv"):
            assert ours[name].shape == peer[name].shape
            np.testing.assert_allclose(ours[name][row, :, :length], peer[name][row, :, :length], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rotary", [0, 1])
def test_prompt(rotary: int, packed: bool) -> None:
    """Rows of different lengths, padded at the right."""
    feeds = operands(B, 6, 0, (6, 4), 6, packed)
    agree(feeds | angles(), 6, do_rotary=rotary)
    agree(feeds | angles(), 6, do_rotary=rotary, rotary_interleaved=1, scale=0.2)


@pytest.mark.parametrize(("new", "past"), [(1, 5), (3, 4)])
def test_growing_cache(new: int, past: int) -> None:
    batch = B if new == 1 else 1
    feeds = operands(batch, new, past, (past + new,) * batch, past + new)
    agree(feeds | angles(), past + new, do_rotary=1)
    agree(feeds, past + new, softcap=3.0)


@pytest.mark.parametrize("lengths", [(7, 3), (1, 12)])
def test_buffer(lengths: tuple[int, ...]) -> None:
    """One token more for rows that have reached different lengths, in buffers of twelve."""
    feeds = operands(B, 1, 12, lengths, max(lengths))
    agree(feeds | angles(), 12, do_rotary=1)
    agree(feeds, 12, local_window_size=4)


def test_prompt_into_a_buffer() -> None:
    agree(operands(B, 5, 12, (5, 3), 5) | angles(), 12, do_rotary=1)


@pytest.mark.parametrize("window", [1, 3, 8])
def test_windows(window: int) -> None:
    agree(operands(B, 6, 0, (6, 6), 6), 6, local_window_size=window)
    agree(operands(1, 1, 6, (7,), 7), 7, local_window_size=window)


def test_bias_and_sink() -> None:
    feeds = operands(B, 5, 0, (5, 5), 5) | {"-c": None, "-d": None, "-p": None}
    agree(feeds | {"bias": some(1, H, 5, 5)}, 5)
    agree(feeds | {"-bias": None, "sink": some(H)}, 5)
    agree(feeds, 5, smooth_softmax=1)


def test_normalised_heads() -> None:
    """As queries and keys that were normalised before, which is what onnxruntime has on CPUs."""
    feeds: dict[str, Any] = operands(B, 5, 0, (5, 5), 5) | {"-c": None, "-d": None, "-p": None, "-bias": None}
    weights: dict[str, Any] = {"-sink": None, "-ks": None, "-vs": None, "qn": some(D), "kn": some(D)}
    before: dict[str, Any] = {}
    for name, weight in (("q", weights["qn"]), ("k", weights["kn"])):
        x = feeds[name].reshape(B, 5, -1, D)
        before[name] = (x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * weight).reshape(feeds[name].shape)
    _, expected = both(feeds | before, 5)
    model = model_of("GroupQueryAttention", feeds | weights, OUTPUTS, qk_norm_epsilon=1e-5, **ATTRIBUTES)
    arrays = {name: array for name, array in (feeds | weights).items() if name[0] != "-"}
    found = penstock.compile(model).load().session(threads=1).run(arrays)
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_lengths_that_do_not_fit_end_the_run() -> None:
    """A growing cache whose rows differ is not what was compiled."""
    with pytest.raises(PenstockError, match="the length of its sequences with their past"):
        both(operands(B, 1, 5, (6, 3), 6), 6)


def test_refusals() -> None:
    """Each in a sentence."""
    feeds = operands(1, 2, 0, (2,), 2)
    for wrong, more, code in (
        (feeds, {"num_heads": 3}, "PENS-M009"),
        (feeds, {"kv_num_heads": 3}, "PENS-M009"),
        (feeds, {"sliding_window_cache": 1}, "PENS-M007"),
        (feeds, {"k_quant_type": "PER_TENSOR"}, "PENS-M007"),
        (feeds, {"do_rotary": 1}, "PENS-M009"),
    ):
        (problem,) = check_model(model_of("GroupQueryAttention", wrong, OUTPUTS, **(ATTRIBUTES | more)))
        assert str(problem.code) == code
