"""Sizes that are counted when a model runs: how many elements NonZero finds.

In: how many there can be at most. Out: symbols, in the order in which they are counted. The one idea: a number is known
to all that is counted after it, and to nothing before.
"""

from __future__ import annotations

from penstock.compiler.errors import DEPENDS_ON_SIZES
from penstock.compiler.extents import MOST, Extent, Symbol, bounds, symbol, symbols_of
from penstock.compiler.frontends.onnx.assumptions import Assumption
from penstock.compiler.frontends.onnx.node_context import Refusal


class Counts:
    """The counted symbols of a model being imported; ``order`` has all its symbols."""

    def __init__(self, order: dict[str, int]) -> None:
        self.order = order
        self.numbers: dict[str, int] = {}  # of what is counted, from 1

    def new(self, stem: str, most: Extent) -> Extent:
        """A new symbol, from 0 to as many as ``most`` can be: a size that is counted when the model runs."""
        number = len(self.numbers) + 1
        name = f"{stem}_{number}"
        while name in self.order:
            name += "_"
        self.order[name] = len(self.order)
        self.numbers[name] = number
        return symbol(name, 0, max(int(min(bounds(most)[1], MOST)), 0))

    def refuse_later(self, assumption: Assumption) -> None:
        """Refuse that a number counted early is told by one counted later: nobody could know it in time."""
        for atom, meaning in assumption.meaning.items():
            numbers = [self.numbers.get(symbol.name, 0) for symbol in symbols_of(meaning)]
            if isinstance(atom, Symbol) and any(number > self.numbers.get(atom.name, 0) for number in numbers):
                raise Refusal(DEPENDS_ON_SIZES, f"{atom.name} would have to be {meaning}, which is counted later")
