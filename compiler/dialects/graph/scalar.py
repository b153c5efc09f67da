"""The scalar language in which elementwise ops are defined once.

In: an elementwise op's ``scalar`` function. Out: whatever the builder it is run with makes of it: numpy arrays
(reference semantics and folding, ``NumpyScalars`` here) or tile-level instructions on register tiles (lowering).
The one idea: an op's formula is written once, over the abstract operations below, so no back end can disagree.

Conventions: operands of a two-operand operation have the same element type; a Python number may stand for an operand
and takes the other's type. Floating-point operations follow IEEE-754 (NaN and infinity included); ``maximum`` and
``minimum`` propagate NaN; integer arithmetic wraps; integer division truncates towards zero, and by zero quotient and
remainder are 0 (it must not trap); an integer to a negative power is 0 unless the base is 1 or -1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute

from penstock.compiler.dtypes import from_numpy, is_float, numpy_dtype

V = TypeVar("V")


class ScalarBuilder(Protocol, Generic[V]):
    """Operations a formula may use on values ``V`` (arrays, register tiles, scalars)."""

    def element(self, x: V) -> Attribute: ...
    def constant(self, value: float, like: V) -> V:
        """``value``, which may be a symbolic extent where kernels are built, in the type of ``like``."""
        ...

    def add(self, a: V | float, b: V | float) -> V: ...
    def sub(self, a: V | float, b: V | float) -> V: ...
    def mul(self, a: V | float, b: V | float) -> V: ...
    def div(self, a: V | float, b: V | float) -> V: ...
    def remainder(self, a: V | float, b: V | float) -> V: ...
    def neg(self, x: V) -> V: ...
    def abs(self, x: V) -> V: ...
    def maximum(self, a: V | float, b: V | float) -> V: ...
    def minimum(self, a: V | float, b: V | float) -> V: ...
    def sqrt(self, x: V) -> V: ...
    def exp(self, x: V) -> V: ...
    def log(self, x: V) -> V: ...
    def pow(self, a: V | float, b: V | float) -> V: ...
    def erf(self, x: V) -> V: ...
    def gelu_tail(self, x: V) -> V: ...
    def tanh(self, x: V) -> V: ...
    def sin(self, x: V) -> V: ...
    def cos(self, x: V) -> V: ...
    def tan(self, x: V) -> V: ...
    def asin(self, x: V) -> V: ...
    def acos(self, x: V) -> V: ...
    def atan(self, x: V) -> V: ...
    def sinh(self, x: V) -> V: ...
    def cosh(self, x: V) -> V: ...
    def asinh(self, x: V) -> V: ...
    def acosh(self, x: V) -> V: ...
    def atanh(self, x: V) -> V: ...
    def floor(self, x: V) -> V: ...
    def ceil(self, x: V) -> V: ...
    def round_even(self, x: V) -> V: ...
    def compare(self, predicate: str, a: V | float, b: V | float) -> V:
        """``predicate`` is eq ne lt le gt ge; floating-point: ordered (false on NaN) except ne, which is true."""
        ...

    def select(self, condition: V, a: V | float, b: V | float) -> V: ...
    def logical_and(self, a: V, b: V) -> V: ...
    def logical_or(self, a: V, b: V) -> V: ...
    def logical_xor(self, a: V, b: V) -> V: ...
    def logical_not(self, x: V) -> V: ...
    def bit_and(self, a: V, b: V) -> V: ...
    def bit_or(self, a: V, b: V) -> V: ...
    def bit_xor(self, a: V, b: V) -> V: ...
    def bit_not(self, x: V) -> V: ...
    def shift_left(self, a: V, b: V) -> V:
        """Defined where b is at least 0 and less than the type's width."""
        ...

    def shift_right(self, a: V, b: V) -> V:
        """Copies of the sign come in (zeros in unsigned types); defined as ``shift_left`` is."""
        ...

    def bit_cast(self, x: V, to: Attribute) -> V:
        """The same bits as another type of the same width, neither of them half precision or boolean."""
        ...

    def cast(self, x: V, to: Attribute) -> V:
        """Numeric conversion as ONNX Cast: to integer truncates towards zero; to boolean is ``x != 0``."""
        ...


Value = NDArray[Any]
_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule, highest power first."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _erf_near(y: Value) -> Value:
    """The error function of 0 <= y <= 0.46875; of what is more, that of 0.46875 in its place."""
    near = np.minimum(y, 0.46875)
    return near * _polynomial(near**2, _NEAR[0]) / _polynomial(near**2, _NEAR[1])


def _erfc_far(y: Value) -> Value:
    """1 less the error function of y >= 0.46875."""
    between = np.clip(y, 0.46875, 4.0)
    middle = np.exp(-between * between) * _polynomial(between, _MIDDLE[0]) / _polynomial(between, _MIDDLE[1])
    beyond = np.clip(y, 4.0, 30.0)
    z = 1 / (beyond * beyond)
    tail = z * _polynomial(z, _FAR[0]) / _polynomial(z, _FAR[1])
    far = np.exp(-beyond * beyond) * (1 / math.sqrt(math.pi) - tail) / beyond
    return np.where(y <= 4, middle, far)


def erf(x: Value) -> Value:
    """The error function in f64, to about 1e-16. Rational approximations of W. J. Cody, Math. Comp. 23 (1969) 631."""
    x = np.asarray(x, np.float64)
    y = np.abs(x)
    value = np.sign(x) * np.where(y <= 0.46875, _erf_near(y), 1 - _erfc_far(y))
    return np.where(np.isnan(x), x, value)


GELU_TAIL_END = {4: 5.6875, 8: 8.375}
"""Beyond it ``gelu_tail`` is 0, by the bytes of the type: it is below the rounding of numbers around 1 there."""


def gelu_tail(x: Value) -> Value:
    """What relu(x) exceeds gelu(x) by, in f64: |x| times the chance that a standard normal number exceeds |x|; 0 beyond
    ``GELU_TAIL_END``."""
    x = np.asarray(x)
    end = GELU_TAIL_END[8 if x.dtype == np.float64 else 4]
    a = np.abs(x.astype(np.float64))
    inner = np.minimum(a, end)
    y = inner * math.sqrt(0.5)
    value = 0.5 * inner * np.where(y <= 0.46875, 1 - _erf_near(y), _erfc_far(y))
    return np.where(np.isnan(a), a, np.where(a > end, 0.0, value))


# Numerator and denominator in three ranges of |x|: up to 0.46875, up to 4, beyond; highest power first.
_NEAR = (
    (0.185777706184603153, 3.16112374387056560, 113.864154151050156, 377.485237685302021, 3209.37758913846947),
    (1.0, 23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062),
)
_MIDDLE = (
    (
        *(2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131),
        *(881.952221241769090, 1712.04761263407058, 2051.07837782607147, 1230.33935479799725),
    ),
    (
        *(1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019),
        *(3290.79923573345963, 4362.61909014324716, 3439.36767414372164, 1230.33935480374942),
    ),
)
_FAR = (
    (
        *(1.63153871373020978e-2, 0.305326634961232344, 0.360344899949804439, 0.125781726111229246),
        *(1.60837851487422766e-2, 6.58749161529837803e-4),
    ),
    (
        *(1.0, 2.56852019228982242, 1.87295284992346725, 0.527905102951428412, 6.05183413124413191e-2),
        2.33520497626869185e-3,
    ),
)


class NumpyScalars:
    """The numpy meaning of the scalar language, over whole arrays with broadcasting."""

    def element(self, x: Value) -> Attribute:
        return from_numpy(x.dtype)

    def constant(self, value: float, like: Value) -> Value:
        return np.asarray(value).astype(like.dtype)

    def _pair(self, a: Value | float, b: Value | float) -> tuple[Value, Value]:
        if not isinstance(a, np.ndarray | np.generic):
            assert isinstance(b, np.ndarray | np.generic)
            return np.asarray(a).astype(b.dtype), np.asarray(b)
        if not isinstance(b, np.ndarray | np.generic):
            return np.asarray(a), np.asarray(b).astype(a.dtype)
        return np.asarray(a), np.asarray(b)

    def add(self, a: Value | float, b: Value | float) -> Value:
        return np.add(*self._pair(a, b))

    def sub(self, a: Value | float, b: Value | float) -> Value:
        return np.subtract(*self._pair(a, b))

    def mul(self, a: Value | float, b: Value | float) -> Value:
        return np.multiply(*self._pair(a, b))

    def div(self, a: Value | float, b: Value | float) -> Value:
        x, y = self._pair(a, b)
        if x.dtype.kind not in "iu":
            return np.divide(x, y)
        quotient = np.floor_divide(x, y)
        inexact = (quotient * y != x) & (y != 0)
        return np.where(inexact & ((x < 0) != (y < 0)), quotient + 1, quotient).astype(x.dtype)

    def remainder(self, a: Value | float, b: Value | float) -> Value:
        return np.fmod(*self._pair(a, b))

    def neg(self, x: Value) -> Value:
        return np.negative(x)

    def abs(self, x: Value) -> Value:
        return np.abs(x)

    def maximum(self, a: Value | float, b: Value | float) -> Value:
        return np.maximum(*self._pair(a, b))

    def minimum(self, a: Value | float, b: Value | float) -> Value:
        return np.minimum(*self._pair(a, b))

    def sqrt(self, x: Value) -> Value:
        return np.sqrt(x)

    def exp(self, x: Value) -> Value:
        return np.exp(x)

    def log(self, x: Value) -> Value:
        return np.log(x)

    def pow(self, a: Value | float, b: Value | float) -> Value:
        x, y = self._pair(a, b)
        if x.dtype.kind != "i":
            return np.power(x, y)
        power = np.power(x, np.maximum(y, 0))
        inverse = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2 == 0, 1, -1), 0))
        return np.where(y < 0, inverse, power).astype(x.dtype)

    def erf(self, x: Value) -> Value:
        return erf(x).astype(x.dtype)

    def gelu_tail(self, x: Value) -> Value:
        return gelu_tail(x).astype(x.dtype)

    def tanh(self, x: Value) -> Value:
        return np.tanh(x)

    def sin(self, x: Value) -> Value:
        return np.sin(x)

    def cos(self, x: Value) -> Value:
        return np.cos(x)

    def tan(self, x: Value) -> Value:
        return np.tan(x)

    def asin(self, x: Value) -> Value:
        return np.arcsin(x)

    def acos(self, x: Value) -> Value:
        return np.arccos(x)

    def atan(self, x: Value) -> Value:
        return np.arctan(x)

    def sinh(self, x: Value) -> Value:
        return np.sinh(x)

    def cosh(self, x: Value) -> Value:
        return np.cosh(x)

    def asinh(self, x: Value) -> Value:
        return np.arcsinh(x)

    def acosh(self, x: Value) -> Value:
        return np.arccosh(x)

    def atanh(self, x: Value) -> Value:
        return np.arctanh(x)

    def floor(self, x: Value) -> Value:
        return np.floor(x)

    def ceil(self, x: Value) -> Value:
        return np.ceil(x)

    def round_even(self, x: Value) -> Value:
        return np.rint(x)

    def compare(self, predicate: str, a: Value | float, b: Value | float) -> Value:
        return np.asarray(_COMPARE[predicate](*self._pair(a, b)))

    def select(self, condition: Value, a: Value | float, b: Value | float) -> Value:
        return np.where(condition, *self._pair(a, b))

    def logical_and(self, a: Value, b: Value) -> Value:
        return np.logical_and(a, b)

    def logical_or(self, a: Value, b: Value) -> Value:
        return np.logical_or(a, b)

    def logical_xor(self, a: Value, b: Value) -> Value:
        return np.logical_xor(a, b)

    def logical_not(self, x: Value) -> Value:
        return np.logical_not(x)

    def bit_and(self, a: Value, b: Value) -> Value:
        return np.bitwise_and(a, b)

    def bit_or(self, a: Value, b: Value) -> Value:
        return np.bitwise_or(a, b)

    def bit_xor(self, a: Value, b: Value) -> Value:
        return np.bitwise_xor(a, b)

    def bit_not(self, x: Value) -> Value:
        return np.invert(x)

    def shift_left(self, a: Value, b: Value) -> Value:
        return np.left_shift(a, b)

    def shift_right(self, a: Value, b: Value) -> Value:
        return np.right_shift(a, b)

    def bit_cast(self, x: Value, to: Attribute) -> Value:
        return x.view(numpy_dtype(to))

    def cast(self, x: Value, to: Attribute) -> Value:
        dtype = numpy_dtype(to)
        return np.not_equal(x, 0) if dtype == np.bool_ else x.astype(dtype)


def compute_dtype(element: Attribute) -> Attribute:
    """The type arithmetic is done in: half-precision types are storage only and compute in f32."""
    from penstock.compiler.dtypes import BF16, F16, F32

    return F32 if is_float(element) and element in (F16, BF16) else element
