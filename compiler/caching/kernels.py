"""Kernels out of the cache, and into it.

In: a dispatch and a level. Out: a ``tile.kernel`` without a body, and its machine code; or nothing, and the dispatch is
lowered, emitted and kept. The one idea: of a kernel that is compiled already the later phases need its interface only
(buffers, units, costs), so this is all that stands in the IR. Where somebody looks at the IR, the cache is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, FloatAttr, IntegerAttr, MemRefType, f64, i64
from xdsl.ir import Attribute
from xdsl.parser import Parser

from penstock.compiler.backends import KernelCode
from penstock.compiler.caching.ingredients import description, toolchain
from penstock.compiler.caching.store import Entry, Ingredients, Store, Unusable, default_folder
from penstock.compiler.dialects.declared import encode_extent
from penstock.compiler.dialects.graph.structure import Dispatch
from penstock.compiler.dialects.tile.base import buffer
from penstock.compiler.dialects.tile.memory import Kernel, Return
from penstock.compiler.dtypes import shape_of
from penstock.compiler.extent_text import parse
from penstock.compiler.extents import Dim, Extent


@dataclass
class KernelCache:
    """The kernels of one compilation in ``store``. ``hits`` counts those found there."""

    store: Store
    hits: int = 0
    _described: dict[str, dict[str, str]] = field(default_factory=dict[str, "dict[str, str]"])
    _pending: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict[tuple[str, str], dict[str, str]])

    def recall(self, dispatch: Dispatch, target: str, level: str, choice: str = "") -> tuple[Kernel, KernelCode] | None:
        """The kernel of ``dispatch``, lowered by ``choice``, without a body, and its code; None if it has to be made,
        after which ``keep`` keeps it."""
        if dispatch.symbol not in self._described:
            self._described[dispatch.symbol] = description(dispatch)
        ingredients = {**toolchain(), "target": f"{target} {level}", **self._described[dispatch.symbol]}
        if choice:
            ingredients["choice"] = choice
        entry = self.store.get(ingredients)
        if entry is not None:
            found = _kernel(entry, dispatch)
            if found is not None:
                self.hits += 1
                return found
        self._pending[level, dispatch.symbol] = ingredients
        return None

    def keep(self, kernel: Kernel, level: str, code: KernelCode) -> None:
        """Keep what was made for a dispatch that was not found. Code that a user brought is not ours to keep."""
        ingredients = self._pending.pop((level, kernel.sym_name), None)
        if ingredients is not None and not kernel.object:
            self.store.put(Entry(ingredients, _facts(kernel, code), code.object))

    def finish(self) -> None:
        """The compilation is done: see to it that the folder keeps within its limit."""
        if self.store.written:
            self.store.trim()


def open_cache() -> tuple[KernelCache | None, str]:
    """The user's cache, None if it is switched off or cannot be used; and, for that, a sentence that says why."""
    folder = default_folder()
    if folder is None:
        return None, ""
    try:
        return KernelCache(Store(folder)), ""
    except Unusable as error:
        return None, f"kernels are not cached: {error}."


def nearest_difference(entries: Sequence[Ingredients], wanted: Ingredients) -> tuple[str, str, str]:
    """The first ingredient in which the nearest of ``entries`` differs, with its value there and the one wanted; of an
    empty cache, nothing. The nearest has most ingredients in common; of several, it is the first."""
    if not entries:
        return "", "", ""
    nearest = max(entries, key=lambda entry: sum(entry.get(name) == value for name, value in wanted.items()))
    return next(
        ((name, nearest.get(name, ""), value) for name, value in wanted.items() if nearest.get(name) != value),
        ("the file", "damaged", ""),
    )


# Facts ---------------------------------------------------------------------------------------------------------------


def _facts(kernel: Kernel, code: KernelCode) -> dict[str, Any]:
    """What the later phases need to know of a kernel."""
    buffers = [cast("MemRefType[Attribute]", value.type) for value in kernel.buffers]
    return {
        "buffers": [[_plain(shape_of(kind)[0]), str(kind.element_type)] for kind in buffers],
        "units": _plain(kernel.units),
        "outputs": kernel.outputs,
        "sizes": list(kernel.sizes),
        "unit_cost": kernel.unit_cost,
        "team": kernel.team,
        "scratch_bytes": _plain(code.scratch_bytes),
        "code_bytes": code.code_bytes,
    }


def _kernel(entry: Entry, dispatch: Dispatch) -> tuple[Kernel, KernelCode] | None:
    """The kernel that an entry holds, named and located as ``dispatch`` is."""
    facts = entry.facts
    try:
        buffers = [buffer(_extent(count), _element(text)) for count, text in facts["buffers"]]
        kernel = Kernel.empty(
            dispatch.symbol, buffers, outputs=facts["outputs"], sizes=facts["sizes"], location=dispatch.location
        )
        kernel.attributes["units"] = encode_extent(_extent(facts["units"]))
        kernel.attributes["unit_cost"] = FloatAttr(facts["unit_cost"], f64)
        kernel.attributes["cached"] = IntegerAttr(1, i64)
        if facts["team"]:
            kernel.attributes["team"] = IntegerAttr(facts["team"], i64)
        code = KernelCode(entry.payload, _extent(facts["scratch_bytes"]), facts["code_bytes"])
    except (KeyError, TypeError, ValueError):
        return None
    kernel.body.add_op(Return.build(location=dispatch.location))
    return kernel, code


def _plain(extent: Extent) -> int | str:
    return str(extent) if isinstance(extent, Dim) else extent


def _extent(value: int | str) -> Extent:
    return parse(value) if isinstance(value, str) else value


@cache
def _element(text: str) -> Attribute:
    """The type that a text names."""
    context = Context()
    context.load_dialect(Builtin)
    return Parser(context, text).parse_type()
