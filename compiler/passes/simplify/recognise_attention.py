"""Recognise scaled dot-product attention around a softmax.

Before: matmul(softmax(scores), v), where scores is matmul(q, transpose(k)) with any of these around it: a factor on q,
on k or on the product, a soft cap, masks added or selected, reshapes that split or join batch and heads, keys and
values repeated for groups of heads, casts between half precision and f32, a guard against rows without any key.
After: graph.attention on q, k, v of rank 4 (as reshapes and transposes of what there was), with an additive mask or the
causal rule. A query from which every key is hidden by minus infinity then gives 0, not NaN. The one idea: peel the
scores from the softmax inwards, noting what each layer means (``scores``), until a matrix product is reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import element_of, tensor_type
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.elementwise import Add, Cast, Mul
from penstock.compiler.dialects.graph.logic import Eq, IsNan, Select
from penstock.compiler.dialects.graph.matching import defining, has_one_use, known_array, number_of
from penstock.compiler.dialects.graph.normalization import Softmax
from penstock.compiler.dialects.graph.reduction import Reduce
from penstock.compiler.dialects.graph.shape import Expand, Reshape, Transpose
from penstock.compiler.dtypes import BF16, F16, shape_of, tensor
from penstock.compiler.passes.simplify.scores import Mask, Peeler, Scores, factor_of, keeps_matrices
from penstock.compiler.passes.simplify.staging import Stage
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.weights import WeightStore


@dataclass(frozen=True)
class RecogniseAttention(ModulePass):
    """Attention from its parts."""

    name: ClassVar[str] = "recognise-attention"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        rewrite(context, op, [AttentionFromParts(context)])


class AttentionFromParts(Pattern):
    """A product of softmax weights with values."""

    roots = (Matmul,)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: Matmul, rewriter: Rewriter, /) -> None:
        if op.b_panel:
            return
        found = _softmax_above(op, self.weights)
        if found is None:
            return
        softmax, between, tested = found
        stage = Stage(rewriter, self.weights)
        scores = Peeler(softmax.operands[0], self.weights, stage).peel()
        if scores is not None and all(any(mask.value is value for mask in scores.masks) for value in tested):
            scores.ops += [softmax, *between, op]
            if self._build(op, softmax, scores, stage):
                return
        stage.discard()

    def _build(self, op: Matmul, softmax: Softmax, scores: Scores, stage: Stage) -> bool:
        """Replace ``op`` by attention; False if the operands' shapes are not those of attention."""
        lead = _batch_and_heads([shape_of(softmax.out.type), *scores.shapes])
        if lead is None:
            return False
        q, q_factor = self._without_factor(scores.product.operands[0], stage)
        transposed, k_factor = self._without_factor(scores.product.operands[1], stage)
        k, v = _swapped(transposed, stage), op.operands[1]
        bases = _ungrouped(k, stage), _ungrouped(v, stage)
        if bases[0] is not None and bases[1] is not None:
            k, v = bases[0], bases[1]
        views = [_rank4(value, lead, stage) for value in (q, k, v)]
        masks = [_placed(mask, lead, q, stage) for mask in scores.masks]
        if None in views or None in masks:
            return False
        operands = [view for view in views if view is not None]
        same = len({element_of(value) for value in (*operands, *(m for m in masks if m is not None))}) == 1
        if not same or not _fit(*operands):
            return False
        mask = self._sum([mask for mask in masks if mask is not None], stage)
        attention = stage.add(
            Attention.build(
                *operands,
                *([] if mask is None else [mask]),
                scale=scores.scale * q_factor * k_factor,
                causal=scores.causal_offset is not None,
                causal_offset=0 if scores.causal_offset is None else scores.causal_offset,
                softcap=scores.softcap,
            )
        )
        result = stage.add(Reshape.build(attention, result=tensor_type(op.out)))
        stage.commit(scores.ops)
        stage.rewriter.replace(op, result.out)
        return True

    @staticmethod
    def _sum(masks: list[SSAValue], stage: Stage) -> SSAValue | None:
        total: SSAValue | None = None
        for mask in masks:
            total = mask if total is None else stage.add(Add.build(total, mask)).out
        return total

    def _without_factor(self, value: SSAValue, stage: Stage) -> tuple[SSAValue, float]:
        """``value`` without a factor found under views of it, and the factor (1 if there is none)."""
        path: list[Reshape | Transpose] = []
        inner = value
        while isinstance(inner.owner, Reshape | Transpose) and has_one_use(inner):
            path.append(inner.owner)
            inner = inner.owner.operands[0]
        found = factor_of(inner, self.weights) if has_one_use(inner) else None
        if found is None:
            return value, 1.0
        x, factor = found
        for view in reversed(path):
            if isinstance(view, Reshape):
                x = stage.add(Reshape.build(x, result=tensor_type(view.out), location=view.location)).out
            else:
                x = stage.add(Transpose.build(x, permutation=view.permutation, location=view.location)).out
        return x, factor


def _softmax_above(op: Matmul, weights: WeightStore) -> tuple[Softmax, list[Operation], list[SSAValue]] | None:
    """The softmax along the last axis whose result, used for nothing else, ``op`` multiplies; the ops between; and the
    values that these test for rows of minus infinity alone, which must be masks."""
    value, passed = op.operands[0], [cast(Operation, op)]
    tested: list[SSAValue] = []
    while True:
        if any(use.operation not in passed for use in value.uses):
            return None
        above = value.owner
        if isinstance(above, Softmax):
            last = above.axis == len(shape_of(value.type)) - 1
            return (above, passed[1:], tested) if last else None
        if isinstance(above, Select):
            test, blind = _guard(above, weights), _blind_rows(above, weights)
            if test is None and blind is None:
                return None
            tested += blind or []
            value, passed = above.operands[2], [*passed, above, *([test] if test is not None else [])]
        elif (isinstance(above, Cast) and element_of(value) in (F16, BF16)) or (
            isinstance(above, Reshape) and keeps_matrices(above)
        ):
            value, passed = above.operands[0], [*passed, above]
        else:
            return None


def _guard(op: Select, weights: WeightStore) -> IsNan | None:
    """The test in select(is_nan(w), 0, w): queries without any key give 0, as in attention."""
    condition, zero, inner = op.operands
    test = defining(condition, IsNan)
    matches = test is not None and test.operands[0] is inner and has_one_use(condition)
    return test if matches and number_of(zero, weights) == 0 else None


def _blind_rows(op: Select, weights: WeightStore) -> list[SSAValue] | None:
    """The mask of select(max(mask, last axis) == -inf, 0, w), the guard of ONNX's Attention written out: queries from
    which it hides every key give 0, as in attention. An empty list where the test is known never to hold; None for
    other selections."""
    condition, zero, _ = op.operands
    if number_of(zero, weights) != 0:
        return None
    known = known_array(condition, weights)
    if known is not None:
        return None if known.any() else []
    test = defining(condition, Eq)
    if test is None or number_of(test.operands[1], weights) != -math.inf:
        return None
    peak = defining(test.operands[0], Reduce)
    if peak is None or peak.kind != "max" or not peak.keepdims:
        return None
    mask = peak.operands[0]
    return [mask] if tuple(peak.axes) == (len(shape_of(mask.type)) - 1,) else None


def _batch_and_heads(shapes: list[tuple[int, ...]]) -> tuple[int, int] | None:
    """B and H: from scores of rank 4 if any have it, else one head for each matrix of a batch."""
    leads = {shape[:-2] for shape in shapes}
    four = {lead for lead in leads if len(lead) == 2}
    if len(four) == 1:
        return four.pop()
    if four or any(len(lead) > 2 for lead in leads):
        return None
    return next((lead[0] for lead in sorted(leads, key=str) if lead and lead[0] != 1), 1), 1


def _swapped(value: SSAValue, stage: Stage) -> SSAValue:
    """``value`` with its last two axes exchanged; reshapes that only join batch and heads are passed."""
    while isinstance(value.owner, Reshape) and keeps_matrices(value.owner):
        value = value.owner.operands[0]
    rank = len(shape_of(value.type))
    permutation = [*range(rank - 2), rank - 1, rank - 2]
    inner = defining(value, Transpose)
    if inner is not None and list(inner.permutation) == permutation:
        return inner.operands[0]
    return stage.add(Transpose.build(value, permutation=permutation)).out


def _ungrouped(value: SSAValue, stage: Stage) -> SSAValue | None:
    """[B, Hkv, T, D], if ``value`` [B, Hkv G, T, D] is it with every head repeated G times."""
    reshape = defining(value, Reshape)
    expand = None if reshape is None else defining(reshape.operands[0], Expand)
    if expand is None:
        return None
    wide, narrow = shape_of(expand.out.type), shape_of(expand.operands[0].type)
    if len(wide) != 5 or len(narrow) != 5 or narrow != (*wide[:2], 1, *wide[3:]):
        return None
    if shape_of(value.type) != (wide[0], wide[1] * wide[2], *wide[3:]):
        return None
    result = tensor((*wide[:2], *wide[3:]), element_of(value))
    return stage.add(Reshape.build(expand.operands[0], result=result)).out


def _rank4(value: SSAValue, lead: tuple[int, int], stage: Stage) -> SSAValue | None:
    """``value`` as [B, heads, rows, columns], or None if its matrices are not one for each batch and head."""
    shape = shape_of(value.type)
    if len(shape) == 4 and shape[0] == lead[0]:
        return value
    if math.prod(shape[:-2]) != lead[0] * lead[1]:
        return None
    return stage.add(Reshape.build(value, result=tensor((*lead, *shape[-2:]), element_of(value)))).out


def _placed(mask: Mask, lead: tuple[int, int], q: SSAValue, stage: Stage) -> SSAValue | None:
    """A mask as attention takes it: of q's element type, times its factor, broadcasting to [B, H, S, T]."""
    value = mask.value
    if element_of(value) != element_of(q):
        value = stage.add(Cast.build(value, result=tensor(shape_of(value.type), element_of(q)))).out
    if mask.factor != 1:
        value = stage.add(Mul.build(value, stage.number(mask.factor, value))).out
    shape = shape_of(value.type)
    if len(shape) < 3 or shape[:-2] == (1,) or len(mask.scores) == 4:
        return value if len(shape) <= 4 else None
    if math.prod(shape[:-2]) != lead[0] * lead[1]:
        return None
    return stage.add(Reshape.build(value, result=tensor((*lead, *shape[-2:]), element_of(value)))).out


def _fit(q: SSAValue, k: SSAValue, v: SSAValue) -> bool:
    """True if q, k and v are operands of attention."""
    a, b, c = (shape_of(value.type) for value in (q, k, v))
    return a[0] == b[0] == c[0] and a[1] % b[1] == 0 and b[1:3] == c[1:3] and a[3] == b[3] and b[2] > 0
