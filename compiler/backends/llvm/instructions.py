"""The instructions of ``backends.instructions`` on LLVM's machine values.

In: calls from the formulas. Out: instructions in the function being written. The one idea: every operation is one
LLVM instruction or an intrinsic that is lowered inline; where a machine has x * 2^n as an instruction it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from penstock.compiler.backends.llvm.emitter import Emitter
from penstock.compiler.backends.llvm.types import literal, vector_type
from penstock.compiler.backends.llvm.writer import Value

WHOLE_LANES = {"float": 16, "double": 8}


class LaneInstructions:
    """``Instructions`` on ``lanes`` of ``float`` or ``double``."""

    def __init__(self, emitter: Emitter, element: str, lanes: int) -> None:
        self.emitter, self.writer, self.element, self.lanes = emitter, emitter.writer, element, lanes
        self.double = element == "double"
        self.integers = "i64" if self.double else "i32"

    def number(self, x: float) -> Value:
        return self.writer.constant(float(x), self.element, self.lanes)

    def integer(self, n: int) -> Value:
        return self.writer.constant(n, self.integers, self.lanes)

    def add(self, a: Value, b: Value) -> Value:
        return self.writer.binary("fadd", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self.writer.binary("fsub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self.writer.binary("fmul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        return self.writer.binary("fdiv", a, b)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        return self.writer.intrinsic("fma", a, b, c)

    def neg(self, a: Value) -> Value:
        return self.writer.emit(f"fneg {a}", a.element, a.lanes)

    def abs(self, a: Value) -> Value:
        return self.writer.intrinsic("fabs", a)

    def sqrt(self, a: Value) -> Value:
        return self.writer.intrinsic("sqrt", a)

    def round_even(self, a: Value) -> Value:
        return self.writer.intrinsic("roundeven", a)

    def floor(self, a: Value) -> Value:
        return self.writer.intrinsic("floor", a)

    def trunc(self, a: Value) -> Value:
        return self.writer.intrinsic("trunc", a)

    def fraction(self, a: Value) -> Value:
        """AVX-512's vreduce; elsewhere by the definition."""
        whole = self._instruction("reduce", a, immediates=(0x08,))
        if whole is not None:
            return whole
        infinite = self.equal(self.abs(a), self.number(math.inf))
        return self.select(infinite, self.number(0.0), self.sub(a, self.round_even(a)))

    def less(self, a: Value, b: Value) -> Value:
        return self.writer.compare("fcmp olt", a, b)

    def equal(self, a: Value, b: Value) -> Value:
        return self.writer.compare("fcmp oeq", a, b)

    def is_nan(self, a: Value) -> Value:
        return self.writer.compare("fcmp uno", a, a)

    def both(self, a: Value, b: Value) -> Value:
        return self.writer.binary("and", a, b)

    def select(self, mask: Value, a: Value, b: Value) -> Value:
        return self.writer.select(mask, a, b)

    def bits(self, a: Value) -> Value:
        return self.writer.convert("bitcast", a, self.integers)

    def from_bits(self, i: Value) -> Value:
        return self.writer.convert("bitcast", i, self.element)

    def iadd(self, i: Value, j: Value) -> Value:
        return self.writer.binary("add", i, j)

    def isub(self, i: Value, j: Value) -> Value:
        return self.writer.binary("sub", i, j)

    def iand(self, i: Value, j: Value) -> Value:
        return self.writer.binary("and", i, j)

    def ior(self, i: Value, j: Value) -> Value:
        return self.writer.binary("or", i, j)

    def iequal(self, i: Value, j: Value) -> Value:
        return self.writer.compare("icmp eq", i, j)

    def shift_left(self, i: Value, count: int) -> Value:
        return self.writer.binary("shl", i, self.integer(count))

    def shift_right(self, i: Value, count: int) -> Value:
        return self.writer.binary("ashr", i, self.integer(count))

    def scale(self, x: Value, n: Value) -> Value | None:
        """AVX-512's vscalef."""
        return self._instruction("scalef", x, n)

    def _instruction(self, name: str, *operands: Value, immediates: tuple[int, ...] = ()) -> Value | None:
        """An AVX-512 instruction by its masked intrinsic, lane by lane; None where the machine or the lanes have none.
        The number that follows the mask asks for the rounding in force."""
        whole = WHOLE_LANES[self.element]
        if not self.emitter.machine.scales or self.lanes % whole:
            return None
        w, vector = self.writer, vector_type(self.element, whole)
        mask = "i16" if whole == 16 else "i8"
        suffix = "ps" if self.element == "float" else "pd"
        kinds = [vector] * len(operands) + ["i32 immarg"] * len(immediates) + [vector, mask, "i32 immarg"]
        symbol = w.declare(f"llvm.x86.avx512.mask.{name}.{suffix}.512", vector, kinds)

        def one(*parts: Value) -> Value:
            given = [*(str(part) for part in parts), *(f"i32 {number}" for number in immediates)]
            call = f"call {vector} {symbol}({', '.join(given)}, {vector} zeroinitializer, {mask} -1, i32 4)"
            return w.emit(call, self.element, whole)

        if self.lanes == whole:
            return one(*operands)
        assert self.lanes == 2 * whole
        low, high = list(range(whole)), list(range(whole, 2 * whole))
        halves = [one(*(w.shuffle(operand, None, part) for operand in operands)) for part in (low, high)]
        return w.shuffle(halves[0], halves[1], low + high)

    def as_double(self) -> LaneInstructions:
        return LaneInstructions(self.emitter, "double", self.lanes)

    def to_double(self, x: Value) -> Value:
        return self.writer.convert("fpext", x, "double")

    def to_single(self, x: Value) -> Value:
        return self.writer.convert("fptrunc", x, "float")

    def lookup(self, numbers: Sequence[float], index: Value) -> Value:
        """Lane by lane from a constant array: it is for rare paths."""
        w = self.writer
        items = ", ".join(f"{self.element} {literal(x, self.element)}" for x in numbers)
        definition = f"private unnamed_addr constant [{len(numbers)} x {self.element}] [{items}]"
        names = [name for name, known in w.globals.items() if known == definition]
        name = names[0] if names else f"@table{len(w.globals)}"
        w.globals[name] = definition
        wide = index if index.element == "i64" else w.convert("zext", index, "i64")
        lanes: list[Value] = []
        for i in range(index.lanes):
            address = w.emit(f"getelementptr {self.element}, ptr {name}, {w.lane(wide, i)}", "ptr")
            lanes.append(w.emit(f"load {self.element}, ptr {address.text}", self.element))
        return w.collect(lanes)

    def _any(self, mask: Value) -> Value:
        if mask.lanes == 1:
            return mask
        w = self.writer
        bits = w.emit(f"bitcast {mask} to i{mask.lanes}", f"i{mask.lanes}")
        return w.compare("icmp ne", bits, w.constant(0, bits.element))

    def when_any(
        self, mask: Value, values: tuple[Value, ...], compute: Callable[[], tuple[Value, ...]]
    ) -> tuple[Value, ...]:
        w = self.writer
        rare, after, before = w.label("rare"), w.label("common"), w.block
        w.branch(self._any(mask), rare, after)
        self.emitter.start(rare)
        others = compute()
        last = w.block
        w.jump(after)
        self.emitter.start(after)
        phis = [w.phi(value.element, value.lanes) for value in values]
        for phi, value, other in zip(phis, values, others, strict=True):
            phi.incoming += [(value.text, before), (other.text, last)]
            w.finish_phi(phi)
        return tuple(phi.value for phi in phis)

    def while_any(self, state: Value, condition: Callable[[Value], Value], body: Callable[[Value], Value]) -> Value:
        w = self.writer
        test, work, leave, before = w.label("test"), w.label("work"), w.label("leave"), w.block
        w.jump(test)
        self.emitter.start(test)
        phi = w.phi(state.element, state.lanes)
        w.branch(self._any(condition(phi.value)), work, leave)
        self.emitter.start(work)
        following = body(phi.value)
        phi.incoming += [(state.text, before), (following.text, w.block)]
        w.finish_phi(phi)
        w.jump(test)
        self.emitter.start(leave)
        return phi.value
