"""The compilation context: what passes know besides the module they are given.

In: options of one compilation. Out: an xDSL context with penstock's dialects registered (lazily, found by scanning
``compiler/dialects``), the weight store, the target and its options. The one idea: passes take all their inputs from
the IR and from here, so that a compilation is a function of (model, options).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, cast

from xdsl.context import Context
from xdsl.ir import Dialect

from penstock.compiler.errors import NOTED, Problem
from penstock.compiler.tuning.choices import Choices
from penstock.compiler.weights import WeightStore

if TYPE_CHECKING:
    from penstock.compiler.backends import KernelCode
    from penstock.compiler.caching.kernels import KernelCache

UPSTREAM_DIALECTS = {
    "builtin": ("xdsl.dialects.builtin", "Builtin"),
    "func": ("xdsl.dialects.func", "Func"),
    "arith": ("xdsl.dialects.arith", "Arith"),
    "math": ("xdsl.dialects.math", "Math"),
    "scf": ("xdsl.dialects.scf", "Scf"),
    "memref": ("xdsl.dialects.memref", "MemRef"),
    "vector": ("xdsl.dialects.vector", "Vector"),
}


@dataclass
class CompilerContext(Context):
    """xDSL's context plus the state of one compilation.

    ``weights`` holds the constants' bytes; ``target`` is the target string (``cpu``); ``options`` are named values a
    pass may read (each pass documents its own); ``notes`` collects what the user should know of nodes that are compiled
    in a slower way or not just as they say; ``files`` holds what emit and package produced, by member name
    (``code/x86-64-v3``, ``artifact``); ``statistics`` counts what the running pass did, by name, for dumps and reports
    (the pass runner empties it); ``kernel_symbols`` names kernels by their signature; ``kernel_code`` holds, by level
    and name, machine code that is there already; ``kernel_cache`` is where more may be found.
    """

    weights: WeightStore = field(default_factory=WeightStore)
    target: str = "cpu"
    options: dict[str, object] = field(default_factory=dict[str, object])
    notes: list[Problem] = field(default_factory=list[Problem])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    statistics: Counter[str] = field(default_factory=Counter[str])
    kernel_symbols: dict[str, str] = field(default_factory=dict[str, str])
    kernel_code: dict[str, dict[str, KernelCode]] = field(default_factory=dict[str, "dict[str, KernelCode]"])
    kernel_cache: KernelCache | None = None

    def __post_init__(self) -> None:
        for name, (module, attribute) in UPSTREAM_DIALECTS.items():
            self.register_dialect(name, _upstream(module, attribute))
        for name in own_dialects():
            self.register_dialect(name, _own(name))

    @cached_property
    def choices(self) -> Choices | None:
        """The choices of this compilation by a tuning record, which is the option ``tuned``; None without one."""
        given = self.options.get("tuned")
        return None if given is None else Choices(cast("Mapping[str, str]", given))

    def note(self, node: str, op: str, reason: str, hint: str = "") -> None:
        """Tell the user, once, that a source node takes a slower way or is not computed just as it says."""
        problem = Problem(NOTED, node, op, reason, hint)
        if problem not in self.notes:
            self.notes.append(problem)

    def load_all(self) -> CompilerContext:
        """Load every registered dialect (what the ``opt`` tool wants); returns self."""
        loaded = {dialect.name for dialect in self.loaded_dialects}
        for name in sorted(set(self.registered_dialect_names) - loaded):
            self.load_registered_dialect(name)
        return self


@cache
def own_dialects() -> tuple[str, ...]:
    """Names of penstock's dialects: the packages under ``compiler/dialects`` in alphabetical order."""
    package = importlib.import_module("penstock.compiler.dialects")
    return tuple(sorted(info.name for info in pkgutil.iter_modules(package.__path__) if info.ispkg))


def _upstream(module: str, attribute: str) -> Callable[[], Dialect]:
    return lambda: getattr(importlib.import_module(module), attribute)


def _own(name: str) -> Callable[[], Dialect]:
    return lambda: importlib.import_module(f"penstock.compiler.dialects.{name}").dialect()
