"""Models: an artifact loaded and checked, ready for sessions.

In: a path or the bytes of an artifact. Out: a ``Model`` that describes itself and makes sessions. The one idea: the
file is mapped, not read; its weights are shared by every session and process that maps it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from penstock.runtime.errors import CLOSED
from penstock.runtime.library import UNKNOWN, Error, LoadOptions, Tensor, check, library
from penstock.runtime.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.runtime.session import Session

DTYPES = {
    1: "float16", 3: "float32", 4: "float64", 5: "int8", 6: "int16", 7: "int32", 8: "int64",
    9: "uint8", 10: "uint16", 11: "uint32", 12: "uint64", 13: "bool",
}  # fmt: skip
EXTENDED = {
    2: "bfloat16", 14: "float8_e4m3fn", 15: "float8_e4m3fnuz", 16: "float8_e5m2", 17: "float8_e5m2fnuz",
    18: "float8_e8m0fnu", 19: "float4_e2m1fn", 20: "int4", 21: "uint4", 22: "int2", 23: "uint2",
}  # fmt: skip
"""What numpy has through ml_dtypes alone; all but bfloat16 take one byte an element."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: ``name``, numpy ``dtype``, ``shape`` in elements; ``element`` is the element type's name.

    Types that numpy lacks are given as ml_dtypes has them where that is loaded, else as their bits: bfloat16 in uint16,
    8-bit floating-point and numbers of 4 and 2 bits one to a uint8, in its low bits. An extent that is chosen at run
    time is a text: ``"batch"``, ``"past + 1"``; so is one that is found by each run: ``"nonzero_1"``.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Any, ...]
    element: str


@dataclass(frozen=True)
class SymbolInfo:
    """A size that is chosen at run time, from ``low`` to ``high``."""

    name: str
    low: int
    high: int


@dataclass(frozen=True)
class Memory:
    """Bytes: ``weights`` are shared; each session takes ``arena`` plus ``scratch_per_thread`` for each thread. None
    where that depends on sizes (``session.memory`` is what a session holds)."""

    weights: int
    arena: int | None
    scratch_per_thread: int | None


class Model:
    """A loaded artifact. Make it with ``load``; close it, or leave it to garbage collection."""

    def __init__(self, handle: int, keep: Any) -> None:
        native = library()
        self._handle: int | None = handle
        size = ctypes.c_size_t()
        text = ctypes.string_at(native.pens_manifest(handle, size), size.value)
        self.manifest: dict[str, Any] = read_manifest(text)
        """What the compiler wrote for people and tools: options, versions, targets, sources."""
        self.inputs = tuple(_info(native.pens_input(handle, i)) for i in range(native.pens_input_count(handle)))
        self.outputs = tuple(_info(native.pens_output(handle, i)) for i in range(native.pens_output_count(handle)))
        symbols = [native.pens_symbol_info(handle, i) for i in range(native.pens_symbol_count(handle))]
        self.symbols = tuple(SymbolInfo(symbol.name.decode(), symbol.low, symbol.high) for symbol in symbols)
        """The sizes that are chosen at run time; none for a model whose inputs' shapes are all numbers."""
        counted = range(len(symbols), len(symbols) + native.pens_counted_count(handle))
        found = [native.pens_symbol_info(handle, i) for i in counted]
        self.counted = tuple(SymbolInfo(symbol.name.decode(), symbol.low, symbol.high) for symbol in found)
        """The sizes that a run finds: how many elements are not zero, how many boxes are kept."""
        length = native.pens_length_symbol(handle)
        self.length: SymbolInfo | None = self.symbols[length] if length < len(symbols) else None
        """Of a model of which sessions keep something from run to run, the size that says how many rows they keep
        (``session.length``); ``manifest["kept"]`` says of which tensors. None for other models."""
        self.isa: str = native.pens_isa(handle).decode()
        """The instruction set chosen for this CPU."""
        sizes = [ctypes.c_uint64() for _ in range(3)]
        native.pens_memory(handle, *sizes)
        weights, *others = (None if size.value == UNKNOWN else size.value for size in sizes)
        self.memory = Memory(weights or 0, *others)
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._finalizer = weakref.finalize(self, _unload, handle, keep)

    @property
    def handle(self) -> int:
        """The native model. Raises RuntimeFailure PENS-R014 once closed."""
        if self._handle is None:
            raise CLOSED.error(what="model")
        return self._handle

    def session(
        self, threads: int | None = None, executor: Callable[[Callable[[int], None], int], None] | None = None
    ) -> Session:
        """A session on this model.

        ``threads``: how many run its kernels, the caller among them (None: as many as the process may use; results
        are the same bits for any number). ``executor(task, count)``: runs ``task(0)`` ... ``task(count - 1)`` on
        threads of the host's, instead of the session's own, and returns when all have finished.
        """
        from penstock.runtime.session import Session

        made = Session(self, threads, executor)
        self._sessions.add(made)
        return made

    def close(self) -> None:
        """Unload, with all sessions, which run the model's code: PENS-R010 while one is under way. Closing twice is
        harmless."""
        for session in list(self._sessions):
            session.close()
        self._handle = None
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unload(handle: int, keep: Any) -> None:
    library().pens_unload(handle)
    del keep


def _info(tensor: Tensor) -> TensorInfo:
    texts = [tensor.texts[axis] for axis in range(tensor.rank)]
    shape = tuple(tensor.shape[axis] if text is None else text.decode() for axis, text in enumerate(texts))
    element = DTYPES.get(tensor.dtype) or EXTENDED[tensor.dtype]
    return TensorInfo(tensor.name.decode(), _dtype(tensor.dtype), shape, element)


def _dtype(number: int) -> np.dtype[Any]:
    """The numpy dtype of a ``pens_dtype``; what ml_dtypes has as its bits where that is not loaded."""
    if number in DTYPES:
        return np.dtype(DTYPES[number])
    extension = getattr(sys.modules.get("ml_dtypes"), EXTENDED[number], None)
    return np.dtype((np.uint16 if number == 2 else np.uint8) if extension is None else extension)


def load(source: str | os.PathLike[str] | bytes, *, verify: bool = False, isa: str | None = None) -> Model:
    """Load an artifact from a path or from bytes.

    Plan, tables and code are always checked; ``verify`` also checks the weights' checksum. ``isa`` asks for one
    instruction set instead of the best this CPU runs. Raises RuntimeFailure with a code when the artifact cannot be
    used: unreadable, not an artifact, of another version, damaged, or for another CPU.
    """
    native = library()
    options = LoadOptions(int(verify), isa.encode() if isa else None)
    handle, error = ctypes.c_void_p(), Error()
    keep: Any = None
    if isinstance(source, bytes | bytearray | memoryview):
        keep = _aligned(bytes(source))
        address: int = keep.__array_interface__["data"][0]
        status = native.pens_load_memory(address, len(source), options, ctypes.byref(handle), error)
    else:
        status = native.pens_load_file(os.fsencode(source), options, ctypes.byref(handle), error)
    check(status, error)
    assert handle.value is not None
    try:
        return Model(handle.value, keep)
    except BaseException:
        native.pens_unload(handle)
        raise


def _aligned(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A copy of ``data`` that starts at a multiple of 64 bytes."""
    room = np.empty(len(data) + 64, np.uint8)
    start = -room.__array_interface__["data"][0] % 64
    view = room[start : start + len(data)]
    view[:] = np.frombuffer(data, np.uint8)
    return view
