"""Shape arithmetic on symbolic extents: what a graph op makes of a small tensor that holds ``batch`` among its numbers.

In: an op and arrays of its operands, some of dtype object with extents in them. Out: its results in the same form (a
plain array where only numbers are left), or None where a result cannot be told before the sizes are. The one idea:
moving elements needs no rule, since numpy moves objects as well; arithmetic is one table of functions of exact numbers,
and a comparison that the sizes decide makes its result unknown, never wrong.

Floating-point shape arithmetic (a scale times a size, floored) is done in exact fractions: for sizes below 2^24 that is
what rounding to f32 gives too. Integer arithmetic is taken not to wrap.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute

from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.index import Gather, GatherElements, GatherNd
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Concat, Expand, Reshape, Slice, Transpose
from penstock.compiler.dtypes import I1, is_float, numpy_dtype, shape_of
from penstock.compiler.extents import (
    Dim,
    Extent,
    NotStatic,
    Undecided,
    ceildiv,
    floordiv,
    is_static,
    largest,
    quotient,
    smallest,
    surely,
)

Array = NDArray[Any]
MAX_ELEMENTS = 1 << 10
MAX_DENOMINATOR = 1 << 12  # a scale is a simple fraction; 1/3 rounded to f32 is not
MOVING = (Concat, Expand, Gather, GatherElements, GatherNd, Reshape, Slice, Transpose)


class Unknown(Exception):
    """A value that depends on the sizes in a way no extent expresses."""


@dataclass(frozen=True)
class Share:
    """numerator / denominator, denominator > 1: a size times a scale."""

    numerator: Extent
    denominator: int


Exact: TypeAlias = "Extent | Share | Fraction | bool"


def is_symbolic(array: Array | None) -> bool:
    """True for an array with extents in it."""
    return array is not None and array.dtype == object


def show(array: Array) -> str:
    """An array of extents as sentences write it."""
    items = ", ".join(str(item) for item in array.reshape(-1)[:8])
    return f"[{items}]" if array.ndim else items


def evaluate(op: GraphOp, operands: Sequence[Array]) -> list[Array | None]:
    """The results of ``op`` on ``operands``, of which one at least holds symbolic extents."""
    unknown: list[Array | None] = [None] * len(op.results)
    static = all(is_static(shape_of(value.type)) for value in op.results)
    if not static or any(array.size > MAX_ELEMENTS for array in operands):
        return unknown
    try:
        return [_plain(_result(op, operands), element_of(op.out))]
    except (Unknown, Undecided, NotStatic):
        return unknown


def _plain(array: Array, element: Attribute) -> Array:
    """``array`` with a dtype of its own if only numbers are left in it."""
    if array.dtype == object and not any(isinstance(item, Dim | Share) for item in array.flat):
        return array.astype(numpy_dtype(element))
    return array


def _result(op: GraphOp, operands: Sequence[Array]) -> Array:
    if isinstance(op, MOVING):
        if isinstance(op, Gather | GatherElements | GatherNd) and is_symbolic(operands[1]):
            raise Unknown
        return np.asarray(op.evaluate(*operands))
    if isinstance(op, Reduce):
        return _reduced(op, operands[0])
    name = op.name.removeprefix("graph.")
    element = element_of(op.operands[-1])
    table = FRACTIONS if is_float(element) else WHOLE
    formula = table.get(name) or COMMON.get(name)
    if name == "cast":
        formula = _cast(element, element_of(op.out))
    if formula is None or (name == "mod" and getattr(op, "fmod", False)):
        raise Unknown
    arrays = [np.asarray(array, object) for array in operands]
    wide = np.broadcast_arrays(*arrays)
    result = np.empty(wide[0].shape, object)
    for place in np.ndindex(result.shape):
        result[place] = formula(*(_exact(array[place]) for array in wide))
    return result


def _reduced(op: Reduce, array: Array) -> Array:
    step: Callable[[Any, Any], Any] | None = {
        "sum": _add, "prod": _multiply, "max": _maximum, "min": _minimum,
    }.get(op.kind)  # fmt: skip
    if step is None or array.size == 0:
        raise Unknown
    kept = [axis for axis in range(array.ndim) if axis not in op.axes]
    rows = array.transpose([*kept, *op.axes]).reshape(*(array.shape[axis] for axis in kept), -1)
    result = np.empty(rows.shape[:-1], object)
    for place in np.ndindex(result.shape):
        result[place] = reduce(step, map(_exact, rows[place]))
    return result.reshape(shape_of(op.out.type))


# Exact numbers -------------------------------------------------------------------------------------------------------


def _exact(item: Any) -> Any:
    """An element as an exact number: a Python int, a Dim, a Share, a Fraction, or a truth value."""
    if isinstance(item, Dim | Share | Fraction):
        return item
    if isinstance(item, bool | np.bool_):
        return bool(item)
    if isinstance(item, int | np.integer):
        return int(item)
    number = float(item)
    if not math.isfinite(number):
        raise Unknown
    exact = Fraction(number)
    return exact.numerator if exact.denominator == 1 else exact


def _share(numerator: Extent, denominator: int) -> Any:
    """numerator / denominator in its simplest form."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    if not isinstance(numerator, Dim):
        exact = Fraction(numerator, denominator)
        return exact.numerator if exact.denominator == 1 else exact
    whole = quotient(numerator, denominator)
    if whole is not None:
        return whole
    if denominator > MAX_DENOMINATOR:
        raise Unknown
    common = math.gcd(denominator, *(factor for _, factor in numerator.terms))
    return Share(floordiv(numerator, common), denominator // common)


def _parts(value: Any) -> tuple[Extent, int]:
    if isinstance(value, Share | Fraction):
        return value.numerator, value.denominator
    return value, 1


def _add(a: Any, b: Any) -> Any:
    (x, p), (y, q) = _parts(a), _parts(b)
    return _share(x * q + y * p, p * q)


def _subtract(a: Any, b: Any) -> Any:
    return _add(a, _negate(b))


def _negate(a: Any) -> Any:
    x, p = _parts(a)
    return _share(-x, p)


def _multiply(a: Any, b: Any) -> Any:
    (x, p), (y, q) = _parts(a), _parts(b)
    return _share(x * y, p * q)


def _divide(a: Any, b: Any) -> Any:
    """Of floating-point numbers."""
    (x, p), (y, q) = _parts(a), _parts(b)
    if isinstance(y, Dim):
        whole = quotient(x * q, y * p)
        if whole is None:
            raise Unknown
        return whole
    if y == 0:
        raise Unknown
    return _share(x * q, p * y)


def _truncated(a: Any, b: Any) -> Any:
    """Division of integers, towards zero."""
    if not surely(b, ">=", 1):
        if not surely(b, "<=", -1):
            raise Unknown
        a, b = -a, -b
    if surely(a, ">=", 0):
        return floordiv(a, b)
    if surely(a, "<=", 0):
        return -floordiv(-a, b)
    raise Unknown


def _modulo(a: Any, b: Any) -> Any:
    if not surely(b, ">=", 1):
        raise Unknown
    return a - b * floordiv(a, b)


def _relu(a: Any) -> Any:
    return _maximum(a, 0)


def _inverse(a: Any) -> Any:
    return _divide(1, a)


def _unequal(a: Any, b: Any) -> bool:
    return not _equal(a, b)


def _at_most(a: Any, b: Any) -> bool:
    return _at_least(b, a)


def _less(a: Any, b: Any) -> bool:
    return not _at_least(a, b)


def _greater(a: Any, b: Any) -> bool:
    return not _at_least(b, a)


def _power(a: Any, b: Any) -> Any:
    if isinstance(b, Dim) or not isinstance(b, int) or not 0 <= b <= 4:
        raise Unknown
    return reduce(_multiply, [a] * b, 1)


def _maximum(a: Any, b: Any) -> Any:
    if isinstance(a, Share | Fraction) or isinstance(b, Share | Fraction):
        return a if _at_least(a, b) else b
    return largest(a, b)


def _minimum(a: Any, b: Any) -> Any:
    if isinstance(a, Share | Fraction) or isinstance(b, Share | Fraction):
        return b if _at_least(a, b) else a
    return smallest(a, b)


def _at_least(a: Any, b: Any) -> bool:
    """a >= b. Raises Undecided."""
    (x, p), (y, q) = _parts(a), _parts(b)
    return x * q >= y * p


def _equal(a: Any, b: Any) -> bool:
    (x, p), (y, q) = _parts(a), _parts(b)
    x, y = x * q, y * p
    if x == y:
        return True
    if surely(x, "<", y) or surely(x, ">", y):
        return False
    raise Unknown


def _absolute(a: Any) -> Any:
    return a if _at_least(a, 0) else _negate(a)


def _sign(a: Any) -> Any:
    return 1 if not _at_least(0, a) else 0 if _equal(a, 0) else -1


def _floor(a: Any) -> Any:
    x, p = _parts(a)
    return floordiv(x, p)


def _ceil(a: Any) -> Any:
    x, p = _parts(a)
    return ceildiv(x, p)


def _round(a: Any) -> Any:
    if isinstance(a, Share):
        raise Unknown  # halves go to the even neighbour
    return round(a) if isinstance(a, Fraction) else a


def _root(a: Any) -> Any:
    if isinstance(a, Dim | Share):
        raise Unknown
    return _exact(math.sqrt(a))


def _select(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


def _cast(source: Attribute, target: Attribute) -> Callable[[Any], Any]:
    if target == I1:
        return lambda a: not _equal(a, 0)
    if is_float(source) and not is_float(target):
        return lambda a: _floor(a) if _at_least(a, 0) else _negate(_floor(_negate(a)))
    return lambda a: int(a) if isinstance(a, bool) else a


COMMON: dict[str, Callable[..., Any]] = {
    "add": _add, "sub": _subtract, "mul": _multiply, "neg": _negate, "max": _maximum, "min": _minimum,
    "abs": _absolute, "sign": _sign, "pow": _power, "relu": _relu,
    "eq": _equal, "ne": _unequal, "ge": _at_least, "le": _at_most, "lt": _less, "gt": _greater,
    "select": _select, "not": operator.not_, "and": operator.and_, "or": operator.or_, "xor": operator.xor,
}  # fmt: skip
WHOLE: dict[str, Callable[..., Any]] = {"div": _truncated, "mod": _modulo}
FRACTIONS: dict[str, Callable[..., Any]] = {
    "div": _divide, "floor": _floor, "ceil": _ceil, "round": _round, "sqrt": _root,
    "reciprocal": _inverse,
}  # fmt: skip
