"""Outputs that feed an input the next time: which tensors a session keeps from run to run (``--state``).

In: an imported module, and pairs ``OUTPUT=INPUT`` or ``auto``. Out: the results marked with the inputs that they feed,
for the pass ``append-in-place``. The one idea: such an output is its input with rows appended (a Concat whose first
operand is the input), and how many rows there are is a symbol that nothing but the kept inputs tells; so a session can
count it itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument, Operation

from penstock.compiler.artifact.plan_format import shown
from penstock.compiler.dialects.graph.shape import Concat
from penstock.compiler.dtypes import shape_of
from penstock.compiler.errors import BAD_STATE, UNKNOWN_OPTION, OptionError, nearest
from penstock.compiler.extents import MOST, Dim, Extent, Symbol, is_static, lone_symbol, surely

AUTO = "auto"
STATE = "penstock.state"
"""Attribute of a result: the name of the input that it feeds in the next run."""


@dataclass(frozen=True)
class State:
    """Result number ``result``, called ``output``, is the argument ``kept``, called ``input``, with rows appended along
    ``axis`` by ``concat``."""

    result: int
    output: str
    input: str
    kept: BlockArgument
    concat: Concat

    @property
    def axis(self) -> int:
        return self.concat.axis

    @property
    def length(self) -> Extent:
        """How many rows there are before a run."""
        return shape_of(self.kept.type)[self.axis]

    @property
    def grown(self) -> Extent:
        """How many rows there are after it."""
        return shape_of(self.concat.out.type)[self.axis]


def mark_states(module: ModuleOp, given: Sequence[str]) -> None:
    """Mark the results of ``@main`` that ``given`` pairs with inputs.

    Raises OptionError, with every problem, for names that the model does not have and for pairs that no session can
    keep: PENS-O001 and PENS-O015.
    """
    if not given:
        return
    function = next(op for op in module.body.block.ops if isinstance(op, FuncOp))
    found = _appended(function)
    states = _chosen(function, found, given)
    _check(states)
    attributes = list(cast("ArrayAttr[DictionaryAttr]", function.res_attrs))
    for state in states:
        attributes[state.result] = DictionaryAttr({**attributes[state.result].data, STATE: StringAttr(state.input)})
    function.res_attrs = ArrayAttr(attributes)


def state_of(attributes: ArrayAttr[DictionaryAttr] | None, result: int) -> str | None:
    """The input that a result feeds, by the attributes of a function's results; None for one that is given back."""
    mark = attributes.data[result].data.get(STATE) if attributes is not None else None
    return mark.data if isinstance(mark, StringAttr) else None


def names_of(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> list[str]:
    """The names in the model of a function's ``count`` arguments or results; value0, value1, ... without one."""
    names = [None] * count if attributes is None else [entry.data.get("penstock.name") for entry in attributes.data]
    return [name.data if isinstance(name, StringAttr) else f"value{index}" for index, name in enumerate(names)]


def _names(function: FuncOp) -> tuple[list[str], list[str]]:
    """The names of a function's arguments and of its results."""
    block = function.body.block
    results = cast(Operation, block.last_op).operands
    return names_of(function.arg_attrs, len(block.args)), names_of(function.res_attrs, len(results))


def _appended(function: FuncOp) -> list[State]:
    """Every result that is an argument with rows appended."""
    inputs, outputs = _names(function)
    found: list[State] = []
    for result, value in enumerate(cast(Operation, function.body.block.last_op).operands):
        concat = value.owner
        kept = concat.operands[0] if isinstance(concat, Concat) else None
        if isinstance(concat, Concat) and isinstance(kept, BlockArgument) and len(concat.operands) > 1:
            found.append(State(result, outputs[result], inputs[kept.index], kept, concat))
    return found


def _chosen(function: FuncOp, found: Sequence[State], given: Sequence[str]) -> list[State]:
    """The states that ``given`` names, in the order of the model's outputs."""
    if AUTO in given:
        if len(given) > 1:
            raise OptionError(BAD_STATE, "auto finds all there is to keep and stands alone.", "Give pairs, or auto.")
        if not found:
            reason = "no output is a Concat of an input with more rows, so there is nothing that a session could keep."
            raise OptionError(BAD_STATE, reason, "Export the model with its key-value cache as inputs and outputs.")
        return [state for state in found if isinstance(state.length, Dim)] or list(found)
    inputs, outputs = _names(function)
    states = {(state.output, state.input): state for state in found}
    problems: list[str] = []
    chosen: list[State] = []
    for text in dict.fromkeys(given):
        output, equals, name = (part.strip() for part in text.partition("="))
        if not equals or not output or not name:
            problems.append(f"'{text}' is not OUTPUT=INPUT")
        elif output not in outputs or name not in inputs:
            kind, unknown, known = ("output", output, outputs) if output not in outputs else ("input", name, inputs)
            problems.append(f"the model has no {kind} called '{unknown}'{nearest(unknown, known)}")
        elif (output, name) in states:
            chosen.append(states[output, name])
        else:
            problems.append(f"{output} is not {name} with rows appended: it is no Concat that begins with {name}")
    if problems:
        code = UNKNOWN_OPTION if all("has no" in problem for problem in problems) else BAD_STATE
        raise OptionError(code, _sentence(problems), "Write OUTPUT=INPUT, such as present.0.key=past.0.key.")
    return sorted(chosen, key=lambda state: state.result)


def _check(states: Sequence[State]) -> None:
    """Raise OptionError for what a session cannot keep."""
    problems: list[str] = []
    used: dict[BlockArgument, str] = {}
    for state in states:
        if state.kept in used:
            problems.append(f"{state.input} is fed by {used[state.kept]} and by {state.output}")
        used.setdefault(state.kept, state.output)
        others = [extent for axis, extent in enumerate(shape_of(state.kept.type)) if axis != state.axis]
        if not isinstance(state.length, Dim):
            problems.append(
                f"{state.input} has {shown(state.length)} rows in every run (axis {state.axis}), so it cannot grow; "
                "export the model with this axis dynamic"
            )
        elif lone_symbol(state.length) is None:
            problems.append(f"{state.input} has {shown(state.length)} rows, which is no size that can be counted")
        elif not is_static(others):
            sizes = ", ".join(shown(extent) for extent in others if isinstance(extent, Dim))
            problems.append(f"{state.input} has the symbolic size {sizes}, which must be a number: --dim {sizes}=1")
    first = states[0]
    for state in states[1:]:
        if isinstance(state.length, Dim) and isinstance(first.length, Dim):
            if state.length != first.length:
                problems.append(f"{first.input} has {shown(first.length)} rows and {state.input} {shown(state.length)}")
            elif state.grown != first.grown:
                problems.append(f"{first.output} has {shown(first.grown)} rows and {state.output} {shown(state.grown)}")
    symbol = lone_symbol(first.length)
    if symbol is not None and symbol.low > 0:
        problems.append(
            f"{symbol.name} is {symbol.low} or more, and a session begins with none: give --dim {_range(symbol)}"
        )
    elif symbol is not None and symbol.high >= MOST:
        problems.append(f"{symbol.name} has no end, and memory is for the most rows: give --dim {_range(symbol)}")
    elif symbol is not None and surely(first.grown, ">", symbol.high):
        problems.append(f"{first.output} has {shown(first.grown)} rows, which never fit in {symbol.high}")
    if problems:
        raise OptionError(BAD_STATE, _sentence(dict.fromkeys(problems)), "docs/runtime.md has an example.")


def _sentence(problems: Iterable[str]) -> str:
    text = "; ".join(problems)
    return text if text.endswith("?") else f"{text}."


def _range(symbol: Symbol) -> str:
    return f"{symbol.name}=0..{symbol.high if symbol.high < MOST else 1024}"
