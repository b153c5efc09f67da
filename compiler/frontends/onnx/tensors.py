"""Stored tensors as numpy arrays, with every length checked before use.

In: the parts of a ``TensorProto``. Out: an array that views the file's bytes where the format allows, or a sentence
that says what is wrong. The one idea: a shape is only believed after its bytes have been counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from penstock.compiler.dtypes import element_type, is_storage, numpy_dtype
from penstock.compiler.errors import INVALID_DATA, MODEL_TOO_LARGE, UNSUPPORTED_TYPE
from penstock.compiler.frontends.onnx.external import DataError, DataFolder
from penstock.compiler.frontends.onnx.records import TYPE_NAMES, Array, Tensor, show_dims, type_title

MAX_RANK = 32
MAX_DENSE = 1 << 31  # bytes that a sparse tensor may grow to
MAX_BYTES = 1 << 40  # a tensor of more than this is a damaged shape, not a model

# Which repeated field of TensorProto holds the elements of each type when ``raw_data`` is not used (onnx.proto).
_TYPED_FIELD = {
    "f32": "float_data",
    "f64": "double_data",
    "i64": "int64_data",
    "ui32": "uint64_data",
    "ui64": "uint64_data",
}
PER_BYTE = {"i4": 2, "ui4": 2, "f4e2m1": 2, "i2": 4, "ui2": 4}
"""How many elements of these types a file holds in each byte, the first in the lowest bits."""


@dataclass(frozen=True)
class StoredTensor:
    """The parts of a ``TensorProto``: exactly one of ``raw``, ``typed`` (field name to elements), ``external``
    counts."""

    name: str
    type_code: int
    dims: tuple[int, ...]
    raw: bytes | memoryview | None
    typed: Mapping[str, Sequence[Any]]
    external: dict[str, str] | None
    segmented: bool = False


def check_dims(dims: Sequence[int], width: int) -> int:
    """The number of elements of a tensor of ``dims`` with ``width`` bytes each. Raises DataError if that is absurd."""
    if len(dims) > MAX_RANK:
        raise DataError(MODEL_TOO_LARGE, f"it has {len(dims)} dimensions; {MAX_RANK} are the most")
    shown = show_dims(tuple(dims))
    if any(dim < 0 for dim in dims):
        raise DataError(INVALID_DATA, f"its shape {shown} has a negative extent")
    size = math.prod(dim for dim in dims if dim) * width  # numpy refuses an empty array that is too large but for that
    if size > MAX_BYTES:
        raise DataError(MODEL_TOO_LARGE, f"its shape {shown} would take {size:,} bytes")
    return math.prod(dims)


def describe_tensor(stored: StoredTensor, folder: DataFolder) -> Tensor:
    """The record of a stored tensor: checked now, its bytes read when asked for."""
    try:
        read = _reader(stored, folder)
    except DataError as error:
        problem = (error.code, str(error), error.hint)
        return Tensor(stored.name, stored.type_code, stored.dims, _unreadable, problem)
    return Tensor(stored.name, stored.type_code, stored.dims, read)


def describe_sparse(values: Tensor, indices: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The record of the dense tensor of shape ``dims`` which is ``values`` (one axis, [n]) at ``indices``, and 0
    elsewhere.

    ``indices`` is i64: [n] of positions in row-major order, or [n, rank] of coordinates.
    """
    try:
        for part in (values, indices):
            if part.problem is not None:
                code, reason, hint = part.problem
                raise DataError(code, reason, hint)
        place = _positions(indices, dims, values.dims)
    except DataError as error:
        problem = (error.code, str(error), error.hint)
        return Tensor(values.name, values.type_code, dims, _unreadable, problem, sparse=True)

    def read() -> Array:
        given = values.read()
        dense = np.zeros(math.prod(dims), given.dtype)
        dense[place] = given
        return dense.reshape(dims)

    return Tensor(values.name, values.type_code, dims, read, sparse=True)


def _positions(indices: Tensor, dims: tuple[int, ...], count: tuple[int, ...]) -> Array:
    """Where in row-major order the elements of a sparse tensor stand. Raises DataError."""
    size = check_dims(dims, 8)
    if size * 8 > MAX_DENSE:
        raise DataError(MODEL_TOO_LARGE, f"it is sparse, and as the dense tensor {show_dims(dims)} too large")
    places = np.asarray(indices.read())
    if places.dtype != np.int64 or len(count) != 1 or places.shape not in (count, (*count, len(dims))):
        raise DataError(INVALID_DATA, f"it is sparse, with {show_dims(count)} elements at {show_dims(indices.dims)}")
    limits = np.array([size] if places.ndim == 1 else dims, np.int64)
    columns = places.reshape(len(places), -1)
    if bool(((columns < 0) | (columns >= limits)).any()):
        raise DataError(INVALID_DATA, f"it is sparse, with an element outside of its shape {show_dims(dims)}")
    return places if places.ndim == 1 else np.ravel_multi_index(tuple(columns.T), dims)


def _unreadable() -> Array:
    raise AssertionError("a tensor with a problem is not read")


def _reader(stored: StoredTensor, folder: DataFolder) -> Callable[[], Array]:
    """The function that gives the array. Raises DataError when the parts do not fit together."""
    name = TYPE_NAMES.get(stored.type_code)
    if name is None:
        raise DataError(
            UNSUPPORTED_TYPE,
            f"its elements are of type {type_title(stored.type_code)}",
            "Store it as one of " + ", ".join(TYPE_NAMES.values()) + ".",
        )
    if stored.segmented:
        raise DataError(INVALID_DATA, "it is stored in segments, which ONNX has deprecated")
    dtype = np.dtype(numpy_dtype(element_type(name)))
    count, packed = check_dims(stored.dims, dtype.itemsize), PER_BYTE.get(name, 1)
    size = -(-count // packed) * dtype.itemsize
    if stored.external is not None:
        data = folder.open(stored.external, size)
        return lambda: _view(data, dtype, stored.dims, packed)
    field = _TYPED_FIELD.get(name, "int32_data")
    strangers = [other for other, values in stored.typed.items() if other != field and len(values)]
    if strangers:
        raise DataError(INVALID_DATA, f"its {type_title(stored.type_code)} elements stand in {strangers[0]}")
    values = stored.typed[field]
    if stored.raw is not None and len(values):
        raise DataError(INVALID_DATA, f"it has both raw_data and {field}")
    if stored.raw is not None:
        if len(stored.raw) != size:
            raise DataError(
                INVALID_DATA,
                f"its shape {show_dims(stored.dims)} of {name} takes {size} bytes, not the {len(stored.raw)} stored",
            )
        raw = stored.raw
        return lambda: _view(raw, dtype, stored.dims, packed)
    needed = size // dtype.itemsize
    if len(values) != needed:
        raise DataError(
            INVALID_DATA,
            f"its shape {show_dims(stored.dims)} calls for {needed} elements, but {field} holds {len(values)}",
        )
    return lambda: _from_values(values, name, dtype, stored.dims)


def _view(data: bytes | memoryview, dtype: np.dtype[Any], dims: tuple[int, ...], packed: int) -> Array:
    if packed > 1:
        return _unpacked(np.frombuffer(data, np.uint8), dtype, dims, packed)
    if dtype == np.bool_:  # any byte but 0 and 1 would not be a boolean
        return np.frombuffer(data, np.uint8).reshape(dims) != 0
    return np.frombuffer(data, dtype).reshape(dims)


def _from_values(values: Sequence[Any], name: str, dtype: np.dtype[Any], dims: tuple[int, ...]) -> Array:
    """Elements of a typed field: numbers (kept to their width), or bit patterns of half precision and less."""
    if name in ("f16", "bf16"):
        return np.array(values, dtype=np.int64).astype(np.uint16).view(dtype).reshape(dims)
    if is_storage(element_type(name)):
        bits = np.array(values, dtype=np.int64).astype(np.uint8)
        return _unpacked(bits, dtype, dims, PER_BYTE.get(name, 1))
    return np.array(values, dtype=np.uint64 if name == "ui64" else None).astype(dtype).reshape(dims)


def _unpacked(bits: Array, dtype: np.dtype[Any], dims: tuple[int, ...], packed: int) -> Array:
    """Elements of fewer than 8 bits, one to a byte."""
    width = 8 // packed
    if packed == 1:
        return bits.view(dtype).reshape(dims)
    places = np.arange(0, 8, width, dtype=np.uint8)
    low = (bits[:, None] >> places) & np.uint8((1 << width) - 1)
    return low.reshape(-1)[: math.prod(dims)].view(dtype).reshape(dims)
