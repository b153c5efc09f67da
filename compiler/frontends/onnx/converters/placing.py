"""Operators that put elements back where they came from: unpooling, and images from their blocks; determinants."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.determinant import Det
from penstock.compiler.dialects.graph.scatter import ScatterElements, ScatterNd
from penstock.compiler.dialects.graph.shape import Pad, Slice
from penstock.compiler.dtypes import I64, tensor
from penstock.compiler.frontends.onnx.arithmetic import Value, Values, counting
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import NodeContext


@converter("Det")
def det(n: NodeContext) -> SSAValue:
    """Any number of matrices, by elimination with pivots."""
    return n.build(Det, n.input(0))


@converter("MaxUnpool")
def max_unpool(n: NodeContext) -> SSAValue:
    """Any number of spatial axes. An output shape fed at run time must be the declared one."""
    x, indices = n.ranked(0, 3, 32), n.input(1)
    n.require_same(n.shape(indices), n.shape(x), "there is one index for each element")
    extents = n.shape(x)[2:]
    spatial = len(extents)
    window, strides = n.per_axis("kernel_shape", spatial, 0, 1), n.per_axis("strides", spatial, 1, 1)
    pads = n.per_axis("pads", 2 * spatial, 0, 0)
    shape = list(n.shape(x)[:2])
    for a, extent in enumerate(extents):
        shape.append((extent - 1) * strides[a] - pads[a] - pads[a + spatial] + window[a])
    n.require(min(shape) >= 0, f"its pads leave a result of shape {shape}")
    count = math.prod(n.shape(x))
    flat = n.expand(n.number(0, x), [math.prod(shape)])
    places = n.reshape(n.cast(indices, I64), [count, 1])
    result = n.reshape(n.build(ScatterNd, flat, places, n.reshape(x, [count])), shape)
    return _enlarged(n, result, _output_shape(n, shape)) if n.has(2) else result


def _output_shape(n: NodeContext, least: list[int]) -> list[int]:
    """The shape asked for: it is at least the one that follows from the window."""
    if n.fed(2):
        wanted = list(n.promised("its output shape"))
    else:
        wanted = n.ints(2, "output_shape") or []
    fits = len(wanted) == len(least) and all(a >= b for a, b in zip(wanted, least, strict=True))
    n.require(fits, f"an output shape of {wanted} does not hold a result of shape {least}")
    return wanted


def _enlarged(n: NodeContext, x: SSAValue, shape: list[int]) -> SSAValue:
    """``x`` in the first corner of zeros."""
    if n.fed(2):
        x = n.checked(x, Values.equal(n.value(2), shape).all(), "its output shape")
    grown = [wide - own for wide, own in zip(shape, n.shape(x), strict=True)]
    if not any(grown):
        return x
    return n.build(Pad, x, n.number(0, x), low=[0] * len(shape), high=grown)


@converter("Col2Im")
def col_to_im(n: NodeContext) -> SSAValue:
    """Any number of spatial axes. An image shape fed at run time must be the declared one, and a block shape fed at run
    time must give the declared channels."""
    x = n.ranked(0, 3)
    if n.fed(1):
        image = list(n.promised("its image shape")[2:])
        n.require(n.shape(n.input(1)) == (len(image),), f"an image shape has {len(image)} numbers")
        x = n.checked(x, Values.equal(n.value(1), image).all(), "its image shape")
    else:
        image = n.ints(1, "image_shape") or []
    spatial = len(image)
    n.require(spatial > 0 and min(image) > 0, f"there are no blocks in an image of {image}")
    dilations, strides = n.per_axis("dilations", spatial, 1, 1), n.per_axis("strides", spatial, 1, 1)
    pads = n.per_axis("pads", 2 * spatial, 0, 0)
    padded = [extent + pads[a] + pads[a + spatial] for a, extent in enumerate(image)]
    if n.fed(2):
        x, channels, places = _fed_places(n, x, strides, dilations, padded)
        result = _summed(n, x, places, channels, padded)
    else:
        result = _from_blocks(n, x, strides, dilations, padded)
    if not any(pads):
        return result
    target = tensor([*n.shape(result)[:2], *image], element_of(x))
    return n.build(Slice, result, starts=[0, 0, *pads[:spatial]], steps=[1] * (spatial + 2), result=target)


def _from_blocks(n: NodeContext, x: SSAValue, strides: list[int], dilations: list[int], padded: list[int]) -> SSAValue:
    """The padded image from blocks of a shape known when compiling."""
    spatial = len(padded)
    block = n.ints(2, "block_shape") or []
    n.require(len(block) == spatial and min(block) > 0, f"blocks of {block} do not fit an image of {spatial} axes")
    counts = [(padded[a] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1 for a in range(spatial)]
    batch, rows, columns = n.shape(x)
    taps = math.prod(block)
    sentence = f"columns of shape {[rows, columns]} are not {counts} blocks of {block}"
    n.require(min(counts) > 0, sentence)
    n.require_same((columns, rows % taps), (math.prod(counts), 0), sentence)
    channels = rows // taps
    if strides == block and set(dilations) == {1}:
        return _tiled(n, x, [batch, channels], block, counts, padded)
    n.table(taps * columns, "where its blocks lie")
    return _summed(n, x, n.constant(_places(block, counts, strides, dilations, padded)), channels, padded)


def _summed(n: NodeContext, x: SSAValue, places: SSAValue, channels: int, padded: list[int]) -> SSAValue:
    """The sums of what lies at one place; ``places`` are row-major positions in the padded image, [taps, columns]."""
    batch, (taps, columns) = n.shape(x)[0], n.shape(places)
    flat = n.expand(n.number(0, x), [batch, channels, math.prod(padded)])
    indices = n.expand(n.reshape(places, [1, 1, taps * columns]), [batch, channels, taps * columns])
    updates = n.reshape(x, [batch, channels, taps * columns])
    joined = n.build(ScatterElements, flat, indices, updates, axis=2, reduction="add")
    return n.reshape(joined, [batch, channels, *padded])


def _fed_places(
    n: NodeContext, x: SSAValue, strides: list[int], dilations: list[int], padded: list[int]
) -> tuple[SSAValue, int, SSAValue]:
    """``x`` behind a check of the block's shape, which is fed at run time; the declared channels; and where element
    (tap, column) goes, computed when the model runs."""
    channels = n.promised("its block shape")[1]
    _, rows, columns = n.shape(x)
    n.require(channels > 0 and rows % channels == 0, f"{rows} rows are not the blocks of {channels} channels")
    n.require(n.shape(n.input(2)) == (len(padded),), f"a block shape has {len(padded)} numbers")
    taps, given = rows // channels, n.value(2)
    block = Values.minimum(Values.maximum(given, 1), padded)
    room = [padded[a] - 1 - (block[a] - 1) * dilations[a] for a in range(len(padded))]
    counts = [Values.maximum(left, 0) / strides[a] + 1 for a, left in enumerate(room)]
    holds = Values.equal(given, block).all() & Values.equal(block.reduce("prod"), taps)
    blocks = Value(n, n.number(1, given.ssa))
    for left, count in zip(room, counts, strict=True):
        holds, blocks = holds & (left >= 0), blocks * count
    holds = holds & Values.equal(blocks, columns)
    tap, column = counting(n, taps).reshape([taps, 1]), counting(n, columns).reshape([1, columns])
    place, pitch = (tap + column) * 0, 1
    for a in reversed(range(len(padded))):
        place = place + ((tap % block[a]) * dilations[a] + (column % counts[a]) * strides[a]) * pitch
        tap, column, pitch = tap / block[a], column / counts[a], pitch * padded[a]
    return n.checked(x, holds, "its block shape"), channels, place.ssa


def _tiled(
    n: NodeContext, x: SSAValue, outer: list[int], block: list[int], counts: list[int], padded: list[int]
) -> SSAValue:
    """Blocks that lie side by side are axes in another order, with zeros where there is none."""
    spatial = len(block)
    cube = n.reshape(x, [*outer, *block, *counts])
    order = [axis for a in range(spatial) for axis in (2 + spatial + a, 2 + a)]
    covered = [count * extent for count, extent in zip(counts, block, strict=True)]
    image = n.reshape(n.transpose(cube, (0, 1, *order)), [*outer, *covered])
    rest = [wide - own for wide, own in zip(padded, covered, strict=True)]
    if not any(rest):
        return image
    return n.build(Pad, image, n.number(0, x), low=[0] * (2 + spatial), high=[0, 0, *rest])


def _places(
    block: list[int], counts: list[int], strides: list[int], dilations: list[int], padded: list[int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Where in the padded image element (tap, column) goes: row-major positions, [taps, columns]."""
    taps, columns = np.indices(block).reshape(len(block), -1), np.indices(counts).reshape(len(counts), -1)
    at = [columns[a] * strides[a] + taps[a][:, None] * dilations[a] for a in range(len(block))]
    return np.asarray(np.ravel_multi_index(at, padded), np.int64)
