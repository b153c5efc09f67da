"""What a compilation says of itself: times, kernels, memory, and what the user should know.

In: what phases and the packaging found. Out: a record, for people and as JSON. The one idea: it is filled in on the way
and printed by tools; nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.compiler.runner import Record

if TYPE_CHECKING:
    from penstock.compiler.tuning.search import Tuning


@dataclass
class Report:
    """How an artifact was made and what is in it.

    ``phases`` in order, each with its passes; ``kernels`` and ``code_bytes`` by instruction set level; ``cached`` of
    the kernels came from the kernel cache; ``memory`` in bytes (``weights``, ``arena``, ``scratch_per_thread``; the
    text of an extent, for the arena of a bound, where sizes are chosen at run time); ``notes`` are sentences worth the
    user's attention; ``specialized`` lists the plans for fixed ``sizes`` with their ``memory``; ``kept`` tells what a
    session keeps from run to run; ``compressed`` says how many weights are (``count``) and what it saves
    (``bytes_saved``); ``tuned`` choices are others than the cost model's, and ``tuning`` is what a search for them came
    to.
    """

    model: str
    target: str
    phases: list[Record] = field(default_factory=list[Record])
    kernels: dict[str, int] = field(default_factory=dict[str, int])
    code_bytes: dict[str, int] = field(default_factory=dict[str, int])
    cached: int = 0
    launches: int = 0
    artifact_bytes: int = 0
    memory: dict[str, int | str] = field(default_factory=dict[str, "int | str"])
    notes: list[str] = field(default_factory=list[str])
    specialized: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    kept: dict[str, Any] | None = None
    compressed: dict[str, int] = field(default_factory=dict[str, int])
    tuned: int = 0
    tuning: Tuning | None = None

    @property
    def seconds(self) -> float:
        """Wall time of all phases."""
        return sum(record.seconds for record in self.phases)

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "model": self.model,
            "target": self.target,
            "seconds": round(self.seconds, 6),
            "phases": [record.as_dict() for record in self.phases],
            "kernels": self.kernels,
            "cached": self.cached,
            "code_bytes": self.code_bytes,
            "launches": self.launches,
            "artifact_bytes": self.artifact_bytes,
            "memory": self.memory,
            "notes": self.notes,
            **({"tuned": self.tuned} if self.tuned else {}),
            **({"compressed_weights": self.compressed} if self.compressed else {}),
            **({"kept": self.kept} if self.kept else {}),
            **({"specialized": self.specialized} if self.specialized else {}),
        }
