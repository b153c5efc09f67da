"""Weights kept in files beside the model, mapped into memory and never copied.

In: the ``external_data`` entries of a tensor. Out: a read-only view of exactly its bytes. The one idea: a model is
untrusted, so it may name files of its own folder only: no absolute path, no ``..``, no symbolic link that leads out,
no hard link (which could be any file of the machine), and no bytes past the end.
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from penstock.compiler.errors import EXTERNAL_DATA_MISSING, EXTERNAL_DATA_OUTSIDE, INVALID_DATA


class DataError(ValueError):
    """A stored tensor cannot be read. ``code`` is one of the ``model.`` codes."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


class DataFolder:
    """The folder a model's data files may be read from; None if the model came without one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._files: dict[str, memoryview] = {}

    def open(self, entries: dict[str, str], size: int) -> memoryview:
        """The ``size`` bytes that ``entries`` (location, offset, length) name. Raises DataError."""
        location = entries.get("location", "")
        offset, length = _number(entries, "offset", 0), _number(entries, "length", size)
        if length != size:
            raise DataError(
                INVALID_DATA,
                f"its shape and type call for {size} bytes, but its entry for '{location}' says {length}",
            )
        data = self._map(location)
        if offset + size > len(data):
            raise DataError(
                EXTERNAL_DATA_MISSING,
                f"its {size} bytes at offset {offset} lie past the end of '{location}', which has {len(data)}",
            )
        return data[offset : offset + size]

    def _map(self, location: str) -> memoryview:
        """The whole file at ``location``, mapped read-only."""
        if location not in self._files:
            path = self._resolve(location)
            try:
                # Without O_NONBLOCK, opening a pipe would wait for whoever writes to it.
                with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    status = os.fstat(file.fileno())
                    if not stat.S_ISREG(status.st_mode):
                        raise DataError(EXTERNAL_DATA_MISSING, f"its data '{location}' is not a regular file")
                    if status.st_nlink > 1:
                        raise DataError(
                            EXTERNAL_DATA_OUTSIDE,
                            f"its data file '{location}' is a hard link, which may lead out of the model's folder",
                            "Replace it by a copy of the file.",
                        )
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if status.st_size else b""
            except OSError as error:
                reason = error.strerror or str(error)
                raise DataError(
                    EXTERNAL_DATA_MISSING, f"its data file '{location}' cannot be read: {reason}"
                ) from error
            self._files[location] = memoryview(mapped)
        return self._files[location]

    def _resolve(self, location: str) -> Path:
        """The real path of ``location``, inside the folder. Raises DataError."""
        if self.path is None:
            raise DataError(
                EXTERNAL_DATA_MISSING,
                f"its data is in the file '{location}', but the model was given as bytes without a folder",
                "Compile the model from its path, or say where its folder is (base_dir).",
            )
        outside = DataError(EXTERNAL_DATA_OUTSIDE, f"its data file '{location}' is outside the model's folder")
        relative = Path(location)
        if not location or "\0" in location or relative.is_absolute() or ".." in relative.parts:
            raise outside
        try:
            folder = self.path.resolve(strict=True)
            path = (folder / relative).resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
            raise DataError(EXTERNAL_DATA_MISSING, f"its data file '{location}' does not exist") from error
        if not path.is_relative_to(folder):
            raise outside
        return path


def _number(entries: dict[str, str], key: str, default: int) -> int:
    """The non-negative number of an entry. Raises DataError."""
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise DataError(INVALID_DATA, f"its external data has the {key} {text[:40]!r}, which is no byte count")
    return int(text)
