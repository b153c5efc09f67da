"""Random numbers are those of Philox4x32-10, and distributed as they should be."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.frontends.onnx import check_model

F32, F64, F16, BF16 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16
MANY = 300_001  # more than is folded into a constant, so that kernels draw


def philox(counter: Sequence[Any], key: Sequence[int]) -> list[Any]:
    """Philox4x32-10 as its authors define it, on arrays of counters."""
    words, keys, mask, half = (
        [np.asarray(c, np.uint64) for c in counter],
        list(key),
        np.uint64(0xFFFFFFFF),
        np.uint64(32),
    )
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * words[0], np.uint64(0xCD9E8D57) * words[2]
        words = [
            (second >> half) ^ words[1] ^ np.uint64(keys[0]),
            second & mask,
            (first >> half) ^ words[3] ^ np.uint64(keys[1]),
            first & mask,
        ]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return words


def words(count: int, key: Sequence[int]) -> list[Any]:
    return philox([np.arange(count), 0, 0, 0], key)


def key_of(seed: float) -> tuple[int, int]:
    return int.from_bytes(struct.pack("<f", seed), "little"), 0


def key_of_name(name: str) -> tuple[int, int]:
    low, high = struct.unpack("<II", hashlib.sha256(name.encode()).digest()[:8])
    return low, high


def single(word: Any) -> Any:
    return (word >> np.uint64(8)).astype(np.float64) * 2.0**-24


def double(high: Any, low: Any) -> Any:
    return (high >> np.uint64(5)).astype(np.float64) * 2.0**-27 + (low >> np.uint64(6)).astype(np.float64) * 2.0**-53


def compiled(nodes: Sequence[Any], feeds: Mapping[str, Any], outputs: Mapping[str, int], known: Any = None) -> Any:
    """The model's results; its inputs are ``feeds``, its initializers ``known``."""
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in (known or {}).items()]
    graph = helper.make_graph(list(nodes), "g", infos, results, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return penstock.compile(model.SerializeToString()).load().session(threads=2).run(dict(feeds))


def drawn(op: str, shape: Sequence[int], kind: int = F32, name: str = "node", **attributes: Any) -> Any:
    node = helper.make_node(op, [], ["y"], name=name, dtype=kind, **attributes)
    node.attribute.append(helper.make_attribute("shape", list(shape), attr_type=AttributeProto.INTS))
    return compiled([node], {}, {"y": kind})["y"]


KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_the_oracle_has_the_known_answers(counter: Any, key: Any, result: Any) -> None:
    """Those its authors publish with Random123."""
    assert [int(word) for word in philox(counter, key)] == list(result)


@pytest.mark.parametrize("count", [1, 7, 1000, MANY])
@pytest.mark.parametrize("seed", [0.0, 3.5, -1e30])
def test_uniform_f32(count: int, seed: float) -> None:
    expected = single(words(count, key_of(seed))[0]).astype(np.float32)
    np.testing.assert_array_equal(drawn("RandomUniform", [count], seed=seed), expected)


@pytest.mark.parametrize("count", [7, MANY])
def test_uniform_f64(count: int) -> None:
    a, b, _, _ = words(count, key_of(2.0))
    np.testing.assert_array_equal(drawn("RandomUniform", [count], F64, seed=2.0), double(a, b))


@pytest.mark.parametrize(("kind", "dtype"), [(F16, np.float16), (BF16, ml_dtypes.bfloat16)])
def test_uniform_of_half_precision(kind: int, dtype: Any) -> None:
    ours = drawn("RandomUniform", [40, 5], kind, seed=2.0, low=-3.0, high=5.0)
    expected = (single(words(200, key_of(2.0))[0]) * 8 - 3).astype(np.float32).astype(dtype).reshape(40, 5)
    np.testing.assert_array_equal(np.asarray(ours).view(dtype), expected)


@pytest.mark.parametrize("count", [7, MANY])
def test_normal(count: int) -> None:
    a, b, c, d = words(count, key_of(9.0))
    # Rounded to f32 as ours is: near 1 the logarithm has few bits.
    above = (a.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)).astype(np.float64)
    exact = np.sqrt(-2 * np.log(above)) * np.cos(2 * np.pi * single(b))
    ours = drawn("RandomNormal", [count], seed=9.0, mean=1.0, scale=2.0)
    np.testing.assert_allclose(ours, 1 + 2 * exact, rtol=0, atol=3e-6)
    exact = np.sqrt(-2 * np.log1p(-double(a, b))) * np.cos(2 * np.pi * double(c, d))
    np.testing.assert_allclose(drawn("RandomNormal", [count], F64, seed=9.0), exact, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [F32, F64])
def test_moments(kind: int) -> None:
    """To within five deviations of the sample's."""
    count, bound = MANY, 5 / np.sqrt(MANY)
    z = drawn("RandomNormal", [count], kind, seed=1.0).astype(np.float64)
    assert abs(z.mean()) < bound
    assert abs(z.var() - 1) < bound * np.sqrt(2)
    assert abs((z**3).mean()) < bound * np.sqrt(15)
    assert abs((z**4).mean() - 3) < bound * np.sqrt(96)
    u = drawn("RandomUniform", [count], kind, seed=1.0).astype(np.float64)
    assert 0 <= u.min() < 1e-4 and 1 - 1e-4 < u.max() < 1  # noqa: PT018
    assert abs(u.mean() - 0.5) < bound * np.sqrt(1 / 12)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < bound
    counts = np.histogram(u, 64, (0, 1))[0]
    assert ((counts - count / 64) ** 2 / (count / 64)).sum() < 63 + 5 * np.sqrt(2 * 63)


def test_empty_and_scalar() -> None:
    assert drawn("RandomNormal", [0, 3]).shape == (0, 3)
    assert drawn("RandomUniform", [], seed=3.5) == np.float32(single(words(1, key_of(3.5))[0])[0])


def test_without_a_seed_the_name_decides() -> None:
    first = drawn("RandomUniform", [50], name="noise")
    np.testing.assert_array_equal(first, single(words(50, key_of_name("noise"))[0]).astype(np.float32))
    np.testing.assert_array_equal(first, drawn("RandomUniform", [50], name="noise"))
    assert not np.array_equal(first, drawn("RandomUniform", [50], name="other"))


def test_calls_of_one_function_draw_different_numbers() -> None:
    inner = helper.make_node("RandomUniform", [], ["o"], name="inner", shape=[9])
    function = helper.make_function("local", "Noise", [], ["o"], [inner], [helper.make_opsetid("", 22)])
    nodes = [helper.make_node("Noise", [], [name], name=f"call_{name}", domain="local") for name in ("y", "z")]
    results = [helper.make_tensor_value_info(name, F32, None) for name in ("y", "z")]
    graph = helper.make_graph(nodes, "g", [], results)
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=[function])
    both = penstock.compile(model.SerializeToString()).load().session(threads=1).run({})
    assert not np.array_equal(both["y"], both["z"])


def test_rounds_of_a_loop_draw_different_numbers() -> None:
    """The third word of the counter is the round's number."""
    noise = helper.make_node("RandomUniform", [], ["o"], name="noise", shape=[9], seed=5.0)
    same = helper.make_node("Identity", ["going"], ["still"], name="same")
    ends = [helper.make_tensor_value_info("still", TensorProto.BOOL, []), helper.make_tensor_value_info("o", F32, [9])]
    starts = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
    ]
    body = helper.make_graph([noise, same], "body", starts, ends)
    loop = helper.make_node("Loop", ["trips", "yes"], ["y"], name="loop", body=body)
    ours = compiled([loop], {}, {"y": F32}, {"trips": np.int64(3), "yes": np.array(True)})["y"]
    for number in range(3):
        expected = single(philox([np.arange(9), 0, number, 0], key_of(5.0))[0]).astype(np.float32)
        np.testing.assert_array_equal(ours[number], expected)


@pytest.mark.parametrize("op", ["RandomNormal", "RandomUniform"])
def test_like(op: str) -> None:
    x = np.zeros((3, 5), np.float64)
    node = helper.make_node(op + "Like", ["x"], ["y"], name="node", seed=4.0)
    np.testing.assert_array_equal(compiled([node], {"x": x}, {"y": F64})["y"], drawn(op, [3, 5], F64, seed=4.0))
    node = helper.make_node(op + "Like", ["x"], ["y"], name="node", seed=4.0, dtype=F32)
    np.testing.assert_array_equal(compiled([node], {"x": x}, {"y": F32})["y"], drawn(op, [3, 5], seed=4.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_bernoulli(dtype: Any) -> None:
    p = np.linspace(0, 1, MANY).astype(dtype)
    node = helper.make_node("Bernoulli", ["p"], ["y"], name="node", seed=6.0, dtype=TensorProto.BOOL)
    ours = compiled([node], {"p": p}, {"y": TensorProto.BOOL})["y"]
    a, b, _, _ = words(MANY, key_of(6.0))
    np.testing.assert_array_equal(ours, (double(a, b) if dtype == np.float64 else single(a)) < p)
    assert not ours[p == 0].any()
    assert ours[p == 1].all()
    assert abs(ours.mean() - 0.5) < 5 * 0.5 / np.sqrt(MANY)


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64])
def test_multinomial(kind: int) -> None:
    with np.errstate(divide="ignore"):
        x = np.log(np.array([[0.1, 0.0, 0.6, 0.3], [2.0, 2.0, 0.0, 0.0]], np.float32))
    node = helper.make_node("Multinomial", ["x"], ["y"], name="node", seed=8.0, sample_size=20000, dtype=kind)
    ours = compiled([node], {"x": x}, {"y": kind})["y"]
    assert ours.shape == (2, 20000)
    assert ours.dtype == (np.int32 if kind == TensorProto.INT32 else np.int64)
    shares = np.stack([(ours == k).mean(axis=1) for k in range(4)], 1)
    assert not shares[[0, 1, 1], [1, 2, 3]].any()
    np.testing.assert_allclose(shares, [[0.1, 0, 0.6, 0.3], [0.5, 0.5, 0, 0]], atol=5 * 0.5 / np.sqrt(20000))
    a, b, _, _ = words(40000, key_of(8.0))
    np.testing.assert_array_equal(ours[1], (double(a, b)[20000:] >= 0.5).astype(int))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("fed", [False, True])
def test_dropout_in_training(dtype: Any, fed: bool) -> None:
    x = np.random.default_rng(0).standard_normal((60, 37)).astype(dtype)
    parameters = {"ratio": np.array(0.25, np.float32), "training": np.array(True)}
    node = helper.make_node("Dropout", ["x", *parameters], ["y", "mask"], name="node", seed=-5)
    feeds, known = ({"x": x, **parameters}, {}) if fed else ({"x": x}, parameters)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ours = compiled([node], feeds, {"y": kind, "mask": TensorProto.BOOL}, known)
    a, b, _, _ = words(x.size, ((-5) & 0xFFFFFFFF, 0xFFFFFFFF))
    uniform = double(a, b) if dtype == np.float64 else single(a)
    np.testing.assert_array_equal(ours["mask"].reshape(-1), uniform >= 0.25)
    wide = x.astype(np.float32) if dtype == np.float16 else x
    scaled = np.where(ours["mask"], wide / wide.dtype.type(0.75), 0).astype(dtype)
    np.testing.assert_allclose(ours["y"], scaled, rtol=1e-3 if dtype == np.float16 else 1e-6)


@pytest.mark.parametrize(("ratio", "training"), [(0.0, True), (0.5, False)])
def test_dropout_that_drops_nothing(ratio: float, training: bool) -> None:
    x = np.array([[1.5, np.nan, -np.inf, -0.0]], np.float32)
    feeds = {"x": x, "ratio": np.array(ratio, np.float32), "training": np.array(training)}
    node = helper.make_node("Dropout", list(feeds), ["y", "mask"], name="node")
    ours = compiled([node], feeds, {"y": F32, "mask": TensorProto.BOOL})
    np.testing.assert_array_equal(ours["y"], x)
    assert ours["mask"].all()


@pytest.mark.parametrize(
    ("op", "attributes", "sentence"),
    [
        ("RandomNormal", {"shape": [2], "dtype": TensorProto.INT32}, "random numbers are of a floating-point type"),
        ("RandomUniform", {"shape": [-1]}, r"there is no shape [-1]"),
    ],
)
def test_refusals(op: str, attributes: Any, sentence: str) -> None:
    node = helper.make_node(op, [], ["y"], name="node", **attributes)
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", F32, None)])
    (problem,) = check_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10))
    assert problem.reason == sentence
