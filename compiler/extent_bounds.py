"""The least and greatest value of a symbolic extent over all sizes of its symbols.

In: an extent. Out: numbers that it never leaves, infinite where nothing is known. The one idea: intervals of the terms
add up, but forget that a symbol is the same in all of them; so four rewritings are bounded as well in which what can
cancel does: floor divisions relaxed, maxima and minima replaced by an operand, symbols split by their residues, and
factors counted from their least values.
"""

from __future__ import annotations

import math
from functools import cache

from penstock.compiler.extents import (
    MOST,
    Atom,
    Dim,
    Extent,
    Extremum,
    Monomial,
    Quotient,
    Symbol,
    bounds,
    is_static,
    substitute,
    symbol,
    symbols_of,
)

MOST_RESIDUES = 64
MOST_EXTREMA = 3
MOST_CHOSEN = 3
"""How many maxima and minima are replaced by operands, one after the other: each multiplies what is to be bounded."""
MOST_FACTORS, MOST_TERMS = 6, 32


def bounds_of(dim: Dim) -> tuple[float, float]:
    """(lowest, highest) value, or further apart."""
    return _bounds(dim, MOST_CHOSEN)


@cache
def _bounds(extent: Extent, left: int) -> tuple[float, float]:
    """The same, with ``left`` extrema still to be replaced."""
    if not isinstance(extent, Dim):
        return extent, extent
    dim = extent
    low, high = _interval(dim)
    # floor(n / d) lies in [(n - d + 1) / d, n / d]: where a multiple of d is added, what n is made of may cancel.
    for relax in (_relax, _relax_all):
        below, above = relax(dim, lower=True), relax(dim, lower=False)
        low = low if below is None else max(low, -_floor(-_bounds(below[0], left)[0], below[1]))
        high = high if above is None else min(high, _floor(_bounds(above[0], left)[1], above[1]))
    low, high = (
        max(low, _shifted(dim)),
        min(high, -_shifted(Dim(tuple((atoms, -factor) for atoms, factor in dim.terms)))),
    )
    if left:
        low = max(low, _chosen(dim, left - 1, lower=True))
        high = min(high, _chosen(dim, left - 1, lower=False))
    exact = _by_residues(dim)
    return (low, high) if exact is None else (max(low, exact[0]), min(high, exact[1]))


def _shifted(dim: Dim) -> float:
    """A lower bound with every factor f of a product as low + f', f' >= 0: in a*b - a, b's least value cancels."""
    factors = {atom for monomial, _ in dim.terms for atom in monomial}
    long = len(factors) > MOST_FACTORS or len(dim.terms) > MOST_TERMS
    if long or all(len(monomial) < 2 for monomial, _ in dim.terms):
        return -math.inf
    lows = {atom: _atom_bounds(atom) for atom in factors}
    if any(low == -math.inf for low, _ in lows.values()):
        return -math.inf
    total: Extent = 0
    for monomial, factor in dim.terms:
        product: Extent = factor
        for atom in monomial:
            low, high = lows[atom]
            reach = MOST**4 if high == math.inf else int(high - low)
            product = product * (symbol(f"{atom}'", 0, reach) + int(low))
        total = total + product
    return _interval(total)[0] if isinstance(total, Dim) else total


def _chosen(dim: Dim, left: int, *, lower: bool) -> float:
    """A bound with one maximum or minimum replaced by its operands. Where it is never above (``lower``) or below each,
    the best of them holds: n - min(m, n) is at least n - m and n - n; else the worst does, as it is always one of them:
    n - max(0, n - 5) is at least n or 5."""
    found = -math.inf if lower else math.inf
    if sum(isinstance(atom, Extremum) for monomial, _ in dim.terms for atom in monomial) > MOST_EXTREMA:
        return found
    for monomial, factor in dim.terms:
        at = next((i for i, atom in enumerate(monomial) if isinstance(atom, Extremum)), None)
        if at is None:
            continue
        extremum, rest = monomial[at], monomial[:at] + monomial[at + 1 :]
        assert isinstance(extremum, Extremum)
        if any(_atom_bounds(atom)[0] < 0 for atom in rest):
            continue
        others = dim - Dim(((monomial, factor),))
        times: Extent = Dim(((rest, factor),)) if rest else factor
        ends = [_bounds(others + times * operand, left)[0 if lower else 1] for operand in extremum.operands]
        every = ((factor > 0) == lower) == (extremum.kind == "max")
        found = max(found, (max if every else min)(ends)) if lower else min(found, (min if every else max)(ends))
    return found


def _by_residues(dim: Dim) -> tuple[float, float] | None:
    """Bounds of an expression with several floor divisions by numbers of one symbol n each: with n = m k + r, m a
    common multiple of the divisors, every division is exact but for a number, so for each r they cancel as they can."""
    quotients = {atom for monomial, _ in dim.terms for atom in monomial if isinstance(atom, Quotient)}
    if len(quotients) < 2 - any(len(quotient.numerator.terms) > 1 for quotient in quotients):
        return None
    inner = {symbol for quotient in quotients for symbol in symbols_of(quotient.numerator)}
    divisors = [quotient.divisor for quotient in quotients]
    if len(inner) != 1 or not is_static(divisors) or math.lcm(*divisors) > MOST_RESIDUES:
        return None
    (n,), m = inner, math.lcm(*divisors)
    found: list[tuple[float, float]] = []
    for residue in range(m):
        least, most = -((residue - n.low) // m), (n.high - residue) // m
        if least <= most:
            times = symbol(f"{n.name}.{m}", least, most)
            part = substitute(dim, {n: m * times + residue})
            found.append(_interval(part) if isinstance(part, Dim) else (part, part))
    return min(low for low, _ in found), max(high for _, high in found)


def _interval(dim: Dim) -> tuple[float, float]:
    low: float = 0
    high: float = 0
    for monomial, factor in dim.terms:
        first, last = _product_bounds(monomial)
        ends = sorted((_times(first, factor), _times(last, factor)))
        low, high = _plus(low, ends[0]), _plus(high, ends[1])
    return low, high


def _product_bounds(monomial: Monomial) -> tuple[float, float]:
    low: float = 1
    high: float = 1
    for atom in monomial:
        first, last = _atom_bounds(atom)
        ends = [_times(a, b) for a in (low, high) for b in (first, last)]
        low, high = min(ends), max(ends)
    return low, high


def _times(a: float, b: float) -> float:
    return 0 if 0 in (a, b) else a * b


def _plus(a: float, b: float) -> float:
    return b if a == 0 else a if b == 0 else a + b


def _atom_bounds(atom: Atom) -> tuple[float, float]:
    match atom:
        case Symbol():
            return atom.low, atom.high
        case Quotient():
            (low, high), (least, most) = bounds(atom.numerator), bounds(atom.divisor)
            ends = [_floor(a, b) for a in (low, high) for b in (max(least, 1), most)]
            return min(ends), max(ends)
        case Extremum():
            each = [bounds(operand) for operand in atom.operands]
            chosen = max if atom.kind == "max" else min
            return chosen(low for low, _ in each), chosen(high for _, high in each)


def _floor(a: float, b: float) -> float:
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == float("inf"):
        return 0 if a >= 0 else -1
    return a


def _relax(dim: Dim, *, lower: bool) -> tuple[Extent, int] | None:
    """(an extent without one of the floor divisions by a number, 1), never above (``lower``) or below ``dim``."""
    for monomial, factor in dim.terms:
        if len(monomial) != 1 or not isinstance(monomial[0], Quotient):
            continue
        numerator, divisor = monomial[0].numerator, monomial[0].divisor
        if isinstance(divisor, Dim) or factor % divisor:
            continue
        rest = dim - Dim(((monomial, factor),))
        above = numerator * (factor // divisor)
        below = (numerator - (divisor - 1)) * (factor // divisor)
        return rest + (below if (factor > 0) == lower else above), 1
    return None


def _relax_all(dim: Dim, *, lower: bool) -> tuple[Extent, int] | None:
    """(extent, number) without floor divisions by numbers, whose quotient is never above (``lower``) or below ``dim``:
    as each division alone may leave a fraction, all of ``dim`` is taken times a common multiple of the divisors."""
    divided: dict[Monomial, Quotient] = {
        monomial: monomial[0]
        for monomial, _ in dim.terms
        if len(monomial) == 1 and isinstance(monomial[0], Quotient) and not isinstance(monomial[0].divisor, Dim)
    }
    if len(divided) < 2:
        return None
    scale = math.lcm(*(each.divisor for each in divided.values()))
    total: Extent = 0
    for monomial, factor in dim.terms:
        if monomial not in divided:
            total = total + Dim(((monomial, factor * scale),))
            continue
        numerator, divisor = divided[monomial].numerator, divided[monomial].divisor
        reach = numerator - (divisor - 1) if (factor > 0) == lower else numerator
        total = total + reach * (factor * (scale // divisor))
    return total, scale
