"""Matrix products, and the packing of a constant operand into the panels their kernels read.

In: tensors of rank 2 or more (leading axes broadcast). Out: products, accumulated in f32 for half precision.
A panel holds ``P`` neighbouring columns row after row, so that a kernel reads it from front to back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Cost,
    GraphOp,
    Int,
    Tensor,
    broadcast_shapes,
    elements,
    require,
    require_equal,
    require_weights,
    show,
    wide,
)
from penstock.compiler.dtypes import tensor

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


def pack_last(x: Array, panel: int) -> Array:
    """``[..., N]`` to ``[ceil(N/panel), ..., panel]``, zeros after the last column."""
    count = math.ceil(x.shape[-1] / panel)
    widths = [(0, 0)] * (x.ndim - 1) + [(0, count * panel - x.shape[-1])]
    padded = np.pad(x, widths)
    return np.moveaxis(padded.reshape(*x.shape[:-1], count, panel), -2, 0)


def unpack_last(packed: Array, columns: int) -> Array:
    """``[ceil(N/panel), ..., panel]`` back to ``[..., N]`` with ``columns`` = N."""
    x = np.moveaxis(packed, 0, -2)
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])[..., :columns]


class Matmul(GraphOp):
    """a b over the last two axes, leading axes broadcast as in numpy.

    b may be bf16 where a is f32: weights stored in half the bytes, widened where they are read.
    With ``b_panel`` = P, b is what ``pack`` made of a K x N matrix: [ceil(N/P)][K][P], and ``n`` says N.
    """

    name = "graph.matmul"
    operand_names = ("a", "b")
    b_panel = Int(0, doc="columns per panel of a packed b; 0: b is not packed")
    n = Int(0, doc="columns of the product when b is packed")

    def infer(self) -> list[Tensor]:
        require_weights(self)
        a, b = self.shapes()
        require(min(len(a), len(b)) >= 2, f"a matrix product takes rank 2 or more, not {show(a)} and {show(b)}")
        if self.b_panel:
            count = math.ceil(self.n / self.b_panel)
            require(
                b == (count, a[-1], self.b_panel),
                f"a packed operand for {self.n} columns has shape {show((count, a[-1], self.b_panel))}, not {show(b)}",
            )
            return [tensor([*a[:-1], self.n], self.element())]
        inner = f"a matrix product of {show(a)} and {show(b)} has inner extents {a[-1]} and {b[-2]}"
        require_equal(a[-1], b[-2], inner)
        return [tensor([*broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]], self.element())]

    def evaluate(self, *operands: Array) -> Array:
        a: Any = wide(operands[0], self.element())
        b: Any = wide(unpack_last(operands[1], self.n) if self.b_panel else operands[1], self.element(1))
        with np.errstate(all="ignore"):
            return np.matmul(a, b).astype(operands[0].dtype, copy=False)

    def cost(self) -> Cost:
        return Cost(2 * elements(self.out.type) * self.shapes()[0][-1], self.bytes_moved())


class Pack(GraphOp):
    """The last axis of a constant cut into panels: [..., N] to [ceil(N/panel), ..., panel], zero padded.

    A K x N matrix becomes ceil(N/P) x K x P; convolution weights [kh][kw][C][O] become [ceil(O/P)][kh][kw][C][P].
    """

    name = "graph.pack"
    operand_names = ("w",)
    panel = Int(doc="columns per panel")

    def infer(self) -> list[Tensor]:
        (shape,) = self.shapes()
        require(self.panel > 0, f"a panel has columns, not {self.panel}")
        require(len(shape) >= 2, f"graph.pack takes rank 2 or more, not {show(shape)}")
        return [tensor([math.ceil(shape[-1] / self.panel), *shape[:-1], self.panel], self.element())]

    def evaluate(self, *operands: Array) -> Array:
        return pack_last(operands[0], self.panel)

    def cost(self) -> Cost:
        return Cost(0, self.bytes_moved())
