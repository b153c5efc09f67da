"""Element types: one table that ties the IR's scalar types to numpy's dtypes and to the names users see.

In: an xDSL element type, a numpy dtype, or a name such as ``f32``. Out: any of the other two.
The one idea: signless integers of the IR are *signed* numbers (ONNX's int8 .. int64), unsigned ones carry
``Signedness.UNSIGNED``, and ``i1`` is a boolean stored as one byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
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
from xdsl.ir import Attribute

from penstock.compiler.extent_text import parse
from penstock.compiler.extents import Dim, Extent, is_static

if TYPE_CHECKING:
    import numpy as np

I1, I8, I16, I32, I64 = (IntegerType(width) for width in (1, 8, 16, 32, 64))
U8, U16, U32, U64 = (IntegerType(width, Signedness.UNSIGNED) for width in (8, 16, 32, 64))
F16, BF16, F32, F64 = Float16Type(), BFloat16Type(), Float32Type(), Float64Type()
INDEX = IndexType()

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
_FROM_NUMPY = {numpy_name: name for name, numpy_name in _NUMPY.items()}
_BYTES = {"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "i1": 1}


def element_type(name: str) -> Attribute:
    """The IR element type called ``name`` (``f32``, ``i64``, ``ui8``, ``i1`` ...). Raises KeyError if there is none."""
    return _NAMES[name]


def type_name(element: Attribute) -> str:
    """The short name of an IR element type. Raises KeyError for a type penstock does not store in tensors."""
    return _NAME_OF[element]


def byte_width(element: Attribute) -> int:
    """Bytes one element takes in memory; booleans take one."""
    name = type_name(element)
    return _BYTES.get(name) or int(name.lstrip("ui")) // 8


@cache
def numpy_dtype(element: Attribute) -> np.dtype[np.generic]:
    """The numpy dtype of an IR element type (``bf16`` needs ml_dtypes, which onnx brings along)."""
    import numpy as np

    name = type_name(element)
    if name == "bf16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_NUMPY[name])


def from_numpy(dtype: np.dtype[np.generic]) -> Attribute:
    """The IR element type of a numpy dtype. Raises KeyError for dtypes penstock does not know (strings, objects)."""
    return BF16 if dtype.name == "bfloat16" else _NAMES[_FROM_NUMPY[dtype.name]]


def is_float(element: Attribute) -> bool:
    """True for f16, bf16, f32 and f64."""
    return isinstance(element, Float16Type | BFloat16Type | Float32Type | Float64Type)


def is_unsigned(element: Attribute) -> bool:
    """True for ui8 .. ui64 (booleans count as unsigned when they are widened)."""
    return isinstance(element, IntegerType) and (
        element.signedness.data == Signedness.UNSIGNED or element.width.data == 1
    )


def tensor(shape: Sequence[Extent], element: Attribute) -> TensorType[Attribute]:
    """The tensor type of ``shape`` (extents in elements, row-major) and ``element``; symbolic extents stand, in order,
    as texts in its encoding: ``tensor<?x8xf32, ["batch"]>``."""
    if is_static(shape):
        return TensorType(element, list(shape))
    return TensorType(element, *symbolic_shape(shape))


def symbolic_shape(shape: Sequence[Extent]) -> tuple[list[int], ArrayAttr[Attribute]]:
    """(extents with -1 for symbolic ones, the texts of those)."""
    numbers = [DYNAMIC_INDEX if isinstance(extent, Dim) else extent for extent in shape]
    return numbers, ArrayAttr([StringAttr(str(extent)) for extent in shape if isinstance(extent, Dim)])


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
