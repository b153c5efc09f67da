"""The weight store: every constant too large for IR text, by key.

In: numpy arrays (often memory-mapped from the model's file). Out: the same arrays, read-only, by a key that IR
operations hold. The one idea: a key is a readable name plus a checksum of dtype, shape and samples of the elements, so
equal weights of one name share one entry, any rewrite of a weight gets a new key, and IR text never holds weight bytes.

Weights are most of what a compilation moves, so the store touches them as little as it can: arrays may be views of
others (a transposed weight is packed from where it lies), and a checksum reads about ``SAMPLES`` elements. What has the
checksum of another weight of its name is compared with it.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SAMPLES = 4096
"""Elements of a larger array that its checksum reads, about: the same share of every axis."""


class WeightStore(Mapping[str, Array]):
    """Keys to read-only arrays. ``add`` returns the key of an array, existing or new."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._digests: dict[str, str] = {}

    def __getitem__(self, key: str) -> Array:
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def add(self, array: Array, name: str = "constant") -> str:
        """Store ``array`` (any shape, dtype and strides; made read-only) under a key derived from ``name``."""
        array = array.view()
        first = key = f"{_readable(name)}#{checksum(array)}"
        number = 1
        while key in self._arrays and not same(self._arrays[key], array):
            number += 1
            key = f"{first}.{number}"
        if key not in self._arrays:
            array.flags.writeable = False
            self._arrays[key] = array
        return key

    def put(self, key: str, array: Array) -> None:
        """Store ``array`` under exactly ``key``: used when a dump is read back with its weights."""
        array.flags.writeable = False
        self._arrays[key] = array
        self._digests.pop(key, None)

    def digest(self, key: str) -> str:
        """The digest of the array under ``key``, computed once."""
        if key not in self._digests:
            self._digests[key] = digest(self._arrays[key])
        return self._digests[key]

    def discard(self, key: str) -> None:
        """Forget the array under ``key``, if there is one: nothing refers to it any more."""
        self._arrays.pop(key, None)
        self._digests.pop(key, None)


def checksum(array: Array) -> str:
    """Eight hex digits: CRC-32 of dtype, shape and elements (row-major), of a large array a sample of them."""
    sample = array
    if array.size > SAMPLES:
        side = round(SAMPLES ** (1 / array.ndim))
        sample = array[tuple(slice(None, None, -(-extent // side)) for extent in array.shape)]
    return f"{zlib.crc32(_bytes(sample), zlib.crc32(_kind(array).encode())):08x}"


def digest(array: Array) -> str:
    """Sixteen hex digits of BLAKE2b over dtype, shape and bytes (row-major): names an array wherever it is."""
    state = hashlib.blake2b(_kind(array).encode(), digest_size=8)
    state.update(_bytes(array))
    return state.hexdigest()


def same(one: Array, other: Array) -> bool:
    """Whether two arrays have the same dtype, shape and bytes."""
    if one is other:
        return True
    return _kind(one) == _kind(other) and np.array_equal(np.frombuffer(_bytes(one), np.uint8), _bytes(other))


def _kind(array: Array) -> str:
    return f"{array.dtype.str if array.dtype.isbuiltin == 1 else array.dtype.name}{array.shape}"


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _readable(name: str) -> str:
    """``name`` with any earlier digest removed and only characters that need no quoting kept."""
    return re.sub(r"[^A-Za-z0-9_./:-]+", "_", name.split("#")[0])[-80:]
