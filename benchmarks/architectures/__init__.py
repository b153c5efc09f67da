"""Networks as people have them: tiny configurations, exported in each way torch has, against onnxruntime.

In: modules of transformers and of torch with random weights. Out: docs/architectures.md, which says of every export
whether it compiles and how far its results are from onnxruntime's. The command is `python benchmarks/architectures`.
A family of networks is a module of this folder that defines `ARCHITECTURES`, found by scanning.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Architecture


def all_architectures() -> dict[str, Architecture]:
    """Every architecture by name, family by family."""
    found: dict[str, Architecture] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        for architecture in getattr(module, "ARCHITECTURES", ()):
            if architecture.name in found:
                raise ValueError(f"two architectures are called {architecture.name}")
            found[architecture.name] = architecture
    return found
