"""What a machine must offer for elementary functions, and the steps they share.

In: lanes of one floating-point type. Out: lanes. The one idea: ``math`` and ``trigonometry`` are written over the
instructions of ``Instructions`` alone, so a back end that has these has every function, with the same values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Protocol, Self, TypeVar

from penstock.compiler.backends import coefficients as table

V = TypeVar("V")


class Instructions(Protocol[V]):
    """What a machine must offer on lanes of f32 (or f64, if ``double``) and on integers and masks of as many lanes."""

    double: bool

    def number(self, x: float) -> V: ...
    def integer(self, n: int) -> V: ...
    def add(self, a: V, b: V) -> V: ...
    def sub(self, a: V, b: V) -> V: ...
    def mul(self, a: V, b: V) -> V: ...
    def div(self, a: V, b: V) -> V: ...
    def fma(self, a: V, b: V, c: V) -> V:
        """a * b + c with one rounding."""
        ...

    def neg(self, a: V) -> V: ...
    def abs(self, a: V) -> V: ...
    def sqrt(self, a: V) -> V: ...
    def round_even(self, a: V) -> V: ...
    def floor(self, a: V) -> V: ...
    def trunc(self, a: V) -> V: ...
    def fraction(self, a: V) -> V:
        """a - round_even(a), which is exact; 0 for an infinity."""
        ...

    def less(self, a: V, b: V) -> V:
        """a < b; false on NaN."""
        ...

    def equal(self, a: V, b: V) -> V: ...
    def is_nan(self, a: V) -> V: ...
    def both(self, a: V, b: V) -> V: ...
    def select(self, mask: V, a: V, b: V) -> V: ...
    def bits(self, a: V) -> V: ...
    def from_bits(self, i: V) -> V: ...
    def iadd(self, i: V, j: V) -> V: ...
    def isub(self, i: V, j: V) -> V: ...
    def iand(self, i: V, j: V) -> V: ...
    def ior(self, i: V, j: V) -> V: ...
    def iequal(self, i: V, j: V) -> V: ...
    def shift_left(self, i: V, count: int) -> V: ...
    def shift_right(self, i: V, count: int) -> V:
        """Arithmetic: the sign is kept."""
        ...

    def scale(self, x: V, n: V) -> V | None:
        """x * 2^n for integral n, correctly rounded, or None if that is not one instruction."""
        ...

    def as_double(self) -> Self:
        """The instructions on as many lanes of f64."""
        ...

    def to_double(self, x: V) -> V: ...
    def to_single(self, x: V) -> V: ...
    def lookup(self, numbers: Sequence[float], index: V) -> V:
        """numbers[index] per lane."""
        ...

    def when_any(self, mask: V, values: tuple[V, ...], compute: Callable[[], tuple[V, ...]]) -> tuple[V, ...]:
        """``compute()`` if the mask is set in any lane, else ``values``."""
        ...

    def while_any(self, state: V, condition: Callable[[V], V], body: Callable[[V], V]) -> V:
        """``state = body(state)`` as long as ``condition(state)`` holds in any lane."""
        ...


MANTISSA = {False: 23, True: 52}
BIAS = {False: 127, True: 1023}
LOG2_E = math.log2(math.e)
SMALLEST_NORMAL = {False: 2.0**-126, True: 2.0**-1022}


def parts_of(value: str, single: bool, count: int, trailing: int = 0) -> tuple[float, ...]:
    """A number given in decimal, as ``count`` floats that add up to it; the first has ``trailing`` zero bits."""
    rest, parts = Fraction(value), list[float]()
    for index in range(count):
        part = float(rest)
        if single:
            part = struct.unpack("<f", struct.pack("<f", part))[0]
        if index == 0 and trailing:
            mantissa, exponent = math.frexp(part)
            bits = (24 if single else 53) - trailing
            part = math.ldexp(math.floor(mantissa * 2**bits), exponent - bits)
        parts.append(part)
        rest -= Fraction(part)
    return tuple(parts)


_LN2 = "0.693147180559945309417232121458176568075500134360255254120680009493393621969694715605863326996418687"
_HALF_PI = "1.57079632679489661923132169163975144209858469968755291048747229615390820314310449931401741267105853399"
LN2 = {False: parts_of(_LN2, True, 2, 9), True: parts_of(_LN2, False, 2, 11)}
HALF_PI = {False: parts_of(_HALF_PI, True, 3), True: parts_of(_HALF_PI, False, 3)}


def polynomial(m: Instructions[V], x: V, coefficients: Sequence[float]) -> V:
    """Horner's rule, coefficients from the lowest power on."""
    value = m.number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = m.fma(value, x, m.number(coefficient))
    return value


def estrin(m: Instructions[V], x: V, coefficients: Sequence[float]) -> V:
    """The same in pairs, then pairs of pairs: a few products more, in a chain a third as long (G. Estrin, 1960)."""
    terms = [m.number(coefficient) for coefficient in coefficients]
    while len(terms) > 1:
        pairs = [m.fma(high, x, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        x = m.mul(x, x)
    return terms[0]


def fitted(m: Instructions[V], x: V, name: str) -> V:
    """The minimax polynomial ``name`` of ``coefficients``."""
    return polynomial(m, x, getattr(table, f"{name}_F64" if m.double else f"{name}_F32"))


def at_most(m: Instructions[V], x: V, bound: float) -> V:
    """min(x, bound); NaN stays NaN."""
    return m.select(m.less(m.number(bound), x), m.number(bound), x)


def at_least(m: Instructions[V], x: V, bound: float) -> V:
    """max(x, bound); NaN stays NaN."""
    return m.select(m.less(x, m.number(bound)), m.number(bound), x)


def copysign(m: Instructions[V], magnitude: V, sign: V) -> V:
    """``magnitude`` (not negative) with the sign of ``sign``."""
    top = m.integer(-(1 << (63 if m.double else 31)))
    return m.from_bits(m.ior(m.bits(magnitude), m.iand(m.bits(sign), top)))


def power_of_two(m: Instructions[V], n: V) -> V:
    """2^n for an integer n whose power is a normal number."""
    return m.from_bits(m.shift_left(m.iadd(n, m.integer(BIAS[m.double])), MANTISSA[m.double]))


def magic_number(m: Instructions[V]) -> tuple[V, V]:
    """The number that rounds what is added to it to an integer, and its bits."""
    value = 1.5 * 2.0 ** MANTISSA[m.double]
    packed = struct.pack("<d", value) if m.double else struct.pack("<f", value)
    return m.number(value), m.integer(int.from_bytes(packed, "little"))


def to_number(m: Instructions[V], n: V) -> V:
    """A small integer as a floating-point number."""
    magic, bits = magic_number(m)
    return m.sub(m.from_bits(m.iadd(n, bits)), magic)


def two_sum(m: Instructions[V], a: V, b: V) -> tuple[V, V]:
    """a + b and what its rounding lost (D. Knuth, TAOCP 2, 4.2.2)."""
    total = m.add(a, b)
    part = m.sub(total, a)
    return total, m.add(m.sub(a, m.sub(total, part)), m.sub(b, part))


def two_product(m: Instructions[V], a: V, b: V) -> tuple[V, V]:
    """a b and what its rounding lost."""
    product = m.mul(a, b)
    return product, m.fma(a, b, m.neg(product))
