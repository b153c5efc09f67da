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

from penstock.compiler.dtypes import element_type, numpy_dtype
from penstock.compiler.errors import INVALID_DATA, MODEL_TOO_LARGE, UNSUPPORTED_TYPE
from penstock.compiler.frontends.onnx.external import DataError, DataFolder
from penstock.compiler.frontends.onnx.records import TYPE_NAMES, Array, Tensor, show_dims, type_title

MAX_RANK = 32
MAX_BYTES = 1 << 40  # a tensor of more than this is a damaged shape, not a model

# Which repeated field of TensorProto holds the elements of each type when ``raw_data`` is not used (onnx.proto).
_TYPED_FIELD = {
    "f32": "float_data",
    "f64": "double_data",
    "i64": "int64_data",
    "ui32": "uint64_data",
    "ui64": "uint64_data",
} | dict.fromkeys(("i32", "i16", "i8", "ui16", "ui8", "i1", "f16", "bf16"), "int32_data")


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
    shown = show_dims(tuple(dims))
    if len(dims) > MAX_RANK:
        raise DataError(MODEL_TOO_LARGE, f"it has {len(dims)} dimensions; {MAX_RANK} are the most")
    if any(dim < 0 for dim in dims):
        raise DataError(INVALID_DATA, f"its shape {shown} has a negative extent")
    count = math.prod(dims)
    if count * width > MAX_BYTES or any(dim > MAX_BYTES for dim in dims):
        raise DataError(MODEL_TOO_LARGE, f"its shape {shown} would take {count * width:,} bytes")
    return count


def describe_tensor(stored: StoredTensor, folder: DataFolder) -> Tensor:
    """The record of a stored tensor: checked now, its bytes read when asked for."""
    try:
        read = _reader(stored, folder)
    except DataError as error:
        problem = (error.code, str(error), error.hint)
        return Tensor(stored.name, stored.type_code, stored.dims, _unreadable, problem)
    return Tensor(stored.name, stored.type_code, stored.dims, read)


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
    count = check_dims(stored.dims, dtype.itemsize)
    size = count * dtype.itemsize
    if stored.external is not None:
        data = folder.open(stored.external, size)
        return lambda: _view(data, dtype, stored.dims)
    field = _TYPED_FIELD[name]
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
        return lambda: _view(raw, dtype, stored.dims)
    if len(values) != count:
        raise DataError(
            INVALID_DATA,
            f"its shape {show_dims(stored.dims)} calls for {count} elements, but {field} holds {len(values)}",
        )
    return lambda: _from_values(values, name, dtype, stored.dims)


def _view(data: bytes | memoryview, dtype: np.dtype[Any], dims: tuple[int, ...]) -> Array:
    if dtype == np.bool_:  # any byte but 0 and 1 would not be a boolean
        return np.frombuffer(data, np.uint8).reshape(dims) != 0
    return np.frombuffer(data, dtype).reshape(dims)


def _from_values(values: Sequence[Any], name: str, dtype: np.dtype[Any], dims: tuple[int, ...]) -> Array:
    """Elements of a typed field: half-precision ones are bit patterns, others numbers (kept to their width)."""
    if name in ("f16", "bf16"):
        return np.array(values, dtype=np.int64).astype(np.uint16).view(dtype).reshape(dims)
    return np.array(values, dtype=np.uint64 if name == "ui64" else None).astype(dtype).reshape(dims)
