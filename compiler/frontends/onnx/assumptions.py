"""What a model takes for granted about its sizes: two names for one size, a sequence that fits into a table.

In: extents that an operator needs to be equal, or in some order, and that are not so for every size. Out: the weakest
simple assumption under which they are: a symbol replaced by what it must equal, a narrower range of a symbol, or an
equation to be checked whenever sizes are bound. The one idea: ONNX leaves a run whose sizes do not fit without meaning,
so compiling may take for granted that they do, if every run checks it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from xdsl.ir import Attribute, Block

from penstock.compiler.dialects.graph.base import GraphOp, require_extents, tensor_type
from penstock.compiler.dialects.graph.loop import blocks_of
from penstock.compiler.dtypes import shape_of
from penstock.compiler.extents import (
    MOST,
    Dim,
    Extent,
    Extremum,
    Quotient,
    Symbol,
    bounds,
    ceildiv,
    evaluate,
    floordiv,
    is_static,
    largest,
    quotient,
    smallest,
    surely,
    symbols_of,
    told_symbol,
)
from penstock.compiler.specialise import lone_symbol, rewrite_arguments, rewrite_op, set_type

Atom: TypeAlias = "Symbol | Quotient | Extremum"
MAX_CHOICES = 64
LIKELY_SIZES = (128, 64, 32, 16, 8, 4, 2, 1, 256, 512, 1024, 4096, 16384, 65536)
LARGEST_MULTIPLE = 64
LARGEST_NEEDED = 1 << 16  # no operator needs more elements than that along an axis


@dataclass
class Assumption:
    """``meaning`` of atoms: what replaces them everywhere. ``equal`` are the equations that do not follow from
    symbols having been replaced."""

    meaning: dict[Atom, Extent]
    equal: list[tuple[Extent, Extent]] = field(default_factory=list[tuple[Extent, Extent]])

    def of(self, extent: Extent) -> Extent:
        """``extent`` under the assumption."""
        return replaced(extent, self.meaning)


def assume_in(root: Block, assumption: Assumption) -> None:
    """Rewrite the extents of a graph's ops, those of loops' bodies too, and infer again what follows from them. Raises
    TypeRuleError where that cannot be."""
    types: dict[Attribute, Attribute] = {}
    blocks = blocks_of(root)
    for block in blocks:
        rewrite_arguments(block, assumption.of, types)
    for op in (op for block in blocks for op in block.ops):
        known = [value for value in (*op.operands, *op.results) if not is_static(shape_of(value.type))]
        rewrite_op(op, assumption.of, types)
        if known and isinstance(op, GraphOp):
            require_extents([tensor_type(result) for result in op.results])
            for result, kind in zip(op.results, op.infer(), strict=True):
                set_type(result, kind)


def agreement(a: Extent, b: Extent, order: Mapping[str, int]) -> Assumption | None:
    """The assumption under which ``a`` and ``b`` are equal; of two symbols the one earlier in ``order`` stays. None if
    they cannot be equal, or no simple assumption makes them."""
    extrema = [atom for atom in (*_atoms(a), *_atoms(b)) if isinstance(atom, Extremum)]
    meaning: dict[Atom, Extent] = {atom: _by_surplus(atom) for atom in extrema}
    if meaning and replaced(a, meaning) == replaced(b, meaning):
        return Assumption(meaning)  # they are equal for every size, as max(0, n - 4) + min(4, n) is n
    for chosen in _choices(a, b):
        x, y = _repeatedly(a, chosen), _repeatedly(b, chosen)
        if x == y:
            return _of_choice(chosen)
    return _solved(a, b, order) or _ones(a, b) or _multiples(a, b) or _quotients(a, b, order) or _factors(a, b, order)


def decision(a: Extent, b: Extent) -> Iterator[Assumption]:
    """Assumptions under which ``a`` < ``b`` is decided, one way or the other: ranges of single symbols made narrower,
    large sizes kept rather than small ones."""
    symbols = sorted(symbols_of(a) | symbols_of(b), key=lambda symbol: symbol.name)

    def decided(symbol: Symbol, low: int, high: int) -> bool:
        assumption = Assumption({symbol: _ranged(symbol, low, high)})
        x, y = assumption.of(a), assumption.of(b)
        return surely(x, "<", y) or surely(x, ">=", y)

    for symbol in symbols:
        low = _least(symbol.low, symbol.high, lambda low, of=symbol: decided(of, low, of.high))
        if low is not None and low <= LARGEST_NEEDED:
            yield Assumption({symbol: _ranged(symbol, low, symbol.high)})
    for symbol in symbols:
        drop = _least(0, symbol.high - symbol.low, lambda drop, of=symbol: decided(of, of.low, of.high - drop))
        if drop is not None and symbol.high - drop > symbol.low:
            yield Assumption({symbol: _ranged(symbol, symbol.low, symbol.high - drop)})


def _least(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The least number in [low, high] from which on ``holds`` is true, if it is for ``high``."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _ranged(symbol: Symbol, low: int, high: int) -> Extent:
    return low if low == high else Dim((((Symbol(symbol.name, low, high),), 1),))


# Replacing -----------------------------------------------------------------------------------------------------------


def replaced(extent: Extent, meaning: Mapping[Atom, Extent]) -> Extent:
    """``extent`` with atoms replaced, also inside of others."""
    if not isinstance(extent, Dim):
        return extent
    total: Extent = 0
    for monomial, factor in extent.terms:
        product: Extent = factor
        for atom in monomial:
            product = product * _replaced_atom(atom, meaning)
        total = total + product
    return total


def _replaced_atom(atom: Atom, meaning: Mapping[Atom, Extent]) -> Extent:
    if atom in meaning:
        return meaning[atom]
    match atom:
        case Symbol():
            return _lone(atom)
        case Quotient():
            return floordiv(replaced(atom.numerator, meaning), replaced(atom.divisor, meaning))
        case Extremum():
            return (largest if atom.kind == "max" else smallest)(*(replaced(each, meaning) for each in atom.operands))


def _lone(atom: Atom) -> Extent:
    return Dim((((atom,), 1),))


def _atoms(extent: Extent) -> Iterator[Atom]:
    """Every atom of ``extent``, those inside of others included."""
    if not isinstance(extent, Dim):
        return
    for monomial, _ in extent.terms:
        for atom in monomial:
            yield atom
            yield from _inside(atom)


def _inside(atom: Atom) -> Iterator[Atom]:
    match atom:
        case Symbol():
            return
        case Quotient():
            yield from itertools.chain(_atoms(atom.numerator), _atoms(atom.divisor))
        case Extremum():
            yield from itertools.chain.from_iterable(map(_atoms, atom.operands))


# A table that is long enough -----------------------------------------------------------------------------------------


def _choices(a: Extent, b: Extent) -> Iterator[dict[Atom, Extent]]:
    """For the maxima and minima in ``a`` and ``b``: each way to say which operand is the one. First what is so
    where all sizes are alike: other choices can make ``a`` and ``b`` equal too, but contradict each other."""
    extrema = [atom for atom in dict.fromkeys((*_atoms(a), *_atoms(b))) if isinstance(atom, Extremum)]
    if not extrema:
        return
    for size in LIKELY_SIZES:
        yield {atom: _chosen_at(atom, size) for atom in extrema}
    if math.prod(len(atom.operands) for atom in extrema) > MAX_CHOICES:
        return
    for operands in itertools.product(*(atom.operands for atom in extrema)):
        yield dict(zip(extrema, operands, strict=True))


def _chosen_at(extremum: Extremum, size: int) -> Extent:
    """The operand that is the maximum or minimum where every symbol is ``size``; of equal ones that of ``size`` - 1."""

    def value(operand: Extent, size: int) -> int:
        return evaluate(operand, {s.name: min(max(size, s.low), s.high) for s in symbols_of(operand)})

    chosen = max if extremum.kind == "max" else min
    return chosen(extremum.operands, key=lambda operand: (value(operand, size), value(operand, size - 1)))


def _repeatedly(extent: Extent, meaning: Mapping[Atom, Extent]) -> Extent:
    """``extent`` with atoms replaced until none is left: what replaces one may contain another."""
    for _ in range(len(meaning) + 1):
        extent = replaced(extent, meaning)
    return extent


def _of_choice(chosen: dict[Atom, Extent]) -> Assumption:
    meaning: dict[Atom, Extent] = {}
    equal: list[tuple[Extent, Extent]] = []
    for atom, operand in chosen.items():
        assert isinstance(atom, Extremum)
        meaning[atom] = _repeatedly(operand, chosen)
        narrowed = _limits(atom, operand)
        if narrowed is not None:
            meaning |= narrowed
            continue
        inner: dict[Atom, Extent] = {each: other for each, other in chosen.items() if each in set(_inside(atom))}
        whole = (largest if atom.kind == "max" else smallest)(*(_repeatedly(each, inner) for each in atom.operands))
        equal.append((whole, _repeatedly(operand, inner)))
    ranges: dict[Atom, Extent] = {atom: value for atom, value in meaning.items() if isinstance(atom, Symbol)}
    final: dict[Atom, Extent] = {atom: replaced(value, ranges) for atom, value in meaning.items()}
    pairs = [(replaced(x, ranges), replaced(y, ranges)) for x, y in equal]
    return Assumption(final | ranges, [(x, y) for x, y in pairs if x != y])


def _limits(atom: Extremum, chosen: Extent) -> dict[Atom, Extent] | None:
    """That ``chosen`` is the extremum as a narrower range of a symbol, if it is one and the others are numbers."""
    symbol = lone_symbol(chosen)
    others = [each for each in atom.operands if each != chosen]
    if symbol is None or any(isinstance(each, Dim) for each in others):
        return None
    low = max((symbol.low, *others)) if atom.kind == "max" else symbol.low
    high = min((symbol.high, *others)) if atom.kind == "min" else symbol.high
    return {symbol: _ranged(symbol, low, high)} if low <= high else None


def _by_surplus(extremum: Extremum) -> Extent:
    """The maximum or minimum of two extents by how much the one is more than the other, in one form for both: of x and
    y, x + max(0, y - x) and y - max(0, y - x), where y - x begins with a positive term."""
    if len(extremum.operands) != 2:
        return _lone(extremum)
    inner: dict[Atom, Extent] = {atom: _by_surplus(atom) for atom in _inside(extremum) if isinstance(atom, Extremum)}
    x, y = (replaced(operand, inner) for operand in extremum.operands)
    difference = y - x
    if isinstance(difference, Dim) and difference.terms[0][1] < 0:
        x, y, difference = y, x, -difference
    surplus = largest(0, difference)
    return x + surplus if extremum.kind == "max" else y - surplus


# Equal sizes ---------------------------------------------------------------------------------------------------------


def _solved(a: Extent, b: Extent, order: Mapping[str, int]) -> Assumption | None:
    """A symbol of a - b = 0 as an expression of the others."""
    difference = _without_common_factor(a - b)
    if not isinstance(difference, Dim):
        return None
    candidates = [
        (monomial[0], factor)
        for monomial, factor in difference.terms
        if len(monomial) == 1 and isinstance(monomial[0], Symbol) and abs(factor) == 1
    ]
    for symbol, factor in sorted(candidates, key=lambda item: -order.get(item[0].name, len(order))):
        rest = difference - factor * _lone(symbol)
        if symbol not in symbols_of(rest):
            found = _in_place_of(symbol, -rest if factor == 1 else rest)
            if found is not None:
                return found
    return None


def _ones(a: Extent, b: Extent) -> Assumption | None:
    """That a product of floor divisions of single symbols is 1, as where a pooled image is flattened: each of them is,
    since none is less, in the range of its symbol in which it is."""
    difference = _without_common_factor(a - b)
    if not isinstance(difference, Dim) or [factor for _, factor in difference.terms] not in ([1, -1], [-1, 1]):
        return None
    (product, _), (one, _) = difference.terms
    if one or any(bounds(_lone(atom))[0] < 1 for atom in product):
        return None
    meaning: dict[Atom, Extent] = {}
    for atom in product:
        inside = list(symbols_of(_lone(atom)))
        if not isinstance(atom, Quotient) or len(inside) != 1 or inside[0] in meaning:
            return None

        def is_one(drop: int, atom: Atom = atom, of: Symbol = inside[0]) -> bool:
            return _repeatedly(_lone(atom), {of: _ranged(of, of.low, of.high - drop)}) == 1

        drop = _least(0, inside[0].high - inside[0].low, is_one)
        if drop is None:
            return None
        meaning[inside[0]] = _ranged(inside[0], inside[0].low, inside[0].high - drop)
    return Assumption(meaning)


def _multiples(a: Extent, b: Extent) -> Assumption | None:
    """Symbols as multiples of a number m: what is halved and then doubled is itself again. A symbol h then stands as
    m (h floordiv m), which every run has to find where h is read. None where one of several symbols would have to be
    chosen."""
    divided = [atom for atom in (*_atoms(a), *_atoms(b)) if isinstance(atom, Quotient)]
    inside = {symbol for atom in divided for symbol in symbols_of(atom.numerator)}
    symbols = sorted(inside, key=lambda symbol: symbol.name)
    alone = [found for symbol in symbols if (found := _as_multiples(a, b, [symbol])) is not None]
    alone += [found for atom in dict.fromkeys(divided) if (found := _as_multiple_of_symbol(a, b, atom)) is not None]
    if len(alone) > 1:
        return None
    return alone[0] if alone else _as_multiples(a, b, symbols)


def _as_multiple_of_symbol(a: Extent, b: Extent, atom: Quotient) -> Assumption | None:
    """That a symbol h is a multiple of the symbol n that divides it in ``atom``, as heads that share keys are of those
    of the keys: n (h floordiv n)."""
    symbol, by = lone_symbol(atom.numerator), lone_symbol(atom.divisor)
    if symbol is None or by is None or by.low < 1:
        return None
    meaning: dict[Atom, Extent] = {symbol: atom.divisor * _lone(atom)}
    return Assumption(meaning) if replaced(a, meaning) == replaced(b, meaning) else None


def _quotients(a: Extent, b: Extent, order: Mapping[str, int]) -> Assumption | None:
    """A floor division h floordiv m of a - b = 0 as an expression of the rest, and h as m times that: widths of heads
    that are to be the same. Of two symbols the one earlier in ``order`` stays."""
    difference = _without_common_factor(a - b)
    if not isinstance(difference, Dim):
        return None
    found: list[tuple[int, Assumption]] = []
    for monomial, factor in difference.terms:
        atom = monomial[0] if len(monomial) == 1 else None
        symbol = lone_symbol(atom.numerator) if isinstance(atom, Quotient) else None
        if symbol is None or not isinstance(atom, Quotient) or abs(factor) != 1:
            continue
        rest = difference - factor * _lone(atom)
        value = atom.divisor * (-rest if factor == 1 else rest)
        assumption = None if symbol in symbols_of(value) else _in_place_of(symbol, value)
        if assumption is not None:
            found.append((order.get(symbol.name, len(order)), assumption))
    return max(found, key=lambda item: item[0])[1] if found else None


def _factors(a: Extent, b: Extent, order: Mapping[str, int]) -> Assumption | None:
    """Two products of as many symbols each, as where several axes of two inputs are flattened: their symbols are the
    same in pairs, in the order in which the inputs have them."""
    difference = _without_common_factor(a - b)
    if not isinstance(difference, Dim) or [factor for _, factor in difference.terms] not in ([1, -1], [-1, 1]):
        return None
    sides: list[list[Symbol]] = []
    for product, _ in difference.terms:
        symbols = [atom for atom in product if isinstance(atom, Symbol)]
        if len(set(symbols)) != len(product):
            return None
        sides.append(sorted(symbols, key=lambda symbol: order.get(symbol.name, len(order))))
    left, right = sides
    if len(left) != len(right):
        return None
    meaning: dict[Atom, Extent] = {}
    for x, y in zip(left, right, strict=True):
        first, second = sorted((x, y), key=lambda symbol: order.get(symbol.name, len(order)))
        pair = _in_place_of(second, _lone(first))
        if pair is None:
            return None
        meaning |= pair.meaning
    return Assumption(meaning)


def _as_multiples(a: Extent, b: Extent, symbols: list[Symbol]) -> Assumption | None:
    """That ``symbols`` are multiples of the least number that makes ``a`` and ``b`` equal."""
    for times in range(2, LARGEST_MULTIPLE + 1):
        meaning: dict[Atom, Extent] = {symbol: _multiple(symbol, times) for symbol in symbols}
        if replaced(a, meaning) == replaced(b, meaning):
            return Assumption(meaning)
    return None


def _multiple(symbol: Symbol, times: int) -> Extent:
    least, most = ceildiv(symbol.low, times) * times, symbol.high // times * times
    return times * floordiv(_ranged(symbol, least, most), times) if least <= most else _lone(symbol)


def _without_common_factor(extent: Extent) -> Extent:
    """``extent`` divided by the number and the symbols (which are 1 or more) that divide all of its terms."""
    if not isinstance(extent, Dim):
        return extent
    number = math.gcd(*(factor for _, factor in extent.terms))
    extent = floordiv(extent, number)
    for symbol in sorted(symbols_of(extent), key=lambda symbol: symbol.name):
        while symbol.low > 0 and isinstance(extent, Dim):
            smaller = quotient(extent, _lone(symbol))
            if smaller is None:
                break
            extent = smaller
    return extent


def _in_place_of(symbol: Symbol, value: Extent) -> Assumption | None:
    """``value`` for ``symbol``, as far as its range allows."""
    other = lone_symbol(value)
    if other is not None:
        low, high = max(symbol.low, other.low), min(symbol.high, other.high)
        if low > high:
            return None
        both = _ranged(other, low, high)
        return Assumption({symbol: both, other: both})
    least, most = bounds(value)
    size = told_symbol(value)  # a size itself, as where it is known to be a multiple of another
    positive = surely(value, ">=", min(symbol.low, 1)) or (size is not None and size.low > 0)
    if most < symbol.low or least > symbol.high or not positive:
        return None
    if not isinstance(value, Dim):
        return Assumption({symbol: value})
    equal: list[tuple[Extent, Extent]] = []
    if least < symbol.low:
        equal.append((largest(value, symbol.low), value))
    if symbol.high < MOST and most > symbol.high:
        equal.append((smallest(value, symbol.high), value))
    return Assumption({symbol: value}, equal)
