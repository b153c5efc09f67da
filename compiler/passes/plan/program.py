"""From a function of dispatches to the plan the runtime executes.

In: ``@main`` after lowering (stored constants, dispatches, return) and each kernel's units, per instruction set. Out:
``artifact.plan.Plan`` per instruction set. The one idea: results that are returned are computed straight into the
caller's buffers, weights are read where they are mapped, and everything else shares one arena.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.ir import BlockArgument, SSAValue

from penstock.compiler.artifact.plan import (
    BufferRange,
    Command,
    CommandKind,
    Plan,
    Space,
    TensorInfo,
    place_weights,
)
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of, tensor_bytes
from penstock.compiler.dialects.graph.structure import Constant, Dispatch
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.dtypes import shape_of, type_name
from penstock.compiler.locations import source_names
from penstock.compiler.passes.plan.memory import Lifetime, place
from penstock.compiler.weights import digest

FORK_NANOSECONDS = 10_000.0
"""Work worth handing to one more thread: below it a dispatch stays on the calling thread."""


@dataclass(frozen=True)
class Program:
    """Plans by instruction set, and the weights' arrays in the plans' order."""

    plans: dict[str, Plan]
    weights: list[NDArray[Any]]


def main_function(module: ModuleOp) -> func.FuncOp:
    """The function ``@main``."""
    return next(op for op in module.body.block.ops if isinstance(op, func.FuncOp) and op.sym_name.data == "main")


def kernels_by_isa(module: ModuleOp) -> dict[str, dict[str, Kernel]]:
    """The tile kernels of every instruction set, by symbol."""
    return {
        op.sym_name.data: {kernel.sym_name: kernel for kernel in op.body.block.ops if isinstance(kernel, Kernel)}
        for op in module.body.block.ops
        if isinstance(op, ModuleOp) and op.sym_name is not None
    }


def build_program(module: ModuleOp, ctx: CompilerContext, scratch: dict[str, int]) -> Program:
    """Plans for every instruction set of ``module``; ``scratch`` gives bytes per thread by instruction set."""
    planner = _Planner(main_function(module), ctx)
    plans = {isa: planner.plan(kernels, scratch[isa]) for isa, kernels in kernels_by_isa(module).items()}
    return Program(plans, planner.arrays)


class _Planner:
    """Where values lie, worked out once; plans per instruction set differ only in units."""

    def __init__(self, function: func.FuncOp, ctx: CompilerContext) -> None:
        block = function.body.block
        self.inputs = list(block.args)
        terminator = block.last_op
        assert isinstance(terminator, func.ReturnOp)
        self.returned: list[SSAValue] = list(terminator.operands)
        self.names = _names(function)
        self.dispatches = [op for op in block.ops if isinstance(op, Dispatch)]
        self.constants = [op for op in block.ops if isinstance(op, Constant)]
        self._place_weights(ctx)
        self._place_values()

    def _place_weights(self, ctx: CompilerContext) -> None:
        self.arrays: list[NDArray[Any]] = []
        sizes: list[tuple[str, int]] = []
        slot_of: dict[str, int] = {}
        index_of: dict[SSAValue, int] = {}
        for op in self.constants:
            array = op.array(ctx.weights)
            key = op.key if "key" in op.attributes else f"inline#{digest(array)}"
            if key not in slot_of:
                slot_of[key] = len(sizes)
                sizes.append((key, array.nbytes))
                self.arrays.append(array)
            index_of[op.out] = slot_of[key]
        self.slots = place_weights(sizes)
        self.weight_of = {value: self.slots[index] for value, index in index_of.items()}

    def _place_values(self) -> None:
        last_use: dict[SSAValue, int] = {}
        for index, op in enumerate(self.dispatches):
            for operand in op.operands:
                last_use[operand] = index
        self.direct: dict[SSAValue, int] = {}
        for index, value in enumerate(self.returned):
            if isinstance(value.owner, Dispatch):
                self.direct.setdefault(value, index)
        values = [
            (result, index)
            for index, op in enumerate(self.dispatches)
            for result in op.results
            if result not in self.direct
        ]
        lifetimes = [Lifetime(tensor_bytes(v.type), index, last_use.get(v, index)) for v, index in values]
        offsets, self.arena = place(lifetimes)
        self.offset: dict[SSAValue, int] = {value: offset for (value, _), offset in zip(values, offsets, strict=True)}

    def range_of(self, value: SSAValue) -> BufferRange:
        """Where a value lies."""
        size = tensor_bytes(value.type)
        if isinstance(value, BlockArgument):
            return BufferRange(Space.INPUT, 0, size, value.index)
        if value in self.weight_of:
            return BufferRange(Space.WEIGHTS, self.weight_of[value].offset, size)
        if value in self.direct:
            return BufferRange(Space.OUTPUT, 0, size, self.direct[value])
        return BufferRange(Space.ARENA, self.offset[value], size)

    def plan(self, kernels: dict[str, Kernel], scratch: int) -> Plan:
        """The plan for one instruction set."""
        symbols = list(kernels)
        numbers = {symbol: number for number, symbol in enumerate(symbols)}
        commands = [self._dispatch(op, kernels[op.symbol], numbers) for op in self.dispatches]
        for index, value in enumerate(self.returned):
            if self.direct.get(value) != index:
                target = BufferRange(Space.OUTPUT, 0, tensor_bytes(value.type), index)
                source = self.range_of(value)
                commands.append(Command(CommandKind.COPY, (source,), (target,), source="copy", bytes=2 * source.bytes))
        return Plan(
            inputs=[_info(name, v) for name, v in zip(self.names[0], self.inputs, strict=True)],
            outputs=[_info(name, v) for name, v in zip(self.names[1], self.returned, strict=True)],
            kernels=symbols,
            commands=commands,
            weights=self.slots,
            arena_bytes=self.arena,
            scratch_bytes_per_thread=scratch,
        )

    def _dispatch(self, op: Dispatch, kernel: Kernel, numbers: dict[str, int]) -> Command:
        cost = op.cost()
        grain = max(1, round(FORK_NANOSECONDS / 2 / max(kernel.unit_cost, 1e-3)))
        return Command(
            CommandKind.DISPATCH,
            tuple(self.range_of(value) for value in op.operands),
            tuple(self.range_of(value) for value in op.results),
            kernel=numbers[op.symbol],
            units=kernel.units,
            grain=min(grain, 1 << 40),
            source=" + ".join(source_names(op.location)),
            flops=cost.flops,
            bytes=cost.bytes,
        )


def _info(name: str, value: SSAValue) -> TensorInfo:
    return TensorInfo(name, type_name(element_of(value)), shape_of(value.type))


def _names(function: func.FuncOp) -> tuple[list[str], list[str]]:
    def read(attributes: ArrayAttr[DictionaryAttr] | None, count: int) -> list[str]:
        names: list[str] = []
        for index in range(count):
            entry = attributes.data[index].data.get("penstock.name") if attributes is not None else None
            names.append(entry.data if isinstance(entry, StringAttr) else f"value{index}")
        return names

    kinds = function.function_type
    return read(function.arg_attrs, len(kinds.inputs)), read(function.res_attrs, len(kinds.outputs))
