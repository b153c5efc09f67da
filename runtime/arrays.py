"""Arrays of the caller's: where they are, and what is wrong with them.

In: numpy arrays, or what can be seen as one. Out: addresses, and the words for a sentence that refuses. The one idea:
what a call needs of an array is read where numpy keeps it, if that is where its C ABI says.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_pointer_at = ctypes.c_void_p.from_address
_HEAD = object.__basicsize__


def address_by_protocol(array: Array) -> int:
    """The address, as numpy tells it."""
    return array.__array_interface__["data"][0]


def address_by_layout(array: Array) -> int | None:
    """The address, read from the array's head."""
    return _pointer_at(id(array) + _HEAD).value


def _choose_address() -> Callable[[Array], int | None]:
    """How to ask an array for the address of its first element.

    Numpy's C ABI puts the address right behind the object's head (``PyArrayObject_fields.data``); reading it there
    takes a tenth of the time of ``__array_interface__``, which serves any numpy or Python where that does not hold.
    """
    parent = np.zeros(8, np.uint8)
    probes = (parent, parent[3:])
    layout = parent.__class__.__basicsize__ >= _HEAD + ctypes.sizeof(ctypes.c_void_p)
    if layout and all(address_by_layout(probe) == address_by_protocol(probe) for probe in probes):
        return address_by_layout
    return address_by_protocol


address = _choose_address()
"""The address of an array's first element."""


def as_array(value: Any) -> Array:
    """A numpy view of anything with the array, DLPack or buffer protocol."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return np.asarray(value)


def mismatch(what: str, array: Array, dtype: np.dtype[Any], shape: tuple[Any, ...]) -> str:
    """What is wrong with an array's type, or with its extents where these are numbers."""
    wanted = f"[{', '.join(map(str, shape))}]"
    if array.dtype != dtype:
        return f"{what} has dtype {array.dtype} and needs {dtype}"
    if array.ndim != len(shape):
        return f"{what} has rank {array.ndim} (shape {list(array.shape)}) and needs shape {wanted}"
    if any(found != extent and not isinstance(extent, str) for found, extent in zip(array.shape, shape, strict=True)):
        return f"{what} has shape {list(array.shape)} and needs {wanted}"
    return ""


def overlaps(inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> list[str]:
    """The outputs, all dense, that share memory with an input or with another output."""
    named = [(f"input {name}", array) for name, array in inputs.items()]
    problems: list[str] = []
    for name, array in outputs.items():
        problems += [
            f"output {name} shares memory with {other}" for other, its in named if np.may_share_memory(array, its)
        ]
        named.append((f"output {name}", array))
    return problems


def sentence(problems: Sequence[str]) -> str:
    """All problems, as one sentence."""
    text = "; ".join(problems)
    return text[0].upper() + text[1:] + "."
