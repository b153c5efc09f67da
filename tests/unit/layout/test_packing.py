"""Weights in panels: nothing is lost, the rest is zero, and only what a kernel reads is stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.layout.models import MODELS, NAMES, run, stage
from unit.simplify.checking import Net

from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dialects.plan.program import Program, Weight
from penstock.compiler.driver import CompileOptions, run_phases
from penstock.compiler.dumps import keys_in
from penstock.compiler.passes.layout.pack_weights import WIDTHS, choose_panel, pack
from penstock.compiler.passes.package.contents import Part, build_contents


@given(
    outer=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    columns=st.integers(1, 150),
    panel=st.sampled_from(WIDTHS),
)
def test_panels_hold_the_columns_in_order_and_zeros(outer: list[int], columns: int, panel: int) -> None:
    matrix = np.arange(1, 1 + np.prod(outer) * columns, dtype=np.float32).reshape(*outer, columns)
    packed = pack(matrix, panel)
    panels = -(-columns // panel)
    assert packed.shape == (panels, *outer, panel)
    flat = np.concatenate(list(packed), axis=-1)
    np.testing.assert_array_equal(flat[..., :columns], matrix)
    assert not flat[..., columns:].any()
    assert packed.flags.c_contiguous


@given(columns=st.integers(1, 5000), preferred=st.sampled_from(WIDTHS))
def test_no_other_panel_wastes_less(columns: int, preferred: int) -> None:
    panel = choose_panel(columns, preferred)
    assert panel in WIDTHS
    assert panel <= preferred
    for other in WIDTHS:
        if other <= preferred:
            ours, theirs = (-(-columns // width) * width for width in (panel, other))
            assert ours < theirs or (ours == theirs and panel >= other)


@pytest.mark.parametrize("name", NAMES)
def test_packed_weights_of_models_are_padded_with_zeros(name: str) -> None:
    found = stage(name, "fuse")
    for op in found.module.walk():
        if not (isinstance(op, Matmul) and op.b_panel) and not (isinstance(op, Conv) and op.panel):
            continue
        weights = op.operands[1].owner
        assert isinstance(weights, Constant)
        array = weights.array(found.ctx.weights)
        columns, panel = (op.n, op.b_panel) if isinstance(op, Matmul) else (op.out_channels, op.panel)
        assert array.shape[0] == -(-columns // panel)
        assert array.shape[-1] == panel
        assert not array[-1, ..., columns - (array.shape[0] - 1) * panel :].any()


def panels(net: Net, output: Any) -> set[int]:
    """The panel widths of the products and convolutions after packing, which keeps what they compute."""
    packed = [op for op in run(net, output, "pack-weights", "dce").module.walk() if isinstance(op, Matmul | Conv)]
    return {op.b_panel if isinstance(op, Matmul) else op.panel for op in packed}


@pytest.mark.parametrize(("columns", "panel"), [(1, 16), (17, 32), (48, 48), (64, 64), (100, 16), (128, 64)])
def test_a_constant_right_operand_is_packed(columns: int, panel: int) -> None:
    net = Net(x="3x11xf32")
    w = np.random.default_rng(0).standard_normal((11, columns), np.float32)
    assert panels(net, net.matmul(net.x, w)) == {panel}


def test_an_operand_that_is_computed_is_not_packed() -> None:
    net = Net(x="3x11xf32", w="11x17xf32")
    assert panels(net, net.matmul(net.x, net.w)) == {0}


def test_a_batch_of_constant_matrices_is_not_packed() -> None:
    net = Net(x="2x3x11xf32")
    w = np.random.default_rng(0).standard_normal((2, 11, 17), np.float32)
    assert panels(net, net.matmul(net.x, w)) == {0}


@pytest.mark.parametrize(("groups", "panel"), [(1, 16), (6, 0)])
def test_depthwise_weights_stay_as_they_are(groups: int, panel: int) -> None:
    net = Net(x="1x7x5x6xf32")
    w = np.random.default_rng(0).standard_normal((3, 3, 6 // groups, 6), np.float32)
    assert panels(net, net.conv(net.x, w, groups=groups, layout="channels_last")) == {panel}


@pytest.mark.parametrize("name", ["mobilenet_v2", "lstm", "bert_base"])
def test_only_weights_that_a_command_reads_are_stored(name: str) -> None:
    result = run_phases(MODELS / f"{name}.onnx", CompileOptions(target="null"))
    program = next(op for op in result.module.walk() if isinstance(op, Program))
    stored = [op for op in program.body.ops if isinstance(op, Weight)]
    assert all(op.out.first_use is not None for op in stored), "a weight that no command reads"
    assert len({op.key for op in stored}) == len(stored), "a weight stored twice"
    result.ctx.weights.put("unread", np.ones(9, np.float32))
    written = build_contents([Part(result.module, result.ctx)], {}).weights
    assert [id(array) for array in written] == [id(result.ctx.weights[op.key]) for op in stored]


@pytest.mark.parametrize("name", ["lstm", "bert_base", "resnet50"])
def test_weights_are_freed_when_they_are_packed(name: str) -> None:
    found = stage(name, "layout")
    found.apply("channels-last", "dce")
    for array in [key for key in found.ctx.weights if key not in keys_in(found.module, found.ctx.weights)]:
        found.ctx.weights.discard(array)  # what earlier phases left
    found.apply("fold-constants", "pack-weights")
    assert set(found.ctx.weights) == set(keys_in(found.module, found.ctx.weights))


def test_a_weight_with_another_reader_is_kept_when_it_is_packed() -> None:
    net = Net(x="4x9xf32", rows="3xi64")
    w = net.value(np.random.default_rng(0).standard_normal((9, 17), np.float32))
    again = net.value(np.random.default_rng(0).standard_normal((9, 17), np.float32))  # the same key
    sums = [net.reduce(value, kind="sum", axes=(0, 1)) for value in (net.matmul(net.x, w), net.gather(again, net.rows))]
    found = run(net, net.add(*sums), "pack-weights")
    assert len(found.ctx.weights) == 2
