"""The passes of phase layout over the tiny models: outputs stay, layouts change, transposes meet and vanish."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from unit.layout.models import NAMES, check_passes, close, run, stage
from unit.simplify.checking import Net
from xdsl.ir import BlockArgument

from penstock.compiler.dialects.graph.shape import Transpose
from penstock.compiler.dialects.graph.window import Windowed
from penstock.compiler.irtext import to_text


@pytest.mark.parametrize("name", NAMES)
def test_every_pass_keeps_what_models_compute(name: str) -> None:
    done = check_passes(name, "layout", close)
    windows = [op for op in done.module.walk() if isinstance(op, Windowed)]
    assert all(op.layout == "channels_last" for op in windows)


@pytest.mark.parametrize("name", NAMES)
def test_sinking_is_done_at_once_and_leaves_no_transpose_of_a_transpose(name: str) -> None:
    passes = ("sink-transposes", "fold-constants", "dce")
    found = stage(name, "layout").apply("channels-last", *passes)
    once = to_text(found.module)
    assert not any(isinstance(op.operands[0].owner, Transpose) for op in _transposes(found.module))
    assert to_text(found.apply(*passes).module) == once


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_convolutional_networks_transpose_their_input_only(name: str) -> None:
    found = stage(name, "fuse")
    (only,) = _transposes(found.module)
    assert isinstance(only.operands[0], BlockArgument)


def _transposes(module: Any) -> list[Transpose]:
    return [op for op in module.walk() if isinstance(op, Transpose)]


def ops(net: Net, output: Any, *passes: str) -> Counter[str]:
    """The kinds of ops left of ``net`` after ``passes``."""
    left = run(net, output, *passes).module.walk()
    return Counter(op.name.removeprefix("graph.") for op in left if op.name.startswith("graph."))


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_only_a_window_of_one_element_without_stride_is_a_product(strides: tuple[int, int]) -> None:
    net = Net(x="2x3x5x7xf32", w="4x3x1x1xf32")
    left = ops(net, net.conv(net.x, net.w, strides=strides), "channels-last")
    assert (left["matmul"], left["conv"]) == ((1, 0) if strides == (1, 1) else (0, 1))


def test_neighbouring_convolutions_have_no_transposes_between_them() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.standard_normal((3, 3, 3, 3), np.float32) for _ in range(2))
    net = Net(x="1x3x9x11xf32")
    y = net.conv(net.relu(net.conv(net.x, first)), second)
    left = ops(net, y, "channels-last", "sink-transposes", "fold-constants", "dce")
    assert left["conv"] == 2
    assert left["transpose"] == 2


def test_a_transpose_with_several_readers_sinks_past_each() -> None:
    net = Net(x="1x4x5x3xf32")
    t = net.transpose(net.x, permutation=(0, 3, 1, 2))
    y = net.add(net.exp(t), net.neg(t))
    left = ops(net, net.transpose(y, permutation=(0, 2, 3, 1)), "sink-transposes", "dce")
    assert left == {"exp": 1, "neg": 1, "add": 1}


def test_a_transpose_stays_where_another_operand_would_have_to_be_moved() -> None:
    net = Net(x="5x7xf32", y="7x5xf32")
    left = ops(net, net.add(net.transpose(net.x, permutation=(1, 0)), net.y), "sink-transposes", "dce")
    assert left == {"transpose": 1, "add": 1}
