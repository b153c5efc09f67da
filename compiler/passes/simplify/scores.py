"""What the scores of an attention are made of: used by ``recognise_attention``.

In: the operand of a softmax. Out: the product of q and k it comes from, and what happened in between: a factor, a soft
cap, masks, the causal rule. Each layer is a method of ``Peeler`` that recognises one kind of op and goes on inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, element_of
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.elementwise import Add, Cast, Div, Mul, Tanh
from penstock.compiler.dialects.graph.logic import Select
from penstock.compiler.dialects.graph.matching import defining, has_one_use, known_array, number_of, with_number
from penstock.compiler.dialects.graph.shape import Expand, Reshape
from penstock.compiler.dtypes import BF16, F16, F32, shape_of
from penstock.compiler.extents import Extent, surely
from penstock.compiler.passes.simplify.positions import Positions, excess
from penstock.compiler.passes.simplify.staging import Stage

if TYPE_CHECKING:
    from penstock.compiler.weights import WeightStore

NEGLIGIBLE = -1e4
"""A number that, added to a score, makes its weight 0 in f32 (exp(-1e4) is 0) unless the whole row has it."""

ABSORBING = -1e9
"""A number so low that to add a score to it or to replace the score by it is the same in f32."""

SEARCH_DEPTH = 10


@dataclass(frozen=True)
class Mask:
    """``factor`` times ``value`` is added to scores whose shape is ``scores`` at that place."""

    value: SSAValue
    factor: float
    scores: tuple[int, ...]


@dataclass
class Scores:
    """The result of peeling: scores = cap(scale q k) + masks, with the causal rule if ``causal_offset`` is not None.

    ``shapes`` are all shapes the scores have on the way, ``ops`` the ops passed, the product first.
    """

    product: Matmul
    scale: float
    softcap: float
    masks: list[Mask]
    causal_offset: Extent | None
    shapes: list[tuple[int, ...]]
    ops: list[Operation]


@dataclass
class Peeler:
    """Peels layer by layer off ``value``."""

    value: SSAValue
    weights: WeightStore
    stage: Stage
    scale: float = 1.0
    softcap: float = 0.0
    masks: list[Mask] = field(default_factory=list[Mask])
    causal_offset: Extent | None = None
    rules: list[Mask] = field(default_factory=list[Mask])
    """The masks that ``causal_offset`` stands for."""
    shapes: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    ops: list[Operation] = field(default_factory=list[Operation])

    def peel(self) -> Scores | None:
        """What the scores are made of, or None if something else than attention's layers is met."""
        layers = (self._softcap, self._factor, self._added_mask, self._selected_mask, self._cast, self._reshape)
        while has_one_use(self.value):
            op = self.value.owner
            self.shapes.append(shape_of(self.value.type))
            if isinstance(op, Matmul):
                ops = [op, *reversed(self.ops)]
                if self._later_keys_may_count():
                    self.masks, self.causal_offset = [*self.masks, *self.rules], None
                found = Scores(op, self.scale, self.softcap, self.masks, self.causal_offset, self.shapes, ops)
                return None if op.b_panel else found
            if not isinstance(op, GraphOp) or not any(layer(op) for layer in layers):
                return None
        return None

    def _inside(self, value: SSAValue, *ops: Operation) -> bool:
        """Go on with ``value``, which ``ops`` turned into the present one."""
        self.value = value
        self.ops += ops
        return True

    def _softcap(self, op: GraphOp) -> bool:
        """cap tanh(s factor), which is a cap of s times factor cap."""
        outer = factor_of(op.out, self.weights)
        tanh = None if outer is None else defining(outer[0], Tanh)
        if outer is None or tanh is None or self.softcap or self.scale != 1 or outer[1] <= 0:
            return False
        inner, argument = factor_of(tanh.operands[0], self.weights), tanh.operands[0].owner
        if inner is None or not has_one_use(tanh.out) or not has_one_use(tanh.operands[0]):
            return False
        assert isinstance(argument, Operation)
        self.softcap, self.scale = outer[1], inner[1] * outer[1]
        return self._inside(inner[0], op, tanh, argument)

    def _factor(self, op: GraphOp) -> bool:
        """A number times the scores."""
        found = factor_of(op.out, self.weights)
        if found is None or isinstance(found[0].owner, Tanh):
            return False
        self.scale *= found[1]
        return self._inside(found[0], op)

    def _added_mask(self, op: GraphOp) -> bool:
        """Scores plus a mask; the scores are the side that leads to a matrix product."""
        if not isinstance(op, Add) or self.softcap:
            return False
        for inner, mask in (op.operands, reversed(op.operands)):
            if inner.type == op.out.type and leads_to_product(inner):
                self._note(mask)
                return self._inside(inner, op)
        return False

    def _selected_mask(self, op: GraphOp) -> bool:
        """Scores where a condition holds and a very low number elsewhere, or the other way round."""
        if not isinstance(op, Select) or self.softcap:
            return False
        condition, *sides = op.operands
        for seen, (inner, other) in ((True, sides), (False, sides[::-1])):
            low = number_of(other, self.weights)
            if low is None or low > NEGLIGIBLE or inner.type != op.out.type or not leads_to_product(inner):
                continue
            if low <= ABSORBING or self._every_row_sees(condition, seen):
                zero, hidden = (self.stage.number(number, inner) for number in (0.0, low))
                chosen = (zero, hidden) if seen else (hidden, zero)
                self._note(self.stage.add(Select.build(condition, *chosen)).out)
                return self._inside(inner, op)
        return False

    def _every_row_sees(self, condition: SSAValue, seen: bool) -> bool:
        """True if the condition is known and hides not all keys from any query."""
        array = known_array(condition, self.weights)
        return array is not None and bool((array == seen).any(axis=-1).all())

    def _note(self, mask: SSAValue) -> None:
        """Remember ``mask``, or that it is the causal rule, or nothing if it is zero."""
        array = known_array(mask, self.weights)
        if (array is not None and not np.any(array)) or self._hides_nothing(mask):
            return
        shape = shape_of(self.value.type)
        offset = self._causal_positions(mask, shape) if array is None else causal_offset(array, shape[-2:])
        found = Mask(mask, self.scale, shape)
        if offset is not None and self.causal_offset in (None, offset):
            self.causal_offset = offset
            self.rules.append(found)
        else:
            self.masks.append(found)

    def _later_keys_may_count(self) -> bool:
        """True if a mask may hide all keys that the causal rule lets a query see, as the padding on the left of a short
        sequence does. Keys that the rule hides by a finite number have weight then."""
        lowest = (self._lowest(rule.value) for rule in self.rules)
        if any(low == -math.inf for low in lowest):
            return False
        return bool(self.rules) and any(self._lowest(mask.value) <= NEGLIGIBLE for mask in self.masks)

    def _lowest(self, mask: SSAValue) -> float:
        """The lowest number in ``mask``; the lowest finite one if that is not known."""
        array = known_array(mask, self.weights)
        if array is not None:
            return float(array.min())
        op = mask.owner
        while isinstance(op, Reshape | Expand):
            op = op.operands[0].owner
        numbers = [number_of(side, self.weights) for side in op.operands[1:]] if isinstance(op, Select) else []
        known = [number for number in numbers if number is not None]
        return min(known) if known and len(known) == len(numbers) else float(np.finfo(np.float32).min)

    def _hidden(self, mask: SSAValue) -> Positions | None:
        """Positions above 0 just where ``mask`` hides a key, if it is 0 or a very low number as they say."""
        op = mask.owner
        while isinstance(op, Reshape | Expand):
            op = op.operands[0].owner
        if not isinstance(op, Select):
            return None
        condition, *sides = op.operands
        numbers = [number_of(side, self.weights) for side in sides]
        if 0 not in numbers or not any(number is not None and number <= NEGLIGIBLE for number in numbers):
            return None
        while isinstance(condition.owner, Expand):
            condition = condition.owner.operands[0]
        return excess(condition, self.weights, holds=numbers[0] == 0)

    def _hides_nothing(self, mask: SSAValue) -> bool:
        hidden = self._hidden(mask)
        return hidden is not None and hidden.never_above(0)

    def _causal_positions(self, mask: SSAValue, scores: tuple[Extent, ...]) -> Extent | None:
        """The offset of the causal rule, if that is what ``mask`` is for all sizes of a run."""
        hidden = self._hidden(mask)
        if hidden is None or len(hidden.shape) > len(scores):
            return None
        *batch, query, key = hidden.aligned(scores).steps
        whole = hidden.shape[-2:] == scores[-2:] and not any(step != 0 for step in batch)
        offset = -hidden.constant
        return offset if whole and (query, key) == (-1, 1) and surely(offset, ">=", 0) else None

    def _cast(self, op: GraphOp) -> bool:
        """Half precision widened for the softmax: attention does it too."""
        widens = isinstance(op, Cast) and op.element() in (F16, BF16) and element_of(op.out) == F32
        return widens and self._inside(op.operands[0], op)

    def _reshape(self, op: GraphOp) -> bool:
        """Batch and heads split or joined."""
        return isinstance(op, Reshape) and keeps_matrices(op) and self._inside(op.operands[0], op)


def factor_of(value: SSAValue, weights: WeightStore) -> tuple[SSAValue, float] | None:
    """x and a number, if ``value`` is x times the number (not 0) or x divided by its inverse."""
    op = value.owner
    found = with_number(op, weights) if isinstance(op, Mul) else None
    if isinstance(op, Div):
        divisor = number_of(op.operands[1], weights)
        found = (op.operands[0], 1 / divisor) if divisor else None
    if found is None or found[0].type != value.type or not found[1] or not math.isfinite(found[1]):
        return None
    return found[0], float(found[1])


def keeps_matrices(op: Reshape) -> bool:
    """True if a reshape leaves the last two axes as they are, and both sides have them."""
    before, after = shape_of(op.operands[0].type), shape_of(op.out.type)
    return min(len(before), len(after)) >= 2 and before[-2:] == after[-2:]


def leads_to_product(value: SSAValue, depth: int = SEARCH_DEPTH) -> bool:
    """True if layers of the kinds peeled lead from ``value`` to a matrix product."""
    op = value.owner
    if isinstance(op, Matmul):
        return True
    if depth == 0 or not isinstance(op, Mul | Div | Add | Select | Tanh | Cast | Reshape):
        return False
    same = [x for x in op.operands if isinstance(op, Cast | Reshape) or x.type == value.type]
    return any(leads_to_product(x, depth - 1) for x in same)


def causal_offset(mask: Any, extents: tuple[int, ...]) -> int | None:
    """The offset for which ``mask`` says just that query i sees keys up to i + offset; None if it says anything else.

    ``extents`` are the numbers of queries and keys. An offset is not negative: every query sees a key.
    """
    queries, keys = extents
    if mask.shape[-2:] != (queries, keys) or mask.size != queries * keys:
        return None
    rows = mask.reshape(queries, keys)
    offset = int((rows[0] == 0).sum()) - 1
    hidden = np.arange(keys) > np.arange(queries)[:, None] + offset
    exact = bool((rows[~hidden] == 0).all() and (rows[hidden] <= NEGLIGIBLE).all())
    return offset if exact and offset >= 0 else None
