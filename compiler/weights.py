"""The weight store: every constant too large for IR text, by key.

In: numpy arrays (often memory-mapped from the model's file). Out: the same arrays, read-only, by a key that IR
operations hold. The one idea: a key is a readable name plus a digest of dtype, shape and bytes, so equal weights
share one entry, any rewrite of a weight gets a new key, and IR text never holds weight bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class WeightStore(Mapping[str, Array]):
    """Keys to read-only arrays. ``add`` returns the key of an array, existing or new."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def __getitem__(self, key: str) -> Array:
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def add(self, array: Array, name: str = "constant") -> str:
        """Store ``array`` (any shape and dtype; made contiguous and read-only) under a key derived from ``name``."""
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = f"{_readable(name)}#{digest(array)}"
        if key not in self._arrays:
            array.flags.writeable = False
            self._arrays[key] = array
        return key

    def put(self, key: str, array: Array) -> None:
        """Store ``array`` under exactly ``key``: used when a dump is read back with its weights."""
        array.flags.writeable = False
        self._arrays[key] = array

    def discard(self, key: str) -> None:
        """Forget the array under ``key``, if there is one: nothing refers to it any more."""
        self._arrays.pop(key, None)


def digest(array: Array) -> str:
    """Eight hex digits of BLAKE2b over dtype, shape and bytes (row-major)."""
    kind = array.dtype.str if array.dtype.isbuiltin == 1 else array.dtype.name
    state = hashlib.blake2b(f"{kind}{array.shape}".encode(), digest_size=8)
    state.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return state.hexdigest()[:16]


def _readable(name: str) -> str:
    """``name`` with any earlier digest removed and only characters that need no quoting kept."""
    return re.sub(r"[^A-Za-z0-9_./:-]+", "_", name.split("#")[0])[-80:]
