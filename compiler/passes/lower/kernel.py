"""One kernel being lowered: what every schedule shares.

In: a dispatch and the machine it is scheduled for. Out: a ``tile.kernel`` whose buffers are the dispatch's inputs,
then its results. The one idea: a schedule decides which part of the root to compute when, calls ``finish`` with the
tile, and the epilogue (elementwise ops and views after the root) and the stores follow from the dispatch's body.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from xdsl.ir import Attribute, Block, Operation, SSAValue

from penstock.compiler.backends.cpu.target import CpuTarget
from penstock.compiler.dialects.graph.base import element_of, elements
from penstock.compiler.dialects.graph.counting import counted_symbols
from penstock.compiler.dialects.graph.elementwise import Elementwise
from penstock.compiler.dialects.graph.structure import Constant, Dispatch, Yield
from penstock.compiler.dialects.tile.builder import Index, KernelBuilder, buffer
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.errors import PASS_FAILED, InternalError
from penstock.compiler.extents import Dim, Extent, Symbol, floordiv, largest, typical
from penstock.compiler.limits import at_most
from penstock.compiler.passes.lower.affine import Expr, delinearise, iv, linearise
from penstock.compiler.passes.lower.evaluator import Coordinates, Evaluator, broadcast_coordinates
from penstock.compiler.passes.lower.invariants import hoist_invariants
from penstock.compiler.passes.lower.tile_scalars import Typed, memory_type

VIEWS = ("graph.reshape", "graph.transpose")


Schedule = Callable[["KernelLowering"], None]
SCHEDULES: dict[str, Schedule] = {}
TUNABLE: set[str] = set()
"""Kinds of dispatches whose schedule chooses (``KernelLowering.choose``) before it emits anything."""
T = TypeVar("T")


def schedule(*kinds: str, tunable: bool = False) -> Callable[[Schedule], Schedule]:
    """Register the schedule of dispatches of these kinds."""

    def register(function: Schedule) -> Schedule:
        SCHEDULES.update(dict.fromkeys(kinds, function))
        TUNABLE.update(kinds if tunable else ())
        return function

    return register


@cache
def load_schedules() -> None:
    """Import every module of ``schedules``, which registers what it holds."""
    package = importlib.import_module("penstock.compiler.passes.lower.schedules")
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{info.name}")


def lower_dispatch(dispatch: Dispatch, machine: CpuTarget, symbol: str | None = None, choice: str = "") -> Kernel:
    """The kernel that computes ``dispatch`` on ``machine``, by ``choice``, one of ``schedule_options`` (empty: the
    first). Raises InternalError for a kind without a schedule."""
    load_schedules()
    if dispatch.kind not in SCHEDULES:
        raise InternalError(PASS_FAILED, f"no schedule for dispatches of kind {dispatch.kind}")
    lowering = KernelLowering(dispatch, machine, symbol or dispatch.symbol)
    lowering.choice = choice
    SCHEDULES[dispatch.kind](lowering)
    kernel = lowering.b.finish()
    hoist_invariants(kernel)
    return kernel


def schedule_options(dispatch: Dispatch, machine: CpuTarget) -> tuple[str, ...]:
    """The names of the candidates by which ``dispatch`` may be lowered, the cost model's first; none without choice."""
    load_schedules()
    if dispatch.kind not in TUNABLE:
        return ()
    lowering = KernelLowering(dispatch, machine, dispatch.symbol)
    lowering.choice = None
    try:
        SCHEDULES[dispatch.kind](lowering)
    except _Options as found:
        return found.names
    return ()


class _Options(Exception):
    """Candidates were asked for, not a kernel: here are their ``names``."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(names)
        self.names = names


@dataclass(frozen=True)
class Strip:
    """``width`` neighbours along an axis from ``start``, of which the first ``limit`` exist (None: all)."""

    start: Expr
    width: int
    limit: Extent | None = None

    def limits(self, dim: int) -> dict[int, Index]:
        """The limits of a tile whose dimension ``dim`` runs along the strip."""
        return {} if self.limit is None else {dim: self.limit}


class KernelLowering:
    """A builder, an evaluator over the dispatch's body, and the way from a root's tile to memory."""

    def __init__(self, dispatch: Dispatch, machine: CpuTarget, symbol: str) -> None:
        self.dispatch, self.machine = dispatch, machine
        self.body: Block = dispatch.body
        self.outputs: tuple[SSAValue, ...] = tuple(dispatch.terminator.operands)
        # What the kernel counts is no size it can read: its results are as large as they may become.
        counted = counted_symbols([dispatch], self.body.args)
        types = [self._buffer(value.type, counted) for value in (*self.body.args, *self.outputs)]
        sizes = sorted({symbol.name for symbol in dispatch.symbols() - counted.keys()})
        self.b = KernelBuilder(symbol, types, outputs=len(self.outputs), sizes=sizes, location=dispatch.location)
        inputs = len(self.body.args)
        self.e = Evaluator(self.b, dict(zip(self.body.args, self.b.buffers[:inputs], strict=True)))
        self.targets = list(self.b.buffers[inputs:])
        self.choice: str | None = ""  # None: candidates are asked for

    def choose(self, options: Mapping[str, T]) -> T:
        """The one of ``options``, by name and the cost model's first, by which the kernel is to be lowered."""
        if self.choice is None:
            raise _Options(tuple(options))
        return options[self.choice or next(iter(options))]

    @staticmethod
    def _buffer(value_type: Attribute, counted: Mapping[Symbol, Extent]) -> Attribute:
        return buffer(at_most(elements(value_type), counted), memory_type(element_of(value_type)))

    def root(self, *names: str) -> Any:
        """The op of the body with one of these names. Raises InternalError unless there is exactly one."""
        found = [op for op in self.body.ops if op.name in names]
        if len(found) != 1:
            raise InternalError(PASS_FAILED, f"a {self.dispatch.kind} dispatch has one of {names}, not {len(found)}")
        return found[0]

    # Units -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def parallel(self, extents: tuple[int, ...], unit_cost: float) -> Generator[tuple[Expr, ...]]:
        """The loop over parallel units, one per index of ``extents`` (row-major); yields the indices."""
        count = math.prod(extents)
        with self.b.units(count, unit_cost) as unit:
            yield self.split(iv(unit, 0, largest(count - 1, 0)), extents)

    def split(self, position: Expr, extents: tuple[int, ...]) -> tuple[Expr, ...]:
        """Row-major coordinates of ``position``, each computed once as an index value."""
        if 0 in extents:
            return (Expr(),) * len(extents)
        return tuple(self.settle(part) for part in delinearise(position, extents))

    def settle(self, expression: Expr) -> Expr:
        """A lane-free expression as a single index value with the same range."""
        low, high = expression.bounds()
        value = self.e.scalar(expression)
        return iv(value, low, high) if isinstance(value, SSAValue) else Expr(value)

    @contextmanager
    def loop(self, lower: Index, upper: Extent, step: int = 1, *, low: int = 0) -> Generator[Expr]:
        """A serial loop without carried values; yields the index (a multiple of ``step`` above ``low``)."""
        with self.b.loop(lower, upper, step) as loop:
            yield iv(loop.index, low, largest(upper - 1, low), step if lower == 0 else 1)

    def strips(self, extent: Extent, width: int, body: Callable[[Strip], None]) -> None:
        """Call ``body`` over [0, extent): a loop over full strips, then a narrower tail; for a symbolic extent one of
        full width of which only some lanes are valid."""
        full = floordiv(extent, width) * width
        if full == width:
            body(Strip(Expr(), width))
        elif full != 0:
            with self.b.loop(0, full, width) as loop:
                body(Strip(iv(loop.index, 0, largest(full - width, 0), width), width))
        if full == extent:
            return
        tail = self.tail(extent, width)
        if tail.limit is None:
            body(tail)
        else:
            with self.when_positive(tail.limit):
                body(tail)

    def tail(self, extent: Extent, width: int) -> Strip:
        """What is left of [0, extent) after full strips of ``width``; for a symbolic extent that may be nothing."""
        full = floordiv(extent, width) * width
        rest = extent - full
        return Strip(Expr(full), width, rest) if isinstance(rest, Dim) else Strip(Expr(full), rest)

    def strip_at(self, index: Expr, extent: Extent, width: int, body: Callable[[Strip], None]) -> None:
        """Call ``body`` for strip number ``index`` of [0, extent), a full one or the tail, whichever it is."""
        full = floordiv(extent, width)
        if full * width == extent:
            body(Strip(index * width, width))
            return
        number, count = self.b.index(self.e.scalar(index)), self.b.index(full)
        if full != 0:
            with self.b.when(self.b.compare("lt", number, count)):
                body(Strip(iv(number, 0, largest(full - 1, 0)) * width, width))
        with self.b.when(self.b.compare("ge", number, count)):
            body(self.tail(extent, width))

    @contextmanager
    def when_positive(self, extent: Extent) -> Generator[None]:
        """Run the block only where a symbolic extent is not 0."""
        with self.b.when(self.b.compare("gt", self.b.index(extent), 0)):
            yield

    def pieces(self, tail: Strip, body: Callable[[Strip], None], *, whole: int = 1) -> None:
        """Call ``body`` over a tail: once where its extent is a number, else for strips of powers of two, without
        limits, that together are as long as the tail is at run time. Powers above ``whole`` stand for themselves; what
        is left below the next one is a single strip, which has a body for every length."""
        if tail.limit is None:
            body(tail)
            return
        done: Extent = 0
        width = 1 << (tail.width - 1).bit_length() >> 1
        while width > whole:
            count = floordiv(tail.limit - done, width)  # 0 or 1
            with self.when_positive(count):
                body(Strip(tail.start + done, width))
            done = done + count * width
            width //= 2
        for count in range(1, min(2 * width, tail.width)):
            with self.b.when(self.b.compare("eq", self.b.index(tail.limit - done), count)):
                body(Strip(tail.start + done, count))

    def rows(self, extent: Extent, width: int, body: Callable[[Strip], None]) -> None:
        """Call ``body`` over [0, extent) in full strips, then over ``pieces`` of the rest: no strip has a limit."""
        full = floordiv(extent, width)
        if full == 1:
            body(Strip(Expr(), width))
        elif full != 0:
            with self.b.loop(0, full) as loop:
                body(Strip(iv(loop.index, 0, largest(full - 1, 0)) * width, width))
        if full * width != extent:
            self.pieces(self.tail(extent, width), body)

    # Epilogue --------------------------------------------------------------------------------------------------------

    def finish(self, root: SSAValue, at: Coordinates, tile: Typed) -> None:
        """Run what follows ``root`` on its ``tile`` at coordinates ``at`` and store the dispatch's results there."""
        where: dict[SSAValue, Coordinates] = {root: at}
        self.e.define(root, at, tile)
        for op in self.body.ops:
            if isinstance(op, Yield | Constant) or not any(o in where for o in op.operands) or op.results[0] in where:
                continue
            where[op.results[0]] = self._follow(op, where)
        for value, target in zip(self.outputs, self.targets, strict=True):
            position = where.get(value, at)
            if value not in where and self.e.shape(value) != self.e.shape(root):
                raise InternalError(
                    PASS_FAILED, "a result that is not computed from the root has another shape than the root"
                )
            self.e.store(self.e.value(value, position), target, linearise(position, self.e.shape(value)))

    def _follow(self, op: Operation, where: dict[SSAValue, Coordinates]) -> Coordinates:
        """Coordinates of the result of an op that uses values at known coordinates; its tile is defined there."""
        result = op.results[0]
        source = next(o for o in op.operands if o in where)
        if isinstance(op, Elementwise):
            shape = self.e.shape(result)
            base = next((o for o in op.operands if o in where and self.e.shape(o) == shape), None)
            if base is None:
                base = next(o for o in op.operands if o in where)
                padded = (1,) * (len(shape) - len(self.e.shape(base))) + self.e.shape(base)
                if padded != shape:
                    raise InternalError(PASS_FAILED, "an epilogue op broadcasts the root")
                at = (Expr(),) * (len(shape) - len(self.e.shape(base))) + where[base]
            else:
                at = where[base]
            operands = [
                self.e.value(o, where[o] if o in where else broadcast_coordinates(at, self.e.shape(o)))
                for o in op.operands
            ]
            self.e.define(result, at, op.scalar(self.e.scalars, *operands))
            return at
        if op.name == "graph.transpose":
            at = tuple(where[source][axis] for axis in op.permutation)  # pyright: ignore
        elif op.name == "graph.reshape":
            at = delinearise(linearise(where[source], self.e.shape(source)), self.e.shape(result))
        else:
            raise InternalError(PASS_FAILED, f"{op.name} cannot follow a kernel's root")
        self.e.define(result, at, self.e.value(source, where[source]))
        return at

    # Numbers ---------------------------------------------------------------------------------------------------------

    def reciprocal(self, count: Extent, kind: Attribute) -> SSAValue:
        """1 / count as a scalar of ``kind``."""
        if not isinstance(count, Dim):
            return self.b.constant(1.0 / count if count else math.inf, kind)
        return self.b.div(1.0, self.b.cast(self.b.index(count), kind))

    # Estimates -------------------------------------------------------------------------------------------------------

    def elementwise_cost(self, count: Extent) -> float:
        """Nanoseconds that ``count`` elements of the body's elementwise ops and their traffic take, roughly."""
        per = sum(op.flops_per_element for op in self.body.ops if isinstance(op, Elementwise))
        return typical(count) * (0.05 + 2.0 * per / self.machine.peak_f32)
