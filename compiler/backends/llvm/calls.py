"""Elementary functions over whole tiles: narrow vectors are packed together, many vectors go through a loop.

In: a function of some twenty instructions and the machine values to apply it to. Out: the results. The one idea:
unrolled over a tile, the copies share their constants, fill the registers and make LLVM spill; a loop over the
thread's scratch memory keeps every constant an operand in memory, is a tenth of the code, and costs a load and a
store a vector.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from penstock.compiler.backends.llvm.emitter import Emitter
from penstock.compiler.backends.llvm.types import element_bits
from penstock.compiler.backends.llvm.writer import Value

MAX_UNROLLED = 3
"""Vectors up to which the function is written out for each."""

Arguments = tuple[Value, ...]


class Calls:
    """The applications of one function: ``collect`` them all, ``compute``, then ask for each ``result`` in order."""

    def __init__(self, emitter: Emitter, function: Callable[..., Value]) -> None:
        self.emitter, self.writer, self.function = emitter, emitter.writer, function
        self.results: dict[Arguments, Value] = {}
        self.order: deque[Arguments] = deque()

    def collect(self, *arguments: Value) -> Value:
        """Note one application; returns a stand-in of the right type."""
        self.results[arguments] = arguments[0]
        self.order.append(arguments)
        return arguments[0]

    def result(self, *_: Value) -> Value:
        """The next one's; what it was applied to may have been broadcast by other instructions since."""
        return self.results[self.order.popleft()]

    def compute(self) -> None:
        """Compute all that were collected."""
        width = self.emitter.width
        narrow = [arguments for arguments in self.results if arguments[0].lanes < width]
        packs = self._packs(narrow) if len(self.results) > 1 else [[arguments] for arguments in narrow]
        alone = [pack[0] for pack in packs if len(pack) == 1 and pack[0][0].lanes == 1]
        packs = [pack for pack in packs if pack[0] not in alone]
        whole = [arguments for arguments in self.results if arguments[0].lanes == width]
        for arguments in alone:
            self.results[arguments] = self.function(*arguments)
        values = self._apply(whole + [self._packed(pack) for pack in packs])
        self.results.update(zip(whole, values, strict=False))
        for pack, value in zip(packs, values[len(whole) :], strict=True):
            self._unpack(pack, value)

    # Packing ---------------------------------------------------------------------------------------------------------

    def _packs(self, narrow: list[Arguments]) -> list[list[Arguments]]:
        """Narrow applications put together as long as they fit a machine vector."""
        packs: list[list[Arguments]] = []
        room = 0
        for arguments in narrow:
            lanes = arguments[0].lanes
            if lanes > room:
                packs.append([])
                room = self.emitter.width
            packs[-1].append(arguments)
            room -= lanes
        return packs

    def _packed(self, pack: list[Arguments]) -> Arguments:
        """The pack as whole vectors; lanes left over repeat the first, so they hold nothing unusual."""
        width = self.emitter.width
        packed: list[Value] = []
        for column in zip(*pack, strict=True):
            parts = list(column)
            vector = self.writer.splat(self.writer.lane(parts[0], 0), width)
            position = 0
            for part in parts:
                if part.lanes == 1:
                    vector = self.writer.insert(vector, part, position)
                else:
                    wide = self.writer.shuffle(part, None, [min(i, part.lanes - 1) for i in range(width)])
                    inside = range(position, position + part.lanes)
                    picks = [width + i - position if i in inside else i for i in range(width)]
                    vector = self.writer.shuffle(vector, wide, picks)
                position += part.lanes
            packed.append(vector)
        return tuple(packed)

    def _unpack(self, pack: list[Arguments], value: Value) -> None:
        position = 0
        for arguments in pack:
            lanes = arguments[0].lanes
            self.results[arguments] = self.writer.shuffle(value, None, list(range(position, position + lanes)))
            position += lanes

    # Applying --------------------------------------------------------------------------------------------------------

    def _apply(self, calls: list[Arguments]) -> list[Value]:
        if len(calls) <= MAX_UNROLLED:
            return [self.function(*arguments) for arguments in calls]
        return self._loop(calls)

    def _loop(self, calls: list[Arguments]) -> list[Value]:
        """All vectors through the thread's scratch memory; a result takes the place of the first argument."""
        w, width, count = self.writer, self.emitter.width, len(calls)
        sizes = [element_bits(argument.element) // 8 * width for argument in calls[0]]
        base = self.emitter.transient(count * sum(sizes))
        starts = [self._at(base, count * sum(sizes[:k])) for k in range(len(sizes))]
        for i, arguments in enumerate(calls):
            for start, size, argument in zip(starts, sizes, arguments, strict=True):
                w.do(f"store {argument}, ptr {self._at(start, i * size)}, align {min(size, 64)}")
        body, leave, before = w.label("each"), w.label("all"), w.block
        w.jump(body)
        self.emitter.start(body)
        index = w.phi("i64", 1)
        index.incoming.append(("0", before))
        places = [
            w.emit(f"getelementptr [{size} x i8], ptr {start}, i64 {index.value.text}", "ptr").text
            for start, size in zip(starts, sizes, strict=True)
        ]
        loaded = [self._load(place, like) for place, like in zip(places, calls[0], strict=True)]
        result = self.function(*loaded)
        w.do(f"store {result}, ptr {places[0]}, align {min(sizes[0], 64)}")
        following = w.emit(f"add {index.value}, 1", "i64")
        index.incoming.append((following.text, w.block))
        w.finish_phi(index)
        w.branch(w.compare("icmp ult", following, w.constant(count, "i64")), body, leave)
        self.emitter.start(leave)
        return [self._load(self._at(starts[0], i * sizes[0]), result) for i in range(count)]

    def _at(self, base: str, offset: int) -> str:
        return self.writer.emit(f"getelementptr i8, ptr {base}, i64 {offset}", "ptr").text if offset else base

    def _load(self, place: str, like: Value) -> Value:
        align = min(element_bits(like.element) // 8 * like.lanes, 64)
        return self.writer.emit(f"load {like.type}, ptr {place}, align {align}", like.element, like.lanes)
