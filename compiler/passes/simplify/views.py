"""Patterns of ``canonicalise`` on ops that only move elements: chains become one op, and what is not used is not moved.

In: reshape, transpose, expand, slice, concat, pad, gather. Out: fewer of them. A transpose that moves only axes of
extent 1 is a reshape; a gather at known, evenly spaced indices is a slice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import GraphOp, broadcast_shapes, elements, tensor_type
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.index import Gather, GatherNd
from penstock.compiler.dialects.graph.matching import defining, has_one_use, known_array, number_of
from penstock.compiler.dialects.graph.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from penstock.compiler.dialects.graph.window import CHANNELS_FIRST
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.rewriting import Pattern, Rewriter


class ReshapeChain(Pattern):
    """A reshape of a reshape is one reshape."""

    roots = (Reshape,)

    def rewrite(self, op: Reshape, rewriter: Rewriter, /) -> None:
        inner = defining(op.operands[0], Reshape)
        if inner is not None:
            rewriter.covers(inner, op)
            rewriter.replace(op, Reshape.build(inner.operands[0], result=tensor_type(op.out)))


class TransposeChain(Pattern):
    """A transpose of a transpose is one transpose."""

    roots = (Transpose,)

    def rewrite(self, op: Transpose, rewriter: Rewriter, /) -> None:
        inner = defining(op.operands[0], Transpose)
        if inner is not None:
            rewriter.covers(inner, op)
            permutation = [inner.permutation[axis] for axis in op.permutation]
            rewriter.replace(op, Transpose.build(inner.operands[0], permutation=permutation))


class TransposeOfUnitAxes(Pattern):
    """A transpose that keeps the order of all axes longer than 1 is a reshape."""

    roots = (Transpose,)

    def rewrite(self, op: Transpose, rewriter: Rewriter, /) -> None:
        shape = shape_of(op.operands[0].type)
        moved = [axis for axis in op.permutation if shape[axis] != 1]
        if moved == sorted(moved) and list(op.permutation) != sorted(op.permutation):
            rewriter.replace(op, Reshape.build(op.operands[0], result=tensor_type(op.out)))


class ExpandChain(Pattern):
    """An expand of an expand is one expand; one that repeats nothing is a reshape; leading axes need no reshape."""

    roots = (Expand,)

    def rewrite(self, op: Expand, rewriter: Rewriter, /) -> None:
        x, inner = op.operands[0], op.operands[0].owner
        if x.type == op.out.type:
            return
        if elements(x.type) == elements(op.out.type):
            rewriter.replace(op, Reshape.build(x, result=tensor_type(op.out)))
            return
        if not isinstance(inner, Expand | Reshape):
            return
        source = shape_of(inner.operands[0].type)
        leading = len(shape_of(x.type)) - len(source)
        if isinstance(inner, Expand) or (leading > 0 and shape_of(x.type) == (1,) * leading + source):
            rewriter.covers(inner, op)
            rewriter.replace(op, Expand.build(inner.operands[0], result=tensor_type(op.out)))


class ExpandedBatch(Pattern):
    """Leading axes of a matrix product broadcast by themselves, and so does a mask of attention."""

    roots = (Matmul, Attention)

    def rewrite(self, op: GraphOp, rewriter: Rewriter, /) -> None:
        indices = [3] if isinstance(op, Attention) else [0] if isinstance(op, Matmul) and op.b_panel else [0, 1]
        for index in indices:
            expand = defining(op.operands[index], Expand) if index < len(op.operands) else None
            if expand is None:
                continue
            x = expand.operands[0]
            if isinstance(op, Matmul) and not self._same_product(op, index, x):
                continue
            rewriter.set_operand(op, index, x)
            return

    @staticmethod
    def _same_product(op: Matmul, index: int, x: SSAValue) -> bool:
        """True if ``x`` has the matrices of operand ``index`` and the result keeps its shape."""
        shapes = [shape_of(value.type) for value in op.operands]
        old, shapes[index] = shapes[index], shape_of(x.type)
        if len(shapes[index]) < 2 or shapes[index][-2:] != old[-2:]:
            return False
        batch = shapes[0][:-2] if op.b_panel else broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
        return batch == shape_of(op.out.type)[:-2]


class SliceChain(Pattern):
    """A slice of a slice is one slice."""

    roots = (Slice,)

    def rewrite(self, op: Slice, rewriter: Rewriter, /) -> None:
        inner = defining(op.operands[0], Slice)
        if inner is None:
            return
        starts = [a + b * s for a, b, s in zip(inner.starts, op.starts, inner.steps, strict=True)]
        steps = [a * b for a, b in zip(inner.steps, op.steps, strict=True)]
        rewriter.covers(inner, op)
        result = tensor_type(op.out)
        rewriter.replace(op, Slice.build(inner.operands[0], result=result, starts=starts, steps=steps))


class SliceOfConcat(Pattern):
    """A slice that stays inside one operand of a concat is a slice of that operand."""

    roots = (Slice,)

    def rewrite(self, op: Slice, rewriter: Rewriter, /) -> None:
        concat = defining(op.operands[0], Concat)
        if concat is None or elements(op.out.type) == 0:
            return
        axis = concat.axis
        first = op.starts[axis]
        last = first + (shape_of(op.out.type)[axis] - 1) * op.steps[axis]
        offset = 0
        for part in concat.operands:
            extent = shape_of(part.type)[axis]
            if offset <= min(first, last) and max(first, last) < offset + extent:
                starts = list(op.starts)
                starts[axis] -= offset
                rewriter.covers(concat, op)
                rewriter.replace(op, Slice.build(part, result=tensor_type(op.out), starts=starts, steps=op.steps))
                return
            offset += extent


class ConcatParts(Pattern):
    """Concat drops empty operands, takes in concats along the same axis, and joins neighbouring slices of one value."""

    roots = (Concat,)

    def rewrite(self, op: Concat, rewriter: Rewriter, /) -> None:
        parts: list[SSAValue] = []
        covered: list[GraphOp] = [op]
        for value in op.operands:
            inner = defining(value, Concat)
            if shape_of(value.type)[op.axis] == 0 and elements(op.out.type) > 0:
                continue
            if inner is not None and inner.axis == op.axis and has_one_use(value):
                parts += inner.operands
                covered.append(inner)
            else:
                parts.append(value)
        joined = self._join(parts, op.axis, rewriter, covered)
        if len(joined) == len(op.operands) and all(a is b for a, b in zip(joined, op.operands, strict=True)):
            return
        rewriter.covers(*covered)
        rewriter.replace(op, joined[0] if len(joined) == 1 else Concat.build(*joined, axis=op.axis))

    @staticmethod
    def _join(parts: Sequence[SSAValue], axis: int, rewriter: Rewriter, covered: list[GraphOp]) -> list[SSAValue]:
        """``parts``, with neighbouring slices of one value that meet along ``axis`` made one slice."""
        joined: list[SSAValue] = []
        for part in parts:
            before, after = (defining(joined[-1], Slice) if joined else None), defining(part, Slice)
            if before is not None and after is not None and _meet(before, after, axis):
                extents = list(shape_of(before.out.type))
                extents[axis] += shape_of(part.type)[axis]
                covered += [before, after]
                result = tensor(extents, before.element())
                merged = Slice.build(before.operands[0], result=result, starts=before.starts, steps=before.steps)
                joined[-1] = rewriter.insert(merged).out
            else:
                joined.append(part)
        return joined


def _meet(a: Slice, b: Slice, axis: int) -> bool:
    """True if ``b`` goes on along ``axis`` where ``a`` ends, both being slices of one value."""
    size = shape_of(a.out.type)[axis]
    starts = [s + (size * a.steps[axis] if i == axis else 0) for i, s in enumerate(a.starts)]
    return a.operands[0] is b.operands[0] and list(b.starts) == starts and a.steps == b.steps


class PadChain(Pattern):
    """A pad of a pad with the same value is one pad."""

    roots = (Pad,)

    def rewrite(self, op: Pad, rewriter: Rewriter, /) -> None:
        inner = defining(op.operands[0], Pad)
        if inner is None or op.mode != "constant" or inner.mode != "constant" or not has_one_use(inner.out):
            return
        if op.operands[1] is not inner.operands[1]:
            return
        low = [a + b for a, b in zip(op.low, inner.low, strict=True)]
        high = [a + b for a, b in zip(op.high, inner.high, strict=True)]
        rewriter.covers(inner, op)
        rewriter.replace(op, Pad.build(*inner.operands, low=low, high=high))


class PadOfConv(Pattern):
    """A convolution pads its spatial axes with zeros itself."""

    roots = (Conv,)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: Conv, rewriter: Rewriter, /) -> None:
        pad = defining(op.operands[0], Pad)
        if pad is None or pad.mode != "constant" or number_of(pad.operands[1], self.weights) != 0:
            return
        rank = len(pad.low)
        spatial = range(2, rank) if op.layout == CHANNELS_FIRST else range(1, rank - 1)
        if any(pad.low[axis] or pad.high[axis] for axis in range(rank) if axis not in spatial):
            return
        parameters: dict[str, Any] = {name: getattr(op, name) for name in op.parameters}
        parameters["pads_low"] = [a + pad.low[axis] for a, axis in zip(op.pads_low, spatial, strict=True)]
        parameters["pads_high"] = [a + pad.high[axis] for a, axis in zip(op.pads_high, spatial, strict=True)]
        rewriter.covers(pad, op)
        rewriter.replace(op, Conv.build(pad.operands[0], op.operands[1], **parameters))


class GatherOfKnownIndices(Pattern):
    """A gather at evenly spaced indices that are known is a slice."""

    roots = (Gather,)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: Gather, rewriter: Rewriter, /) -> None:
        x, indices = op.operands
        shape, axis = shape_of(x.type), op.axis
        if len(shape_of(indices.type)) > 1 or elements(indices.type) == 0:
            return
        array = known_array(indices, self.weights)
        if array is None:
            return
        numbers = [int(i) + shape[axis] if i < 0 else int(i) for i in array.reshape(-1)]
        steps = {b - a for a, b in itertools.pairwise(numbers)} or {1}
        if len(steps) != 1 or 0 in steps or min(numbers) < 0 or max(numbers) >= shape[axis]:
            return
        starts = [numbers[0] if i == axis else 0 for i in range(len(shape))]
        strides = [steps.copy().pop() if i == axis else 1 for i in range(len(shape))]
        extents = [len(numbers) if i == axis else extent for i, extent in enumerate(shape)]
        result = tensor(extents, op.element())
        piece = rewriter.insert(Slice.build(x, result=result, starts=starts, steps=strides))
        rewriter.replace(op, Reshape.build(piece, result=tensor_type(op.out)))


class GatherNdOfKnownIndices(Pattern):
    """Coordinates that are known and go through x in its own order, without a gap, take a piece of it."""

    roots = (GatherNd,)

    def __init__(self, ctx: CompilerContext) -> None:
        self.weights = ctx.weights

    def rewrite(self, op: GatherNd, rewriter: Rewriter, /) -> None:
        x, indices = op.operands
        shape, array = shape_of(x.type), known_array(indices, self.weights)
        if array is None or array.size == 0:
            return
        depth = op.batch_dims + array.shape[-1]
        rows = np.arange(math.prod(shape[:depth])).reshape(*shape[:depth], 1)
        places = op.evaluate(rows, array).reshape(-1)
        first, count = int(places[0]), places.size
        if not np.array_equal(places, np.arange(first, first + count)):
            return
        rest = shape[depth:]
        flat = rewriter.insert(Reshape.build(x, result=tensor([rows.size, *rest], op.element())))
        starts, steps = [first, *[0] * len(rest)], [1] * (1 + len(rest))
        result = tensor([count, *rest], op.element())
        piece = rewriter.insert(Slice.build(flat, result=result, starts=starts, steps=steps))
        rewriter.replace(op, Reshape.build(piece, result=tensor_type(op.out)))


def patterns(ctx: CompilerContext) -> list[Pattern]:
    """All patterns of this module, in the order they are tried."""
    return [
        ReshapeChain(),
        TransposeChain(),
        TransposeOfUnitAxes(),
        ExpandChain(),
        ExpandedBatch(),
        SliceChain(),
        SliceOfConcat(),
        ConcatParts(),
        PadChain(),
        PadOfConv(ctx),
        GatherOfKnownIndices(ctx),
        GatherNdOfKnownIndices(ctx),
    ]
