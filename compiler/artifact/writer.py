"""Write an artifact: one zip that people can list and the runtime can map.

In: plans per instruction set with their linked code, the weights' arrays, a manifest. Out: a ``.pens`` file. The one
idea: members are stored, never compressed, and padded so that their data is aligned (weights and code to pages), so
loading is mapping; equal inputs give equal bytes. docs/artifact.md describes the format.
"""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from penstock.compiler.artifact.elf import LinkedImage
from penstock.compiler.artifact.plan import ALIGNMENT, Plan
from penstock.compiler.artifact.plan_format import VERSION, Variant, encode
from penstock.compiler.errors import CANNOT_WRITE, ArtifactError

PAGE = 4096
COMMENT = b"PENSTOCK"
CHUNK = 1 << 24

Member = tuple[str, Sequence[Any], int]
"""A member's name, its bytes-like parts in order, and what the place of its data is a multiple of."""


@dataclass(frozen=True)
class Special:
    """Plans, by instruction set, for fixed ``sizes`` (by name), with the images and weights of the general ones."""

    sizes: Mapping[str, int]
    plans: Mapping[str, Plan]


@dataclass(frozen=True)
class Contents:
    """All that goes into an artifact. ``plans`` and ``images`` are by instruction set; weights in plan order."""

    plans: Mapping[str, Plan]
    images: Mapping[str, LinkedImage]
    weights: Sequence[NDArray[Any]]
    manifest: Mapping[str, Any]
    debug: Mapping[str, bytes]
    specials: Sequence[Special] = ()


def write(contents: Contents, path: str | os.PathLike[str]) -> int:
    """Write the artifact to ``path`` (to a temporary file first, then renamed); returns its size in bytes.

    Raises ArtifactError, leaving nothing behind, when the file cannot be written.
    """
    target = Path(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = file.name
            write_to(contents, file)
            size = file.tell()
            file.flush()
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException as error:  # an interrupt leaves nothing behind either
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise ArtifactError(CANNOT_WRITE, f"Cannot write {target}: {reason}.") from error
    return size


def to_bytes(contents: Contents) -> bytes:
    """The artifact in memory."""
    buffer = io.BytesIO()
    write_to(contents, buffer)
    return buffer.getvalue()


def write_to(contents: Contents, file: IO[bytes]) -> None:
    """Write the artifact to a seekable binary file."""
    write_members(_members(contents), file)


def _members(contents: Contents) -> Iterator[Member]:
    """The members of an artifact in the order of the file."""
    manifest = json.dumps(contents.manifest, indent=1, sort_keys=True, ensure_ascii=False).encode()
    yield "manifest.json", [manifest], ALIGNMENT
    plan_bytes = encode(_variants(contents, contents.plans), [special.sizes for special in contents.specials])
    yield "plan.bin", [plan_bytes], ALIGNMENT
    for number, special in enumerate(contents.specials, 1):
        yield f"plan-{number}.bin", [encode(_variants(contents, special.plans))], ALIGNMENT
    for isa in contents.plans:
        yield f"code/{isa}", [contents.images[isa].data], PAGE
    plan = next(iter(contents.plans.values()))
    yield "weights.bin", list(_weight_bytes(plan, contents.weights)), PAGE
    for name in sorted(contents.debug):
        yield f"debug/{name}", [contents.debug[name]], ALIGNMENT


def write_members(members: Iterable[Member], file: IO[bytes]) -> None:
    """Write an archive of ``members``, stored and sealed as artifacts are, to a seekable binary file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, parts, alignment in members:
            _member(archive, file, name, parts, alignment)
        archive.comment = COMMENT + struct.pack("<II", VERSION, 0)
    _seal(file)


def _variants(contents: Contents, plans: Mapping[str, Plan]) -> dict[str, Variant]:
    images = contents.images
    return {
        isa: Variant(plan, len(images[isa].data), tuple(images[isa].entries[name] for name in plan.kernels))
        for isa, plan in plans.items()
    }


def _member(archive: zipfile.ZipFile, file: IO[bytes], name: str, parts: Sequence[Any], alignment: int) -> None:
    """One stored member whose data starts at a multiple of ``alignment``; ``parts`` are bytes-like, in order."""
    size = sum(memoryview(part).nbytes for part in parts)
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    info.file_size = size
    large = 20 if size * 1.05 > 0x7FFFFFFF else 0
    start = file.tell() + 30 + len(name.encode()) + large + 4
    info.extra = _padding(-start % alignment)
    with archive.open(info, "w", force_zip64=bool(large)) as member:
        for part in parts:
            view = memoryview(part).cast("B") if memoryview(part).nbytes else memoryview(b"")
            for at in range(0, len(view), CHUNK):
                member.write(view[at : at + CHUNK])
    info.extra = b""


def _padding(count: int) -> bytes:
    """An extra field with ``count`` bytes of padding (kind 0xD935, as Android's zipalign uses)."""
    return struct.pack("<HH", 0xD935, count) + b"\0" * count


def _weight_bytes(plan: Plan, weights: Sequence[NDArray[Any]]) -> list[Any]:
    parts: list[Any] = []
    end = 0
    for slot, array in zip(plan.weights, weights, strict=True):
        if slot.offset > end:
            parts.append(b"\0" * (slot.offset - end))
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        parts.append(flat.data)
        end = slot.offset + slot.bytes
    return parts


def _seal(file: IO[bytes]) -> None:
    """Put the central directory's checksum into the archive's comment."""
    end = file.seek(0, os.SEEK_END)
    tail = min(end, 22 + 16 + 20 + 56)
    file.seek(end - tail)
    record = file.read(tail)[-38:] if hasattr(file, "read") and file.readable() else b""
    size, offset = struct.unpack_from("<II", record, 12)
    if offset == 0xFFFFFFFF or size == 0xFFFFFFFF:
        file.seek(end - 38 - 20 - 56)
        size, offset = struct.unpack_from("<QQ", file.read(56), 40)
    file.seek(offset)
    checksum = zlib.crc32(file.read(size))
    file.seek(end - 4)
    file.write(struct.pack("<I", checksum))
    file.seek(0, os.SEEK_END)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
