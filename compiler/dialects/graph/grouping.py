"""Grouping and suppressing: what of many is kept, and for whom.

In: rows, or boxes with scores. Out: numbers of rows or boxes in tensors of a fixed shape, with a mark where there are
fewer. The one idea: how many there are is left to ``graph.non_zero``; these ops do the work that needs an order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    GraphOp,
    Int,
    Tensor,
    element_of,
    elements,
    require,
    require_equal,
    require_same,
    show,
)
from penstock.compiler.dtypes import F32, I64, shape_of, tensor
from penstock.compiler.extents import surely, typical

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class Group(GraphOp):
    """Which rows of x [n, width] are equal. Three results of n (i64): the first row of each group, the group of each
    row, and the number of rows of each group; 0 and 0 where there are fewer groups than rows.

    Groups are in order of their rows, compared element by element, or, unless ``sorted``, in order of appearance. NaN
    is equal to NaN and greater than any number.
    """

    name = "graph.group"
    operand_names = ("x",)
    sorted = Bool(True, doc="groups are in order of their rows, else of appearance")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        require(len(shape) == 2, f"graph.group takes rows, not a tensor of shape {show(shape)}")
        return [tensor(shape[:1], I64)] * 3

    def evaluate(self, *operands: Array) -> tuple[Array, ...]:
        x: Any = operands[0]
        count = x.shape[0]
        keys = [_ordered(x[:, column]) for column in reversed(range(x.shape[1]))]
        order = np.lexsort(keys) if keys else np.arange(count)
        rows = np.stack([key[order] for key in keys], 1) if keys else np.zeros((count, 0))
        fresh = np.ones(count, bool)
        fresh[1:] = (rows[1:] != rows[:-1]).any(1)
        inverse = np.empty(count, np.int64)
        inverse[order] = np.cumsum(fresh) - 1
        first = order[fresh].astype(np.int64)
        counts = np.bincount(inverse, minlength=count).astype(np.int64)
        if not self.sorted:
            appearance = np.argsort(first)
            rank = np.empty_like(appearance)
            rank[appearance] = np.arange(len(first))
            inverse, counts[: len(first)], first = rank[inverse], counts[appearance], first[appearance]
        return np.pad(first, (0, count - len(first))), inverse.astype(np.int64), counts

    def cost(self) -> Cost:
        depth = math.ceil(math.log2(max(typical(shape_of(self.operands[0].type)[0]), 2)))
        return Cost(elements(self.operands[0].type) * depth, self.bytes_moved())


def _ordered(column: Any) -> Any:
    """Numbers that are ordered and equal as the elements of a column: NaN last, and one value."""
    return np.unique(column, return_inverse=True)[1].reshape(-1)


class Suppress(GraphOp):
    """Non-maximum suppression: of ``boxes`` [batches, n, 4], per batch and class of ``scores`` [batches, classes, n],
    the boxes of the highest scores that overlap no box kept before by more than ``overlap`` (intersection over union).

    At most ``most`` are kept, and only those whose score is above ``least``, where that is given. Results (i64): the
    boxes kept [batches, classes, room], -1 where there are fewer; and how many they are [batches, classes]. Equal
    scores keep their order. A box is two opposite corners (y, x, y, x), or, ``centered``, (x, y, width, height).
    """

    name = "graph.suppress"
    operand_names = ("boxes", "scores", "most", "overlap", "least")
    optional_operands = 1
    room = Int(doc="the most boxes that are kept per batch and class")
    centered = Bool(False, doc="boxes are given by centre and size")

    def infer(self) -> list[Tensor]:
        boxes, scores, *numbers = self.shapes()
        sentence = f"boxes have the shape [batches, n, 4], not {show(boxes)}"
        require(len(boxes) == 3, sentence)
        require_equal(boxes[2], 4, sentence)
        require(len(scores) == 3, f"scores have the shape [batches, classes, n], not {show(scores)}")
        sentence = f"boxes of shape {show(boxes)} and scores of shape {show(scores)} do not fit together"
        require_same((boxes[0], boxes[1]), (scores[0], scores[2]), sentence)
        kinds = [element_of(value) for value in self.operands]
        require(kinds == [F32, F32, I64, F32, F32][: len(kinds)], "graph.suppress takes f32, and an i64 for most")
        require(all(math.prod(shape) == 1 for shape in numbers), "most, overlap and least are one number each")
        require(not surely(self.room, "<", 0), f"there cannot be room for {self.room} boxes")
        return [tensor([*scores[:2], self.room], I64), tensor(scores[:2], I64)]

    def evaluate(self, *operands: Array) -> tuple[Array, ...]:
        boxes, scores, most, overlap, *least = operands
        limit = min(max(int(most.reshape(-1)[0]), 0), self.room)
        kept = np.full((*scores.shape[:2], self.room), -1, np.int64)
        for place in np.ndindex(*scores.shape[:2]):
            score = scores[place]
            order = np.argsort(-score, kind="stable")
            if least:
                order = order[score[order] > least[0].reshape(-1)[0]]
            found: list[int] = []
            corners = _corners(boxes[place[0]], self.centered)
            for box in order:
                if len(found) == limit:
                    break
                if not any(_overlap(corners[box], corners[other]) > overlap.reshape(-1)[0] for other in found):
                    found.append(int(box))
            kept[place][: len(found)] = found
        return kept, (kept >= 0).sum(2)

    def cost(self) -> Cost:
        return Cost(16 * elements(self.operands[1].type), self.bytes_moved())


def _corners(boxes: Any, centered: bool) -> Any:
    """Least and greatest coordinates of boxes: [n, 4] as (low, low, high, high)."""
    if centered:
        half = boxes[:, 2:] / np.float32(2)
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)


def _overlap(a: Any, b: Any) -> Any:
    """Intersection over union of two boxes; minus infinity where one of them has no area, or they do not meet."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common, first, second = sides.prod(), (a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()
    union = first + second - common
    if sides.min() <= 0 or common <= 0 or first <= 0 or second <= 0 or union <= 0:
        return np.float32(-np.inf)
    return common / union
