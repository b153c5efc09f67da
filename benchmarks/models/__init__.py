"""The benchmark models, one module per family.

Every module of this package that defines `MODELS` (a tuple of `BenchmarkModel`) is found by scanning: adding a family
adds one file.
"""

from __future__ import annotations

import importlib
import pkgutil

from .base import BenchmarkModel, make

__all__ = ["BenchmarkModel", "all_models", "make"]


def all_models() -> dict[str, BenchmarkModel]:
    """Every benchmark model by name, in alphabetical order of family and the order of its module."""
    found: dict[str, BenchmarkModel] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for model in getattr(module, "MODELS", ()):
            if model.name in found:
                raise ValueError(f"two benchmark models are called {model.name}")
            found[model.name] = model
    return found
