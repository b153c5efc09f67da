"""Constants, common subexpressions, dead code, scales and shifts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.graph.building import random
from unit.simplify.checking import Net, apply, check_module

from penstock.compiler.locations import source_names


def test_constants_are_computed():
    net = Net(x="2x3xf32")
    y = net.matmul(net.value(random(4, 5)), random(5, 3, seed=1))
    y = net.slice(net.softmax(y, axis=1), result="2x3xf32", starts=(0, 0), steps=(2, 1))
    assert net.check(net.add(net.x, y), "fold-constants") == {"add": 1}


def test_folded_constants_are_named_after_what_they_come_from():
    net = Net(x="3x20xf32")
    w = net.value(random(20, 3))
    module = net.module(net.add(net.x, net.transpose(w, permutation=(1, 0))))
    apply(module, net.ctx, "fold-constants")
    (constant,) = [op for op in module.walk() if op.name == "graph.constant"]
    assert str(constant.attributes["key"]).strip('"').startswith("w#")
    assert source_names(constant.location) == ("transpose_2",)


def test_large_results_are_not_computed():
    net = Net(x="2000x300xf32")
    y = net.expand(np.arange(300, dtype=np.float32), result="2000x300xf32")
    assert net.check(net.add(net.x, net.exp(y)), "fold-constants") == {"expand": 1, "exp": 1, "add": 1}


def test_four_times_the_operands_are_allowed():
    net = Net(x="700x700xf32")
    y = net.transpose(net.value(random(700, 700)), permutation=(1, 0))
    assert net.check(net.add(net.x, y), "fold-constants") == {"add": 1}


def test_what_is_simple_to_say_stays():
    net = Net(x="4x9xi64")
    y = net.add(net.iota(result="4x9xi64", axis=1), net.expand(np.int64(3), result="4x9xi64"))
    assert net.check(net.add(net.x, net.iota(result="4x9xi64", axis=0)), "fold-constants") == {"iota": 1, "add": 1}
    net = Net(x="4x9xi64")
    y = net.add(net.iota(result="4x9xi64", axis=1), net.expand(np.int64(3), result="4x9xi64"))
    assert net.check(net.add(net.x, y), "fold-constants") == {"add": 1}


def test_ops_with_several_results():
    net = Net(x="2xf32")
    net.top_k(net.value(np.float32([3, 9, 5])), axis=0, k=2)
    values, indices = net.block.last_op.results  # pyright: ignore
    y = net.add(net.x, net.mul(values, net.cast(indices, result="2xf32")))
    assert net.check(y, "fold-constants") == {"add": 1}


def test_common_subexpressions():
    net = Net(x="3xf32", y="3xf32")
    a, b = net.add(net.x, net.y), net.add(net.y, net.x)
    c, d = net.sub(net.x, net.y), net.sub(net.y, net.x)
    y = net.mul(net.mul(net.exp(a), net.exp(b)), net.mul(c, d))
    module = net.module(y)
    counts = check_module(module, net.ctx, "cse")
    assert counts == {"add": 1, "sub": 2, "exp": 1, "mul": 3}
    (add,) = [op for op in module.walk() if op.name == "graph.add"]
    assert source_names(add.location) == ("add_1", "add_2")


def test_parameters_and_constants_are_compared():
    net = Net(x="3x3xf32")
    y = net.add(net.softmax(net.x, axis=0), net.softmax(net.x, axis=1))
    y = net.add(net.add(y, 1.0), net.add(net.x, 1.0))
    counts = check_module(net.module(y), net.ctx, "cse")
    assert counts == {"softmax": 2, "constant": 1, "add": 4}


def test_dead_code():
    net = Net(x="3xf32")
    net.exp(net.exp(net.x))
    assert net.check(net.neg(net.x), "dce") == {"neg": 1}


CHANNELS = {"mul": (1, 6, 1, 1), "add": (1, 6, 1, 1)}


def batch_norm(net: Net, x: Any, shape: tuple[int, ...], seed: int = 5) -> Any:
    return net.add(net.mul(x, random(*shape, seed=seed)), random(*shape, seed=seed + 1))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("x", "w", "parameters"),
    [
        ("1x4x7x7xf32", (6, 4, 3, 3), {"pads_low": (1, 1)}),
        ("1x4x7x7xf32", (6, 2, 3, 3), {"groups": 2}),
        ("1x6x7x7xf32", (6, 1, 3, 3), {"groups": 6}),
    ],
)
def test_batch_norm_after_conv(x: str, w: Any, parameters: Any, bias: bool):
    net = Net(x=x)
    y = net.conv(net.x, random(*w), **parameters)
    y = net.add(y, random(6, 1, 1, seed=3)) if bias else y
    y = net.div(net.sub(batch_norm(net, y, (1, 6, 1, 1)), 0.5), 3.0)
    assert net.check(y, "fold-batch-norm", "dce", rtol=1e-4) == {"conv": 1, "add": 1}


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_around_channels_last(groups: int):
    net = Net(x="1x7x7x4xf32")
    y = net.mul(net.x, random(4, seed=8))
    y = net.conv(y, random(3, 3, 4 // groups, 6), groups=groups, layout="channels_last", pads_low=(1, 1))
    assert net.check(batch_norm(net, y, (6,)), "fold-batch-norm", "dce", rtol=1e-4) == {"conv": 1, "add": 1}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_batch_norm_around_conv_transpose(layout: str, groups: int):
    first = layout == "channels_first"
    net = Net(x="1x4x5xf32" if first else "1x5x4xf32")
    shapes = ((1, 4, 1), (4, 6 // groups, 3), (1, 6, 1)) if first else ((4,), (3, 4, 6 // groups), (6,))
    y = net.mul(net.x, random(*shapes[0], seed=8))
    y = net.conv_transpose(y, random(*shapes[1]), groups=groups, layout=layout, strides=(2,))
    assert net.check(batch_norm(net, y, shapes[2]), "fold-batch-norm", "dce", rtol=1e-4) == {
        "conv_transpose": 1,
        "add": 1,
    }


def test_affine_part_of_a_norm_before_products():
    net = Net(x="2x5x8xf32")
    n = batch_norm(net, net.normalize(net.x, axes=(2,)), (8,))
    q, k = (net.add(net.matmul(n, random(8, 6, seed=i)), random(6, seed=i + 9)) for i in (1, 2))
    q = net.mul(q, 0.125)
    counts = net.check(net.sub(q, k), "fold-batch-norm", "dce", rtol=1e-4, atol=1e-4)
    assert counts == {"normalize": 1, "matmul": 2, "add": 2, "sub": 1}


def test_shift_before_a_padded_convolution_stays():
    net = Net(x="1x4x7xf32")
    y = net.conv(net.add(net.x, random(4, 1)), random(6, 4, 3), pads_low=(1,))
    assert net.check(y, "fold-batch-norm", "dce") == {"add": 1, "conv": 1}
    net = Net(x="1x4x7xf32")
    y = net.conv(net.add(net.x, random(4, 1)), random(6, 2, 3), groups=2)
    assert net.check(y, "fold-batch-norm", "dce", atol=1e-4) == {"conv": 1, "add": 1}


@pytest.mark.parametrize("case", ["shared result", "shared weights", "full scale", "overflow", "not constant"])
def test_what_is_not_folded(case: str):
    net = Net(x="2x4xf32", w="4x6xf32")
    w = net.w if case == "not constant" else net.value(random(4, 6) * 4)
    y = net.matmul(net.x, w)
    scale = random(2, 6, seed=1) if case == "full scale" else random(6, seed=1)
    z = net.mul(y, np.clip(scale, 1, 1.5) * np.float32(2e38) if case == "overflow" else scale)
    if case == "shared result":
        z = net.add(z, y)
    if case == "shared weights":
        z = net.add(z, net.matmul(net.x, w))
    assert net.check(z, "fold-batch-norm", "dce")["mul"] == 1
