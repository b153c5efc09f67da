"""Turn the main function into a program: a place for every value, a command for every dispatch.

Before: ``@main`` with stored constants, dispatches, checks and reshapes, and a module of kernels per level. After: a
``plan.program`` instead of ``@main``. Results that are returned are computed straight into the caller's memory, a
reshape is a view, and what is returned but computed nowhere (an input, a weight, a value returned twice) is copied.
Kernels over symbolic extents read the values of their symbols from a place that the runtime fills.
The commands of a loop's body stand between its begin and its end (``form_loops``).
What only the side of a select reads that a run does not take is left out in that run (``guards``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.counting import counted, counted_symbols
from penstock.compiler.dialects.graph.loop import Loop
from penstock.compiler.dialects.graph.shape import Append, Reshape, Slice
from penstock.compiler.dialects.graph.structure import Checked, Constant
from penstock.compiler.dialects.graph.structure import Dispatch as GraphDispatch
from penstock.compiler.dialects.plan import program as plan
from penstock.compiler.dialects.plan.base import memory, memory_bytes, memory_of
from penstock.compiler.dialects.plan.memory import extents_of
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.dtypes import I64, byte_width, shape_of
from penstock.compiler.extents import Extent, Symbol, symbols_of, typical
from penstock.compiler.limits import at_most
from penstock.compiler.locations import is_known, name_location
from penstock.compiler.passes.plan.form_loops import form_loop
from penstock.compiler.passes.plan.guards import guards_of, in_order
from penstock.compiler.rewriting import OpT
from penstock.compiler.specialise import equalities, input_symbols
from penstock.compiler.states import names_of, state_of

FORK_NANOSECONDS = 6_000.0
"""Work worth handing to one more thread: below it a dispatch stays on the calling thread."""

CROSSING_BANDWIDTH = 8.0
"""Bytes per nanosecond that one core gets of what another has written, about. That time is added to a kernel's work:
what one thread computes alone, the others would have to fetch from its core in the next kernel."""


@dataclass(frozen=True)
class FormCommands(ModulePass):
    """See the module."""

    name: ClassVar[str] = "form-commands"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in list(op.body.block.ops):
            if isinstance(function, func.FuncOp):
                former = Former(function, kernels_by_level(op), cast(CompilerContext, ctx))
                block = function.body.block
                first, counts = input_symbols(function), counted_symbols(block.ops, block.args)
                _list_symbols(former.run(), first, counts, equalities(op))


def kernels_by_level(module: ModuleOp) -> dict[str, dict[str, Kernel]]:
    """The tile kernels of every instruction set level, by symbol."""
    return {
        op.sym_name.data: {kernel.sym_name: kernel for kernel in op.body.block.ops if isinstance(kernel, Kernel)}
        for op in module.body.block.ops
        if isinstance(op, ModuleOp) and op.sym_name is not None
    }


class Former:
    """A function while it becomes a program; ``memory`` are the places of its values."""

    def __init__(self, function: func.FuncOp, kernels: dict[str, dict[str, Kernel]], ctx: CompilerContext) -> None:
        self.function, self.kernels, self.ctx = function, kernels, ctx
        self.program = plan.Program.empty(function.sym_name.data, list(kernels))
        self.memory: dict[SSAValue, SSAValue] = {}
        self.weights: dict[str, SSAValue] = {}
        self.sizes: dict[tuple[str, ...], SSAValue] = {}
        self.outputs: list[SSAValue] = []
        self.guards: dict[Operation, list[tuple[SSAValue, bool]]] = {}
        self.direct: dict[SSAValue, SSAValue] = {}  # where results are to go that are returned
        self.counting = False
        self.loops = 0

    def run(self) -> plan.Program:
        """Put the program where the function is."""
        block = self.function.body.block
        returned = list(cast(Operation, block.last_op).operands)
        self._interface(returned)
        relying: dict[Operation, list[int]] = {}
        for index, value in enumerate(returned):
            for check in _checks(value):
                relying.setdefault(check, []).append(index)
        self.counting = any(counted(op) for op in block.ops)
        self.block(block, returned, self.outputs, relying)
        parent = self.function.parent
        assert parent is not None
        parent.insert_op_before(self.program, self.function)
        self.function.detach()
        self.function.erase()
        return self.program

    def block(
        self,
        block: Block,
        returned: Sequence[SSAValue],
        targets: Sequence[SSAValue],
        relying: Mapping[Operation, list[int]],
    ) -> None:
        """The commands of a function or of the body of a loop, whose values ``returned`` go to ``targets``.
        ``relying``: the outputs that rely on a check."""
        outer = self.direct, self.guards
        self.direct = {}
        for value, target in zip(returned, targets, strict=True):
            if isinstance(source := _computed(value), SSAValue):
                self.direct.setdefault(source, target)
        self.guards = {} if self.counting else guards_of(block)  # what counts must never be left out
        for op in in_order(block, self.guards) if self.guards else block.ops:
            if isinstance(op, Constant):
                self._weight(op)
            elif isinstance(op, Reshape):
                base = self.memory[op.operands[0]]
                view = plan.View.build(base, result=memory_of(op.out), location=op.location)
                self.memory[op.out] = self.add(view, op.out).out
            elif isinstance(op, Slice):
                start = _first_element(op) * byte_width(element_of(op.out))
                base = self.memory[op.operands[0]]
                view = plan.View.build(base, result=memory_of(op.out), location=op.location, offset=start)
                self.memory[op.out] = self.add(view, op.out).out
            elif isinstance(op, Checked):
                value, holds = (self.memory[operand] for operand in op.operands)
                view = plan.View.build(value, result=memory_of(op.out), location=op.location)
                self.memory[op.out] = self.add(view, op.out).out
                given: dict[str, Any] = {"outputs": relying[op]} if op in relying else {}
                self.add(plan.Check.build(holds, view.out, message=op.message, location=op.location, **given))
            elif isinstance(op, GraphDispatch):
                self._dispatch(op)
            elif isinstance(op, Loop):
                form_loop(self, op)
                self._bind(op)
        for value, target in zip(returned, targets, strict=True):
            source = _computed(value)
            if source is None or self.direct[source] is not target:
                location = cast(Operation, target.owner).location
                self.add(plan.Copy.build(self.memory[value], target, location=location))
        self.direct, self.guards = outer

    def guards_before(self, op: Operation) -> tuple[list[SSAValue], list[int]]:
        """The booleans that guard ``op``, and what each must be."""
        guards = self.guards.get(op, [])
        return [self.memory[value] for value, _ in guards], [int(holds) for _, holds in guards]

    def add(self, op: OpT, names: SSAValue | None = None) -> OpT:
        """Put ``op`` at the end of the program; its result is called as ``names`` is."""
        self.program.body.add_op(op)
        if names is not None:
            op.results[0].name_hint = names.name_hint
        return op

    def _interface(self, returned: list[SSAValue]) -> None:
        """Inputs and outputs, by the names they have in the model."""
        arguments = self.function.body.block.args
        inputs = names = names_of(self.function.arg_attrs, len(arguments))
        for index, (name, value) in enumerate(zip(names, arguments, strict=True)):
            op = plan.Input.build(result=memory_of(value), location=name_location(name), index=index, called=name)
            self.memory[value] = self.add(op, value).out
        names = names_of(self.function.res_attrs, len(returned))
        for index, (name, value) in enumerate(zip(names, returned, strict=True)):
            location = value.owner.location if isinstance(value.owner, Operation) else name_location(name)
            location = location if is_known(location) else name_location(name)
            op = plan.Output.build(result=memory_of(value), location=location, index=index, called=name)
            fed = state_of(self.function.res_attrs, index)
            if fed is not None:
                op.keeps = inputs.index(fed)
                append = _appending(value)
                op.axis = append.axis
                self.program.length = str(append.start)
                self.program.grown = append.start + shape_of(append.operands[1].type)[append.axis]
            self.outputs.append(self.add(op, value).out)

    def _weight(self, op: Constant) -> None:
        array = op.array(self.ctx.weights)
        key = op.key if "key" in op.attributes else self.ctx.weights.add(array)
        if key not in self.weights:
            weight = plan.Weight.build(result=memory_of(op.out), location=op.location, key=key)
            self.weights[key] = self.add(weight, op.out).out
        self.memory[op.out] = self.weights[key]

    def place(self, result: SSAValue, op: Operation) -> None:
        """Memory for a result of ``op``: where it is to go in the end, or a buffer."""
        target = self.direct.get(result)
        if target is None:
            buffer = plan.Buffer.build(result=memory_of(result), location=op.location)
            self.memory[result] = self.add(buffer, result).out
            return
        self.memory[result] = target
        if memory_of(target) != memory_of(result):
            view = plan.View.build(target, result=memory_of(result), location=op.location)
            self.memory[result] = self.add(view, result).out

    def _dispatch(self, op: GraphDispatch) -> None:
        for result in op.results:
            self.place(result, op)
        kernels = [kernels[op.symbol] for kernels in self.kernels.values()]
        teams = [kernel.team for kernel in kernels]
        cost = op.cost()
        written = typical(sum(memory_bytes(self.memory[result]) for result in op.results))
        names = next((kernel.sizes for kernel in kernels), ())
        guards, when = self.guards_before(op)
        command = plan.Dispatch.build(
            *(self.memory[value] for value in op.operands),
            *([self._sizes(names)] if names else []),
            *(self.memory[value] for value in op.results),
            *guards,
            when=when,
            kernel=op.symbol,
            outputs=len(op.results),
            units=[kernel.units for kernel in kernels],
            grain=[grain(kernel, written) for kernel in kernels],
            team=teams if any(teams) else [],
            flops=cost.flops,
            bytes=cost.bytes,
            location=op.location,
        )
        self.add(command)
        self._bind(op)

    def _bind(self, op: Operation) -> None:
        """The numbers that ``op`` has counted are known from here on."""
        for counting, value in counted(op):
            self.add(plan.Bind.build(self.memory[value], extent=counting.count, location=op.location))

    def _sizes(self, names: tuple[str, ...]) -> SSAValue:
        """The place of these symbols' values."""
        if names not in self.sizes:
            kind = memory((len(names),), I64)
            op = plan.Sizes.build(result=kind, location=name_location("sizes"), symbols=names)
            self.sizes[names] = self.add(op).out
        return self.sizes[names]


def _list_symbols(
    program: plan.Program, first: list[Symbol], counted: Mapping[Symbol, Extent], equal: list[tuple[Extent, Extent]]
) -> None:
    """Give the program its symbols: those of its inputs in their order, ``first``, then any others by name, at last the
    counted ones; and the pairs of extents that its sizes must make equal."""
    others = {symbol for extent in extents_of(program) for symbol in symbols_of(extent)} - {*first, *counted}
    symbols = [*first, *sorted(others, key=str), *counted]
    if symbols:
        program.symbols = tuple(map(str, symbols))
    bounds: dict[Symbol, Extent] = {}
    for symbol, most in counted.items():
        bounds[symbol] = at_most(most, bounds)
    if bounds:
        program.counted = tuple(map(str, bounds.values()))
    told = [f"{a} = {b}" for a, b in equal if symbols_of(a) | symbols_of(b) <= set(symbols)]
    if told:
        program.equal = tuple(told)


def grain(kernel: Kernel, written: int) -> int:
    """The fewest units of ``kernel``, whose results have ``written`` bytes, worth handing to one more thread."""
    crossing = written / max(typical(kernel.units), 1) / CROSSING_BANDWIDTH
    return min(max(1, round(FORK_NANOSECONDS / 2 / max(kernel.unit_cost + crossing, 1e-3))), 1 << 40)


def _first_element(op: Slice) -> Extent:
    """Position of a slice's first element in the row-major order of its operand."""
    position: Extent = 0
    for start, extent in zip(op.starts, shape_of(op.operands[0].type), strict=True):
        position = position * extent + start
    return position


def _computed(value: SSAValue) -> SSAValue | None:
    """The result of a dispatch, or what a loop has stacked or counted, that ``value`` is, perhaps in another shape;
    None for an input, a weight or what a loop carries, which has a place already."""
    owner = value.owner
    while isinstance(owner, Reshape | Checked):
        value = owner.operands[0]
        owner = value.owner
    if isinstance(owner, Loop):
        return value if value not in owner.results[: owner.carried] else None
    return value if isinstance(owner, GraphDispatch) else None


def _appending(value: SSAValue) -> Append:
    """The op that a result comes from which a session keeps."""
    dispatch = value.owner
    assert isinstance(dispatch, GraphDispatch)
    pairs = zip(dispatch.results, dispatch.terminator.operands, strict=True)
    append = next(computed.owner for result, computed in pairs if result is value)
    assert isinstance(append, Append), "append-in-place has not run"
    return append


def _checks(value: SSAValue) -> Iterator[Operation]:
    """The checks on which ``value`` relies, without those of values it is computed from."""
    owner = value.owner
    while isinstance(owner, Reshape | Checked):
        if isinstance(owner, Checked):
            yield owner
        owner = owner.operands[0].owner
