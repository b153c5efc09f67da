"""Keep what a session keeps where it is: outputs that feed an input are written into its memory, row by row.

Before: a result marked with the input that it feeds (``states``), the concatenation of that input with new rows.
After: input and result are one tensor of all the rows there is room for, they stand last among inputs and results, and
only the new rows are written (``graph.append``). What read the input reads its first rows, what read the concatenation
the first rows of the result: slices, which cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp, element_of, tensor_type
from penstock.compiler.dialects.graph.shape import Append, Concat, Slice
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.extents import Symbol, lone_symbol
from penstock.compiler.states import names_of, state_of


@dataclass(frozen=True)
class AppendInPlace(ModulePass):
    """See the module."""

    name: ClassVar[str] = "append-in-place"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.body.block.ops:
            if isinstance(function, FuncOp):
                statistics = cast(CompilerContext, ctx).statistics
                statistics["tensors kept"] += _rewrite(function)


def _rewrite(function: FuncOp) -> int:
    """Returns how many results have been changed."""
    block = function.body.block
    terminator = cast(Operation, block.last_op)
    inputs = names_of(function.arg_attrs, len(block.args))
    marked = [(i, name) for i in range(len(terminator.operands)) if (name := state_of(function.res_attrs, i))]
    # A result that is appended in place already has been through here.
    concats = {i: owner for i, _ in marked if isinstance(owner := terminator.operands[i].owner, Concat)}
    if not concats:
        return 0
    assert function.arg_attrs is not None
    assert function.res_attrs is not None
    arguments, results = list(function.arg_attrs.data), list(function.res_attrs.data)
    kept = {i: block.args[inputs.index(name)] for i, name in marked if i in concats}
    order = [*(i for i in range(len(terminator.operands)) if i not in concats), *concats]
    moved = [arguments[kept[i].index] for i in concats]
    left = [each for argument, each in zip(block.args, arguments, strict=True) if argument not in kept.values()]
    appended = {i: _append(concat, kept[i]) for i, concat in concats.items()}
    terminator.operands = [appended[i] if i in appended else terminator.operands[i] for i in order]
    for i, concat in concats.items():
        concat.detach()
        concat.erase()
        block.erase_arg(kept[i])
    function.arg_attrs, function.res_attrs = ArrayAttr([*left, *moved]), ArrayAttr([results[i] for i in order])
    function.function_type = FunctionType.from_lists(
        [argument.type for argument in block.args], [value.type for value in terminator.operands]
    )
    return len(concats)


def _append(concat: Concat, past: BlockArgument) -> SSAValue:
    """The rows of ``concat`` but for its first operand, ``past``, appended to a new argument that takes its place."""
    block, axis = past.block, concat.axis
    shape = shape_of(past.type)
    room = cast(Symbol, lone_symbol(shape[axis])).high
    kept = block.insert_arg(tensor([*shape[:axis], room, *shape[axis + 1 :]], element_of(past)), len(block.args))
    kept.name_hint, past.name_hint = past.name_hint, None
    rows = concat.operands[1]
    added: list[GraphOp] = []
    if len(concat.operands) > 2:
        added.append(Concat.build(*concat.operands[1:], axis=axis, location=concat.location))
        rows = added[-1].results[0]
    append = Append.build(kept, rows, axis=axis, start=shape[axis], location=concat.location)
    present = _rows(append.out, concat.out, concat)
    present.out.name_hint, append.out.name_hint = concat.out.name_hint, concat.out.name_hint
    block.insert_ops_before([*added, append, present], concat)
    concat.out.replace_all_uses_with(present.out)
    if any(use.operation is not concat for use in past.uses):
        before = _rows(kept, past, concat)
        first = block.first_op
        assert first is not None
        block.insert_op_before(before, first)
        past.replace_all_uses_with(before.out)
    return append.out


def _rows(kept: SSAValue, like: SSAValue, concat: Concat) -> Slice:
    """The first rows of ``kept``, as many as ``like`` has."""
    rank = len(shape_of(like.type))
    return Slice.build(kept, result=tensor_type(like), starts=[0] * rank, steps=[1] * rank, location=concat.location)
