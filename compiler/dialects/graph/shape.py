"""Shape ops: where elements stand, not what they are.

In: tensors. Out: the same elements in another arrangement, or (``iota``) positions themselves.
The ops reshape, expand, slice and iota are built with their result type, which says the new extents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import (
    Cost,
    GraphOp,
    Int,
    Ints,
    Tensor,
    Text,
    broadcast_shapes,
    element_of,
    elements,
    normalise_axis,
    require,
    require_equal,
    require_same,
    require_same_elements,
    show,
)
from penstock.compiler.dtypes import I1, numpy_dtype, shape_of, tensor
from penstock.compiler.extents import is_static, largest, surely

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class Movement(GraphOp):
    """Base of the ops that only move elements: no flops."""

    holds_storage = True

    def cost(self) -> Cost:
        return Cost(0, self.bytes_moved())

    def fold(self) -> SSAValue | None:
        """Moving nothing: the operand."""
        return self.operands[0] if self.moves_nothing() else None

    def moves_nothing(self) -> bool:
        """True if the result is the operand, whatever its elements."""
        return False


class Reshape(Movement):
    """The elements in row-major order, under the extents of the result type."""

    name = "graph.reshape"
    operand_names = ("x",)

    def infer(self) -> list[Tensor]:
        result, x = self.chosen_result(), self.operands[0].type
        sentence = f"a tensor of shape {show(shape_of(x))} cannot be reshaped to {show(shape_of(result))}"
        require_equal(elements(result), elements(x), sentence)
        return [tensor(shape_of(result), element_of(x))]

    def evaluate(self, *operands: Array) -> Array:
        return operands[0].reshape(shape_of(self.out.type))

    def moves_nothing(self) -> bool:
        return self.operands[0].type == self.out.type


class Transpose(Movement):
    """Axis i of the result is axis ``permutation[i]`` of x."""

    name = "graph.transpose"
    operand_names = ("x",)
    permutation = Ints(doc="for each axis of the result, the axis of x")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        require(
            sorted(self.permutation) == list(range(len(shape))),
            f"{show(self.permutation)} is no permutation of the axes of a tensor of rank {len(shape)}",
        )
        return [tensor([shape[axis] for axis in self.permutation], self.element())]

    def evaluate(self, *operands: Array) -> Array:
        return operands[0].transpose(self.permutation)

    def moves_nothing(self) -> bool:
        return list(self.permutation) == list(range(len(self.permutation)))


class Expand(Movement):
    """x repeated along axes of extent 1, and along new leading axes, to the result's shape (numpy's broadcast_to)."""

    name = "graph.expand"
    operand_names = ("x",)

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        result = shape_of(self.chosen_result())
        sentence = f"a tensor of shape {show(shape)} cannot be expanded to {show(result)}"
        require(len(shape) <= len(result), sentence)
        require_same(broadcast_shapes(shape, result), result, sentence)
        return [tensor(result, self.element())]

    def evaluate(self, *operands: Array) -> Array:
        return np.broadcast_to(operands[0], shape_of(self.out.type))

    def moves_nothing(self) -> bool:
        return self.operands[0].type == self.out.type


class Slice(Movement):
    """Element i of an axis of the result is element ``starts + i steps`` of that axis of x; steps may be negative.

    Where extents are symbolic, the builder sees to it that no size leads outside of x.
    """

    name = "graph.slice"
    operand_names = ("x",)
    starts = Ints(doc="first index taken, one per axis")
    steps = Ints(doc="distance between indices taken, one per axis, not 0")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        sizes = shape_of(self.chosen_result())
        require(
            len(sizes) == len(shape) == len(self.starts) == len(self.steps),
            f"a slice of a tensor of rank {len(shape)} has as many starts, steps and sizes",
        )
        for axis, (extent, size, start, step) in enumerate(zip(shape, sizes, self.starts, self.steps, strict=True)):
            require(step != 0, f"the step of a slice along axis {axis} is 0")
            last = start + (size - 1) * step
            if is_static((extent, size, start)):
                inside = size == 0 or (0 <= start < extent and 0 <= last < extent)
            else:  # whoever makes a slice holds it inside; what is certain to be outside is a mistake
                inside = not any(surely(end, "<", -1) or surely(end, ">", extent) for end in (start, last, size))
            sentence = f"a slice takes indices {start} to {last} of axis {axis}, which has {extent} elements"
            require(inside, sentence)
        return [tensor(sizes, self.element())]

    def evaluate(self, *operands: Array) -> Array:
        taken = zip(shape_of(self.out.type), self.starts, self.steps, strict=True)
        return operands[0][tuple(self._range(*item) for item in taken)]

    @staticmethod
    def _range(size: int, start: int, step: int) -> slice:
        stop = start + size * step
        return slice(0, 0) if size == 0 else slice(start, stop if stop >= 0 else None, step)

    def moves_nothing(self) -> bool:
        return self.operands[0].type == self.out.type and all(step > 0 for step in self.steps)


class Concat(Movement):
    """The operands one after the other along ``axis``; their other extents agree."""

    name = "graph.concat"
    operand_names = ("inputs",)
    variadic = True
    axis = Int(doc="axis along which operands are joined, counted from the front")

    def infer(self) -> list[Tensor]:
        require_same_elements(self)
        shapes = self.shapes()
        axis = normalise_axis(self.axis, len(shapes[0]))
        require(len(shapes[0]) > 0, "scalars cannot be concatenated")
        for shape in shapes[1:]:
            sentence = f"shapes {show(shapes[0])} and {show(shape)} cannot be concatenated along axis {axis}"
            require(len(shape) == len(shapes[0]), sentence)
            kept, other = ([*each[:axis], *each[axis + 1 :]] for each in (shapes[0], shape))
            require_same(kept, other, sentence)
        total = sum(shape[axis] for shape in shapes)
        return [tensor([*shapes[0][:axis], total, *shapes[0][axis + 1 :]], self.element())]

    def evaluate(self, *operands: Array) -> Array:
        return np.concatenate(operands, axis=self.axis)

    def moves_nothing(self) -> bool:
        return len(self.operands) == 1


class Append(Movement):
    """``kept`` with ``rows`` from index ``start`` of ``axis`` on; what stands there and behind is never read.

    The result is the memory of ``kept``, which a session keeps from run to run: only ``rows`` are written. Where
    ``start`` is symbolic, the runtime sees to it that they fit.
    """

    name = "graph.append"
    operand_names = ("kept", "rows")
    axis = Int(doc="axis along which rows are added, counted from the front")
    start = Int(doc="index of the first row added: how many there were")

    def infer(self) -> list[Tensor]:
        require_same_elements(self)
        kept, rows = self.shapes()
        axis = normalise_axis(self.axis, len(kept))
        sentence = f"rows of shape {show(rows)} cannot be appended along axis {axis} to those of shape {show(kept)}"
        require(len(rows) == len(kept), sentence)
        require_same([*kept[:axis], *kept[axis + 1 :]], [*rows[:axis], *rows[axis + 1 :]], sentence)
        outside = surely(self.start, "<", 0) or surely(self.start + rows[axis], ">", kept[axis])
        require(not outside, f"{sentence} from index {self.start} on")
        return [tensor(kept, self.element())]

    def evaluate(self, *operands: Array) -> Array:
        kept, rows = operands[0].copy(), operands[1]
        if self.start + rows.shape[self.axis] > kept.shape[self.axis]:
            raise ValueError(f"{rows.shape[self.axis]} more rows than {self.start} do not fit.")
        kept[(slice(None),) * self.axis + (slice(self.start, self.start + rows.shape[self.axis]),)] = rows
        return kept


class Pad(Movement):
    """x with ``low`` elements before and ``high`` after it along each axis.

    They hold ``value`` (one element; mode constant), the nearest element of x (edge), x mirrored at its border elements
    (reflect) or x repeated (wrap); in these modes there is no operand ``value``.
    """

    name = "graph.pad"
    operand_names = ("x", "value")
    optional_operands = 1
    low = Ints(doc="elements added before, one number per axis, not negative")
    high = Ints(doc="elements added after, one number per axis, not negative")
    mode = Text("constant", "constant", "edge", "reflect", "wrap", doc="what the added elements hold")

    def infer(self) -> list[Tensor]:
        shape = self.shapes()[0]
        require(len(self.low) == len(self.high) == len(shape), f"a pad of rank {len(shape)} has as many low and high")
        kept = all(pad >= 0 for pad in (*self.low, *self.high))
        require(kept, "a pad is not negative; a slice takes elements away")
        require((len(self.operands) == 2) == (self.mode == "constant"), "a pad has a value just in mode constant")
        if self.mode == "constant":
            require_same_elements(self)
            require(elements(self.operands[1].type) == 1, "the value of a pad is one element")
        for axis, (extent, low, high) in enumerate(zip(shape, self.low, self.high, strict=True)):
            least = {"constant": 0, "edge": 1, "wrap": 1, "reflect": largest(low, high) + 1}[self.mode]
            require(
                low == high == 0 or extent >= least,
                f"a pad of {largest(low, high)} in mode {self.mode} needs an axis longer than axis {axis}, of {extent}",
            )
        extents = [low + extent + high for low, extent, high in zip(self.low, shape, self.high, strict=True)]
        return [tensor(extents, self.element())]

    def evaluate(self, *operands: Array) -> Array:
        widths = list(zip(self.low, self.high, strict=True))
        if self.mode != "constant":
            mode = cast("Literal['edge', 'reflect', 'wrap']", self.mode)
            return np.pad(operands[0], widths, mode=mode)
        result = np.full(shape_of(self.out.type), operands[1].reshape(()), dtype=operands[0].dtype)
        inside = tuple(slice(low, low + extent) for low, extent in zip(self.low, operands[0].shape, strict=True))
        result[inside] = operands[0]
        return result

    def moves_nothing(self) -> bool:
        return all(pad == 0 for pad in (*self.low, *self.high))


class Iota(GraphOp):
    """Each element is its own index along ``axis``."""

    name = "graph.iota"
    axis = Int(0, doc="axis along which elements count 0, 1, 2 ...")

    def infer(self) -> list[Tensor]:
        result = self.chosen_result()
        rank = len(shape_of(result))
        require(rank > 0, "graph.iota has a result of rank 1 or more")
        require(0 <= self.axis < rank, f"axis {self.axis} is outside a tensor of rank {rank}")
        require(element_of(result) != I1, "graph.iota counts in numbers, not in booleans")
        return [result]

    def evaluate(self, *operands: Array) -> Array:
        shape = shape_of(self.out.type)
        counts: Any = np.arange(shape[self.axis]).astype(numpy_dtype(element_of(self.out)))
        return np.broadcast_to(counts.reshape([-1 if i == self.axis else 1 for i in range(len(shape))]), shape)

    def cost(self) -> Cost:
        return Cost(0, self.bytes_moved())
