"""Storage types: what their bits mean, in the scalar language.

In: bits of an 8-bit or 4-bit floating-point number or of a 4-bit or 2-bit integer, one to a byte. Out: the number in
f32 or i32; and back. The one idea: such types are only ever stored and converted, so a conversion is arithmetic on
bits that every back end can do. Formats: OCP Microscaling v1.0 and Open Compute 8-bit (e4m3fn, e5m2, e2m1, e8m0),
Graphcore and AMD (the fnuz ones); what does not fit: ONNX's Cast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Attribute

from penstock.compiler.dialects.graph.scalar import ScalarBuilder
from penstock.compiler.dtypes import F32, F64, I32, I64, U8, is_unsigned, type_name

V = TypeVar("V")
ROUNDING = ("up", "down", "nearest")  # of the exponent that an f8e8m0 is


@dataclass(frozen=True)
class Format:
    """A floating-point format. ``greatest`` is the code of its greatest number; ``nan`` and ``infinite`` are what NaN
    and what is too great become (with ``finite``, ONNX's saturate, the greatest number instead).

    ``first_nan`` is the least magnitude that reads as NaN; ``unsigned_zero``: minus zero is NaN and there is no other.
    """

    bias: int
    mantissa: int
    greatest: int
    nan: int
    infinite: int
    sign: int = 0x80
    first_nan: int = 0x100
    unsigned_zero: bool = False


FORMATS = {
    "f8e4m3fn": Format(7, 3, greatest=0x7E, nan=0x7F, infinite=0x7F, first_nan=0x7F),
    "f8e4m3fnuz": Format(8, 3, greatest=0x7F, nan=0x80, infinite=0x80, unsigned_zero=True),
    "f8e5m2": Format(15, 2, greatest=0x7B, nan=0x7E, infinite=0x7C, first_nan=0x7D),
    "f8e5m2fnuz": Format(16, 2, greatest=0x7F, nan=0x80, infinite=0x80, unsigned_zero=True),
    "f4e2m1": Format(1, 1, greatest=0x7, nan=0x8, infinite=0x7, sign=0x8),
}


def decoded(s: ScalarBuilder[V], x: V, element: Attribute) -> V:
    """The number that ``x``, of the storage type ``element``, stands for: f32, or i32 for integers."""
    bits = s.cast(s.bit_cast(x, U8), I32)
    if isinstance(element, IntegerType):
        low = _and(s, bits, (1 << element.width.data) - 1)
        half = 1 << (element.width.data - 1)
        return low if is_unsigned(element) else s.sub(s.bit_xor(low, s.constant(half, low)), half)
    name = type_name(element)
    if name == "f8e8m0":
        exponent = s.bit_cast(s.shift_left(bits, s.constant(23, bits)), F32)
        number = s.select(s.compare("eq", bits, 0), 2.0**-127, exponent)
        return s.select(s.compare("eq", bits, 255), float("nan"), number)
    form = FORMATS[name]
    magnitude = _and(s, bits, form.sign - 1)
    up = s.constant(23 - form.mantissa, bits)
    normal = s.bit_cast(s.add(s.shift_left(magnitude, up), (127 - form.bias) << 23), F32)
    tiny = s.mul(s.cast(magnitude, F32), 2.0 ** (1 - form.bias - form.mantissa))
    number = s.select(s.compare("lt", magnitude, 1 << form.mantissa), tiny, normal)
    if form.infinite == form.greatest + 1 and form.first_nan == form.infinite + 1:
        number = s.select(s.compare("eq", magnitude, form.infinite), float("inf"), number)
    negative = s.compare("ne", _and(s, bits, form.sign), 0)
    number = s.select(negative, s.neg(number), number)
    if form.unsigned_zero:
        return s.select(s.compare("eq", bits, form.nan), float("nan"), number)
    return s.select(s.compare("ge", magnitude, form.first_nan), float("nan"), number)


def encoded(s: ScalarBuilder[V], x: V, element: Attribute, finite: bool, rounding: str) -> V:
    """``x`` (any type that is computed with) as storage type ``element``: numbers to the nearest, halves to even.

    An integer keeps its low bits, as casts between integers do; a fraction is cut off before. An f8e8m0 is the power
    of two that ``rounding`` names.
    """
    if isinstance(element, IntegerType):
        whole = s.cast(x, I64) if type_name(s.element(x)) in ("i64", "ui64", "ui32") else s.cast(x, I32)
        low = _and(s, whole, (1 << element.width.data) - 1)
        return s.bit_cast(s.cast(low, U8), element)
    wide = _to_odd(s, x) if s.element(x) == F64 else s.cast(x, F32)
    name = type_name(element)
    code = _exponent(s, wide, finite, rounding) if name == "f8e8m0" else _code(s, wide, FORMATS[name], finite)
    return s.bit_cast(s.cast(code, U8), element)


def _and(s: ScalarBuilder[V], x: V, mask: int) -> V:
    return s.bit_and(x, s.constant(mask, x))


def _right(s: ScalarBuilder[V], x: V, places: int) -> V:
    return s.shift_right(x, s.constant(places, x))


def _to_odd(s: ScalarBuilder[V], x: V) -> V:
    """f64 to f32 with an odd last place where it is not exact, so that rounding once more goes the right way."""
    near = s.cast(x, F32)
    back, bits = s.cast(near, F64), s.bit_cast(near, I32)
    step = s.select(s.compare("gt", s.abs(x), s.abs(back)), s.constant(1, bits), s.constant(-1, bits))
    even = s.compare("eq", _and(s, bits, 1), 0)
    moves = s.logical_and(s.compare("ne", back, x), even)
    return s.bit_cast(s.select(moves, s.add(bits, step), bits), F32)


def _code(s: ScalarBuilder[V], x: V, form: Format, finite: bool) -> V:
    """The bits of the f32 ``x`` in ``form``, as i32."""
    bits = s.bit_cast(x, I32)
    magnitude = _and(s, bits, 0x7FFFFFFF)
    size = s.bit_cast(magnitude, F32)
    small = s.compare("lt", size, 2.0 ** (1 - form.bias))
    dropped = 23 - form.mantissa
    odd = _and(s, _right(s, magnitude, dropped), 1)
    rounded = _right(s, s.add(s.add(magnitude, (1 << (dropped - 1)) - 1), odd), dropped)
    normal = s.sub(rounded, (127 - form.bias) << form.mantissa)
    scaled = s.mul(s.select(small, size, 0.0), 2.0 ** (form.bias - 1 + form.mantissa))
    code = s.select(small, s.cast(s.round_even(scaled), I32), normal)
    over = s.compare("gt", code, form.greatest)
    code = s.select(over, s.constant(form.greatest if finite else form.infinite, code), code)
    negative = s.compare("lt", bits, 0)
    if form.unsigned_zero:
        negative = s.logical_and(negative, s.compare("ne", code, 0))
    code = s.select(negative, s.bit_or(code, s.constant(form.sign, code)), code)
    return s.select(s.compare("gt", magnitude, 0x7F800000), s.constant(form.nan, code), code)


def _exponent(s: ScalarBuilder[V], x: V, finite: bool, rounding: str) -> V:
    """The bits of the power of two near |x|, as i32; NaN and infinity are NaN."""
    magnitude = _and(s, s.bit_cast(x, I32), 0x7FFFFFFF)
    power = _right(s, magnitude, 23)
    if rounding == "down":
        return power
    fraction = _and(s, magnitude, 0x7FFFFF)
    above = s.compare("gt", fraction, 0)
    if rounding == "nearest":  # halves go up, but for the least power
        half = s.compare("ge", fraction, 0x400000)
        above = s.logical_and(half, s.logical_or(s.compare("gt", fraction, 0x400000), s.compare("gt", power, 0)))
    above = s.logical_and(above, s.compare("lt", power, 254 if finite else 255))
    return s.select(above, s.add(power, 1), power)
