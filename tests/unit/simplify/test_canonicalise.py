"""What canonicalise makes of ops, and that it computes the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from unit.simplify.checking import Net

PASS = "canonicalise"


def result(net: Net, output: Any, **options: Any) -> dict[str, int]:
    return dict(net.check(output, PASS, **options))


def test_folds_what_changes_nothing():
    net = Net(x="2x3xf32")
    y = net.mul(net.add(net.x, 0.0), np.float32([1, 1, 1]))
    y = net.neg(net.neg(net.reshape(y, result="2x3xf32")))
    y = net.transpose(net.slice(y, result="2x3xf32", starts=(0, 0), steps=(1, 1)), permutation=(0, 1))
    assert result(net, net.relu(net.relu(y))) == {"relu": 1}


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (2.0, {"mul": 1}),
        (3.0, {"mul": 2}),
        (0.5, {"sqrt": 1}),
        (-0.5, {"rsqrt": 1}),
        (-1.0, {"reciprocal": 1}),
        (1.0, {}),
        (1.7, {"pow": 1}),
    ],
)
def test_powers(exponent: float, expected: Any):
    net = Net(x="2x3xf32")
    base = net.abs(net.x)
    assert result(net, net.pow(base, exponent), rtol=1e-4) == {"abs": 1, **expected}


def test_powers_of_integers():
    net = Net(x="5xi64")
    assert result(net, net.pow(net.x, 2)) == {"mul": 1}
    net = Net(x="5xi64")
    assert result(net, net.pow(net.x, -1)) == {"pow": 1}


def test_division():
    net = Net(x="4xf32")
    assert result(net, net.div(net.x, 8.0), rtol=0, atol=0) == {"mul": 1}
    net = Net(x="4xf32")
    assert result(net, net.div(net.x, 3.0)) == {"div": 1}
    net = Net(x="4xi32")
    assert result(net, net.div(net.x, 8)) == {"div": 1}
    net = Net(x="4xf32")
    assert result(net, net.div(np.float32(1), net.sqrt(net.abs(net.x)))) == {"abs": 1, "rsqrt": 1}
    net = Net(x="4xf16")
    assert result(net, net.div(net.x, 2.0**15)) == {"div": 1}  # 2^-15 is no normal number of f16


def test_division_that_broadcasts_keeps_its_shape():
    net = Net(x="1xf32")
    assert result(net, net.div(net.x, np.full((2, 3), 4, np.float32)), rtol=0) == {"expand": 1, "mul": 1}


def test_extrema():
    net = Net(x="4xf32")
    assert result(net, net.max(net.x, 0.0)) == {"relu": 1}
    net = Net(x="4xf32")
    assert result(net, net.max(np.float32(-1), net.max(net.x, 0.5))) == {"max": 1}
    net = Net(x="4xf32")
    assert result(net, net.relu(net.max(net.x, -3.0))) == {"relu": 1}
    net = Net(x="4xf32")
    assert result(net, net.min(net.min(net.relu(net.x), 6.0), 7.0)) == {"relu": 1, "min": 1}
    net = Net(x="4xi32")
    assert result(net, net.max(net.x, 0)) == {"relu": 1}


def test_signs():
    net = Net(x="4xf32", y="4xf32")
    assert result(net, net.add(net.x, net.neg(net.y))) == {"sub": 1}
    net = Net(x="4xf32", y="4xf32")
    assert result(net, net.sub(net.x, net.neg(net.y))) == {"add": 1}
    net = Net(x="4xf32")
    assert result(net, net.abs(net.mul(net.x, -1.0))) == {"abs": 1}
    net = Net(x="4xf32", y="4xf32")
    assert result(net, net.not_(net.eq(net.x, net.y))) == {"ne": 1}


def test_scales_are_multiplied():
    net = Net(x="4xf32")
    assert result(net, net.mul(net.mul(np.float32(0.3), net.x), 7.0)) == {"mul": 1}
    net = Net(x="4xf32")
    assert result(net, net.mul(net.mul(net.x, 1e30), 1e30)) == {"mul": 2}  # the product overflows
    net = Net(x="4xi8")
    assert result(net, net.mul(net.mul(net.x, 100), 100)) == {"mul": 1}  # integers wrap either way


def test_constants_stand_second_and_numbers_have_no_extents():
    net = Net(x="2x3xf32")
    module = net.module(net.add(np.full((2, 3), 0.5, np.float32), net.x))
    from unit.simplify.checking import apply

    text = apply(module, net.ctx, PASS)
    assert "dense<5.000000e-01> : tensor<f32>" in text
    assert "graph.add %x, " in text or "graph.add %0, " in text


def test_broadcasts_are_left_to_elementwise_ops():
    net = Net(x="2x3xf32", y="3xf32")
    y = net.expand(net.reshape(net.y, result="1x3xf32"), result="2x3xf32")
    assert result(net, net.add(net.x, y)) == {"add": 1}
    net = Net(y="3xf32")
    assert result(net, net.exp(net.expand(net.y, result="2x3xf32"))) == {"expand": 1, "exp": 1}


def test_batches_broadcast_in_products():
    net = Net(x="4x2x3xf32", y="3x5xf32")
    assert result(net, net.matmul(net.x, net.expand(net.y, result="4x3x5xf32"))) == {"matmul": 1}
    net = Net(x="2x3xf32", y="3x5xf32")
    assert result(net, net.matmul(net.x, net.expand(net.y, result="4x3x5xf32"))) == {"expand": 1, "matmul": 1}


def test_select_on_a_constant():
    net = Net(x="2x3xf32", y="3xf32")
    assert result(net, net.select(np.array(False), net.x, net.y)) == {"expand": 1}
    net = Net(x="2x3xf32", y="3xf32")
    assert result(net, net.select(np.array([True, True, True]), net.x, net.y)) == {}


@pytest.mark.parametrize(
    ("types", "left"),
    [
        (("f16", "f32", "f16"), 0),
        (("f16", "f32", "f64"), 1),
        (("i8", "i32", "f32"), 1),
        (("i1", "f32", "i1"), 0),
        (("f32", "f16", "f32"), 2),
        (("f32", "i32", "f32"), 2),
        (("i64", "f64", "i64"), 2),
        (("i32", "f64", "i32"), 0),
        (("ui8", "i16", "ui8"), 0),
        (("i8", "ui16", "i8"), 2),
    ],
)
def test_casts(types: tuple[str, str, str], left: int):
    net = Net(x=f"5x{types[0]}")
    y = net.cast(net.cast(net.x, result=f"5x{types[1]}"), result=f"5x{types[2]}")
    assert result(net, y) == ({"cast": left} if left else {})


def test_views_are_merged():
    net = Net(x="2x3x4xf32")
    y = net.transpose(net.transpose(net.x, permutation=(1, 0, 2)), permutation=(2, 1, 0))
    y = net.reshape(net.reshape(y, result="24xf32"), result="4x6xf32")
    y = net.slice(y, result="2x3xf32", starts=(3, 1), steps=(-2, 2))
    y = net.slice(y, result="1x2xf32", starts=(1, 2), steps=(1, -2))
    assert result(net, y) == {"transpose": 1, "reshape": 1, "slice": 1}


def test_transposes_of_unit_axes_are_reshapes():
    net = Net(x="1x3x1x4xf32")
    assert result(net, net.transpose(net.x, permutation=(1, 0, 3, 2))) == {"reshape": 1}
    net = Net(x="1x3x1x4xf32")
    assert result(net, net.transpose(net.x, permutation=(0, 3, 2, 1))) == {"transpose": 1}


def test_expands():
    net = Net(x="3xf32")
    y = net.expand(net.expand(net.x, result="2x3xf32"), result="5x2x3xf32")
    assert result(net, y) == {"expand": 1}
    net = Net(x="3xf32")
    assert result(net, net.expand(net.x, result="1x1x3xf32")) == {"reshape": 1}


def test_split_and_joined_again_is_nothing():
    net = Net(x="2x6xf32")
    parts = [net.slice(net.x, result="2x2xf32", starts=(0, i), steps=(1, 1)) for i in (0, 2, 4)]
    assert result(net, net.concat(net.concat(*parts[:2], axis=1), parts[2], axis=1)) == {}
    net = Net(x="2x6xf32")
    parts = [net.slice(net.x, result="2x2xf32", starts=(0, i), steps=(1, 1)) for i in (0, 4)]
    assert result(net, net.concat(*parts, axis=1)) == {"slice": 2, "concat": 1}


def test_concat_drops_what_is_empty():
    net = Net(x="2x0xf32", y="2x3xf32")
    assert result(net, net.concat(net.x, net.y, axis=1)) == {}


def test_slice_of_one_part_of_a_concat():
    net = Net(x="2x3xf32", y="2x5xf32")
    y = net.slice(net.concat(net.x, net.y, axis=1), result="2x2xf32", starts=(0, 7), steps=(1, -2))
    assert result(net, y) == {"slice": 1}
    net = Net(x="2x3xf32", y="2x5xf32")
    y = net.slice(net.concat(net.x, net.y, axis=1), result="2x2xf32", starts=(0, 2), steps=(1, 1))
    assert result(net, y) == {"concat": 1, "slice": 1}


def test_pads_are_merged_and_become_part_of_convolutions():
    net = Net(x="1x3x5x5xf32", w="4x3x3x3xf32")
    zero = net.value(np.float32(0))
    y = net.pad(net.x, zero, low=(0, 0, 1, 0), high=(0, 0, 0, 2))
    y = net.pad(y, zero, low=(0, 0, 1, 1), high=(0, 0, 0, 0))
    assert result(net, net.conv(y, net.w, pads_low=(1, 0))) == {"conv": 1}
    net = Net(x="1x3x5x5xf32", w="4x3x3x3xf32")
    y = net.pad(net.x, np.float32(1), low=(0, 0, 1, 0), high=(0, 0, 0, 2))
    assert result(net, net.conv(y, net.w)) == {"pad": 1, "conv": 1}
    net = Net(x="1x2x5x5xf32", w="4x3x3x3xf32")
    y = net.pad(net.x, np.float32(0), low=(0, 1, 0, 0), high=(0, 0, 0, 0))
    assert result(net, net.conv(y, net.w)) == {"pad": 1, "conv": 1}


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        (np.int64(-1), {"slice": 1, "reshape": 1}),
        (np.int64([1, 3]), {"slice": 1}),
        (np.int64([3, 2, 1]), {"slice": 1}),
        (np.int64([0, 1, 3]), {"gather": 1}),
        (np.int64([1, 1]), {"gather": 1}),
        (np.int64([7]), {"gather": 1}),
    ],
)
def test_gathers_at_known_indices(indices: Any, expected: Any):
    net = Net(x="2x5xf32")
    assert result(net, net.gather(net.x, indices, axis=1)) == expected


def test_nan_is_not_lost():
    net = Net(x="3xf32")
    y = net.max(net.mul(net.max(net.x, 0.0), 2.0), math.nan)
    assert result(net, y)["max"] == 1


def test_neutral_elements_that_broadcast_are_expands():
    net = Net(x="2x1xi1")
    assert result(net, net.and_(net.x, np.ones((1, 3), bool))) == {"expand": 1}
    net = Net(x="3xf32")
    assert result(net, net.mul(np.ones((2, 1), np.float32), net.x)) == {"expand": 1}


def test_what_is_computed_on_expanded_operands_is_computed_before():
    net = Net(x="8x1x1x5xi1")
    wide = net.expand(net.x, result="8x1x5x5xi1")
    assert result(net, net.select(wide, np.float32(0), np.float32(-9))) == {"select": 1, "expand": 1}
    net = Net(x="1x3xf32", y="2x1xf32")
    a, b = net.expand(net.x, result="4x2x3xf32"), net.expand(net.y, result="4x2x3xf32")
    assert result(net, net.cast(net.add(a, b), result="4x2x3xf64")) == {"add": 1, "cast": 1, "expand": 1}


@pytest.mark.parametrize(
    ("indices", "batch_dims", "expected"),
    [
        (np.stack(np.meshgrid(np.arange(2), np.arange(3), indexing="ij"), axis=-1), 0, {}),
        (np.arange(2)[:, None], 0, {}),
        (np.array([[1, -2], [1, -1]]), 0, {"reshape": 1, "slice": 1}),
        (np.array([[[1]], [[1]]]), 1, {"gather_nd": 1}),
        (np.array([[[2]], [[0]]]), 1, {"reshape": 2, "slice": 1}),
        (np.array([[1, 1], [0, 2]]), 0, {"gather_nd": 1}),
    ],
)
def test_gathers_by_known_coordinates(indices: Any, batch_dims: int, expected: Any):
    net = Net(x="2x3x4xf32")
    y = net.gather_nd(net.x, indices, batch_dims=batch_dims)
    counts = result(net, net.exp(y))
    assert counts == {"exp": 1, **expected}


def test_deep_graphs():
    net = Net(x="3xf32", y="5xf32")
    x = net.x
    for _ in range(3000):
        x = net.tanh(net.add(x, net.x))
    y = net.gather(net.y, net.cast(x, result="3xi64"))
    assert result(net, y) == {"add": 3000, "tanh": 3000, "cast": 1, "gather": 1}
