"""Recurrences: LSTM, GRU and RNN, the time loop inside the kernel.

In: ``graph.lstm``, ``graph.gru`` or ``graph.rnn`` whose weights are views of transposed constants (so that lanes run
along gates). Out: a team kernel whose units are slices of the hidden units, or, where all fit into one slice, a kernel
with one unit per direction. The one idea: a thread keeps to its slices. What depends on inputs alone is one matrix
product over all time steps; then each step multiplies the previous state with the recurrent weights of the slice,
which stay in the thread's cache, and turns the sums of all gates into the slice's new state while they are in
registers. Only the state is exchanged, once a step: it has two buffers in turn, so one phase a step is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.recurrence import activate
from penstock.compiler.dtypes import I1, byte_width
from penstock.compiler.extents import Dim, Extent, ceildiv, floordiv, is_number, smallest, surely, tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, iv, lane, linearise
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.contraction import accumulate, accumulate_several, combine
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

Tile = Callable[[Expr, Expr], None]  # (batch rows, hidden units), both with lanes

FETCHED_BYTES = 4096
"""States up to this size are fetched into the cache before a slice begins."""

WHOLE_ROWS = 3
"""Rows beyond full tiles that are one tile together: the weights pass once for each tile."""

PHASE_NANOSECONDS = 200.0
"""What a phase costs that threads share: steps must take several times as long for a second thread to pay."""


@schedule("recurrence")
def lower_recurrence(k: KernelLowering) -> None:
    """Units: slices of hidden units, or directions."""
    kinds = {"graph.lstm": Lstm, "graph.gru": Gru, "graph.rnn": Rnn}
    op = k.root(*kinds)
    kinds[op.name](k, op).emit()


class Recurrence:
    """What the layers share. Names: T steps, B batch, I input width, H hidden width, G gates."""

    gates: int

    def __init__(self, k: KernelLowering, op: Any) -> None:
        self.k, self.op = k, op
        self.steps, self.batch, self.inputs = k.e.shape(op.operand("x"))
        self.hidden = k.e.shape(op.operand("r"))[2]
        self.element = element_of(op.operand("x"))
        self.register = register_type(self.element)
        self.total = self.gates * self.hidden
        self.width = tile_width(self.hidden, (4 if k.machine.vector_registers >= 32 else 2) * k.machine.lanes)
        self.slices = ceildiv(self.hidden, self.width)
        self.team = self.slices != 1
        self.way, self.side = Expr(), 0
        self.there = Expr(), Expr(1)  # where a step begins to read the state, and which way it goes on
        self.old, self.new = Expr(), Expr()  # where in ``h`` the states before and after a step are

    def emit(self) -> None:
        k = self.k
        self.gate = self.alloc(self.steps * self.batch * self.total)
        self.h = self.alloc(2 * self.batch * self.hidden)
        if self.team:
            k.b.team(self.slices, self._slice_cost())
            for side in range(self.op.directions):
                self._direction(Expr(side), side)
            return
        with k.parallel((self.op.directions,), self._work() / self.op.directions) as (way,):
            for side in range(self.op.directions):
                if self.op.directions == 1:
                    self._direction(Expr(), side)
                    continue
                with k.b.when(k.b.compare("eq", k.b.index(k.e.scalar(way)), side)):
                    self._direction(Expr(side), side)

    def _work(self) -> float:
        """Nanoseconds that everything takes on one core, roughly."""
        return typical(self.op.cost().flops) / (self.k.machine.peak_f32 / 3)

    def _slice_cost(self) -> float:
        """Nanoseconds a slice takes; 0, which is worth no second thread, where phases would take too long a part."""
        stored = byte_width(element_of(self.op.operand("r")))
        weights = typical(self.hidden * self.total) * stored / self.k.machine.l3_bandwidth
        arithmetic = 2 * typical(self.batch * self.hidden * self.total) / self.k.machine.peak_f32
        return self._work() / typical(self.slices) if max(weights, arithmetic) > 4 * PHASE_NANOSECONDS else 0.0

    def _direction(self, way: Expr, side: int) -> None:
        k = self.k
        self.way, self.side = way, side
        self.functions = self.op.functions()[side]
        backwards = self.op.direction == "reverse" or side == 1
        self.new = Expr()
        self.over_slices(self._prepare)
        with k.loop(0, self.steps) as index:
            odd = k.settle(index.mod(2))
            self.old = k.settle(odd * (self.batch * self.hidden))
            self.new = k.settle((odd * -1 + 1) * (self.batch * self.hidden))
            self.there = k.settle(odd * (self.hidden - 1)), k.settle(odd * -2 + 1)
            self.step(k.settle((index * -1) + (self.steps - 1)) if backwards else index)
        self.new = k.settle(Expr(self.steps).mod(2) * (self.batch * self.hidden))
        self.over_slices(lambda units: self.over_state(units, self.last))

    # Threads ---------------------------------------------------------------------------------------------------------

    def alloc(self, count: Any) -> SSAValue:
        """Scratch that all slices share."""
        return self.k.b.alloc(count, self.register, shared=self.team)

    def over_slices(self, body: Callable[[Strip], None], reads: tuple[SSAValue, Expr] | None = None) -> None:
        """Call ``body`` for all slices, one phase of the team; what follows sees what it wrote. ``reads``: where the
        states are that all slices read."""
        k = self.k
        if not self.team:
            body(Strip(Expr(), self.width))
            return
        with k.b.phase() as index:
            if reads is not None:
                self._fetch(*reads)
            k.strip_at(iv(index, 0, self.slices - 1), self.hidden, self.width, body)

    def _fetch(self, source: SSAValue, at: Expr) -> None:
        """Ask for a small state at once: other threads have written parts of it, and each line takes long to come."""
        k, line = self.k, 64 // byte_width(self.register)
        count, most = self.batch * self.hidden, FETCHED_BYTES // byte_width(self.register)
        if is_number(count) and count <= most:
            for start in range(0, count, line):
                k.b.prefetch(source, k.e.scalar(at + start))
        elif not surely(count, ">", most):
            fetched = k.b.select(k.b.compare("le", k.b.index(count), most), k.b.index(count), 0)
            with k.b.loop(0, fetched, line) as loop:
                k.b.prefetch(source, k.e.scalar(at + iv(loop.index, 0, most - 1)))

    # Tiles -----------------------------------------------------------------------------------------------------------

    def over_state(self, units: Strip, body: Tile, gates: int = 1) -> None:
        """Call ``body`` over the batch rows of some units, in tiles for which the sums of so many gates fit into
        registers; lanes are set to (rows, units). Rows that a symbolic batch has beyond full tiles have tiles of their
        own: fewer rows, more units."""
        k = self.k
        height, width = self._tile(units, gates, self.batch)
        if not isinstance(self.batch, Dim):
            self._tiles(units, width, body, lambda tile: k.rows(self.batch, height, tile))
            return

        def rest(rows: Strip) -> None:
            height, width = self._tile(units, gates, rows.width)

            def part(tile: Callable[[Strip], None]) -> None:
                k.rows(rows.width, height, lambda inner: tile(Strip(rows.start + inner.start, inner.width)))

            self._tiles(units, width, body, part)

        full = floordiv(self.batch, height) * height
        if full != 0:
            with k.when_positive(full):
                self._tiles(units, width, body, lambda tile: k.rows(full, height, tile))
        k.pieces(k.tail(self.batch, height), rest, whole=WHOLE_ROWS)

    def _tiles(
        self, units: Strip, width: int, body: Tile, over_rows: Callable[[Callable[[Strip], None]], None]
    ) -> None:
        """Call ``body`` for strips of ``width`` units and the rows that ``over_rows`` goes through for each."""
        k = self.k

        def strip(part: Strip) -> None:
            start = units.start + part.start

            def tile(rows: Strip) -> None:
                with k.e.lanes((rows.width, part.width), units.limits(1)):
                    body(rows.start + lane(0, rows.width), start + lane(1, part.width))

            over_rows(tile)

        k.strips(units.width, width, strip)

    def _tile(self, units: Strip, gates: int, batch: Extent) -> tuple[int, int]:
        """Rows and units of the tile with the fewest loads for each multiply-add."""
        lanes = self.k.machine.lanes
        vectors, count, found = -(-units.width // lanes), typical(batch), list[tuple[float, int, int]]()
        for width in (4, 2, 1):
            if units.limit is not None or width > vectors:
                width = vectors
            most = max(1, (self.k.machine.vector_registers - 1 - width) // (gates * width))
            rows = -(-count // -(-count // most)) if count else 1
            found.append(((gates * width + rows) / (gates * width * rows), -width, rows))
        _, width, rows = min(found)
        return tile_width(batch, rows), min(-width * lanes, units.width)

    def _prepare(self, units: Strip) -> None:
        """What a slice needs before the first step."""
        self._input_gates(units)
        self.over_state(units, self.start)

    def _input_gates(self, units: Strip) -> None:
        """gate[T*B, G*H] = x w^T + bias for the gates of some units, in tiles along time or along the batch."""
        k = self.k
        vectors = -(-units.width // k.machine.lanes)
        most = (k.machine.vector_registers - 1 - vectors) // vectors
        fewest = smallest(self.batch, most)
        if surely(self.steps, ">=", fewest):
            self._input_rows(units, most, along_time=True)
        elif surely(self.steps, "<", fewest):
            self._input_rows(units, most, along_time=False)
        else:
            enough = k.b.compare("ge", k.b.index(self.steps), k.b.index(fewest))
            with k.b.when(enough):
                self._input_rows(units, most, along_time=True)
            with k.b.when(k.b.unary("not_", enough)):
                self._input_rows(units, most, along_time=False)

    def _input_rows(self, units: Strip, most: int, *, along_time: bool) -> None:
        """The same in tiles of so many rows at most, which are steps of a sequence or sequences of a step."""
        k = self.k
        vectors = -(-units.width // k.machine.lanes)
        inner, outer = (self.steps, self.batch) if along_time else (self.batch, self.steps)
        with k.loop(0, self.gates) as gate, k.loop(0, outer) as other:
            column = gate * self.hidden + units.start + lane(1, units.width)

            def tile(block: Strip) -> None:
                with k.e.lanes((block.width, units.width), units.limits(1)):
                    along = block.start + lane(0, block.width)
                    self._input_tile(*((along, other) if along_time else (other, along)), column, vectors)

            k.rows(inner, tile_width(inner, most), tile)

    def _input_tile(self, step: Expr, row: Expr, column: Expr, vectors: int) -> None:
        k, x, w = self.k, self.op.operand("x"), self.op.operand("w")
        height, _ = k.e.tile.extents
        chains = max(1, min(4, 8 // (height * vectors))) if typical(self.inputs) >= 16 else 1
        sums = [k.b.splat(0, k.e.tile.extents, self.register)] * chains

        def multiply(t: Expr, total: SSAValue) -> SSAValue:
            return k.b.fma(k.e.value(x, (step, row, t)).value, k.e.value(w, (self.way, column, t)).value, total)

        total = combine(k, accumulate(k, self.inputs, sums, multiply))
        value = Typed(k.b.add(total, self.bias(column)), self.register)
        k.e.store(value, self.gate, (step * self.batch + row) * self.total + column)

    def bias(self, column: Expr) -> SSAValue:
        """Both biases of gate columns; gates whose recurrent bias stands inside a product override this."""
        k, b = self.k, self.op.operand("b")
        first = k.e.value(b, (self.way, column)).value
        return k.b.add(first, k.e.value(b, (self.way, column + self.total)).value)

    def sums(
        self, source: SSAValue, at: Expr, gates: Sequence[int], first: Sequence[SSAValue], row: Expr, unit: Expr
    ) -> list[Typed]:
        """``first`` + state[B, H] @ r^T for some gates of a tile; the state lies in ``source`` from ``at`` on."""
        k, r = self.k, self.op.operand("r")
        height, width = k.e.tile.extents
        registers = height * -(-width // k.machine.lanes) * len(gates)
        chains = max(1, min(4, 8 // registers)) if typical(self.hidden) >= 16 else 1
        zeros = [k.b.splat(0, (height, width), self.register)] * len(gates)

        def step(t: Expr, totals: Sequence[SSAValue]) -> list[SSAValue]:
            t = self._turning(t)
            left = k.e.load_scratch(source, at + row * self.hidden + t)
            columns = [k.e.value(r, (self.way, unit + gate * self.hidden, t)).value for gate in gates]
            return [k.b.fma(left, right, total) for right, total in zip(columns, totals, strict=True)]

        groups = accumulate_several(k, self.hidden, [list(first), *[zeros] * (chains - 1)], step)
        return [Typed(combine(k, list(one)), self.element) for one in zip(*groups, strict=True)]

    def _turning(self, t: Expr) -> Expr:
        """Forwards in even steps, backwards in odd ones, where weights are larger than a cache: so a step begins with
        what the one before has read last."""
        k, (first, sign) = self.k, self.there
        stored = byte_width(element_of(self.op.operand("r")))
        if typical(self.hidden * self.total) * stored <= k.machine.l1_bytes:
            return t
        there = k.b.iadd(k.e.scalar(first), k.b.imul(k.e.scalar(sign), k.e.scalar(t)))
        return iv(k.b.index(there), 0, self.hidden - 1)

    # Pieces ----------------------------------------------------------------------------------------------------------

    def gate_at(self, step: Expr, row: Expr, gate: int, unit: Expr) -> Typed:
        """What one gate gets from the inputs."""
        slot = (step * self.batch + row) * self.total + gate * self.hidden + unit
        return Typed(self.k.e.load_scratch(self.gate, slot), self.element)

    def apply(self, text: str, x: Typed, *, clipped: bool = True) -> Typed:
        """Clip, then the activation function ``text``."""
        s = self.k.e.scalars
        if self.op.clip and clipped:
            x = s.minimum(s.maximum(x, -self.op.clip), self.op.clip)
        return activate(s, text, x)

    def state(self, source: SSAValue, row: Expr, unit: Expr, at: Expr | None = None) -> Typed:
        return Typed(self.k.e.load_scratch(source, row * self.hidden + unit + (at or Expr())), self.element)

    def keep(self, new: Typed, target: SSAValue, row: Expr, unit: Expr, at: Expr | None = None) -> None:
        self.k.e.store(Typed(new.value, self.register), target, row * self.hidden + unit + (at or Expr()))

    def alive(self, step: Expr, row: Expr) -> Typed | None:
        """Whether sequences reach this step (None: all do)."""
        lengths = self.op.operand("lengths")
        if lengths is None:
            return None
        counts = self.k.e.scalars.index(self.k.e.value(lengths, (row,)))
        return Typed(self.k.b.compare("gt", counts, self.k.b.index(self.k.e.scalar(step))), I1)

    def advance(self, new: Typed, step: Expr, row: Expr, unit: Expr) -> None:
        """Store the hidden state after a step (0 beyond a sequence, whose state stays)."""
        shown, alive = new, self.alive(step, row)
        if alive is not None:
            s = self.k.e.scalars
            shown = s.select(alive, new, 0.0)
            new = s.select(alive, new, self.state(self.h, row, unit, self.old))
        self.write(0, (step, self.way, row, unit), shown)
        self.keep(new, self.h, row, unit, self.new)

    def write(self, result: int, at: tuple[Expr, ...], tile: Typed) -> None:
        """Store a tile of result ``result`` if the dispatch yields it."""
        value = self.op.results[result]
        for output, target in zip(self.k.outputs, self.k.targets, strict=True):
            if output is value:
                self.k.e.store(tile, target, linearise(at, self.k.e.shape(value)))

    # Differences -----------------------------------------------------------------------------------------------------

    def start(self, row: Expr, unit: Expr) -> None:
        """Load a tile of the initial states into scratch."""
        initial = self.op.operand("initial_h")
        self.keep(self.k.e.value(initial, (self.way, row, unit)), self.h, row, unit)

    def step(self, step: Expr) -> None:
        """One step of every slice."""
        raise NotImplementedError

    def last(self, row: Expr, unit: Expr) -> None:
        """Store a tile of the final states."""
        self.write(1, (self.way, row, unit), self.state(self.h, row, unit, self.new))


class Lstm(Recurrence):
    """Gates i, o, f, c."""

    gates = 4

    def emit(self) -> None:
        self.cell = self.alloc(self.batch * self.hidden)
        super().emit()

    def start(self, row: Expr, unit: Expr) -> None:
        super().start(row, unit)
        self.keep(self.k.e.value(self.op.operand("initial_c"), (self.way, row, unit)), self.cell, row, unit)

    def last(self, row: Expr, unit: Expr) -> None:
        super().last(row, unit)
        self.write(2, (self.way, row, unit), self.state(self.cell, row, unit))

    def _peep(self, gate: int, unit: Expr, cell: Typed, x: Typed) -> Typed:
        weights = self.op.operand("peepholes")
        if weights is None:
            return x
        s = self.k.e.scalars
        return s.add(x, s.mul(self.k.e.value(weights, (self.way, unit + gate * self.hidden)), cell))

    def step(self, step: Expr) -> None:
        s = self.k.e.scalars
        f1, f2, f3 = self.functions

        def tile(row: Expr, unit: Expr) -> None:
            first = [self.gate_at(step, row, gate, unit).value for gate in range(4)]
            i, o, f, c = self.sums(self.h, self.old, range(4), first, row, unit)
            old_cell = self.state(self.cell, row, unit)
            i = self.apply(f1, self._peep(0, unit, old_cell, i))
            f = s.sub(1.0, i) if self.op.input_forget else self.apply(f1, self._peep(2, unit, old_cell, f))
            cell = s.add(s.mul(f, old_cell), s.mul(i, self.apply(f2, c)))
            o = self.apply(f1, self._peep(1, unit, cell, o))
            new = s.mul(o, self.apply(f3, cell, clipped=False))
            alive = self.alive(step, row)
            self.keep(cell if alive is None else s.select(alive, cell, old_cell), self.cell, row, unit)
            self.advance(new, step, row, unit)

        self.over_slices(lambda units: self.over_state(units, tile, self.gates), (self.h, self.old))


class Gru(Recurrence):
    """Gates z, r, h."""

    gates = 3

    def emit(self) -> None:
        self.part = None if self.op.linear_before_reset else self.alloc(self.batch * self.hidden)
        super().emit()

    def bias(self, column: Expr) -> SSAValue:
        """With ``linear_before_reset`` the recurrent bias of h belongs inside the reset product."""
        k, b = self.k, self.op.operand("b")
        first = k.e.value(b, (self.way, column)).value
        second = k.e.value(b, (self.way, column + self.total)).value
        if self.op.linear_before_reset:
            inside = k.e.compare("lt", column, 2 * self.hidden)
            second = k.b.select(inside, second, 0.0)
        return k.b.add(first, second)

    def step(self, step: Expr) -> None:
        if self.part is None:
            tile = self._reset_after(step)
            self.over_slices(lambda units: self.over_state(units, tile, self.gates), (self.h, self.old))
            return
        reset, candidate = self._reset(step, self.part), self._candidate(step, self.part)
        self.over_slices(lambda units: self.over_state(units, reset, 2), (self.h, self.old))
        self.over_slices(lambda units: self.over_state(units, candidate), (self.part, Expr()))

    def _blend(self, z: Typed, candidate: Typed, step: Expr, row: Expr, unit: Expr) -> None:
        s = self.k.e.scalars
        old = self.state(self.h, row, unit, self.old)
        self.advance(s.add(s.mul(s.sub(1.0, z), candidate), s.mul(z, old)), step, row, unit)

    def _reset_after(self, step: Expr) -> Tile:
        """A whole step: the reset gate multiplies the product of the state."""
        s = self.k.e.scalars
        f, g = self.functions

        def tile(row: Expr, unit: Expr) -> None:
            bias = self.k.e.value(self.op.operand("b"), (self.way, unit + 2 * self.hidden + self.total)).value
            first = [self.gate_at(step, row, gate, unit).value for gate in range(2)]
            first.append(self.k.b.broadcast(bias, self.k.e.tile.extents))
            z, r, product = self.sums(self.h, self.old, range(3), first, row, unit)
            reset = s.mul(self.apply(f, r), product)
            candidate = self.apply(g, s.add(self.gate_at(step, row, 2, unit), reset))
            self._blend(self.apply(f, z), candidate, step, row, unit)

        return tile

    def _reset(self, step: Expr, part: SSAValue) -> Tile:
        """The first half of a step: the gates, and the state multiplied by the reset gate."""
        s = self.k.e.scalars

        def tile(row: Expr, unit: Expr) -> None:
            first = [self.gate_at(step, row, gate, unit).value for gate in range(2)]
            z, r = (self.apply(self.functions[0], x) for x in self.sums(self.h, self.old, (0, 1), first, row, unit))
            self.keep(s.mul(r, self.state(self.h, row, unit, self.old)), part, row, unit)
            slot = (step * self.batch + row) * self.total + unit
            self.k.e.store(Typed(z.value, self.register), self.gate, slot)

        return tile

    def _candidate(self, step: Expr, part: SSAValue) -> Tile:
        """The second half: the candidate from the reset state, and the new state."""

        def tile(row: Expr, unit: Expr) -> None:
            first = [self.gate_at(step, row, 2, unit).value]
            (total,) = self.sums(part, Expr(), (2,), first, row, unit)
            z = self.gate_at(step, row, 0, unit)
            self._blend(z, self.apply(self.functions[1], total), step, row, unit)

        return tile


class Rnn(Recurrence):
    """One gate, whose activation is the new state."""

    gates = 1

    def step(self, step: Expr) -> None:
        (f,) = self.functions

        def tile(row: Expr, unit: Expr) -> None:
            first = [self.gate_at(step, row, 0, unit).value]
            (total,) = self.sums(self.h, self.old, (0,), first, row, unit)
            self.advance(self.apply(f, total), step, row, unit)

        self.over_slices(lambda units: self.over_state(units, tile), (self.h, self.old))
