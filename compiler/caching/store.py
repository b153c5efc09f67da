"""The folder of the kernel cache: entries by key, each a file that is checked before it is believed.

In: a key, and an entry's named ingredients, facts and bytes. Out: the same, or nothing. The one idea: the cache is a
help, never a truth: whatever is missing, damaged, of another key or in a folder that others could write to counts as
not there, and a compilation goes on as if there were no cache.

An entry's file: ``MAGIC``, BLAKE2b-256 of all that follows, the header's length (4 bytes, little endian), the header
(JSON: ingredients and facts), the payload. Files are written under another name and renamed, so that processes can
share the folder; the oldest (by last use) are removed when the folder grows beyond its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

MAGIC = b"PENSKC1\n"
DIGEST = 32
SUFFIX = ".kernel"
LIMIT = 256 << 20
"""Bytes that all entries may take together."""
KEPT = 0.8
"""What is left of the limit after entries had to be removed."""
LARGEST_ENTRY = 64 << 20
STALE = 3600.0
"""Seconds after which a temporary file is what an interrupted process has left."""
VARIABLE = "PENSTOCK_CACHE"
OFF = "off"

Ingredients = Mapping[str, str]


class Unusable(Exception):
    """The folder cannot be used. The message is a clause that says why."""


@dataclass(frozen=True)
class Entry:
    """What is kept under a key: everything the payload depends on, facts that go with it, and the payload."""

    ingredients: dict[str, str]
    facts: dict[str, Any]
    payload: bytes


@dataclass(frozen=True)
class Stats:
    """How much the folder holds; ``newest`` and ``oldest`` use in seconds since the epoch."""

    entries: int
    bytes: int
    limit: int
    oldest: float | None
    newest: float | None


def default_folder() -> Path | None:
    """Where the cache is: ``PENSTOCK_CACHE`` (``off``: nowhere), else penstock's part of the XDG cache folder."""
    given = os.environ.get(VARIABLE, "")
    if given:
        return None if given == OFF else Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "penstock"
    except RuntimeError:  # a user without a home
        return None


def key_of(ingredients: Ingredients) -> str:
    """The key of what these ingredients make: hex digits of a digest of names and values."""
    text = json.dumps(list(ingredients.items()), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


@dataclass
class Store:
    """The entries in ``folder``. Makes it when it is not there; raises Unusable where it is not to be trusted."""

    folder: Path
    limit: int = LIMIT
    written: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
        except OSError as error:
            raise Unusable(f"{self.folder} cannot be made ({error.strerror or error})") from error
        if not stat.S_ISDIR(status.st_mode):
            raise Unusable(f"{self.folder} is no folder")
        fault = _fault(status)
        if fault:
            raise Unusable(f"{self.folder} {fault}")

    # Entries ---------------------------------------------------------------------------------------------------------

    def get(self, ingredients: Ingredients) -> Entry | None:
        """The entry made of exactly these ingredients, and note that it is in use; None if there is none to trust."""
        path = self._path(key_of(ingredients))
        entry = _read(path)
        if entry is None or entry.ingredients != dict(ingredients):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry

    def put(self, entry: Entry) -> None:
        """Keep ``entry``, if the folder lets us."""
        header = json.dumps([list(entry.ingredients.items()), entry.facts]).encode()
        body = struct.pack("<I", len(header)) + header + entry.payload
        if len(body) > LARGEST_ENTRY:
            return
        data = MAGIC + hashlib.blake2b(body, digest_size=DIGEST).digest() + body
        temporary = ""
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".tmp", delete=False) as file:
                temporary = file.name
                file.write(data)
            os.replace(temporary, self._path(key_of(entry.ingredients)))
            self.written += 1
        except OSError:  # the disk is full, or the folder read-only: the next compilation does the work again
            if temporary:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    def entries(self) -> Iterator[Entry]:
        """Every entry that can be trusted, the last used first."""
        for path, _ in sorted(self._files(), key=lambda item: -item[1].st_mtime):
            entry = _read(path)
            if entry is not None:
                yield entry

    # The folder ------------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        """What the folder holds."""
        found = [status for _, status in self._files()]
        times = [status.st_mtime for status in found]
        total = sum(status.st_size for status in found)
        return Stats(len(found), total, self.limit, min(times, default=None), max(times, default=None))

    def trim(self) -> int:
        """Remove what was not used for longest, if the folder is beyond its limit; returns how many entries."""
        found = sorted(self._files(), key=lambda item: item[1].st_mtime)
        total = sum(status.st_size for _, status in found)
        removed = 0
        if total > self.limit:
            for path, status in found:
                if total <= self.limit * KEPT:
                    break
                removed += _remove(path)
                total -= status.st_size
        for path in self.folder.glob(".tmp*"):
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > STALE:
                    path.unlink()
        return removed

    def clear(self) -> int:
        """Remove every entry; returns how many there were. Other files in the folder stay."""
        return sum(_remove(path) for path, _ in self._files())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found: list[tuple[Path, os.stat_result]] = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as listed:
            for item in listed:
                if item.name.endswith(SUFFIX):
                    with contextlib.suppress(OSError):
                        found.append((Path(item.path), item.stat(follow_symlinks=False)))
        return sorted(found)


def _fault(status: os.stat_result) -> str:
    """Why a file or folder is not to be trusted with code; empty if it is."""
    if status.st_uid != os.getuid():
        return "belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written to by other users"
    return ""


def _read(path: Path) -> Entry | None:
    """The entry in a file; None if there is none, or none to trust."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or _fault(status) or status.st_size > LARGEST_ENTRY + 64:
                return None
            data = file.read()
    except OSError:
        return None
    start = len(MAGIC) + DIGEST
    body = data[start:]
    if data[: len(MAGIC)] != MAGIC or len(body) < 4:
        return None
    if hashlib.blake2b(body, digest_size=DIGEST).digest() != data[len(MAGIC) : start]:
        return None
    (length,) = struct.unpack_from("<I", body)
    try:
        ingredients, facts = cast("tuple[list[tuple[str, str]], dict[str, Any]]", json.loads(body[4 : 4 + length]))
        return Entry(dict(ingredients), dict(facts), body[4 + length :])
    except (ValueError, TypeError, RecursionError):
        return None


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
