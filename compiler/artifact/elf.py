"""A linker for kernels: relocatable objects in, one position-independent image out.

In: ELF objects (x86-64 or aarch64) without undefined symbols. Out: the bytes of an ELF shared object with a single
read-execute segment that starts at offset 0, and where its functions lie. The one idea: kernels refer only to their
own constants, relative to the program counter, so once sections are laid out nothing is left for a loader to do: the
runtime maps the image as it is, while ``objdump`` and debuggers can still read it.

Relocation formulas: System V ABI, AMD64 supplement (table 4.10) and ELF for the Arm 64-bit Architecture (section 5.7).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.compiler.errors import PASS_FAILED, InternalError

EHDR, PHDR, SHDR, SYM = 64, 56, 64, 24
ELF64 = b"\x7fELF\x02\x01\x01"
SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 1, 2, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
MACHINES = {62: "x86-64", 183: "aarch64"}


@dataclass(frozen=True)
class LinkedImage:
    """A linked image: its bytes, and the offset of every function from its start."""

    data: bytes
    entries: dict[str, int]


@dataclass
class _Section:
    name: str
    kind: int
    flags: int
    align: int
    content: bytes
    link: int
    info: int
    address: int = -1


@dataclass
class _Object:
    machine: int
    sections: list[_Section]
    symbols: list[tuple[str, int, int, int]] = field(default_factory=list[tuple[str, int, int, int]])
    """name, section index, value, info."""


Exports = Mapping[str, Sequence[str]]


def link(objects: Sequence[bytes], exports: Sequence[Exports | None] = ()) -> LinkedImage:
    """Link ``objects``. Raises InternalError for an undefined symbol, an unknown relocation or a duplicate function.

    ``exports``: for each object, its functions that become entries, with the names they get; None: all, by their own.
    """
    parsed = [_parse(data) for data in objects]
    if len({item.machine for item in parsed}) > 1:
        raise InternalError(PASS_FAILED, "kernels for different machines cannot be linked together")
    layout = [s for item in parsed for s in item.sections if _kept(s)]
    end = EHDR + 2 * PHDR
    for section in sorted(layout, key=lambda s: not s.flags & SHF_EXECINSTR):
        end = -(-end // max(section.align, 1)) * max(section.align, 1)
        section.address = end
        end += len(section.content)
    image = bytearray(end)
    entries: dict[str, int] = {}
    for item, names in zip(parsed, exports or [None] * len(parsed), strict=True):
        for section in item.sections:
            if section.address >= 0:
                image[section.address : section.address + len(section.content)] = section.content
        for name, index, value, info in item.symbols:
            if info & 15 == 2 and info >> 4:
                for entry in [name] if names is None else names.get(name, ()):
                    if entry in entries:
                        raise InternalError(PASS_FAILED, f"two kernels are called {entry}")
                    entries[entry] = item.sections[index].address + value
    for item in parsed:
        _relocate(item, image)
    machine = parsed[0].machine if parsed else 62
    return LinkedImage(_with_headers(image, entries, machine), entries)


def fault_of(data: bytes, symbol: str) -> str | None:
    """Why ``data`` is no object code of a kernel ``symbol`` that can be linked into an image; None if it is."""
    if data[:7] != ELF64:
        return "it is no 64-bit ELF object"
    try:
        item = _parse(data)
        if struct.unpack_from("<H", data, 16)[0] != 1:
            return "it is no relocatable object (compile it with -c)"
        if item.machine != 62:
            return "it is not for x86-64"
        writable = [s.name for s in item.sections if s.flags & SHF_ALLOC and s.flags & SHF_WRITE and s.content]
        if writable:
            return f"it has data that is written to or relocated ({writable[0]})"
        if symbol not in link([data]).entries:
            return f"it does not define the function {symbol}"
    except InternalError as error:
        return error.message.rstrip(".")
    except (struct.error, IndexError, ValueError, MemoryError):
        return "it is damaged"
    return None


def section_headers(code: bytes) -> list[tuple[int, ...]]:
    """The section headers of an ELF64 object (System V ABI, chapter 4)."""
    (table,) = struct.unpack_from("<Q", code, 40)
    entry, count = struct.unpack_from("<HH", code, 58)
    return [struct.unpack_from("<IIQQQQIIQQ", code, table + i * entry) for i in range(count)]


def instruction_bytes(code: bytes) -> int:
    """Bytes of machine instructions in an object."""
    return sum(size for _, _, flags, _, _, size, *_ in section_headers(code) if flags & SHF_EXECINSTR)


def _kept(section: _Section) -> bool:
    return bool(section.flags & SHF_ALLOC) and section.kind == SHT_PROGBITS and section.name != ".eh_frame"


def _parse(data: bytes) -> _Object:
    if data[:7] != ELF64:
        raise InternalError(PASS_FAILED, "the code generator did not give a 64-bit little-endian ELF object")
    machine = struct.unpack_from("<H", data, 18)[0]
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", data, table + index * size) for index in range(count)]
    strings = _content(data, rows[names])
    sections = [
        _Section(_text(strings, row[0]), row[1], row[2], row[8], _content(data, row), row[6], row[7]) for row in rows
    ]
    result = _Object(machine, sections)
    for section in sections:
        if section.kind == SHT_SYMTAB:
            table_names = sections[section.link].content
            for at in range(0, len(section.content), SYM):
                name, info, _, index, value, _ = struct.unpack_from("<IBBHQQ", section.content, at)
                label = _text(table_names, name)
                if index == 0 and label:
                    raise InternalError(PASS_FAILED, f"a kernel calls {label}, which the runtime does not have")
                result.symbols.append((label, index, value, info))
    return result


def _content(data: bytes, row: tuple[int, ...]) -> bytes:
    return b"\0" * row[5] if row[1] == SHT_NOBITS else data[row[4] : row[4] + row[5]]


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


def _relocate(item: _Object, image: bytearray) -> None:
    for section in item.sections:
        if section.kind != SHT_RELA:
            continue
        target = item.sections[section.info]
        if target.address < 0:
            continue
        for at in range(0, len(section.content), 24):
            offset, info, addend = struct.unpack_from("<QQq", section.content, at)
            name, index, value, _ = item.symbols[info >> 32]
            source = item.sections[index]
            if source.address < 0:
                raise InternalError(
                    PASS_FAILED, f"a kernel refers to {name or source.name}, which is not part of the image"
                )
            apply = _apply_x86 if item.machine == 62 else _apply_aarch64
            apply(image, info & 0xFFFFFFFF, target.address + offset, source.address + value + addend)


def _apply_x86(image: bytearray, kind: int, place: int, value: int) -> None:
    if kind in (2, 4):  # R_X86_64_PC32, R_X86_64_PLT32
        struct.pack_into("<i", image, place, value - place)
    elif kind == 24:  # R_X86_64_PC64
        struct.pack_into("<q", image, place, value - place)
    else:
        raise InternalError(PASS_FAILED, f"the linker does not know x86-64 relocation {kind}")


def _apply_aarch64(image: bytearray, kind: int, place: int, value: int) -> None:
    (word,) = struct.unpack_from("<I", image, place)
    scales = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}  # ADD and LDST8 .. LDST128, low twelve bits
    if kind == 275:  # ADR_PREL_PG_HI21
        pages = (value >> 12) - (place >> 12)
        word |= (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    elif kind in scales:
        word |= (value & 0xFFF) >> scales[kind] << 10
    elif kind in (282, 283):  # JUMP26, CALL26
        word |= (value - place) >> 2 & 0x3FFFFFF
    else:
        raise InternalError(PASS_FAILED, f"the linker does not know aarch64 relocation {kind}")
    struct.pack_into("<I", image, place, word)


def _with_headers(image: bytearray, entries: dict[str, int], machine: int) -> bytes:
    """The image followed by symbol tables and section headers, with ELF and program headers at its start."""
    names, table, hashes = bytearray(b"\0"), bytearray(SYM), sorted(entries.items())
    for name, address in hashes:
        table += struct.pack("<IBBHQQ", len(names), 0x12, 0, 1, address, 0)
        names += name.encode() + b"\0"
    _pad(image, 8)
    symbols = len(image)
    image += table
    strings = len(image)
    image += names
    _pad(image, 4)
    buckets = len(image)
    count = len(hashes) + 1
    # One bucket that chains all symbols: correct, and nothing looks names up at speed.
    chain = [index + 1 if index + 1 < count else 0 for index in range(count)]
    chain[0] = 0
    image += struct.pack(f"<II{1 + count}I", 1, count, 1 if count > 1 else 0, *chain)
    _pad(image, 8)
    dynamic = len(image)
    for tag, value in ((4, buckets), (5, strings), (6, symbols), (10, len(names)), (11, SYM), (0, 0)):
        image += struct.pack("<qQ", tag, value)
    dynamic_end = len(image)
    labels = b"\0.text\0.dynsym\0.dynstr\0.hash\0.dynamic\0.shstrtab\0"
    label_at = len(image)
    image += labels
    _pad(image, 8)
    headers = len(image)
    code = EHDR + 2 * PHDR
    rows = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 1, 6, code, code, symbols - code, 0, 0, 64, 0),
        (7, 11, 2, symbols, symbols, len(table), 3, 1, 8, SYM),
        (15, 3, 2, strings, strings, len(names), 0, 0, 1, 0),
        (23, 5, 2, buckets, buckets, 8 + 4 * (1 + count), 2, 0, 4, 4),
        (29, 6, 2, dynamic, dynamic, dynamic_end - dynamic, 3, 0, 8, 16),
        (38, 3, 0, 0, label_at, len(labels), 0, 0, 1, 0),
    ]
    for row in rows:
        image += struct.pack("<IIQQQQIIQQ", *row)
    size = len(image)
    struct.pack_into("<16sHHIQQQIHHHHHH", image, 0, b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, EHDR, headers, 0, EHDR,
                     PHDR, 2, SHDR, len(rows), len(rows) - 1)  # fmt: skip
    struct.pack_into("<IIQQQQQQ", image, EHDR, 1, 5, 0, 0, 0, size, size, 4096)
    struct.pack_into("<IIQQQQQQ", image, EHDR + PHDR, 2, 4, dynamic, dynamic, dynamic, dynamic_end - dynamic,
                     dynamic_end - dynamic, 8)  # fmt: skip
    return bytes(image)


def _pad(image: bytearray, alignment: int) -> None:
    image += b"\0" * (-len(image) % alignment)
