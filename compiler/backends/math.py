"""Elementary functions as a few instructions: exp, log, tanh, erf, sin, cos, pow, remainder, in f32 and f64.

In: lanes of one type and an ``Instructions`` that emits for them. Out: lanes. The one idea: a function is written
once, as branch-free formulas over instructions every machine has, so that all back ends give the same values and no
kernel calls a library. NaN, infinities, signed zeros and denormal results follow IEEE-754. The measured error bounds
stand in docs/tile.md; the polynomials come from ``minimax.py``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

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


ERF_JOIN = 0.93
"""Where erf changes from one formula to the other."""
MANTISSA = {False: 23, True: 52}
BIAS = {False: 127, True: 1023}
LOG2_E = math.log2(math.e)
SMALLEST_NORMAL = {False: 2.0**-126, True: 2.0**-1022}


def _parts(value: str, single: bool, count: int, trailing: int = 0) -> tuple[float, ...]:
    """A number given in decimal, as ``count`` floats that add up to it; the first has ``trailing`` zero bits."""
    from fractions import Fraction

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
LN2 = {False: _parts(_LN2, True, 2, 9), True: _parts(_LN2, False, 2, 11)}
HALF_PI = {False: _parts(_HALF_PI, True, 3), True: _parts(_HALF_PI, False, 3)}


def polynomial(m: Instructions[V], x: V, coefficients: Sequence[float]) -> V:
    """Horner's rule, coefficients from the lowest power on."""
    value = m.number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = m.fma(value, x, m.number(coefficient))
    return value


def _poly(m: Instructions[V], x: V, name: str) -> V:
    return polynomial(m, x, getattr(table, f"{name}_F64" if m.double else f"{name}_F32"))


def _at_most(m: Instructions[V], x: V, bound: float) -> V:
    """min(x, bound); NaN stays NaN."""
    return m.select(m.less(m.number(bound), x), m.number(bound), x)


def _at_least(m: Instructions[V], x: V, bound: float) -> V:
    return m.select(m.less(x, m.number(bound)), m.number(bound), x)


def copysign(m: Instructions[V], magnitude: V, sign: V) -> V:
    """``magnitude`` (not negative) with the sign of ``sign``."""
    top = m.integer(-(1 << (63 if m.double else 31)))
    return m.from_bits(m.ior(m.bits(magnitude), m.iand(m.bits(sign), top)))


def _power_of_two(m: Instructions[V], n: V) -> V:
    """2^n for an integer n whose power is a normal number."""
    return m.from_bits(m.shift_left(m.iadd(n, m.integer(BIAS[m.double])), MANTISSA[m.double]))


def _magic(m: Instructions[V]) -> tuple[V, V]:
    """The number that rounds what is added to it to an integer, and its bits."""
    value = 1.5 * 2.0 ** MANTISSA[m.double]
    packed = struct.pack("<d", value) if m.double else struct.pack("<f", value)
    return m.number(value), m.integer(int.from_bytes(packed, "little"))


def _to_number(m: Instructions[V], n: V) -> V:
    """A small integer as a floating-point number."""
    magic, bits = _magic(m)
    return m.sub(m.from_bits(m.iadd(n, bits)), magic)


# Exponential and what is made of it ----------------------------------------------------------------------------------


def _reduce(m: Instructions[V], x: V) -> tuple[V, V, V]:
    """x = n ln 2 + r with |r| <= ln 2 / 2: n as a number, n as an integer, and exp(r) - 1."""
    magic, bits = _magic(m)
    shifted = m.fma(x, m.number(LOG2_E), magic)
    n = m.sub(shifted, magic)
    minus_n = m.neg(n)
    high, low = LN2[m.double]
    r = m.fma(minus_n, m.number(low), m.fma(minus_n, m.number(high), x))
    return n, m.isub(m.bits(shifted), bits), m.fma(_poly(m, r, "EXP"), m.mul(r, r), r)


def exp(m: Instructions[V], x: V) -> V:
    """e^x: 2^n exp(r), the power of two applied in two steps so that denormal results are rounded once."""
    low, high = (-750.0, 720.0) if m.double else (-105.0, 90.0)
    n, integer, rest = _reduce(m, _at_most(m, _at_least(m, x, low), high))
    value = m.add(rest, m.number(1.0))
    scaled = m.scale(value, n)
    if scaled is not None:
        return scaled
    half = m.shift_right(integer, 1)
    return m.mul(m.mul(value, _power_of_two(m, half)), _power_of_two(m, m.isub(integer, half)))


def _exp_normal(m: Instructions[V], x: V) -> V:
    """e^x where the result is known to be a normal number (or x NaN)."""
    _, integer, rest = _reduce(m, x)
    power = _power_of_two(m, integer)
    return m.fma(power, rest, power)


def tanh(m: Instructions[V], x: V) -> V:
    """e / (e + 2) with e = exp(2|x|) - 1, which loses nothing near 0."""
    doubled = m.abs(m.add(x, x))
    _, integer, rest = _reduce(m, _at_most(m, doubled, 46.0 if m.double else 20.0))
    power = _power_of_two(m, integer)
    e = m.fma(power, rest, m.sub(power, m.number(1.0)))
    return copysign(m, m.div(e, m.add(e, m.number(2.0))), x)


def erf(m: Instructions[V], x: V) -> V:
    """x + x e(x^2) near 0, else 1 - exp(t(|x|)) with a polynomial t for log(erfc)."""
    a = m.abs(x)
    near = m.fma(_poly(m, m.mul(x, x), "ERF"), x, x)
    t = _at_most(m, a, 6.0 if m.double else 4.0)
    if m.double:
        exponent = _poly(m, m.sub(t, m.number(3.5)), "ERFC")
    else:
        exponent = m.mul(t, _poly(m, t, "ERFC"))
    far = m.sub(m.number(1.0), _exp_normal(m, exponent))
    return m.select(m.less(a, m.number(ERF_JOIN)), near, copysign(m, far, x))


# Logarithm -----------------------------------------------------------------------------------------------------------


def _split(m: Instructions[V], x: V) -> tuple[V, V]:
    """x = 2^k y with y in [sqrt(1/2), sqrt(2)): k as a number, and y. x must be positive and finite."""
    mantissa = MANTISSA[m.double]
    tiny = m.less(x, m.number(SMALLEST_NORMAL[m.double]))
    bits = m.bits(m.select(tiny, m.mul(x, m.number(2.0**mantissa)), x))
    root = struct.pack("<d", math.sqrt(0.5)) if m.double else struct.pack("<f", math.sqrt(0.5))
    k = m.shift_right(m.isub(bits, m.integer(int.from_bytes(root, "little"))), mantissa)
    y = m.from_bits(m.isub(bits, m.shift_left(k, mantissa)))
    k = _to_number(m, k)
    return m.select(tiny, m.sub(k, m.number(float(mantissa))), k), y


def _log_specials(m: Instructions[V], x: V, value: V) -> V:
    """log at 0, below 0, at infinity and NaN."""
    value = m.select(m.less(x, m.number(math.inf)), value, x)
    value = m.select(m.equal(x, m.number(0.0)), m.number(-math.inf), value)
    return m.select(m.less(x, m.number(0.0)), m.number(math.nan), value)


def log(m: Instructions[V], x: V) -> V:
    """k ln 2 + log(1 + f): a polynomial in f for f32, the series in s = f / (2 + f) for f64."""
    k, y = _split(m, x)
    f = m.sub(y, m.number(1.0))
    high, low = (m.number(part) for part in LN2[m.double])
    square = m.mul(f, f)
    if m.double:
        s = m.div(f, m.add(f, m.number(2.0)))
        z = m.mul(s, s)
        series = m.mul(m.mul(m.number(2.0), z), polynomial(m, z, (1.0 / 3.0, *table.ATANH_F64[1:])))
        half = m.mul(m.number(0.5), square)
        correction = m.fma(s, m.add(half, series), m.mul(k, low))
        value = m.sub(m.mul(k, high), m.sub(m.sub(half, correction), f))
    else:
        value = m.mul(m.mul(f, square), polynomial(m, f, table.LOG_F32))
        value = m.fma(m.number(-0.5), square, m.fma(k, low, value))
        value = m.fma(k, high, m.add(f, value))
    return _log_specials(m, x, value)


# Power ---------------------------------------------------------------------------------------------------------------


def _two_sum(m: Instructions[V], a: V, b: V) -> tuple[V, V]:
    """a + b and what its rounding lost (D. Knuth, TAOCP 2, 4.2.2)."""
    total = m.add(a, b)
    part = m.sub(total, a)
    return total, m.add(m.sub(a, m.sub(total, part)), m.sub(b, part))


def _two_product(m: Instructions[V], a: V, b: V) -> tuple[V, V]:
    product = m.mul(a, b)
    return product, m.fma(a, b, m.neg(product))


def _power_f32(m: Instructions[V], a: V, y: V) -> V:
    """|x|^y of f32 lanes through f64: no step of it rounds by more than a small part of an f32's last place."""
    d = m.as_double()
    k, z = _split(d, d.to_double(a))
    f = d.sub(z, d.number(1.0))
    s = d.div(f, d.add(f, d.number(2.0)))
    u = d.mul(s, s)
    atanh = d.fma(d.mul(s, u), polynomial(d, u, table.SHORT_ATANH_F64), s)
    logarithm = _log_specials(d, d.to_double(a), d.fma(d.number(2 * LOG2_E), atanh, k))
    exponent = d.mul(d.to_double(y), logarithm)
    exponent = _at_most(d, _at_least(d, exponent, -300.0), 300.0)
    magic, bits = _magic(d)
    shifted = d.add(exponent, magic)
    r = d.mul(d.sub(exponent, d.sub(shifted, magic)), d.number(1 / LOG2_E))
    value = d.fma(polynomial(d, r, table.EXP_F64[:7]), d.mul(r, r), r)
    power = _power_of_two(d, d.isub(d.bits(shifted), bits))
    return d.to_single(d.fma(power, value, power))


def _power_f64(m: Instructions[V], a: V, y: V) -> V:
    """|x|^y of f64 lanes: the logarithm to about 66 bits in two parts, then exp of both."""
    k, z = _split(m, a)
    f = m.sub(z, m.number(1.0))
    d_high, d_low = _two_sum(m, f, m.number(2.0))
    s = m.div(f, d_high)
    rest = m.sub(m.fma(m.neg(s), d_high, f), m.mul(s, d_low))
    s_low = m.div(rest, d_high)
    u, u_low = _two_product(m, s, s)
    u_low = m.fma(m.mul(m.number(2.0), s), s_low, u_low)
    # atanh(s) = s + s u / 3 + s u^2 (1/5 + ...): the second term in two parts as well.
    third, third_low = _parts("0.333333333333333333333333333333333333333333333333", False, 2)
    c, c_low = _two_product(m, u, m.number(third))
    c_low = m.add(c_low, m.fma(u, m.number(third_low), m.mul(u_low, m.number(third))))
    tail = m.mul(m.mul(u, u), polynomial(m, u, table.ATANH_F64[1:]))
    c, extra = _two_sum(m, c, tail)
    c_low = m.add(c_low, extra)
    t, t_low = _two_product(m, s, c)
    t_low = m.add(t_low, m.fma(s, c_low, m.mul(s_low, c)))
    total, lost = _two_sum(m, s, t)
    low = m.add(m.add(lost, t_low), s_low)
    high_ln2, low_ln2 = (m.number(part) for part in LN2[True])
    whole, whole_low = _two_sum(m, m.mul(k, high_ln2), m.mul(m.number(2.0), total))
    low = m.add(whole_low, m.fma(m.number(2.0), low, m.mul(k, low_ln2)))
    whole, low = _two_sum(m, whole, low)
    exponent = m.mul(y, _log_specials(m, a, whole))
    low = m.fma(y, low, m.fma(y, whole, m.neg(m.mul(y, whole))))
    finite = m.both(m.less(m.abs(exponent), m.number(1e4)), m.less(m.abs(low), m.number(1.0)))
    value = exp(m, exponent)
    return m.select(m.both(finite, m.less(value, m.number(math.inf))), m.fma(value, low, value), value)


def power(m: Instructions[V], x: V, y: V) -> V:
    """x^y with the special cases of IEEE-754's ``pow``: 1 to any power and any number to 0 are 1; a negative number
    has powers of integral exponent only."""
    a, zero, one = m.abs(x), m.number(0.0), m.number(1.0)
    value = _power_f64(m, a, y) if m.double else _power_f32(m, a, y)
    half = m.mul(y, m.number(0.5))
    integral = m.equal(m.floor(y), y)
    even = m.equal(m.floor(half), half)
    signed = copysign(m, value, x)
    value = m.select(integral, m.select(even, value, signed), value)
    infinite = m.equal(a, m.number(math.inf))
    complex_ = m.select(integral, zero, m.select(m.less(x, zero), m.select(infinite, zero, one), zero))
    value = m.select(m.less(zero, complex_), m.number(math.nan), value)
    value = m.select(m.both(m.equal(a, one), m.equal(m.abs(y), m.number(math.inf))), one, value)
    value = m.select(m.is_nan(x), x, value)
    value = m.select(m.is_nan(y), y, value)
    return m.select(m.equal(y, zero), one, m.select(m.equal(x, one), one, value))


# Sine and cosine -----------------------------------------------------------------------------------------------------

LARGE = {False: 1e5, True: 2.0**28}


def _quarter_turns(exponent: int, count: int) -> tuple[float, ...]:
    """2^exponent * 2/pi modulo 4, as ``count`` doubles that add up to it."""
    bits = 1300
    scaled = (_two_over_pi(bits) << max(exponent, 0)) >> max(-exponent, 0)
    from fractions import Fraction

    rest, parts = Fraction(scaled % (4 << bits), 1 << bits), list[float]()
    for _ in range(count):
        # Towards zero, so that every part is positive and none rounds up to 4.
        numerator = float(rest)
        part = numerator if Fraction(numerator) <= rest else math.nextafter(numerator, 0.0)
        parts.append(part)
        rest -= Fraction(part)
    return tuple(parts)


_TWO_OVER_PI: dict[int, int] = {}


def _two_over_pi(bits: int) -> int:
    """floor(2/pi * 2^bits), with pi by Machin's formula."""
    if bits not in _TWO_OVER_PI:
        work = bits + 64

        def arctan_inverse(n: int) -> int:
            term, total, k = (1 << work) // n, 0, 0
            while term:
                total += -(term // (2 * k + 1)) if k % 2 else term // (2 * k + 1)
                term //= n * n
                k += 1
            return total

        pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))
        _TWO_OVER_PI[bits] = ((2 << (work + bits)) // pi) if pi else 0
    return _TWO_OVER_PI[bits]


def _reduce_small(m: Instructions[V], x: V) -> tuple[V, V]:
    """x = n pi/2 + r by three subtractions (Cody and Waite): r and n's low bits. Exact enough below ``LARGE``."""
    magic, bits = _magic(m)
    shifted = m.fma(x, m.number(2 / math.pi), magic)
    minus_n = m.neg(m.sub(shifted, magic))
    r = x
    for part in HALF_PI[m.double]:
        r = m.fma(minus_n, m.number(part), r)
    return r, m.isub(m.bits(shifted), bits)


def _reduce_large(m: Instructions[V], x: V, large: V) -> tuple[V, V]:
    """The same for any x (Payne and Hanek 1983): x = f 2^e, and 2^e * 2/pi modulo 4 comes from a table."""
    mantissa = MANTISSA[m.double]
    first, last = (-25, 971) if m.double else (-8, 104)
    bits = m.iand(m.bits(x), m.integer((1 << (63 if m.double else 31)) - 1))
    exponent = m.shift_right(bits, mantissa)
    known = m.both(large, m.less(m.from_bits(bits), m.number(math.inf)))
    index = m.isub(exponent, m.integer(BIAS[m.double] + mantissa + first))
    index = m.select(known, index, m.integer(0))
    fraction = m.iand(bits, m.integer((1 << mantissa) - 1))
    f = m.from_bits(m.ior(fraction, m.integer((BIAS[m.double] + mantissa) << mantissa)))
    d = m.as_double()
    rows = [_quarter_turns(e, 3 if m.double else 2) for e in range(first, last + 1)]
    parts = [d.lookup([row[i] for row in rows], index) for i in range(len(rows[0]))]
    turns, r = _turns_f64(d, f, parts) if m.double else _turns_f32(d, m.to_double(f), parts)
    negative = m.less(x, m.number(0.0))
    r = m.to_single(r) if not m.double else r
    r = m.select(m.less(m.from_bits(bits), m.number(math.inf)), r, m.number(math.nan))
    magic, magic_bits = _magic(m)
    quarter = m.isub(m.bits(m.add(turns if m.double else m.to_single(turns), magic)), magic_bits)
    return m.select(negative, m.neg(r), r), m.select(negative, m.isub(m.integer(0), quarter), quarter)


def _modulo_four(d: Instructions[V], n: V) -> V:
    return d.fma(d.number(-4.0), d.floor(d.mul(n, d.number(0.25))), n)


def _turns_f32(d: Instructions[V], f: V, parts: list[V]) -> tuple[V, V]:
    """Whole quarter turns modulo 4 of f * (parts), and the rest as an angle. f has 24 bits, so f * parts[0] - n is
    exact."""
    high, low = parts
    n = d.round_even(d.mul(f, high))
    rest = d.fma(f, low, d.fma(f, high, d.neg(n)))
    return _modulo_four(d, n), d.mul(rest, d.number(math.pi / 2))


def _turns_f64(d: Instructions[V], f: V, parts: list[V]) -> tuple[V, V]:
    """The same for f of 53 bits, carried in two parts."""
    high, middle, low = parts
    p, p_low = _two_product(d, f, high)
    q, q_low = _two_product(d, f, middle)
    # p may have no fraction at all; its rounding error p_low then is of the order of turns.
    total, lost = _two_sum(d, _modulo_four(d, p), p_low)
    total, lost2 = _two_sum(d, total, q)
    small = d.add(d.add(lost, lost2), d.fma(f, low, q_low))
    n = d.round_even(total)
    rest, rest_low = _two_sum(d, d.sub(total, n), small)
    high_pi, low_pi, _ = (d.number(part) for part in HALF_PI[True])
    angle, angle_low = _two_product(d, rest, high_pi)
    angle_low = d.add(angle_low, d.fma(rest, low_pi, d.mul(rest_low, high_pi)))
    return _modulo_four(d, n), d.add(angle, angle_low)


def _trigonometric(m: Instructions[V], x: V, quarter: int) -> V:
    """sin(x + quarter * pi/2)."""
    r, n = _reduce_small(m, x)
    large = m.less(m.number(LARGE[m.double]), m.abs(x))

    def reduce_again() -> tuple[V, V]:
        far, turns = _reduce_large(m, x, large)
        return m.select(large, far, r), m.select(large, turns, n)

    r, n = m.when_any(large, (r, n), reduce_again)
    n = m.iadd(n, m.integer(quarter)) if quarter else n
    u = m.mul(r, r)
    sine = m.fma(m.mul(_poly(m, u, "SIN"), u), r, r)
    cosine = m.fma(m.mul(u, u), _poly(m, u, "COS"), m.fma(u, m.number(-0.5), m.number(1.0)))
    one = m.integer(1)
    value = m.select(m.iequal(m.iand(n, one), one), cosine, sine)
    flip = m.shift_left(m.iand(n, m.integer(2)), 62 if m.double else 30)
    return m.from_bits(m.iadd(m.bits(value), flip))


def sin(m: Instructions[V], x: V) -> V:
    """sin x, accurate for every finite x."""
    return m.select(m.equal(x, m.number(0.0)), x, _trigonometric(m, x, 0))


def cos(m: Instructions[V], x: V) -> V:
    """cos x, accurate for every finite x."""
    return _trigonometric(m, x, 1)


# Remainder -----------------------------------------------------------------------------------------------------------


def remainder(m: Instructions[V], x: V, y: V) -> V:
    """C's ``fmod``: exact, with the sign of x. The quotient is taken in pieces of at most 2^mantissa."""
    a, b = m.abs(x), m.abs(y)
    limit = 2.0 ** (MANTISSA[m.double] - 1)
    width = (1 << (11 if m.double else 8)) - 1

    def usable(r: V) -> V:
        return m.both(m.both(m.less(m.number(0.0), b), m.less(a, m.number(math.inf))), m.less(r, m.number(math.inf)))

    def proceed(r: V) -> V:
        return m.both(m.both(usable(r), m.less(b, m.number(math.inf))), m.select(m.less(r, b), _false(m), _true(m)))

    def step(r: V) -> V:
        # The divisor is first brought within reach of r: twice by a fixed power of two, then by the quotient's own.
        divisor = b
        for _ in range(2):
            far = m.mul(divisor, m.number(2.0 ** (900 if m.double else 100)))
            divisor = m.select(m.less(r, far), divisor, far)
        quotient = m.div(r, divisor)
        field = m.iand(m.bits(quotient), m.integer(width << MANTISSA[m.double]))
        scale = m.mul(m.from_bits(field), m.number(1 / limit))
        divisor = m.select(m.less(m.number(1.0), scale), m.mul(divisor, scale), divisor)
        whole = m.trunc(m.div(r, divisor))
        rest = m.fma(m.neg(whole), divisor, r)
        rest = m.select(m.less(rest, m.number(0.0)), m.add(rest, divisor), rest)
        return m.select(proceed(r), rest, r)

    value = m.while_any(a, proceed, step)
    value = m.select(m.less(m.abs(x), m.number(math.inf)), value, m.number(math.nan))
    value = m.select(m.equal(b, m.number(0.0)), m.number(math.nan), value)
    value = m.select(m.is_nan(y), y, value)
    return copysign(m, value, x)


def _true(m: Instructions[V]) -> V:
    return m.equal(m.number(0.0), m.number(0.0))


def _false(m: Instructions[V]) -> V:
    return m.equal(m.number(0.0), m.number(1.0))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": exp,
    "log": log,
    "tanh": tanh,
    "erf": erf,
    "sin": sin,
    "cos": cos,
    "pow": power,
    "rem": remainder,
}
"""The functions by the name of the tile op they implement."""

BOUNDS: dict[str, tuple[float, float]] = {
    "exp": (1.0, 1.0),
    "log": (1.2, 1.0),
    "tanh": (2.6, 2.6),
    "erf": (1.2, 6.0),
    "sin": (1.6, 1.6),
    "cos": (1.6, 1.6),
    "pow": (0.6, 1.5),
    "rem": (0.0, 0.0),
}
"""Largest error in units in the last place, for f32 and f64, as tests/unit/tile/test_math.py measures it."""
