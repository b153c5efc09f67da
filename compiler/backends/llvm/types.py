"""How element types of tiles look in LLVM, and how numbers are written there.

In: IR element types and Python numbers. Out: LLVM type and literal text. The one idea: ``f16`` and ``bf16`` are
storage formats, so they live in registers as the 16-bit integers they are in memory and every operation on them goes
through ``f32``; no target then needs half-precision arithmetic, and none calls a conversion routine.
"""

from __future__ import annotations

import math
import struct

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type, IndexType, IntegerType
from xdsl.ir import Attribute

from penstock.compiler.dtypes import byte_width

_FLOATS = {Float16Type: "i16", BFloat16Type: "i16", Float32Type: "float", Float64Type: "double"}


def llvm_element(kind: Attribute) -> str:
    """LLVM's scalar type for lanes of an element type (``i1`` for masks, ``i16`` for f16 and bf16)."""
    if isinstance(kind, IndexType):
        return "i64"
    if isinstance(kind, IntegerType):
        return f"i{kind.width.data}"
    return _FLOATS[type(kind)]  # pyright: ignore[reportArgumentType]


def storage_element(kind: Attribute) -> str:
    """LLVM's scalar type of an element in memory: as ``llvm_element``, but booleans are bytes."""
    return "i8" if llvm_element(kind) == "i1" else llvm_element(kind)


def element_bytes(kind: Attribute) -> int:
    """Bytes of an element in memory; an index takes 8."""
    return 8 if isinstance(kind, IndexType) else byte_width(kind)


def vector_type(element: str, lanes: int) -> str:
    """``element`` itself for one lane, ``<lanes x element>`` for more."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def mangled(element: str, lanes: int) -> str:
    """The suffix of an overloaded intrinsic: ``f32``, ``v16f32``, ``i64`` ..."""
    short = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}.get(element, element)
    return short if lanes == 1 else f"v{lanes}{short}"


def element_bits(element: str) -> int:
    """Bits of an LLVM scalar type."""
    return {"float": 32, "double": 64, "half": 16, "bfloat": 16}.get(element) or int(element[1:])


def round_to_f32(number: float) -> float:
    """The nearest f32 (overflow gives infinity)."""
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)


def float_bits(number: float, kind: Attribute) -> int:
    """The 16-bit pattern of ``number`` rounded to nearest even as f16 or bf16."""
    if isinstance(kind, Float16Type):
        try:
            return int.from_bytes(struct.pack("<e", number), "little")
        except OverflowError:
            return 0xFC00 if number < 0 else 0x7C00
    bits = int.from_bytes(struct.pack("<f", round_to_f32(number)), "little")
    if number != number:
        return 0x7FC0
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def literal(number: float, element: str, kind: Attribute | None = None) -> str:
    """``number`` as an LLVM constant of scalar type ``element``; ``kind`` tells f16 and bf16 from integers."""
    if isinstance(kind, Float16Type | BFloat16Type):
        number = float_bits(float(number), kind)
    if element == "i1":
        return "true" if number else "false"
    if element in ("float", "double"):
        value = float(number)
        value = round_to_f32(value) if element == "float" else value
        if value != value:
            return "0x7FF8000000000000"
        return f"0x{int.from_bytes(struct.pack('<d', value), 'little'):016X}"
    bits = element_bits(element)
    if isinstance(number, float):
        limit = 1 << (bits - 1)
        number = 0 if number != number else int(max(-limit, min(limit - 1, number)))
    wrapped = number & ((1 << bits) - 1)
    return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)


def constant_text(text: str, element: str, lanes: int) -> str:
    """A scalar literal repeated to ``lanes``."""
    if lanes == 1:
        return text
    return f"splat ({element} {text})"


def lane_constants(numbers: list[int], element: str) -> str:
    """A vector constant of integer lanes (one lane: the scalar)."""
    if len(numbers) == 1:
        return literal(numbers[0], element)
    return "<" + ", ".join(f"{element} {literal(n, element)}" for n in numbers) + ">"
