"""Values known at compile time, worked out when a converter asks for one.

In: a value of the graph under construction. Out: its array if it follows from constants and sizes alone, else None. The
one idea: shape arithmetic (Shape, Gather, Concat, Range ... on constants) is ordinary graph ops, and each op's own
reference semantics evaluates it, so a model's parameters need no rules of their own. Symbolic sizes make arrays of
extents (dtype object), which ``symbolic`` evaluates. Work is bounded: nothing large is computed on an untrusted model's
word.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, element_of, elements
from penstock.compiler.dialects.graph.extent import Extents
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import numpy_dtype, shape_of
from penstock.compiler.extents import NotStatic, is_static
from penstock.compiler.frontends.onnx import symbolic
from penstock.compiler.weights import WeightStore

Array = NDArray[Any]
MAX_ELEMENTS = 1 << 22  # of any result
MAX_FLOPS = 1 << 28  # of any op


class StaticValues:
    """Arrays of values that follow from constants and sizes; each op is evaluated once at most."""

    def __init__(self, weights: WeightStore) -> None:
        self._weights = weights
        self._known: dict[SSAValue, Array | None] = {}

    def of(self, value: SSAValue) -> Array | None:
        """The array of ``value``, or None if it depends on the model's inputs or is too large to work out."""
        pending = [value]
        while pending:
            current = pending[-1]
            owner = current.owner
            if current in self._known:
                pending.pop()
            elif elements(current.type) == 0 and is_static(shape_of(current.type)):
                self._known[current] = np.empty(shape_of(current.type), numpy_dtype(element_of(current)))
            elif isinstance(owner, Constant):
                self._known[current] = owner.array(self._weights)
            elif isinstance(owner, Extents):
                self._known[current] = _array(owner)
            elif not isinstance(owner, GraphOp) or owner.regions:
                self._known[current] = None
            else:
                missing = [operand for operand in owner.operands if operand not in self._known]
                if missing:
                    pending.extend(missing)
                else:
                    self._known.update(zip(owner.results, self._results(owner), strict=True))
        return self._known[value]

    def forget(self) -> None:
        """Values are worked out anew: an extent has been replaced by another."""
        self._known.clear()

    def _results(self, op: GraphOp) -> list[Array | None]:
        """The arrays of an op whose operands are settled."""
        unknown: list[Array | None] = [None] * len(op.results)
        operands = [array for operand in op.operands if (array := self._known[operand]) is not None]
        if len(operands) < len(op.operands):
            return unknown
        if any(map(symbolic.is_symbolic, operands)):
            return symbolic.evaluate(op, operands)
        if not all(is_static(shape_of(value.type)) for value in op.results):
            return unknown
        if any(elements(value.type) > MAX_ELEMENTS for value in op.results) or op.cost().flops > MAX_FLOPS:
            return unknown
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                results = op.evaluate(*operands)
            except NotStatic:  # a parameter is symbolic
                return unknown
        return [np.asarray(array) for array in (results if isinstance(results, tuple) else (results,))]


def _array(op: Extents) -> Array:
    """What an op holds: extents, or plain integers."""
    items = np.empty(len(op.values), np.int64 if is_static(op.values) else object)
    items[:] = op.values
    return items.reshape(shape_of(op.out.type))
