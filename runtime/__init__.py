"""The thin runtime: load a compiled model (``.pens``) and run it. Needs numpy and the standard library only.

In: an artifact. Out: numpy arrays. The one idea: a model is loaded once and shared read-only; each thread of a server
makes its own session, which owns the memory of one run at a time::

    model = penstock.load("model.pens")
    session = model.session(threads=2)
    outputs = session.run({"x": x})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from penstock.runtime.errors import PenstockError, RuntimeFailure

if TYPE_CHECKING:
    from penstock.runtime.binding import Binding
    from penstock.runtime.model import Model, SymbolInfo, TensorInfo, load
    from penstock.runtime.session import CommandRecord, Session

__all__ = [
    "Binding",
    "CommandRecord",
    "Model",
    "PenstockError",
    "RuntimeFailure",
    "Session",
    "SymbolInfo",
    "TensorInfo",
    "load",
]

_HOME = {
    "Binding": "binding",
    "CommandRecord": "session",
    "Model": "model",
    "Session": "session",
    "SymbolInfo": "model",
    "TensorInfo": "model",
    "load": "model",
}


def __getattr__(name: str) -> Any:
    """Import what needs numpy on first use: the command line's help and errors come without it (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'penstock.runtime' has no attribute {name!r}")
    value = getattr(import_module(f"penstock.runtime.{_HOME[name]}"), name)
    globals()[name] = value
    return value
