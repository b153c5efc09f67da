"""Lane-by-lane ops on tiles.

In: tiles that broadcast. Out: one tile. The one idea: an op is one function on machine values, and how tiles of
different shape line up is decided once, in ``map_tiles``: where all operands of a row are scalars the result is too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdsl.dialects.builtin import BFloat16Type, Float16Type, FloatAttr, IntegerAttr
from xdsl.ir import Attribute, Operation

from penstock.compiler.backends import math as polynomials
from penstock.compiler.backends.llvm.calls import Calls
from penstock.compiler.backends.llvm.conversions import convert, narrow, widen
from penstock.compiler.backends.llvm.emitter import Emitter, handles
from penstock.compiler.backends.llvm.instructions import LaneInstructions
from penstock.compiler.backends.llvm.tiles import Row, Tile, chunks, outer_indices, row_count, row_number
from penstock.compiler.backends.llvm.types import constant_text, element_bits, literal, llvm_element
from penstock.compiler.backends.llvm.writer import Value, Writer
from penstock.compiler.dialects.tile import arithmetic
from penstock.compiler.dialects.tile.base import element, shape
from penstock.compiler.dtypes import F32, is_float, is_unsigned


def map_tiles(
    emitter: Emitter, extents: tuple[int, ...], tiles: list[Tile], function: Callable[..., Value]
) -> list[Row]:
    """Rows of ``function`` applied to the machine values of ``tiles``, broadcast to ``extents``.

    Rows made of the same machine values are computed once.
    """
    last = extents[-1] if extents else 1
    made: dict[tuple[Row, ...], Row] = {}
    rows: list[Row] = []
    for indices in outer_indices(extents):
        sources = tuple(tile.rows[row_number(indices, tile.extents)] for tile in tiles)
        if sources not in made:
            if all(len(row) == 1 and row[0].lanes == 1 for row in sources):
                made[sources] = (function(*(row[0] for row in sources)),)
            else:
                columns = (chunks(emitter.writer, row, last, emitter.width) for row in sources)
                made[sources] = tuple(function(*values) for values in zip(*columns, strict=True))
        rows.append(made[sources])
    return rows


Lanewise = Callable[..., Value]


def _divide(w: Writer, a: Value, b: Value, signed: bool, remainder: bool) -> Value:
    """Integer division that never traps: by zero gives 0, the most negative number by -1 wraps."""
    opcode = ("s" if signed else "u") + ("rem" if remainder else "div")
    if b.number is not None and b.number not in (0, -1):
        return w.binary(opcode, a, b)
    zero, one = w.constant(0, a.element, a.lanes), w.constant(1, a.element, a.lanes)
    by_zero = w.compare("icmp eq", b, zero)
    safe = w.select(by_zero, one, b)
    by_minus_one = w.compare("icmp eq", b, w.constant(-1, a.element, a.lanes)) if signed else None
    if by_minus_one is not None:
        safe = w.select(by_minus_one, one, safe)
    result = w.binary(opcode, a, safe)
    if by_minus_one is not None and not remainder:
        result = w.select(by_minus_one, w.binary("sub", zero, a), result)
    return w.select(by_zero, zero, result)


def _extreme(w: Writer, a: Value, b: Value, predicate: str) -> Value:
    """Floating-point max (ogt) or min (olt) that propagates NaN: x86's instruction returns its second operand when
    either is NaN, so only a NaN in the first needs care, and a known number goes first."""
    if b.number is not None and a.number is None and b.number == b.number:
        a, b = b, a
    result = w.select(w.compare(f"fcmp {predicate}", a, b), a, b)
    if a.number is not None and a.number == a.number:
        return result
    return w.select(w.compare("fcmp uno", a, a), a, result)


def _fast_extreme(predicate: str) -> Callable[[Writer, Value, Value], Value]:
    return lambda w, a, b: w.select(w.compare(f"fcmp {predicate}", a, b), a, b)


Unary = Callable[[Writer, Value], Value]
Binary = Callable[[Writer, Value, Value], Value]


def _opcode(name: str) -> Binary:
    return lambda w, a, b: w.binary(name, a, b)


def _intrinsic(name: str) -> Unary:
    return lambda w, a: w.intrinsic(name, a)


def _intrinsic2(name: str) -> Binary:
    return lambda w, a, b: w.intrinsic(name, a, b)


def _same(w: Writer, a: Value) -> Value:
    return a


def _float_instructions() -> dict[str, Callable[..., Value]]:
    """Ops on f32 and f64 that are instructions."""
    unary: dict[str, Unary] = {
        "neg": lambda w, a: w.emit(f"fneg {a}", a.element, a.lanes),
        "abs": _intrinsic("fabs"),
        "sqrt": _intrinsic("sqrt"),
        "floor": _intrinsic("floor"),
        "ceil": _intrinsic("ceil"),
        "round_even": _intrinsic("roundeven"),
    }
    binary: dict[str, Binary] = {
        "add": _opcode("fadd"),
        "sub": _opcode("fsub"),
        "mul": _opcode("fmul"),
        "div": _opcode("fdiv"),
        "max": lambda w, a, b: _extreme(w, a, b, "ogt"),
        "min": lambda w, a, b: _extreme(w, a, b, "olt"),
        "max_fast": _fast_extreme("ogt"),
        "min_fast": _fast_extreme("olt"),
    }
    return {**unary, **binary}


def _integer_instructions(unsigned: bool) -> dict[str, Callable[..., Value]]:
    """Ops on integers; for an unsigned element type the signed forms mean the unsigned ones."""
    sign = "u" if unsigned else "s"
    unary: dict[str, Unary] = {
        "neg": lambda w, a: w.binary("sub", w.constant(0, a.element, a.lanes), a),
        "not_": lambda w, a: w.binary("xor", a, w.constant(-1, a.element, a.lanes)),
        "abs": _same if unsigned else _integer_abs,
        "floor": _same,
        "ceil": _same,
        "round_even": _same,
    }
    binary: dict[str, Binary] = {
        "add": _opcode("add"),
        "sub": _opcode("sub"),
        "mul": _opcode("mul"),
        "and_": _opcode("and"),
        "or_": _opcode("or"),
        "xor": _opcode("xor"),
        "shl": _opcode("shl"),
        "shr": _opcode("lshr" if unsigned else "ashr"),
        "shru": _opcode("lshr"),
        "div": lambda w, a, b: _divide(w, a, b, not unsigned, False),
        "divu": lambda w, a, b: _divide(w, a, b, False, False),
        "rem": lambda w, a, b: _divide(w, a, b, not unsigned, True),
        "remu": lambda w, a, b: _divide(w, a, b, False, True),
        "max": _intrinsic2(f"{sign}max"),
        "min": _intrinsic2(f"{sign}min"),
        "maxu": _intrinsic2("umax"),
        "minu": _intrinsic2("umin"),
        "max_fast": _intrinsic2(f"{sign}max"),
        "min_fast": _intrinsic2(f"{sign}min"),
        "pow": lambda w, a, b: _integer_power(w, a, b, not unsigned),
    }
    return {**unary, **binary, "fma": _integer_multiply_add}


def _integer_multiply_add(w: Writer, a: Value, b: Value, c: Value) -> Value:
    return w.binary("add", w.binary("mul", a, b), c)


def _integer_abs(w: Writer, a: Value) -> Value:
    negative = w.binary("sub", w.constant(0, a.element, a.lanes), a)
    return w.intrinsic("smax", a, negative)


def _integer_power(w: Writer, a: Value, b: Value, signed: bool) -> Value:
    """Wrapping power by squaring over all bits of the exponent; to a negative power 0 unless the base is 1 or -1."""
    zero, one = w.constant(0, a.element, a.lanes), w.constant(1, a.element, a.lanes)
    result, base, bits = one, a, element_bits(a.element)
    known = int(b.number) if b.number is not None and b.number >= 0 else None
    for bit in range(bits if known is None else known.bit_length()):
        if known is not None:
            result = w.binary("mul", result, base) if known >> bit & 1 else result
        else:
            taken = w.compare("icmp ne", w.binary("and", b, w.constant(1 << bit, a.element, a.lanes)), zero)
            result = w.select(taken, w.binary("mul", result, base), result)
        base = w.binary("mul", base, base)
    if known is not None or not signed:
        return result
    # A negative exponent has its bits set above; its lowest bit gives the sign of a power of -1.
    minus_one = w.constant(-1, a.element, a.lanes)
    odd = w.compare("icmp ne", w.binary("and", b, one), zero)
    of_minus_one = w.select(odd, minus_one, one)
    inverse = w.select(w.compare("icmp eq", a, one), one, zero)
    inverse = w.select(w.compare("icmp eq", a, minus_one), of_minus_one, inverse)
    return w.select(w.compare("icmp slt", b, zero), inverse, result)


_FLOAT = _float_instructions()
_SIGNED = _integer_instructions(unsigned=False)
_UNSIGNED = _integer_instructions(unsigned=True)
_MATHEMATICS = tuple(polynomials.FUNCTIONS)


def lanewise(emitter: Emitter, name: str, kind: Attribute) -> Lanewise:
    """The function on machine values for op ``name`` on lanes of element type ``kind``. Raises KeyError if none."""
    w = emitter.writer
    if isinstance(kind, Float16Type | BFloat16Type):
        inner = lanewise(emitter, name, F32)

        def through_f32(*values: Value) -> Value:
            if name == "fma" and any(v.invalid and v.number == 0 for v in values[:2]):
                return values[2]
            return narrow(w, inner(*(widen(w, value, kind) for value in values)), kind)

        return through_f32
    if not is_float(kind):
        function = (_UNSIGNED if is_unsigned(kind) else _SIGNED)[name]
    elif name == "fma":
        function = _fused if emitter.machine.fused else _unfused
    elif name in _MATHEMATICS:
        formula = polynomials.FUNCTIONS[name]
        return lambda *values: formula(LaneInstructions(emitter, values[0].element, values[0].lanes), *values)
    else:
        function = _FLOAT[name]
    if name == "fma":

        def without_padding(a: Value, b: Value, c: Value) -> Value:
            if (a.invalid and a.number == 0) or (b.invalid and b.number == 0):
                return c
            return function(w, a, b, c)

        return without_padding
    return lambda *values: function(w, *values)


def _fused(w: Writer, a: Value, b: Value, c: Value) -> Value:
    return w.intrinsic("fma", a, b, c)


def _unfused(w: Writer, a: Value, b: Value, c: Value) -> Value:
    return w.binary("fadd", w.binary("fmul", a, b), c)


_ELEMENTWISE = sorted({*_FLOAT, *_SIGNED, *_MATHEMATICS})


@handles(*(f"tile.{name}" for name in _ELEMENTWISE))
def emit_elementwise(emitter: Emitter, op: Operation) -> None:
    """Any op whose result lane depends on the operands' lanes alone."""
    name, kind = op.name.removeprefix("tile."), element(op.results[0])
    function = lanewise(emitter, name, kind)
    tiles = [emitter.tile(operand) for operand in op.operands]
    extents = shape(op.results[0])
    if name in _MATHEMATICS and is_float(kind):
        calls = Calls(emitter, function)
        map_tiles(emitter, extents, tiles, calls.collect)
        calls.compute()
        emitter.define(op.results[0], map_tiles(emitter, extents, tiles, calls.result))
    else:
        emitter.define(op.results[0], map_tiles(emitter, extents, tiles, function))


_FLOAT_PREDICATES = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


@handles("tile.compare")
def emit_compare(emitter: Emitter, op: arithmetic.Compare) -> None:
    """Masks; f16 and bf16 compare as f32."""
    w, predicate, kind = emitter.writer, op.predicate, element(op.operands[0])
    half = isinstance(kind, Float16Type | BFloat16Type)
    if is_float(kind):
        opcode = f"fcmp {_FLOAT_PREDICATES[predicate]}"
    elif predicate in ("eq", "ne"):
        opcode = f"icmp {predicate}"
    else:
        unsigned = is_unsigned(kind) or predicate.endswith("u")
        opcode = f"icmp {'u' if unsigned else 's'}{predicate.removesuffix('u')}"

    def function(a: Value, b: Value) -> Value:
        return w.compare(opcode, widen(w, a, kind), widen(w, b, kind)) if half else w.compare(opcode, a, b)

    tiles = [emitter.tile(operand) for operand in op.operands]
    emitter.define(op.results[0], map_tiles(emitter, shape(op.results[0]), tiles, function))


@handles("tile.select")
def emit_select(emitter: Emitter, op: arithmetic.Select) -> None:
    """A blend."""
    tiles = [emitter.tile(operand) for operand in op.operands]
    emitter.define(op.results[0], map_tiles(emitter, shape(op.results[0]), tiles, emitter.writer.select))


@handles("tile.cast")
def emit_cast(emitter: Emitter, op: arithmetic.Cast) -> None:
    """Lanes that lie outside an access stay so."""
    source, target, mode = element(op.operands[0]), element(op.results[0]), op.mode

    def function(value: Value) -> Value:
        if value.invalid and value.number == 0:
            zero = constant_text(literal(0, llvm_element(target)), llvm_element(target), value.lanes)
            return Value(zero, llvm_element(target), value.lanes, 0, True)
        return convert(emitter.writer, value, source, target, mode, instruction=emitter.machine.pairs)

    emitter.define(op.results[0], map_tiles(emitter, shape(op.results[0]), [emitter.tile(op.operands[0])], function))


@handles("tile.constant")
def emit_constant(emitter: Emitter, op: arithmetic.Constant) -> None:
    """Costs nothing: every use writes the number."""
    kind, attribute = element(op.results[0]), op.value
    assert isinstance(attribute, IntegerAttr | FloatAttr)
    emitter.define(op.results[0], [(number(attribute.value.data, kind),)] * row_count(shape(op.results[0])))


def number(value: Any, kind: Attribute) -> Value:
    """A known scalar of element type ``kind``."""
    name = llvm_element(kind)
    half = isinstance(kind, Float16Type | BFloat16Type)
    if isinstance(value, float) and is_unsigned(kind):
        value = int(min(max(value, 0.0), 2.0 ** element_bits(name) - 1)) if value == value else 0
    return Value(literal(value, name, kind), name, 1, None if half and value != 0 else value)
