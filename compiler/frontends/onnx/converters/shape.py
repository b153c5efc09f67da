"""ONNX's shape operators: their parameters are compile-time values, numbers or symbolic extents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import Disagreement, broadcast_shapes, element_of
from penstock.compiler.dialects.graph.shape import Concat, Iota, Pad, Slice
from penstock.compiler.dtypes import I64, numpy_dtype, tensor
from penstock.compiler.errors import INVALID_NODE
from penstock.compiler.extents import (
    Dim,
    Extent,
    Extremum,
    NotStatic,
    ceildiv,
    is_static,
    largest,
    quotient,
    smallest,
    surely,
)
from penstock.compiler.frontends.onnx.assumptions import agreement
from penstock.compiler.frontends.onnx.converters import converter, fed
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal
from penstock.compiler.specialise import lone_symbol


@converter("Reshape")
def reshape(n: NodeContext) -> SSAValue:
    """A shape fed at run time must be the declared one; with none declared, it is measured."""
    if n.sized(1, "its shape"):
        return fed.reshape(n)
    x = n.input(0)
    source, wanted = n.shape(x), n.extents(1, "shape") or []
    keep_zero = n.flag("allowzero")
    shape = [source[i] if d == 0 and not keep_zero and i < len(source) else d for i, d in enumerate(wanted)]
    if shape.count(-1) == 1:
        known = math.prod(d for d in shape if d != -1)
        rest = 0 if is_static((known,)) and known == 0 else quotient(math.prod(source), known)
        if rest is None:
            counted = n.importer.counts.among(known)
            if not counted or len(source) > 1:
                _leading_agree(n, source, shape)
            rest = fed.left_over(n, source, known) if counted else math.prod(source) // known
        shape[shape.index(-1)] = rest
    sentence = f"a tensor of shape {list(source)} cannot be reshaped to {wanted}"
    n.require(all(d >= 0 for d in shape), sentence)
    try:
        n.require_equal(math.prod(shape), math.prod(source), sentence)
    except Disagreement as error:
        if not n.importer.counts.among(error.a) or agreement(error.a, error.b, n.importer.counts.order) is not None:
            raise
        return fed.reshaped(n, x, shape)
    return n.reshape(x, shape)


def _leading_agree(n: NodeContext, source: Sequence[Extent], shape: Sequence[Extent]) -> None:
    """The first sizes that differ between a tensor and what it is reshaped to are two names of one."""
    for own, wanted in zip(source, shape, strict=False):
        if own != wanted:
            if lone_symbol(own) and lone_symbol(wanted):
                n.require_equal(own, wanted, f"a tensor of shape {list(source)} cannot be reshaped to {list(shape)}")
            return


@converter("Flatten")
def flatten(n: NodeContext) -> SSAValue:
    """Any axis."""
    x = n.input(0)
    shape = n.shape(x)
    axis = n.int("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return n.reshape(x, [math.prod(shape[:axis]), math.prod(shape[axis:])])


@converter("Squeeze")
def squeeze(n: NodeContext) -> SSAValue:
    """Axes from an input or attribute, or all axes of extent 1."""
    if n.fed(1):
        return fed.squeezed(n, insert=False)
    x = n.input(0)
    shape = n.shape(x)
    axes = n.ints(1, "axes")
    if axes is None:
        chosen = [i for i, e in enumerate(shape) if e == 1 or not e > 1]
    else:
        chosen = [n.normal_axis(a, len(shape)) for a in axes]
    for axis in chosen:
        n.require_equal(shape[axis], 1, f"axes {chosen} of shape {list(shape)} do not all have extent 1")
    return n.reshape(x, [e for i, e in enumerate(shape) if i not in chosen])


@converter("Unsqueeze")
def unsqueeze(n: NodeContext) -> SSAValue:
    """Axes from an input or attribute."""
    if n.fed(1):
        return fed.squeezed(n, insert=True)
    x = n.input(0)
    axes = n.ints(1, "axes") or []
    rank = n.rank(x) + len(axes)
    chosen = {n.normal_axis(a, rank) for a in axes}
    if len(chosen) != len(axes):
        raise Refusal(INVALID_NODE, f"the axes {axes} repeat")
    rest = iter(n.shape(x))
    return n.reshape(x, [1 if i in chosen else next(rest) for i in range(rank)])


@converter("Transpose")
def transpose(n: NodeContext) -> SSAValue:
    """Any permutation."""
    x = n.input(0)
    return n.transpose(x, n.attribute_list("perm", list(reversed(range(n.rank(x))))))


@converter("Expand")
def expand(n: NodeContext) -> SSAValue:
    """A shape fed at run time must be the declared one; with none declared, it is measured."""
    if n.sized(1, "its shape"):
        return fed.expand(n)
    x = n.input(0)
    wanted = n.extents(1, "shape") or []
    return n.expand(x, broadcast_shapes(n.shape(x), tuple(wanted)))


@converter("Shape")
def shape(n: NodeContext) -> SSAValue:
    """A constant; of symbolic extents, what the run's sizes make them."""
    extents = n.shape(n.input(0))
    start, end = n.int("start", 0), n.int("end", len(extents))
    return n.sizes(extents[_clamped(start, len(extents)) : _clamped(end, len(extents))])


def _clamped(index: int, rank: int) -> int:
    return min(max(index + rank if index < 0 else index, 0), rank)


@converter("Size")
def size(n: NodeContext) -> SSAValue:
    """A constant; of symbolic extents, what the run's sizes make it."""
    return n.reshape(n.sizes([math.prod(n.shape(n.input(0)))]), [])


@converter("ConstantOfShape")
def constant_of_shape(n: NodeContext) -> SSAValue:
    """A shape fed at run time must be the declared one; with none declared, it is measured."""
    value = n.tensor_attribute("value").reshape(()) if "value" in n.node.attributes else np.float32(0)
    fill = n.constant(np.asarray(value))
    return fed.constant_of_shape(n, fill) if n.sized(0, "its shape") else n.expand(fill, n.extents(0, "shape") or [])


@converter("Concat")
def concat(n: NodeContext) -> SSAValue:
    """Any number of operands."""
    values = [n.input(index) for index in range(len(n.inputs))]
    axis = n.axis("axis", None if n.opset >= 4 else 1, n.rank(values[0]))
    return values[0] if len(values) == 1 else n.build(Concat, *values, axis=axis)


def slice_of(
    n: NodeContext, x: SSAValue, starts: dict[int, Extent], sizes: dict[int, Extent], steps: dict[int, int]
) -> SSAValue:
    """A slice given by axis; axes not named are taken whole."""
    extents = n.shape(x)
    rank = range(len(extents))
    result = [sizes.get(axis, extents[axis]) for axis in rank]
    if result == list(extents) and all(steps.get(a, 1) == 1 for a in rank):
        return x
    return n.build(
        Slice,
        x,
        starts=[starts.get(axis, 0) for axis in rank],
        steps=[steps.get(axis, 1) for axis in rank],
        result=tensor(result, element_of(x)),
    )


@converter("Slice")
def slice_(n: NodeContext) -> SSAValue:
    """Starts, ends, axes and steps, constant or not (then the result's shape is declared); steps may be negative."""
    if n.fed(3) or n.fed(4) or any(n.sized(index, "where it is cut") for index in (1, 2)):
        return fed.sliced(n)
    x = n.input(0)
    extents = n.shape(x)
    begin, end = n.extents(1, "starts") or [], n.extents(2, "ends") or []
    axes = n.ints(3, "axes") or list(range(len(begin)))
    strides = n.ints(4, "steps") or [1] * len(begin)
    n.require(
        len(begin) == len(end) == len(axes) == len(strides),
        f"it has {len(begin)} starts, {len(end)} ends, {len(axes)} axes and {len(strides)} steps",
    )
    n.require(len(axes) <= len(extents), f"{len(axes)} axes are too many for a tensor of rank {len(extents)}")
    starts: dict[int, Extent] = {}
    sizes: dict[int, Extent] = {}
    steps: dict[int, int] = {}
    for first, last, axis, step in zip(begin, end, axes, strides, strict=True):
        where = n.normal_axis(axis, len(extents))
        if step == 0:
            raise Refusal(INVALID_NODE, "a step is 0")
        start, size = _taken(first, last, step, extents[where])
        none = size == 0
        starts[where], sizes[where], steps[where] = (0, 0, 1) if none else (start, size, step)
    return slice_of(n, x, starts, sizes, steps)


def _taken(first: Extent, last: Extent, step: int, extent: Extent) -> tuple[Extent, Extent]:
    """(start, how many) of the indices from ``first`` to before ``last`` in steps.

    As the standard says it: Python's rule, but a start before the first element is that element, by negative steps too.
    """
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    start, end = _inside(first, extent, 0, high), _inside(last, extent, low, high)
    if is_static((first, last)) and (first < 0) == (last < 0) and (last - first) * step <= 0:
        return start, 0  # however long the axis is
    distance = _distance(start, end) if step > 0 else _distance(end, start)
    return start, largest(ceildiv(distance, abs(step)), 0)


def _inside(bound: Extent, extent: Extent, low: Extent, high: Extent) -> Extent:
    """``bound`` counted from the front, held in [low, high]; ``high`` where that is nothing."""
    if is_static((bound,)) and abs(bound) >= 1 << 31:  # as far as it goes
        return smallest(low, high) if bound < 0 else high
    if surely(bound, "<", 0):
        inside = largest(bound + extent, low)
        return inside if surely(low, "<=", high) else smallest(inside, high)
    if surely(bound, ">=", 0):
        return smallest(bound, high)
    behind = smallest(largest(-bound, 0), 1)  # 1 if it is negative, else 0: the sizes of a run tell
    return smallest(largest(bound + behind * extent, low), high)


def _distance(start: Extent, end: Extent) -> Extent:
    """end - start; of a start that is a maximum, the minimum of the distances from each."""
    lone = start.terms[0][0] if isinstance(start, Dim) and len(start.terms) == 1 and start.terms[0][1] == 1 else ()
    if len(lone) == 1 and isinstance(lone[0], Extremum):
        distances = [end - each for each in lone[0].operands]
        return smallest(*distances) if lone[0].kind == "max" else largest(*distances)
    return end - start


@converter("Split")
def split(n: NodeContext) -> list[SSAValue]:
    """Equal parts or given sizes; sizes fed at run time must be the declared ones, or are measured."""
    x = n.input(0)
    axis = n.axis("axis", 0, n.rank(x))
    x, parts = fed.parts(n, x, axis) if n.fed(1) else (x, _known_parts(n, n.shape(x)[axis]))
    results: list[SSAValue] = []
    start: Extent = 0
    for part in parts:
        results.append(slice_of(n, x, {axis: start}, {axis: part}, {}))
        start += part
    return results


def _known_parts(n: NodeContext, extent: Extent) -> list[Extent]:
    """How many of ``extent`` indices each output of Split has."""
    parts = n.extents(1, "split")
    if parts is None:
        count = len(n.node.outputs)
        asked = n.int("num_outputs", count) if n.opset >= 18 else count
        n.require(asked == count, f"num_outputs is {asked}, but it has {count} outputs")
        part = ceildiv(extent, count)
        return [largest(0, smallest(part, extent - i * part)) for i in range(count)]
    n.require(
        len(parts) == len(n.node.outputs), f"it is split in {len(parts)} parts, but has {len(n.node.outputs)} outputs"
    )
    sentence = f"the parts {parts} do not add up to {extent}"
    for part in parts:
        n.require_at_most(0, part, sentence)
    n.require_equal(sum(parts), extent, sentence)
    return parts


@converter("Tile")
def tile(n: NodeContext) -> SSAValue:
    """Repeats fed at run time must give the declared shape."""
    x, repeats = fed.repeats(n) if n.sized(1, "its repeats") else (n.input(0), n.extents(1, "repeats") or [])
    extents = n.shape(x)
    n.require(len(repeats) == len(extents), f"{len(repeats)} repeats are given for {len(extents)} axes")
    split_shape = [e for extent in extents for e in (1, extent)]
    wide = [e for repeat, extent in zip(repeats, extents, strict=True) for e in (repeat, extent)]
    return n.reshape(n.expand(n.reshape(x, split_shape), wide), [r * e for r, e in zip(repeats, extents, strict=True)])


@converter("Pad")
def pad(n: NodeContext) -> SSAValue:
    """Pads, constant or not (then the result's shape is declared); negative pads cut. All modes."""
    x = n.input(0)
    rank = n.rank(x)
    value = n.optional(2)
    fill = n.number(n.float("value", 0.0) if n.opset < 11 else 0.0, x) if value is None else n.reshape(value, [])
    mode = n.choice("mode", "constant", "constant", "reflect", "edge", "wrap")
    if n.fed(3) or n.sized(1, "its pads"):
        return fed.padded(n, fill, mode)
    pads = n.extents(1, "pads") or []
    axes = [n.normal_axis(a, rank) for a in (n.ints(3, "axes") or range(rank))]
    n.require(len(pads) == 2 * len(axes), f"{len(pads)} pads are given for {len(axes)} axes")
    low: list[Extent] = [0] * rank
    high: list[Extent] = [0] * rank
    for index, axis in enumerate(axes):
        low[axis], high[axis] = pads[index], pads[index + len(axes)]
    extents = n.shape(x)
    starts = {a: -smallest(low[a], 0) for a in range(rank)}
    sizes = {a: extents[a] + smallest(low[a], 0) + smallest(high[a], 0) for a in range(rank)}
    if any(size < 0 for size in sizes.values()):
        raise Refusal(INVALID_NODE, f"the pads {pads} cut more than the shape {list(extents)} has")
    x = slice_of(n, x, starts, sizes, {})
    low, high = [largest(p, 0) for p in low], [largest(p, 0) for p in high]
    if all(p == 0 for p in low + high):
        return x
    return n.build(Pad, x, *([fill] if mode == "constant" else []), low=low, high=high, mode=mode)


@converter("CenterCropPad")
def center_crop_pad(n: NodeContext) -> SSAValue:
    """A shape fed at run time must be the declared one."""
    x = n.input(0)
    extents, rank = list(n.shape(x)), n.rank(x)
    given = [int(axis) for axis in n.attribute_list("axes", range(rank))]
    axes = [n.normal_axis(axis, rank) for axis in given]
    n.require(len(set(axes)) == len(axes), f"the axes {given} repeat")
    if n.fed(1):
        x, wanted = fed.cropped(n, x, axes)
    else:
        wanted = n.extents(1, "shape") or []
    n.require(len(wanted) == len(axes), f"{len(wanted)} extents are given for {len(axes)} axes")
    n.require(all(extent >= 0 for extent in wanted), f"there is no shape {wanted}")
    target = dict(zip(axes, wanted, strict=True))
    kept = {axis: smallest(size, extents[axis]) for axis, size in target.items() if size != extents[axis]}
    x = slice_of(n, x, {axis: (extents[axis] - size) // 2 for axis, size in kept.items()}, kept, {})
    missing = [target[axis] - kept[axis] if axis in kept else 0 for axis in range(rank)]
    if all(count == 0 for count in missing):
        return x
    low = [count // 2 for count in missing]
    if is_static(missing):
        high = [count - before for count, before in zip(missing, low, strict=True)]
        return n.build(Pad, x, n.number(0, x), low=low, high=high, mode="constant")
    wide = n.build(Pad, x, n.number(0, x), low=low, high=missing, mode="constant")  # then just so much is kept
    return slice_of(n, wide, {}, target, {})


@converter("Range")
def range_(n: NodeContext) -> SSAValue:
    """Start, limit and step, constant or not (then the result's length is declared)."""
    if n.fed(2) or any(n.sized(index, "its length") for index in (0, 1)):
        return fed.counted(n)
    start, limit, delta = (n.extent(index, "a bound of the range") for index in range(3))
    if not is_static((start, limit, delta)):
        return _symbolic_range(n, start, limit, delta)
    known = all(np.isfinite(value) for value in (start, limit, delta))
    n.require(known and delta != 0, f"there is no range from {start} to {limit} in steps of {delta}")
    distance = limit - start
    steps = distance / delta if isinstance(distance, float) else -(-distance // delta)
    n.require(math.isfinite(steps), f"there is no end to a range from {start} to {limit} in steps of {delta}")
    count = max(0, math.ceil(steps))
    n.require(count < 1 << 31, f"the range has {count:,} elements")
    if count <= 1 << 16:
        return n.constant((np.arange(count) * delta + start).astype(numpy_dtype(element_of(n.input(0)))))
    position = n.build(Iota, axis=0, result=tensor([count], element_of(n.input(0))))
    step = n.build(graph_op("mul"), position, n.reshape(n.input(2), []))
    return n.build(graph_op("add"), step, n.reshape(n.input(0), []))


def _symbolic_range(n: NodeContext, start: Extent, limit: Extent, delta: Any) -> SSAValue:
    """A range whose bounds depend on the sizes of the run."""
    whole = all(isinstance(value, Dim) or value == int(value) for value in (start, limit, delta))
    if not whole or isinstance(delta, Dim):
        raise NotStatic(f"a range from {start} to {limit} in steps of {delta} has a length known only at run time")
    n.require(delta != 0, f"there is no range from {start} to {limit} in steps of {delta}")
    start, limit, step = (value if isinstance(value, Dim) else int(value) for value in (start, limit, delta))
    distance = limit - start if step > 0 else start - limit
    count = largest(ceildiv(distance, abs(step)), 0)
    result = n.build(Iota, axis=0, result=tensor([count], element_of(n.input(0))))
    if step != 1:
        result = n.build(graph_op("mul"), result, n.number(step, result))
    return result if is_static((start,)) and start == 0 else n.build(graph_op("add"), result, n.number(start, result))


@converter("Trilu")
def trilu(n: NodeContext) -> SSAValue:
    """Any diagonal, known at compile time or not."""
    x = n.ranked(0, 2, 32)
    offset = n.cast(n.reshape(n.input(1), []), I64) if n.has(1) else n.constant(0, I64)
    rows, columns = n.shape(x)[-2:]
    row = n.build(Iota, axis=0, result=tensor([rows, columns], I64))
    column = n.build(Iota, axis=1, result=tensor([rows, columns], I64))
    edge = n.build(graph_op("add"), row, offset)
    kept = n.build(graph_op("ge" if n.flag("upper", True) else "le"), column, edge)
    return n.build(graph_op("select"), kept, x, n.number(0, x))


@converter("EyeLike")
def eye_like(n: NodeContext) -> SSAValue:
    """Any diagonal and type."""
    x = n.ranked(0, 2)
    kind = n.element_attribute("dtype") if "dtype" in n.node.attributes else element_of(x)
    rows, columns = n.shape(x)
    row = n.build(Iota, axis=0, result=tensor([rows, columns], I64))
    column = n.build(Iota, axis=1, result=tensor([rows, columns], I64))
    diagonal = n.build(graph_op("add"), row, n.constant(n.int("k", 0), I64))
    return n.cast(n.build(graph_op("eq"), diagonal, column), kind)


@converter("DepthToSpace")
def depth_to_space(n: NodeContext) -> SSAValue:
    """Both modes."""
    x = n.ranked(0, 4)
    batch, channels, height, width = n.shape(x)
    block = n.int("blocksize")
    sentence = f"{channels} channels do not make blocks of {block} by {block}"
    n.require(block > 0, sentence)
    n.require_equal(channels % block**2, 0, sentence)
    if n.text("mode", "DCR") == "DCR":
        inner = n.reshape(x, [batch, block, block, channels // block**2, height, width])
        inner = n.transpose(inner, (0, 3, 4, 1, 5, 2))
    else:
        inner = n.reshape(x, [batch, channels // block**2, block, block, height, width])
        inner = n.transpose(inner, (0, 1, 4, 2, 5, 3))
    return n.reshape(inner, [batch, channels // block**2, height * block, width * block])


@converter("SpaceToDepth")
def space_to_depth(n: NodeContext) -> SSAValue:
    """Both modes; any block size that divides the extents."""
    x = n.ranked(0, 4)
    batch, channels, height, width = n.shape(x)
    block = n.int("blocksize")
    sentence = f"{height} by {width} is not made of blocks of {block} by {block}"
    n.require(block > 0, sentence)
    for extent in (height, width):
        n.require_equal(extent % block, 0, sentence)
    inner = n.reshape(x, [batch, channels, height // block, block, width // block, block])
    inner = n.transpose(inner, (0, 3, 5, 1, 2, 4) if n.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4))
    return n.reshape(inner, [batch, channels * block**2, height // block, width // block])
