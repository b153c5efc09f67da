"""Extents as programs: how symbolic numbers stand in ``plan.bin``.

In: an extent and the model's symbols. Out: its terms in postfix order, and back again. The one idea: the runtime
evaluates an extent with a stack of ``DEEPEST`` numbers and nothing else; every program is checked when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

from penstock.compiler.artifact.plan import PlanError
from penstock.compiler.extents import Atom, Dim, Extent, Extremum, Quotient, Symbol, floordiv, largest, smallest

DEEPEST = 16
"""Numbers the runtime's stack holds."""
LONGEST = 4096
"""Terms of one program."""


class TermKind(IntEnum):
    """CONSTANT and SYMBOL push a number; the others combine the two on top of the stack (floor division by 1 or
    more)."""

    CONSTANT = 0
    SYMBOL = 1
    ADD = 2
    MUL = 3
    FLOORDIV = 4
    MAX = 5
    MIN = 6


Term = tuple[TermKind, int]
"""What to do, and the constant or the symbol's number (0 for the others)."""


def program_of(extent: Extent, numbers: dict[str, int]) -> list[Term]:
    """The program of an extent; ``numbers`` gives each symbol's by name. Raises PlanError for one that is too long or
    too deep for the runtime, or has a number of more than 64 bits."""
    terms = list(_sum(extent, numbers))
    depth = deepest = 0
    for kind, _ in terms:
        depth += 1 if kind in (TermKind.CONSTANT, TermKind.SYMBOL) else -1
        deepest = max(deepest, depth)
    if len(terms) > LONGEST or deepest > DEEPEST:
        raise PlanError(f"the extent {str(extent)[:200]} is too long or nested too deeply")
    if any(kind == TermKind.CONSTANT and not -(1 << 63) <= value < 1 << 63 for kind, value in terms):
        raise PlanError(f"the extent {str(extent)[:200]} has a number of more than 64 bits")
    return terms


def extent_of(terms: Sequence[Term], symbols: Sequence[Symbol]) -> Extent:
    """The extent a program computes. Raises ValueError or IndexError for what is no program."""
    stack: list[Extent] = []
    for kind, value in terms:
        if kind == TermKind.CONSTANT:
            stack.append(value)
        elif kind == TermKind.SYMBOL:
            stack.append(Dim((((symbols[value],), 1),)))
        else:
            right, left = stack.pop(), stack.pop()
            stack.append(_combine(kind, left, right))
    (extent,) = stack
    return extent


def _combine(kind: TermKind, left: Extent, right: Extent) -> Extent:
    match kind:
        case TermKind.ADD:
            return left + right
        case TermKind.MUL:
            return left * right
        case TermKind.FLOORDIV:
            return floordiv(left, right)
        case TermKind.MAX:
            return largest(left, right)
        case _:
            return smallest(left, right)


def _sum(extent: Extent, numbers: dict[str, int]) -> Iterator[Term]:
    if not isinstance(extent, Dim):
        yield TermKind.CONSTANT, extent
        return
    for position, (monomial, factor) in enumerate(extent.terms):
        pushed = 0
        if factor != 1 or not monomial:
            yield TermKind.CONSTANT, factor
            pushed = 1
        for atom in monomial:
            yield from _atom(atom, numbers)
            pushed += 1
            if pushed > 1:
                yield TermKind.MUL, 0
        if position:
            yield TermKind.ADD, 0


def _atom(atom: Atom, numbers: dict[str, int]) -> Iterator[Term]:
    match atom:
        case Symbol():
            yield TermKind.SYMBOL, numbers[atom.name]
        case Quotient():
            yield from _sum(atom.numerator, numbers)
            yield from _sum(atom.divisor, numbers)
            yield TermKind.FLOORDIV, 0
        case Extremum():
            for position, operand in enumerate(atom.operands):
                yield from _sum(operand, numbers)
                if position:
                    yield (TermKind.MAX if atom.kind == "max" else TermKind.MIN), 0
