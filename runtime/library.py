"""The native library, found and declared for ctypes.

In: nothing. Out: ``library()``, the loaded libpenstock with its structs. The one idea: this is the only module that
knows the C ABI of ``penstock.h``.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

from penstock.runtime.errors import NO_NATIVE_LIBRARY, from_status

FOLDER = Path(__file__).resolve().parent / "native" / "lib"


class Error(ctypes.Structure):
    """``pens_error``."""

    _fields_ = (("status", ctypes.c_int), ("message", ctypes.c_char * 500))


class Tensor(ctypes.Structure):
    """``pens_tensor``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("bytes", ctypes.c_uint64),
        ("texts", ctypes.POINTER(ctypes.c_char_p)),
    )


class Symbol(ctypes.Structure):
    """``pens_symbol``."""

    _fields_ = (("name", ctypes.c_char_p), ("low", ctypes.c_int64), ("high", ctypes.c_int64))


UNKNOWN = (1 << 64) - 1
"""``PENS_UNKNOWN``."""


class LoadOptions(ctypes.Structure):
    """``pens_load_options``."""

    _fields_ = (("verify_weights", ctypes.c_int), ("isa", ctypes.c_char_p))


Task = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)
Executor = ctypes.CFUNCTYPE(None, ctypes.c_void_p, Task, ctypes.c_void_p, ctypes.c_uint32)


class SessionOptions(ctypes.Structure):
    """``pens_session_options``."""

    _fields_ = (("threads", ctypes.c_uint32), ("executor", Executor), ("host", ctypes.c_void_p))


class Record(ctypes.Structure):
    """``pens_record``."""

    _fields_ = (
        ("source", ctypes.c_char_p),
        ("kernel", ctypes.c_char_p),
        ("start_ns", ctypes.c_uint64),
        ("end_ns", ctypes.c_uint64),
        ("flops", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("threads", ctypes.c_uint32),
    )


_VOID, _ERROR = ctypes.c_void_p, ctypes.POINTER(Error)
_U64P, _I64P = ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_int64)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pens_load_file": (
        ctypes.c_int,
        (ctypes.c_char_p, ctypes.POINTER(LoadOptions), ctypes.POINTER(_VOID), _ERROR),
    ),
    "pens_load_memory": (
        ctypes.c_int,
        (_VOID, ctypes.c_size_t, ctypes.POINTER(LoadOptions), ctypes.POINTER(_VOID), _ERROR),
    ),
    "pens_unload": (None, (_VOID,)),
    "pens_input_count": (ctypes.c_uint32, (_VOID,)),
    "pens_output_count": (ctypes.c_uint32, (_VOID,)),
    "pens_input": (Tensor, (_VOID, ctypes.c_uint32)),
    "pens_output": (Tensor, (_VOID, ctypes.c_uint32)),
    "pens_isa": (ctypes.c_char_p, (_VOID,)),
    "pens_manifest": (_VOID, (_VOID, ctypes.POINTER(ctypes.c_size_t))),
    "pens_memory": (None, (_VOID, _U64P, _U64P, _U64P)),
    "pens_command_count": (ctypes.c_uint32, (_VOID,)),
    "pens_symbol_count": (ctypes.c_uint32, (_VOID,)),
    "pens_counted_count": (ctypes.c_uint32, (_VOID,)),
    "pens_symbol_info": (Symbol, (_VOID, ctypes.c_uint32)),
    "pens_session_create": (
        ctypes.c_int,
        (_VOID, ctypes.POINTER(SessionOptions), ctypes.POINTER(_VOID), _ERROR),
    ),
    "pens_session_destroy": (None, (_VOID,)),
    "pens_session_threads": (ctypes.c_uint32, (_VOID,)),
    "pens_session_set_sizes": (ctypes.c_int, (_VOID, _I64P, _ERROR)),
    "pens_session_set_shapes": (ctypes.c_int, (_VOID, ctypes.POINTER(_I64P), _ERROR)),
    "pens_session_sizes": (_I64P, (_VOID,)),
    "pens_session_input": (Tensor, (_VOID, ctypes.c_uint32)),
    "pens_session_output": (Tensor, (_VOID, ctypes.c_uint32)),
    "pens_session_output_room": (ctypes.c_uint64, (_VOID, ctypes.c_uint32)),
    "pens_special_count": (ctypes.c_uint32, (_VOID,)),
    "pens_session_special": (ctypes.c_uint32, (_VOID,)),
    "pens_session_memory": (ctypes.c_uint64, (_VOID,)),
    "pens_length_symbol": (ctypes.c_uint32, (_VOID,)),
    "pens_session_length": (ctypes.c_int64, (_VOID,)),
    "pens_session_reset": (ctypes.c_int, (_VOID, ctypes.c_int64, _ERROR)),
    "pens_session_select": (ctypes.c_int, (_VOID, ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32, _ERROR)),
    "pens_session_reads": (ctypes.c_int, (_VOID, ctypes.c_uint32)),
    "pens_session_commands": (ctypes.c_uint32, (_VOID,)),
    "pens_run_profiled": (ctypes.c_int, (_VOID, _VOID, _VOID, ctypes.POINTER(Record), _ERROR)),
}


@cache
def library() -> ctypes.CDLL:
    """libpenstock. Raises RuntimeFailure PENS-R016 when it is missing or unusable."""
    path = FOLDER / "libpenstock.so"
    try:
        native = ctypes.CDLL(str(path))
    except OSError as error:
        raise NO_NATIVE_LIBRARY.error(path=path, reason=error) from None
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(native, name)
        function.restype, function.argtypes = result, arguments
    # The hot call is made with ready-made c_void_p arguments; declaring types would convert them once more.
    native.pens_run.restype = ctypes.c_int
    return native


def check(status: int, error: Error) -> None:
    """Raise the exception for a status that is not 0."""
    if status:
        raise from_status(status, error.message.decode("utf-8", "replace"))
