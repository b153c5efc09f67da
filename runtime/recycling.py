"""Memory for results, used again once nobody holds the result that was in it.

In: a result's position, shape and dtype. Out: an array to write it to. The one idea: memory new from the system costs a
page fault for every 4 KiB at the first write, more than many kernels take to write it; a session whose last results
have been dropped still has their memory.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

LARGE_BYTES = 64 * 1024
"""Results from this size on are recycled; smaller ones come from an allocator that does so itself."""

KEPT = 2
"""Blocks kept for each result: in a loop that feeds results back, one is read and one is written."""

ALIGNMENT = 64

_probe = [np.empty(0, np.uint8)]
_UNHELD = sys.getrefcount(_probe[0])
_COUNTS_ARE_EXACT: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


class Recycler:
    """The blocks of one session. Used by one thread at a time; results may be dropped by any."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[np.ndarray[Any, np.dtype[np.uint8]]]] = {}

    def empty(self, index: int, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> np.ndarray[Any, Any]:
        """An array for result number ``index``, of ``size`` bytes, that shares no memory with any result still held.

        Every array over a block, and every view of such an array, holds a reference to the block itself, so a block
        whose only reference is ours is free.
        """
        blocks = self._blocks.setdefault(index, [])
        chosen = None
        for i in range(len(blocks) - 1, -1, -1):
            if _COUNTS_ARE_EXACT and sys.getrefcount(blocks[i]) == _UNHELD:
                if chosen is None and blocks[i].size == size + ALIGNMENT:
                    chosen = blocks[i]
                elif blocks[i].size != size + ALIGNMENT:
                    del blocks[i]  # of a size that runs had before
        if chosen is None:
            chosen = np.empty(size + ALIGNMENT, np.uint8)
            if len(blocks) < KEPT:
                blocks.append(chosen)
        start = -chosen.__array_interface__["data"][0] % ALIGNMENT
        return np.ndarray(shape, dtype, chosen, start)
