"""Weights are freed as soon as the constants that held them have been replaced.

In: a module, as a pass begins to compute new constants from old ones. Out: a weight store without the arrays that no
constant of the module refers to any more. The one idea: a model's weights are its memory; a pass that rewrites them
one by one holds both forms of one weight at a time, not of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.weights import WeightStore


class Releasing:
    """Counts the constants of ``module`` by key, and forgets the bytes of the last one when it is replaced."""

    def __init__(self, weights: WeightStore, module: ModuleOp) -> None:
        self.weights = weights
        self._constants = Counter(op.key for op in module.walk() if isinstance(op, Constant) and "key" in op.attributes)

    def made(self, constant: Constant) -> Constant:
        """Count a new constant; returns it."""
        if "key" in constant.attributes:
            self._constants[constant.key] += 1
        return constant

    def replaced(self, values: Iterable[SSAValue]) -> None:
        """Free the bytes of those of ``values`` that are constants without a use left, which are about to be erased."""
        for value in set(values):
            op = value.owner
            if not isinstance(op, Constant) or "key" not in op.attributes or value.first_use is not None:
                continue
            self._constants[op.key] -= 1
            if self._constants[op.key] == 0:
                self.weights.discard(op.key)
