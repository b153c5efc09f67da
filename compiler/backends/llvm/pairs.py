"""Dot products of pairs of bf16, and buffers seen as the words that hold them.

In: words of 32 bits and f32 sums. Out: the sums with two products added. The one idea: AVX512_BF16 has one instruction
for sixteen such lanes; elsewhere a half is a shift or a mask away from the f32 it stands for, and two multiply-adds
add the same exact products in the same order.
"""

from __future__ import annotations

from penstock.compiler.backends.llvm.elementwise import map_tiles
from penstock.compiler.backends.llvm.emitter import Emitter, handles
from penstock.compiler.backends.llvm.types import vector_type
from penstock.compiler.backends.llvm.writer import Value
from penstock.compiler.dialects.tile import arithmetic, memory
from penstock.compiler.dialects.tile.base import shape

LANES = (4, 8, 16)
"""Lanes of the instruction's forms."""


@handles("tile.dot_pairs")
def emit_dot_pairs(emitter: Emitter, op: arithmetic.DotPairs) -> None:
    """Lanes that lie outside an access add nothing."""

    def function(a: Value, b: Value, c: Value) -> Value:
        if any(value.invalid and value.number == 0 for value in (a, b)):
            return c
        if emitter.machine.pairs and c.lanes in LANES:
            return _dot(emitter, a, b, c)
        return _two_products(emitter, a, b, c)

    tiles = [emitter.tile(operand) for operand in op.operands]
    emitter.define(op.results[0], map_tiles(emitter, shape(op.results[0]), tiles, function))


def _dot(emitter: Emitter, a: Value, b: Value, c: Value) -> Value:
    """VDPBF16PS."""
    w, lanes = emitter.writer, c.lanes
    pairs = vector_type("bfloat", 2 * lanes)
    name = w.declare(f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}", c.type, [c.type, pairs, pairs])
    first, second = (w.emit(f"bitcast {value} to {pairs}", "bfloat", 2 * lanes) for value in (a, b))
    return w.emit(f"call {c.type} {name}({c}, {first}, {second})", "float", lanes)


def _two_products(emitter: Emitter, a: Value, b: Value, c: Value) -> Value:
    w, lanes = emitter.writer, c.lanes
    for opcode, number in (("and", -1 << 16), ("shl", 16)):
        x, y = (w.binary(opcode, value, w.constant(number, "i32", lanes)) for value in (a, b))
        x, y = w.convert("bitcast", x, "float"), w.convert("bitcast", y, "float")
        c = w.intrinsic("fma", x, y, c) if emitter.machine.fused else w.binary("fadd", w.binary("fmul", x, y), c)
    return c


@handles("tile.pair")
def emit_pair(emitter: Emitter, op: arithmetic.Pair) -> None:
    """Two shifted into one."""
    w = emitter.writer

    def function(low: Value, high: Value) -> Value:
        upper = w.binary("shl", w.convert("zext", high, "i32"), w.constant(16, "i32", high.lanes))
        return w.binary("or", upper, w.convert("zext", low, "i32"))

    tiles = [emitter.tile(operand) for operand in op.operands]
    emitter.define(op.results[0], map_tiles(emitter, shape(op.results[0]), tiles, function))


@handles("tile.words")
def emit_words(emitter: Emitter, op: memory.Words) -> None:
    """The same memory."""
    emitter.pointers[op.results[0]] = emitter.pointers[op.operands[0]]
