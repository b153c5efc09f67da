"""Pack constant weights in panels of columns, as the contraction and convolution kernels read them.

Before: matmul with a constant right operand, channels-last conv with constant weights, recurrences with constant
weights. After: ``b_panel``/``panel`` set and the constant replaced by its packed form (zero padded to whole panels);
recurrent weights are stored transposed, behind a transpose that costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import tensor_type
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.recurrence import Recurrent
from penstock.compiler.dialects.graph.shape import Reshape, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dialects.graph.window import CHANNELS_LAST
from penstock.compiler.dtypes import shape_of
from penstock.compiler.parallel import in_parts
from penstock.compiler.releasing import Releasing
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.tuning.choices import PANEL
from penstock.compiler.tuning.points import choose_for

WIDTHS = (64, 48, 32, 16)
MOST_PADDING = 1.1  # of what the best panels take
RECURRENT_PANEL = 64  # gate columns: what a register tile of the widest level takes


@dataclass(frozen=True)
class PackWeights(ModulePass):
    """See the module."""

    name: ClassVar[str] = "pack-weights"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        releasing = Releasing(compiler.weights, op)
        rewrite(compiler, op, [kind(compiler, releasing) for kind in (PackMatmul, PackConv, TransposeRecurrent)])


def choose_panel(columns: int, preferred: int = 64) -> int:
    """The panel width for so many columns: a multiple of 16, no wider than ``preferred``, wasting least."""
    widths = [w for w in WIDTHS if w <= preferred]
    return min(widths, key=lambda w: (_padded(columns, w), -w))


def panels(columns: int, preferred: int = 64) -> dict[str, int]:
    """Panel widths that may be worth a measurement, by name, the one that is estimated to be best first."""
    best = choose_panel(columns, preferred)
    others = [w for w in WIDTHS if w != best and _padded(columns, w) <= MOST_PADDING * _padded(columns, best)]
    return {f"panels of {width}": width for width in (best, *others)}


def _padded(columns: int, width: int) -> int:
    return -(-columns // width) * width


def pack(matrix: NDArray[Any], panel: int) -> NDArray[Any]:
    """[K.., N] as [ceil(N/panel), K.., panel], zero padded; takes no more memory than the result."""
    *outer, columns = matrix.shape
    shape = -(-columns // panel), *outer, panel
    packed = np.zeros(shape, matrix.dtype) if columns % panel else np.empty(shape, matrix.dtype)

    def fill(begin: int, end: int) -> None:
        for index in range(begin, end):
            part = matrix[..., index * panel : (index + 1) * panel]
            packed[index, ..., : part.shape[-1]] = part

    in_parts(shape[0], fill, packed.nbytes)
    return packed


class _Packing(Pattern):
    def __init__(self, ctx: CompilerContext, releasing: Releasing) -> None:
        self.ctx, self.weights, self.releasing = ctx, ctx.weights, releasing

    def constant(self, value: SSAValue) -> Constant | None:
        owner = value.owner
        return owner if isinstance(owner, Constant) else None

    def store(self, rewriter: Rewriter, old: Constant, array: NDArray[Any]) -> SSAValue:
        """A constant with the new bytes, named after the old one."""
        name = old.key if "key" in old.attributes else "constant"
        made = self.releasing.made(Constant.of(array, self.weights, name=name, location=old.location))
        return rewriter.insert(made).out


class PackMatmul(_Packing):
    """matmul(a, constant [K, N]) reads panels."""

    roots = (Matmul,)

    def rewrite(self, op: Matmul, rewriter: Rewriter, /) -> None:
        constant = self.constant(op.operands[1])
        if op.b_panel or constant is None or len(shape_of(constant.out.type)) != 2:
            return
        matrix = constant.array(self.weights)
        columns = matrix.shape[1]
        panel = choose_for(self.ctx, PANEL, op, panels(columns))
        packed = self.store(rewriter, constant, pack(matrix, panel))
        rewriter.replace(op, Matmul.build(op.operands[0], packed, b_panel=panel, n=columns))
        self.releasing.replaced([constant.out])


class PackConv(_Packing):
    """A channels-last convolution with constant weights [taps.., C, O] reads panels; depthwise ones stay as they
    are."""

    roots = (Conv,)

    def rewrite(self, op: Conv, rewriter: Rewriter, /) -> None:
        constant = self.constant(op.operands[1])
        if op.layout != CHANNELS_LAST or op.panel or constant is None or op.groups > 1:
            return
        weights = constant.array(self.weights)
        width = shape_of(op.out.type)[-2]
        panel = choose_for(self.ctx, PANEL, op, panels(weights.shape[-1], 32 if width % 7 == 0 else 64))
        packed = self.store(rewriter, constant, pack(weights, panel))
        parameters = op.own_parameters(panel=panel, out_channels=weights.shape[-1])
        rewriter.replace(op, Conv.build(op.operands[0], packed, **parameters))
        self.releasing.replaced([constant.out])


class TransposeRecurrent(_Packing):
    """Recurrent weights [dirs, gates, width] are stored as [dirs, gates / panel, width, panel], so that lanes run along
    gates and a panel is read from one end to the other; as one panel where panels would cut a gate in two."""

    roots = (Recurrent,)

    def rewrite(self, op: Recurrent, rewriter: Rewriter, /) -> None:
        for name in ("w", "r"):
            index = op.operand_names.index(name)
            constant = self.constant(op.operands[index])
            if constant is None:
                continue
            array = constant.array(self.weights)
            directions, gates, width = array.shape
            if array.size <= 8:
                continue
            panel = RECURRENT_PANEL if shape_of(op.operands[2].type)[2] % RECURRENT_PANEL == 0 else gates
            panels = array.reshape(directions, gates // panel, panel, width)
            stored = self.store(rewriter, constant, np.ascontiguousarray(np.swapaxes(panels, 2, 3)))
            view = rewriter.insert(Transpose.build(stored, permutation=(0, 1, 3, 2)))
            flat = rewriter.insert(Reshape.build(view.out, result=tensor_type(op.operands[index])))
            rewriter.set_operand(op, index, flat.out)
            self.releasing.replaced([constant.out])
