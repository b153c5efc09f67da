"""New ops held back until a rewrite is sure.

In: ops built while a pattern still looks around. Out: all of them inserted, or none, so that a pattern that gives up
has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from xdsl.ir import Operation, SSAValue

from penstock.compiler.dialects.graph.matching import scalar
from penstock.compiler.rewriting import Rewriter
from penstock.compiler.weights import WeightStore

OpT = TypeVar("OpT", bound=Operation)


class Stage:
    """Ops built for one rewrite, in order. End with ``commit`` or ``discard``."""

    def __init__(self, rewriter: Rewriter, weights: WeightStore) -> None:
        self.rewriter = rewriter
        self.weights = weights
        self._ops: list[Operation] = []

    def add(self, op: OpT) -> OpT:
        """Hold ``op`` back; returns it."""
        self._ops.append(op)
        return op

    def number(self, number: float, like: SSAValue) -> SSAValue:
        """A constant of rank 0 with the element type of ``like``."""
        return self.add(scalar(number, like, self.weights)).out

    def commit(self, covered: Sequence[Operation]) -> None:
        """Insert all ops before the root of the rewrite, located at all of ``covered`` if they have no location."""
        self.rewriter.covers(*covered)
        for op in self._ops:
            self.rewriter.insert(op)
        self._ops = []

    def discard(self) -> None:
        """Forget all ops."""
        for op in reversed(self._ops):
            op.erase()
        self._ops = []
