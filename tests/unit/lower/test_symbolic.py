"""Kernels over symbolic extents: compiled once, run at many sizes, beside numpy at each of them.

Sizes are 1, primes, multiples of the tiles' widths and their neighbours, so that every tail is met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from unit.lower.dispatching import ISAS, make, reference
from xdsl.ir import SSAValue

from penstock.compiler.backends.cpu.jit import load_kernel
from penstock.compiler.backends.cpu.target import cpu_target
from penstock.compiler.dialects.graph import elementwise as ew
from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.normalization import Normalize, Softmax
from penstock.compiler.dialects.graph.ordering import TopK
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.recurrence import Gru, Lstm
from penstock.compiler.dialects.graph.reduction import ArgReduce, Cumulative, Reduce
from penstock.compiler.dialects.graph.shape import Concat, Expand, Iota, Pad, Reshape, Slice, Transpose
from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.dialects.tile.interpreter import interpret
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.dtypes import F32, I64, numpy_dtype, shape_of, tensor
from penstock.compiler.extents import Extent, evaluate, symbol
from penstock.compiler.passes.lower.kernel import lower_dispatch
from penstock.compiler.specialise import rewrite_extents

Sizes = dict[str, int]
Build = Callable[..., Sequence[SSAValue]]

B, S, T = symbol("batch"), symbol("seq"), symbol("total")
TEXTS = [
    {"batch": batch, "seq": seq, "total": total}
    for batch, seq, total in ((1, 1, 1), (2, 7, 9), (3, 64, 64), (1, 130, 33), (2, 16, 128))
]
H, W = symbol("h", 4), symbol("w", 5)
IMAGES = [{"batch": b, "h": h, "w": w} for b, h, w in ((1, 5, 5), (2, 7, 9), (3, 33, 20), (1, 8, 40))]


def at_sizes(dispatch: Dispatch, sizes: Sizes) -> Dispatch:
    """The dispatch with its symbols replaced by numbers."""
    copy = dispatch.clone()
    rewrite_extents(copy, lambda extent: evaluate(extent, sizes))
    return copy


def inputs_of(static: Dispatch, limits: dict[int, int]) -> list[NDArray[Any]]:
    """Random arrays; integers stand for indices, up to ``limits`` of the operand."""
    rng = np.random.default_rng(3)
    arrays: list[NDArray[Any]] = []
    for number, value in enumerate(static.body.args):
        dtype = numpy_dtype(element_of(value))
        if dtype.kind == "i":
            arrays.append(rng.integers(-limits[number], limits[number], shape_of(value.type), dtype))
        else:
            arrays.append(rng.standard_normal(shape_of(value.type)).astype(dtype))
    return arrays


def buffers(kernel: Kernel, static: Dispatch, arrays: list[NDArray[Any]], sizes: Sizes) -> list[NDArray[Any]]:
    """Inputs, the sizes, and results to be written."""
    values = [np.array([sizes[name] for name in kernel.sizes], np.int64)] if kernel.sizes else []
    results = [np.full(shape_of(v.type), 77, numpy_dtype(element_of(v))) for v in static.terminator.operands]
    return [np.ascontiguousarray(a).reshape(-1) for a in (*arrays, *values)] + [r.reshape(-1) for r in results]


def check(
    kind: str, shapes: Sequence[Any], build: Build, sizes: list[Sizes], limit: Extent = 0, tolerance: float = 2e-5
) -> None:
    """One kernel per level agrees with the reference at every size, and its bits do not depend on the cut of units."""
    dispatch = make(kind, shapes, build)
    for isa in ISAS:
        kernel = lower_dispatch(dispatch, cpu_target(isa))
        kernel.verify()
        loaded = load_kernel(kernel, isa)
        for numbers in sizes:
            static = at_sizes(dispatch, numbers)
            count = len(static.terminator.operands)
            arrays = inputs_of(static, {1: evaluate(limit, numbers)})
            flat = buffers(kernel, static, arrays, numbers)
            loaded(flat)
            for result, want in zip(flat[-count:], reference(static, arrays), strict=True):
                scale = float(np.abs(want).max()) if want.size else 1.0
                message = f"{kind} on {isa} at {numbers}"
                np.testing.assert_allclose(
                    result, want.reshape(-1), rtol=tolerance, atol=tolerance * scale, err_msg=message
                )
            cut = buffers(kernel, static, arrays, numbers)
            for begin, end in pairwise(np.linspace(0, evaluate(kernel.units, numbers), 4).astype(int)):
                loaded(cut, int(begin), int(end))
            for whole, piece in zip(flat[-count:], cut[-count:], strict=True):
                np.testing.assert_array_equal(whole, piece)


MAPS: dict[str, tuple[list[Any], Build]] = {
    "elementwise": ([(B, S, 24), (24,)], lambda x, y: [ew.Add.build(ew.Exp.build(x).out, y).out]),
    "broadcast": ([(B, S), (S,)], lambda x, y: [ew.Mul.build(x, y).out]),
    "transpose": ([(S, B)], lambda x: [Transpose.build(x, permutation=(1, 0)).out]),
    "heads": (
        [(B, S, 4, 16)],
        lambda x: [
            Reshape.build(Transpose.build(x, permutation=(0, 2, 1, 3)).out, result=tensor((B * 4, S * 16), F32)).out
        ],
    ),
    "split": (
        [(B * T, S)],
        lambda x: [Transpose.build(Reshape.build(x, result=tensor((B, T, S), F32)).out, permutation=(2, 0, 1)).out],
    ),
    "concat": ([(B, S, 8), (B, 1, 8), (B, T, 8)], lambda x, c, y: [Concat.build(x, c, y, axis=1).out]),
    "concat read across": (
        [(B, S, 8), (B, T, 8)],
        lambda x, y: [ew.Exp.build(Transpose.build(Concat.build(x, y, axis=1).out, permutation=(0, 2, 1)).out).out],
    ),
    "last": (
        [(B, T + S, 8)],
        lambda x: [Slice.build(x, starts=(0, S - 1, 0), steps=(1, 1, 1), result=tensor((B, 1, 8), F32)).out],
    ),
    "backwards": (
        [(B, S + 3)],
        lambda x: [Slice.build(x, starts=(0, S + 1), steps=(1, -1), result=tensor((B, S), F32)).out],
    ),
    "pad": ([(B, S), ()], lambda x, v: [Pad.build(x, v, low=(0, 3), high=(1, T)).out]),
    "edge": ([(B, S)], lambda x: [Pad.build(x, low=(0, 3), high=(2, 0), mode="edge").out]),
    "expand": ([(B, 1)], lambda x: [Expand.build(x, result=tensor((T, B, S), F32)).out]),
    "iota": ([], lambda: [Iota.build(result=tensor((B, S), I64), axis=1).out]),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps(name: str) -> None:
    check("map", *MAPS[name], TEXTS)


@pytest.mark.parametrize("rows", [50, T])
def test_gather(rows: Extent) -> None:
    indices = tensor((B, S), I64)
    check("map", [(rows, 16), indices], lambda x, i: [Gather.build(x, i, axis=0).out], TEXTS, limit=rows)


@pytest.mark.parametrize("kind", ["sum", "max", "prod"])
@pytest.mark.parametrize(("shape", "axes"), [((B, S), (1,)), ((S, B), (0,)), ((B, S, 5), (1,)), ((B, S), (0, 1))])
def test_reductions(kind: str, shape: Any, axes: tuple[int, ...]) -> None:
    check("reduction", [shape], lambda x: [Reduce.build(x, kind=kind, axes=axes, keepdims=False).out], TEXTS)


@pytest.mark.parametrize(("shape", "axis"), [((B, S), 1), ((S, B), 0)])
def test_positions_of_extremes(shape: Any, axis: int) -> None:
    build: Build = lambda x: [ArgReduce.build(x, kind="max", axis=axis, keepdims=False).out]  # noqa: E731
    check("reduction", [shape], build, TEXTS)


@pytest.mark.parametrize(("shape", "axis"), [((B, S), 1), ((S, B), 0), ((B, S, 5), 1)])
def test_softmax_and_running_sums(shape: Any, axis: int) -> None:
    check("normalization", [shape], lambda x: [Softmax.build(x, axis=axis).out], TEXTS)
    check("scan", [shape], lambda x: [Cumulative.build(x, kind="sum", axis=axis).out], TEXTS)


@pytest.mark.parametrize(("shape", "axes"), [((B, S, 40), (2,)), ((B, S), (0, 1)), ((B, S), (1,))])
def test_norms(shape: Any, axes: tuple[int, ...]) -> None:
    sizes = [numbers for numbers in TEXTS if numbers["seq"] > 1 or 2 in axes]  # one number has no deviation to speak of
    check("normalization", [shape], lambda x: [Normalize.build(x, axes=axes, epsilon=1e-5).out], sizes)


def test_the_best() -> None:
    check("scan", [(B, W)], lambda x: list(TopK.build(x, axis=1, k=5).results), IMAGES)


@pytest.mark.parametrize(
    ("a", "b"),
    [((B, S, 24), (24, 50)), ((B, 4, S, 16), (B, 4, 16, T)), ((B, 4, S, T), (B, 4, T, 16)), ((S, T), (T, B))],
)
def test_products(a: Any, b: Any) -> None:
    check("contraction", [a, b], lambda x, y: [Matmul.build(x, y).out], TEXTS)


def test_long_products_of_packed_weights() -> None:
    """Rows of any number, of which one block or several wait in scratch for the next part of the depth."""

    def build(x: SSAValue, w: SSAValue) -> list[SSAValue]:
        return [Matmul.build(x, w, b_panel=64, n=500).out]

    sizes = [{"seq": rows} for rows in (1, 5, 6, 23, 131, 200)]
    check("contraction", [(S, 1030), (8, 1030, 64)], build, sizes)


def test_products_of_transposed_heads() -> None:
    def build(a: SSAValue, b: SSAValue) -> list[SSAValue]:
        left, right = Transpose.build(a, permutation=(0, 2, 1, 3)), Transpose.build(b, permutation=(0, 2, 3, 1))
        return [ew.Exp.build(Matmul.build(left, right).out).out]

    check("contraction", [(B, S, 4, 16), (B, T, 4, 16)], build, TEXTS)


ATTENTIONS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "grouped": ([(B, 4, S, 16), (B, 2, T, 16), (B, 2, T, 24)], {}),
    "masked": ([(B, 4, S, 16), (B, 4, T, 16), (B, 4, T, 24), (B, 1, 1, T)], {}),
    "masked rows": ([(B, 4, S, 16), (B, 4, T, 16), (B, 4, T, 24), (B, 4, S, T)], {}),
    "causal": ([(B, 4, S, 16), (B, 4, S + T, 16), (B, 4, S + T, 24)], {"causal": True}),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention(name: str) -> None:
    shapes, parameters = ATTENTIONS[name]
    check("attention", shapes, lambda *x: [Attention.build(*x, scale=0.25, **parameters).out], TEXTS)


@pytest.mark.parametrize("kind", [Lstm, Gru])
def test_recurrences(kind: type[Lstm | Gru]) -> None:
    """Over symbolic steps and batch; few steps, as random weights make errors grow from one to the next."""
    sizes = [{"batch": batch, "seq": steps} for batch, steps in ((1, 1), (2, 7), (9, 5), (17, 3))]
    gates, hidden, width = kind.gates, 20, 6
    states = [(1, B, hidden)] * len(kind.states)
    shapes = [(S, B, width), (1, gates * hidden, width), (1, gates * hidden, hidden), (1, 2 * gates * hidden), *states]
    check("recurrence", shapes, lambda *x: list(kind.build(*x).results), sizes, tolerance=1e-4)


def sliding(strides: int = 1, pads: int = 0, dilations: int = 1, **others: Any) -> dict[str, Any]:
    """The parameters of a windowed op over two axes alike."""
    return dict(
        strides=(strides,) * 2,
        dilations=(dilations,) * 2,
        pads_low=(pads,) * 2,
        pads_high=(pads,) * 2,
        layout="channels_last",
        **others,
    )


CONVOLUTIONS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "batch only": ((B, 7, 7, 8), (3, 3, 8, 16), sliding(pads=1)),
    "same": ((B, H, W, 8), (3, 3, 8, 16), sliding(pads=1)),
    "strided": ((B, H, W, 8), (3, 3, 8, 72), sliding(strides=2, pads=1)),
    "pointwise": ((B, H, W, 8), (1, 1, 8, 72), sliding()),
    "pointwise strided": ((B, H, W, 8), (1, 1, 8, 72), sliding(strides=2)),
    "grouped": ((B, H, W, 8), (5, 5, 4, 16), sliding(pads=2, groups=2)),
    "dilated": ((B, H, W, 8), (3, 3, 8, 16), sliding(pads=2, dilations=2)),
    "depthwise": ((B, H, W, 40), (3, 3, 1, 40), sliding(pads=1, groups=40)),
    "depthwise strided": ((B, H, W, 40), (3, 3, 1, 40), sliding(strides=2, pads=1, groups=40)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    x, w, parameters = CONVOLUTIONS[name]
    kind = "depthwise" if parameters.get("groups", 1) > 2 else "convolution"
    check(kind, [x, w], lambda a, b: [Conv.build(a, b, **parameters).out], IMAGES)


def test_separable_convolutions() -> None:
    """Of any number of images."""

    def build(x: Any, w: Any, p: Any) -> list[Any]:
        conv = Conv.build(x, w, **sliding(pads=1, groups=20)).out
        return [Matmul.build(Reshape.build(conv, result=tensor((B * 15 * 17, 20), F32)).out, p, b_panel=16, n=24).out]

    check("separable", [(B, 15, 17, 20), (3, 3, 1, 20), (2, 20, 16)], build, IMAGES)


@pytest.mark.parametrize("kind", [{"kind": "max"}, {"kind": "average"}, {"kind": "average", "count_include_pad": True}])
def test_pooling(kind: dict[str, Any]) -> None:
    parameters = sliding(strides=2, pads=1, window=(3, 3), **kind)
    check("window", [(B, H, W, 20)], lambda x: list(Pool.build(x, **parameters).results), IMAGES)


def test_pooling_with_positions() -> None:
    parameters = sliding(strides=2, pads=1, window=(3, 3), kind="max", indices=True)
    check("window", [(B, H, W, 20)], lambda x: list(Pool.build(x, **parameters).results), IMAGES)


def test_the_tile_interpreter_reads_sizes_too() -> None:
    """Which also checks that no access leaves its buffer and that units do not touch each other's elements."""
    dispatch = make("contraction", [(B, S, 5), (5, 20)], lambda x, y: [Matmul.build(x, y).out])
    kernel = lower_dispatch(dispatch, cpu_target(ISAS[-1]))
    for numbers in ({"batch": 1, "seq": 1}, {"batch": 2, "seq": 7}):
        static = at_sizes(dispatch, numbers)
        arrays = inputs_of(static, {})
        flat = buffers(kernel, static, arrays, numbers)
        interpret(kernel, flat)
        np.testing.assert_allclose(flat[-1], reference(static, arrays)[0].reshape(-1), rtol=1e-5, atol=1e-5)
