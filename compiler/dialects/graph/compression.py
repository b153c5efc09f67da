"""Weights of f32 in 28 bits each, without loss: for products that take as long as reading their weights takes.

In: panels [count, K, P] of f32, K a multiple of 8 and P of 16. Out: words [count, K/8, P/16, 7, 16], and what does not
fit in them. The one idea: the exponents of a panel's weights lie close together, so 4 bits say which of 15 it is, and
eight numbers of 28 bits fit seven words: numbers 0 to 6 leave four bits of a word free, which hold the eighth. Every
lane is decoded by itself, with masks, shifts and one addition, whatever the width of vectors is; eight rows of 16
columns lie in seven lines of the cache.

A word holds the sign in bit 31, a part of number 7 in bits 30 to 27, the code of the exponent in bits 26 to 23 and the
mantissa below: the exponent is the code plus the panel's base. Code 0 marks an exception, such as a zero or what is far
from the others; its mantissa then says which number of the list of exceptions it is.
(Exponents of weights carry few bits: Zhang et al. 2025, DFloat11; Hershcovitch et al. 2024, ZipNN.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.compiler.dialects.graph.base import Cost, GraphOp, Tensor, elements, require, show
from penstock.compiler.dtypes import F32, I32, tensor, type_name
from penstock.compiler.parallel import in_parts

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

GROUP = 8
"""Numbers that share ``WORDS`` words."""
WORDS = GROUP - 1
STRIP = 16
"""Columns whose words lie together."""
MANTISSA = 23
"""Bits of a mantissa of f32."""
OCTAVES = 15
"""Exponents that a code tells apart, beside 0 for an exception."""
SIGN = -0x80000000
OWN = SIGN | 0x07FFFFFF
"""The bits of a word that are its own number's."""
SHARED = 0x78000000
"""The bits of a word that are a part of number 7's."""
LEAST_BASE, GREATEST_BASE = 1, 126
"""An exception is multiplied as 2^(base - 127) (1 + index / 2^23) first: a normal number of at most 1, so that its
product with a finite number is finite."""
MOST_SHARE = 128
"""Weights for each exception, at the least: with more exceptions they are not worth it."""
USUAL_SHARE = 1024
"""Weights for each place in a list of exceptions that is as short as lists are."""
SAMPLED = 2048
"""Weights of a panel that its base is chosen by, about."""
ROWS = 384
"""Rows of a panel that are encoded at a time: they stay in the cache."""


class Compressed(NamedTuple):
    """What ``graph.decompress`` takes: ``words`` [count, K/8, P/16, 7, 16], ``exceptions`` [E, 2] (place in the panel,
    bits) and ``directory`` [count + 1, 2] (the panel's first exception, its base); all i32."""

    words: NDArray[np.int32]
    exceptions: NDArray[np.int32]
    directory: NDArray[np.int32]


def compress(panels: NDArray[np.float32], columns: int) -> Compressed | None:
    """``panels`` [count, K, P] of ``columns`` in all, or None where too many weights are exceptions. Columns after the
    last are not kept."""
    count, depth, width = panels.shape
    bits = panels.view(np.uint32)
    words = np.zeros((count, depth // GROUP, width // STRIP, WORDS, STRIP), np.uint32)
    directory = np.zeros((count + 1, 2), np.int32)
    places: list[NDArray[Any]] = [np.empty(0, np.int64)] * count

    def encode(begin: int, end: int) -> None:
        encoder = _Encoder(width)
        for number in range(begin, end):
            kept = min(columns - number * width, width)
            base = _base_of(bits[number, :, :kept])
            directory[number, 1] = base
            places[number] = encoder.encode(bits[number], base, kept, words[number])

    in_parts(count, encode, panels.nbytes)
    directory[1:, 0] = np.cumsum([len(found) for found in places])
    total = int(directory[-1, 0])
    capacity = max(panels.size // USUAL_SHARE, 1)
    while capacity < total:
        capacity *= 2
    if total * MOST_SHARE > panels.size or capacity >= 1 << MANTISSA:
        return None
    exceptions = np.zeros((capacity, 2), np.uint32)
    panel_of = np.repeat(np.arange(count), [len(found) for found in places])
    _except(exceptions, panel_of, np.concatenate(places), bits, words)
    return Compressed(words.view(np.int32), exceptions.view(np.int32), directory)


def decompress(words: NDArray[Any], exceptions: NDArray[Any], directory: NDArray[Any]) -> NDArray[np.float32]:
    """The panels [count, K, P] that ``compress`` was given, bit for bit."""
    count, groups, strips, *_ = words.shape
    width = strips * STRIP
    stored = np.swapaxes(words.view(np.uint32), 2, 3).reshape(count, groups, WORDS, width)
    codes = np.empty((count, groups, GROUP, width), np.uint32)
    codes[:, :, :WORDS] = stored & _word(OWN)
    last = np.zeros((count, groups, width), np.uint32)
    for number in range(WORDS):
        last |= ((stored[:, :, number] & _word(SHARED)) >> np.uint32(27)) << np.uint32(4 * number)
    codes[:, :, WORDS] = (last & np.uint32(0x07FFFFFF)) | (last >> np.uint32(27) << np.uint32(31))
    codes = codes.reshape(count, groups * GROUP, width)
    shifted = codes + (directory[:-1, 1].astype(np.uint32) << np.uint32(MANTISSA))[:, None, None]
    listed = np.minimum(codes & np.uint32(0x7FFFFF), np.uint32(len(exceptions) - 1))
    excepted = exceptions[:, 1].view(np.uint32)[listed] if len(exceptions) else shifted
    return np.where(codes & np.uint32(0x7F800000) == 0, excepted, shifted).view(np.float32)


def _word(signed: int) -> np.uint32:
    return np.uint32(signed & 0xFFFFFFFF)


def _base_of(bits: NDArray[np.uint32]) -> int:
    """The base by which most of a sample of the weights are in the window of exponents. Of equally good ones that whose
    window ends an octave above the greatest: numbers become rare gently towards zero, and suddenly the other way."""
    rows = max(1, bits.size // SAMPLED)
    exponents = (bits[::rows] >> np.uint32(MANTISSA)) & np.uint32(0xFF)
    counts = np.bincount(exponents.ravel(), minlength=256)
    below = np.concatenate(([0], np.cumsum(counts)))  # below[e]: how many have an exponent less than e
    bases = np.arange(LEAST_BASE, GREATEST_BASE + 1)
    inside = below[bases + OCTAVES + 1] - below[bases + 1]
    best = bases[inside == inside.max()]
    greatest = int(np.flatnonzero(counts[:255]).max(initial=0))
    return int(best[np.argmin(np.abs(best + OCTAVES - 1 - greatest))])


class _Encoder:
    """Encodes rows of panels of ``width`` columns a few at a time, in memory that stays in the cache."""

    def __init__(self, width: int) -> None:
        groups = ROWS // GROUP
        self.codes = np.empty((groups, GROUP, width), np.uint32)
        self.fields = np.empty_like(self.codes)
        self.outside = np.empty(self.codes.shape, np.bool_)
        self.last = np.empty((groups, width), np.uint32)
        self.sign = np.empty_like(self.last)
        self.parts = np.empty((groups, WORDS, width), np.uint32)
        self.shifts = np.arange(27, 27 - 4 * WORDS, -4).astype(np.uint32)[:, None]

    def encode(self, panel: NDArray[np.uint32], base: int, columns: int, words: NDArray[np.uint32]) -> NDArray[Any]:
        """Write ``words`` of a panel [K, P] with ``base``; the places of exceptions among its first ``columns``. Their
        words are still to be written."""
        depth, width = panel.shape
        found: list[NDArray[Any]] = []
        for row in range(0, depth, ROWS):
            rows = min(ROWS, depth - row)
            some = slice(0, rows // GROUP)
            numbers = panel[row : row + rows].reshape(-1, GROUP, width)
            codes, fields, outside = self.codes[some], self.fields[some], self.outside[some]
            np.subtract(numbers, np.uint32(base << MANTISSA), out=codes)
            np.bitwise_and(codes, np.uint32(0x7F800000), out=fields)
            np.subtract(fields, np.uint32(1 << MANTISSA), out=fields)
            np.greater_equal(fields, np.uint32(OCTAVES << MANTISSA), out=outside)
            if columns < width:
                outside[:, :, columns:] = False
                codes[:, :, columns:] = 0
            if outside.any():
                found.append(np.flatnonzero(outside) + row * width)
                codes[outside] = 0
            self._join(codes, some, words[row // GROUP : (row + rows) // GROUP])
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _join(self, codes: NDArray[np.uint32], some: slice, words: NDArray[np.uint32]) -> None:
        """Words from numbers of 28 bits: sign in bit 31, the others in bits 26 to 0."""
        last, sign, parts = self.last[some], self.sign[some], self.parts[some]
        np.bitwise_and(codes[:, WORDS], np.uint32(0x07FFFFFF), out=last)
        np.right_shift(codes[:, WORDS], np.uint32(4), out=sign)
        np.bitwise_and(sign, np.uint32(0x08000000), out=sign)
        np.bitwise_or(last, sign, out=last)
        np.left_shift(last[:, None], self.shifts, out=parts)
        np.bitwise_and(parts, _word(SHARED), out=parts)
        np.bitwise_or(_strips(codes[:, :WORDS]), _strips(parts), out=words)


def _strips(rows: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """[groups, 7, P] as [groups, P/16, 7, 16], without a copy."""
    groups, numbers, width = rows.shape
    return np.swapaxes(rows.reshape(groups, numbers, width // STRIP, STRIP), 1, 2)


def _except(
    exceptions: NDArray[np.uint32],
    panels: NDArray[np.int64],
    places: NDArray[np.int64],
    bits: NDArray[np.uint32],
    words: NDArray[np.uint32],
) -> None:
    """List what stands at ``places`` of ``panels`` and write the words, which have zeros there: signs and indices."""
    rows, columns = places // bits.shape[2], places % bits.shape[2]
    numbers = bits[panels, rows, columns]
    exceptions[: len(places), 0] = places
    exceptions[: len(places), 1] = numbers
    codes = np.arange(len(places), dtype=np.uint32) | (numbers & _word(SIGN))
    where = np.stack((panels, rows // GROUP, columns // STRIP, rows % GROUP, columns % STRIP))
    own = where[3] < WORDS
    words[tuple(where[:, own])] |= codes[own]
    where, codes = where[:, ~own], codes[~own]
    joined = (codes & np.uint32(0x07FFFFFF)) | (codes >> np.uint32(31) << np.uint32(27))
    for part in range(WORDS):
        where[3] = part
        words[tuple(where)] |= ((joined >> np.uint32(4 * part)) & np.uint32(15)) << np.uint32(27)


class Decompress(GraphOp):
    """Packed weights [count, K, P] of f32 from words [count, K/8, P/16, 7, 16] that hold eight of them in seven.

    ``exceptions`` [E, 2] lists the numbers that words cannot hold: place in the panel (row times P plus column) and
    bits. ``directory`` [count + 1, 2] has for each panel its first exception and the exponent that code 0 stands for;
    the last row says how many exceptions there are.
    """

    name = "graph.decompress"
    operand_names = ("words", "exceptions", "directory")

    def infer(self) -> list[Tensor]:
        kinds = [self.element(index) for index in range(3)]
        found = ", ".join(map(type_name, kinds))
        require(set(kinds) == {I32}, f"compressed weights are of i32, not of {found}")
        words, exceptions, directory = self.shapes()
        fits = len(words) == 5 and words[3:] == (WORDS, STRIP)
        require(fits, f"words of weights have shape [panels, groups, strips, {WORDS}, {STRIP}], not {show(words)}")
        listed = len(exceptions) == 2 and exceptions[1] == 2 and 0 < exceptions[0] < 1 << MANTISSA
        require(listed, f"exceptions are a list of places and bits, not {show(exceptions)}")
        panels = (words[0] + 1, 2)
        require(directory == panels, f"the directory of {words[0]} panels is {show(panels)}, not {show(directory)}")
        return [tensor([words[0], words[1] * GROUP, words[2] * STRIP], F32)]

    def evaluate(self, *operands: Array) -> Array:
        return decompress(*operands)

    def cost(self) -> Cost:
        return Cost(5 * elements(self.out.type), self.bytes_moved())
