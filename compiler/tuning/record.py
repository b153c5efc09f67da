"""Tuning records: what was chosen, for what, on which machine; readable JSON that is not believed blindly.

In: choices, or a file. Out: the same. The one idea: a record names candidates and nothing else, so the worst that one
can do is choose a slower kernel; still a file that is damaged, too large or of another kind is refused in a sentence.

A record is one JSON object: ``format``, ``penstock`` (the version that measured), ``processor``, ``choices``, and
``checksum``, BLAKE2b-128 of the canonical JSON of the others. A choice has ``key`` (compiler/tuning/choices.py),
``level``, ``what`` is computed, ``choice``, ``default`` (the cost model's) and ``gain``, the share of its time that was
saved.
In the folder of the kernel cache every choice is a record of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from penstock.compiler.caching.store import Store
from penstock.compiler.dumps import write_whole
from penstock.compiler.errors import BAD_TUNING, CANNOT_WRITE_OUTPUT, OptionError
from penstock.compiler.tuning.choices import STAGES

FORMAT = "penstock-tuning-1"
SUFFIX = ".tuning"
LARGEST_FILE = 16 << 20
MOST_CHOICES = 100_000
LONGEST_TEXT = 4096
MODEL = "model"
"""The kind of the verdicts on whole models, which stand beside choices in the cache."""
_KEY = re.compile(rf"({'|'.join((*STAGES, MODEL))}):[0-9a-f]{{32}}")


@dataclass(frozen=True)
class Choice:
    """What was chosen at a point; see the module. ``gain`` is 0 where the cost model's choice stayed."""

    key: str
    level: str
    what: str
    choice: str
    default: str
    gain: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether it is another choice than the cost model's."""
        return self.choice != self.default


@dataclass(frozen=True)
class Record:
    """Choices measured on ``processor`` by ``penstock`` of that version."""

    processor: str
    penstock: str
    choices: tuple[Choice, ...] = ()

    @staticmethod
    def here(choices: Iterable[Choice] = ()) -> Record:
        """A record of this machine and version; choices in the order of their keys."""
        return Record(processor(), version("penstock"), tuple(sorted(choices, key=lambda choice: choice.key)))

    @property
    def given(self) -> dict[str, str]:
        """The choices by key."""
        return {choice.key: choice.choice for choice in self.choices}

    def to_text(self) -> str:
        """The record as JSON."""
        plain = {
            "format": FORMAT,
            "penstock": self.penstock,
            "processor": self.processor,
            "choices": [asdict(choice) for choice in self.choices],
        }
        return json.dumps({**plain, "checksum": _checksum(plain)}, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record: whole, or not at all. Raises OptionError."""
        try:
            write_whole(Path(path), self.to_text().encode())
        except OSError as error:
            reason = f"the tuning record {os.fspath(path)} cannot be written: {error.strerror or error}."
            raise OptionError(CANNOT_WRITE_OUTPUT, reason, CANNOT_WRITE_OUTPUT.remedy) from error


def read_record(path: str | os.PathLike[str]) -> Record:
    """The record in a file. Raises OptionError, saying why, for one that cannot be read or believed."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise _bad(name, f"cannot be read: {error.strerror or error}") from error
    try:
        return parse_record(data)
    except ValueError as error:
        raise _bad(name, str(error)) from error


def parse_record(data: bytes) -> Record:
    """The record that ``data`` is. Raises ValueError with a clause that says why it is none."""
    if len(data) > LARGEST_FILE:
        raise ValueError(f"has more than {LARGEST_FILE >> 20} MB")
    try:
        found = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if not isinstance(found, dict) or cast("dict[str, Any]", found).get("format") != FORMAT:
        raise ValueError(f"is no tuning record of the format {FORMAT}")
    plain = cast("dict[str, Any]", found)
    with contextlib.suppress(RecursionError):  # of what is nested just less deeply than can be read
        if plain.pop("checksum", None) == _checksum(plain):
            return _record(plain)
    raise ValueError("is damaged or was changed: its checksum does not hold")


def _record(plain: Mapping[str, Any]) -> Record:
    """The record of a JSON object. Raises ValueError."""
    listed = plain.get("choices")
    if not isinstance(listed, list) or not all(_is_text(plain.get(name)) for name in ("penstock", "processor")):
        raise ValueError("lacks its machine, its version or its choices")
    if len(cast("list[Any]", listed)) > MOST_CHOICES:
        raise ValueError(f"has more than {MOST_CHOICES} choices")
    choices = [_choice(number, item) for number, item in enumerate(cast("list[Any]", listed), 1)]
    if len({choice.key for choice in choices}) != len(choices):
        raise ValueError("chooses twice for one key")
    return Record(plain["processor"], plain["penstock"], tuple(choices))


def _choice(number: int, item: Any) -> Choice:
    """One choice of a record. Raises ValueError."""
    names = [each.name for each in fields(Choice)]
    if not isinstance(item, dict) or sorted(cast("dict[str, Any]", item)) != sorted(names):
        raise ValueError(f"has a choice, number {number}, without {', '.join(names)}")
    facts = cast("dict[str, Any]", item)
    if not all(_is_text(facts[name]) for name in names if name != "gain"):
        raise ValueError(
            f"has a choice, number {number}, with what is no printable text of at most {LONGEST_TEXT} characters"
        )
    if not _KEY.fullmatch(facts["key"]):
        raise ValueError(f"chooses for '{facts['key'][:60]}', a kind of choice that is unknown")
    gain = facts["gain"]
    if isinstance(gain, bool) or not isinstance(gain, int | float) or not 0 <= gain < 1:
        raise ValueError(f"has a choice, number {number}, whose gain is no number from 0 to 1")
    return Choice(**facts)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable()


def _checksum(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _bad(name: str, reason: str) -> OptionError:
    return OptionError(BAD_TUNING, f"the tuning record {name} {reason}.", BAD_TUNING.remedy)


# The cache -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tunings:
    """What was measured on this processor, a file for each choice in the folder of the kernel cache."""

    store: Store

    def get(self, key: str) -> Choice | None:
        """What was chosen at the point ``key``; None if there is nothing to believe."""
        path = self._path(key)
        try:
            found = read_record(path)
        except OptionError:
            return None
        fits = [choice.key for choice in found.choices] == [key] and found.processor == processor()
        return found.choices[0] if fits and found.penstock == version("penstock") else None

    def put(self, choice: Choice) -> None:
        """Keep ``choice``, if the folder lets us."""
        with contextlib.suppress(OSError):
            write_whole(self._path(choice.key), Record.here([choice]).to_text().encode())

    def files(self) -> Sequence[Path]:
        """The files of all choices, of all processors and versions."""
        return sorted(self.store.folder.glob(f"*{SUFFIX}"))

    def clear(self) -> int:
        """Remove all of them; returns how many there were."""
        paths = self.files()
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
        return len(paths)

    def _path(self, key: str) -> Path:
        text = "\n".join((key, processor(), version("penstock")))
        return self.store.folder / f"{hashlib.blake2b(text.encode(), digest_size=20).hexdigest()}{SUFFIX}"


@cache
def processor() -> str:
    """What the system calls this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()[:LONGEST_TEXT]
    return (platform.processor() or platform.machine() or "unknown")[:LONGEST_TEXT]
