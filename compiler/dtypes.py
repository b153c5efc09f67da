"""Element types: one table that ties the IR's scalar types to numpy's dtypes and to the names users see.

In: an xDSL element type, a numpy dtype, or a name such as ``f32``. Out: any of the other two.
The one idea: signless integers of the IR are *signed* numbers (ONNX's int8 .. int64), unsigned ones carry
``Signedness.UNSIGNED``, and ``i1`` is a boolean stored as one byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, cast

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    MemRefType,
    Signedness,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition

from penstock.compiler.extent_text import parse
from penstock.compiler.extents import Dim, Extent, is_static

if TYPE_CHECKING:
    import numpy as np

I1, I8, I16, I32, I64 = (IntegerType(width) for width in (1, 8, 16, 32, 64))
U8, U16, U32, U64 = (IntegerType(width, Signedness.UNSIGNED) for width in (8, 16, 32, 64))
F16, BF16, F32, F64 = Float16Type(), BFloat16Type(), Float32Type(), Float64Type()
INDEX = IndexType()
I2, I4 = IntegerType(2), IntegerType(4)
U2, U4 = (IntegerType(width, Signedness.UNSIGNED) for width in (2, 4))


@irdl_attr_definition
class StorageFloat(ParametrizedAttribute, TypeAttribute):
    """A floating-point type of 8 or 4 bits, which is only stored and converted: ``!graph.float<"f8e4m3fn">``."""

    name = "graph.float"
    format: StringAttr


STORAGE_FLOATS = {
    name: StorageFloat(StringAttr(name))
    for name in ("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f4e2m1")
}
"""Storage types, and with i4 ui4 i2 ui2: stored one to a byte in the low bits, and never computed with."""

_NAMES: dict[str, Attribute] = {
    "f16": F16,
    "bf16": BF16,
    "f32": F32,
    "f64": F64,
    "i8": I8,
    "i16": I16,
    "i32": I32,
    "i64": I64,
    "ui8": U8,
    "ui16": U16,
    "ui32": U32,
    "ui64": U64,
    "i1": I1,
    "i4": I4,
    "ui4": U4,
    "i2": I2,
    "ui2": U2,
    **STORAGE_FLOATS,
}
_NAME_OF = {element: name for name, element in _NAMES.items()}
_NUMPY = {
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "ui8": "uint8",
    "ui16": "uint16",
    "ui32": "uint32",
    "ui64": "uint64",
    "i1": "bool",
}
_EXTENDED = {
    "bf16": "bfloat16",
    "f8e4m3fn": "float8_e4m3fn",
    "f8e4m3fnuz": "float8_e4m3fnuz",
    "f8e5m2": "float8_e5m2",
    "f8e5m2fnuz": "float8_e5m2fnuz",
    "f8e8m0": "float8_e8m0fnu",
    "f4e2m1": "float4_e2m1fn",
    "i4": "int4",
    "ui4": "uint4",
    "i2": "int2",
    "ui2": "uint2",
}
"""The types that numpy has through ml_dtypes, which onnx brings along."""
_FROM_NUMPY = {numpy_name: name for name, numpy_name in (_NUMPY | _EXTENDED).items()}
_BYTES = {"f16": 2, "bf16": 2, "f32": 4, "f64": 8} | dict.fromkeys(("i1", "i4", "ui4", "i2", "ui2", *STORAGE_FLOATS), 1)


def element_type(name: str) -> Attribute:
    """The IR element type called ``name`` (``f32``, ``i64``, ``ui8``, ``i1`` ...). Raises KeyError if there is none."""
    return _NAMES[name]


def type_name(element: Attribute) -> str:
    """The short name of an IR element type. Raises KeyError for a type penstock does not store in tensors."""
    return _NAME_OF[element]


def byte_width(element: Attribute) -> int:
    """Bytes one element takes in memory; booleans take one, and so do numbers of fewer than 8 bits."""
    name = type_name(element)
    return _BYTES.get(name) or int(name.lstrip("ui")) // 8


def bit_width(element: Attribute) -> int:
    """Bits of one element that mean something: 4 and 2 for the types stored one to a byte, 1 for booleans."""
    if isinstance(element, IntegerType):
        return element.width.data
    return 4 if element == STORAGE_FLOATS["f4e2m1"] else 8 * byte_width(element)


@cache
def numpy_dtype(element: Attribute) -> np.dtype[np.generic]:
    """The numpy dtype of an IR element type (``bf16`` and storage types need ml_dtypes, which onnx brings along)."""
    import numpy as np

    name = type_name(element)
    if name in _EXTENDED:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, _EXTENDED[name]))
    return np.dtype(_NUMPY[name])


def from_numpy(dtype: np.dtype[np.generic]) -> Attribute:
    """The IR element type of a numpy dtype. Raises KeyError for dtypes penstock does not know (strings, objects)."""
    return from_name(dtype.name)


def from_name(name: str) -> Attribute:
    """The IR element type of the numpy dtype called ``name``. Raises KeyError as ``from_numpy`` does."""
    return _NAMES[_FROM_NUMPY[name]]


def is_float(element: Attribute) -> bool:
    """True for f16, bf16, f32 and f64."""
    return isinstance(element, Float16Type | BFloat16Type | Float32Type | Float64Type)


def is_storage(element: Attribute) -> bool:
    """True for types that are only stored and converted: floating-point of 8 and 4 bits, integers of 4 and 2."""
    return isinstance(element, StorageFloat) or (isinstance(element, IntegerType) and element.width.data in (2, 4))


def is_unsigned(element: Attribute) -> bool:
    """True for ui8 .. ui64 (booleans count as unsigned when they are widened)."""
    return isinstance(element, IntegerType) and (
        element.signedness.data == Signedness.UNSIGNED or element.width.data == 1
    )


def tensor(shape: Sequence[Extent], element: Attribute) -> TensorType[Attribute]:
    """The tensor type of ``shape`` (extents in elements, row-major) and ``element``; symbolic extents stand, in order,
    as texts in its encoding: ``tensor<?x8xf32, ["batch"]>``."""
    if is_static(shape):
        return _static_tensor(tuple(map(int, shape)), element)
    return TensorType(element, *symbolic_shape(shape))


@lru_cache(8192)
def _static_tensor(shape: tuple[int, ...], element: Attribute) -> TensorType[Attribute]:
    """Types do not change, and equal ones are asked for all the time."""
    return TensorType(element, list(shape))


def symbolic_shape(shape: Sequence[Extent]) -> tuple[list[int], ArrayAttr[Attribute]]:
    """(extents with DYNAMIC_INDEX for symbolic ones, the texts of those)."""
    numbers = [DYNAMIC_INDEX if isinstance(extent, Dim) else extent for extent in shape]
    return numbers, ArrayAttr([StringAttr(str(extent)) for extent in shape if isinstance(extent, Dim)])


def negative_extents(value_type: TensorType[Attribute]) -> list[int]:
    """The extents that no tensor has, those below 0; where one stands for a symbolic extent, there is a text for it."""
    shape = value_type.get_shape()
    if min(shape, default=0) >= 0:
        return []
    texts = value_type.encoding
    named = len(texts.data) if isinstance(texts, ArrayAttr) else 0
    return [extent for extent in shape if extent < 0 and (extent != DYNAMIC_INDEX or shape.count(extent) != named)]


def shape_of(value_type: Attribute) -> tuple[Extent, ...]:
    """The extents of a tensor type, or of a memory type of a plan. Raises ValueError if a symbolic one has no text."""
    assert isinstance(value_type, TensorType | MemRefType)
    shape = tuple(value_type.get_shape())
    if DYNAMIC_INDEX not in shape:
        return shape
    return _symbolic(shape, value_type.encoding if isinstance(value_type, TensorType) else value_type.memory_space)


@cache
def _symbolic(shape: tuple[int, ...], texts: Attribute) -> tuple[Extent, ...]:
    given = cast("ArrayAttr[Attribute]", texts).data if isinstance(texts, ArrayAttr) else ()
    if len(given) != shape.count(DYNAMIC_INDEX) or not all(isinstance(text, StringAttr) for text in given):
        raise ValueError('a tensor names each of its symbolic extents, as in tensor<?x8xf32, ["batch"]>')
    named = iter(parse(cast(StringAttr, text).data) for text in given)
    return tuple(next(named) if extent == DYNAMIC_INDEX else extent for extent in shape)
