"""Work on weights, shared by a few threads.

In: a function of a range, which writes what belongs to the range and nothing else. Out: the whole range done. The one
idea: numpy computes and copies without Python's lock, so moving a model's weights goes as fast as memory allows; what
comes out does not depend on how many threads there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

MOST_THREADS = 4
WORTH_SHARING = 1 << 20
"""Bytes below which starting a thread takes longer than what it would do."""


def in_parts(count: int, work: Callable[[int, int], None], size: int, align: int = 1) -> None:
    """Do ``work(begin, end)`` over [0, count) in one part for each thread, cut at multiples of ``align``, where there
    are ``size`` bytes to move in all; what a part raises is raised here."""
    threads = min(MOST_THREADS, len(os.sched_getaffinity(0)), -(-count // align), size // WORTH_SHARING)
    if threads < 2:
        work(0, count)
        return
    step = -(-count // align // threads) * align
    errors: list[BaseException] = []

    def part(begin: int) -> None:
        try:
            work(begin, min(begin + step, count))
        except BaseException as error:
            errors.append(error)

    others = [Thread(target=part, args=(begin,)) for begin in range(step, count, step)]
    for thread in others:
        thread.start()
    part(0)
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
