"""Sizes where a model reads them as data, and what to tell users of them.

In: a block of converted nodes and what is known of its values. Out: one op for each outcome of shape arithmetic that
is read as data; for a node that is refused, the option that gives its sizes a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from xdsl.ir import Block, SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.elementwise import Cast
from penstock.compiler.dialects.graph.extent import MAX_EXTENTS, Extents
from penstock.compiler.dtypes import I64, shape_of, tensor
from penstock.compiler.extents import Dim, Extent, symbols_of
from penstock.compiler.frontends.onnx.static_values import StaticValues
from penstock.compiler.frontends.onnx.symbolic import is_symbolic


def sizes_as_data(block: Block, static: StaticValues, results: Sequence[SSAValue]) -> list[SSAValue]:
    """Where shape arithmetic is read as data, one op that gives its outcome; what was worked out on the way is then
    unused. Takes and returns the results of the function."""
    made: dict[SSAValue, SSAValue] = {}
    sized: set[SSAValue] = set()

    def outcome(value: SSAValue) -> SSAValue:
        if value not in made:
            made[value] = _outcome(block, static, value) if value in sized else value
        return made[value]

    for op in list(block.ops):
        if isinstance(op, Extents) or any(operand in sized for operand in op.operands):
            known = [isinstance(op, GraphOp) and is_symbolic(static.of(result)) for result in op.results]
            if any(known):
                sized.update(op.results)
                continue
        for index, operand in enumerate(op.operands):
            if operand in sized:
                op.operands[index] = outcome(operand)
    return [outcome(value) for value in results]


def _outcome(block: Block, static: StaticValues, value: SSAValue) -> SSAValue:
    """A known value as an op of its own, after the one that computes it, if it holds integers."""
    owner, array = value.owner, static.of(value)
    if array is None or isinstance(owner, Extents) or not isinstance(owner, GraphOp):
        return value
    if not 0 < array.size <= MAX_EXTENTS or not all(isinstance(item, Dim | int) for item in array.flat):
        return value
    kind = tensor(array.shape, I64)
    op: GraphOp = Extents.build(values=list(array.flat), result=kind, location=owner.location)
    block.insert_op_after(op, owner)
    if element_of(value) != I64:
        cast = Cast.build(op.out, result=tensor(array.shape, element_of(value)), location=owner.location)
        block.insert_op_after(cast, op)
        op = cast
    op.out.name_hint = value.name_hint
    return op.out


def read_extents(static: StaticValues, values: Iterable[SSAValue]) -> list[Extent]:
    """The extents of values, and those that they hold."""
    found: list[Extent] = []
    for value in values:
        found += shape_of(value.type)
        array = static.of(value)
        if array is not None and is_symbolic(array):
            found += [item for item in array.flat if isinstance(item, Dim)]
    return found


def remedy(extents: Iterable[Extent], reason: str | None = None) -> str:
    """What to do about sizes that must be known; "" where there are none, or the ``reason`` speaks of none of them."""
    names = sorted({symbol.name for extent in extents for symbol in symbols_of(extent)})
    if not names or (reason is not None and not set(names).intersection(re.findall(r"\w+", reason))):
        return ""
    return f"Give a value or a range, for example --dim {names[0]}={_example(names[0])} or --dim {names[0]}=2..512."


def _example(name: str) -> int:
    """A value a symbol of this name might have."""
    return 128 if any(word in name.lower() for word in ("seq", "len", "time")) else 1
