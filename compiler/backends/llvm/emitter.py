"""The walk that turns one tile kernel into one LLVM function.

In: a verified ``tile.kernel`` and a ``Machine``. Out: ``KernelText``: the module's LLVM IR text and the scratch bytes
a thread must provide. The one idea: a handler per op, found by the op's name (``@handles``) in the modules of this
package, maps tiles to tiles; nothing is decided here but the order.

The function is ``void @name(ptr ctx, ptr buffers, i64 begin, i64 end)``: ``ctx`` is the runtime's
``pens_kernel_context``, which begins with a pointer to 64-byte aligned scratch memory, ``buffers`` is an array of
pointers.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from penstock.compiler import errors
from penstock.compiler.backends.llvm.addresses import Addressing
from penstock.compiler.backends.llvm.machine import Machine
from penstock.compiler.backends.llvm.tiles import Row, Tile
from penstock.compiler.backends.llvm.types import element_bytes
from penstock.compiler.backends.llvm.writer import Value, Writer
from penstock.compiler.dialects.tile.base import element, shape
from penstock.compiler.dialects.tile.memory import Alloc, Kernel
from penstock.compiler.extents import Dim, Extent, ceildiv
from penstock.compiler.locations import source_names

Handler = Callable[["Emitter", Any], None]
_HANDLERS: dict[str, Handler] = {}

SCRATCH_ALIGNMENT = 64
CONTEXT_SHARED = 24
"""Where in the context the scratch memory is that a team shares: the first thread's."""
CONTEXT_TAKE = 32
"""Where in the context the function is that gives a team kernel its units."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register the emission of the ops called ``names``."""

    def register(handler: Handler) -> Handler:
        for name in names:
            assert name not in _HANDLERS, name
            _HANDLERS[name] = handler
        return handler

    return register


@cache
def handlers() -> dict[str, Handler]:
    """All handlers, by op name."""
    package = importlib.import_module(__package__ or "")
    for info in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{info.name}")
    return _HANDLERS


@dataclass(frozen=True)
class KernelText:
    """LLVM IR of one kernel. ``operations`` names the op behind each debug line (1-based), if asked for."""

    name: str
    text: str
    scratch_bytes: Extent
    operations: tuple[str, ...] = ()


def unsupported(op: Operation, reason: str) -> errors.InternalError:
    """The error of an op that a schedule should not have built."""
    where = ", ".join(source_names(op.location))
    return errors.InternalError(errors.UNEXPECTED, f"{op.name} cannot be emitted: {reason} (from {where or 'nowhere'})")


class Emitter:
    """State of one kernel's emission: the tiles of SSA values, buffers' pointers, scratch in use."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.width = machine.lanes
        self.writer = Writer()
        self.tiles: dict[SSAValue, Tile] = {}
        self.pointers: dict[SSAValue, str] = {}
        self.scratch_bytes: Extent = 0
        self.scratch_end: str | None = None  # pointer behind the buffers, where their sizes are not all numbers
        self.transient_bytes = 0
        self.addresses: dict[tuple[str, str, str], str] = {}
        self.addressing = Addressing(self.writer)
        self._handlers = handlers()

    def tile(self, value: SSAValue) -> Tile:
        return self.tiles[value]

    def scalar(self, value: SSAValue) -> Value:
        return self.tiles[value].scalar

    def known_scalar(self, value: SSAValue) -> Value | None:
        """The scalar that an SSA value was emitted as, or None if it was not yet."""
        tile = self.tiles.get(value)
        return None if tile is None else tile.scalar

    def define(self, value: SSAValue, rows: list[Row] | tuple[Row, ...]) -> None:
        """``value`` is made of ``rows``."""
        self.tiles[value] = Tile(shape(value), element(value), tuple(rows))

    def start(self, label: str) -> None:
        """Begin a basic block."""
        self.writer.start(label)
        self.addresses.clear()

    def block(self, block: Block) -> Operation:
        """Emit a block's ops; returns its terminator, which is the caller's to interpret."""
        for op in block.ops:
            if op is block.last_op:
                return op
            self.operation(op)
        raise AssertionError("a block has a terminator")

    def operation(self, op: Operation) -> None:
        handler = self._handlers.get(op.name)
        if handler is None:
            raise unsupported(op, "the LLVM emitter has no handler for it")
        handler(self, op)

    def allocate(self, count: int, kind: Attribute) -> int:
        """Offset in bytes of a new scratch buffer."""
        offset = self.scratch_bytes
        self.scratch_bytes += aligned(count * element_bytes(kind))
        return offset

    def allocate_counted(self, buffer: SSAValue, count: Extent, counted: Value, *, shared: bool = False) -> None:
        """Place a scratch buffer of a symbolic number of elements, ``counted`` at run time, behind the others; one that
        is ``shared`` at the same offset of the memory that all threads share."""
        w, width = self.writer, element_bytes(element(buffer))
        pointer = self.scratch_end or self._behind(self.scratch_bytes)
        size = w.binary("mul", counted, w.constant(width, "i64"))
        size = w.binary("add", size, w.constant(SCRATCH_ALIGNMENT - 1, "i64"))
        size = w.binary("and", size, w.constant(-SCRATCH_ALIGNMENT, "i64"))
        self.pointers[buffer] = pointer
        if shared:
            self.pointers[buffer] = self._in_shared(pointer)
        self.scratch_end = w.emit(f"getelementptr i8, ptr {pointer}, i64 {size.text}", "ptr").text
        self.scratch_bytes = self.scratch_bytes + aligned(count * width)

    def shared_scratch(self) -> str:
        """Pointer to the scratch memory that all threads of a team share."""
        w = self.writer
        place = w.emit(f"getelementptr i8, ptr %ctx, i64 {CONTEXT_SHARED}", "ptr")
        return w.emit(f"load ptr, {place}", "ptr").text

    def _in_shared(self, pointer: str) -> str:
        """The address in shared scratch that ``pointer`` has in this thread's."""
        w = self.writer
        own = w.emit(f"ptrtoint {w.emit('load ptr, ptr %ctx', 'ptr')} to i64", "i64")
        offset = w.binary("sub", w.emit(f"ptrtoint ptr {pointer} to i64", "i64"), own)
        return w.emit(f"getelementptr i8, ptr {self.shared_scratch()}, i64 {offset.text}", "ptr").text

    def _behind(self, offset: int) -> str:
        scratch = self.writer.emit("load ptr, ptr %ctx", "ptr")
        return self.writer.emit(f"getelementptr i8, {scratch}, i64 {offset}", "ptr").text

    def transient(self, size: int) -> str:
        """Pointer to ``size`` bytes of scratch that one op uses while it runs; ops share them."""
        self.transient_bytes = max(self.transient_bytes, aligned(size))
        return self.scratch_end or self._behind(self.scratch_bytes)


def aligned(size: Extent) -> Extent:
    """``size`` bytes, rounded up to what scratch buffers are aligned to."""
    return ceildiv(size, SCRATCH_ALIGNMENT) * SCRATCH_ALIGNMENT


class _TracingEmitter(Emitter):
    """Attaches to every instruction a debug line that tells its op."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.operations: list[str] = []

    def operation(self, op: Operation) -> None:
        self.operations.append(f"{op.name} (from {', '.join(source_names(op.location)) or 'nowhere'})")
        outer, self.writer.mark = self.writer.mark, f", !dbg !{len(self.operations) + 9}"
        super().operation(op)
        self.writer.mark = outer


def emit_kernel(kernel: Kernel, machine: Machine, *, trace: bool = False, entry: str | None = None) -> KernelText:
    """The LLVM module of one kernel, whose function is called ``entry`` (by default as the kernel). ``trace`` adds
    debug lines that say which op an instruction comes from.

    Raises InternalError for an op or a form no handler can emit.
    """
    emitter = _TracingEmitter(machine) if trace else Emitter(machine)
    writer = emitter.writer
    for index, buffer in enumerate(kernel.buffers):
        assert isinstance(buffer.type, MemRefType)
        address = writer.emit(f"getelementptr ptr, ptr %buffers, i64 {index}", "ptr")
        emitter.pointers[buffer] = writer.emit(f"load ptr, ptr {address.text}", "ptr").text
    _place_scratch(emitter, kernel)
    begin, end = kernel.body.args[-2:]
    for value, name in ((begin, "%begin"), (end, "%end")):
        emitter.define(value, [(Value(name, "i64"),)])
    emitter.block(kernel.body)
    writer.do("ret void")
    operations = tuple(emitter.operations) if isinstance(emitter, _TracingEmitter) else ()
    text = _module(entry or kernel.sym_name, writer, machine, operations)
    return KernelText(kernel.sym_name, text, emitter.scratch_bytes + emitter.transient_bytes, operations)


def _place_scratch(emitter: Emitter, kernel: Kernel) -> None:
    """Pointers of all scratch buffers, which lie one behind the other where the context says."""
    writer = emitter.writer
    bases: dict[int, str] = {}
    for op in kernel.walk():
        if isinstance(op, Alloc) and not isinstance(op.count, Dim):
            if op.shared not in bases:
                bases[op.shared] = (
                    emitter.shared_scratch() if op.shared else writer.emit("load ptr, ptr %ctx", "ptr").text
                )
            buffer = op.results[0]
            offset = emitter.allocate(op.count, element(buffer))
            emitter.pointers[buffer] = writer.emit(
                f"getelementptr i8, ptr {bases[op.shared]}, i64 {offset}", "ptr"
            ).text


def _module(name: str, writer: Writer, machine: Machine, operations: tuple[str, ...]) -> str:
    subprogram = " !dbg !3" if operations else ""
    features = f' "target-features"="{machine.features}"' if machine.features else ""
    lines = [
        *(f"{symbol} = {definition}" for symbol, definition in writer.globals.items()),
        f'define void @"{name}"(ptr noundef %ctx, ptr noundef %buffers, i64 %begin, i64 %end) #0{subprogram} {{',
        "entry:",
        *writer.lines,
        "}",
        *sorted(writer.declarations.values()),
        f'attributes #0 = {{ nounwind "target-cpu"="{machine.cpu}"{features} "no-builtins" }}',
    ]
    if operations:
        lines += _debug_lines(name, len(operations))
    return "\n".join(lines) + "\n"


def _debug_lines(name: str, count: int) -> list[str]:
    return [
        "!llvm.dbg.cu = !{!0}",
        "!llvm.module.flags = !{!2}",
        "!0 = distinct !DICompileUnit(language: DW_LANG_C99, file: !1, emissionKind: LineTablesOnly)",
        f'!1 = !DIFile(filename: "{name}", directory: "")',
        '!2 = !{i32 2, !"Debug Info Version", i32 3}',
        f'!3 = distinct !DISubprogram(name: "{name}", file: !1, type: !4, unit: !0, spFlags: DISPFlagDefinition)',
        "!4 = !DISubroutineType(types: !5)",
        "!5 = !{}",
        *(f"!{line + 9} = !DILocation(line: {line}, scope: !3)" for line in range(1, count + 1)),
    ]
