"""Phase fuse: every op ends in a dispatch, at most one root in each, and roots are computed once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from unit.graph.building import around, build
from unit.graph.examples import CASES, Case
from unit.layout.models import NAMES, Stage, check_passes, stage
from unit.simplify.checking import Net

from penstock.compiler.dialects.graph import operation, operations
from penstock.compiler.dialects.graph.structure import Checked, Constant, Dispatch
from penstock.compiler.interpreter import main_function
from penstock.compiler.locations import name_location
from penstock.compiler.passes.fuse.form_dispatches import ROOT_KINDS, dispatches, root_kind
from penstock.compiler.passes.fuse.share_kernels import signature


def bodies(found: Stage) -> list[list[str]]:
    """The ops of every dispatch without its yield, dispatches in order."""
    return [
        [op.name.removeprefix("graph.") for op in dispatch.regions[0].block.ops][:-1]
        for dispatch in dispatches(found.module)
    ]


def fused(net: Net, *outputs: Any) -> list[list[str]]:
    """``bodies`` after ``form-dispatches``."""
    return bodies(Stage(net.module(*outputs), net.ctx, {}).apply("form-dispatches"))


@pytest.mark.parametrize("name", NAMES)
def test_every_pass_keeps_every_bit_of_what_models_compute(name: str) -> None:
    found = check_passes(name, "fuse", lambda a, b, text: np.testing.assert_array_equal(a, b, err_msg=text))
    body = main_function(found.module).body.block
    left = {type(op) for op in body.ops if op is not body.last_op}
    assert left <= {Dispatch, Constant, Checked}
    for dispatch in dispatches(found.module):
        _check_root(dispatch)


def _check_root(dispatch: Dispatch) -> None:
    """One root of the dispatch's kind, none in a map, two in a separable convolution."""
    roots = [kind for op in dispatch.regions[0].block.ops if (kind := root_kind(op)) is not None]
    several = {"map": [], "separable": ["depthwise", "contraction"]}
    assert roots == several.get(dispatch.kind, [dispatch.kind])


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_every_op_of_the_dialect_forms_a_dispatch(name: str, case: Case) -> None:
    types, result, parameters = case
    op = build(name, *types, result=result, **parameters)
    found = Stage(around(op), Net().ctx, {}).apply("form-dispatches")
    if name == "checked":
        assert bodies(found) == []
        return
    (dispatch,) = dispatches(found.module)
    assert dispatch.kind == (root_kind(op) or "map")
    assert bodies(found) == [[name]]


def test_roots_are_ops_of_the_dialect() -> None:
    assert set(ROOT_KINDS) <= {op.name for op in operations()}


@pytest.mark.parametrize(
    "second", sorted(name for kind in ROOT_KINDS if (name := kind.removeprefix("graph.")) in CASES)
)
def test_a_root_never_joins_another_root(second: str) -> None:
    types, _, parameters = CASES[second][0]
    net = Net(**{f"x{i}": text for i, text in enumerate(types)})
    first = net.cumulative(net.x0, axis=0)
    rest = [getattr(net, f"x{i}") for i in range(1, len(types))]
    root = operation(second).build(first, *rest, location=net.here(second), **parameters)
    net.insert(root)
    found = Stage(net.module(*root.results), net.ctx, {}).apply("form-dispatches")
    assert bodies(found) == [["cumulative"], [second]]
    for dispatch in dispatches(found.module):
        _check_root(dispatch)


def test_what_follows_a_root_joins_it_while_it_has_one_reader() -> None:
    net = Net(x="3x5xf32", w="5x7xf32")
    y = net.exp(net.relu(net.add(net.matmul(net.x, net.w), np.ones(7, np.float32))))
    assert fused(net, y) == [["matmul", "constant", "add", "relu", "exp"]]


def test_a_value_with_two_readers_ends_the_dispatch() -> None:
    net = Net(x="3x5xf32", w="5x7xf32")
    y = net.relu(net.matmul(net.x, net.w))
    assert fused(net, net.exp(y), net.neg(y)) == [["matmul", "relu"], ["exp"], ["neg"]]


def test_a_result_that_is_returned_is_not_hidden_in_a_dispatch() -> None:
    net = Net(x="3x5xf32", w="5x7xf32")
    y = net.matmul(net.x, net.w)
    assert fused(net, y, net.relu(y)) == [["matmul"], ["relu"]]


def test_an_elementwise_chain_is_one_map_and_is_cut_where_it_is_shared() -> None:
    net = Net(x="3x5xf32")
    assert fused(net, net.neg(net.exp(net.abs(net.x)))) == [["abs", "exp", "neg"]]
    net = Net(x="3x5xf32")
    shared = net.exp(net.abs(net.x))
    assert fused(net, net.neg(shared), net.sqrt(shared)) == [["abs", "exp"], ["neg"], ["sqrt"]]


def test_views_are_copied_into_every_reader() -> None:
    net = Net(x="3x5xf32")
    view = net.slice(net.x, result="3x2xf32", starts=(0, 1), steps=(1, 1))
    assert fused(net, net.neg(view), net.exp(view)) == [["slice", "neg"], ["slice", "exp"]]


def test_reductions_compute_their_operand_and_products_do_not() -> None:
    net = Net(x="3x5xf32")
    assert fused(net, net.reduce(net.exp(net.x), kind="sum", axes=(1,))) == [["exp", "reduce"]]
    net = Net(x="3x5xf32", w="5x7xf32")
    assert fused(net, net.matmul(net.exp(net.x), net.w)) == [["exp"], ["matmul"]]


def test_products_read_views_only_along_their_innermost_axis() -> None:
    net = Net(x="2x3x5xf32", w="5x7xf32")
    assert fused(net, net.matmul(net.transpose(net.x, permutation=(1, 0, 2)), net.w)) == [["transpose", "matmul"]]
    net = Net(x="2x5x3xf32", w="5x7xf32")
    assert fused(net, net.matmul(net.transpose(net.x, permutation=(0, 2, 1)), net.w)) == [["transpose"], ["matmul"]]


def test_a_follower_that_broadcasts_does_not_join() -> None:
    net = Net(x="1x5xf32", w="5x7xf32", y="3x7xf32")
    assert fused(net, net.add(net.matmul(net.x, net.w), net.y)) == [["matmul"], ["add"]]


@pytest.mark.parametrize("name", NAMES)
def test_no_root_and_no_gather_is_computed_in_two_dispatches(name: str) -> None:
    found = stage(name, "fuse")
    before = Counter(op.name for op in found.module.walk())
    found.apply("form-dispatches")
    after = Counter(op.name for dispatch in dispatches(found.module) for op in dispatch.regions[0].block.ops)
    once = {*ROOT_KINDS, "graph.gather", "graph.gather_nd", "graph.gather_elements", "graph.concat", "graph.pad"}
    assert {kind: after[kind] for kind in once} == {kind: before[kind] for kind in once}


@pytest.mark.parametrize("name", NAMES)
def test_dispatches_share_a_kernel_exactly_when_their_bodies_are_equal(name: str) -> None:
    found = stage(name, "lower")
    symbols = {(signature(dispatch), dispatch.symbol) for dispatch in dispatches(found.module)}
    assert len({body for body, _ in symbols}) == len(symbols) == len({symbol for _, symbol in symbols})


class Located(Net):
    """A net whose ops are all located at `name`."""

    located = ""

    def here(self, name: str) -> Any:
        return name_location(self.located)


def test_kernels_have_names_of_their_own_whatever_the_model_calls_its_nodes() -> None:
    net = Located(x="4x6xf32")
    values = [net.x]
    for net.located in ("fc", "fc", "fc_2", "fc", "fc_2", "fc_2_2"):
        values.append(net.softmax(values[-1], axis=len(values) % 2))
    found = Stage(net.module(values[-1]), net.ctx, {}).apply("form-dispatches")
    assert len({dispatch.symbol for dispatch in dispatches(found.module)}) == 6
