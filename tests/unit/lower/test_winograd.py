"""Winograd convolutions: the transforms are exact, kernels agree with direct convolutions at odd shapes, and how exact
results are is measured beside double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from unit.lower.dispatching import ISAS, check, make, native, strict
from unit.lower.test_symbolic import check as check_symbolic

from penstock.compiler.backends.cpu.target import LEVELS
from penstock.compiler.dialects.graph.activation import Relu
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.elementwise import Add
from penstock.compiler.dialects.graph.winograd import POINTS, WINDOW, WinogradConv, transform_weights, transforms
from penstock.compiler.extents import symbol
from penstock.compiler.passes.layout.winograd import tiles_by_time
from penstock.compiler.passes.lower.schedules.winograd import choose_block

PANEL = 32
Case = tuple[tuple[int, int, int, int], int, tuple[int, int], tuple[int, int]]

# activations, output channels, pads before and after
CASES: list[Case] = [
    ((1, 1, 1, 16), 16, (1, 1), (1, 1)),
    ((1, 4, 4, 16), 32, (1, 1), (1, 1)),
    ((1, 7, 7, 32), 48, (1, 1), (1, 1)),
    ((2, 13, 11, 16), 80, (1, 1), (1, 1)),
    ((1, 9, 20, 48), 16, (0, 2), (3, 0)),
    ((3, 6, 5, 16), 16, (0, 0), (0, 0)),
    ((1, 16, 16, 64), 64, (1, 1), (1, 1)),
]


def winograd(x: Any, u: Any, tile: int, case: Case) -> Any:
    _, features, low, high = case
    return WinogradConv.build(x, u, tile=tile, out_channels=features, pads_low=low, pads_high=high)


def packed_shape(case: Case, tile: int) -> tuple[int, ...]:
    (*_, channels), features, _, _ = case
    return (-(-features // PANEL), (tile + WINDOW - 1) ** 2, channels, PANEL)


def arrays(case: Case, tile: int, seed: int = 5) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Activations, weights [3, 3, C, O], and the weights transformed and packed."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(case[0]).astype(np.float32)
    w = rng.standard_normal((WINDOW, WINDOW, case[0][-1], case[1])).astype(np.float32)
    return x, w, transform_weights(w, tile, PANEL)


def direct(x: NDArray[Any], w: NDArray[Any], case: Case) -> NDArray[Any]:
    """The convolution in double precision, tap by tap."""
    _, _, low, high = case
    padded = np.pad(x.astype(np.float64), [(0, 0), *zip(low, high, strict=True), (0, 0)])
    rows, columns = (extent - 2 for extent in padded.shape[1:3])
    taps = [
        padded[:, i : i + rows, j : j + columns] @ w[i, j].astype(np.float64)
        for i in range(WINDOW)
        for j in range(WINDOW)
    ]
    return np.sum(taps, axis=0)


@pytest.mark.parametrize("tile", POINTS)
def test_the_transforms_compute_a_correlation(tile: int) -> None:
    """Outputs of one tile along one axis, to double precision, for any inputs and window."""
    matrices, rng = transforms(tile), np.random.default_rng(1)
    for _ in range(20):
        d, g = rng.standard_normal(tile + WINDOW - 1), rng.standard_normal(WINDOW)
        y = matrices.outputs @ ((matrices.weights @ g) * (matrices.inputs @ d))
        np.testing.assert_allclose(y, np.correlate(d, g), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("tile", POINTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_agree_with_the_direct_convolution(case: Case, tile: int) -> None:
    """Borders, tails of tiles, of channels and of panels; any cut of the units gives the same bits."""
    x, w, u = arrays(case, tile)
    dispatch = make("winograd", [case[0], packed_shape(case, tile)], lambda a, b: [winograd(a, b, tile, case).out])
    reference: Any = next(op for op in dispatch.body.ops if isinstance(op, WinogradConv)).evaluate(x, u)
    want = direct(x, w, case)
    np.testing.assert_allclose(reference, want, rtol=0, atol=2e-6 * np.abs(want).max())
    check(dispatch, [x, u], tolerance=1e-5)


@pytest.mark.parametrize("tile", POINTS)
def test_no_access_leaves_a_buffer(tile: int) -> None:
    for case in CASES[:4]:
        x, _, u = arrays(case, tile)
        shapes = [case[0], packed_shape(case, tile)]
        strict(make("winograd", shapes, lambda a, b, case=case: [winograd(a, b, tile, case).out]), [x, u], 1e-4)


@pytest.mark.parametrize("tile", POINTS)
def test_what_follows_is_applied_to_each_output(tile: int) -> None:
    """Bias, residual and activation, at borders too."""
    case = CASES[3]
    x, _, u = arrays(case, tile)
    rng = np.random.default_rng(2)
    bias, rest = (rng.standard_normal(shape).astype(np.float32) for shape in (case[1], (2, 13, 11, 80)))

    def build(a: Any, b: Any, c: Any, d: Any) -> list[Any]:
        return [Relu.build(Add.build(Add.build(winograd(a, b, tile, case).out, c).out, d).out).out]

    shapes = [case[0], packed_shape(case, tile), bias.shape, rest.shape]
    check(make("winograd", shapes, build), [x, u, bias, rest], tolerance=1e-5)


@pytest.mark.parametrize("tile", POINTS)
def test_symbolic_images(tile: int) -> None:
    """One kernel for any batch, height and width."""
    batch, height, width = symbol("batch"), symbol("h", 4), symbol("w", 5)
    case: Any = ((batch, height, width, 16), 32, (1, 1), (1, 1))
    sizes = [{"batch": b, "h": h, "w": w} for b, h, w in ((1, 4, 5), (2, 7, 9), (3, 16, 20), (1, 8, 41))]
    build = lambda a, b: [winograd(a, b, tile, case).out]  # noqa: E731
    check_symbolic("winograd", [case[0], packed_shape(case, tile)], build, sizes, tolerance=1e-4)


@pytest.mark.parametrize(("tile", "most"), [(2, 2e-7), (4, 2e-6)])
def test_accuracy_beside_double_precision(tile: int, most: float) -> None:
    """The error as a part of the results' range stays within what the documentation says."""
    case: Case = ((1, 20, 20, 128), 32, (1, 1), (1, 1))
    x, w, u = arrays(case, tile, seed=11)
    dispatch = make("winograd", [case[0], packed_shape(case, tile)], lambda a, b: [winograd(a, b, tile, case).out])
    want = direct(x, w, case)
    for isa in ISAS:
        (result,) = native(dispatch, [x, u], isa)
        assert np.abs(result - want).max() / np.ptp(want) < most


def test_numbers_that_are_not_finite_stay_near() -> None:
    """A NaN or an infinity reaches the tiles that read it, and no others."""
    case = CASES[6]
    x, _, u = arrays(case, 4)
    x[0, 5, 5, 3], x[0, 5, 6, 3] = np.nan, np.inf
    dispatch = make("winograd", [case[0], packed_shape(case, 4)], lambda a, b: [winograd(a, b, 4, case).out])
    for isa in ISAS:
        (result,) = native(dispatch, [x, u], isa)
        spoilt = ~np.isfinite(result[0]).all(-1)
        assert spoilt[4:8, 4:8].all()
        assert not spoilt[8:].any()
        assert not spoilt[:, 8:].any()


@pytest.mark.parametrize(
    ("extent", "channels", "features", "tile"),
    [(56, 64, 64, 4), (28, 128, 128, 4), (14, 256, 256, 4), (7, 512, 512, 2), (1, 512, 512, 0), (2, 64, 64, 0)],
)
def test_the_cost_model_chooses(extent: int, channels: int, features: int, tile: int) -> None:
    """Large images take tiles of 4; where weights weigh more, tiles of 2 or none."""
    made: list[Conv] = []

    def build(x: Any, w: Any) -> list[Any]:
        pads = {"pads_low": (1, 1), "pads_high": (1, 1)}
        made.append(Conv.build(x, w, layout="channels_last", **pads))
        return [made[0].out]

    make("convolution", [(1, extent, extent, channels), (3, 3, channels, features)], build)
    assert tiles_by_time(made[0], 4)[0] == tile
    assert tiles_by_time(made[0], 2)[0] == min(tile, 2)
    assert tiles_by_time(made[0], 0)[0] == 0


@pytest.mark.parametrize("machine", LEVELS.values(), ids=str)
@pytest.mark.parametrize("total", [1, 3, 16, 49, 196, 5000])
def test_blocks_fit_registers_and_cover_all_panels(machine: Any, total: int) -> None:
    for points, channels, features in ((16, 512, 512), (36, 64, 80), (36, 16, 16)):
        block = choose_block(total, points, channels, features, PANEL, machine)
        vectors = block.columns // machine.lanes
        assert block.tiles % block.rows == 0
        assert PANEL % block.columns == 0
        assert block.rows * vectors + vectors < machine.vector_registers
        assert 1 <= block.panels <= -(-features // PANEL)
