"""Where a compilation has a choice: what it could do, what the cost model takes, and what a tuning record says.

In: at each point, candidates by name, the cost model's first. Out: the one to take. The one idea: a candidate is named
by what it means ("6x64 sweep 4 chains 1"), and a point by what is computed, so that a record says the same tomorrow and
elsewhere; it can only ever pick among candidates that the compiler itself would consider.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from penstock.compiler.context import CompilerContext

T = TypeVar("T")
LONGEST = 400
"""Characters of what a point is said to compute."""

WINOGRAD, PANEL, SCHEDULE = "winograd", "panel", "schedule"
STAGES = (WINOGRAD, PANEL, SCHEDULE)
"""The kinds of choices in the order in which they are made: each may change what those after it choose from."""


@dataclass(frozen=True)
class Point:
    """A choice that a compilation has made: of ``kind``, at an instruction set ``level`` (empty: of all levels), by the
    ``key`` of what is computed, which ``what`` says for people. ``options`` are the candidates, the cost model's first.
    ``nodes`` are the source nodes concerned, ``kernel`` the kernel if there is one already."""

    kind: str
    key: str
    level: str
    what: str
    options: tuple[str, ...]
    taken: str
    nodes: frozenset[str]
    kernel: str = ""

    @property
    def default(self) -> str:
        """What the cost model takes."""
        return self.options[0]

    def as_dict(self) -> dict[str, object]:
        """For the artifact's manifest."""
        return {
            "nodes": sorted(self.nodes),
            "what": self.what,
            "level": self.level,
            "choice": self.taken,
            "default": self.default,
        }


@dataclass
class Choices:
    """The choices of one compilation: those ``given``, by key, and the ``points`` it came to."""

    given: Mapping[str, str]
    points: dict[str, Point] = field(default_factory=dict[str, Point])

    @property
    def tuned(self) -> list[Point]:
        """The points at which something else than the cost model's choice was taken."""
        return [point for point in self.points.values() if point.taken != point.default]


def key_of(kind: str, level: str, text: str) -> str:
    """The key of the point where what ``text`` describes is compiled for ``level``."""
    digest = hashlib.blake2b("\n".join((level, text)).encode(), digest_size=16).hexdigest()
    return f"{kind}:{digest}"


def choose(
    ctx: CompilerContext,
    kind: str,
    text: str,
    options: Mapping[str, T],
    *,
    what: str,
    nodes: Iterable[str],
    level: str = "",
    kernel: str = "",
) -> T:
    """The one of ``options``, of which the first is the cost model's, that a tuning record says; else the first. Notes
    it when the record says what is no candidate."""
    first = next(iter(options))
    if ctx.choices is None or len(options) < 2:
        return options[first]
    names, key = list(nodes), key_of(kind, level, text)
    given = ctx.choices.given.get(key, first)
    taken = given if given in options else first
    if taken != given:
        reason = f"the tuning record chooses '{given}' ({kind}), which is no candidate here; it is left to the estimate"
        ctx.note(names[0] if names else "", "", reason)
    known = ctx.choices.points.get(key)
    what = "".join(c if c.isprintable() else "?" for c in what[:LONGEST])
    everyone = frozenset(names) | (known.nodes if known else frozenset())
    ctx.choices.points[key] = Point(kind, key, level, what, tuple(options), taken, everyone, kernel)
    return options[taken]
