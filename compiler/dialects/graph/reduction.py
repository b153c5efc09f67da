"""Reductions: many elements to one along axes, and running totals.

In: a tensor. Out: one with the reduced axes gone, or of extent 1 (``keepdims``). Half precision accumulates in f32,
integers wrap. Over no element at all a sum is 0, a product 1, a maximum the least and a minimum the greatest value.
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
    Ints,
    Tensor,
    Text,
    elements,
    require,
    show,
    wide,
)
from penstock.compiler.dtypes import I1, I64, is_float, numpy_dtype, tensor, type_name

if TYPE_CHECKING:
    from xdsl.ir import Attribute, SSAValue

    from penstock.compiler.dialects.graph.base import Array


def lowest(element: Attribute) -> float | int:
    """The least value of an element type: minus infinity, or the least integer."""
    return -math.inf if is_float(element) else int(np.iinfo(numpy_dtype(element)).min)  # pyright: ignore


def highest(element: Attribute) -> float | int:
    """The greatest value of an element type: infinity, or the greatest integer."""
    return math.inf if is_float(element) else int(np.iinfo(numpy_dtype(element)).max)  # pyright: ignore


def check_axes(axes: tuple[int, ...], rank: int) -> None:
    """Axes are distinct and inside a tensor of ``rank``, counted from the front. Raises TypeRuleError."""
    for axis in axes:
        require(0 <= axis < rank, f"axis {axis} is outside a tensor of rank {rank}")
    require(len(set(axes)) == len(axes), f"axes {show(axes)} name one twice")


def _without(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> list[int]:
    if keepdims:
        return [1 if axis in axes else extent for axis, extent in enumerate(shape)]
    return [extent for axis, extent in enumerate(shape) if axis not in axes]


class Reduce(GraphOp):
    """The ``kind`` of all elements along ``axes``; no axes reduce nothing. ``and`` and ``or`` are for booleans."""

    name = "graph.reduce"
    operand_names = ("x",)
    kind = Text(None, "sum", "prod", "max", "min", "and", "or", doc="what is computed")
    axes = Ints(doc="axes reduced, counted from the front")
    keepdims = Bool(False, doc="reduced axes stay, with extent 1")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        check_axes(self.axes, len(shape))
        boolean = self.kind in ("and", "or")
        require(
            boolean == (self.element() == I1), f"a reduction to {self.kind} does not take {type_name(self.element())}"
        )
        return [tensor(_without(shape, self.axes, self.keepdims), self.element())]

    def evaluate(self, *operands: Array) -> Array:
        x: Any = wide(operands[0], self.element())
        value: Any
        over: Any = {"axis": self.axes, "keepdims": self.keepdims}
        with np.errstate(all="ignore"):
            if self.kind in ("max", "min"):
                start = (lowest if self.kind == "max" else highest)(self.element())
                value = getattr(x, self.kind)(initial=start, **over)
            elif self.kind in ("sum", "prod"):
                value = getattr(x, self.kind)(dtype=x.dtype, **over)
            else:
                value = x.all(**over) if self.kind == "and" else x.any(**over)
            return np.asarray(value).astype(operands[0].dtype, copy=False)

    def fold(self) -> SSAValue | None:
        """Reducing along no axis, or along axes that stay and have one element, changes nothing."""
        (shape,) = self.shapes()
        unchanged = self.out.type == self.operands[0].type and all(shape[axis] == 1 for axis in self.axes)
        return self.operands[0] if unchanged else None

    def cost(self) -> Cost:
        return Cost(elements(self.operands[0].type), self.bytes_moved())


class ArgReduce(GraphOp):
    """The index (i64) of the greatest or least element along ``axis``: the first such, or the last. NaN wins."""

    name = "graph.arg_reduce"
    operand_names = ("x",)
    kind = Text(None, "max", "min", doc="which element is looked for")
    axis = Int(doc="axis reduced, counted from the front")
    keepdims = Bool(False, doc="the reduced axis stays, with extent 1")
    select_last = Bool(False, doc="of equal elements the last is taken")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        check_axes((self.axis,), len(shape))
        require(self.element() != I1, "graph.arg_reduce takes numbers, not booleans")
        require(shape[self.axis] > 0, f"axis {self.axis} is empty, so it has no greatest or least element")
        return [tensor(_without(shape, (self.axis,), self.keepdims), I64)]

    def evaluate(self, *operands: Array) -> Array:
        x: Any = wide(operands[0], self.element())
        search = np.argmax if self.kind == "max" else np.argmin
        if self.select_last:
            index = x.shape[self.axis] - 1 - search(np.flip(x, self.axis), axis=self.axis, keepdims=self.keepdims)
        else:
            index = search(x, axis=self.axis, keepdims=self.keepdims)
        return np.asarray(index).astype(np.int64, copy=False)

    def cost(self) -> Cost:
        return Cost(elements(self.operands[0].type), self.bytes_moved())


class Cumulative(GraphOp):
    """Running sum or product along ``axis``, from either end, with or without the element itself."""

    name = "graph.cumulative"
    operand_names = ("x",)
    kind = Text("sum", "sum", "prod", doc="what is computed")
    axis = Int(doc="axis run along, counted from the front")
    exclusive = Bool(False, doc="the element itself is left out; the first result is 0 (sum) or 1 (product)")
    reverse = Bool(False, doc="runs from the end to the beginning")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        check_axes((self.axis,), len(shape))
        require(self.element() != I1, "graph.cumulative takes numbers, not booleans")
        return [tensor(shape, self.element())]

    def evaluate(self, *operands: Array) -> Array:
        x: Any = np.moveaxis(wide(operands[0], self.element()), self.axis, 0)
        x = x[::-1] if self.reverse else x
        if self.exclusive and x.shape[0]:
            x = np.concatenate([np.full_like(x[:1], self.kind == "prod"), x[:-1]])
        with np.errstate(all="ignore"):
            total: Any = getattr(x, f"cum{self.kind}")(axis=0, dtype=x.dtype)
        value: Any = np.moveaxis(total[::-1] if self.reverse else total, 0, self.axis)
        return value.astype(operands[0].dtype, copy=False)
