"""Static memory planning: one arena, an offset for every intermediate value.

In: buffers with sizes and lifetimes (first and last command that touch them). Out: offsets such that buffers alive at
the same time do not overlap. The one idea: largest first, each at the lowest offset that fits between its neighbours
in time (greedy by size: Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net Inference").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.compiler.dialects.plan.memory import aligned


@dataclass(frozen=True)
class Lifetime:
    """A buffer of ``bytes`` bytes, needed by the commands ``first`` .. ``last``."""

    bytes: int
    first: int
    last: int


def place(buffers: Sequence[Lifetime]) -> tuple[list[int], int]:
    """Offsets (multiples of 64 bytes), one per buffer, and the size of the arena."""
    offsets = [0] * len(buffers)
    placed: list[tuple[int, int, int]] = []
    total = 0
    for index in sorted(range(len(buffers)), key=lambda i: (-buffers[i].bytes, i)):
        buffer = buffers[index]
        size = aligned(max(buffer.bytes, 1))
        taken = sorted(
            (start, end)
            for start, end, other in placed
            if buffers[other].first <= buffer.last and buffer.first <= buffers[other].last
        )
        offset = 0
        for start, end in taken:
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[index] = offset
        placed.append((offset, offset + size, index))
        total = max(total, offset + size)
    return offsets, total
