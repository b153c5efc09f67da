"""Writes the text of one LLVM function: instructions, basic blocks, phis and the declarations they need.

In: calls from the op handlers. Out: LLVM IR text. The one idea: a ``Value`` is a machine value as text together with
its type and what is known of it; a known number costs no instruction and a splat is made once per basic block, so the
text is about what a person would write and needs no middle-end passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.compiler.backends.llvm.types import constant_text, lane_constants, literal, mangled, vector_type


@dataclass(frozen=True, slots=True)
class Value:
    """A machine value: ``lanes`` 1 is a scalar.

    ``number`` is what every lane is known to be, ``None`` if that is not known. ``invalid`` marks lanes that an
    access found to lie outside the buffer's valid part: nothing was read and multiply-adds leave them out.
    """

    text: str
    element: str
    lanes: int = 1
    number: float | int | None = None
    invalid: bool = False

    @property
    def type(self) -> str:
        return vector_type(self.element, self.lanes)

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


@dataclass
class Phi:
    """A phi whose incoming values are filled in when they are known."""

    line: int
    value: Value
    incoming: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


class Writer:
    """The body of one function being written. ``mark`` is appended to every instruction (debug locations)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declarations: dict[str, str] = {}
        self.globals: dict[str, str] = {}
        self.block = "entry"
        self.mark = ""
        self._names = 0
        self._splats: dict[tuple[str, int], Value] = {}

    # Instructions ------------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        self._names += 1
        return f"%v{self._names}"

    def emit(self, expression: str, element: str, lanes: int = 1) -> Value:
        """An instruction with a result."""
        name = self.fresh()
        self.lines.append(f"  {name} = {expression}{self.mark}")
        return Value(name, element, lanes)

    def do(self, statement: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {statement}{self.mark}")

    def declare(self, name: str, result: str, arguments: Sequence[str]) -> str:
        """Declare ``@name`` once; returns it."""
        if name not in self.declarations:
            self.declarations[name] = f"declare {result} @{name}({', '.join(arguments)})"
        return f"@{name}"

    def intrinsic(self, name: str, *operands: Value, result: str | None = None) -> Value:
        """``llvm.name`` overloaded on its first operand's type, which is the result's unless given."""
        first = operands[0]
        full = f"llvm.{name}.{mangled(first.element, first.lanes)}"
        element = result or first.element
        returned = vector_type(element, first.lanes)
        symbol = self.declare(full, returned, [value.type for value in operands])
        return self.emit(f"call {returned} {symbol}({', '.join(map(str, operands))})", element, first.lanes)

    def binary(self, opcode: str, a: Value, b: Value) -> Value:
        return self.emit(f"{opcode} {a}, {b.text}", a.element, a.lanes)

    def convert(self, opcode: str, a: Value, element: str) -> Value:
        """A lane-wise conversion."""
        return self.emit(f"{opcode} {a} to {vector_type(element, a.lanes)}", element, a.lanes)

    def compare(self, opcode: str, a: Value, b: Value) -> Value:
        """``icmp``/``fcmp`` with its predicate: a mask."""
        return self.emit(f"{opcode} {a}, {b.text}", "i1", a.lanes)

    def select(self, mask: Value, a: Value, b: Value) -> Value:
        return self.emit(f"select {mask}, {a}, {b}", a.element, a.lanes)

    # Constants and lanes -----------------------------------------------------------------------------------------

    def constant(self, number: float, element: str, lanes: int = 1) -> Value:
        """A number in every lane. f16 and bf16 are given as bits."""
        return Value(constant_text(literal(number, element), element, lanes), element, lanes, number)

    def lane_numbers(self, numbers: list[int], element: str) -> Value:
        """A vector of known integers."""
        return Value(lane_constants(numbers, element), element, len(numbers))

    def poison(self, element: str, lanes: int) -> Value:
        return Value("poison", element, lanes)

    def splat(self, value: Value, lanes: int) -> Value:
        """A scalar in every lane; made once per basic block."""
        if lanes == 1 or value.lanes == lanes:
            return value
        if value.text[0] != "%":
            text = constant_text(value.text, value.element, lanes)
            return Value(text, value.element, lanes, value.number, value.invalid)
        key = (value.text, lanes)
        if key not in self._splats:
            vector = vector_type(value.element, lanes)
            first = self.emit(f"insertelement {vector} poison, {value}, i64 0", value.element, lanes)
            self._splats[key] = self.emit(
                f"shufflevector {vector} {first.text}, {vector} poison, <{lanes} x i32> zeroinitializer",
                value.element,
                lanes,
            )
        return self._splats[key]

    def shuffle(self, a: Value, b: Value | None, indices: list[int]) -> Value:
        """Lanes of ``a`` then ``b`` picked by index (-1: any); one index gives a scalar."""
        if a.lanes == 1:
            a = self.emit(f"insertelement <2 x {a.element}> poison, {a}, i64 0", a.element, 2)
        if len(indices) == 1:
            index = indices[0]
            return self.lane(a, index) if b is None or index < a.lanes else self.lane(b, index - a.lanes)
        if b is None and indices == list(range(a.lanes)):
            return a
        picks = ", ".join("i32 poison" if i < 0 else f"i32 {i}" for i in indices)
        other = b if b is not None else self.poison(a.element, a.lanes)
        return self.emit(f"shufflevector {a}, {other}, <{len(indices)} x i32> <{picks}>", a.element, len(indices))

    def lane(self, value: Value, index: int) -> Value:
        """One lane as a scalar."""
        if value.lanes == 1:
            return value
        if value.number is not None:
            return self.constant(value.number, value.element)
        return self.emit(f"extractelement {value}, i64 {index}", value.element)

    def insert(self, vector: Value, scalar: Value, index: int) -> Value:
        return self.emit(f"insertelement {vector}, {scalar}, i64 {index}", vector.element, vector.lanes)

    def collect(self, scalars: list[Value]) -> Value:
        """A vector of the given scalars (one: itself)."""
        if len(scalars) == 1:
            return scalars[0]
        result = self.poison(scalars[0].element, len(scalars))
        for index, scalar in enumerate(scalars):
            result = self.insert(result, scalar, index)
        return result

    # Blocks ------------------------------------------------------------------------------------------------------

    def label(self, stem: str) -> str:
        self._names += 1
        return f"{stem}{self._names}"

    def start(self, label: str) -> None:
        """Begin a basic block; what was cached in the last one is forgotten."""
        self.lines.append(f"{label}:")
        self.block = label
        self._splats.clear()

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, condition: Value, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition.text}, label %{then}, label %{otherwise}")

    def phi(self, element: str, lanes: int) -> Phi:
        """A phi at this place; ``finish_phi`` writes it."""
        self.lines.append("")
        return Phi(len(self.lines) - 1, Value(self.fresh(), element, lanes))

    def finish_phi(self, phi: Phi) -> None:
        arms = ", ".join(f"[ {text}, %{label} ]" for text, label in phi.incoming)
        self.lines[phi.line] = f"  {phi.value.text} = phi {phi.value.type} {arms}"
