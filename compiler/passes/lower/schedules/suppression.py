"""Non-maximum suppression.

In: ``graph.suppress``. Out: a kernel with a unit per batch and class. The one idea: the boxes above the least score are
sorted by their scores, and each is held against those kept before it, which the result itself lists.
"""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dtypes import I64, INDEX
from penstock.compiler.extents import largest, typical
from penstock.compiler.passes.lower.affine import Expr, data, linearise
from penstock.compiler.passes.lower.kernel import KernelLowering, schedule
from penstock.compiler.passes.lower.sorting import load_index, merge_sort, one_if, store_index, truth


@schedule("suppression")
def lower_suppression(k: KernelLowering) -> None:
    """One unit per batch and class."""
    op: Any = k.root("graph.suppress")
    batches, classes, count = k.e.shape(op.operands[1])
    order = k.b.alloc(2 * count, I64)
    depth = math.ceil(math.log2(max(typical(count), 2)))
    with k.parallel((batches, classes), 8.0 * typical(count) * depth) as (batch, kind):
        if 0 in (batches, classes):
            return
        _Unit(k, op, order, batch, kind).run()


class _Unit:
    """One batch and class."""

    def __init__(self, k: KernelLowering, op: Any, order: SSAValue, batch: Expr, kind: Expr) -> None:
        self.k, self.op, self.order, self.batch, self.kind = k, op, order, batch, kind
        self.batches, self.classes, self.count = k.e.shape(op.operands[1])
        self.kept, self.number = k.targets
        self.place = k.e.scalar(linearise((batch, kind), (self.batches, self.classes)))
        self.base = k.b.imul(self.place, op.room)

    def run(self) -> None:
        """Sort, then keep what overlaps nothing kept so far."""
        k, b = self.k, self.k.b
        with b.loop(0, self.op.room) as loop:
            b.store(b.constant(-1, I64), self.kept, b.iadd(self.base, loop.index))
        candidates = self._candidates()
        start = merge_sort(k, self.order, self.count, candidates, self._before)
        most = b.cast(self._number(2), INDEX)
        limit = b.binary("min", b.binary("max", most, 0), b.index(self.op.room))
        zero = b.constant(0, INDEX)
        with b.while_([zero, zero]) as loop:
            with loop.condition() as go_on:
                some, room = b.compare("lt", loop.before[0], candidates), b.compare("lt", loop.before[1], limit)
                go_on.append(b.binary("and_", some, room))
            with loop.body() as following:
                number, kept = loop.carried
                box = load_index(k, self.order, b.add(start, number))
                free = b.unary("not_", self._covered(box, kept))
                with b.when(free):
                    store_index(k, box, self.kept, b.iadd(self.base, kept))
                following += [b.add(number, 1), b.add(kept, one_if(k, free))]
        store_index(k, loop.results[1], self.number, self.place)

    def _candidates(self) -> SSAValue:
        """Write the boxes above the least score to ``order``; how many they are."""
        k, b = self.k, self.k.b
        if len(self.op.operands) < 5:
            with b.loop(0, self.count) as loop:
                store_index(k, loop.index, self.order, loop.index)
            return b.index(self.count)
        least = self._number(4)
        with b.loop(0, self.count, 1, [b.constant(0, INDEX)]) as loop:
            store_index(k, loop.index, self.order, loop.carried[0])
            loop.yield_(b.add(loop.carried[0], one_if(k, b.compare("gt", self._score(loop.index), least))))
        return loop.results[0]

    def _number(self, operand: int) -> SSAValue:
        """An operand that is one number."""
        with self.k.e.lanes(()):
            value = self.op.operands[operand]
            return self.k.e.value(value, (Expr(),) * len(self.k.e.shape(value))).value

    def _before(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """Box x has a higher score than box y."""
        return self.k.b.compare("gt", self._score(x), self._score(y))

    def _box(self, box: SSAValue) -> Expr:
        return data(box, 0, largest(self.count - 1, 0))

    def _score(self, box: SSAValue) -> SSAValue:
        with self.k.e.lanes(()):
            return self.k.e.value(self.op.operands[1], (self.batch, self.kind, self._box(box))).value

    def _covered(self, box: SSAValue, kept: SSAValue) -> SSAValue:
        """Whether one of the first ``kept`` boxes overlaps ``box`` too much."""
        k, b = self.k, self.k.b
        mine, overlap = self._corners(box), self._number(3)
        with b.while_([b.constant(0, INDEX), truth(k, False)]) as loop:
            with loop.condition() as go_on:
                more, covered = b.compare("lt", loop.before[0], kept), loop.before[1]
                go_on.append(b.binary("and_", more, b.unary("not_", covered)))
            with loop.body() as following:
                other = load_index(k, self.kept, b.iadd(self.base, loop.carried[0]))
                following += [b.add(loop.carried[0], 1), self._overlaps(mine, self._corners(other), overlap)]
        return loop.results[1]

    def _corners(self, box: SSAValue) -> tuple[SSAValue, ...]:
        """Least, then greatest coordinates along both axes."""
        b = self.k.b
        with self.k.e.lanes(()):
            p, q, r, s = (
                self.k.e.value(self.op.operands[0], (self.batch, self._box(box), Expr(i))).value for i in range(4)
            )
        if self.op.centered:
            wide, high = b.mul(r, 0.5), b.mul(s, 0.5)
            return b.sub(p, wide), b.sub(q, high), b.add(p, wide), b.add(q, high)
        return b.binary("min", p, r), b.binary("min", q, s), b.binary("max", p, r), b.binary("max", q, s)

    def _overlaps(self, mine: tuple[SSAValue, ...], other: tuple[SSAValue, ...], overlap: SSAValue) -> SSAValue:
        """Intersection over union is greater than ``overlap``; never for boxes that do not meet, or have no area."""
        b = self.k.b
        # In the order of ONNX's reference (x before y), so that products are rounded alike: both factors commute.
        sides = [
            b.sub(b.binary("min", mine[2 + axis], other[2 + axis]), b.binary("max", mine[axis], other[axis]))
            for axis in (0, 1)
        ]
        common = b.mul(*sides)
        first, second = (b.mul(b.sub(box[2], box[0]), b.sub(box[3], box[1])) for box in (mine, other))
        union = b.sub(b.add(first, second), common)
        holds = b.compare("gt", b.div(common, union), overlap)
        for number in (*sides, common, first, second, union):
            holds = b.binary("and_", holds, b.compare("gt", number, 0.0))
        return holds
