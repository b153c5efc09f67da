"""Symbolic extents: what is known of a tensor's size when the model says ``batch`` instead of a number.

In: symbols with the range of values they may take at run time. Out: integer expressions of them, which stand wherever
an extent stands: they add, multiply, divide and compare as numbers do, in one canonical form, so that equal sizes are
equal values. The one idea: a comparison is decided for *every* size the symbols may take, or it raises
``Undecided``; nothing is ever guessed. Where lowering may choose by what can be shown, it asks ``surely``.

An expression is a polynomial whose variables are symbols, floor divisions and maxima or minima that did not simplify.
Its text is what types carry: ``tensor<?x?x768xf32, ["batch", "past + 1"]>`` (``extent_text`` reads it).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Self, TypeAlias, TypeGuard, cast

MOST = 2**31 - 1
"""The largest value a symbol without a declared range may take."""
MOST_RESIDUES = 16

if TYPE_CHECKING:
    # Wherever an extent is an int it may be symbolic: type checkers take a Dim for one. At run time it is none, so
    # whatever needs the number itself (range, indexing, numpy) fails at once instead of going on with a wrong one.
    Number = int
else:
    Number = object

Extent: TypeAlias = "int"
"""A number or a Dim."""


class Undecided(ValueError):
    """A comparison whose answer depends on the sizes a model is run with. The message is a sentence; ``sides`` are what
    was compared."""

    def __init__(self, message: str, sides: tuple[Extent, Extent] | None = None) -> None:
        super().__init__(message)
        self.sides = sides


class NotStatic(TypeError):
    """A number is needed where there is a symbolic extent. The message is a sentence."""


@dataclass(frozen=True)
class Symbol:
    """A size fixed at run time, within [low, high]."""

    name: str
    low: int = 1
    high: int = MOST

    def __str__(self) -> str:
        return self.name if (self.low, self.high) == (1, MOST) else f"{self.name}:{self.low}..{self.high}"


@dataclass(frozen=True)
class Quotient:
    """floor(numerator / divisor), divisor >= 1, that has no simpler form."""

    numerator: Dim
    divisor: Extent

    def __str__(self) -> str:
        return f"{_grouped(self.numerator)} floordiv {_grouped(self.divisor)}"


@dataclass(frozen=True)
class Extremum:
    """The largest (``max``) or smallest (``min``) of several extents, in order of their text."""

    kind: str
    operands: tuple[Extent, ...]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, self.operands))})"


Atom: TypeAlias = "Symbol | Quotient | Extremum"
Monomial: TypeAlias = "tuple[Atom, ...]"  # factors in order of their text, repeated for powers


class Dim(Number):
    """A symbolic extent: a sum of integer multiples of products of atoms. Built by arithmetic on ``symbol``s."""

    terms: tuple[tuple[Monomial, int], ...]

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms

    def __new__(cls, terms: tuple[tuple[Monomial, int], ...]) -> Self:
        return object.__new__(cls)

    # Identity --------------------------------------------------------------------------------------------------------

    @cached_property
    def text(self) -> str:
        """The canonical text, which ``parse`` reads."""
        parts: list[str] = []
        for monomial, factor in self.terms:
            sign = "-" if factor < 0 else "+"
            number = [] if abs(factor) == 1 and monomial else [str(abs(factor))]
            factors = [
                f"({a})" if isinstance(a, Quotient) and (number or len(self.terms) + len(monomial) > 2) else str(a)
                for a in monomial
            ]
            body = "*".join(number + factors)
            parts.append((f"-{body}" if sign == "-" else body) if not parts else f" {sign} {body}")
        return "".join(parts)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __ne__(self, other: object) -> bool:
        return not self == other

    # Arithmetic ------------------------------------------------------------------------------------------------------

    def __add__(self, other: Extent) -> Extent:
        return _sum((*self.terms, *_terms(other)))

    __radd__ = __add__

    def __neg__(self) -> Extent:
        return Dim(tuple((monomial, -factor) for monomial, factor in self.terms))

    def __pos__(self) -> Extent:
        return self

    def __sub__(self, other: Extent) -> Extent:
        return self + -other

    def __rsub__(self, other: Extent) -> Extent:
        return -self + other

    def __mul__(self, other: Extent) -> Extent:
        if isinstance(other, list | tuple):  # pyright: ignore[reportUnnecessaryIsInstance] as in [0] * rank
            return NotImplemented
        if not isinstance(other, Dim):
            number = _whole(other)
            return Dim(tuple((monomial, factor * number) for monomial, factor in self.terms)) if number else 0
        return _sum((tuple(sorted((*a, *b), key=str)), x * y) for a, x in self.terms for b, y in other.terms)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> float:
        raise self._no_number()

    __rtruediv__ = __truediv__

    def __floordiv__(self, divisor: Extent) -> Extent:
        return floordiv(self, divisor)

    def __rfloordiv__(self, numerator: Extent) -> Extent:
        return floordiv(numerator, self)

    def __mod__(self, divisor: Extent) -> Extent:
        return self - divisor * floordiv(self, divisor)

    def __rmod__(self, numerator: Extent) -> Extent:
        return numerator - self * floordiv(numerator, self)

    def __divmod__(self, divisor: Extent) -> tuple[Extent, Extent]:
        return self // divisor, self % divisor

    def __abs__(self) -> Extent:
        return self if self >= 0 else -self

    # Order -----------------------------------------------------------------------------------------------------------

    def __lt__(self, other: Extent) -> bool:
        return _decide(self, "<", other)

    def __le__(self, other: Extent) -> bool:
        return not _decide(other, "<", self)

    def __gt__(self, other: Extent) -> bool:
        return _decide(other, "<", self)

    def __ge__(self, other: Extent) -> bool:
        return not _decide(self, "<", other)

    def __bool__(self) -> bool:
        low, high = bounds(self)
        if low > 0 or high < 0:
            return True
        raise Undecided(f"whether {self} is zero depends on the sizes the model is run with", (self, 0))

    def __index__(self) -> int:
        raise self._no_number()

    def _no_number(self) -> NotStatic:
        return NotStatic(f"the extent {self} is known only at run time")

    __int__ = __float__ = __index__  # type: ignore[assignment]

    # Use -------------------------------------------------------------------------------------------------------------

    def symbols(self) -> frozenset[Symbol]:
        """The symbols the value depends on."""
        return frozenset(symbol for monomial, _ in self.terms for atom in monomial for symbol in _symbols_of(atom))


def symbol(name: str, low: int = 1, high: int = MOST) -> Extent:
    """The extent called ``name``, in [low, high]; the number itself where there is only one."""
    return low if low == high else Dim((((Symbol(name, low, high),), 1),))


def is_number(value: object) -> TypeGuard[int]:
    """True for a number, False for a symbolic extent or anything else."""
    return isinstance(value, int) and not isinstance(value, Dim)


def is_static(extents: Iterable[Extent]) -> bool:
    """True if every extent is a number."""
    return not any(isinstance(extent, Dim) for extent in extents)


def symbols_of(extent: Extent) -> frozenset[Symbol]:
    """The symbols an extent depends on; none for a number."""
    return extent.symbols() if isinstance(extent, Dim) else frozenset()


def floordiv(numerator: Extent, divisor: Extent) -> Extent:
    """floor(numerator / divisor), divisor >= 1."""
    if not isinstance(divisor, Dim):
        if divisor == 1:
            return numerator
        if divisor < 0:
            return floordiv(-numerator, -divisor)
        if not isinstance(numerator, Dim):
            return numerator // divisor
    return _floordiv(numerator, divisor)


@cache
def _floordiv(numerator: Extent, divisor: Extent) -> Extent:
    exact = quotient(numerator, divisor)
    if exact is not None:
        return exact
    whole, rest = split(numerator, divisor)
    if not isinstance(divisor, Dim):
        least, most = bounds(rest)
        if isinstance(least, int) and isinstance(most, int) and least // divisor == most // divisor:
            return whole + least // divisor
    elif surely(rest, ">=", 0) and surely(rest, "<", divisor):
        return whole
    elif surely(rest, "<", 0) and surely(-rest, "<=", divisor):
        return whole - 1
    if not isinstance(rest, Dim):
        rest = Dim((((), rest),))
    inner, shift = _quotient_and_constant(rest)
    if inner is not None:  # floor((floor(n / a) + c) / b) = floor((n + a c) / (a b))
        return whole + floordiv(inner.numerator + inner.divisor * shift, inner.divisor * divisor)
    if not isinstance(divisor, Dim) and rest.terms[0][1] < 0:
        return whole - floordiv(-rest + (divisor - 1), divisor)  # floor(-x / d) = -ceil(x / d)
    return whole + Dim((((Quotient(rest, divisor),), 1),))


def _quotient_and_constant(extent: Dim) -> tuple[Quotient | None, int]:
    """(q, c) if ``extent`` is q + c for one floor division q."""
    (first, factor), *others = extent.terms
    if factor != 1 or len(first) != 1 or not isinstance(first[0], Quotient) or any(m for m, _ in others):
        return None, 0
    return first[0], sum(c for _, c in others)


def ceildiv(numerator: Extent, divisor: Extent) -> Extent:
    """ceil(numerator / divisor), divisor >= 1."""
    return floordiv(numerator + (divisor - 1), divisor)


def quotient(numerator: Extent, divisor: Extent) -> Extent | None:
    """numerator / divisor if that is exact for every size, else None (polynomial division)."""
    if not isinstance(numerator, Dim) and not isinstance(divisor, Dim):
        return numerator // divisor if divisor and numerator % divisor == 0 else None
    return _quotient(numerator, divisor)


@cache
def _quotient(numerator: Extent, divisor: Extent) -> Extent | None:
    rest, result = numerator, 0
    leading, by = _terms(divisor)[0]
    for _ in range(64):
        if not isinstance(rest, Dim) and rest == 0:
            return result
        monomial, factor = _terms(rest)[0]
        remaining = _cancel(monomial, leading)
        if remaining is None or factor % by:
            return None
        step = _sum([(remaining, factor // by)])
        result, rest = result + step, rest - step * divisor
    return None


def split(numerator: Extent, divisor: Extent) -> tuple[Extent, Extent]:
    """(whole, rest) with numerator = divisor * whole + rest: what can be divided term by term; divmod for numbers."""
    if not isinstance(numerator, Dim) and not isinstance(divisor, Dim):
        return divmod(numerator, divisor)
    divisors = _terms(divisor)
    if len(divisors) > 1:
        return 0, numerator
    by, unit = next(iter(divisors))
    whole: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for monomial, factor in _terms(numerator):
        remaining = _cancel(monomial, by)
        if remaining is None:
            rest.append((monomial, factor))
            continue
        # A constant leaves its remainder, so that (n + 64) floordiv 64 is n floordiv 64 + 1; other terms stay whole.
        exact = factor - factor % unit if not monomial or factor % unit == 0 else 0
        whole.append((remaining, exact // unit))
        rest.append((monomial, factor - exact))
    return _sum(whole), _sum(rest)


def largest(*extents: Extent) -> Extent:
    """The maximum, symbolic where the order depends on the sizes."""
    return extremum("max", extents)


def smallest(*extents: Extent) -> Extent:
    """The minimum, symbolic where the order depends on the sizes."""
    return extremum("min", extents)


def surely(a: Extent, relation: str, b: Extent) -> bool:
    """True if ``a relation b`` (one of < <= > >=) holds for every size the symbols may take."""
    difference = b - a if relation in ("<", "<=") else a - b
    low, _ = bounds(difference)
    return low > 0 if relation in ("<", ">") else low >= 0


def surely_differ(a: Extent, b: Extent) -> bool:
    """True if two extents are equal for no size."""
    return surely(a, "<", b) or surely(a, ">", b)


def bounds(extent: Extent) -> tuple[float, float]:
    """(lowest, highest) value over all sizes of the symbols; infinite where nothing is known. Exact for numbers."""
    if not isinstance(extent, Dim):
        return extent, extent
    from penstock.compiler.extent_bounds import bounds_of

    return bounds_of(extent)


def evaluate(extent: Extent, sizes: Mapping[str, int]) -> int:
    """The number an extent is when its symbols have these ``sizes``. Raises KeyError for a symbol without one."""
    if not isinstance(extent, Dim):
        return extent
    total = 0
    for monomial, factor in extent.terms:
        for atom in monomial:
            factor *= _evaluate_atom(atom, sizes)
        total += factor
    return total


TYPICAL = 128
"""The size estimates of cost assume for a symbol, where its range allows that."""


def typical(extent: Extent) -> int:
    """The value at typical sizes; for estimates only."""
    if not isinstance(extent, Dim):
        return extent
    return evaluate(extent, {s.name: min(max(TYPICAL, s.low), s.high) for s in extent.symbols()})


def tile_width(extent: Extent, most: int) -> int:
    """How many neighbours along an axis of ``extent`` to take at once: ``most``, or fewer where there never are so
    many."""
    return int(max(1, min(bounds(extent)[1], most)))


def substitute(extent: Extent, values: Mapping[Symbol, Extent]) -> Extent:
    """The extent with symbols replaced by other extents."""
    if not isinstance(extent, Dim) or not extent.symbols() & values.keys():
        return extent
    total: Extent = 0
    for monomial, factor in extent.terms:
        product: Extent = factor
        for atom in monomial:
            product = product * _substitute_atom(atom, values)
        total = total + product
    return total


def told_symbol(extent: Extent) -> Symbol | None:
    """The symbol whose size an extent is, if it has any: the symbol itself, or a symbol h as m (h floordiv m), m a
    number or another symbol."""
    symbol = lone_symbol(extent)
    if symbol is not None or not isinstance(extent, Dim) or len(extent.terms) != 1:
        return symbol
    ((monomial, _),) = extent.terms
    for atom in monomial:
        if isinstance(atom, Quotient) and (is_number(atom.divisor) or lone_symbol(atom.divisor)):
            told = lone_symbol(atom.numerator)
            return told if told is not None and extent == atom.divisor * Dim((((atom,), 1),)) else None
    return None


def lone_symbol(extent: Extent) -> Symbol | None:
    """The symbol that an extent is, if it is one."""
    if not isinstance(extent, Dim) or len(extent.terms) != 1:
        return None
    ((monomial, factor),) = extent.terms
    atom = monomial[0] if factor == 1 and len(monomial) == 1 else None
    return atom if isinstance(atom, Symbol) else None


# Canonical form ------------------------------------------------------------------------------------------------------


def _terms(extent: Extent) -> tuple[tuple[Monomial, int], ...]:
    return extent.terms if isinstance(extent, Dim) else (((), _whole(extent)),)


def _whole(number: object) -> int:
    """A number that extents can be added to and multiplied with."""
    if isinstance(number, float):
        raise NotStatic(f"{number} is no whole number: arithmetic with fractions needs numbers, not symbolic extents")
    return operator.index(cast("int", number))


def _sum(terms: Iterable[tuple[Monomial, int]]) -> Extent:
    factors: dict[Monomial, int] = {}
    for monomial, factor in terms:
        factors[monomial] = factors.get(monomial, 0) + factor
    present = [(monomial, factor) for monomial, factor in factors.items() if factor]
    if not present:
        return 0
    if len(present) == 1 and not present[0][0]:
        return present[0][1]
    return Dim(tuple(sorted(present, key=_rank)))


def _rank(term: tuple[Monomial, int]) -> tuple[int, str]:
    return -len(term[0]), _text_of(term[0])


@cache
def _text_of(monomial: Monomial) -> str:
    return "*".join(map(str, monomial))


def _cancel(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    """``monomial`` without the factors of ``divisor``; None if it lacks one."""
    left = list(monomial)
    for atom in divisor:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def extremum(kind: str, extents: tuple[Extent, ...]) -> Extent:
    """The largest (``kind`` max) or smallest (min) of ``extents``."""
    relation = ">=" if kind == "max" else "<="
    kept: list[Extent] = []
    for extent in extents:
        for each in _operands(kind, extent):
            if any(surely(other, relation, each) for other in kept):
                continue
            kept = [other for other in kept if not surely(each, relation, other)] + [each]
    if len(kept) == 1:
        return kept[0]
    return Dim((((Extremum(kind, tuple(sorted(kept, key=str))),), 1),))


def _operands(kind: str, extent: Extent) -> tuple[Extent, ...]:
    if isinstance(extent, Dim) and len(extent.terms) == 1:
        ((monomial, factor),) = extent.terms
        if factor == 1 and len(monomial) == 1 and isinstance(monomial[0], Extremum) and monomial[0].kind == kind:
            return monomial[0].operands
    return (extent,)


# Deciding -------------------------------------------------------------------------------------------------------------


def _decide(a: Extent, relation: str, b: Extent) -> bool:
    if surely(a, relation, b):
        return True
    if surely(a, ">=", b):
        return False
    raise Undecided(f"whether {a} is less than {b} depends on the sizes the model is run with", (a, b))


# Atoms ---------------------------------------------------------------------------------------------------------------


def _symbols_of(atom: Atom) -> Iterator[Symbol]:
    match atom:
        case Symbol():
            yield atom
        case Quotient():
            yield from symbols_of(atom.numerator) | symbols_of(atom.divisor)
        case Extremum():
            for operand in atom.operands:
                yield from symbols_of(operand)


def _evaluate_atom(atom: Atom, sizes: Mapping[str, int]) -> int:
    match atom:
        case Symbol():
            return sizes[atom.name]
        case Quotient():
            return evaluate(atom.numerator, sizes) // evaluate(atom.divisor, sizes)
        case Extremum():
            return (max if atom.kind == "max" else min)(evaluate(operand, sizes) for operand in atom.operands)


def _substitute_atom(atom: Atom, values: Mapping[Symbol, Extent]) -> Extent:
    match atom:
        case Symbol():
            return values.get(atom, Dim((((atom,), 1),)))
        case Quotient():
            return floordiv(substitute(atom.numerator, values), substitute(atom.divisor, values))
        case Extremum():
            return extremum(atom.kind, tuple(substitute(operand, values) for operand in atom.operands))


def _grouped(extent: Extent) -> str:
    return f"({extent})" if isinstance(extent, Dim) and not extent.text.replace("_", "").isalnum() else str(extent)
