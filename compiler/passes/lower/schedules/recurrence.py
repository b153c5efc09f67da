"""Recurrences: LSTM, GRU and RNN, one direction to a unit, the time loop inside the kernel.

In: ``graph.lstm``, ``graph.gru`` or ``graph.rnn`` whose weights are views of transposed constants (so that lanes run
along gates). Out: a kernel with one unit per direction. The one idea: the part of the gates that depends on inputs
alone is one matrix product over all time steps; then each step adds the product with the previous state, which stays in
cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.recurrence import activate
from penstock.compiler.dtypes import I1
from penstock.compiler.extents import tile_width, typical
from penstock.compiler.passes.lower.affine import Expr, lane, linearise
from penstock.compiler.passes.lower.kernel import KernelLowering, Strip, schedule
from penstock.compiler.passes.lower.schedules.contraction import accumulate, combine
from penstock.compiler.passes.lower.tile_scalars import Typed, register_type

Operand = Callable[[Expr, Expr], SSAValue]


@schedule("recurrence")
def lower_recurrence(k: KernelLowering) -> None:
    """Units: directions."""
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
        lanes = k.machine.lanes
        self.width = tile_width(self.hidden, (4 if k.machine.vector_registers >= 32 else 2) * lanes)
        self.way, self.side = Expr(), 0

    def emit(self) -> None:
        k = self.k
        self.gate = k.b.alloc(self.steps * self.batch * self.total, self.register)
        self.h = k.b.alloc(self.batch * self.hidden, self.register)
        cost = typical(self.op.cost().flops) / self.op.directions / (k.machine.peak_f32 / 3)
        with k.parallel((self.op.directions,), cost) as (way,):
            if self.op.directions == 1:
                self._direction(Expr(), 0)
                return
            for side in range(2):
                with k.b.when(k.b.compare("eq", k.b.index(k.e.scalar(way)), side)):
                    self._direction(Expr(side), side)

    def _direction(self, way: Expr, side: int) -> None:
        k = self.k
        self.way, self.side = way, side
        self.functions = self.op.functions()[side]
        backwards = self.op.direction == "reverse" or side == 1
        self._input_gates()
        self.start()
        with k.loop(0, self.steps) as index:
            step = k.settle((index * -1) + (self.steps - 1)) if backwards else index
            self.step(step)
        self.last()

    # Pieces ----------------------------------------------------------------------------------------------------------

    def over_state(self, body: Callable[[Expr, Expr, int], None]) -> None:
        """Call ``body(batch row, first hidden unit, width)`` over [B, H] in strips, with lanes set."""
        with self.k.loop(0, self.batch) as row:

            def strip(units: Strip) -> None:
                with self.k.e.lanes((units.width,), units.limits(0)):
                    body(row, units.start, units.width)

            self.k.strips(self.hidden, self.width, strip)

    def bias(self, column: Expr) -> SSAValue:
        """Both biases of gate columns; gates whose recurrent bias stands inside a product override this."""
        k, b = self.k, self.op.operand("b")
        first = k.e.value(b, (self.way, column)).value
        return k.b.add(first, k.e.value(b, (self.way, column + self.total)).value)

    def product(
        self,
        rows: int,
        depth: int,
        columns: tuple[int, int],
        left: Operand,
        right: Operand,
        finish: Callable[..., None],
    ) -> None:
        """left[rows, depth] @ right[depth, columns) in register tiles; ``finish(row, column, sum)`` takes each tile."""
        k = self.k
        vectors = -(-self.width // k.machine.lanes)
        most = tile_width(rows, (k.machine.vector_registers - 1 - vectors) // vectors)

        def tile(block: Strip, column: Expr, width: int) -> None:
            row, height = block.start, block.width
            with k.e.lanes((height, width)):
                chains = max(1, min(4, 8 // (height * vectors))) if depth >= 16 else 1
                sums = [k.b.splat(0, (height, width), self.register)] * chains

                def step(t: Expr, total: SSAValue) -> SSAValue:
                    return k.b.fma(left(row + lane(0, height), t), right(t, column + lane(1, width)), total)

                finish(row + lane(0, height), column + lane(1, width), combine(k, accumulate(k, depth, sums, step)))

        def strip(gates: Strip) -> None:
            k.rows(rows, most, lambda block: tile(block, gates.start + columns[0], gates.width))

        k.strips(columns[1] - columns[0], self.width, strip)

    def _input_gates(self) -> None:
        """gate[T*B, G*H] = x w^T + bias."""
        k, x, w = self.k, self.op.operand("x"), self.op.operand("w")

        def finish(row: Expr, column: Expr, total: SSAValue) -> None:
            value = k.b.add(total, self.bias(column))
            k.e.store(Typed(value, self.register), self.gate, row * self.total + column)

        self.product(
            self.steps * self.batch,
            self.inputs,
            (0, self.total),
            lambda row, t: k.e.value(x, (row.floordiv(self.batch), row.mod(self.batch), t)).value,
            lambda t, column: k.e.value(w, (self.way, column, t)).value,
            finish,
        )

    def recurrent(
        self, source: SSAValue, columns: tuple[int, int], finish: Callable[[Expr, Expr, SSAValue], None]
    ) -> None:
        """state[B, H] @ r^T for gate columns [first, last)."""
        k, r = self.k, self.op.operand("r")
        self.product(
            self.batch,
            self.hidden,
            columns,
            lambda row, t: k.e.load_scratch(source, row * self.hidden + t),
            lambda t, column: k.e.value(r, (self.way, column, t)).value,
            finish,
        )

    def add_to_gates(self, step: Expr) -> Callable[[Expr, Expr, SSAValue], None]:
        """Add a product to the gates of a time step."""
        k = self.k

        def finish(row: Expr, column: Expr, total: SSAValue) -> None:
            slot = (step * self.batch + row) * self.total + column
            k.e.store(Typed(k.b.add(k.e.load_scratch(self.gate, slot), total), self.register), self.gate, slot)

        return finish

    def gate_at(self, step: Expr, row: Expr, gate: int, unit: Expr) -> Typed:
        """One gate's sums for a strip of hidden units."""
        slot = (step * self.batch + row) * self.total + gate * self.hidden + unit
        return Typed(self.k.e.load_scratch(self.gate, slot), self.element)

    def apply(self, text: str, x: Typed, *, clipped: bool = True) -> Typed:
        """Clip, then the activation function ``text``."""
        s = self.k.e.scalars
        if self.op.clip and clipped:
            x = s.minimum(s.maximum(x, -self.op.clip), self.op.clip)
        return activate(s, text, x)

    def state(self, source: SSAValue, row: Expr, unit: Expr) -> Typed:
        return Typed(self.k.e.load_scratch(source, row * self.hidden + unit), self.element)

    def keep(self, new: Typed, target: SSAValue, row: Expr, unit: Expr) -> None:
        self.k.e.store(Typed(new.value, self.register), target, row * self.hidden + unit)

    def alive(self, step: Expr, row: Expr) -> Typed | None:
        """Whether a sequence reaches this step (None: all do)."""
        lengths = self.op.operand("lengths")
        if lengths is None:
            return None
        k = self.k

        with k.e.lanes(()):
            count = k.e.scalars.index(k.e.value(lengths, (row,)))
        return Typed(k.b.compare("lt", k.b.index(k.e.scalar(step)), count), I1)

    def emit_hidden(self, new: Typed, old: Typed, step: Expr, row: Expr, unit: Expr) -> Typed:
        """Store a step's hidden state in the first result (0 beyond a sequence); returns the state to carry on."""
        k, alive = self.k, self.alive(step, row)
        shown = new
        if alive is not None:
            shown = k.e.scalars.select(alive, new, 0.0)
            new = k.e.scalars.select(alive, new, old)
        self.write(0, (step, self.way, row, unit), shown)
        return new

    def write(self, result: int, at: tuple[Expr, ...], tile: Typed) -> None:
        """Store a tile of result ``result`` if the dispatch yields it."""
        value = self.op.results[result]
        for output, target in zip(self.k.outputs, self.k.targets, strict=True):
            if output is value:
                self.k.e.store(tile, target, linearise(at, self.k.e.shape(value)))

    # Differences -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the initial states into scratch."""
        initial = self.op.operand("initial_h")
        self.over_state(
            lambda row, first, width: self.keep(
                self.k.e.value(initial, (self.way, row, first + lane(0, width))), self.h, row, first + lane(0, width)
            )
        )

    def step(self, step: Expr) -> None:
        raise NotImplementedError

    def last(self) -> None:
        """Store the final states."""
        self.over_state(
            lambda row, first, width: self.write(
                1, (self.way, row, first + lane(0, width)), self.state(self.h, row, first + lane(0, width))
            )
        )


class Lstm(Recurrence):
    """Gates i, o, f, c."""

    gates = 4

    def emit(self) -> None:
        self.cell = self.k.b.alloc(self.batch * self.hidden, self.register)
        super().emit()

    def start(self) -> None:
        super().start()
        initial = self.op.operand("initial_c")
        self.over_state(
            lambda row, first, width: self.keep(
                self.k.e.value(initial, (self.way, row, first + lane(0, width))), self.cell, row, first + lane(0, width)
            )
        )

    def last(self) -> None:
        super().last()
        self.over_state(
            lambda row, first, width: self.write(
                2, (self.way, row, first + lane(0, width)), self.state(self.cell, row, first + lane(0, width))
            )
        )

    def _peep(self, gate: int, unit: Expr, cell: Typed, x: Typed) -> Typed:
        weights = self.op.operand("peepholes")
        if weights is None:
            return x
        s = self.k.e.scalars
        return s.add(x, s.mul(self.k.e.value(weights, (self.way, unit + gate * self.hidden)), cell))

    def step(self, step: Expr) -> None:
        s = self.k.e.scalars
        f1, f2, f3 = self.functions
        self.recurrent(self.h, (0, self.total), self.add_to_gates(step))

        def units(row: Expr, first: Expr, width: int) -> None:
            unit = first + lane(0, width)
            i, o, f, c = (self.gate_at(step, row, gate, unit) for gate in range(4))
            old_cell, old = self.state(self.cell, row, unit), self.state(self.h, row, unit)
            i = self.apply(f1, self._peep(0, unit, old_cell, i))
            f = s.sub(1.0, i) if self.op.input_forget else self.apply(f1, self._peep(2, unit, old_cell, f))
            cell = s.add(s.mul(f, old_cell), s.mul(i, self.apply(f2, c)))
            o = self.apply(f1, self._peep(1, unit, cell, o))
            new = s.mul(o, self.apply(f3, cell, clipped=False))
            alive = self.alive(step, row)
            self.keep(cell if alive is None else s.select(alive, cell, old_cell), self.cell, row, unit)
            self.keep(self.emit_hidden(new, old, step, row, unit), self.h, row, unit)

        self.over_state(units)


class Gru(Recurrence):
    """Gates z, r, h."""

    gates = 3

    def emit(self) -> None:
        self.part = self.k.b.alloc(self.batch * self.hidden, self.register)
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
        k, s, hidden = self.k, self.k.e.scalars, self.hidden
        f, g = self.functions
        self.recurrent(self.h, (0, 2 * hidden), self.add_to_gates(step))
        if self.op.linear_before_reset:
            bias = self.op.operand("b")

            def product(row: Expr, column: Expr, total: SSAValue) -> None:
                value = k.b.add(total, k.e.value(bias, (self.way, column + self.total)).value)
                k.e.store(Typed(value, self.register), self.part, row * hidden + column - 2 * hidden)

            self.recurrent(self.h, (2 * hidden, self.total), product)
        else:

            def reset(row: Expr, first: Expr, width: int) -> None:
                unit = first + lane(0, width)
                gate = self.apply(f, self.gate_at(step, row, 1, unit))
                self.keep(s.mul(gate, self.state(self.h, row, unit)), self.part, row, unit)

            self.over_state(reset)
            self.recurrent(self.part, (2 * hidden, self.total), self.add_to_gates(step))

        def units(row: Expr, first: Expr, width: int) -> None:
            unit = first + lane(0, width)
            old = self.state(self.h, row, unit)
            z = self.apply(f, self.gate_at(step, row, 0, unit))
            candidate = self.gate_at(step, row, 2, unit)
            if self.op.linear_before_reset:
                gate = self.apply(f, self.gate_at(step, row, 1, unit))
                candidate = s.add(candidate, s.mul(gate, self.state(self.part, row, unit)))
            candidate = self.apply(g, candidate)
            new = s.add(s.mul(s.sub(1.0, z), candidate), s.mul(z, old))
            self.keep(self.emit_hidden(new, old, step, row, unit), self.h, row, unit)

        self.over_state(units)


class Rnn(Recurrence):
    """One gate, whose activation is the new state."""

    gates = 1

    def step(self, step: Expr) -> None:
        (f,) = self.functions
        self.recurrent(self.h, (0, self.total), self.add_to_gates(step))

        def units(row: Expr, first: Expr, width: int) -> None:
            unit = first + lane(0, width)
            old = self.state(self.h, row, unit)
            new = self.apply(f, self.gate_at(step, row, 0, unit))
            self.keep(self.emit_hidden(new, old, step, row, unit), self.h, row, unit)

        self.over_state(units)
