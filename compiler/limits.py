"""How large an extent can become: bounds that are extents again.

In: an extent and, for some of its symbols, the most each can be. Out: an extent without them that is never smaller.
The one idea: memory for what is counted when a model runs is laid out before it is counted, so its size is replaced by
the size it has where every part of it is at its limit: at the top where it is added, at the bottom where it is taken
away.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.compiler.extents import (
    Atom,
    Dim,
    Extent,
    Extremum,
    Quotient,
    Symbol,
    bounds,
    floordiv,
    largest,
    smallest,
    surely,
    symbols_of,
)


def at_most(extent: Extent, most: Mapping[Symbol, Extent]) -> Extent:
    """An extent without the symbols of ``most`` that is never below ``extent`` while each of them is between its lowest
    value and what ``most`` gives for it."""
    return _limit(extent, most, upper=True)


def _limit(extent: Extent, most: Mapping[Symbol, Extent], *, upper: bool) -> Extent:
    if not isinstance(extent, Dim) or not symbols_of(extent) & most.keys():
        return extent
    total: Extent = 0
    for monomial, factor in extent.terms:
        total = total + _limit_term(monomial, factor, most, upper=upper)
    return total


def _limit_term(monomial: tuple[Atom, ...], factor: int, most: Mapping[Symbol, Extent], *, upper: bool) -> Extent:
    """The limit of a product: each factor at the limit that takes it there; numbers where signs are not known."""
    known = tuple(atom for atom in monomial if not symbols_of(_lone(atom)) & most.keys())
    counted = [atom for atom in monomial if symbols_of(_lone(atom)) & most.keys()]
    part: Extent = Dim(((known, factor),)) if known else factor
    if not counted:
        return part
    positive = surely(part, ">=", 0)
    if not (positive or surely(part, "<=", 0)) or (
        len(counted) > 1 and any(bounds(_lone(atom))[0] < 0 for atom in counted)
    ):
        low, high = bounds(Dim(((monomial, factor),)))
        return int(high if upper else low)
    for atom in counted:
        part = part * _limit_atom(atom, most, upper=positive == upper)
    return part


def _lone(atom: Atom) -> Extent:
    return Dim((((atom,), 1),))


def _limit_atom(atom: Atom, most: Mapping[Symbol, Extent], *, upper: bool) -> Extent:
    match atom:
        case Symbol():
            return most[atom] if upper else atom.low
        case Quotient():
            numerator = _limit(atom.numerator, most, upper=upper)
            positive = surely(numerator, ">=", 0)
            if isinstance(atom.divisor, Dim) and not (positive or surely(numerator, "<", 0)):
                return int(bounds(_lone(atom))[1 if upper else 0])
            divisor = _limit(atom.divisor, most, upper=positive != upper)
            return floordiv(numerator, divisor if surely(divisor, ">=", 1) else 1)
        case Extremum():
            chosen = largest if atom.kind == "max" else smallest
            return chosen(*(_limit(operand, most, upper=upper) for operand in atom.operands))
