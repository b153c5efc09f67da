"""Kernels that read weights in bf16, over odd shapes, and whole models against those whose weights are rounded."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit.lower.dispatching import ISAS, RUNNABLE, check, make, native, reference, strict

import penstock
from penstock.compiler.dialects.graph.activation import Relu
from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.elementwise import Add, Cast
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.shape import Pad, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dialects.graph.winograd import WinogradConv
from penstock.compiler.dtypes import BF16, F32, tensor
from penstock.compiler.weights import WeightStore

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@pytest.mark.parametrize(
    ("m", "k", "n", "panel"),
    [(1, 1, 1, 16), (1, 67, 64, 64), (5, 13, 31, 32), (17, 128, 130, 48), (64, 33, 600, 64), (1, 0, 16, 16)],
)
def test_products_widen_what_they_read(m: int, k: int, n: int, panel: int) -> None:
    """Also where a unit fetches the next panel ahead, half as many lines of it."""
    shapes = [(m, k), tensor((-(-n // panel), k, panel), BF16)]
    check(make("contraction", shapes, lambda a, b: [Matmul.build(a, b, b_panel=panel, n=n).out]))


def test_plain_operands_may_be_narrow() -> None:
    check(make("contraction", [(3, 5, 7), tensor((3, 7, 9), BF16)], lambda a, b: [Matmul.build(a, b).out]))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 5, 7, 3), (2, 8, 14, 16)])
@pytest.mark.parametrize("window", [1, 3])
def test_convolutions_widen_what_they_read(shape: tuple[int, ...], window: int) -> None:
    pads = {"pads_low": (window // 2,) * 2, "pads_high": (window // 2,) * 2}

    def build(x: Any, w: Any) -> list[Any]:
        return [Conv.build(x, w, layout="channels_last", panel=16, out_channels=20, **pads).out]

    check(make("convolution", [shape, tensor((2, window, window, shape[-1], 16), BF16)], build))


@pytest.mark.parametrize(
    ("m", "k", "n", "panel"),
    [(1, 2, 1, 16), (1, 134, 64, 64), (5, 14, 31, 32), (17, 128, 130, 48), (64, 34, 600, 64), (26, 66, 1, 16)],
)
def test_products_of_pairs(m: int, k: int, n: int, panel: int) -> None:
    """One row and many, tails of rows, columns and pairs, with what follows the product."""

    def build(a: Any, b: Any, bias: Any) -> list[Any]:
        return [Relu.build(Add.build(Matmul.build(a, b, b_panel=panel, n=n, pairs=True).out, bias).out).out]

    shapes = [tensor((m, k), BF16), tensor((-(-n // panel), k // 2, panel, 2), BF16), (n,)]
    check(make("contraction", shapes, build), isas=RUNNABLE)


@pytest.mark.parametrize("fill", [np.inf, np.nan, -np.inf])
def test_pairs_of_what_is_not_finite(fill: float) -> None:
    """It shows in its row and column alone."""
    a, b = np.ones((3, 6), BFLOAT16), np.ones((1, 3, 16, 2), BFLOAT16)
    a[1, 3] = fill
    dispatch = make(
        "contraction",
        [tensor(a.shape, BF16), tensor(b.shape, BF16)],
        lambda x, w: [Matmul.build(x, w, b_panel=16, n=16, pairs=True).out],
    )
    (wanted,) = reference(dispatch, [a, b])
    for isa in RUNNABLE:
        np.testing.assert_array_equal(native(dispatch, [a, b], isa)[0], wanted)
    strict(dispatch, [a, b])


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (1, 5, 7, 6), (2, 8, 14, 16), (1, 3, 30, 4)])
@pytest.mark.parametrize(("window", "stride", "dilation"), [(1, 1, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2)])
def test_convolutions_of_pairs(shape: tuple[int, ...], window: int, stride: int, dilation: int) -> None:
    pad = window // 2 * dilation

    def build(x: Any, w: Any) -> list[Any]:
        pads = {"pads_low": (pad, pad), "pads_high": (pad, pad)}
        steps = {"strides": (stride, stride), "dilations": (dilation, dilation)}
        layout = {"layout": "channels_last", "panel": 16, "out_channels": 20, "pairs": True}
        return [Conv.build(x, w, **pads, **steps, **layout).out]

    weights = tensor((2, window, window, shape[-1] // 2, 16, 2), BF16)
    check(make("convolution", [tensor(shape, BF16), weights], build), isas=RUNNABLE)


@pytest.mark.parametrize("rows", [1, 5, 12, 40])
@pytest.mark.parametrize("depth", [64, 63, 3])
def test_pairs_for_any_number_of_rows(rows: int, depth: int) -> None:
    """Rows are a size of the run: the same artifact for all of them. An odd inner extent gets a zero more."""
    weights = np.random.default_rng(2).standard_normal((depth, 96)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    x = np.random.default_rng(rows).standard_normal((rows, depth)).astype(np.float32)
    found = penstock.compile(source, precision="bf16").load().session(threads=2).run({"x": x})["y"]
    wanted = x.astype(BFLOAT16).astype(np.float64) @ weights.astype(BFLOAT16).astype(np.float64)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_every_number_is_widened_exactly() -> None:
    """All 65536 patterns, multiplied by one: infinities, NaN and denormals among them."""
    patterns = np.arange(1 << 16, dtype=np.uint16).view(BFLOAT16).reshape(1024, 1, 64)
    dispatch = make(
        "contraction", [(1, 1), tensor((1024, 1, 64), BF16)], lambda a, b: [Matmul.build(a, b, b_panel=64, n=65536).out]
    )
    arrays = [np.ones((1, 1), np.float32), patterns]
    (wanted,) = reference(dispatch, arrays)
    for isa in ISAS:
        (found,) = native(dispatch, arrays, isa)
        np.testing.assert_array_equal(found, wanted)
    strict(make("contraction", [(1, 1), tensor((1, 1, 64), BF16)], lambda a, b: [Matmul.build(a, b).out]), [
        arrays[0], patterns[1],
    ])  # fmt: skip


def model(round_weights: bool) -> bytes:
    """A table, a product, an LSTM and two convolutions, one of them small; weights of f32, or rounded to bf16."""
    rng = np.random.default_rng(5)
    shapes = {
        "table": (300, 64), "w": (1, 256, 64), "r": (1, 256, 64), "fc": (64, 48), "conv": (32, 48, 1, 3),
        "small": (2, 32, 1, 1),
    }  # fmt: skip
    stored = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    if round_weights:
        stored |= {k: v.astype(BFLOAT16).astype(np.float32) for k, v in stored.items() if v.size >= 1024}
    stored["bias"] = rng.normal(0, 0.2, (48,)).astype(np.float32)
    weights = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    weights.append(numpy_helper.from_array(np.array([1, 48, 1, 7], np.int64), "image"))
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["rows"]),
        helper.make_node("LSTM", ["rows", "w", "r"], ["states", "last"], hidden_size=64),
        helper.make_node("MatMul", ["states", "fc"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Reshape", ["sum", "image"], ["channels"]),
        helper.make_node("Conv", ["channels", "conv"], ["features"], pads=[0, 1, 0, 1]),
        helper.make_node("Conv", ["features", "small"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("tokens", TensorProto.INT64, [7, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("isa", ISAS)
def test_models_are_those_with_rounded_weights(isa: str) -> None:
    """Nothing but the weights is rounded, and weights as ml_dtypes rounds them; the same bits for any threads."""
    tokens = {"tokens": np.array([[0], [299], [17], [5], [5], [100], [1]], np.int64)}
    wanted: Any = onnxruntime.InferenceSession(model(round_weights=True)).run(None, tokens)[0]
    artifact = penstock.compile(model(round_weights=False), target=f"cpu:{isa}", precision="bf16-weights")
    loaded = artifact.load()
    found = loaded.session(threads=1).run(tokens)["y"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * float(np.ptp(wanted)))
    np.testing.assert_array_equal(loaded.session(threads=2).run(tokens)["y"], found)
    assert loaded.manifest["precision"] == "bf16-weights"
    count, stored = 5, 2 * (300 * 64 + 2 * 256 * 64 + 64 * 48 + 32 * 48 * 3)
    assert loaded.manifest["narrow_weights"] == {"count": count, "bytes": stored}
    assert any(f"{count} weights" in note for note in artifact.report.notes)


def test_models_at_bf16() -> None:
    """Within bf16's accuracy of the f32 model, on every level; the best one of this machine is taken."""
    tokens = {"tokens": np.array([[0], [299], [17], [5], [5], [100], [1]], np.int64)}
    source = model(round_weights=False)
    wanted: Any = onnxruntime.InferenceSession(source).run(None, tokens)[0]
    artifact = penstock.compile(source, precision="bf16").bytes
    assert penstock.load(artifact).isa == RUNNABLE[0]
    for isa in RUNNABLE:
        loaded = penstock.load(artifact, isa=isa)
        found = loaded.session(threads=1).run(tokens)["y"]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-2 * float(np.ptp(wanted)))
        np.testing.assert_array_equal(loaded.session(threads=2).run(tokens)["y"], found)
        assert loaded.manifest["precision"] == "bf16"


def test_levels_with_bf16_are_there_on_request() -> None:
    source = model(round_weights=False)
    names = {p: list(penstock.compile(source, precision=p).report.kernels) for p in ("f32", "bf16-weights", "bf16")}
    assert names["f32"] == names["bf16-weights"] == ["x86-64-v4", "x86-64-v3"]
    assert names["bf16"] == ["x86-64-v4-bf16", "x86-64-v4", "x86-64-v3"]


def test_without_the_option_nothing_changes() -> None:
    plain = penstock.compile(model(round_weights=False), target="cpu:x86-64-v3")
    assert plain.bytes == penstock.compile(model(round_weights=False), target="cpu:x86-64-v3", precision="f32").bytes
    assert "precision" not in plain.load().manifest
    assert not any(array.dtype == BFLOAT16 for array in plain._contents.weights)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 5, 7, 3), (2, 8, 14, 33)])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_widen_what_they_read(shape: tuple[int, ...], stride: int) -> None:
    """Depthwise convolutions, pools and Winograd's convolutions of what is stored as bf16."""
    wide = tensor(shape, F32)
    steps: Any = {"layout": "channels_last", "strides": (stride, stride), "pads_low": (1, 1), "pads_high": (1, 1)}

    def depthwise(x: Any, w: Any) -> list[Any]:
        return [Conv.build(Cast.build(x, result=wide).out, w, groups=shape[-1], **steps).out]

    def pool(kind: str) -> Any:
        return lambda x: [Pool.build(Cast.build(x, result=wide).out, kind=kind, window=(3, 3), **steps).out]  # pyright: ignore

    check(make("depthwise", [tensor(shape, BF16), (3, 3, 1, shape[-1])], depthwise), isas=RUNNABLE)
    for kind in ("max", "average"):
        check(make("window", [tensor(shape, BF16)], pool(kind)), isas=RUNNABLE)


def test_winograd_widens_what_it_reads() -> None:
    shape = (1, 7, 9, 16)

    def build(x: Any, u: Any) -> list[Any]:
        wide = Cast.build(x, result=tensor(shape, F32)).out
        return [WinogradConv.build(wide, u, tile=4, out_channels=20, pads_low=(1, 1), pads_high=(1, 1)).out]

    check(make("winograd", [tensor(shape, BF16), (1, 36, 16, 32)], build), isas=RUNNABLE)


def convolutions(rng: np.random.Generator) -> bytes:
    """An inverted bottleneck with a residual sum, and a pool: odd channels in front, images of any height."""
    shapes = {"first": (32, 3, 3, 3), "up": (96, 32, 1, 1), "depth": (96, 1, 3, 3), "down": (32, 96, 1, 1)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "up"], ["c"]),
        helper.make_node("Clip", ["c", "", "six"], ["d"]),
        helper.make_node("Conv", ["d", "depth"], ["e"], pads=[1] * 4, group=96),
        helper.make_node("Conv", ["e", "down"], ["f"]),
        helper.make_node("Add", ["b", "f"], ["g"]),
        helper.make_node("MaxPool", ["g"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    weights.append(numpy_helper.from_array(np.array(6, np.float32), "six"))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "height", 22])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("sizes", [{}, {"height": 22}])
def test_activations_are_stored_narrowly(sizes: dict[str, int]) -> None:
    """Within bf16's accuracy of the f32 model on every level; NaN and infinity come through; the same bits for any
    number of threads."""
    rng = np.random.default_rng(4)
    source = convolutions(rng)
    artifact = penstock.compile(source, precision="bf16", dims=sizes)
    x = rng.standard_normal((1, 3, 22, 22)).astype(np.float32)
    wanted: Any = onnxruntime.InferenceSession(source).run(None, {"x": x})[0]
    for isa in RUNNABLE:
        loaded = penstock.load(artifact.bytes, isa=isa)
        found = loaded.session(threads=1).run({"x": x})["y"]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-2 * float(np.ptp(wanted)))
        np.testing.assert_array_equal(loaded.session(threads=2).run({"x": x})["y"], found)
        broken = x.copy()
        broken[0, 1, 11, 13] = np.nan
        found = loaded.session(threads=1).run({"x": broken})["y"]
        assert np.isnan(found).any()
        assert np.isfinite(found[..., :2, :2]).all()


@pytest.mark.parametrize(
    ("s", "t", "d", "e", "heads", "shared"),
    [
        (20, 20, 16, 16, 2, 2),
        (20, 40, 16, 24, 4, 2),
        (1, 128, 64, 64, 3, 3),
        (5, 1, 6, 3, 1, 1),
        (13, 65, 34, 66, 1, 1),
    ],
)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_pairs(
    s: int, t: int, d: int, e: int, heads: int, shared: int, causal: bool, masked: bool
) -> None:
    """Grouped heads, tails of keys and of pairs, with a mask and without."""
    shapes = [tensor((1, heads, s, d), BF16), tensor((1, shared, t, d), BF16), tensor((1, shared, t, e), BF16)]

    def build(*operands: Any) -> list[Any]:
        offset = max(t - s, 0)
        return [Attention.build(*operands, scale=0.3, causal=causal, causal_offset=offset, pairs=True).out]

    check(make("paired_attention", shapes + [(1, 1, 1, t)] * masked, build), tolerance=4e-3, isas=RUNNABLE)


def test_attention_of_pairs_to_nothing_and_to_infinity() -> None:
    """A query that sees no key gives 0, one with a NaN among its scores NaN, and great values do not spread."""

    def build(q: Any, k: Any, v: Any, m: Any) -> list[Any]:
        return [Attention.build(q, k, v, m, scale=0.25, pairs=True).out]

    rng = np.random.default_rng(6)
    shapes = [(1, 1, 20, 8), (1, 1, 70, 8), (1, 1, 70, 8), (1, 1, 20, 70)]
    arrays: list[Any] = [rng.standard_normal(shape).astype(BFLOAT16) for shape in shapes[:3]]
    arrays.append(rng.standard_normal(shapes[3]).astype(np.float32))
    arrays[3][..., 3, :], arrays[3][..., 5, 1:] = -np.inf, -np.inf
    arrays[0][..., 7, 0], arrays[2][..., 69, 3] = np.nan, np.inf
    types = [*(tensor(shape, BF16) for shape in shapes[:3]), shapes[3]]
    arrays[3][..., 5, 69], arrays[3][..., 3, 69] = 0, -1  # infinity times zero is for the numbers, not for this test
    check(make("paired_attention", types, build), arrays, tolerance=4e-3, isas=RUNNABLE)


def transformer() -> bytes:
    """Attention of four heads over any number of positions, with the projections around it."""
    rng = np.random.default_rng(8)
    names = ("q", "k", "v", "o")
    weights = [numpy_helper.from_array(rng.normal(0, 0.2, (64, 64)).astype(np.float32), name) for name in names]
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}x"]) for name in names[:3]]
    nodes += [
        helper.make_node("Attention", ["qx", "kx", "vx"], ["ax"], q_num_heads=4, kv_num_heads=4),
        helper.make_node("MatMul", ["ax", "o"], ["ox"]),
        helper.make_node("Add", ["x", "ox"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "positions", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    return bytes(made.SerializeToString())


def test_attention_of_pairs_for_any_number_of_positions() -> None:
    """One artifact for all sizes, within bf16's accuracy of numpy's result in f64; the same bits for any threads."""
    source = transformer()
    weights = {
        w.name: numpy_helper.to_array(w).astype(np.float64) for w in onnx.load_from_string(source).graph.initializer
    }
    artifact = penstock.compile(source, precision="bf16")
    for isa in RUNNABLE:
        loaded = penstock.load(artifact.bytes, isa=isa)
        for batch, positions in ((1, 1), (2, 31), (1, 64), (1, 97)):
            x = np.random.default_rng(positions).standard_normal((batch, positions, 64)).astype(np.float32)
            found = loaded.session(threads=1).run({"x": x})["y"]
            np.testing.assert_array_equal(loaded.session(threads=2).run({"x": x})["y"], found)
            heads = [(x @ weights[n]).reshape(batch, positions, 4, 16).swapaxes(1, 2) for n in "qkv"]
            power = np.exp(heads[0] @ heads[1].swapaxes(2, 3) / 4)
            mixed = (power / power.sum(-1, keepdims=True) @ heads[2]).swapaxes(1, 2).reshape(batch, positions, 64)
            wanted = x + mixed @ weights["o"]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-2 * float(np.ptp(wanted)))


@pytest.mark.parametrize("extents", [(3, 5), (3, 64), (1, 7), (33, 20), (7, 1)])
@pytest.mark.parametrize("fill", [0.0, -0.0, 2.0])
def test_pads_of_what_is_rounded(extents: tuple[int, int], fill: float) -> None:
    """One element more along the axis that was the outer one; zeros are lanes that nothing is read for."""

    def build(x: Any) -> list[Any]:
        value = Constant.of(np.float32(fill), WeightStore())
        turned = Transpose.build(x, permutation=(1, 0)).out
        padded = Pad.build(turned, value.out, low=(0, 0), high=(0, 1)).out
        return [Cast.build(padded, result=tensor((extents[1], extents[0] + 1), BF16)).out]

    dispatch = make("map", [extents], build)
    array = np.random.default_rng(3).standard_normal(extents).astype(np.float32)
    array[0, 0] = np.inf
    (wanted,) = reference(dispatch, [array])
    for isa in RUNNABLE:
        np.testing.assert_array_equal(native(dispatch, [array], isa)[0].view(np.uint16), wanted.view(np.uint16))
    strict(dispatch, [array])
