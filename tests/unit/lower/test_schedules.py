"""Every schedule against the reference semantics, over odd shapes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from unit.lower.dispatching import ISAS, check, make, native

from penstock.compiler.backends.cpu.target import LEVELS
from penstock.compiler.dialects.graph.activation import Gelu, Relu
from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.elementwise import Add, Mul, Neg
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.normalization import LogSoftmax, Normalize, Softmax
from penstock.compiler.dialects.graph.ordering import TopK
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.recurrence import Gru, Lstm
from penstock.compiler.dialects.graph.reduction import ArgReduce, Cumulative, Reduce
from penstock.compiler.dialects.graph.shape import Concat, Pad, Reshape, Slice, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import F32, I64, shape_of, tensor
from penstock.compiler.passes.lower.kernel import lower_dispatch
from penstock.compiler.passes.lower.schedules.contraction import L1_WAY_BYTES, L1_WAYS, choose_blocking
from penstock.compiler.weights import WeightStore

CHANNELS_LAST = {"layout": "channels_last"}


@pytest.mark.parametrize(
    ("left", "right"),
    [((1,), (1,)), ((3, 7), (7,)), ((2, 64, 8, 8), (1, 64, 1, 1)), ((5, 131), (5, 1)), ((2, 0), (1,))],
)
def test_elementwise_chains_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    """Merged axes, tails, broadcasting along any axis, empty tensors."""
    check(make("map", [left, right], lambda x, y: [Gelu.build(Mul.build(Add.build(x, y).out, y).out).out]))


@pytest.mark.parametrize(("rows", "fetches"), [(1, {0}), (4, {0}), (12, set()), (64, {2})])
def test_weights_are_fetched_ahead(rows: int, fetches: set[int]) -> None:
    """A panel ahead, to stay (locality 2), where rows hide it; some kilobytes ahead, to be used once (0), where they
    take no time. Also at the last panel, after which there is nothing to fetch."""

    def build(a: Any, b: Any) -> list[Any]:
        return [Matmul.build(a, b, b_panel=64, n=600).out]

    dispatch = make("contraction", [(rows, 33), (10, 33, 64)], build)
    text = str(lower_dispatch(dispatch, LEVELS["x86-64-v4"]))
    assert {int(number) for number in re.findall(r"tile.prefetch .* {locality = (\d)}", text)} == fetches
    check(dispatch)


@pytest.mark.parametrize("shape", [(1, 3, 32, 48), (1, 37, 50, 1), (2, 5, 7, 11), (1, 1, 17, 16)])
@pytest.mark.parametrize("permutation", [(0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0)])
def test_transposes(shape: tuple[int, ...], permutation: tuple[int, ...]) -> None:
    """Square tiles in registers, and the odd rests."""
    check(make("map", [shape], lambda x: [Transpose.build(x, permutation=permutation).out]), tolerance=0)


def test_views_compose() -> None:
    """Reshape, transpose and a strided slice are one index map."""

    def build(x: Any) -> list[Any]:
        heads = Transpose.build(Reshape.build(x, result=tensor((8, 3, 16), F32)), permutation=(1, 0, 2))
        return [Slice.build(heads, starts=(2, 7, 14), steps=(-1, -2, -3), result=tensor((3, 4, 5), F32)).out]

    check(make("map", [(8, 48)], build), tolerance=0)


def test_concat_in_place_and_inside() -> None:
    """A joined result is written piece by piece; a joined operand is chosen lane by lane."""
    check(make("map", [(8, 5), (8, 7), (8, 1)], lambda x, y, z: [Concat.build(x, y, z, axis=1).out]), tolerance=0)

    def rotated(x: Any) -> list[Any]:
        first, second = (Slice.build(x, starts=(0, s), steps=(1, 1), result=tensor((8, 3), F32)) for s in (0, 3))
        return [Mul.build(Concat.build(Neg.build(second).out, first, axis=1).out, x).out]

    check(make("map", [(8, 6)], rotated))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_padding(mode: str) -> None:
    """All modes, on the innermost axis and another."""

    def build(x: Any) -> list[Any]:
        fill = [Constant.of(np.float32(3), WeightStore()).out] if mode == "constant" else []
        return [Pad.build(x, *fill, low=(1, 2), high=(2, 3), mode=mode).out]

    check(make("map", [(5, 9)], build), tolerance=0)


def test_gather_wraps_and_limits_indices() -> None:
    """Negative indices count from the end; what is outside reads the nearest element and nothing else."""
    rng = np.random.default_rng(1)
    table = rng.standard_normal((50, 24)).astype(np.float32)
    for axis, extent in ((0, 50), (1, 24)):
        indices = rng.integers(-extent, extent, (2, 7))
        check(
            make("map", [(50, 24), tensor((2, 7), I64)], lambda x, i, a=axis: [Gather.build(x, i, axis=a).out]),
            [table, indices],
            0,
        )


@pytest.mark.parametrize(
    ("m", "k", "n", "panel"),
    [
        (1, 512, 256, 64),
        (33, 100, 250, 64),
        (7, 1, 10, 16),
        (128, 37, 48, 48),
        (5, 64, 96, 32),
        (49, 1024, 70, 64),  # rows 4 kB apart: a lower tile, and a tail of both
        (13, 2048, 17, 32),
        (30, 1039, 33, 16),  # a prime K: parts of it, and what they leave
        (1, 5003, 16, 16),  # the same, in interleaved sums
    ],
)
def test_packed_products_with_epilogue(m: int, k: int, n: int, panel: int) -> None:
    """Bias and relu on the accumulators; tails of rows and columns."""
    panels = -(-n // panel)

    def build(x: Any, w: Any, b: Any) -> list[Any]:
        return [Relu.build(Add.build(Matmul.build(x, w, b_panel=panel, n=n).out, b).out).out]

    check(make("contraction", [(m, k), (panels, k, panel), (n,)], build))


@pytest.mark.parametrize(("m", "depth"), [(24, 1025), (29, 1200), (31, 2049), (400, 1100)])
def test_long_products_wait_in_scratch(m: int, depth: int) -> None:
    """A depth that is cut into parts, for rows and columns with tails."""

    def build(x: Any, w: Any, b: Any) -> list[Any]:
        return [Relu.build(Add.build(Matmul.build(x, w, b_panel=64, n=500).out, b).out).out]

    dispatch = make("contraction", [(m, depth), (8, depth, 64), (500,)], build)
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal(shape).astype(np.float32) / 16 for shape in ((m, depth), (8, depth, 64), (500,))]
    check(dispatch, arrays)


@pytest.mark.parametrize("isa", list(LEVELS))
def test_long_sums_err_less_than_one_after_the_other(isa: str) -> None:
    """Terms of one sign, where what is lost grows fastest: a product over 4096, a convolution over 9 x 128."""
    rng = np.random.default_rng(3)
    x, w = rng.random((24, 4096), np.float32), rng.random((1, 4096, 16), np.float32)
    product = make("contraction", [x.shape, w.shape], lambda x, w: [Matmul.build(x, w, b_panel=16, n=16).out])
    image, taps = rng.random((1, 5, 5, 128), np.float32), rng.random((1, 3, 3, 128, 16), np.float32)

    def convolved(x: Any, w: Any) -> list[Any]:
        return [Conv.build(x, w, panel=16, out_channels=16, **CHANNELS_LAST).out]

    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), (1, 2)).transpose(0, 1, 2, 4, 5, 3).reshape(9, -1)
    for dispatch, arrays, rows, columns in (
        (product, [x, w], x, w[0]),
        (make("convolution", [image.shape, taps.shape], convolved), [image, taps], windows, taps.reshape(-1, 16)),
    ):
        exact = rows.astype(np.float64) @ columns.astype(np.float64)
        (found,) = native(dispatch, arrays, isa)
        one = np.cumsum(rows[:, :, None] * columns, axis=1, dtype=np.float32)[:, -1]
        assert np.abs(found.reshape(exact.shape) - exact).max() < np.abs(one - exact).max() / 2


@pytest.mark.parametrize("isa", list(LEVELS))
@pytest.mark.parametrize("m", [1, 13, 25, 49, 128, 197])
def test_rows_that_share_a_cache_set_fit_its_ways(isa: str, m: int) -> None:
    """A tile's rows of A stay in L1 together, and its sums stay in registers."""
    machine = LEVELS[isa]
    for row_bytes in (3072, 4096, 8192, 12288):
        blocking = choose_blocking(m, 512, row_bytes // 4, 64, machine, row_bytes)
        vectors = blocking.columns // machine.lanes
        assert blocking.rows * vectors + vectors + 1 <= machine.vector_registers
        assert blocking.rows <= (m if row_bytes % L1_WAY_BYTES else min(m, L1_WAYS))


def test_batched_products_and_heads() -> None:
    """Plain right operands, broadcast batches; a result stored through reshape and transpose."""
    check(make("contraction", [(2, 3, 17, 20), (2, 1, 20, 13)], lambda x, w: [Matmul.build(x, w).out]))

    def heads(x: Any, w: Any) -> list[Any]:
        product = Matmul.build(x, w, b_panel=64, n=48)
        return [Transpose.build(Reshape.build(product, result=tensor((32, 3, 16), F32)), permutation=(1, 0, 2)).out]

    check(make("contraction", [(32, 100), (1, 100, 64)], heads))


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize(("shape", "axes"), [((3, 9, 70), (1,)), ((3, 9, 70), (0, 2)), ((1, 131), (1,)), ((4,), (0,))])
def test_reductions(kind: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Across and along lanes, with and without kept axes."""
    for keepdims in (False, True):
        check(make("reduction", [shape], lambda x, k=keepdims: [Reduce.build(x, kind=kind, axes=axes, keepdims=k).out]))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("last", [False, True])
def test_arg_reductions(axis: int, last: bool) -> None:
    """First or last of equal elements; NaN wins."""
    values = np.random.default_rng(2).integers(0, 5, (7, 33)).astype(np.float32)
    values[3, 4] = np.nan
    for kind in ("max", "min"):
        dispatch = make(
            "reduction", [(7, 33)], lambda x, k=kind: [ArgReduce.build(x, kind=k, axis=axis, select_last=last).out]
        )
        check(dispatch, [values])


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 100), 1), ((2, 130), 1), ((2, 13, 9), 1), ((1, 1), 1), ((3, 7, 64), 2)]
)
def test_norms_and_softmax(shape: tuple[int, ...], axis: int) -> None:
    """A residual add before, a scale after; softmax and its logarithm."""

    def norm(x: Any, y: Any) -> list[Any]:
        return [Mul.build(Normalize.build(Add.build(x, y).out, axes=(axis,)).out, y).out]

    check(make("normalization", [shape, shape], norm), tolerance=1e-4)
    check(make("normalization", [shape], lambda x: [Softmax.build(x, axis=axis).out]))
    check(make("normalization", [shape], lambda x: [LogSoftmax.build(x, axis=axis).out]))


def test_softmax_of_nan_and_infinity() -> None:
    """NaN makes its row NaN; minus infinity gets no weight."""
    x = np.random.default_rng(3).standard_normal((3, 40)).astype(np.float32)
    x[0, 7], x[1, 9] = np.nan, -np.inf
    check(make("normalization", [(3, 40)], lambda v: [Softmax.build(v, axis=1).out]), [x])


CONVOLUTIONS = {
    "3x3": ((1, 8, 8, 16), (1, 3, 3, 16, 32), 32, {"pads_low": (1, 1), "pads_high": (1, 1)}),
    "7x7 stride 2": (
        (1, 30, 30, 3),
        (1, 7, 7, 3, 64),
        64,
        {"strides": (2, 2), "pads_low": (3, 3), "pads_high": (3, 3)},
    ),
    "dilated, tail": (
        (2, 11, 13, 5),
        (1, 3, 3, 5, 32),
        20,
        {"dilations": (2, 2), "pads_low": (2, 1), "pads_high": (2, 3)},
    ),
    "1-D": ((1, 50, 8), (1, 3, 8, 16), 16, {"pads_low": (1,), "pads_high": (1,)}),
    "3-D": ((1, 5, 6, 7, 4), (1, 3, 3, 3, 4, 16), 16, {"pads_low": (1, 1, 1), "pads_high": (1, 1, 1)}),
    "window larger than input": ((1, 2, 2, 3), (1, 5, 5, 3, 16), 7, {"pads_low": (2, 2), "pads_high": (2, 2)}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions(case: Any) -> None:
    """Packed weights, bias and relu; borders without copies."""
    x, w, features, parameters = case

    def build(x: Any, w: Any, b: Any) -> list[Any]:
        conv = Conv.build(x, w, panel=w.type.get_shape()[-1], out_channels=features, **CHANNELS_LAST, **parameters)
        return [Relu.build(Add.build(conv.out, b).out).out]

    check(make("convolution", [x, w, (features,)], build))


def test_grouped_and_depthwise_convolutions() -> None:
    """Groups that divide the channels; one group per channel."""
    pads = {"pads_low": (1, 1), "pads_high": (1, 1)}
    check(
        make(
            "convolution",
            [(1, 11, 13, 8), (3, 3, 4, 32)],
            lambda x, w: [Conv.build(x, w, groups=2, **CHANNELS_LAST, **pads).out],
        )
    )
    check(
        make(
            "depthwise",
            [(1, 20, 20, 40), (3, 3, 1, 40)],
            lambda x, w: [Conv.build(x, w, groups=40, strides=(2, 2), **CHANNELS_LAST, **pads).out],
        )
    )


def separable(x: Any, w: Any, b: Any, p: Any, *, features: int, **parameters: Any) -> list[Any]:
    """A depthwise convolution with bias and relu, a product of its pixels with packed weights, and a relu."""
    pads = {"pads_low": (1, 1), "pads_high": (1, 1)}
    conv = Conv.build(x, w, groups=x.type.get_shape()[-1], **CHANNELS_LAST, **pads, **parameters)
    image = Relu.build(Add.build(conv.out, b).out).out
    batch, rows, columns, channels = shape_of(image.type)
    pixels = Reshape.build(image, result=tensor((batch * rows * columns, channels), F32)).out
    product = Matmul.build(pixels, p, b_panel=p.type.get_shape()[-1], n=features).out
    back = Reshape.build(product, result=tensor((batch, rows, columns, features), F32)).out
    return [Relu.build(back).out]


@pytest.mark.parametrize(
    ("x", "w", "p", "parameters"),
    [
        ((1, 14, 14, 32), (3, 3, 1, 32), (1, 32, 16), {"features": 16}),
        ((2, 5, 17, 35), (3, 3, 1, 35), (2, 35, 16), {"features": 24}),
        ((1, 9, 31, 7), (3, 3, 1, 14), (3, 14, 64), {"features": 131, "strides": (2, 2)}),
        ((1, 1, 1, 1), (3, 3, 1, 1), (1, 1, 16), {"features": 1}),
        ((1, 3, 70, 600), (3, 3, 1, 600), (2, 600, 32), {"features": 40}),
    ],
)
def test_separable_convolutions(x: Any, w: Any, p: Any, parameters: Any) -> None:
    """Whole and partial panels, tails along the row and across channels, channels that are repeated."""
    features = w[-1]
    check(make("separable", [x, w, (features,), p], lambda *given: separable(*given, **parameters)))


def test_separable_convolutions_of_nan_and_infinity() -> None:
    """What is not finite reaches the outputs whose windows hold it, and no others."""
    dispatch = make(
        "separable", [(1, 15, 14, 8), (3, 3, 1, 8), (8,), (1, 8, 16)], lambda *x: separable(*x, features=16)
    )
    rng = np.random.default_rng(3)
    x, w, b, p = (rng.standard_normal(shape_of(value.type)).astype(np.float32) for value in dispatch.body.args)
    x[0, 3, 4, 2], x[0, 11, 9, 5] = np.nan, np.inf
    check(dispatch, [x, w, b, p])
    (result,) = native(dispatch, [x, w, b, p], ISAS[0])
    touched = np.zeros((15, 14), bool)
    touched[2:5, 3:6] = touched[10:13, 8:11] = True
    assert np.isfinite(result[0, ~touched]).all()
    assert np.isnan(result[0, 2:5, 3:6]).any()
    assert not np.isfinite(result[0, 10:13, 8:11]).all()


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("include", [False, True])
def test_pooling(kind: str, include: bool) -> None:
    """Pads that count and pads that do not."""
    parameters = {
        "window": (3, 3),
        "pads_low": (1, 1),
        "pads_high": (1, 1),
        "count_include_pad": include and kind == "average",
    }
    for strides in ((1, 1), (2, 2)):
        check(
            make(
                "window",
                [(1, 9, 12, 35)],
                lambda x, s=strides: [Pool.build(x, kind=kind, strides=s, **CHANNELS_LAST, **parameters).out],
            )
        )


def test_max_pooling_with_positions() -> None:
    """The second result: where each maximum stands."""
    check(
        make(
            "window",
            [(2, 8, 8, 5)],
            lambda x: list(
                Pool.build(x, kind="max", window=(2, 2), strides=(2, 2), indices=True, **CHANNELS_LAST).results
            ),
        )
    )


@pytest.mark.parametrize(
    ("s", "t", "d", "e", "heads", "shared"),
    [(20, 20, 16, 16, 2, 2), (20, 40, 16, 24, 4, 2), (1, 128, 64, 64, 3, 3), (5, 1, 7, 3, 1, 1)],
)
@pytest.mark.parametrize("causal", [False, True])
def test_attention(s: int, t: int, d: int, e: int, heads: int, shared: int, causal: bool) -> None:
    """Grouped heads, odd sizes, additive masks, causal with an offset."""
    shapes = [(1, heads, s, d), (1, shared, t, d), (1, shared, t, e), (1, 1, 1, t)]

    def build(q: Any, k: Any, v: Any, m: Any) -> list[Any]:
        return [Attention.build(q, k, v, m, scale=0.3, causal=causal, causal_offset=max(t - s, 0)).out]

    check(make("attention", shapes, build))


@pytest.mark.parametrize("scale", [0.125, 0.9, -0.5])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("s", "t"), [(1, 1), (7, 16), (13, 60), (13, 64), (13, 65), (5, 197)])
def test_attention_without_masks(s: int, t: int, causal: bool, scale: float) -> None:
    """Scores that are but scaled, by factors that the power takes in and by others; vectors of keys of every count."""

    def build(q: Any, k: Any, v: Any) -> list[Any]:
        return [Attention.build(q, k, v, scale=scale, causal=causal, causal_offset=t - s).out]

    check(make("attention", [(2, 3, s, 20), (2, 3, t, 20), (2, 3, t, 40)], build))


def test_attention_of_long_sequences() -> None:
    """Values are brought together where they are read often; large scores do not overflow."""

    def heads(x: Any) -> Any:
        shaped = Reshape.build(x, result=tensor((1, 600, 2, 16), F32))
        return Transpose.build(shaped, permutation=(0, 2, 1, 3)).out

    def build(q: Any, k: Any, v: Any) -> list[Any]:
        return [Attention.build(heads(q), heads(k), heads(v), scale=0.25).out]

    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal((600, 32)).astype(np.float32) * size for size in (50, 50, 1)]
    check(make("attention", [(600, 32)] * 3, build), arrays)


def test_attention_to_nothing_and_to_infinity() -> None:
    """A query that sees no key gives 0, one with a NaN among its scores NaN, as the op says."""

    def build(q: Any, k: Any, v: Any, m: Any) -> list[Any]:
        return [Attention.build(q, k, v, m, scale=0.25).out]

    rng = np.random.default_rng(6)
    shapes = [(1, 1, 20, 8), (1, 1, 70, 8), (1, 1, 70, 8), (1, 1, 20, 70)]
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    lowest = np.finfo(np.float32).min
    arrays[3][..., 3, :], arrays[3][..., 4, :], arrays[3][..., 5, 1:] = -np.inf, lowest, -np.inf
    arrays[0][..., 7, 0] = np.nan
    check(make("attention", shapes, build), arrays)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrences(direction: str) -> None:
    """LSTM and GRU, both forms of reset."""
    ways = 2 if direction == "bidirectional" else 1
    states = [(ways, 2, 20)]
    check(
        make(
            "recurrence",
            [(5, 2, 8), (ways, 80, 8), (ways, 80, 20), (ways, 160), *states, *states],
            lambda *a: list(Lstm.build(*a, direction=direction).results),
        )
    )
    for linear in (False, True):
        check(
            make(
                "recurrence",
                [(5, 2, 8), (ways, 60, 8), (ways, 60, 20), (ways, 120), *states],
                lambda *a, f=linear: list(Gru.build(*a, direction=direction, linear_before_reset=f).results),
            )
        )


@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums_and_top_k(axis: int) -> None:
    """Exclusive and reversed sums; ties in stable order."""
    for exclusive in (False, True):
        check(
            make("scan", [(7, 33)], lambda x, f=exclusive: [Cumulative.build(x, axis=axis, exclusive=f, reverse=f).out])
        )
    values = np.random.default_rng(4).integers(0, 9, (7, 33)).astype(np.float32)
    for largest in (False, True):
        check(
            make("scan", [(7, 33)], lambda x, f=largest: list(TopK.build(x, axis=axis, k=5, largest=f).results)),
            [values],
            0,
        )
