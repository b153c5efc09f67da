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

from penstock.runtime.arrays import Array, layout_is_known
from penstock.runtime.errors import OUT_OF_MEMORY, SESSION_BUSY
from penstock.runtime.library import Error, library

_Object = ctypes.c_void_p

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


@functools.cache
def _interpreter() -> _Interpreter | None:
    """CPython as python.c knows it; None where something is not as it is declared there."""
    locked: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
    if not locked or not layout_is_known():
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
    """Of a session: its lock, and how often what its runs take (sizes, chosen outputs, being open) has changed.

    As a context it is one call's: it raises RuntimeFailure PENS-R010 at once while another has it, and PENS-R008 where
    the call finds no memory.
    """

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

    def __enter__(self) -> None:
        if not self.acquire():
            raise SESSION_BUSY.error()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.release()
        if isinstance(error, MemoryError):
            raise OUT_OF_MEMORY.error(reason=f"there is no room for the results ({error})") from error

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
