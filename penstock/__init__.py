"""penstock turns a saved ONNX model into one artifact file and runs it.

    artifact = penstock.compile("model.onnx", target="cpu")     # needs penstock[compiler]
    artifact.save("model.pens")

    model = penstock.load("model.pens")                          # needs numpy only
    outputs = model.session(threads=2).run({"x": x})             # dict of name -> numpy.ndarray

This module is only the public face: each name is imported from where it is defined when it is first used, so
`import penstock` itself loads nothing but the standard library, and a serving process never loads the compiler.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.compiler.driver import Artifact, compile
    from penstock.compiler.errors import CompileError
    from penstock.runtime import Model, PenstockError, Session, load

    __version__: str

_HOME = {
    "compile": "penstock.compiler.driver",
    "Artifact": "penstock.compiler.driver",
    "CompileError": "penstock.compiler.errors",
    "load": "penstock.runtime",
    "Model": "penstock.runtime",
    "Session": "penstock.runtime",
    "PenstockError": "penstock.runtime",
}

__all__ = ["Artifact", "CompileError", "Model", "PenstockError", "Session", "__version__", "compile", "load"]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it, on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("penstock")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
