"""Random numbers: a counter-based generator in graph ops, and the operators that draw from it.

In: a seed, or a node's name. Out: the same numbers in every run, on every machine, for any number of threads. The one
idea: element i of a node's result is made of block i of Philox4x32-10 (J. Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", 2011), four words of 32 bits that depend on the key and on i alone, so nothing is kept between
elements, nodes or runs.

Key: the bits of the attribute ``seed`` as f32 and 0 (of Dropout's, an integer: its lower and upper word); without a
seed, the first eight bytes of the SHA-256 of the node's name. Counter: i in two words, how often the node was converted
before (in a loop that is unrolled), 0; in a loop that is not, the number of the round, and that of the loop around it.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence

import numpy as np
from xdsl.ir import Attribute, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.normalization import Softmax
from penstock.compiler.dialects.graph.reduction import Cumulative, Reduce
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dialects.graph.shape import Iota
from penstock.compiler.dtypes import F32, F64, I1, I64, U32, U64, is_float, tensor
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.node_context import NodeContext

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


class Words:
    """The four words of as many blocks as a tensor has elements."""

    def __init__(self, n: NodeContext, shape: Sequence[int], seed: int | None) -> None:
        self.n, self.shape = n, shape
        name, before = n.importer.stream(n.node)
        if seed is None:
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        place = n.build(Iota, axis=0, result=tensor([math.prod(shape)], U64))
        low, high = self._halves(place)
        zero = self.n.constant(0, U32)
        rounds = [n.cast(number, U32) for number in n.importer.rounds[::-1]]
        third, fourth = [*rounds, *([] if rounds else [n.constant(before, U32)]), zero][:2]
        if len(rounds) > 2:
            raise n.unsupported("it draws random numbers in three loops around each other")
        self.words = self._rounds([low, high, third, fourth], [seed & 0xFFFFFFFF, seed >> 32])

    def _op(self, name: str, *operands: SSAValue) -> SSAValue:
        return self.n.build(graph_op(name), *operands)

    def _halves(self, x: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The lower and the upper word of 64 bits."""
        upper = self._op("shift_right", x, self.n.constant(32, U64))
        return self.n.cast(x, U32), self.n.cast(upper, U32)

    def _rounds(self, counter: list[SSAValue], key: list[int]) -> list[SSAValue]:
        a, b, c, d = counter
        for number in range(ROUNDS):
            keys = [
                self.n.constant((k + number * increment) & 0xFFFFFFFF, U32)
                for k, increment in zip(key, INCREMENTS, strict=True)
            ]
            (low0, high0), (low1, high1) = (
                self._halves(self._op("mul", self.n.cast(x, U64), self.n.constant(multiplier, U64)))
                for x, multiplier in ((a, MULTIPLIERS[0]), (c, MULTIPLIERS[1]))
            )
            a, c = (self._op("bit_xor", self._op("bit_xor", high, x), k) for high, x, k in
                    ((high1, b, keys[0]), (high0, d, keys[1])))  # fmt: skip
            b, d = low1, low0
        return [a, b, c, d]

    def _scaled(self, word: SSAValue, dropped: int, kind: Attribute, factor: float) -> SSAValue:
        """The upper bits of a word, times ``factor``."""
        bits = self._op("shift_right", word, self.n.constant(dropped, U32)) if dropped else word
        number = self.n.cast(bits, kind)
        return self._op("mul", number, self.n.number(factor, number))

    def uniform(self, kind: Attribute, first: int = 0) -> SSAValue:
        """At least 0 and less than 1: 24 bits of a word in f32, 53 of two in f64; from word ``first`` (f64: pair)."""
        if kind == F64:
            high = self._scaled(self.words[2 * first], 5, F64, 2.0**-27)
            low = self._scaled(self.words[2 * first + 1], 6, F64, 2.0**-53)
            flat = self._op("add", high, low)
        else:
            flat = self._scaled(self.words[first], 8, F32, 2.0**-24)
        return self.n.reshape(flat, self.shape)

    def normal(self, kind: Attribute) -> SSAValue:
        """Mean 0, deviation 1: sqrt(-2 log u) cos(2 pi v) (Box and Muller 1958), u above 0."""
        if kind == F64:
            uniform = self.uniform(F64)
            above = self._op("sub", self.n.number(1.0, uniform), uniform)
        else:
            word = self.n.reshape(self._scaled(self.words[0], 0, F32, 2.0**-32), self.shape)
            above = self._op("add", word, self.n.number(2.0**-33, word))
        logarithm = self._op("log", above)
        radius = self._op("sqrt", self._op("mul", logarithm, self.n.number(-2.0, logarithm)))
        turn = self.uniform(kind, 1)
        return self._op("mul", radius, self._op("cos", self._op("mul", turn, self.n.number(2 * math.pi, turn))))


def _seed(n: NodeContext) -> int | None:
    """The key that the attribute ``seed`` stands for."""
    if "seed" not in n.node.attributes:
        return None
    return int.from_bytes(struct.pack("<f", np.float32(n.float("seed"))), "little")


def _drawn(n: NodeContext, shape: Sequence[int], kind: Attribute) -> SSAValue:
    """The node's distribution in element type ``kind``."""
    n.require(is_float(kind), "random numbers are of a floating-point type")
    n.require(all(extent >= 0 for extent in shape), f"there is no shape {list(shape)}")
    words, wide = Words(n, shape, _seed(n)), compute_dtype(kind)
    if n.node.op.startswith("RandomNormal"):
        start, factor, value = n.float("mean", 0.0), n.float("scale", 1.0), words.normal(wide)
    else:
        low, high = n.float("low", 0.0), n.float("high", 1.0)
        start, factor, value = low, high - low, words.uniform(wide)
    value = n.build(graph_op("mul"), value, n.number(factor, value))
    return n.cast(n.build(graph_op("add"), value, n.number(start, value)), kind)


@converter("RandomNormal", "RandomUniform")
def random_numbers(n: NodeContext) -> SSAValue:
    """The same numbers in every run: those of ``seed``, or of the node's name."""
    return _drawn(n, [int(extent) for extent in n.attribute_list("shape")], n.element_attribute("dtype", 1))


@converter("RandomNormalLike", "RandomUniformLike")
def random_numbers_like(n: NodeContext) -> SSAValue:
    """The same numbers in every run: those of ``seed``, or of the node's name."""
    x = n.input(0)
    kind = n.element_attribute("dtype") if "dtype" in n.node.attributes else element_of(x)
    return _drawn(n, n.shape(x), kind)


@converter("Bernoulli")
def bernoulli(n: NodeContext) -> SSAValue:
    """The same numbers in every run: those of ``seed``, or of the node's name."""
    x = widened(n, n.input(0))
    kind = n.element_attribute("dtype") if "dtype" in n.node.attributes else element_of(n.input(0))
    drawn = Words(n, n.shape(x), _seed(n)).uniform(element_of(x))
    return n.cast(n.build(graph_op("lt"), drawn, x), kind)


@converter("Multinomial")
def multinomial(n: NodeContext) -> SSAValue:
    """The same numbers in every run: those of ``seed``, or of the node's name."""
    x, count = n.ranked(0, 2), n.int("sample_size", 1)
    batch, classes = n.shape(x)
    n.require(count > 0 and classes > 0, f"{count} samples are drawn from {classes} classes")
    share = n.cast(n.build(Softmax, widened(n, x), axis=1), F64)
    below = n.build(Cumulative, share, kind="sum", axis=1)
    total = n.build(Reduce, share, kind="sum", axes=(1,), keepdims=True)
    # Just under the last sum, so that a class of no probability is never drawn.
    drawn = n.build(graph_op("mul"), Words(n, [batch, count], _seed(n)).uniform(F64), n.constant(1 - 2.0**-40, F64))
    threshold = n.reshape(n.build(graph_op("mul"), drawn, total), [batch, count, 1])
    passed = n.build(graph_op("le"), n.reshape(below, [batch, 1, classes]), threshold)
    chosen = n.build(Reduce, n.cast(passed, I64), kind="sum", axes=(2,))
    last = n.build(graph_op("min"), chosen, n.number(classes - 1, chosen))
    return n.cast(last, n.element_attribute("dtype", 6))


@converter("Dropout")
def dropout(n: NodeContext) -> list[SSAValue]:
    """Inference: the input itself, and a mask of ones. Training: the same elements are dropped in every run, by
    ``seed`` or by the node's name; ratio and mode may be fed at run time."""
    x = n.input(0)
    training = n.has(2) and (n.fed(2) or bool(n.static_scalar(2, "training_mode")))
    if not training:
        if not n.wants(1):
            return [x]
        one = n.constant(np.asarray(True))
        return [x, n.expand(n.cast(one, element_of(x)) if n.opset < 10 else one, n.shape(x))]
    wide = widened(n, x)
    if n.has(1) and n.fed(1):
        ratio = n.cast(n.reshape(n.input(1), []), element_of(wide))
    else:
        given = float(n.static_scalar(1, "ratio")) if n.has(1) else 0.5
        n.require(0 <= given < 1, f"the ratio is at least 0 and less than 1, not {given}")
        ratio = n.number(given, wide)
    if n.fed(2):
        active = n.cast(n.reshape(n.input(2), []), I1)
        ratio = n.build(graph_op("select"), active, ratio, n.number(0, ratio))
    seed = n.int("seed") & (1 << 64) - 1 if "seed" in n.node.attributes else None
    mask = n.build(graph_op("ge"), Words(n, n.shape(x), seed).uniform(element_of(wide)), ratio)
    kept = n.build(graph_op("div"), wide, n.build(graph_op("sub"), n.number(1, ratio), ratio))
    return [n.cast(n.build(graph_op("select"), mask, kept, n.number(0, kept)), element_of(x)), mask]
