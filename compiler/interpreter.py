"""The reference interpreter: what a graph means, run with numpy.

In: a module of the graph level (before or after fusion) and its inputs. Out: its outputs. The one idea: every op
carries its own semantics (``evaluate``), so running a graph is a walk over its ops that forgets each value after its
last use. It is the oracle of passes and kernels; it is never part of an artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp, tensor_type
from penstock.compiler.dialects.graph.counting import Counting, counted
from penstock.compiler.dialects.graph.loop import UNKNOWN, Loop
from penstock.compiler.dialects.graph.structure import Constant, Dispatch, Yield
from penstock.compiler.dtypes import numpy_dtype, shape_of, type_name
from penstock.compiler.extents import Dim, Extent, Symbol, evaluate, is_static, substitute
from penstock.compiler.specialise import bind, equalities, rewrite_arguments, rewrite_op, specialise, told_symbol

Array = NDArray[Any]
Observer = Callable[[Operation, tuple[Array, ...]], None]
"""Called after every op, those inside dispatches included, with its results."""

NAME = "penstock.name"


def main_function(module: ModuleOp) -> FuncOp:
    """The function ``@main``. Raises ValueError if there is none."""
    for op in module.body.block.ops:
        if isinstance(op, FuncOp) and op.sym_name.data == "main":
            return op
    raise ValueError("the module has no function @main")


def argument_names(function: FuncOp) -> list[str]:
    """The model's names of the function's arguments (``arg0`` ... where there are none)."""
    return _names(function.arg_attrs, len(function.body.block.args), "arg")


def result_names(function: FuncOp) -> list[str]:
    """The model's names of the function's results (``result0`` ... where there are none)."""
    return _names(function.res_attrs, len(function.function_type.outputs), "result")


def _names(attributes: ArrayAttr[DictionaryAttr] | None, count: int, default: str) -> list[str]:
    found = [item.data.get(NAME) for item in attributes] if attributes is not None else [None] * count
    return [name.data if isinstance(name, StringAttr) else f"{default}{i}" for i, name in enumerate(found)]


def run_module(
    module: ModuleOp, ctx: CompilerContext, inputs: Mapping[str, Array], observe: Observer | None = None
) -> dict[str, Array]:
    """Run ``@main`` on ``inputs`` (by name; dtypes and shapes as the arguments say); returns outputs by name.

    Symbolic extents take the sizes that the inputs have; those that are counted, the numbers found on the way. Raises
    ValueError, with a sentence, for a missing or unknown input, one of a wrong dtype or shape, or sizes that contradict
    each other.
    """
    function = main_function(module)
    names = argument_names(function)
    unknown = sorted(set(inputs) - set(names))
    if unknown:
        raise ValueError(f"there is no input {', '.join(map(repr, unknown))}; inputs are {', '.join(map(repr, names))}")
    block = function.body.block
    arguments = [_checked(name, argument, inputs) for name, argument in zip(names, block.args, strict=True)]
    sizes = bind(function, names, [array.shape for array in arguments])
    counting = any(map(counted, block.ops))
    if sizes or counting:
        module = specialise(module, sizes)
        block = main_function(module).body.block
    results = run_block(block, arguments, ctx, observe, _Counts(module) if counting else None)
    return dict(zip(result_names(function), results, strict=True))


def _checked(name: str, argument: SSAValue, inputs: Mapping[str, Array]) -> Array:
    """The input called ``name``, if it is what the argument says."""
    if name not in inputs:
        raise ValueError(f"input {name!r} is missing")
    value, expected = np.asarray(inputs[name]), tensor_type(argument)
    shape = shape_of(expected)
    if value.dtype != numpy_dtype(expected.element_type) or not _fits(value.shape, shape):
        kind = type_name(expected.element_type)
        raise ValueError(f"input {name!r} is {kind} of shape {list(shape)}, not {value.dtype} of {list(value.shape)}")
    return value


class _Counts:
    """What is counted while a module runs: its extents become numbers in the ops that follow."""

    def __init__(self, module: ModuleOp) -> None:
        self._equal = equalities(module)

    def learn(self, op: Operation, results: Sequence[Array]) -> None:
        """Put what ``op``, which has given ``results``, has counted in place of its symbols. Raises ValueError, with a
        sentence, for a number that the module does not allow."""
        for each, value in counted(op):
            number = int(results[value.index][0])
            symbol = told_symbol(each.count)
            sizes = {} if symbol is None else {symbol.name: number}
            if symbol is not None and not symbol.low <= number <= symbol.high:
                raise ValueError(
                    f"{symbol.name} is {number}, but the model is compiled for {symbol.low} to {symbol.high}"
                )
            if evaluate(each.count, sizes) != number:
                raise ValueError(f"{each.count} is {evaluate(each.count, sizes)}, but {number} elements were counted")
            if symbol is not None:
                self._fix(op, symbol, number)

    def _fix(self, op: Operation, symbol: Symbol, number: int) -> None:
        def fixed(extent: Extent) -> Extent:
            return substitute(extent, {symbol: number})

        while (following := op.next_op) is not None:
            op = following
            rewrite_op(op, fixed, {})
            for region in op.regions:
                for block in region.blocks:
                    rewrite_arguments(block, fixed, {})
                    for inner in block.ops:
                        rewrite_op(inner, fixed, {})
        self._equal = [(fixed(a), fixed(b)) for a, b in self._equal]
        for a, b in self._equal:
            if is_static((a, b)) and a != b:
                raise ValueError(f"with {symbol.name} = {number} the model would need {a} to be {b}")


def _fits(found: tuple[int, ...], expected: tuple[Extent, ...]) -> bool:
    """Extents are as expected; those not known yet are any."""
    return len(found) == len(expected) and all(
        isinstance(extent, Dim) or extent == size for extent, size in zip(expected, found, strict=True)
    )


def run_block(
    block: Block,
    arguments: Sequence[Array],
    ctx: CompilerContext,
    observe: Observer | None = None,
    counts: _Counts | None = None,
) -> tuple[Array, ...]:
    """Run the ops of ``block`` on ``arguments``; returns the operands of its terminator."""
    values: dict[SSAValue, Array] = dict(zip(block.args, arguments, strict=True))
    dying = _last_uses(block)
    for op in block.ops:
        operands = [values[operand] for operand in op.operands]
        for value in dying.get(op, ()):
            del values[value]
        if isinstance(op, ReturnOp | Yield):
            return tuple(operands)
        results = evaluate_op(op, operands, ctx, observe)
        if observe is not None:
            observe(op, results)
        if counts is not None:
            counts.learn(op, results)
        values.update((result, array) for result, array in zip(op.results, results, strict=True) if result.first_use)
    raise ValueError("the block has no terminator")


def _last_uses(block: Block) -> dict[Operation, list[SSAValue]]:
    """For each op, the values that no later op of the block uses."""
    seen: set[SSAValue] = set()
    dying: dict[Operation, list[SSAValue]] = {}
    for op in reversed(list(block.ops)):
        new = [operand for operand in dict.fromkeys(op.operands) if operand not in seen]
        seen.update(new)
        dying[op] = new
    return dying


def evaluate_op(
    op: Operation, operands: Sequence[Array], ctx: CompilerContext, observe: Observer | None = None
) -> tuple[Array, ...]:
    """The results of one op on ``operands``; each has the dtype and shape of the result's type.

    Constants take their value from ``ctx.weights``; a dispatch runs its body. Raises ValueError for an op that is not
    of the graph level, or one that breaks its own type rule.
    """
    if isinstance(op, Constant):
        return (op.array(ctx.weights),)
    if isinstance(op, Dispatch):
        return run_block(op.body, operands, ctx, observe)
    if isinstance(op, Loop):
        return run_loop(op, operands, ctx, observe)
    if not isinstance(op, GraphOp):
        raise ValueError(f"{op.name} cannot be interpreted: it is not an op of the graph level")
    value = op.evaluate(*operands)
    results = tuple(np.asarray(array) for array in (value if isinstance(value, tuple) else (value,)))
    if isinstance(op, Counting) and is_static((op.count,)) and op.count != int(results[-1][0]):
        raise ValueError(f"{op.count} elements are needed, but {int(results[-1][0])} elements were counted")
    for array, result in zip(results, op.results, strict=True):
        expected = tensor_type(result)
        if not _fits(array.shape, shape_of(expected)) or array.dtype != numpy_dtype(expected.element_type):
            raise ValueError(f"{op.name} gave {array.dtype} of shape {list(array.shape)} where {expected} is expected")
    return results


def run_loop(
    op: Loop, operands: Sequence[Array], ctx: CompilerContext, observe: Observer | None = None
) -> tuple[Array, ...]:
    """The results of a loop on ``operands``. Raises ValueError, with a sentence, if it runs beyond its limit or not as
    often as is expected of it."""
    trips, going, *values = operands
    carried, scans = list(values[: op.carried]), values[op.carried : op.carried + op.scanned]
    captured, number, more = values[op.carried + op.scanned :], 0, bool(going)
    stacks: list[list[Array]] = [[] for _ in op.stacked]
    while more and number < int(trips):
        if number == op.limit or any(number == len(scan) for scan in scans):
            raise ValueError(f"a loop runs more than {number} rounds")
        rows = [scan[len(scan) - 1 - number if op.turned(index) else number, ...] for index, scan in enumerate(scans)]
        made = run_block(op.body, [np.asarray(number, np.int64), *carried, *rows, *captured], ctx, observe)
        more, carried = bool(made[0]), list(made[1 : 1 + op.carried])
        for stack, row in zip(stacks, made[1 + op.carried :], strict=True):
            stack.append(row)
        number += 1
    if op.count != UNKNOWN and is_static((op.count,)) and number != op.count:
        raise ValueError(f"a loop runs {number} rounds where {op.count} are needed")
    stacked: list[Array] = []
    for index, (stack, result) in enumerate(zip(stacks, op.stacked, strict=True), op.scanned):
        kind = tensor_type(result)
        empty = np.empty((0, *shape_of(kind)[1:]), numpy_dtype(kind.element_type))
        stacked.append(np.stack(stack[::-1] if op.turned(index) else stack) if stack else empty)
    return (*carried, *stacked, np.array([number], np.int64))
