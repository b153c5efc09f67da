"""Recognise the Gaussian error linear unit however its products and sums are associated.

Before: x/2 (1 + erf(x/sqrt 2)) or its tanh approximation, written out in any order. After: graph.gelu.
The one idea: what matters is the function, not its spelling. The ops between x and the result are few, analytic
(sums, products, powers, one erf or tanh) and have one free variable, so they are evaluated in f64 at many points: a
function of this kind that agrees with gelu there to 1e-5 of its value is gelu with its constants rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, cast

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.activation import Gelu
from penstock.compiler.dialects.graph.elementwise import Add, Div, Elementwise, Erf, Mul, Neg, Pow, Sub, Tanh
from penstock.compiler.dialects.graph.matching import number_of
from penstock.compiler.dialects.graph.scalar import NumpyScalars, erf
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.weights import WeightStore

ANALYTIC = (Add, Sub, Mul, Div, Neg, Pow)
MOST_OPS = 14


@dataclass(frozen=True)
class RecogniseGelu(ModulePass):
    """Gelu from its parts."""

    name: ClassVar[str] = "recognise-gelu"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        rewrite(context, op, [GeluFromParts(context)])


class GeluFromParts(Pattern):
    """A product that depends on one tensor alone, through one erf or tanh, and is gelu of it."""

    roots = (Mul, Div)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: Mul | Div, rewriter: Rewriter, /) -> None:
        for x in _candidates(op, self.weights):
            ops = _between(x, op, self.weights)
            if ops is None or x.type != op.out.type:
                continue
            for approximate in ("none", "tanh"):
                points, expected = _reference(approximate)
                if np.allclose(_evaluate(ops, x, points, self.weights), expected, rtol=1e-5, atol=2e-6):
                    rewriter.covers(*ops)
                    rewriter.replace(op, Gelu.build(x, approximate=approximate))
                    return


@cache
def _reference(approximate: str) -> tuple[Any, Any]:
    """Points between -8 and 8, and gelu there."""
    x = np.linspace(-8, 8, 129)
    if approximate == "none":
        return x, x / 2 * (1 + erf(x * np.sqrt(0.5)))
    return x, x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _candidates(root: Elementwise, weights: WeightStore) -> Iterator[SSAValue]:
    """The values that the erf or tanh a few ops above ``root`` may be a function of, nearest first."""
    heart = _heart(root)
    seen: set[SSAValue] = set()
    pending = [] if heart is None else list(heart.operands)
    while pending and len(seen) < MOST_OPS:
        value = pending.pop(0)
        if value in seen or number_of(value, weights) is not None:
            continue
        seen.add(value)
        yield value
        if isinstance(value.owner, ANALYTIC):
            pending += value.owner.operands


def _heart(root: Elementwise) -> Erf | Tanh | None:
    """The erf or tanh at most five ops above ``root``."""
    level: list[Operation] = [root]
    for _ in range(5):
        above = [value.owner for op in level for value in op.operands]
        for op in above:
            if isinstance(op, Erf | Tanh):
                return op
        level = [op for op in above if isinstance(op, ANALYTIC)]
    return None


def _between(x: SSAValue, root: Elementwise, weights: WeightStore) -> list[Elementwise] | None:
    """The ops that compute ``root`` from ``x`` and numbers, operands first.

    None if anything else is needed, if there are too many, or if what they compute on the way is used elsewhere.
    """
    order: dict[Elementwise, None] = {}

    def visit(op: Elementwise, depth: int) -> bool:
        for value in op.operands:
            inner = value.owner
            if value is x or inner in order or number_of(value, weights) is not None:
                continue
            if depth == MOST_OPS or not isinstance(inner, (Erf, Tanh, *ANALYTIC)) or not visit(inner, depth + 1):
                return False
        order[op] = None
        return len(order) <= MOST_OPS

    if not visit(root, 0) or sum(isinstance(op, Erf | Tanh) for op in order) != 1:
        return None
    private = all(use.operation in order for op in order if op is not root for use in op.out.uses)
    return list(order) if private else None


def _evaluate(ops: list[Elementwise], x: SSAValue, points: Any, weights: WeightStore) -> Any:
    """What the last of ``ops`` computes where ``x`` has the values ``points``, in f64."""
    values: dict[SSAValue, Any] = {x: points}
    with np.errstate(all="ignore"):
        for op in ops:
            operands = [values[v] if v in values else np.asarray(number_of(v, weights), float) for v in op.operands]
            values[op.out] = op.scalar(NumpyScalars(), *operands)
    return values[ops[-1].out]
