"""The pattern driver: rewrites to a fixed point, keeps locations and names, stops at its budget."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.elementwise import Add, Neg
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import F32, tensor
from penstock.compiler.errors import REWRITE_LIMIT, InternalError
from penstock.compiler.locations import fuse, name_location, source_names
from penstock.compiler.rewriting import Pattern, Rewriter, erase_dead, is_dead, rewrite


class DoubleNegation(Pattern):
    roots = (Neg,)

    def rewrite(self, op: Neg, rewriter: Rewriter) -> None:
        inner = op.operands[0].owner
        if isinstance(inner, Neg):
            rewriter.replace(op, inner.operands[0])


class NegToTwoAdds(Pattern):
    """Nonsense as arithmetic: one op becomes two, to watch where they end up."""

    roots = (Neg,)

    def rewrite(self, op: Neg, rewriter: Rewriter) -> None:
        first = rewriter.insert(Add.build(op.operands[0], op.operands[0]))
        rewriter.replace(op, Add.build(first, op.operands[0]))


class Forever(Pattern):
    roots = (Neg,)

    def rewrite(self, op: Neg, rewriter: Rewriter) -> None:
        rewriter.replace(op, Neg.build(op.operands[0]))


def chain(length: int) -> tuple[ModuleOp, Block]:
    """A function of ``length`` negations, one after another."""
    function = FuncOp("main", ([tensor((4,), F32)], [tensor((4,), F32)]))
    block = function.body.block
    value = block.args[0]
    for index in range(length):
        op = Neg.build(value, location=name_location(f"neg_{index}"))
        op.out.name_hint = f"v{index}"
        block.add_op(op)
        value = op.out
    block.add_op(ReturnOp(value))
    return ModuleOp([function]), block


def names(block: Block) -> list[str]:
    return [op.name for op in block.ops]


@pytest.mark.parametrize("length", [1, 2, 7, 500])
def test_double_negations_vanish(length: int) -> None:
    module, block = chain(length)
    ctx = CompilerContext()
    fired = rewrite(ctx, module, [DoubleNegation()])
    module.verify()
    assert names(block) == ["graph.neg"] * (length % 2) + ["func.return"]
    assert fired["DoubleNegation"] <= length // 2 + 1
    assert ctx.statistics == fired


def test_new_ops_get_the_location_and_name_of_the_old() -> None:
    module, block = chain(1)
    rewrite(CompilerContext(), module, [NegToTwoAdds()])
    adds = list(block.ops)[:2]
    assert names(block) == ["graph.add", "graph.add", "func.return"]
    assert [source_names(op.location) for op in adds] == [("neg_0",), ("neg_0",)]
    assert adds[1].results[0].name_hint == "v0"


def test_covers_fuses_locations() -> None:
    class Merge(Pattern):
        roots = (Neg,)

        def rewrite(self, op: Neg, rewriter: Rewriter) -> None:
            inner = op.operands[0].owner
            if isinstance(inner, Neg):
                rewriter.covers(inner, op)
                rewriter.replace(op, Add.build(inner.operands[0], inner.operands[0]))

    module, block = chain(2)
    rewrite(CompilerContext(), module, [Merge()])
    (add, _) = block.ops
    assert source_names(add.location) == ("neg_0", "neg_1")


def test_a_pattern_that_never_ends_is_named() -> None:
    module, _ = chain(1)
    with pytest.raises(InternalError, match=r"Forever fired 51 times.*'neg_0'") as caught:
        rewrite(CompilerContext(), module, [Forever()], budget=50)
    assert caught.value.code == REWRITE_LIMIT


def test_patterns_are_tried_in_order() -> None:
    module, _ = chain(3)
    fired = rewrite(CompilerContext(), module, [DoubleNegation(), NegToTwoAdds()])
    assert fired["DoubleNegation"] + fired["NegToTwoAdds"] >= 2


def test_dead_ops_are_erased_with_all_they_alone_used() -> None:
    module, block = chain(1)
    last = block.last_op
    assert last is not None
    before: list[Operation] = []
    for op in (Neg.build(block.args[0]), Constant.of(np.zeros((2, 2), np.float32), CompilerContext().weights)):
        block.insert_op_before(op, last)
        before.append(op)
    assert all(map(is_dead, before))
    assert not is_dead(last)
    assert erase_dead(module) == 2
    assert names(block) == ["graph.neg", "func.return"]


def test_driver_erases_what_becomes_dead() -> None:
    module, block = chain(4)
    ctx = CompilerContext()
    rewrite(ctx, module, [DoubleNegation()])
    assert names(block) == ["func.return"]
    assert ctx.statistics["dead"] >= 1


def test_replacing_by_the_wrong_number_of_values_is_refused() -> None:
    class Wrong(Pattern):
        roots = (Neg,)

        def rewrite(self, op: Neg, rewriter: Rewriter) -> None:
            rewriter.replace(op, op.operands[0], op.operands[0])

    module, _ = chain(1)
    with pytest.raises(ValueError, match=r"graph.neg has 1 results, but 2 replace them"):
        rewrite(CompilerContext(), module, [Wrong()])


def test_fuse_flattens_and_keeps_order() -> None:
    a, b, c = (name_location(name) for name in "abc")
    assert source_names(fuse(fuse(b, a), c, b)) == ("b", "a", "c")
    assert fuse(a, a) == a
    assert source_names(fuse()) == ()
