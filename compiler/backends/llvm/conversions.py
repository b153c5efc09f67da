"""Conversions between element types on machine values.

In: a value and its element type. Out: the value as another type, by inline instructions only. The one idea: f16 and
bf16 are reached through f32, and where a wider number would be rounded twice on the way (f64), the first rounding is
to odd, which makes the second the only one. AVX512_BF16 has an instruction that rounds f32 to bf16, which takes
denormal numbers as zero; elsewhere integer arithmetic does.
"""

from __future__ import annotations

from xdsl.dialects.builtin import BFloat16Type, Float16Type
from xdsl.ir import Attribute

from penstock.compiler.backends.llvm.types import element_bits, llvm_element, vector_type
from penstock.compiler.backends.llvm.writer import Value, Writer
from penstock.compiler.dtypes import F32, F64, I1, is_float, is_unsigned


def widen(w: Writer, value: Value, kind: Attribute) -> Value:
    """f16 or bf16 bits as f32 (exact)."""
    if isinstance(kind, Float16Type):
        halves = w.emit(f"bitcast {value} to {vector_type('half', value.lanes)}", "half", value.lanes)
        return w.convert("fpext", halves, "float")
    bits = w.convert("zext", value, "i32")
    return w.convert("bitcast", w.binary("shl", bits, w.constant(16, "i32", value.lanes)), "float")


ROUNDING_LANES = (8, 16)
"""Lanes of the forms of VCVTNEPS2BF16 that are used."""


def narrow(w: Writer, value: Value, kind: Attribute, *, instruction: bool = False) -> Value:
    """f32 rounded to nearest even as f16 or bf16 bits; a NaN stays a NaN. ``instruction``: the machine has
    AVX512_BF16."""
    if isinstance(kind, Float16Type):
        halves = w.convert("fptrunc", value, "half")
        return w.emit(f"bitcast {halves} to {vector_type('i16', value.lanes)}", "i16", value.lanes)
    lanes = value.lanes
    if instruction and lanes in ROUNDING_LANES:
        pairs = vector_type("bfloat", lanes)
        name = w.declare(f"llvm.x86.avx512bf16.cvtneps2bf16.{32 * lanes}", pairs, [value.type])
        rounded = w.emit(f"call {pairs} {name}({value})", "bfloat", lanes)
        return w.emit(f"bitcast {rounded} to {vector_type('i16', lanes)}", "i16", lanes)
    bits = w.convert("bitcast", value, "i32")
    upper = w.binary("lshr", bits, w.constant(16, "i32", lanes))
    odd = w.binary("and", upper, w.constant(1, "i32", lanes))
    rounded = w.binary("add", w.binary("add", bits, w.constant(0x7FFF, "i32", lanes)), odd)
    rounded = w.binary("lshr", rounded, w.constant(16, "i32", lanes))
    quiet = w.binary("or", upper, w.constant(0x40, "i32", lanes))
    chosen = w.select(w.compare("fcmp uno", value, value), quiet, rounded)
    return w.convert("trunc", chosen, "i16")


def _round_to_odd(w: Writer, value: Value) -> Value:
    """f64 as f32, towards zero with the lowest bit set if anything was lost."""
    near = w.convert("fptrunc", value, "float")
    back = w.convert("fpext", near, "double")
    lost = w.compare("fcmp one", back, value)
    away = w.compare("fcmp ogt", w.intrinsic("fabs", back), w.intrinsic("fabs", value))
    bits = w.convert("bitcast", near, "i32")
    lower = w.binary("sub", bits, w.constant(1, "i32", value.lanes))
    odd = w.binary("or", w.select(away, lower, bits), w.constant(1, "i32", value.lanes))
    return w.convert("bitcast", w.select(lost, odd, bits), "float")


def convert(
    w: Writer, value: Value, source: Attribute, target: Attribute, mode: str, *, instruction: bool = False
) -> Value:
    """``tile.cast`` of machine lanes. ``mode`` is signed, unsigned or bits; unsigned element types imply unsigned.
    ``instruction``: the machine has AVX512_BF16."""
    if source == target:
        return value
    if mode == "bits":
        kind = llvm_element(target)
        return value if value.element == kind else w.convert("bitcast", value, kind)
    half_source = isinstance(source, Float16Type | BFloat16Type)
    if half_source:
        return convert(w, widen(w, value, source), F32, target, mode)
    if target == I1:
        zero = w.constant(0.0 if is_float(source) else 0, value.element, value.lanes)
        return w.compare("fcmp une" if is_float(source) else "icmp ne", value, zero)
    if isinstance(target, Float16Type | BFloat16Type):
        if source == F64:
            return narrow(w, _round_to_odd(w, value), target, instruction=instruction)
        return narrow(w, convert(w, value, source, F32, mode), target, instruction=instruction)
    if is_float(source):
        return _from_float(w, value, target, mode == "unsigned" or is_unsigned(target))
    unsigned = mode == "unsigned" or is_unsigned(source)
    if is_float(target):
        return w.convert("uitofp" if unsigned else "sitofp", value, llvm_element(target))
    return resize(w, value, llvm_element(target), unsigned)


def resize(w: Writer, value: Value, target: str, unsigned: bool) -> Value:
    """An integer in another width: wrapping, or extended."""
    have, want = element_bits(value.element), element_bits(target)
    if have == want:
        return value
    if have > want:
        return w.convert("trunc", value, target)
    return w.convert("zext" if unsigned else "sext", value, target)


def _from_float(w: Writer, value: Value, target: Attribute, unsigned: bool) -> Value:
    """f32 or f64 to another float or to an integer. Narrow integers go through i32, so they wrap like the wide."""
    kind = llvm_element(target)
    if is_float(target):
        return w.convert("fpext" if kind == "double" else "fptrunc", value, kind)
    if element_bits(kind) < 32:
        return w.convert("trunc", w.convert("fptosi", value, "i32"), kind)
    return w.convert("fptoui" if unsigned else "fptosi", value, kind)
