"""Arrays of the caller's: where they are, and what is wrong with them.

In: numpy arrays, or what can be seen as one. Out: addresses, and the words for a sentence that refuses. The one idea:
what a call needs of an array is read where numpy keeps it, if that is where its C ABI says.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_Object = ctypes.c_void_p
_HEAD = 16  # bytes of a PyObject, references and type


class _Fields(ctypes.Structure):
    """The beginning of an array: PyArrayObject_fields, ``array`` in native/python.c."""

    _fields_ = (
        ("references", ctypes.c_ssize_t),
        ("type", _Object),
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("base", _Object),
        ("dtype", _Object),
        ("flags", ctypes.c_int),
    )


def address_by_protocol(array: Array) -> int:
    """The address, as numpy tells it."""
    return array.__array_interface__["data"][0]


_pointer_at = ctypes.c_void_p.from_address


def address_by_layout(array: Array) -> int | None:
    """The address, read from the array's head."""
    return _pointer_at(id(array) + _HEAD).value


def _is_as_declared(array: Array) -> bool:
    found, base = _Fields.from_address(id(array)), array.base
    return (
        (found.type, found.data, found.rank) == (id(type(array)), address_by_protocol(array), array.ndim)
        and tuple(found.shape[: array.ndim]) == array.shape
        and tuple(found.strides[: array.ndim]) == array.strides
        and (found.base, found.dtype) == (None if base is None else id(base), id(array.dtype))
        and found.flags & 0xFFF == array.flags.num & 0xFFF
    )


@functools.cache
def layout_is_known() -> bool:
    """Whether arrays begin as ``_Fields`` says, on this interpreter and with this numpy."""
    if sys.implementation.name != "cpython" or object.__basicsize__ != _HEAD:
        return False
    if np.ndarray.__basicsize__ < ctypes.sizeof(_Fields):
        return False
    whole = np.zeros((3, 4, 5), np.float32)
    bits = np.zeros(9, np.uint8)
    frozen = np.ones(3, np.int64)
    frozen.flags.writeable = False
    probes = (whole, whole[:, 1:3], whole.T, whole[0, 0, 0:0], bits[1:].view(np.int32), frozen, np.array(1.5))
    return all(map(_is_as_declared, probes))


address: Callable[[Array], int | None] = address_by_layout if layout_is_known() else address_by_protocol
"""The address of an array's first element. Reading it where it lies takes a tenth of the time of asking numpy."""


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
