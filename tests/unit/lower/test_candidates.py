"""Every candidate of every schedule that has some computes the same, and is named by what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.lower.dispatching import ISAS, make, reference

from penstock.compiler.backends.cpu.jit import load_kernel
from penstock.compiler.backends.cpu.target import LEVELS, cpu_target
from penstock.compiler.dialects.graph.activation import Relu
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.dialects.graph.winograd import WinogradConv, transform_weights
from penstock.compiler.passes.layout.pack_weights import WIDTHS, choose_panel, panels
from penstock.compiler.passes.lower.kernel import TUNABLE, load_schedules, lower_dispatch, schedule_options
from penstock.compiler.passes.lower.schedules.contraction import blockings, choose_blocking

PADS = {"layout": "channels_last", "pads_low": (1, 1), "pads_high": (1, 1)}


def contraction() -> Dispatch:
    """A product whose K is long enough to be cut."""
    return make(
        "contraction",
        [(99, 300), (5, 300, 64)],
        lambda x, w: [Relu.build(Matmul.build(x, w, b_panel=64, n=290).out).out],
    )


def convolution() -> Dispatch:
    """A convolution with tails along all axes."""
    return make(
        "convolution",
        [(1, 9, 13, 24), (2, 3, 3, 24, 32)],
        lambda x, w: [Conv.build(x, w, panel=32, out_channels=40, **PADS).out],
    )


def depthwise() -> Dispatch:
    """One group for each channel."""
    return make("depthwise", [(1, 7, 17, 40), (3, 3, 1, 40)], lambda x, w: [Conv.build(x, w, groups=40, **PADS).out])


def winograd() -> Dispatch:
    """Tiles of 2, at the border, too."""
    parameters = {"tile": 2, "out_channels": 48, "pads_low": (1, 1), "pads_high": (1, 1)}
    return make(
        "winograd", [(1, 9, 10, 16), (2, 16, 16, 32)], lambda x, u: [WinogradConv.build(x, u, **parameters).out]
    )


KINDS = {"contraction": contraction, "convolution": convolution, "depthwise": depthwise, "winograd": winograd}


def arrays(kind: str) -> list[np.ndarray[Any, Any]]:
    """What the dispatch reads, columns that do not exist zero."""
    generator = np.random.default_rng(3)

    def numbers(*shape: int) -> np.ndarray[Any, Any]:
        return generator.standard_normal(shape).astype(np.float32)

    if kind == "winograd":
        return [numbers(1, 9, 10, 16), transform_weights(numbers(3, 3, 16, 48), 2, 32)]
    shapes = {
        "contraction": [(99, 300), (5, 300, 64)],
        "convolution": [(1, 9, 13, 24), (2, 3, 3, 24, 32)],
        "depthwise": [(1, 7, 17, 40), (3, 3, 1, 40)],
    }
    return [numbers(*shape) for shape in shapes[kind]]


def test_all_kinds_with_candidates_are_here() -> None:
    load_schedules()
    assert set(KINDS) == TUNABLE


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_candidate_computes_the_same(kind: str, isa: str) -> None:
    dispatch, given = KINDS[kind](), arrays(kind)
    (wanted,) = reference(dispatch, given)
    names = schedule_options(dispatch, cpu_target(isa))
    assert len(set(names)) == len(names) > 3
    code: set[str] = set()
    for name in names:
        kernel = lower_dispatch(dispatch, cpu_target(isa), choice=name)
        kernel.verify()
        code.add(str(kernel))
        result = np.full(wanted.shape, 77, np.float32)
        load_kernel(kernel, isa)([*(array.reshape(-1) for array in given), result.reshape(-1)])
        np.testing.assert_allclose(result, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max(), err_msg=name)
    assert len(code) > len(names) // 2  # some differ only where sizes are larger
    assert str(lower_dispatch(dispatch, cpu_target(isa))) == str(
        lower_dispatch(dispatch, cpu_target(isa), choice=names[0])
    )


@pytest.mark.parametrize("machine", LEVELS.values(), ids=str)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 16, 8), (49, 512, 2048), (784, 128, 512), (7, 10, 3), (100000, 8, 4)])
def test_blockings_fit_and_begin_with_the_estimate(m: int, n: int, k: int, machine: Any) -> None:
    panel = choose_panel(n)
    found = blockings(m, n, k, panel, machine, 4 * k)
    assert next(iter(found.values())) == choose_blocking(m, n, k, panel, machine, 4 * k)
    for blocking in found.values():
        vectors = -(-blocking.columns // machine.lanes)
        assert blocking.rows * vectors * blocking.chains + vectors < machine.vector_registers
        assert panel % blocking.columns == 0
        assert 1 <= blocking.sweep <= -(-m // blocking.rows)


@pytest.mark.parametrize("columns", [1, 10, 16, 48, 64, 1000, 4096])
def test_panels_begin_with_the_estimate_and_waste_little_more(columns: int) -> None:
    found = list(panels(columns).values())
    assert found[0] == choose_panel(columns)
    assert set(found) <= set(WIDTHS)
    padded = [-(-columns // width) * width for width in found]
    assert max(padded) <= 1.1 * padded[0]
