"""What a tile kernel means, run in numpy: the oracle for back ends and a debugging aid for schedules.

In: a kernel and numpy arrays. Out: the arrays, written, or an ``AccessError`` that names the op. The one idea: it is
slow and strict. Every access is checked against its buffer, scratch memory starts as garbage, and each unit's
writes are recorded, so that a kernel whose units do not write disjoint memory is found out on any input.

Elementary functions are numpy's, in the next wider type: a back end may differ by its stated bound. A multiply-add
with lanes of an access that lie outside its static bounds is emitted as nothing; here it adds 0 times the other
factor, which differs only if that is infinite or NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import scf
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, MemRefType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from penstock.compiler.dialects.graph.scalar import erf, gelu_tail
from penstock.compiler.dialects.tile import arithmetic, memory
from penstock.compiler.dialects.tile.base import element, shape
from penstock.compiler.dtypes import BF16, F16, I1, INDEX, is_float, is_unsigned, numpy_dtype, shape_of
from penstock.compiler.extents import evaluate
from penstock.compiler.locations import source_names

Array = NDArray[Any]


class AccessError(Exception):
    """A kernel touched memory it must not touch."""


def dtype_of(kind: Attribute) -> np.dtype[Any]:
    """numpy's dtype of an element type; an index is int64."""
    return np.dtype(np.int64) if kind == INDEX else numpy_dtype(kind)


def _unsigned(x: Array) -> Array:
    return x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "i" else x


def _wider(x: Array) -> Array:
    """f16 and f32 as f64, f64 as long double."""
    return x.astype(np.longdouble if x.dtype == np.float64 else np.float64)


def _fma(a: Array, b: Array, c: Array) -> Array:
    if a.dtype.kind != "f":
        return a * b + c
    return (_wider(a) * _wider(b) + _wider(c)).astype(a.dtype)


def _divide(a: Array, b: Array) -> Array:
    """Towards zero; by zero 0; wrapping."""
    if a.dtype.kind == "f":
        return a / b
    safe = np.where(b == 0, np.array(1, b.dtype), b)
    if a.dtype.kind == "u":
        return np.where(b == 0, 0, a // safe).astype(a.dtype)
    safe = np.where(safe == -1, 1, safe)
    quotient = a // safe
    quotient += ((a - quotient * safe != 0) & ((a < 0) != (safe < 0))).astype(a.dtype)
    return np.where(b == 0, 0, np.where(b == -1, np.negative(a), quotient)).astype(a.dtype)


def _remainder(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.fmod(a, b)
    return np.where(b == 0, 0, a - _divide(a, b) * b).astype(a.dtype)


def _power(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.power(_wider(a), _wider(b)).astype(a.dtype)
    result = np.power(a, np.maximum(b, 0))
    odd = np.where(b & 1 == 1, -1, 1)
    inverse = np.where(a == 1, 1, np.where(a == -1, odd, 0))
    return np.where(b < 0, inverse.astype(a.dtype), result)


def _exact(function: Callable[..., Any]) -> Callable[[Array], Array]:
    """A function of floats evaluated in the wider type and rounded once."""

    def rounded(x: Array) -> Array:
        return function(_wider(x)).astype(x.dtype)

    return rounded


def _fast(function: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Array]:
    return lambda a, b: np.where(function(a, b), a, b)


_UNARY: dict[str, Callable[[Array], Any]] = {
    "neg": np.negative,
    "abs": lambda x: x if x.dtype.kind == "b" else np.abs(x),
    "sqrt": np.sqrt,
    "exp": _exact(np.exp),
    "exp2": _exact(np.exp2),
    "log": _exact(np.log),
    "erf": _exact(erf),
    "gelu_tail": gelu_tail,
    "tanh": _exact(np.tanh),
    "sin": _exact(np.sin),
    "cos": _exact(np.cos),
    "tan": _exact(np.tan),
    "asin": _exact(np.arcsin),
    "acos": _exact(np.arccos),
    "atan": _exact(np.arctan),
    "sinh": _exact(np.sinh),
    "cosh": _exact(np.cosh),
    "asinh": _exact(np.arcsinh),
    "acosh": _exact(np.arccosh),
    "atanh": _exact(np.arctanh),
    "floor": lambda x: np.floor(x) if x.dtype.kind == "f" else x,
    "ceil": lambda x: np.ceil(x) if x.dtype.kind == "f" else x,
    "round_even": lambda x: np.rint(x) if x.dtype.kind == "f" else x,
    "not_": lambda x: np.logical_not(x) if x.dtype.kind == "b" else np.invert(x),
}
_BINARY: dict[str, Callable[[Array, Array], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "divu": lambda a, b: _divide(_unsigned(a), _unsigned(b)).view(a.dtype),
    "rem": _remainder,
    "remu": lambda a, b: _remainder(_unsigned(a), _unsigned(b)).view(a.dtype),
    "max": np.maximum,
    "min": np.minimum,
    "maxu": lambda a, b: np.maximum(_unsigned(a), _unsigned(b)).view(a.dtype),
    "minu": lambda a, b: np.minimum(_unsigned(a), _unsigned(b)).view(a.dtype),
    "max_fast": _fast(np.greater),
    "min_fast": _fast(np.less),
    "and_": np.bitwise_and,
    "or_": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "shru": lambda a, b: np.right_shift(_unsigned(a), _unsigned(b)).view(a.dtype),
    "pow": _power,
}
_OPERATIONS: dict[str, Callable[..., Any]] = {**_UNARY, **_BINARY, "fma": _fma}
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_REDUCTIONS = {"and": "and_", "or": "or_"}


@dataclass
class _Buffer:
    """A kernel's buffer: its elements, which are defined, and which other units wrote (``None``: never written)."""

    name: str
    data: Array
    written: Array | None = None
    now: Array | None = None


@dataclass
class TileInterpreter:
    """Runs kernels. ``run`` is the entry; ``trace`` is called with every op and its result arrays, if given."""

    trace: Callable[[Operation, list[Array]], None] | None = None
    _values: dict[SSAValue, Array] = field(default_factory=dict[SSAValue, Array])
    _buffers: dict[SSAValue, _Buffer] = field(default_factory=dict[SSAValue, _Buffer])
    _sizes: dict[str, int] = field(default_factory=dict[str, int])
    _first: int = 0
    _taken: int = 0
    _last: int = 0

    def run(self, kernel: memory.Kernel, arrays: list[Array], begin: int = 0, end: int | None = None) -> None:
        """Run units [begin, end) (default: all), one at a time; those of a team kernel as one thread. Outputs are the
        last arrays.

        Raises AccessError for an access outside a buffer, a write to an input, or an element that two units write or
        that one writes and another reads.
        """
        inputs = len(kernel.buffers) - kernel.outputs
        self._sizes = kernel.sizes_in(arrays)
        buffers: list[_Buffer] = []
        for number, (value, array) in enumerate(zip(kernel.buffers, arrays, strict=True)):
            kind = value.type
            assert isinstance(kind, MemRefType)
            if array.dtype != dtype_of(element(value)) or not array.flags.c_contiguous:
                raise AccessError(f"buffer {number} must be contiguous {dtype_of(element(value))}, not {array.dtype}")
            count = evaluate(shape_of(kind)[0], self._sizes)
            if array.size < count:
                raise AccessError(f"buffer {number} must have {count} elements, not {array.size}")
            flat = array.reshape(-1)[:count]
            output = number >= inputs
            buffers.append(_Buffer(f"buffer {number}", flat, *((np.zeros(count, bool),) * 2 if output else ())))
            if output:
                buffers[-1].now = np.zeros(count, bool)
        last = evaluate(kernel.units, self._sizes) if end is None else end
        width = max(1, last - begin) if kernel.team else 1
        for unit in range(begin, last, width):
            self._values = {kernel.body.args[-2]: np.array(unit), kernel.body.args[-1]: np.array(unit + width)}
            self._first, self._taken, self._last = unit, unit, unit + width
            self._buffers = dict(zip(kernel.buffers, buffers, strict=True))
            with np.errstate(all="ignore"):
                self._block(kernel.body)
            for buffer in buffers[inputs:]:
                assert buffer.written is not None
                assert buffer.now is not None
                buffer.written |= buffer.now
                buffer.now[:] = False

    # Control -----------------------------------------------------------------------------------------------------

    def _block(self, block: Block) -> list[Array]:
        """Run a block; returns its terminator's operands."""
        for op in block.ops:
            if op is block.last_op:
                return [self._values[operand] for operand in op.operands]
            self._operation(op)
        raise AssertionError("a block has a terminator")

    def _operation(self, op: Operation) -> None:
        if isinstance(op, scf.ForOp):
            lower, upper, step = (int(self._values[v]) for v in (op.lb, op.ub, op.step))
            carried = [self._values[v] for v in op.iter_args]
            for index in range(lower, upper, step):
                self._define(op.body.block.args, [np.array(index), *carried])
                carried = self._block(op.body.block)
            self._define(op.results, carried)
        elif isinstance(op, scf.IfOp):
            region = op.true_region if bool(self._values[op.cond]) else op.false_region
            self._define(op.results, self._block(region.block) if region.blocks else [])
        elif isinstance(op, scf.WhileOp):
            carried = [self._values[v] for v in op.arguments]
            while True:
                self._define(op.before_region.block.args, carried)
                go_on, *carried = self._block(op.before_region.block)
                if not bool(go_on):
                    break
                self._define(op.after_region.block.args, carried)
                carried = self._block(op.after_region.block)
            self._define(op.results, carried)
        else:
            handler = getattr(self, "_" + op.name.removeprefix("tile."), None)
            results = handler(op) if handler else self._elementwise(op)
            self._define(op.results, [] if results is None else [results])
        if self.trace is not None:
            self.trace(op, [self._values[result] for result in op.results if result in self._values])

    def _define(self, values: Any, arrays: list[Array]) -> None:
        for value, array in zip(values, arrays, strict=True):
            self._values[value] = np.asarray(array)

    # Values --------------------------------------------------------------------------------------------------------

    def _elementwise(self, op: Operation) -> Array:
        name, kind = op.name.removeprefix("tile."), element(op.results[0])
        operands = [self._values[operand] for operand in op.operands]
        if kind in (F16, BF16):
            result = _OPERATIONS[name](*(x.astype(np.float32) for x in operands))
        else:
            result = _OPERATIONS[name](*operands)
        return np.broadcast_to(np.asarray(result).astype(dtype_of(kind)), shape(op.results[0]))

    def _dot_pairs(self, op: arithmetic.DotPairs) -> Array:
        a, b, total = (self._values[operand] for operand in op.operands)
        for upper in (True, False):
            x, y = (_half(word, upper) for word in (a, b))
            total = (x * y + total).astype(np.float32)
        return np.broadcast_to(total, shape(op.results[0]))

    def _pair(self, op: arithmetic.Pair) -> Array:
        low, high = (np.ascontiguousarray(self._values[operand]).view(np.uint16) for operand in op.operands)
        words = low.astype(np.uint32) | high.astype(np.uint32) << np.uint32(16)
        return np.broadcast_to(words.view(np.int32), shape(op.results[0]))

    def _compare(self, op: arithmetic.Compare) -> Array:
        a, b = (self._values[operand] for operand in op.operands)
        if op.predicate.endswith("u"):
            a, b = _unsigned(a), _unsigned(b)
        if a.dtype == dtype_of(BF16):
            a, b = a.astype(np.float32), b.astype(np.float32)
        return _COMPARISONS[op.predicate.removesuffix("u")](a, b)

    def _select(self, op: arithmetic.Select) -> Array:
        return np.where(*(self._values[operand] for operand in op.operands))

    def _cast(self, op: arithmetic.Cast) -> Array:
        x, target = self._values[op.operands[0]], element(op.results[0])
        source, wanted = element(op.operands[0]), dtype_of(target)
        if op.mode == "bits":
            return np.ascontiguousarray(x).view(wanted).reshape(x.shape)
        if target == I1:
            return x != 0
        if is_float(source) and not is_float(target):
            unsigned = op.mode == "unsigned" or is_unsigned(target)
            wide = np.uint64 if unsigned and wanted.itemsize == 8 else np.int64
            return np.trunc(x.astype(np.float64)).astype(wide).astype(wanted)
        if not is_float(source) and op.mode == "unsigned":
            x = _unsigned(x)
        if wanted == dtype_of(BF16) and x.dtype == np.float64:
            return _f64_to_bf16(x)
        return x.astype(wanted)

    def _constant(self, op: arithmetic.Constant) -> Array:
        attribute = op.value
        assert isinstance(attribute, IntegerAttr | FloatAttr)
        number = attribute.value.data
        kind = dtype_of(element(op.results[0]))
        value = (
            np.array(number % (1 << 8 * kind.itemsize), f"u{kind.itemsize}").view(kind)
            if kind.kind in "iu"
            else (np.array(number).astype(kind))
        )
        return np.broadcast_to(value, shape(op.results[0]))

    def _broadcast(self, op: memory.Broadcast) -> Array:
        return np.broadcast_to(self._values[op.operands[0]], shape(op.results[0]))

    def _reshape(self, op: memory.Reshape) -> Array:
        return self._values[op.operands[0]].reshape(shape(op.results[0]))

    def _transpose(self, op: memory.Transpose) -> Array:
        return np.swapaxes(self._values[op.operands[0]], -1, -2)

    def _extract(self, op: memory.Extract) -> Array:
        return self._values[op.operands[0]][op.position]

    def _iota(self, op: memory.Iota) -> Array:
        return np.indices(shape(op.results[0]), np.int64)[op.dim]

    def _reduce(self, op: memory.Reduce) -> Array:
        """Neighbours pairwise along each dimension in turn; a back end's tree may differ."""
        function = _OPERATIONS[_REDUCTIONS.get(op.kind, op.kind)]
        x = self._values[op.operands[0]]
        kind = x.dtype
        for dim in op.dims:
            while x.shape[dim] > 1:
                count = x.shape[dim] // 2
                even, odd = (np.take(x, np.arange(start, 2 * count, 2), dim) for start in (0, 1))
                rest = np.take(x, np.arange(2 * count, x.shape[dim]), dim)
                x = np.concatenate([function(even, odd).astype(kind), rest], dim)
        return x

    # Memory --------------------------------------------------------------------------------------------------------

    def _places(self, op: memory.Access, tile: SSAValue, offset: SSAValue, limits: Any) -> tuple[Array, Array]:
        """Position of every lane in the buffer, and which lanes are valid."""
        extents = shape(tile)
        place = np.full(extents, int(self._values[offset]), np.int64)
        valid = np.ones(extents, bool)
        index = np.indices(extents, np.int64) if extents else []
        limits, strides = list(limits), list(op.strides)
        for dim in reversed(op.symbolic_strides()):
            strides[dim] = int(self._values[limits.pop()])
        for dim in range(len(extents)):
            place += index[dim] * strides[dim]
            if op.lower:
                valid &= index[dim] >= op.lower[dim]
            if op.upper:
                valid &= index[dim] < op.upper[dim]
        for dim, limit in zip(op.limited, limits, strict=True):
            valid &= index[dim] < int(self._values[limit])
        return place, valid

    def _check(self, op: Operation, buffer: _Buffer, place: Array, write: bool) -> None:
        """The elements at ``place`` exist and are this unit's to touch."""
        where = ", ".join(source_names(op.location)) or "nowhere"
        if place.size == 0:
            return
        if place.min() < 0 or place.max() >= buffer.data.size:
            raise AccessError(
                f"{op.name} (from {where}) touches element {place.min()} .. {place.max()} of {buffer.name}, "
                f"which has {buffer.data.size}"
            )
        if write and buffer.now is None:
            raise AccessError(f"{op.name} (from {where}) writes {buffer.name}, which is an input")
        if buffer.written is not None and buffer.written[place].any():
            raise AccessError(f"{op.name} (from {where}) touches elements of {buffer.name} that another unit writes")
        if write and buffer.now is not None:
            buffer.now[place] = True

    def _words(self, op: memory.Words) -> Array:
        buffer = self._buffers[op.operands[0]]
        self._buffers[op.results[0]] = _Buffer(buffer.name, buffer.data.view(np.int32))
        return np.array(0)

    def _load(self, op: memory.Load) -> Array:
        buffer = self._buffers[op.operands[0]]
        place, valid = self._places(op, op.results[0], op.operands[1], op.operands[2:])
        self._check(op, buffer, place[valid], write=False)
        return self._read(buffer, place, valid, op.fill)

    @staticmethod
    def _read(buffer: _Buffer, place: Array, valid: Array, fill: float) -> Array:
        kind = buffer.data.dtype
        if kind.kind in "iu" and not np.isfinite(fill):
            fill = np.iinfo(kind).min if fill < 0 else np.iinfo(kind).max
        result = np.full(place.shape, fill).astype(kind)
        result[valid] = buffer.data[place[valid]]
        return result

    def _store(self, op: memory.Store) -> None:
        buffer = self._buffers[op.operands[1]]
        place, valid = self._places(op, op.operands[0], op.operands[2], op.operands[3:])
        self._write(op, buffer, self._values[op.operands[0]], place, valid)

    def _write(self, op: Operation, buffer: _Buffer, tile: Array, place: Array, valid: Array) -> None:
        self._check(op, buffer, place[valid], write=True)
        for position, value in zip(place[valid], np.broadcast_to(tile, place.shape)[valid], strict=True):
            buffer.data[position] = value

    def _gather(self, op: memory.Gather) -> Array:
        buffer, place = self._buffers[op.operands[0]], self._values[op.operands[1]]
        valid = self._mask(op.operands[2:], place)
        self._check(op, buffer, place[valid], write=False)
        return self._read(buffer, place, valid, op.fill)

    def _scatter(self, op: memory.Scatter) -> None:
        place = self._values[op.operands[2]]
        self._write(
            op,
            self._buffers[op.operands[1]],
            self._values[op.operands[0]],
            place,
            self._mask(op.operands[3:], place),
        )

    def _mask(self, operands: Any, place: Array) -> Array:
        return np.broadcast_to(self._values[operands[0]], place.shape) if operands else np.ones(place.shape, bool)

    def _alloc(self, op: memory.Alloc) -> Array:
        kind = op.results[0].type
        assert isinstance(kind, MemRefType)
        count, dtype = evaluate(op.count, self._sizes), dtype_of(element(op.results[0]))
        garbage = np.full(count * dtype.itemsize, 0xFF, np.uint8).view(dtype)
        buffer = _Buffer("scratch", garbage, np.zeros(count, bool), np.zeros(count, bool))
        self._buffers[op.results[0]] = buffer
        return garbage

    def _take(self, op: memory.Take) -> Array:
        """There is one thread: it takes all units in order."""
        unit, self._taken = self._taken, self._taken + 1
        if unit < self._last:
            return np.array(unit)
        self._taken = self._first
        return np.array(-1)

    def _prefetch(self, op: memory.Prefetch) -> None:
        """A hint: nothing happens, whatever the address."""


def _half(words: Array, upper: bool) -> Array:
    """The bf16 in one half of each word, as f64."""
    bits = words & np.int32(-1 << 16) if upper else words << np.int32(16)
    return np.ascontiguousarray(bits).view(np.float32).reshape(words.shape).astype(np.float64)


def _f64_to_bf16(x: Array) -> Array:
    """Rounded once: numpy's extension goes through f32."""
    near = x.astype(np.float32)
    toward = np.where(np.abs(near.astype(np.float64)) > np.abs(x), np.nextafter(near, np.float32(0)), near)
    odd = np.where(near.astype(np.float64) == x, near, (toward.view(np.uint32) | 1).view(np.float32))
    return np.where(np.isnan(x), near, odd).astype(np.float32).astype(dtype_of(BF16))


def interpret(kernel: memory.Kernel, arrays: list[Array], begin: int = 0, end: int | None = None) -> None:
    """Run ``kernel`` on ``arrays`` (outputs last). See TileInterpreter.run."""
    TileInterpreter().run(kernel, arrays, begin, end)
