"""Operators whose parameters (shapes, axes, pads, scales, k) are fed at run time.

In: a node with such a parameter, and the shape the model declares for its result. Out: graph ops that compute the
declared shape from whatever is fed, behind a check that it is what is asked for. The one idea: extents are promised by
the declaration and checked once per run; positions are arithmetic in the graph.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.resize import Sampling, Span
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dialects.graph.shape import Slice
from penstock.compiler.dtypes import F64, I64, is_float, tensor
from penstock.compiler.errors import SHAPE_CONFLICT
from penstock.compiler.frontends.onnx.arithmetic import Value, Values, counting, truth
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal

MAX_CHOICES = 32  # of axes, each of which costs a computation of its own

# Shapes --------------------------------------------------------------------------------------------------------------


def reshape(n: NodeContext) -> SSAValue:
    """Reshape to the declared shape."""
    x, shape, given = n.input(0), n.promised("its shape"), n.value(1)
    _same_count(n, given, len(shape), "shape")
    _possible(n, math.prod(shape) == math.prod(n.shape(x)), shape)
    source = n.shape(x)
    copied = [i < len(source) and source[i] == extent and not n.flag("allowzero") for i, extent in enumerate(shape)]
    fits = Values.equal(given, shape) | Values.equal(given, -1)
    fits = fits | (Values.equal(given, 0) & Value(n, n.constant(np.array(copied, bool).reshape(len(shape)))))
    return n.reshape(n.checked(x, fits.all(), "its shape"), shape)


def left_over(n: NodeContext, source: Sequence[int], known: int) -> int:
    """The extent that -1 stands for in a shape whose others have the product ``known``, which a run tells."""
    have, given = (Value(n, n.sizes([extent])) for extent in (math.prod(source), known))
    rest = n.importer.counts.measured(n, (have / Values.maximum(given, 1)).ssa, "its shape", most=math.prod(source))
    assert rest is not None, "one integer can be measured"
    return rest.item()


def reshaped(n: NodeContext, x: SSAValue, shape: Sequence[int]) -> SSAValue:
    """``x`` in a shape of measured extents, if that has as many elements in a run as ``x``."""
    have, wanted = math.prod(n.shape(x)), math.prod(shape)
    fits = Values.equal(Value(n, n.sizes([have])), Value(n, n.sizes([wanted])))
    flat = n.reshape(n.checked(x, fits.all(), "its shape"), [have])
    cut = n.build(Slice, flat, starts=[0], steps=[1], result=tensor([wanted], element_of(x)))
    return n.reshape(cut, shape)


def expand(n: NodeContext) -> SSAValue:
    """Broadcasting to the declared shape."""
    x, shape, given = n.input(0), n.promised("its shape"), n.value(1)
    count, source = math.prod(given.shape), n.shape(x)
    _possible(n, len(shape) == max(count, len(source)), shape)
    wide = [1] * (len(shape) - len(source)) + list(source)
    _possible(n, all(have in (1, want) for have, want in zip(wide, shape, strict=True)), shape)
    _possible(n, list(shape[: len(shape) - count]) == wide[: len(shape) - count], shape)
    target = list(shape[len(shape) - count :])
    kept = np.array([have == want for have, want in zip(wide, shape, strict=True)][len(shape) - count :], bool)
    fits = Values.equal(given, target) | (Values.equal(given, 1) & Value(n, n.constant(kept)))
    return n.expand(n.checked(x, fits.all(), "its shape"), shape)


def constant_of_shape(n: NodeContext, fill: SSAValue) -> SSAValue:
    """``fill`` in the declared shape."""
    shape, given = n.promised("its shape"), n.value(0)
    _same_count(n, given, len(shape), "shape")
    return n.expand(n.checked(fill, Values.equal(given, shape).all(), "its shape"), shape)


def repeats(n: NodeContext) -> tuple[SSAValue, list[int]]:
    """The checked input of Tile and how often each axis of it is repeated."""
    x, shape, given = n.input(0), n.promised("its repeats"), n.value(1)
    source = n.shape(x)
    _same_count(n, given, len(source), "repeats")
    whole = len(shape) == len(source) and all(
        want % have == 0 if have else want == 0 for have, want in zip(source, shape, strict=True)
    )
    _possible(n, whole, shape)
    x = n.checked(x, Values.equal(given * source, shape).all(), "its repeats")
    return x, [want // have if have else 1 for have, want in zip(source, shape, strict=True)]


def extent(n: NodeContext, index: int, what: str, x: SSAValue, promised: int) -> SSAValue:
    """``x``, if input ``index`` is the one number ``promised``."""
    given = n.value(index)
    n.require(math.prod(given.shape) == 1, f"{what} is one number, not {math.prod(given.shape)}")
    return n.checked(x, Values.equal(given, promised).all(), f"its {what}")


def parts(n: NodeContext, x: SSAValue, axis: int) -> tuple[SSAValue, list[int]]:
    """The checked input of Split, and the extents of its parts: as declared, else measured."""
    outputs, given, what = range(len(n.node.outputs)), n.value(1), "the sizes of its parts"
    have, extent = math.prod(given.shape), n.shape(x)[axis]
    n.require(have == len(outputs), f"it is split in {have} parts, but has {len(outputs)} outputs")
    if any(n.importer.declared_shape(n.node, output, n.scope) is None for output in outputs):
        return measured_parts(n, x, extent, what)
    sizes = [n.promised(what, output, n.rank(x))[axis] for output in outputs]
    _possible(n, sum(sizes) == extent, sizes)
    return n.checked(x, Values.equal(given, sizes).all(), "how it is split"), sizes


def measured_parts(n: NodeContext, x: SSAValue, extent: int, what: str) -> tuple[SSAValue, list[int]]:
    """The same where nothing is declared. Each part but the last is measured, and is at most what those before it
    leave; the last is what is left."""
    given, sizes = n.value(1), list[int]()
    left = extent
    for index in range(math.prod(given.shape) - 1):
        one = given.take(n.constant(np.array([index], np.int64)), 0)
        measured = n.importer.counts.measured(n, one.ssa, what, most=left)
        assert measured is not None, "one integer can be measured"
        sizes.append(measured.item())
        left = left - sizes[-1]
    sizes.append(left)
    return n.checked(x, Values.equal(given, sizes).all(), "how it is split"), sizes


def counted(n: NodeContext) -> SSAValue:
    """Range with as many elements as declared; with nothing declared, their number is measured."""
    start, limit, delta = (Value(n, n.input(index)).reshape([]) for index in range(3))
    kind = element_of(start.ssa)
    if is_float(kind):
        steps = Values.ceil((limit.cast(F64) - start.cast(F64)) / delta.cast(F64)).cast(I64)
    else:
        steps = _steps(start.cast(I64), limit.cast(I64), delta.cast(I64))
    steps = Values.maximum(steps, 0)
    if n.importer.declared_shape(n.node, 0, n.scope) is None:
        measured = n.importer.counts.measured(n, steps.reshape([1]).ssa, "its length")
        assert measured is not None, "one integer can be measured"
        return (counting(n, measured.item(), kind) * delta + start).ssa
    shape = n.promised("its length")
    _possible(n, len(shape) == 1, shape)
    holds = Values.equal(steps, shape[0])
    return (counting(n, shape[0], kind) * delta + Value(n, n.checked(start.ssa, holds, "its length"))).ssa


def _steps(start: Value, end: Value, step: Value) -> Value:
    """How many numbers ``start, start + step, ...`` there are before ``end`` (0 or less: none)."""
    one = Values.where(step > 0, step * 0 + 1, step * 0 - 1)
    safe = Values.where(Values.equal(step, 0), one, step)
    return (end - start + step - one) / safe


# Axes ----------------------------------------------------------------------------------------------------------------


def squeezed(n: NodeContext, insert: bool) -> SSAValue:
    """Squeeze, or Unsqueeze (``insert``), to the declared shape: which extents of 1 come or go moves no element."""
    x, shape, given = n.input(0), n.promised("its axes"), n.value(1)
    source, count = n.shape(x), math.prod(given.shape)
    long, short = (shape, source) if insert else (source, shape)
    fitting = [
        axes
        for axes in _choices(n, len(long), count)
        if all(long[axis] == 1 for axis in axes)
        and [extent for axis, extent in enumerate(long) if axis not in axes] == list(short)
    ]
    _possible(n, bool(fitting), shape)
    mask = _mask(n, given, len(long))
    return n.reshape(n.checked(x, _one_of(mask, fitting), "its axes"), shape)


def reduced(n: NodeContext, x: SSAValue, keep: bool, along: Callable[[list[int]], SSAValue]) -> SSAValue:
    """A reduction along axes that are fed: ``along`` every set of axes which gives the declared shape, one chosen."""
    shape, given, source = n.promised("its axes"), n.value(1), n.shape(x)
    groups: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for axes in _choices(n, len(source), math.prod(given.shape)):
        left = [1 if axis in axes else extent for axis, extent in enumerate(source) if keep or axis not in axes]
        if left == list(shape):
            groups.setdefault(tuple(axis for axis in axes if source[axis] != 1), []).append(axes)
    _possible(n, bool(groups), shape)
    if len(groups) > MAX_CHOICES:
        raise n.unsupported(f"its axes can be any of {len(groups)} sets", "Make the axes a constant of the model.")
    if len(groups) > 1:
        n.note(f"its axes are fed at run time, so it is computed along each of {len(groups)} sets of axes")
    mask = _mask(n, given, len(source))
    every = [axes for group in groups.values() for axes in group]
    result: SSAValue | None = None
    for axes, group in groups.items():
        one = n.reshape(along(list(axes) if axes else list(group[0])), shape)
        result = one if result is None else Values.where(_one_of(mask, group), Value(n, one), Value(n, result)).ssa
    assert result is not None
    return n.checked(result, _one_of(mask, every), "its axes")


def chosen(
    n: NodeContext, given: Value, candidates: Iterable[int], what: str, compute: Callable[[int], SSAValue]
) -> SSAValue:
    """``compute`` of a number that is fed: of each candidate that gives the declared shape, one chosen."""
    shape, made = n.promised(what), list[tuple[int, SSAValue]]()
    for one in candidates:
        try:
            value = compute(one)
        except Refusal:
            continue  # it cannot be this one
        if n.shape(value) == shape:
            made.append((one, value))
    _possible(n, bool(made), shape)
    if len(made) > 1:
        n.note(f"{what} depends on what is fed at run time, so it is computed in each of {len(made)} ways")
    given = given.reshape([])
    result = made[0][1]
    for one, value in made[1:]:
        result = Values.where(Values.equal(given, one), Value(n, value), Value(n, result)).ssa
    return n.checked(result, Values.equal(given, [one for one, _ in made]).any(), what)


def _choices(n: NodeContext, rank: int, count: int) -> Iterable[tuple[int, ...]]:
    n.require(count <= rank, f"it has {count} axes, but the tensor has rank {rank}")
    if math.comb(rank, count) > 1 << 12:
        raise n.unsupported(f"its {count} axes of {rank} are fed at run time", "Make the axes a constant of the model.")
    return itertools.combinations(range(rank), count)


def _mask(n: NodeContext, axes: Value, rank: int) -> Value:
    """The set of ``axes`` as a number, one bit for each."""
    powers = Value(n, n.constant(1 << np.arange(rank, dtype=np.int64)))
    return powers.take(axes.reshape([math.prod(axes.shape)]).ssa, 0).reduce("sum")


def _one_of(mask: Value, sets: Sequence[Sequence[int]]) -> Value:
    return Values.equal(mask, [sum(1 << axis for axis in axes) for axes in sets]).any()


# Positions -----------------------------------------------------------------------------------------------------------


def sliced(n: NodeContext) -> SSAValue:
    """Slice to the declared shape, from starts and by steps that are computed when the model runs."""
    x, shape = n.input(0), n.promised("where it is cut")
    source, rank = n.shape(x), n.rank(x)
    _possible(n, len(shape) == rank, shape)
    touched, hit = _hits(n, 3, rank, math.prod(n.shape(n.input(1))))
    step = _per_axis(n, hit, n.value(4), 1) if n.has(4) else Value(n, n.constant(np.ones(rank, np.int64)))
    forward = step > 0
    full = Value(n, n.constant(np.array(source, np.int64).reshape(rank)))

    def clamped(index: int, default: Value) -> Value:
        given = _per_axis(n, hit, n.value(index), default)
        given = Values.where(given < 0, given + full, given)
        lowest = Values.where(forward, full * 0, full * 0 - (1 if index == 2 else 0))
        highest = Values.where(forward, full, full - 1)
        return Values.minimum(Values.maximum(given, lowest), highest)

    start, end = clamped(1, full * 0), clamped(2, full)
    holds = Values.equal(Values.maximum(_steps(start, end, step), 0), shape).all()
    value = Value(n, n.checked(x, holds, "where it is cut"))
    for axis in touched:
        if source[axis]:
            value = value.take((counting(n, shape[axis]) * step[axis] + start[axis]).ssa, axis)
    return value.ssa


def padded(n: NodeContext, fill: SSAValue, mode: str) -> SSAValue:
    """Pad (or cut, where a pad is negative) to the declared shape."""
    x, shape = n.input(0), n.promised("its pads")
    source, rank = n.shape(x), n.rank(x)
    _possible(n, len(shape) == rank, shape)
    pads = n.value(1)
    count = math.prod(pads.shape) // 2
    touched, hit = _hits(n, 3, rank, count)
    low, high = (_per_axis(n, hit, pads.reshape([2, count])[side], 0) for side in (0, 1))
    holds = Values.equal(low + high + source, shape).all()
    value, inside = Value(n, n.checked(x, holds, "its pads")), truth(n, True)
    if 0 in source:
        n.require(mode == "constant" or 0 in shape, f"an empty tensor has nothing to pad with in mode {mode}")
        return n.expand(n.checked(fill, holds, "its pads"), shape)
    for axis in touched:
        extent = source[axis]
        place = counting(n, shape[axis]) - low[axis]
        match mode:
            case "constant":
                column = [-1 if a == axis else 1 for a in range(rank)]
                inside = inside & Values.reshape((place >= 0) & (place < extent), column)
            case "reflect":
                place = place % max(2 * (extent - 1), 1)
                place = Values.minimum(place, max(2 * (extent - 1), 0) - place)
            case "wrap":
                place = place % extent
            case _:
                pass
        value = value.take(Values.minimum(Values.maximum(place, 0), extent - 1).ssa, axis)
    return Values.where(inside, value, Value(n, fill)).ssa if mode == "constant" else value.ssa


def _hits(n: NodeContext, index: int, rank: int, count: int) -> tuple[list[int], Value]:
    """Which axes are named by input ``index`` (all in order if it is left out), and for each axis by which entry of it:
    booleans, [rank, count]."""
    n.require(count <= rank, f"{count} parameters are too many for a tensor of rank {rank}")
    if n.has(index):
        axes = n.value(index)
        n.require(math.prod(axes.shape) == count, f"there are {count} parameters for {math.prod(axes.shape)} axes")
    else:
        axes = Value(n, n.constant(np.arange(count, dtype=np.int64)))
    known = n.importer.evaluate(axes.ssa)
    touched = list(range(rank)) if known is None else sorted(n.normal_axis(int(axis), rank) for axis in known)
    axes = Values.where(axes < 0, axes + rank, axes)
    return touched, Values.equal(counting(n, rank).reshape([rank, 1]), axes.reshape([1, count]))


def _per_axis(n: NodeContext, hit: Value, given: Value, default: Value | int) -> Value:
    """``given`` numbers by axis; ``default`` for axes without one: [rank]."""
    count = hit.shape[1]
    spread = Values.where(hit, given.reshape([1, count]), given.reshape([1, count]) * 0).reduce("sum", 1)
    return Values.where(hit.any(1), spread, default)


def cropped(n: NodeContext, x: SSAValue, axes: Sequence[int]) -> tuple[SSAValue, list[int]]:
    """The checked input of CenterCropPad, and the declared extents of ``axes``."""
    shape, given, source = n.promised("its shape"), n.value(1), n.shape(x)
    _possible(n, len(shape) == len(source), shape)
    _possible(n, all(shape[axis] == source[axis] for axis in range(len(source)) if axis not in axes), shape)
    n.require(math.prod(given.shape) == len(axes), f"{math.prod(given.shape)} extents are given for {len(axes)} axes")
    wanted = [shape[axis] for axis in axes]
    return n.checked(x, Values.equal(given, wanted).all(), "its shape"), wanted


# Sampling ------------------------------------------------------------------------------------------------------------


def resizable(n: NodeContext, what: str, axes: Sequence[int]) -> list[int]:
    """The declared shape of Resize: that of its input but for ``axes``."""
    shape, source = list(n.promised(what)), n.shape(n.input(0))
    _possible(n, len(shape) == len(source), shape)
    kept = [axis for axis in range(len(source)) if axis not in axes]
    _possible(n, all(shape[axis] == source[axis] for axis in kept), shape)
    return shape


def scaled(n: NodeContext, axes: Sequence[int], scales: Value) -> tuple[SSAValue, list[int], Value]:
    """The checked input of Resize, the declared extents, and the scales of ``axes``."""
    x, shape, source = n.input(0), resizable(n, "its scale", axes), n.shape(n.input(0))
    _possible(n, 0 not in source, shape)
    n.require(scales.shape == (len(axes),), f"scales are {len(axes)} numbers")
    old = np.array([source[axis] for axis in axes], np.float64)
    holds = Values.equal(Values.floor(scales * old), [shape[axis] for axis in axes]).all()
    return n.checked(x, holds, "its scale"), shape, scales


def resized(
    n: NodeContext, x: SSAValue, sizes: Sequence[int], axes: Sequence[int], scales: Sequence[float | Value] | Value,
    region: list[float] | Value, sampling: Sampling,
) -> SSAValue:  # fmt: skip
    """Resize along ``axes`` to ``sizes`` where scales (of ``axes``) or the region are fed: tables of indices and
    weights are computed when the model runs."""
    source, kind, rank = n.shape(x), element_of(x), n.rank(x)
    value = Value(n, x) if sampling.mode == "nearest" else Value(n, n.cast(x, compute_dtype(kind)))
    inside = truth(n, True)
    for place, axis in enumerate(axes):
        scale = scales[place] if isinstance(scales, Value) else scales[axis]
        edges: list[Value | float] = []
        if isinstance(region, Value):
            edges = [region[place], region[place + len(axes)]]
        elif region:
            edges = [region[axis], region[axis + rank]]
        span = Span(source[axis], sizes[axis], scale, *edges)
        where = sampling.coordinates(Values, counting(n, span.size).cast(F64), span)
        if edges:
            column = [-1 if a == axis else 1 for a in range(rank)]
            inside = inside & Values.reshape((where >= 0.0) & (where <= span.extent - 1.0), column)
        least = max(sizes[axis] - 0.5, 0.5) / max(source[axis], 1)  # sizes are rounded, down or to the nearest
        value = sampled(n, value, axis, *sampling.taps(Values, where, span, least))
    if region:
        value = Values.where(inside, value, n.float("extrapolation_value", 0.0))
    return value.cast(kind).ssa


def sampled(n: NodeContext, value: Value, axis: int, indices: Value, weights: Value) -> Value:
    """The weighted sum of elements of ``value`` along ``axis``: ``indices`` and ``weights`` are [size, taps]."""
    size, taps = indices.shape
    kind, column = element_of(value.ssa), [size if a == axis else 1 for a in range(len(value.shape))]
    flat, factors = indices.cast(I64), weights.cast(kind) if is_float(kind) else weights
    total: Value | None = None
    for tap in range(taps):
        chosen = _column(n, flat, tap)
        part = value.take(chosen.ssa, axis)
        if taps > 1:
            part = part * _column(n, factors, tap).reshape(column)
        total = part if total is None else total + part
    assert total is not None
    return total


def _column(n: NodeContext, table: Value, column: int) -> Value:
    rows, columns = table.shape
    if columns == 1:
        return table.reshape([rows])
    return Value(n, n.transpose(table.ssa, (1, 0)))[column]


# Refusals ------------------------------------------------------------------------------------------------------------


def _same_count(n: NodeContext, given: Value, count: int, what: str) -> None:
    have = math.prod(given.shape)
    if have != count:
        raise Refusal(SHAPE_CONFLICT, f"its {what} has {have} numbers, but the model declares a result of {count} axes")


def _possible(n: NodeContext, holds: bool, shape: Sequence[int]) -> None:
    if not holds:
        raise Refusal(SHAPE_CONFLICT, f"no parameters give the result of shape {list(shape)} that the model declares")
