"""The engines that can be compared, one module each, found by scanning this folder."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from .base import Arrays, Compiled, Peer, Run

__all__ = ["Arrays", "Compiled", "Peer", "Run", "all_peers"]


def all_peers() -> dict[str, type[Peer]]:
    """Every concrete `Peer` of the modules in this folder, by name."""
    found: dict[str, type[Peer]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, Peer) and not inspect.isabstract(value):
                found[value.name] = value
    return found
