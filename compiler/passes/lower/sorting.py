"""Sorting inside a kernel: numbers of elements in the order of what they stand for.

In: indices in scratch memory and what comes before what. Out: the same indices in order. The one idea: a merge sort
from runs of one upwards, between the two halves of one buffer: stable, without recursion, and as long at worst as at
best.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import SSAValue

from penstock.compiler.dialects.tile.builder import Index
from penstock.compiler.dtypes import I1, I64, INDEX
from penstock.compiler.extents import Extent
from penstock.compiler.passes.lower.kernel import KernelLowering

Before = Callable[[SSAValue, SSAValue], SSAValue]
"""Whether the element of one index comes before that of another, not only with it: a scalar i1."""


def load_index(k: KernelLowering, source: SSAValue, offset: Index) -> SSAValue:
    """An i64 of memory as an index."""
    return k.b.cast(k.b.load(source, offset), INDEX)


def store_index(k: KernelLowering, value: Index, target: SSAValue, offset: Index) -> None:
    """An index as an i64 in memory."""
    k.b.store(k.b.cast(k.b.index(value), I64), target, offset)


def one_if(k: KernelLowering, condition: SSAValue) -> SSAValue:
    """1 where a condition holds, else 0; an index."""
    return k.b.select(condition, k.b.constant(1, INDEX), k.b.constant(0, INDEX))


def merge_sort(k: KernelLowering, order: SSAValue, room: Extent, count: SSAValue, before: Before) -> SSAValue:
    """Sort the first ``count`` (at most ``room``) i64 of ``order``, a buffer for twice ``room``; where in it the sorted
    ones start: 0 or ``room``."""
    b = k.b
    zero, one = b.constant(0, INDEX), b.constant(1, INDEX)
    with b.while_([one, zero, b.index(room)]) as runs:
        with runs.condition() as go_on:
            go_on.append(b.compare("lt", runs.before[0], count))
        with runs.body() as following:
            width, source, target = runs.carried
            twice = b.add(width, width)
            with b.while_([zero]) as pairs:
                with pairs.condition() as go_on:
                    go_on.append(b.compare("lt", pairs.before[0], count))
                with pairs.body() as next_pair:
                    (start,) = pairs.carried
                    middle = b.binary("min", b.add(start, width), count)
                    end = b.binary("min", b.add(start, twice), count)
                    _merge(k, order, source, target, (start, middle, end), before)
                    next_pair.append(b.add(start, twice))
            following += [twice, target, source]
    return runs.results[1]


def _merge(
    k: KernelLowering,
    order: SSAValue,
    source: SSAValue,
    target: SSAValue,
    bounds: tuple[SSAValue, SSAValue, SSAValue],
    before: Before,
) -> None:
    """Two sorted runs next to each other into one."""
    b = k.b
    start, middle, end = bounds
    with b.loop(start, end, 1, [start, middle]) as loop:
        left, right = loop.carried
        a = load_index(k, order, b.add(source, b.binary("min", left, b.sub(middle, 1))))
        c = load_index(k, order, b.add(source, b.binary("min", right, b.sub(end, 1))))
        no_left, has_right = b.compare("ge", left, middle), b.compare("lt", right, end)
        takes_right = b.binary("and_", has_right, b.binary("or_", no_left, before(c, a)))
        store_index(k, b.select(takes_right, c, a), order, b.add(target, loop.index))
        step = one_if(k, takes_right)
        loop.yield_(b.add(left, b.sub(b.constant(1, INDEX), step)), b.add(right, step))


def truth(k: KernelLowering, value: bool) -> SSAValue:
    """A scalar truth value."""
    return k.b.constant(int(value), I1)
