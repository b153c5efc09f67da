"""Sine, cosine, tangent and their inverses.

In: lanes. Out: lanes. The one idea: arguments are brought into a small interval (by multiples of pi/2, exactly even for
huge ones; by identities of the inverse functions), where one short polynomial does.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeVar

from penstock.compiler.backends.instructions import (
    BIAS,
    HALF_PI,
    MANTISSA,
    Instructions,
    copysign,
    fitted,
    magic_number,
    two_product,
    two_sum,
)

V = TypeVar("V")

LARGE = {False: 1e5, True: 2.0**28}


def _quarter_turns(exponent: int, count: int) -> tuple[float, ...]:
    """2^exponent * 2/pi modulo 4, as ``count`` doubles that add up to it."""
    bits = 1300
    scaled = (_two_over_pi(bits) << max(exponent, 0)) >> max(-exponent, 0)
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
    magic, bits = magic_number(m)
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
    magic, magic_bits = magic_number(m)
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
    p, p_low = two_product(d, f, high)
    q, q_low = two_product(d, f, middle)
    # p may have no fraction at all; its rounding error p_low then is of the order of turns.
    total, lost = two_sum(d, _modulo_four(d, p), p_low)
    total, lost2 = two_sum(d, total, q)
    small = d.add(d.add(lost, lost2), d.fma(f, low, q_low))
    n = d.round_even(total)
    rest, rest_low = two_sum(d, d.sub(total, n), small)
    high_pi, low_pi, _ = (d.number(part) for part in HALF_PI[True])
    angle, angle_low = two_product(d, rest, high_pi)
    angle_low = d.add(angle_low, d.fma(rest, low_pi, d.mul(rest_low, high_pi)))
    return _modulo_four(d, n), d.add(angle, angle_low)


def _quadrant(m: Instructions[V], x: V) -> tuple[V, V, V]:
    """x = n pi/2 + r with |r| <= pi/4: sin(r), cos(r) and n's low bits."""
    r, n = _reduce_small(m, x)
    large = m.less(m.number(LARGE[m.double]), m.abs(x))

    def reduce_again() -> tuple[V, V]:
        far, turns = _reduce_large(m, x, large)
        return m.select(large, far, r), m.select(large, turns, n)

    r, n = m.when_any(large, (r, n), reduce_again)
    u = m.mul(r, r)
    sine = m.fma(m.mul(fitted(m, u, "SIN"), u), r, r)
    cosine = m.fma(m.mul(u, u), fitted(m, u, "COS"), m.fma(u, m.number(-0.5), m.number(1.0)))
    return sine, cosine, n


def _turned(m: Instructions[V], x: V, quarter: int) -> V:
    """sin(x + quarter * pi/2)."""
    sine, cosine, n = _quadrant(m, x)
    n = m.iadd(n, m.integer(quarter)) if quarter else n
    one = m.integer(1)
    value = m.select(m.iequal(m.iand(n, one), one), cosine, sine)
    flip = m.shift_left(m.iand(n, m.integer(2)), 62 if m.double else 30)
    return m.from_bits(m.iadd(m.bits(value), flip))


def sin(m: Instructions[V], x: V) -> V:
    """sin x, accurate for every finite x."""
    return m.select(m.equal(x, m.number(0.0)), x, _turned(m, x, 0))


def cos(m: Instructions[V], x: V) -> V:
    """cos x, accurate for every finite x."""
    return _turned(m, x, 1)


def tan(m: Instructions[V], x: V) -> V:
    """sin / cos, or -cos / sin in the odd quadrants."""
    sine, cosine, n = _quadrant(m, x)
    one = m.integer(1)
    odd = m.iequal(m.iand(n, one), one)
    value = m.div(m.select(odd, m.neg(cosine), sine), m.select(odd, sine, cosine))
    return m.select(m.equal(x, m.number(0.0)), x, value)


# Inverse functions ---------------------------------------------------------------------------------------------------


def atan(m: Instructions[V], x: V) -> V:
    """z + z^3 a(z^2) up to tan(pi/8); from there on pi/4 + atan((x - 1) / (x + 1)), then pi/2 + atan(-1 / x)."""
    a, zero, one = m.abs(x), m.number(0.0), m.number(1.0)
    middle, far = m.less(m.number(math.sqrt(2) - 1), a), m.less(m.number(math.sqrt(2) + 1), a)
    over = m.select(far, m.number(-1.0), m.select(middle, m.sub(a, one), a))
    under = m.select(far, a, m.select(middle, m.add(a, one), one))
    z = m.div(over, under)
    u = m.mul(z, z)
    rest = m.mul(m.mul(z, u), fitted(m, u, "ATAN"))
    start, lost = (
        m.select(far, m.number(part), m.select(middle, m.number(part / 2), zero)) for part in HALF_PI[m.double][:2]
    )
    return copysign(m, m.add(start, m.add(z, m.add(rest, lost))), x)


def _asin_parts(m: Instructions[V], a: V) -> tuple[V, V, V]:
    """For a >= 0: whether it is above 1/2; z, which is a or there sqrt((1 - a) / 2); and asin(z) - z."""
    half = m.number(0.5)
    above = m.less(half, a)
    u = m.select(above, m.mul(m.sub(m.number(1.0), a), half), m.mul(a, a))
    z = m.select(above, m.sqrt(u), a)
    return above, z, m.mul(m.mul(z, u), fitted(m, u, "ASIN"))


def asin(m: Instructions[V], x: V) -> V:
    """z + z^3 a(z^2) up to 1/2, from there on pi/2 - 2 asin(sqrt((1 - x) / 2)); NaN beyond 1."""
    above, z, rest = _asin_parts(m, m.abs(x))
    high, low = (m.number(part) for part in HALF_PI[m.double][:2])
    two = m.number(-2.0)
    far = m.add(high, m.fma(two, z, m.fma(two, rest, low)))
    return copysign(m, m.select(above, far, m.add(z, rest)), x)


def acos(m: Instructions[V], x: V) -> V:
    """pi/2 - asin(x) up to 1/2, from there on 2 asin(sqrt((1 - x) / 2)), below -1/2 pi less that; NaN beyond 1."""
    above, z, rest = _asin_parts(m, m.abs(x))
    high, low = (m.number(part) for part in HALF_PI[m.double][:2])
    two, minus_two = m.number(2.0), m.number(-2.0)
    signed, signed_rest = copysign(m, z, x), copysign(m, rest, x)
    near = m.sub(high, m.add(signed, m.sub(signed_rest, low)))
    right = m.mul(two, m.add(z, rest))
    left = m.fma(two, high, m.fma(minus_two, z, m.fma(minus_two, rest, m.mul(two, low))))
    return m.select(above, m.select(m.less(x, m.number(0.0)), left, right), near)
