"""Addresses in loops: what LLVM's loop strength reduction would do, decided here.

In: a loop about to be emitted. Out: for the accesses in its body, pointers computed before the loop or carried by it.
The one idea: an offset is a sum of index values times known factors, so what does not change in the loop is added up
once before it; what changes by 1, 2, 4 or 8 bytes becomes the index of an x86 address, and anything else a pointer
that is moved along. LLVM's own pass took most of the code generator's time and chose no better, so it is switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xdsl.dialects import scf
from xdsl.ir import Block, SSAValue

from penstock.compiler.backends.llvm.types import element_bytes
from penstock.compiler.backends.llvm.writer import Phi, Value, Writer
from penstock.compiler.dialects.tile import memory
from penstock.compiler.dialects.tile.arithmetic import Constant
from penstock.compiler.dialects.tile.base import element, shape

MAX_POINTERS = 8
"""Pointers a loop carries at most; x86-64 has 15 registers for them, the index and the bounds."""
INDEX_SCALES = (1, 2, 4, 8)
LINEAR_OPS = ("tile.add", "tile.sub", "tile.mul")


@dataclass(frozen=True)
class Linear:
    """``constant`` plus the sum of ``factor * value`` over ``terms``: no factor is 0, values are in a fixed order."""

    terms: tuple[tuple[SSAValue, int], ...] = ()
    constant: int = 0


@dataclass(frozen=True)
class Key:
    """What accesses have in common that share a pointer in a loop: all but a constant.

    ``stride`` is by how many bytes the address changes when the loop's index grows by 1.
    """

    buffer: SSAValue
    rest: Linear
    stride: int


@dataclass
class LoopAddresses:
    """A loop's pointers: those computed before it (``fixed``), then those to use in its body, by key."""

    index: SSAValue
    fixed: dict[Key, Value] = field(default_factory=dict[Key, Value])
    starts: dict[Key, Value] = field(default_factory=dict[Key, Value])
    pointers: dict[Key, Value] = field(default_factory=dict[Key, Value])
    moving: list[tuple[Phi, int]] = field(default_factory=list[tuple[Phi, int]])


class Addressing:
    """Linear forms of index values, and the loops around the place of emission."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.loops: list[LoopAddresses] = []
        self._linear: dict[SSAValue, Linear] = {}
        self._order: dict[SSAValue, int] = {}

    # Linear forms --------------------------------------------------------------------------------------------------

    def linear(self, value: SSAValue) -> Linear:
        """``value`` in terms of values that are no sums, differences or multiples of others."""
        if value not in self._linear:
            self._linear[value] = self._expand(value)
        return self._linear[value]

    def _expand(self, value: SSAValue) -> Linear:
        op = value.owner
        if isinstance(op, Constant) and not shape(value):
            return Linear((), int(op.number()))
        if isinstance(op, Block) or op.name not in LINEAR_OPS or shape(value):
            return self._leaf(value)
        a, b = (self.linear(operand) for operand in op.operands)
        if op.name == "tile.mul":
            if a.terms and b.terms:
                return self._leaf(value)
            return self._sum(Linear(), a, b.constant) if a.terms else self._sum(Linear(), b, a.constant)
        return self._sum(a, b, 1 if op.name == "tile.add" else -1)

    def _leaf(self, value: SSAValue) -> Linear:
        self._order.setdefault(value, len(self._order))
        return Linear(((value, 1),))

    def _sum(self, a: Linear, b: Linear, times: int) -> Linear:
        """a + times * b."""
        terms = dict(a.terms)
        for value, factor in b.terms:
            terms[value] = terms.get(value, 0) + times * factor
        kept = sorted(((v, f) for v, f in terms.items() if f), key=lambda term: self._order[term[0]])
        return Linear(tuple(kept), a.constant + times * b.constant)

    def key(self, buffer: SSAValue, offset: SSAValue, index: SSAValue) -> tuple[Key, int]:
        """How ``buffer[offset]`` is addressed in the loop over ``index``, and the elements to add."""
        linear = self.linear(offset)
        rest = Linear(tuple(term for term in linear.terms if term[0] is not index))
        factor = dict(linear.terms).get(index, 0)
        return Key(buffer, rest, factor * element_bytes(element(buffer))), linear.constant

    # Loops -----------------------------------------------------------------------------------------------------------

    def find(self, buffer: SSAValue, offset: SSAValue) -> tuple[str, int] | None:
        """A pointer of the innermost loop for ``buffer[offset]`` and the elements to add to it, or None."""
        if not self.loops:
            return None
        key, constant = self.key(buffer, offset, self.loops[-1].index)
        pointer = self.loops[-1].pointers.get(key)
        return None if pointer is None else (pointer.text, constant)

    def before(
        self, op: scf.ForOp, lower: Value, scalar: Callable[[SSAValue], Value | None], buffers: dict[SSAValue, str]
    ) -> LoopAddresses:
        """In front of a loop: add up the invariant part of every address in its body.

        ``scalar`` gives the scalars emitted so far, ``buffers`` the buffers' pointers.
        """
        loop = LoopAddresses(op.body.block.args[0])
        counts: dict[Key, int] = {}
        for buffer, offset in accesses(op.body.block):
            key, _ = self.key(buffer, offset, loop.index)
            if buffer in buffers and all(scalar(value) is not None for value, _ in key.rest.terms):
                counts[key] = counts.get(key, 0) + 1
        moving = sorted((key for key in counts if key.stride not in (0, *INDEX_SCALES)), key=lambda key: -counts[key])
        for key in counts:
            if key in moving[MAX_POINTERS:]:
                continue
            pointer = Value(buffers[key.buffer], "ptr")
            for value, factor in key.rest.terms:
                amount = scalar(value)
                assert amount is not None
                pointer = self.moved(pointer, amount, factor * element_bytes(element(key.buffer)))
            loop.fixed[key] = pointer
            if key in moving:
                loop.starts[key] = self.moved(pointer, lower, key.stride)
        return loop

    def enter(self, loop: LoopAddresses, before: str) -> None:
        """At the head of the body, among the phis: pointers that move. ``before`` is the block in front."""
        for key, start in loop.starts.items():
            phi = self.writer.phi("ptr", 1)
            phi.incoming.append((start.text, before))
            loop.pointers[key] = phi.value
            loop.moving.append((phi, key.stride))
        self.loops.append(loop)

    def index(self, loop: LoopAddresses, index: Value) -> None:
        """After the phis: addresses indexed by the loop's index."""
        for key, pointer in loop.fixed.items():
            if key not in loop.starts:
                loop.pointers[key] = self.moved(pointer, index, key.stride)

    def leave(self, loop: LoopAddresses, step: Value, latch: str) -> None:
        """At the end of the body, in the block ``latch`` that branches back: move the pointers along."""
        for phi, stride in loop.moving:
            phi.incoming.append((self.moved(phi.value, step, stride).text, latch))
            self.writer.finish_phi(phi)
        self.loops.pop()

    def moved(self, pointer: Value, steps: Value, stride: int) -> Value:
        """``pointer`` advanced by ``steps`` times ``stride`` bytes."""
        writer = self.writer
        if steps.number is not None:
            distance = int(steps.number) * stride
            return writer.emit(f"getelementptr i8, {pointer}, i64 {distance}", "ptr") if distance else pointer
        if stride in INDEX_SCALES:
            return writer.emit(f"getelementptr [{stride} x i8], {pointer}, i64 {steps.text}", "ptr")
        if stride == 0:
            return pointer
        distance = writer.binary("mul", steps, writer.constant(stride, "i64"))
        return writer.emit(f"getelementptr i8, {pointer}, i64 {distance.text}", "ptr")


def accesses(block: Block) -> Iterator[tuple[SSAValue, SSAValue]]:
    """Buffer and offset of the loads, stores and prefetches of ``block``, inner loops left out."""
    for op in block.ops:
        if isinstance(op, memory.Load | memory.Prefetch):
            yield op.operands[0], op.operands[1]
        elif isinstance(op, memory.Store):
            yield op.operands[1], op.operands[2]
        elif isinstance(op, scf.IfOp):
            for region in op.regions:
                for inner in region.blocks:
                    yield from accesses(inner)
