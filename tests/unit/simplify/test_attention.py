"""Attention from its parts, in the forms that exporters write it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from unit.simplify.checking import Net, check_module

ALL = ("canonicalise", "cse", "fold-constants", "recognise-softmax", "recognise-attention", "canonicalise", "dce")
LOW = float(np.finfo(np.float32).min)


def heads(net: Net, x: Any, t: int, dim: int) -> Any:
    """[2, T, 4 D] as [2, 4, T, D]."""
    return net.transpose(net.reshape(x, result=f"2x{t}x4x{dim}xf32"), permutation=(0, 2, 1, 3))


def attention_of(net: Net, y: Any, *passes: str, **options: Any) -> Any:
    """The attention op that is found, after checking that what is computed stays."""
    module = net.module(y)
    counts = check_module(module, net.ctx, *(passes or ALL), rtol=1e-4, atol=1e-5, **options)
    assert counts["attention"] == 1
    assert not counts["softmax"]
    assert not counts["matmul"]
    (op,) = [op for op in module.walk() if op.name == "graph.attention"]
    return op


def net_of_heads() -> Net:
    return Net(q="2x3x32xf32", k="2x5x32xf32", v="2x5x24xf32", mask="2x1x1x5xf32", seen="3x5xi1")


def scores(net: Net, how: str = "after") -> Any:
    q, k = heads(net, net.q, 3, 8), heads(net, net.k, 5, 8)
    root = math.sqrt(math.sqrt(8))
    if how == "on q":
        q = net.mul(q, 1 / math.sqrt(8))
    if how == "on both":
        q, k = net.mul(q, 1 / root), net.div(k, root)
    product = net.matmul(q, net.transpose(k, permutation=(0, 1, 3, 2)))
    return net.div(product, math.sqrt(8)) if how == "after" else product


def output(net: Net, s: Any) -> Any:
    y = net.matmul(net.softmax(s, axis=3), heads(net, net.v, 5, 6))
    return net.reshape(net.transpose(y, permutation=(0, 2, 1, 3)), result="2x3x24xf32")


@pytest.mark.parametrize("how", ["after", "on q", "on both"])
def test_scale(how: str):
    net = net_of_heads()
    op = attention_of(net, output(net, scores(net, how)))
    assert op.scale == pytest.approx(1 / math.sqrt(8), rel=1e-6)
    assert len(op.operands) == 3
    assert not op.causal
    names = "".join(str(op.location))
    assert "softmax" in names
    assert "matmul" in names


def test_only_views_are_left_around():
    net = net_of_heads()
    module = net.module(output(net, scores(net)))
    counts = check_module(module, net.ctx, *ALL, rtol=1e-4)
    assert counts == {"reshape": 4, "transpose": 4, "attention": 1}


def test_added_masks():
    net = net_of_heads()
    s = net.add(net.add(scores(net), net.mask), np.where(np.arange(5) < 4, 0, -10000).astype(np.float32))
    op = attention_of(net, output(net, s))
    assert len(op.operands) == 4
    assert not op.causal


def test_mask_before_the_scale():
    net = net_of_heads()
    s = net.div(net.add(scores(net, "none"), net.mask), 2.0)
    op = attention_of(net, output(net, s))
    assert op.scale == pytest.approx(0.5)


@pytest.mark.parametrize("low", [-math.inf, LOW])
@pytest.mark.parametrize("where", ["seen", "hidden"])
def test_selected_masks(where: str, low: float):
    net = net_of_heads()
    seen = net.or_(net.seen, np.arange(5) == 1)
    s = scores(net)
    s = net.select(seen, s, np.float32(low)) if where == "seen" else net.select(net.not_(seen), np.float32(low), s)
    op = attention_of(net, output(net, s))
    assert len(op.operands) == 4


def causal_mask(offset: int, low: float, queries: int = 3, keys: int = 5) -> Any:
    hidden = np.arange(keys) > np.arange(queries)[:, None] + offset
    return np.where(hidden, np.float32(low), np.float32(0))


@pytest.mark.parametrize("low", [-math.inf, LOW, -10000.0])
@pytest.mark.parametrize("offset", [0, 2])
@pytest.mark.parametrize("form", ["add", "select"])
def test_causal_rule(form: str, offset: int, low: float):
    net = net_of_heads()
    mask = causal_mask(offset, low)
    s = net.add(scores(net), mask) if form == "add" else net.select(mask == 0, scores(net), np.float32(low))
    op = attention_of(net, output(net, s))
    assert op.causal
    assert op.causal_offset == offset
    assert len(op.operands) == 3


@pytest.mark.parametrize("low", [-math.inf, LOW])
def test_causal_rule_written_with_positions_and_a_padding_mask(low: float):
    """Where padding hides all earlier keys, later ones count, if the rule hides them by a finite number."""
    net = net_of_heads()
    seen = net.le(net.iota(result="3x5xi64", axis=1), net.add(net.iota(result="3x5xi64", axis=0), 2))
    s = net.add(net.select(seen, scores(net), np.float32(low)), net.mask)
    op = attention_of(net, output(net, s))
    assert op.causal == (low == -math.inf)
    assert op.causal_offset == (2 if op.causal else 0)
    assert len(op.operands) == 4


@pytest.mark.parametrize("low", [-math.inf, LOW, -10000.0])
@pytest.mark.parametrize("padding", [LOW, -10000.0, -1.0])
def test_causal_rule_and_padding_on_the_left(padding: float, low: float):
    """The first query sees padding only. A bias that hides nothing leaves the rule as it is."""
    net = net_of_heads()
    hidden = np.where(np.arange(5) < 2, np.float32(padding), np.float32(0))
    s = net.add(net.add(scores(net), causal_mask(0, low)), hidden)
    op = attention_of(net, output(net, s))
    assert op.causal == (low == -math.inf or padding == -1)


def test_mask_of_zeros_is_none():
    net = net_of_heads()
    op = attention_of(net, output(net, net.add(scores(net), np.zeros((1, 1, 1, 5), np.float32))))
    assert len(op.operands) == 3


def test_guard_against_rows_without_keys():
    net = net_of_heads()
    w = net.softmax(net.select(net.seen, scores(net), np.float32(-math.inf)), axis=3)
    w = net.select(net.is_nan(w), np.float32(0), w)
    y = net.matmul(w, heads(net, net.v, 5, 6))
    op = attention_of(net, y)
    assert len(op.operands) == 4


def guarded(net: Net, tested: str) -> Any:
    """The guard of ONNX's Attention written out: 0 where all of a row of a mask is minus infinity."""
    seen = net.reshape(net.seen, result="1x1x3x5xi1")
    mask = net.select(seen, np.float32(0), np.float32(-math.inf))
    other = net.select(net.not_(seen), np.float32(0), np.float32(-math.inf))
    w = net.softmax(net.add(scores(net), mask), axis=3)
    peak = net.reduce(mask if tested == "the mask" else other, kind="max", axes=(3,), keepdims=True)
    w = net.select(net.eq(peak, np.float32(-math.inf)), np.float32(0), w)
    return net.matmul(w, heads(net, net.v, 5, 6))


def seen_by_rows(net: Net) -> dict[str, Any]:
    """Inputs of which one row sees no key, another all."""
    rng = np.random.default_rng(1)
    shapes = {"q": (2, 3, 32), "k": (2, 5, 32), "v": (2, 5, 24), "mask": (2, 1, 1, 5)}
    arrays: dict[str, Any] = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return arrays | {"seen": np.array([[False] * 5, [True] * 5, [True, False] * 2 + [True]])}


def test_guard_by_the_mask():
    net = net_of_heads()
    op = attention_of(net, guarded(net, "the mask"), inputs=seen_by_rows(net))
    assert len(op.operands) == 4


def test_guard_by_something_else_is_no_attention():
    """Where another tensor says which rows are 0, attention would not know."""
    net = net_of_heads()
    module = net.module(guarded(net, "another"))
    inputs = seen_by_rows(net) | {"seen": np.array([[True] * 5, [True, False] * 2 + [True], [True] * 5])}
    assert "attention" not in check_module(module, net.ctx, *ALL, rtol=1e-4, atol=1e-5, inputs=inputs)


def test_guard_that_never_holds():
    net = net_of_heads()
    w = net.softmax(net.add(scores(net), net.mask), axis=3)
    w = net.select(np.zeros((3, 1), np.bool_), np.float32(0), w)
    attention_of(net, net.matmul(w, heads(net, net.v, 5, 6)))


def test_softcap():
    net = net_of_heads()
    s = net.mul(net.tanh(net.div(scores(net), 30.0)), 30.0)
    op = attention_of(net, output(net, net.add(s, net.mask)))
    assert op.softcap == pytest.approx(30)
    assert op.scale == pytest.approx(1 / math.sqrt(8), rel=1e-6)


def test_heads_joined_with_the_batch():
    net = net_of_heads()
    q, k, v = heads(net, net.q, 3, 8), heads(net, net.k, 5, 8), heads(net, net.v, 5, 6)
    q, k, v = (net.reshape(x, result=f"8x{s}xf32") for x, s in ((q, "3x8"), (k, "5x8"), (v, "5x6")))
    s = net.matmul(q, net.transpose(k, permutation=(0, 2, 1)))
    s = net.reshape(net.add(net.reshape(s, result="2x4x3x5xf32"), net.mask), result="8x3x5xf32")
    y = net.matmul(net.softmax(s, axis=2), v)
    op = attention_of(net, net.reshape(y, result="2x4x3x6xf32"))
    assert str(op.out.type) == "tensor<2x4x3x6xf32>"


def test_one_head_of_rank_3_and_of_rank_2():
    net = Net(q="2x3x8xf32", k="2x5x8xf32", v="2x5x6xf32", mask="2x3x5xf32")
    s = net.add(net.matmul(net.q, net.transpose(net.k, permutation=(0, 2, 1))), net.mask)
    op = attention_of(net, net.matmul(net.softmax(s, axis=2), net.v))
    assert str(op.out.type) == "tensor<2x1x3x6xf32>"
    net = Net(q="3x8xf32", k="5x8xf32", v="5x6xf32", mask="3x5xf32")
    s = net.add(net.matmul(net.q, net.transpose(net.k, permutation=(1, 0))), net.mask)
    attention_of(net, net.matmul(net.softmax(s, axis=1), net.v))


def test_groups_of_heads():
    net = Net(q="2x4x3x8xf32", k="2x2x5x8xf32", v="2x2x5x6xf32")

    def repeat(x: Any, dim: int) -> Any:
        wide = net.expand(net.reshape(x, result=f"2x2x1x5x{dim}xf32"), result=f"2x2x2x5x{dim}xf32")
        return net.reshape(wide, result=f"2x4x5x{dim}xf32")

    s = net.matmul(net.q, net.transpose(repeat(net.k, 8), permutation=(0, 1, 3, 2)))
    op = attention_of(net, net.matmul(net.softmax(net.mul(s, 0.3), axis=3), repeat(net.v, 6)))
    assert str(op.operands[1].type) == "tensor<2x2x5x8xf32>"
    assert op.operands[1] is net.k


def test_one_head_of_keys_for_all():
    net = Net(q="2x4x3x8xf32", k="2x1x5x8xf32", v="2x1x5x6xf32")
    s = net.matmul(net.q, net.transpose(net.k, permutation=(0, 1, 3, 2)))
    op = attention_of(net, net.matmul(net.softmax(s, axis=3), net.v))
    assert op.operands[1] is net.k


def test_half_precision_with_softmax_in_f32():
    net = Net(q="1x2x3x8xf16", k="1x2x5x8xf16", v="1x2x5x8xf16", mask="1x1x3x5xf32")
    s = net.mul(net.matmul(net.q, net.transpose(net.k, permutation=(0, 1, 3, 2))), 0.35)
    s = net.add(net.cast(s, result="1x2x3x5xf32"), net.mask)
    w = net.cast(net.softmax(s, axis=3), result="1x2x3x5xf16")
    module = net.module(net.matmul(w, net.v))
    counts = check_module(module, net.ctx, *ALL, rtol=1e-2, atol=1e-2)
    assert counts["attention"] == 1


@pytest.mark.parametrize("case", ["other axis", "weights used", "scores used", "no product", "product of v"])
def test_what_is_no_attention(case: str):
    net = Net(q="1x2x5x5xf32", k="1x2x5x5xf32", v="1x2x5x5xf32")
    s = net.exp(net.q) if case == "no product" else net.matmul(net.q, net.transpose(net.k, permutation=(0, 1, 3, 2)))
    w = net.softmax(s, axis=2 if case == "other axis" else 3)
    y = net.matmul(net.v, w) if case == "product of v" else net.matmul(w, net.v)
    if case == "weights used":
        y = net.add(y, w)
    if case == "scores used":
        y = net.add(y, s)
    assert "attention" not in net.check(y, *ALL, rtol=1e-4)
