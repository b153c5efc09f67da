"""Reading the texts of extents.

In: a text as types and parameters carry it, perhaps written by hand: ``2*seq + 1``, ``(n + 63) floordiv 64``,
``max(a, b)``, ``batch:1..64``. Out: the extent, in canonical form. Texts come from files: they are read with limits.
"""

from __future__ import annotations

import re
from functools import cache

from penstock.compiler.extents import Extent, extremum, floordiv, surely, symbol

TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_][\w.]*)(?::(?P<low>\d+)\.\.(?P<high>\d+))?|(?P<number>\d+)|(?P<sign>[-+*(),]))"
)
DEEPEST = 32


@cache
def parse(text: str) -> Extent:
    """The extent whose text this is. Raises ValueError, with a sentence, for anything else."""
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over ``TOKEN``s: sums of products of numbers, symbols, max, min, floordiv and groups."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.tokens: list[re.Match[str]] = []
        end = 0
        stripped = text.rstrip()
        while end < len(stripped):
            match = TOKEN.match(stripped, end)
            if match is None or len(self.tokens) > 1000:
                raise self._wrong()
            self.tokens.append(match)
            end = match.end()

    def _wrong(self) -> ValueError:
        shown = self.text if len(self.text) <= 60 else self.text[:60] + "..."
        return ValueError(f"'{shown}' is no extent: expected a sum of products of numbers and names")

    def whole(self) -> Extent:
        result = self.sum()
        if self.at != len(self.tokens):
            raise self._wrong()
        return result

    def _sign(self, *signs: str) -> str | None:
        """The next token if it is one of ``signs``, which is then passed."""
        found = self.tokens[self.at]["sign"] if self.at < len(self.tokens) else None
        if found not in signs:
            return None
        self.at += 1
        return found

    def sum(self) -> Extent:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._wrong()
        negative = self._sign("-") is not None
        total = self.product()
        total = -total if negative else total
        while (sign := self._sign("+", "-")) is not None:
            term = self.product()
            total = total + term if sign == "+" else total - term
        self.depth -= 1
        return total

    def product(self) -> Extent:
        result = self.factor()
        while True:
            if self._sign("*"):
                result = result * self.factor()
            elif self.at < len(self.tokens) and self.tokens[self.at]["word"] == "floordiv":
                self.at += 1
                divisor = self.factor()
                if not surely(divisor, ">=", 1):
                    raise self._wrong()
                result = floordiv(result, divisor)
            else:
                return result

    def factor(self) -> Extent:
        if self._sign("("):
            return self._closed(self.sum())
        if self.at >= len(self.tokens):
            raise self._wrong()
        token = self.tokens[self.at]
        self.at += 1
        if token["number"]:
            return int(token["number"])
        word = token["word"]
        if word is None or word == "floordiv":
            raise self._wrong()
        if word in ("max", "min") and self._sign("("):
            operands = [self.sum()]
            while self._sign(","):
                operands.append(self.sum())
            return self._closed(extremum(word, tuple(operands)))
        if token["low"] is None:
            return symbol(word)
        low, high = int(token["low"]), int(token["high"])
        if not low <= high <= 2**62:
            raise self._wrong()
        return symbol(word, low, high)

    def _closed(self, extent: Extent) -> Extent:
        if not self._sign(")"):
            raise self._wrong()
        return extent
