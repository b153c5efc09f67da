"""Runs that cost what a call of a builtin function costs: the Python side of ``native/python.c``.

In: a session's tensors. Out: builtin functions that run it, and a lock they share with it. The one idea: CPython makes
a builtin function of any C function (``PyCFunction_NewEx``, part of its stable ABI), so that no header of Python's or
numpy's is needed; the few fields of objects and arrays that the C code reads are compared with what Python says of
them, and where they are not as declared (another interpreter, no global lock), runs go through ctypes alone.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.runtime.library import Error, library

Array = np.ndarray[Any, Any]
_Object = ctypes.c_void_p
_HEAD = 16  # bytes of a PyObject


class _ArrayFields(ctypes.Structure):
    """The beginning of an array: PyArrayObject_fields, ``array`` in python.c."""

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


_FUNCTIONS = {
    "hold": "Py_IncRef",
    "drop": "Py_DecRef",
    "number": "PyLong_FromLong",
    "make_dict": "PyDict_New",
    "length": "PyDict_Size",
    "find": "PyDict_GetItemWithError",
    "put": "PyDict_SetItem",
    "call": "PyObject_Call",
    "forget": "PyErr_Clear",
    "leave": "PyEval_SaveThread",
    "enter": "PyEval_RestoreThread",
}
_OBJECTS = {"none": None, "yes": True, "no": False, "dict": dict, "array": np.ndarray}


class _Interpreter(ctypes.Structure):
    """``interpreter`` in python.c."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in (*_FUNCTIONS, *_OBJECTS))


class _State(ctypes.Structure):
    """``state`` in python.c."""

    _fields_ = (
        ("python", ctypes.POINTER(_Interpreter)),
        ("claimed", ctypes.c_uint32),
        ("changes", ctypes.c_uint32),
    )


class _Slot(ctypes.Structure):
    """``slot`` in python.c."""

    _fields_ = (
        ("name", _Object),
        ("bound", _Object),
        ("make", _Object),
        ("arguments", _Object),
        ("dtype", _Object),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_int64),
        ("index", ctypes.c_uint64),
    )


class _Prepared(ctypes.Structure):
    """``prepared`` in python.c; ``kept`` is what its pointers point to."""

    _fields_ = (
        ("state", ctypes.POINTER(_State)),
        ("session", ctypes.c_void_p),
        ("error", ctypes.POINTER(Error)),
        ("inputs", ctypes.POINTER(_Slot)),
        ("outputs", ctypes.POINTER(_Slot)),
        ("held", ctypes.POINTER(_Object)),
        ("in", ctypes.POINTER(ctypes.c_void_p)),
        ("out", ctypes.POINTER(ctypes.c_void_p)),
        ("results", _Object),
        ("input_count", ctypes.c_uint32),
        ("output_count", ctypes.c_uint32),
        ("changes", ctypes.c_uint32),
    )
    kept: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a prepared run: its position among those of the model, its name, dtype and extents.

    ``array``: what is read or written. Without it, inputs are looked up, and results are ``make(*arguments)``.
    """

    index: int
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    array: Array | None = None
    make: Callable[..., Array] | None = None
    arguments: tuple[Any, ...] = ()


def _is_as_declared(array: Array) -> bool:
    found, base = _ArrayFields.from_address(id(array)), array.base
    return (
        (found.type, found.data, found.rank) == (id(type(array)), array.__array_interface__["data"][0], array.ndim)
        and tuple(found.shape[: array.ndim]) == array.shape
        and tuple(found.strides[: array.ndim]) == array.strides
        and (found.base, found.dtype) == (None if base is None else id(base), id(array.dtype))
        and found.flags & 0xFFF == array.flags.num & 0xFFF
    )


@functools.cache
def _interpreter() -> _Interpreter | None:
    """CPython as python.c knows it; None where something is not as it is declared there."""
    locked: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
    if sys.implementation.name != "cpython" or not locked or object.__basicsize__ != _HEAD:
        return None
    if np.ndarray.__basicsize__ < ctypes.sizeof(_ArrayFields):
        return None
    whole = np.zeros((3, 4, 5), np.float32)
    bits = np.zeros(9, np.uint8)
    frozen = np.ones(3, np.int64)
    frozen.flags.writeable = False
    probes = (whole, whole[:, 1:3], whole.T, whole[0, 0, 0:0], bits[1:].view(np.int32), frozen, np.array(1.5))
    if not all(map(_is_as_declared, probes)):
        return None
    functions = {field: getattr(ctypes.pythonapi, name, None) for field, name in _FUNCTIONS.items()}
    if any(function is None for function in functions.values()):
        return None
    addresses = {f: ctypes.cast(function, ctypes.c_void_p).value for f, function in functions.items() if function}
    return _Interpreter(**addresses, **{field: id(value) for field, value in _OBJECTS.items()})


@functools.cache
def _maker() -> Callable[[int, Array, None], Callable[..., Any]]:
    """CPython's PyCFunction_NewEx."""
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        ("PyCFunction_NewEx", ctypes.pythonapi)
    )


def _builtin(method: str, memory: Any) -> Callable[..., Any]:
    """The builtin function of a ``method`` in python.c; it works on the structure ``memory``, which it keeps alive."""
    native = ctypes.addressof(ctypes.c_char.in_dll(library(), method))
    return _maker()(native, np.frombuffer(memory, np.uint8), None)


class Exclusive:
    """Of a session: its lock, and how often what its runs take (sizes, chosen outputs, being open) has changed."""

    def __init__(self) -> None:
        python = _interpreter()
        self._state = None if python is None else _State(ctypes.pointer(python), 0, 0)
        self.changes = 0
        """Counted by ``change``."""
        self.acquire: Callable[..., bool]
        self.release: Callable[[], None]
        if self._state is None:
            lock = threading.Lock()
            self.acquire, self.release = functools.partial(lock.acquire, False), lock.release
        else:
            self.acquire = _builtin("pens_python_acquire", self._state)
            self.release = _builtin("pens_python_release", self._state)

    @property
    def native(self) -> bool:
        """Whether runs can be prepared on this interpreter."""
        return self._state is not None

    def change(self) -> None:
        """What was prepared does not hold any more. The caller has acquired the lock."""
        self.changes = (self.changes + 1) & 0xFFFFFFFF
        if self._state is not None:
            self._state.changes = self.changes

    def prepare(
        self,
        handle: int,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        counts: tuple[int, int],
        results: dict[str, Array] | None = None,
    ) -> tuple[Callable[..., Any], Error]:
        """A builtin function that runs the native session ``handle`` until ``change``; only if ``native``.

        ``counts``: inputs and outputs of the model, whether the run needs them or not. Without ``results`` the function
        takes the dictionary of inputs and returns one of results; with them it takes nothing, every tensor has an
        array, and it returns ``results``. It returns None, having done nothing, whenever an input or array is not
        exactly as described, or another call has the lock. It returns the status of a run that failed, which the error
        says more of; the lock is then the caller's.
        """
        assert self._state is not None
        error, kept = Error(), list[Any]()
        pointers = [(ctypes.c_void_p * max(count, 1))() for count in counts]
        slots = [(_Slot * max(len(tensors), 1))() for tensors in (inputs, outputs)]
        for tensors, made in zip((inputs, outputs), slots, strict=True):
            for tensor, slot in zip(tensors, made, strict=False):
                shape = (ctypes.c_int64 * max(len(tensor.shape), 1))(*tensor.shape)
                slot.name, slot.dtype, slot.index = id(tensor.name), id(tensor.dtype), tensor.index
                slot.shape, slot.rank = shape, len(tensor.shape)
                slot.bound = None if tensor.array is None else id(tensor.array)
                slot.make, slot.arguments = id(tensor.make), id(tensor.arguments)
                kept.append((tensor, shape))
        held = (_Object * max(len(inputs), 1))()
        prepared = _Prepared(
            ctypes.pointer(self._state), handle, ctypes.pointer(error), *slots, held, *pointers,
            None if results is None else id(results), len(inputs), len(outputs), self.changes,
        )  # fmt: skip
        prepared.kept = (self._state, error, kept, *slots, held, *pointers, results)
        return _builtin("pens_python_run" if results is None else "pens_python_run_bound", prepared), error
