"""How kernels read compressed weights: any element of them, or eight rows of a panel at a time, as products do.

In: ``graph.decompress`` and coordinates. Out: tiles of f32. The one idea: decoding is arithmetic on lanes, so it needs
no loop of its own; and a product need not look for exceptions in what it reads. It multiplies what their words decode
to, and adds the difference for those that the panel's list names.
"""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.compression import GROUP, MANTISSA, OWN, SHARED, SIGN, STRIP, WORDS
from penstock.compiler.dtypes import F32, I32, INDEX, shape_of
from penstock.compiler.passes.lower.affine import Expr, iv, linearise
from penstock.compiler.passes.lower.evaluator import Coordinates, Evaluator, rule
from penstock.compiler.passes.lower.tile_scalars import Typed

NIBBLE = 4
WORD = 4
"""Bytes of a word."""
FETCH_BYTES = 5376
"""How far ahead words are fetched: three groups of 64 columns."""


@rule("graph.decompress")
def decompress(e: Evaluator, op: Any, at: Coordinates) -> Typed:
    """One element for each lane: the number of its group that its row says, or what the list has for an exception."""
    panel, row, column = at
    weights = CompressedWeights(e, op)
    number = row.mod(GROUP)
    rows = weights.codes(panel, row.floordiv(GROUP), column)
    code = rows[-1]
    for index, other in enumerate(rows[:-1]):
        code = e.b.select(e.compare("eq", number, index), other, code)
    listed = e.as_index(Typed(e.b.binary("and_", code, (1 << MANTISSA) - 1), I32), len(weights))
    exception = e.value(weights.exceptions, (listed, Expr(1))).value
    base = e.value(weights.directory, (panel, Expr(1))).value
    is_listed = e.b.compare("eq", e.b.binary("and_", code, 0xFF << MANTISSA), 0)
    bits = e.b.select(is_listed, exception, e.b.add(code, e.b.binary("shl", base, MANTISSA)))
    return Typed(e.b.cast(bits, F32, "bits"), F32)


class CompressedWeights:
    """The operands of a ``graph.decompress``, as a kernel reads them."""

    def __init__(self, e: Evaluator, op: Any) -> None:
        self.e, self.b = e, e.b
        self.words, self.exceptions, self.directory = op.operands
        _, self.depth, self.panel = shape_of(op.out.type)

    def __len__(self) -> int:
        return shape_of(self.exceptions.type)[0]

    def codes(self, panel: Expr, group: Expr, column: Expr) -> list[SSAValue]:
        """The eight numbers of a group: signs, codes of exponents and mantissas, where f32 has them."""
        b = self.b
        strip, column = column.floordiv(STRIP), column.mod(STRIP)
        words = [self.e.value(self.words, (panel, group, strip, Expr(n), column)).value for n in range(WORDS)]
        last = b.binary("and_", words[0], SHARED)
        for word in words[1:]:
            last = b.binary("or_", b.binary("shru", last, NIBBLE), b.binary("and_", word, SHARED))
        # The sign now stands in bit 30; the shifts leave it in bit 31, above four copies of it.
        last = b.binary("shr", b.binary("shl", last, 1), NIBBLE)
        return [b.binary("and_", word, OWN) for word in (*words, last)]

    def rows(self, base: SSAValue, panel: Expr, group: Expr, column: Expr) -> list[SSAValue]:
        """Eight rows of f32 of a panel with this ``base``; exceptions are 2^(base - 127) (1 + index / 2^23), with their
        own sign."""
        return [self.b.cast(self.b.add(code, base), F32, "bits") for code in self.codes(panel, group, column)]

    def prefetch(self, panel: Expr, group: Expr, strip: Expr) -> None:
        """Fetch what stands ``FETCH_BYTES`` after the words of a strip of a group: read once, not to stay."""
        for number in range(WORDS):
            self._prefetch(self.words, (panel, group, strip, Expr(number), Expr(FETCH_BYTES // WORD)))

    def prefetch_exceptions(self, first: SSAValue) -> None:
        """Fetch the list of exceptions of a panel from its ``first`` one on."""
        self._prefetch(self.exceptions, (iv(first, 0, len(self)), Expr()))

    def _prefetch(self, operand: SSAValue, at: Coordinates) -> None:
        if operand in self.e.buffers:  # small constants are in the kernel
            position = self.e.scalar(linearise(at, shape_of(operand.type)))
            self.b.prefetch(self.e.buffers[operand], position, 0)

    def base(self, panel: Expr) -> SSAValue:
        """The exponent that code 0 stands for, where f32 has its exponent."""
        return self.b.binary("shl", self._entry(panel, 1), MANTISSA)

    def _entry(self, panel: Expr, which: int) -> SSAValue:
        with self.e.lanes(()):
            return self.e.value(self.directory, (panel, Expr(which))).value

    def exceptions_of(self, panel: Expr) -> tuple[SSAValue, SSAValue]:
        """From which to before which exception of the list the panel's are."""
        ends = [self.b.cast(self._entry(number, 0), INDEX) for number in (panel, panel + 1)]
        begin, end = (self.b.index(self.b.imin(self.b.imax(end, 0), len(self))) for end in ends)
        return begin, end

    def exception(self, base: SSAValue, number: SSAValue) -> tuple[Expr, SSAValue, SSAValue]:
        """Where in the panel exception ``number`` of the list stands (row times P plus column), the weight, and what
        ``rows`` has in its place."""
        b, at = self.b, iv(number, 0, len(self) - 1)
        with self.e.lanes(()):
            place = self.e.as_index(self.e.value(self.exceptions, (at, Expr())), self.depth * self.panel)
            bits = self.e.value(self.exceptions, (at, Expr(1))).value
        code = b.binary("or_", b.binary("and_", bits, SIGN), b.cast(number, I32))
        stand_in = b.add(code, base)
        return place, b.cast(bits, F32, "bits"), b.cast(stand_in, F32, "bits")
