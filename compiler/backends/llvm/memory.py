"""Loads and stores of tiles, scratch buffers, gathers and scatters.

In: a buffer, an offset, strides and the valid part of each dimension. Out: machine loads and stores that touch valid
elements only. The one idea: what is known at compile time costs nothing (invalid rows and vectors vanish, offsets
become displacements), and only run-time limits become masks.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from penstock.compiler.backends.llvm.elementwise import map_tiles, number
from penstock.compiler.backends.llvm.emitter import Emitter, handles, unsupported
from penstock.compiler.backends.llvm.tiles import Row, chunk_lanes, chunks, outer_indices, row_number
from penstock.compiler.backends.llvm.types import element_bytes, lane_constants, llvm_element, mangled, storage_element
from penstock.compiler.backends.llvm.writer import Value
from penstock.compiler.dialects.tile import memory
from penstock.compiler.dialects.tile.base import element, shape

MAX_INTERLEAVE = 4
"""Largest stride read as whole vectors whose lanes are then picked."""


@dataclass
class Place:
    """Where one row of an access lies: ``elements`` behind the tile's first, plus symbolic strides ``times`` the row's
    indices, and the run-time condition it depends on."""

    elements: int
    condition: Value | None
    times: tuple[tuple[int, int], ...] = ()


class AccessEmitter:
    """One load or store being emitted: the affine addresses, static bounds and run-time limits of its lanes."""

    def __init__(self, emitter: Emitter, op: memory.Access, tile: SSAValue, buffer: SSAValue, first_limit: int) -> None:
        self.emitter, self.op = emitter, op
        self.kind = element(tile)
        self.element, self.stored = llvm_element(self.kind), storage_element(self.kind)
        self.bytes = element_bytes(self.kind)
        self.extents = shape(tile)
        rank = len(self.extents)
        self.strides = op.strides
        self.lower = op.lower or (0,) * rank
        self.upper = tuple(map(min, op.upper, self.extents)) if op.upper else self.extents
        self.limits: dict[int, Value] = {}
        symbolic = op.symbolic_strides()
        first_stride = len(op.operands) - len(symbolic)
        self.run_time_strides = dict(zip(symbolic, op.operands[first_stride:], strict=True))
        for dim, operand in zip(op.limited, op.operands[first_limit:first_stride], strict=True):
            limit = emitter.scalar(operand)
            if limit.number is None:
                self.limits[dim] = limit
            else:
                self.upper = tuple(min(u, int(limit.number)) if d == dim else u for d, u in enumerate(self.upper))
        self.buffer, self.offset = buffer, op.operands[first_limit - 1]
        self.locate()
        self.last = self.extents[-1] if rank else 1
        self.stride = self.strides[-1] if rank else 1
        self.last_limit = self._narrow_limit(self.limits[rank - 1]) if rank - 1 in self.limits else None

    def locate(self) -> None:
        """Find or compute the base pointer; again after a new basic block has begun."""
        found = self.emitter.addressing.find(self.buffer, self.offset)
        if found is not None:
            self.base, self.shift = found
            self.row_base = self.base
            return
        pointer, offset = self.emitter.pointers[self.buffer], self.emitter.scalar(self.offset)
        key = (pointer, offset.text, self.stored)
        if key not in self.emitter.addresses:
            text = f"getelementptr {self.stored}, ptr {pointer}, i64 {offset.text}"
            self.emitter.addresses[key] = self.emitter.writer.emit(text, "ptr").text
        self.base, self.shift = self.emitter.addresses[key], 0
        self.row_base = self.base

    def _narrow_limit(self, limit: Value) -> Value:
        """The limit of the last dimension clamped to its extent, as i32: masks then compare 32-bit lanes."""
        w = self.emitter.writer
        clamped = w.intrinsic("smin", limit, w.constant(self.last, "i64"))
        clamped = w.intrinsic("smax", clamped, w.constant(0, "i64"))
        return w.convert("trunc", clamped, "i32")

    def rows(self) -> list[Place | None]:
        """The place of each row; None for a row that is statically invalid."""
        w, result = self.emitter.writer, list[Place | None]()
        conditions: dict[tuple[int, int], Value] = {}
        empty = self.lower[-1:] and self.lower[-1] >= self.upper[-1]
        for indices in outer_indices(self.extents):
            inside = all(lo <= i < up for i, lo, up in zip(indices, self.lower, self.upper, strict=False))
            if empty or not inside:
                result.append(None)
                continue
            condition: Value | None = None
            for dim, limit in self.limits.items():
                if dim == len(self.extents) - 1:
                    continue
                key = (dim, indices[dim])
                if key not in conditions:
                    conditions[key] = w.compare("icmp sgt", limit, w.constant(indices[dim], "i64"))
                one = conditions[key]
                condition = one if condition is None else w.binary("and", condition, one)
            steps = list(enumerate(zip(indices, self.strides, strict=False)))
            elements = sum(i * s for dim, (i, s) in steps if dim not in self.run_time_strides)
            times = tuple((dim, i) for dim, (i, _) in steps if dim in self.run_time_strides and i)
            result.append(Place(elements, condition, times))
        return result

    def enter(self, place: Place) -> None:
        """Addresses from here on are in the row at ``place``, whose ``elements`` are still the caller's to add."""
        self.row_base = self.base
        for dim, index in place.times:
            self.row_base = self._advanced(self.row_base, self.run_time_strides[dim], index)

    def _advanced(self, base: str, stride: SSAValue, rows: int) -> str:
        """``base`` moved by ``rows`` symbolic strides."""
        w, amount = self.emitter.writer, self.emitter.scalar(stride)
        key = (base, f"{amount.text}*{rows}", self.stored)
        if key not in self.emitter.addresses:
            distance = w.binary("mul", amount, w.constant(rows * self.bytes, "i64"))
            self.emitter.addresses[key] = w.emit(f"getelementptr i8, ptr {base}, i64 {distance.text}", "ptr").text
        return self.emitter.addresses[key]

    def address(self, elements: int) -> str:
        """Pointer to the element ``elements`` behind the first of the row entered."""
        elements += self.shift
        if elements == 0:
            return self.row_base
        key = (self.row_base, str(elements * self.bytes), "i8")
        if key not in self.emitter.addresses:
            text = f"getelementptr i8, ptr {self.row_base}, i64 {elements * self.bytes}"
            self.emitter.addresses[key] = self.emitter.writer.emit(text, "ptr").text
        return self.emitter.addresses[key]

    def span(self, first: int, lanes: int) -> tuple[int, int]:
        """The statically valid lanes [from, to) of a vector that starts at lane ``first`` of the last dimension."""
        if not self.extents:
            return 0, 1
        start = min(max(self.lower[-1] - first, 0), lanes)
        return start, max(start, min(self.upper[-1] - first, lanes))

    def mask(self, place: Place, first: int, lanes: int) -> Value | None:
        """The mask of a vector's valid lanes, None if all are."""
        w = self.emitter.writer
        start, stop = self.span(first, lanes)
        mask: Value | None = None
        if (start, stop) != (0, lanes):
            mask = w.lane_numbers([int(start <= i < stop) for i in range(lanes)], "i1")
        terms: list[Value] = []
        if self.last_limit is not None:
            positions = w.lane_numbers(list(range(first, first + lanes)), "i32")
            terms.append(w.compare("icmp sgt", w.splat(self.last_limit, lanes), positions))
        if place.condition is not None:
            terms.append(w.splat(place.condition, lanes))
        for term in terms:
            mask = term if mask is None else w.binary("and", term, mask)
        return mask

    def to_stored(self, value: Value) -> Value:
        return self.emitter.writer.convert("zext", value, "i8") if self.element == "i1" else value

    def from_stored(self, value: Value) -> Value:
        w = self.emitter.writer
        if self.element != "i1":
            return value
        return w.compare("icmp ne", value, w.constant(0, "i8", value.lanes))

    def pointers(self, elements: int, lanes: int) -> Value:
        """A vector of pointers to strided lanes."""
        offsets = lane_constants([i * self.stride * self.bytes for i in range(lanes)], "i64")
        text = f"getelementptr i8, ptr {self.address(elements)}, <{lanes} x i64> {offsets}"
        return self.emitter.writer.emit(text, "ptr", lanes)


class LoadEmitter(AccessEmitter):
    """A load being emitted."""

    def __init__(self, emitter: Emitter, op: memory.Load) -> None:
        super().__init__(emitter, op, op.results[0], op.operands[0], 2)
        self.fill = number(op.fill, self.kind)

    def outside(self, lanes: int) -> Value:
        """A vector of invalid lanes."""
        filled = self.emitter.writer.splat(self.fill, lanes)
        return Value(filled.text, filled.element, filled.lanes, filled.number, True)

    def row(self, place: Place | None) -> Row:
        if place is None:
            return (self.outside(1),)
        self.enter(place)
        if self.last == 1 or (
            self.stride == 0 and self.last_limit is None and self.span(0, self.last) == (0, self.last)
        ):
            return (self.scalar(place),)
        result: list[Value] = []
        first = 0
        for lanes in chunk_lanes(self.last, self.emitter.width):
            result.append(self.vector(place, first, lanes))
            first += lanes
        return tuple(result)

    def scalar(self, place: Place, elements: int = 0, condition: Value | None = None) -> Value:
        """One element; where its condition does not hold, another address is read and ``fill`` taken."""
        w = self.emitter.writer
        address = self.address(place.elements + elements)
        conditions = [c for c in (place.condition, condition, self._scalar_limit()) if c is not None]
        if not conditions:
            return self.from_stored(w.emit(f"load {self.stored}, ptr {address}, align {self.bytes}", self.stored))
        valid = conditions[0]
        for term in conditions[1:]:
            valid = w.binary("and", valid, term)
        safe = w.emit(f"select {valid}, ptr {address}, ptr %ctx", "ptr").text
        value = self.from_stored(w.emit(f"load {self.stored}, ptr {safe}, align {self.bytes}", self.stored))
        return w.select(valid, value, self.fill)

    def _scalar_limit(self) -> Value | None:
        if self.last_limit is None or self.last != 1:
            return None
        return self.emitter.writer.compare("icmp sgt", self.last_limit, self.emitter.writer.constant(0, "i32"))

    def vector(self, place: Place, first: int, lanes: int) -> Value:
        """The lanes of one machine vector, lane ``first`` of the row onwards."""
        w = self.emitter.writer
        start, stop = self.span(first, lanes)
        if start == stop:
            return self.outside(lanes)
        mask = self.mask(place, first, lanes)
        elements = place.elements + first * self.stride
        fill = w.splat(self.fill, lanes)
        if self.stride == 0:
            some = (
                None
                if self.last_limit is None
                else w.compare("icmp sgt", self.last_limit, w.constant(first + start, "i32"))
            )
            value = w.splat(self.scalar(place, 0, some), lanes)
            return value if mask is None else w.select(mask, value, fill)
        if mask is None:
            return self.from_stored(self._plain(elements, lanes))
        if lanes == 1:
            return self.scalar(place, first * self.stride, mask)
        native = self.bytes >= 4 or self.emitter.machine.masks_bytes
        if self.stride == 1 and (native or self.last_limit is not None or place.condition is not None):
            return self._masked("masked.load", Value(self.address(elements), "ptr"), mask, fill)
        if self.last_limit is None and place.condition is None:
            part = self._plain(elements + start * self.stride, stop - start)
            picks = [lanes + i - start if start <= i < stop else i for i in range(lanes)]
            return self.from_stored(w.shuffle(self.to_stored(fill), self._padded(part, lanes), picks))
        return self._masked("masked.gather", self.pointers(elements, lanes), mask, fill)

    def _padded(self, value: Value, lanes: int) -> Value:
        return self.emitter.writer.shuffle(value, None, [*range(value.lanes), *[-1] * (lanes - value.lanes)])

    def _masked(self, name: str, pointer: Value, mask: Value, fill: Value) -> Value:
        w, lanes = self.emitter.writer, mask.lanes
        other = self.to_stored(fill)
        pointers = "p0" if pointer.lanes == 1 else f"v{lanes}p0"
        symbol = w.declare(
            f"llvm.{name}.{mangled(self.stored, lanes)}.{pointers}", other.type, [pointer.type, mask.type, other.type]
        )
        call = f"call {other.type} {symbol}({pointer.type} align {self.bytes} {pointer.text}, {mask}, {other})"
        return self.from_stored(w.emit(call, self.stored, lanes))

    def _plain(self, elements: int, lanes: int) -> Value:
        """Unmasked lanes as stored, by the cheapest way for the stride."""
        w = self.emitter.writer
        if lanes == 1 or self.stride == 1:
            text = f"load {_typed(self.stored, lanes)}, ptr {self.address(elements)}, align {self.bytes}"
            return w.emit(text, self.stored, lanes)
        if abs(self.stride) <= MAX_INTERLEAVE:
            return self._interleaved(elements, lanes)
        return w.collect(
            [
                w.emit(
                    f"load {self.stored}, ptr {self.address(elements + i * self.stride)}, align {self.bytes}",
                    self.stored,
                )
                for i in range(lanes)
            ]
        )

    def _interleaved(self, elements: int, lanes: int) -> Value:
        """Lanes of a small stride: all elements from first to last as vectors, then shuffles."""
        w, step = self.emitter.writer, abs(self.stride)
        lowest = elements if self.stride > 0 else elements + (lanes - 1) * self.stride
        parts: list[tuple[int, Value]] = []
        begin, total = 0, (lanes - 1) * step + 1
        for size in chunk_lanes(total, self.emitter.width):
            text = f"load {_typed(self.stored, size)}, ptr {self.address(lowest + begin)}, align {self.bytes}"
            parts.append((begin, w.emit(text, self.stored, size)))
            begin += size
        wanted = [i * step for i in range(lanes)]
        if self.stride < 0:
            wanted.reverse()
        result: Value | None = None
        for begin, part in parts:
            part = self._widened(part, lanes)
            here = [p - begin if begin <= p < begin + self.emitter.width else None for p in wanted]
            if result is None:
                result = w.shuffle(part, None, [-1 if h is None else h for h in here])
            else:
                wide = max(part.lanes, lanes)
                result, part = self._widened(result, wide), self._widened(part, wide)
                result = w.shuffle(result, part, [i if h is None else wide + h for i, h in enumerate(here)])
        assert result is not None
        return result

    def _widened(self, value: Value, lanes: int) -> Value:
        return value if value.lanes >= lanes else self._padded(value, lanes)


def _typed(name: str, lanes: int) -> str:
    return name if lanes == 1 else f"<{lanes} x {name}>"


@handles("tile.load")
def emit_load(emitter: Emitter, op: memory.Load) -> None:
    """Rows at the same place are loaded once."""
    load = LoadEmitter(emitter, op)
    made: dict[tuple[int, str, tuple[tuple[int, int], ...]] | None, Row] = {}
    rows: list[Row] = []
    for place in load.rows():
        key = None if place is None else (place.elements, place.condition.text if place.condition else "", place.times)
        if key not in made:
            made[key] = load.row(place)
        rows.append(made[key])
    emitter.define(op.results[0], rows)


class StoreEmitter(AccessEmitter):
    """A store being emitted."""

    def __init__(self, emitter: Emitter, op: memory.Store) -> None:
        super().__init__(emitter, op, op.operands[0], op.operands[1], 3)
        self.tile = emitter.tile(op.operands[0])
        if self.stride == 0 and self.last > 1:
            raise unsupported(op, "lanes would be stored to one place")

    def row(self, place: Place, row: Row, masked: bool) -> None:
        """Store one row; ``masked`` tells whether the last dimension's run-time limit may cut it."""
        w, first = self.emitter.writer, 0
        self.enter(place)
        for value in chunks(w, row, self.last, self.emitter.width):
            start, stop = self.span(first, value.lanes)
            if start != stop:
                self._vector(place, value, first, masked)
            first += value.lanes

    def _vector(self, place: Place, value: Value, first: int, masked: bool) -> None:
        w, lanes = self.emitter.writer, value.lanes
        elements = place.elements + first * self.stride
        start, stop = self.span(first, lanes)
        if masked and self.last_limit is not None:
            mask = self.mask(Place(place.elements, None), first, lanes)
            assert mask is not None
            self._masked(elements, value, mask)
        elif stop - start < lanes and self.stride == 1 and lanes > 1:
            part = w.shuffle(value, None, list(range(start, stop)))
            self._store(self.to_stored(part), elements + start)
        elif self.stride == 1 or lanes == 1:
            self._store(self.to_stored(value), elements)
        else:
            stored = self.to_stored(value)
            for i in range(start, stop):
                self._store(w.lane(stored, i), elements + i * self.stride)

    def _store(self, value: Value, elements: int) -> None:
        self.emitter.writer.do(f"store {value}, ptr {self.address(elements)}, align {self.bytes}")

    def _masked(self, elements: int, value: Value, mask: Value) -> None:
        w, lanes = self.emitter.writer, value.lanes
        stored = self.to_stored(value)
        if lanes == 1:
            store, after = w.label("store"), w.label("stored")
            w.branch(mask, store, after)
            self.emitter.start(store)
            self._store(stored, elements)
            w.jump(after)
            self.emitter.start(after)
            return
        if self.stride == 1:
            pointer, name, pointers = Value(self.address(elements), "ptr"), "masked.store", "p0"
        else:
            pointer, name, pointers = self.pointers(elements, lanes), "masked.scatter", f"v{lanes}p0"
        full = f"llvm.{name}.{mangled(self.stored, lanes)}.{pointers}"
        symbol = w.declare(full, "void", [stored.type, pointer.type, mask.type])
        w.do(f"call void {symbol}({stored}, {pointer.type} align {self.bytes} {pointer.text}, {mask})")


@handles("tile.store")
def emit_store(emitter: Emitter, op: memory.Store) -> None:
    """Rows under a run-time limit are branched around. A limit of the last dimension has two versions, whole vectors
    where it does not cut and masks where it does."""
    store = StoreEmitter(emitter, op)
    w = emitter.writer
    places = store.rows()
    if store.last_limit is None or store.last == 1:
        _store_rows(emitter, store, places, masked=store.last_limit is not None)
        return
    whole, cut, after = w.label("whole"), w.label("cut"), w.label("stored")
    w.branch(w.compare("icmp eq", store.last_limit, w.constant(store.last, "i32")), whole, cut)
    for label, masked in ((whole, False), (cut, True)):
        emitter.start(label)
        store.locate()
        _store_rows(emitter, store, places, masked=masked)
        w.jump(after)
    emitter.start(after)


def _store_rows(emitter: Emitter, store: StoreEmitter, places: list[Place | None], masked: bool) -> None:
    w = emitter.writer
    for indices, place in zip(outer_indices(store.extents), places, strict=True):
        if place is None:
            continue
        row = store.tile.rows[row_number(indices, store.extents)]
        if place.condition is None:
            store.row(place, row, masked)
            continue
        inside, after = w.label("row"), w.label("next")
        w.branch(place.condition, inside, after)
        emitter.start(inside)
        store.row(place, row, masked)
        w.jump(after)
        emitter.start(after)


@handles("tile.alloc")
def emit_alloc(emitter: Emitter, op: memory.Alloc) -> None:
    """Nothing where the size is a number: these have their pointers from the kernel's start on. The others follow."""
    if op.results[0] not in emitter.pointers:
        emitter.allocate_counted(op.results[0], op.count, emitter.scalar(op.operands[0]), shared=bool(op.shared))


@handles("tile.prefetch")
def emit_prefetch(emitter: Emitter, op: memory.Prefetch) -> None:
    """A hint to the cache; it never faults."""
    w = emitter.writer
    kind, offset = element(op.operands[0]), emitter.scalar(op.operands[1])
    found = emitter.addressing.find(*op.operands[:2])
    if found is not None:
        address = w.emit(f"getelementptr i8, ptr {found[0]}, i64 {found[1] * element_bytes(kind)}", "ptr")
    else:
        pointer = emitter.pointers[op.operands[0]]
        address = w.emit(f"getelementptr {storage_element(kind)}, ptr {pointer}, i64 {offset.text}", "ptr")
    symbol = w.declare("llvm.prefetch.p0", "void", ["ptr", "i32 immarg", "i32 immarg", "i32 immarg"])
    w.do(f"call void {symbol}(ptr {address.text}, i32 0, i32 {op.locality}, i32 1)")


def _indexed(emitter: Emitter, buffer: SSAValue, indices: Value) -> Value:
    """Pointers to the elements at ``indices``."""
    kind = storage_element(element(buffer))
    text = f"getelementptr {kind}, ptr {emitter.pointers[buffer]}, {indices}"
    return emitter.writer.emit(text, "ptr", indices.lanes)


@handles("tile.gather")
def emit_gather(emitter: Emitter, op: memory.Gather) -> None:
    """Hardware gathers where the machine has them and they are not slow, else one load per lane."""
    w, buffer = emitter.writer, op.operands[0]
    kind = element(buffer)
    stored, size = storage_element(kind), element_bytes(kind)
    fill = number(op.fill, kind)
    indices = emitter.tile(op.operands[1])
    mask = emitter.tile(op.operands[2]) if len(op.operands) > 2 else None

    def loaded(value: Value) -> Value:
        return w.compare("icmp ne", value, w.constant(0, "i8", value.lanes)) if llvm_element(kind) == "i1" else value

    def scalar(index: Value, valid: Value | None) -> Value:
        address = _indexed(emitter, buffer, index).text
        if valid is not None:
            address = w.emit(f"select {valid}, ptr {address}, ptr %ctx", "ptr").text
        value = loaded(w.emit(f"load {stored}, ptr {address}, align {size}", stored))
        return value if valid is None else w.select(valid, value, fill)

    def vector(index: Value, valid: Value | None = None) -> Value:
        if index.lanes == 1:
            return scalar(index, valid)
        if not (emitter.machine.gathers and size >= 4):
            lanes = range(index.lanes)
            return w.collect([scalar(w.lane(index, i), None if valid is None else w.lane(valid, i)) for i in lanes])
        pointers = _indexed(emitter, buffer, index)
        lanes, other = index.lanes, w.splat(fill, index.lanes)
        chosen = valid or Value("splat (i1 true)", "i1", lanes)
        full = f"llvm.masked.gather.{mangled(stored, lanes)}.v{lanes}p0"
        symbol = w.declare(full, other.type, [pointers.type, chosen.type, other.type])
        call = f"call {other.type} {symbol}({pointers.type} align {size} {pointers.text}, {chosen}, {other})"
        return w.emit(call, stored, lanes)

    tiles = [indices] if mask is None else [indices, mask]
    emitter.define(op.results[0], map_tiles(emitter, shape(op.results[0]), tiles, vector))


@handles("tile.scatter")
def emit_scatter(emitter: Emitter, op: memory.Scatter) -> None:
    """Lanes are stored in order, so of equal indices the last lane wins."""
    w, buffer = emitter.writer, op.operands[1]
    kind = element(buffer)
    stored, size = storage_element(kind), element_bytes(kind)

    def store(value: Value, index: Value) -> None:
        w.do(f"store {value}, ptr {_indexed(emitter, buffer, index).text}, align {size}")

    def scatter(value: Value, index: Value, valid: Value | None) -> None:
        if valid is None:
            for i in range(value.lanes):
                store(w.lane(value, i), w.lane(index, i))
        elif value.lanes == 1:
            inside, after = w.label("store"), w.label("stored")
            w.branch(valid, inside, after)
            emitter.start(inside)
            store(value, index)
            w.jump(after)
            emitter.start(after)
        else:
            pointers = _indexed(emitter, buffer, index)
            full = f"llvm.masked.scatter.{mangled(stored, value.lanes)}.v{value.lanes}p0"
            symbol = w.declare(full, "void", [value.type, pointers.type, valid.type])
            w.do(f"call void {symbol}({value}, {pointers.type} align {size} {pointers.text}, {valid})")

    extents = shape(op.operands[0])
    tiles = [emitter.tile(operand) for operand in (op.operands[0], *op.operands[2:])]
    last = extents[-1] if extents else 1
    for place in outer_indices(extents):
        rows = [tile.rows[row_number(place, tile.extents)] for tile in tiles]
        for value, index, *valid in zip(*(chunks(w, row, last, emitter.width) for row in rows), strict=True):
            value = w.convert("zext", value, "i8") if llvm_element(kind) == "i1" else value
            scatter(value, index, valid[0] if valid else None)
