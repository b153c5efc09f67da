"""Index expressions: where a tile's lanes are, as sums of loop indices and lane numbers with constant factors.

In: loop indices (values of type index with known ranges) and lane numbers of the register tile being computed.
Out: expressions that can be added, scaled, divided and reduced modulo extents, and simplified with the ranges. Factors,
divisors and ranges are extents: numbers or symbolic. What cannot be shown for all sizes is not simplified.
The one idea: views (reshape, transpose, slice, broadcast) become arithmetic on these expressions, and what is left
after simplification says at once whether an access is a contiguous load, a broadcast or a gather.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.ir import SSAValue

from penstock.compiler.dialects.tile.base import shape
from penstock.compiler.extents import Dim, Extent, Undecided, bounds, floordiv, quotient, split, surely


@dataclass(frozen=True)
class Iv:
    """A scalar index value in [low, high], always a multiple of ``multiple``."""

    value: SSAValue
    low: int
    high: int
    multiple: int = 1


@dataclass(frozen=True)
class Lane:
    """The lane number along dimension ``dim`` of the register tile, in [0, extent)."""

    dim: int
    extent: int


@dataclass(frozen=True)
class FloorDiv:
    """floor(numerator / divisor), not simplifiable with the known ranges."""

    numerator: Expr
    divisor: int


@dataclass(frozen=True)
class Mod:
    """numerator mod divisor, in [0, divisor)."""

    numerator: Expr
    divisor: int


@dataclass(frozen=True)
class Data:
    """An index read from memory or computed lane-wise: a scalar or a tile of index values in [low, high]."""

    value: SSAValue
    low: int
    high: int
    dims: frozenset[int] = frozenset()


Atom: TypeAlias = "Iv | Lane | FloorDiv | Mod | Data"


@dataclass(frozen=True, eq=False)
class Expr:
    """constant + sum of factor * atom; atoms are distinct, factors non-zero, in order of first appearance."""

    constant: int = 0
    terms: tuple[tuple[Atom, int], ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and self.constant == other.constant and dict(self.terms) == dict(other.terms)

    def __hash__(self) -> int:
        return hash((self.constant, frozenset(self.terms)))

    def __add__(self, other: Expr | int) -> Expr:
        right = other if isinstance(other, Expr) else Expr(other)
        factors: dict[Atom, int] = dict(self.terms)
        for atom, factor in right.terms:
            factors[atom] = factors.get(atom, 0) + factor
        return _recombine(self.constant + right.constant, factors)

    def __sub__(self, other: Expr | int) -> Expr:
        return self + (other * -1 if isinstance(other, Expr) else -other)

    def __mul__(self, factor: int) -> Expr:
        if factor == 0:
            return Expr()
        return Expr(self.constant * factor, tuple((atom, each * factor) for atom, each in self.terms))

    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value."""
        low = high = self.constant
        for atom, factor in self.terms:
            first, last = _range(atom)
            ends = (first * factor, last * factor)
            smaller, larger = ends if _is_positive(factor) else ends[::-1]
            low, high = low + smaller, high + larger
        return low, high

    def known(self) -> int | None:
        """The value, if it is a number."""
        return None if self.terms or isinstance(self.constant, Dim) else self.constant

    def lanes(self) -> frozenset[int]:
        """Tile dimensions the expression depends on, also inside divisions and data."""
        return frozenset(dim for atom, _ in self.terms for dim in _lanes(atom))

    def is_linear(self) -> bool:
        """True if lanes occur only as plain terms: the access has a stride per lane."""
        return all(isinstance(atom, Lane) or not _lanes(atom) for atom, _ in self.terms)

    def stride(self, dim: int) -> int:
        """Factor of lane ``dim`` among the plain terms."""
        return sum(factor for atom, factor in self.terms if isinstance(atom, Lane) and atom.dim == dim)

    def without_lanes(self) -> Expr:
        """The part without plain lane terms."""
        return Expr(self.constant, tuple((a, f) for a, f in self.terms if not isinstance(a, Lane)))

    def floordiv(self, divisor: Extent) -> Expr:
        """floor(self / divisor), divisor > 0."""
        if divisor == 1:
            return self
        whole, rest = self._split(divisor)
        block = _block(rest, divisor)
        if block is not None:
            return whole + block
        common = _common_factor(rest, divisor)
        if common != 1:
            return whole + _over(rest, common).floordiv(floordiv(divisor, common))
        if len(rest.terms) == 1 and rest.constant == 0 and rest.terms[0][1] == 1:
            (atom, _), *_ = rest.terms
            if isinstance(atom, FloorDiv):
                return whole + atom.numerator.floordiv(atom.divisor * divisor)
        return whole + Expr(0, ((FloorDiv(rest, divisor), 1),))

    def mod(self, divisor: Extent) -> Expr:
        """self mod divisor, in [0, divisor)."""
        if divisor == 1:
            return Expr()
        _, rest = self._split(divisor)
        block = _block(rest, divisor)
        if block is not None:
            return rest - block * divisor
        common = _common_factor(rest, divisor)
        if common == 1:
            return Expr(0, ((Mod(rest, divisor), 1),))
        blocks = _over(rest, common)
        return rest - blocks * common + blocks.mod(floordiv(divisor, common)) * common

    def _split(self, divisor: Extent) -> tuple[Expr, Expr]:
        """(whole, rest) with self = divisor * whole + rest, whole exact."""
        whole: list[tuple[Atom, int]] = []
        rest: list[tuple[Atom, int]] = []
        for atom, factor in self.terms:
            exact = quotient(factor, divisor)
            if exact is not None:
                whole.append((atom, exact))
            elif isinstance(atom, Iv) and quotient(factor * atom.multiple, divisor) is not None:
                whole.append((FloorDiv(Expr(0, ((atom, factor),)), divisor), 1))
            else:
                rest.append((atom, factor))
        times, remainder = split(self.constant, divisor)
        return Expr(times, tuple(whole)), Expr(remainder, tuple(rest))


def iv(value: SSAValue, low: int, high: int, multiple: int = 1) -> Expr:
    """The expression of a scalar index value in [low, high]."""
    return Expr(low) if low == high else Expr(0, ((Iv(value, low, high, multiple), 1),))


def lane(dim: int, extent: int) -> Expr:
    """The lane number along tile dimension ``dim``."""
    return Expr(0, ((Lane(dim, extent), 1),)) if extent > 1 else Expr()


def data(value: SSAValue, low: int, high: int) -> Expr:
    """An index that is data: a scalar or tile of index values in [low, high]."""
    dims = frozenset(dim for dim, extent in enumerate(shape(value)) if extent > 1)
    return Expr(0, ((Data(value, low, high, dims), 1),))


def linearise(coordinates: Iterable[Expr], extents: Iterable[int]) -> Expr:
    """Row-major position of ``coordinates`` in a tensor of ``extents``."""
    total = Expr()
    for coordinate, extent in zip(coordinates, extents, strict=True):
        total = total * extent + coordinate
    return total


def delinearise(position: Expr, extents: tuple[int, ...]) -> tuple[Expr, ...]:
    """Coordinates of the row-major ``position`` in a tensor of ``extents``."""
    result: list[Expr] = []
    for index in range(len(extents) - 1, -1, -1):
        extent = extents[index]
        result.append(Expr() if extent == 1 else position.mod(extent) if index else position)
        position = position.floordiv(extent)
    return tuple(reversed(result))


def _is_positive(factor: Extent) -> bool:
    """True for factors that are never negative, False for those never positive. Raises Undecided for others."""
    if surely(factor, ">=", 0):
        return True
    if surely(factor, "<=", 0):
        return False
    raise Undecided(f"whether {factor} is negative depends on the sizes the model is run with")


def _block(rest: Expr, divisor: Extent) -> Extent | None:
    """floor(rest / divisor) if that is the same over the whole range of ``rest``."""
    low, high = rest.bounds()
    first, last = floordiv(low, divisor), floordiv(high, divisor)
    return first if first == last else None


def _range(atom: Atom) -> tuple[int, int]:
    match atom:
        case Iv() | Data():
            return atom.low, atom.high
        case Lane():
            return 0, atom.extent - 1
        case FloorDiv():
            low, high = atom.numerator.bounds()
            return floordiv(low, atom.divisor), floordiv(high, atom.divisor)
        case Mod():
            return 0, atom.divisor - 1


def _lanes(atom: Atom) -> frozenset[int]:
    match atom:
        case Lane():
            return frozenset((atom.dim,))
        case FloorDiv() | Mod():
            return atom.numerator.lanes()
        case Data():
            return atom.dims
        case Iv():
            return frozenset()


def _over(rest: Expr, common: Extent) -> Expr:
    """floor(rest / common) for a ``common`` that ``_common_factor`` found."""
    exact = [(atom, quotient(factor, common)) for atom, factor in rest.terms]
    return Expr(floordiv(rest.constant, common), tuple((atom, factor) for atom, factor in exact if factor is not None))


def _common_factor(rest: Expr, divisor: Extent) -> Extent:
    """The largest factor g of ``divisor`` for which floor(rest / g) drops terms: their sum stays within [0, g)."""
    magnitudes = {factor if _is_positive(factor) else -factor for _, factor in rest.terms}
    for candidate in sorted(magnitudes, key=lambda factor: (-bounds(factor)[1], str(factor))):
        if candidate == 1 or quotient(divisor, candidate) is None:
            continue
        kept = tuple((atom, factor) for atom, factor in rest.terms if quotient(factor, candidate) is None)
        small = Expr(split(rest.constant, candidate)[1], kept)
        low, high = small.bounds()
        if surely(low, ">=", 0) and surely(high, "<", candidate):
            return candidate
    return 1


def _recombine(constant: int, factors: dict[Atom, int]) -> Expr:
    """Replace m*k*(x // m) + k*(x mod m) by k*x, and drop zero terms."""
    for atom in list(factors):
        if not isinstance(atom, Mod) or factors.get(atom, 0) == 0:
            continue
        factor = factors[atom]
        quotient = atom.numerator.floordiv(atom.divisor)
        wanted = {a: f * factor * atom.divisor for a, f in quotient.terms}
        if quotient.constant == 0 and all(factors.get(a) == f for a, f in wanted.items()) and wanted:
            for other in (atom, *wanted):
                factors.pop(other)
            rest = Expr(constant, tuple((a, f) for a, f in factors.items() if f != 0))
            return rest + atom.numerator * factor
    return Expr(constant, tuple((atom, factor) for atom, factor in factors.items() if factor != 0))
