"""Groups of equal rows.

In: ``graph.group``. Out: a kernel of one unit. The one idea: rows are sorted by their numbers (``sorting``), so equal
ones stand together, the first one first; one walk then numbers the groups, and a second one, where groups are in order
of appearance, numbers them anew.
"""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import I64, INDEX, is_float, is_unsigned
from penstock.compiler.extents import largest, typical
from penstock.compiler.passes.lower.affine import Expr, data, iv
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule
from penstock.compiler.passes.lower.sorting import load_index, merge_sort, one_if, store_index


@schedule("grouping")
def lower_grouping(k: KernelLowering) -> None:
    """One unit."""
    op: Any = k.root("graph.group")
    count = k.e.shape(op.operands[0])[0]
    first, inverse, counts = k.targets
    rows = _Rows(k, op.operands[0])
    order = k.b.alloc(count * (2 if op.sorted else 3), I64)
    depth = math.ceil(math.log2(max(typical(count), 2)))
    with k.parallel((1,), 4.0 * typical(count) * depth):
        zero = k.b.constant(0, INDEX)
        with k.b.loop(0, count) as loop:
            store_index(k, loop.index, order, loop.index)
            for target in (first, counts):
                store_index(k, zero, target, loop.index)
        if count == 0:
            return
        start = merge_sort(k, order, count, k.b.index(count), rows.before)
        with k.b.loop(0, count, 1, [zero]) as loop:
            row = load_index(k, order, k.b.add(start, loop.index))
            previous = load_index(k, order, k.b.add(start, k.b.binary("max", k.b.sub(loop.index, 1), 0)))
            differs = k.b.binary("or_", k.b.compare("eq", loop.index, 0), rows.differ(previous, row))
            groups = k.b.add(loop.carried[0], one_if(k, differs))
            group = k.b.sub(groups, 1)
            with k.b.when(differs):
                store_index(k, row, first, group)
            store_index(k, k.b.add(load_index(k, counts, group), 1), counts, group)
            store_index(k, group, inverse, row)
            loop.yield_(groups)
        if not op.sorted:
            _by_appearance(k, order, count)


def _by_appearance(k: KernelLowering, memory: SSAValue, count: int) -> None:
    """Number groups in order of their first rows; ``memory`` has room for three numbers per group."""
    first, inverse, counts = k.targets
    b = k.b
    firsts, sums = b.index(count), b.index(2 * count)  # after the new numbers
    with b.loop(0, count, 1, [b.constant(0, INDEX)]) as loop:
        (number,) = loop.carried
        group = load_index(k, inverse, loop.index)
        fresh = b.compare("eq", load_index(k, first, group), loop.index)
        with b.when(fresh):
            store_index(k, number, memory, group)
            store_index(k, loop.index, memory, b.add(firsts, number))
            store_index(k, load_index(k, counts, group), memory, b.add(sums, number))
        store_index(k, load_index(k, memory, group), inverse, loop.index)
        loop.yield_(b.add(number, one_if(k, fresh)))
    (groups,) = loop.results
    with b.loop(0, groups) as loop:
        store_index(k, load_index(k, memory, b.add(firsts, loop.index)), first, loop.index)
        store_index(k, load_index(k, memory, b.add(sums, loop.index)), counts, loop.index)


class _Rows:
    """Comparisons of the rows of ``x``."""

    def __init__(self, k: KernelLowering, x: SSAValue) -> None:
        self.k, self.x = k, x
        self.count, self.width = k.e.shape(x)
        kind = element_of(x)
        self.float = is_float(kind)
        self.less = "ltu" if not self.float and is_unsigned(kind) else "lt"

    def before(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """Row a comes before row b."""
        return self.k.b.compare("eq", self._order(a, b), 1)

    def differ(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """Rows a and b are not equal."""
        return self.k.b.compare("ne", self._order(a, b), 0)

    def _order(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """0 for equal rows, 1 if a comes before b, 2 if it comes after it."""
        k, zero = self.k, self.k.b.constant(0, INDEX)
        if self.width == 0:
            return zero
        if self.width == 1:
            return self._elements(a, b, Expr())
        with k.b.while_([zero, zero]) as loop:
            with loop.condition() as go_on:
                column, found = loop.before
                more = k.b.compare("lt", column, k.b.index(self.width))
                go_on.append(k.b.binary("and_", more, k.b.compare("eq", found, 0)))
            with loop.body() as following:
                column = iv(loop.carried[0], 0, largest(self.width - 1, 0))
                following += [k.b.add(loop.carried[0], 1), self._elements(a, b, column)]
        return loop.results[1]

    def _elements(self, a: SSAValue, b: SSAValue, column: Expr) -> SSAValue:
        k = self.k
        with k.e.lanes(()):
            x, y = (k.e.value(self.x, (data(row, 0, largest(self.count - 1, 0)), column)).value for row in (a, b))
        less, greater = k.b.compare(self.less, x, y), k.b.compare(self.less, y, x)
        if self.float:  # NaN comes last
            x_is, y_is = k.b.compare("ne", x, x), k.b.compare("ne", y, y)
            less = k.b.binary("or_", less, k.b.binary("and_", y_is, k.b.unary("not_", x_is)))
            greater = k.b.binary("or_", greater, k.b.binary("and_", x_is, k.b.unary("not_", y_is)))
        one, two, zero = (k.b.constant(number, INDEX) for number in (1, 2, 0))
        return k.b.select(less, one, k.b.select(greater, two, zero))
