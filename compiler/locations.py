"""Where IR comes from: every op names the source nodes it was made from.

In: names of nodes in the user's model. Out: MLIR location attributes, and back. The one idea: a location is a set of
source names in order of appearance, held as one ``loc("name")`` or as ``loc(fused["a", "b"])``, so that errors,
profiles and dumps at any level can speak of the nodes the user wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import cast

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    CallSiteLoc,
    FileLineColLoc,
    FusedLoc,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
    UnknownLoc,
)
from xdsl.ir import Attribute, Operation


@lru_cache(maxsize=16384)
def name_location(name: str) -> NameLoc:
    """The location of what came from the source node ``name``."""
    return NameLoc(StringAttr(name), NoneAttr())


def fuse(*locations: LocationAttr) -> LocationAttr:
    """One location for what was made from several: flattened, duplicates removed, order of appearance kept."""
    first = locations[0] if locations else UNKNOWN_LOC
    if all(location == first for location in locations):
        return first
    leaves = list(dict.fromkeys(leaf for location in locations for leaf in _leaves(location)))
    if not leaves:
        return UNKNOWN_LOC
    return leaves[0] if len(leaves) == 1 else FusedLoc(ArrayAttr(leaves), NoneAttr())


def fuse_ops(ops: Iterable[Operation]) -> LocationAttr:
    """One location for what was made from ``ops``."""
    return fuse(*(op.location for op in ops))


def source_names(location: LocationAttr) -> tuple[str, ...]:
    """The names of the source nodes in ``location``, in order; ``file:line`` for positions in a text file."""
    names: list[str] = []
    for leaf in _leaves(location):
        if isinstance(leaf, NameLoc):
            names.append(leaf.desc.data)
        elif isinstance(leaf, FileLineColLoc):
            names.append(f"{leaf.filename.data}:{leaf.line.data}")
    return tuple(dict.fromkeys(names))


def is_known(location: LocationAttr) -> bool:
    """True if ``location`` names at least one source."""
    return isinstance(location, NameLoc) or bool(_leaves(location))


def describe(location: LocationAttr, most: int = 3) -> str:
    """``location`` in a sentence: up to ``most`` names, then how many more there are."""
    names = source_names(location)
    shown = ", ".join(f"'{name}'" for name in names[:most])
    if len(names) > most:
        return f"{shown} and {len(names) - most} more"
    return shown or "an unknown source"


def _leaves(location: Attribute) -> list[LocationAttr]:
    """The locations ``location`` is fused from, none of them fused or unknown."""
    if isinstance(location, FusedLoc):
        members = cast("ArrayAttr[Attribute]", location.locations)
        return [leaf for member in members for leaf in _leaves(member)]
    if isinstance(location, CallSiteLoc):
        return [*_leaves(location.callee), *_leaves(location.caller)]
    if isinstance(location, NameLoc | FileLineColLoc):
        return [location]
    assert isinstance(location, UnknownLoc | NoneAttr)
    return []


def name_hint(name: str) -> str | None:
    """A value's name as IR text can hold it (not ending in a number, which the printer appends itself)."""
    text = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[-60:]
    text = re.sub(r"_\d+$", lambda match: "n" + match[0][1:], text)
    return text if re.match(r"[A-Za-z_]", text) else f"v{text}" if text else None
