"""What an artifact says of itself, checked before anybody relies on it.

In: the bytes of ``manifest.json``. Out: a dictionary. The one idea: the manifest is for people and tools, and the plan
is what runs; so a manifest may lack anything and hold more, but what it holds under a name that penstock writes has the
form that penstock gives it.
"""

from __future__ import annotations

import json
from typing import Any

from penstock.runtime.errors import DAMAGED

_CHOICE = {"nodes": [str], "what": str, "level": str, "choice": str, "default": str}
_COUNT = (int, str)  # a number of bytes, or the formula of one
_TENSOR = {"name": str, "dtype": str, "shape": [_COUNT]}
_KEPT = {"input": str, "output": str, "axis": int, "dtype": str, "shape": [int]}
_MEMORY = {"weights": int, "arena": _COUNT, "scratch_per_thread": {str: _COUNT}}
FORM: dict[str, Any] = {
    "penstock": str,
    "model": str,
    "target": str,
    "computes": bool,
    "precision": str,
    "narrow_weights": {"count": int, "bytes": int},
    "tuned": {"processor": str, "choices": [_CHOICE]},
    "inputs": [_TENSOR],
    "outputs": [_TENSOR],
    "symbols": [{"name": str, "low": int, "high": int}],
    "counted": [str],
    "kept": {"size": str, "rows": int, "bytes": int, "tensors": [_KEPT]},
    "targets": [str],
    "kernels": [str],
    "commands": int,
    "memory": _MEMORY,
    "specialized": [{"sizes": {str: int}, "memory": {name: _MEMORY[name] for name in ("arena", "scratch_per_thread")}}],
}
"""By name: a type (or several), ``[form]`` for a list, ``{str: form}`` for a mapping, else a record of these names."""


def read_manifest(data: bytes) -> dict[str, Any]:
    """The manifest in ``data``. Raises RuntimeFailure PENS-R004 where it is no JSON object of the form ``FORM``."""
    try:
        manifest: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DAMAGED.error(reason="its manifest is no JSON") from error
    if not isinstance(manifest, dict):
        raise DAMAGED.error(reason="its manifest is no JSON object")
    for name, form in FORM.items():
        if name in manifest and not _fits(manifest[name], form):
            raise DAMAGED.error(reason=f'"{name}" in its manifest is not what it should be')
    return manifest


def _fits(value: Any, form: Any) -> bool:
    """Whether ``value`` has this form; numbers fit 64 bits, texts have no half of a surrogate pair."""
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(item, form[0]) for item in value)
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return False
        if str in form:
            return all(_fits(name, str) and _fits(item, form[str]) for name, item in value.items())
        return all(name in value and _fits(value[name], inner) for name, inner in form.items())
    if isinstance(value, str):
        return (form is str or form is _COUNT) and value.encode("utf-8", "replace").decode() == value
    if isinstance(value, int) and not isinstance(value, bool):
        return (form is int or form is _COUNT) and -(1 << 63) <= value < 1 << 64
    return form is bool and isinstance(value, bool)
