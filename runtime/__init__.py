"""The thin runtime: load a compiled model (``.pens``) and run it. Needs numpy and the standard library only.

In: an artifact. Out: numpy arrays. The one idea: a model is loaded once and shared read-only; each thread of a server
makes its own session, which owns the memory of one run at a time::

    model = penstock.load("model.pens")
    session = model.session(threads=2)
    outputs = session.run({"x": x})
"""

from __future__ import annotations

from penstock.runtime.errors import PenstockError, RuntimeFailure
from penstock.runtime.model import Model, TensorInfo, load
from penstock.runtime.session import CommandRecord, Session

__all__ = ["CommandRecord", "Model", "PenstockError", "RuntimeFailure", "Session", "TensorInfo", "load"]
