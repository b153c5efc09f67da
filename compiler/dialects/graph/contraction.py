"""Matrix products, and the packing of a constant operand into the panels their kernels read.

In: tensors of rank 2 or more (leading axes broadcast). Out: products, accumulated in f32 for half precision.
A panel holds ``P`` neighbouring columns row after row, so that a kernel reads it from front to back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.compiler.dialects.graph.base import (
    Bool,
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
from penstock.compiler.dtypes import BF16, F32, tensor, type_name
from penstock.compiler.extents import quotient

if TYPE_CHECKING:
    from xdsl.ir import Attribute

    from penstock.compiler.dialects.graph.base import Array
    from penstock.compiler.extents import Extent


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


def pair_rows(packed: Array) -> Array:
    """``[..., K, P]`` to ``[..., K/2, P, 2]``: what is multiplied in one step lies side by side."""
    *outer, rows, panel = packed.shape
    return np.ascontiguousarray(np.swapaxes(packed.reshape(*outer, rows // 2, 2, panel), -1, -2))


def unpair(paired: Array) -> Array:
    """``[..., K/2, P, 2]`` back to ``[..., K, P]``."""
    *outer, pairs, panel, two = paired.shape
    return np.swapaxes(paired, -1, -2).reshape(*outer, pairs * two, panel)


def paired(op: GraphOp, depth: Extent, weights: Sequence[int], panels: int) -> Attribute:
    """The element type of the result of an op with ``pairs``, whose operands are bf16, ``panels`` of packed ``weights``
    and an inner extent ``depth``. Raises TypeRuleError."""
    kinds = op.element(), op.element(1)
    require(kinds == (BF16, BF16), f"pairs are of bf16, not of {' and '.join(map(type_name, kinds))}")
    pairs = quotient(depth, 2)
    require(pairs is not None, f"an inner extent of {depth} cannot be cut into pairs")
    fits = panels > 0 and len(weights) >= 4 and (weights[0], weights[-3], weights[-1]) == (panels, pairs, 2)
    require(fits, f"weights of shape {show(weights)} are not {panels} panels of {pairs} pairs")
    return F32


class Matmul(GraphOp):
    """a b over the last two axes, leading axes broadcast as in numpy.

    b may be bf16 where a is f32: weights stored in half the bytes, widened where they are read.
    With ``b_panel`` = P, b is what ``pack`` made of a K x N matrix: [ceil(N/P)][K][P], and ``n`` says N. With ``pairs``
    too, a and b are bf16, K is even, b is [ceil(N/P)][K/2][P][2], and the product is the f32 sum.
    """

    name = "graph.matmul"
    operand_names = ("a", "b")
    b_panel = Int(0, doc="columns per panel of a packed b; 0: b is not packed")
    n = Int(0, doc="columns of the product when b is packed")
    pairs = Bool(False, doc="a and packed b are bf16, b in pairs of rows, and the product is f32")

    def infer(self) -> list[Tensor]:
        require_weights(self)
        a, b = self.shapes()
        require(min(len(a), len(b)) >= 2, f"a matrix product takes rank 2 or more, not {show(a)} and {show(b)}")
        if self.pairs:
            return [
                tensor([*a[:-1], self.n], paired(self, a[-1], b, self.b_panel and math.ceil(self.n / self.b_panel)))
            ]
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
        packed = unpair(operands[1]) if self.pairs else operands[1]
        b: Any = wide(unpack_last(packed, self.n) if self.b_panel else packed, self.element(1))
        with np.errstate(all="ignore"):
            return np.matmul(a, b).astype(np.float32 if self.pairs else operands[0].dtype, copy=False)

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
