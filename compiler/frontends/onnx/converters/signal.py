"""Signal processing: discrete Fourier transforms, short-time ones, window functions and mel filters.

In: complex numbers as pairs along a trailing axis. Out: graph ops. The one idea: a transform of moderate length is a
product with a constant matrix; a longer one is two shorter ones and a multiplication between them (Cooley and Tukey
1965), and one of a large prime length a convolution by transforms of a power of two (Bluestein 1970).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.shape import Concat, Pad, Slice
from penstock.compiler.dtypes import F64, I64, tensor
from penstock.compiler.extents import is_static, surely
from penstock.compiler.frontends.onnx.arithmetic import Value, Values, counting
from penstock.compiler.frontends.onnx.converters import converter, fed
from penstock.compiler.frontends.onnx.converters.elementwise import graph_op, widened
from penstock.compiler.frontends.onnx.converters.linear import matmul
from penstock.compiler.frontends.onnx.converters.shape import slice_of
from penstock.compiler.frontends.onnx.node_context import NodeContext

MAX_MATRIX, MANY = 1 << 17, 64
"""Elements of the matrix of a transform that is one product; longer transforms are taken apart. When there are
``MANY`` at a time, the product reads its matrix often enough to be worth 8 times as many."""
SHORT_MATRIX = 1 << 14
"""Elements of the matrix of a transform that is computed in f64, which costs it little."""
MAX_LENGTH = 1 << 20
"""Of a transform: its factors are constants in the artifact."""

Complex = NDArray[np.complex128]

# Transforms ----------------------------------------------------------------------------------------------------------


def roots(numerators: NDArray[np.int64], length: int, sign: int) -> Complex:
    """exp(sign 2 pi i n / length); whole turns are taken out before anything is rounded."""
    angle = 2 * np.pi * (numerators % length) / length
    real, imaginary = np.cos(angle), sign * np.sin(angle)
    # Quarter turns are exact; the least number that is none, of MAX_LENGTH, is far from 0.
    return np.where(np.abs(real) < 1e-12, 0, real) + 1j * np.where(np.abs(imaginary) < 1e-12, 0, imaginary)


def _pairs(factors: Complex, complex_input: bool, complex_output: bool) -> NDArray[np.float64]:
    """The real matrix that multiplies rows of numbers (or pairs) by the complex matrix ``factors``."""
    real, imaginary = factors.real, factors.imag
    blocks = np.stack([np.stack([real, imaginary], -1), np.stack([-imaginary, real], -1)], 1)  # [n, c, k, d]
    blocks = blocks[:, : 1 + complex_input, :, : 1 + complex_output]
    return blocks.reshape(factors.shape[0] * (1 + complex_input), factors.shape[1] * (1 + complex_output))


def _product(n: NodeContext, x: SSAValue, factors: Complex, complex_output: bool = True) -> SSAValue:
    """[batch, n, 1 or 2] times factors[n, k]: [batch, k, 1 or 2]."""
    batch, length, parts = n.shape(x)
    matrix = n.constant(_pairs(factors, parts == 2, complex_output), element_of(x))
    product = matmul(n, n.reshape(x, [batch, length * parts]), matrix)
    return n.reshape(product, [batch, factors.shape[1], 2 if complex_output else 1])


def _multiplied(n: NodeContext, x: SSAValue, factors: Complex) -> SSAValue:
    """Pairs, or plain numbers, times complex ``factors`` that broadcast with them: pairs."""
    real = n.constant(np.stack([factors.real, factors.real], -1), element_of(x))
    turned = n.constant(np.stack([-factors.imag, factors.imag], -1), element_of(x))
    shape = n.shape(x)
    if shape[-1] == 1:
        return n.build(graph_op("mul"), x, n.constant(np.stack([factors.real, factors.imag], -1), element_of(x)))
    starts, steps = [0] * (len(shape) - 1), [1] * (len(shape) - 1)
    swapped = n.build(Slice, x, starts=[*starts, 1], steps=[*steps, -1], result=tensor(list(shape), element_of(x)))
    return n.build(graph_op("add"), n.build(graph_op("mul"), x, real), n.build(graph_op("mul"), swapped, turned))


def _is_product(batch: int, size: int) -> bool:
    """Whether transforms are one product with a matrix of ``size`` elements."""
    return size <= (8 * MAX_MATRIX if surely(batch, ">=", MANY) else MAX_MATRIX)


def _of_any_length(n: NodeContext, x: SSAValue, bins: int, sign: int) -> SSAValue:
    """The transform, not divided, of [batch, length, 1 or 2] where each run says the length: [batch, bins, 2].
    A product with a matrix that is computed in f64 when the model runs."""
    batch, length, parts = n.shape(x)
    count = Value(n, n.sizes([length]))
    turns = counting(n, length).reshape([length, 1]) * counting(n, bins).reshape([1, bins]) % count
    angle = turns.cast(F64) * (sign * 2 * math.pi) / count.cast(F64)
    cosines, sines = angle.op("cos").cast(element_of(x)).ssa, angle.op("sin").cast(element_of(x)).ssa
    columns = [n.reshape(slice_of(n, x, {2: at}, {2: 1}, {}), [batch, length]) for at in range(parts)]
    real, imaginary = Value(n, matmul(n, columns[0], cosines)), Value(n, matmul(n, columns[0], sines))
    if parts == 2:
        real = real - Value(n, matmul(n, columns[1], sines))
        imaginary = imaginary + Value(n, matmul(n, columns[1], cosines))
    return n.build(Concat, *(part.reshape([batch, bins, 1]).ssa for part in (real, imaginary)), axis=2)


def transform(n: NodeContext, x: SSAValue, sign: int) -> SSAValue:
    """The transform, not divided, of [batch, length, 1 or 2] along its length: [batch, length, 2]."""
    batch, length, parts = n.shape(x)
    if not is_static([length]):
        return _of_any_length(n, x, length, sign)
    place = np.arange(length)
    if _is_product(batch, length * parts * length * 2):
        return _product(n, x, roots(np.outer(place, place), length, sign))
    inner = max(factor for factor in range(1, math.isqrt(length) + 1) if length % factor == 0)
    if inner == 1:
        return _by_convolution(n, x, sign)
    # x[outer n1 + n2] -> X[k1 + inner k2]: along n1, times the roots of n2 k1, along n2.
    outer = length // inner
    rows = n.transpose(n.reshape(x, [batch, inner, outer, parts]), (0, 2, 1, 3))
    rows = transform(n, n.reshape(rows, [batch * outer, inner, parts]), sign)
    rows = n.reshape(rows, [batch, outer, inner, 2])
    rows = _multiplied(n, rows, roots(np.outer(np.arange(outer), np.arange(inner)), length, sign))
    columns = n.reshape(n.transpose(rows, (0, 2, 1, 3)), [batch * inner, outer, 2])
    columns = n.reshape(transform(n, columns, sign), [batch, inner, outer, 2])
    return n.reshape(n.transpose(columns, (0, 2, 1, 3)), [batch, length, 2])


def _by_convolution(n: NodeContext, x: SSAValue, sign: int) -> SSAValue:
    """A transform of any length through three of a power of two: k n = (k^2 + n^2 - (k - n)^2) / 2."""
    length = n.shape(x)[1]
    size = 1 << (2 * length - 1).bit_length()
    place = np.arange(length)
    chirp = roots(place * place, 2 * length, sign)
    kernel = np.zeros(size, np.complex128)
    kernel[:length] = chirp.conj()
    kernel[size - length + 1 :] = chirp[:0:-1].conj()
    spectrum = np.fft.fft(kernel) / size
    spread = transform(n, _sized(n, _multiplied(n, x, chirp), size), -1)
    folded = transform(n, _multiplied(n, spread, spectrum), 1)
    return _multiplied(n, _sized(n, folded, length), chirp)


def _sized(n: NodeContext, x: SSAValue, length: int) -> SSAValue:
    """[batch, any, parts] cut off, or continued with zeros, to ``length``."""
    have = n.shape(x)[1]
    if have >= length:
        return slice_of(n, x, {}, {1: length}, {})
    return n.build(Pad, x, n.number(0, x), low=(0, 0, 0), high=(0, length - have, 0), mode="constant")


def spectrum_of(n: NodeContext, x: SSAValue, length: int, onesided: bool) -> SSAValue:
    """The forward transform of [batch, length, 1 or 2]: [batch, bins, 2]."""
    bins = length // 2 + 1 if onesided else length
    if not is_static([length]):
        return _of_any_length(n, x, bins, -1)
    if _is_product(n.shape(x)[0], length * n.shape(x)[2] * bins * 2):
        return _product(n, x, roots(np.outer(np.arange(length), np.arange(bins)), length, -1))
    return slice_of(n, transform(n, x, -1), {}, {1: bins}, {})


def _signal_of(n: NodeContext, x: SSAValue, length: int) -> SSAValue:
    """The real signal of which [batch, length // 2 + 1, 1 or 2] is the onesided spectrum: [batch, length, 1]."""
    bins = length // 2 + 1
    if _is_product(n.shape(x)[0], bins * n.shape(x)[2] * length):
        factors = roots(np.outer(np.arange(bins), np.arange(length)), length, 1) / length
        factors[1 : (length + 1) // 2] *= 2
        return _product(n, x, factors, complex_output=False)
    if n.shape(x)[2] == 1:
        x = n.build(Concat, x, n.build(graph_op("mul"), x, n.number(0, x)), axis=2)
    mirrored = n.constant(np.array([1.0, -1.0]), element_of(x))
    rest = n.build(
        Slice,
        x,
        starts=[0, length - bins, 0],
        steps=[1, -1, 1],
        result=tensor([n.shape(x)[0], length - bins, 2], element_of(x)),
    )
    whole = n.build(Concat, x, n.build(graph_op("mul"), rest, mirrored), axis=1)
    # The imaginary parts of the first and of an even length's middle bin are of no account.
    real = slice_of(n, transform(n, whole, 1), {}, {2: 1}, {})
    return n.build(graph_op("mul"), real, n.number(1.0 / length, real))


def _along(n: NodeContext, x: SSAValue, axis: int, length: int, inverse: bool, onesided: bool) -> SSAValue:
    """DFT of ``x`` along ``axis``."""
    rank = n.rank(x)
    order = [*(a for a in range(rank - 1) if a != axis), axis, rank - 1]
    short = not is_static([length]) or 4 * length * length <= SHORT_MATRIX
    moved = n.transpose(n.cast(x, F64) if short else widened(n, x), order)
    *batch, extent, parts = n.shape(moved)
    rows = n.reshape(moved, [math.prod(batch), extent, parts])
    if inverse and onesided:
        result = _signal_of(n, _sized(n, rows, length // 2 + 1), length)
    elif inverse:
        result = transform(n, _sized(n, rows, length), 1)
        result = n.build(graph_op("mul"), result, n.share(length, result))
    else:
        result = spectrum_of(n, _sized(n, rows, length), length, onesided)
    result = n.reshape(result, [*batch, *n.shape(result)[1:]])
    return n.cast(n.transpose(result, [order.index(a) for a in range(rank)]), element_of(x))


@converter("DFT")
def dft(n: NodeContext) -> SSAValue:
    """All forms, of lengths up to 2^20; for an axis or length fed at run time, each that gives the declared shape costs
    a transform."""
    x = n.ranked(0, 2, 32)
    rank = n.rank(x)
    parts = n.shape(x)[-1]
    sentence = f"its input ends in 1 or 2 parts of a number, not {parts}"
    if parts not in (1, 2):
        n.require_equal(parts, 2, sentence)
    if n.opset >= 20 and n.fed(2):
        given = n.value(2)
        given = Values.where(given < 0, given + rank, given)
        return fed.chosen(n, given, range(rank - 1), "its axis", lambda axis: _transformed(n, x, axis))
    named = n.int("axis", 1) if n.opset < 20 else n.static_int(2, "the axis") if n.has(2) else -2
    axis = n.normal_axis(named, rank)
    n.require(axis < rank - 1, "its axis is that of the parts of a number")
    return _transformed(n, x, axis)


def _transformed(n: NodeContext, x: SSAValue, axis: int) -> SSAValue:
    """DFT of ``x`` along ``axis``, by the length that is given, fed or follows from it."""
    inverse, onesided = n.flag("inverse"), n.flag("onesided")

    def of_length(length: int) -> SSAValue:
        sentence = f"a transform has 1 to {MAX_LENGTH:,} elements, not {length}"
        n.require_at_most(1, length, sentence)
        n.require_at_most(length, MAX_LENGTH, sentence)
        return _along(n, x, axis, length, inverse, onesided)

    if n.fed(1):
        declared = n.promised("its length", rank=n.rank(x))[axis]
        return fed.chosen(n, n.value(1), _lengths(declared, onesided and not inverse), "its length", of_length)
    if n.has(1):
        return of_length(n.static_int(1, "the length"))
    extent = n.shape(x)[axis]
    return of_length(2 * (extent - 1) if inverse and onesided else extent)


def _lengths(bins: int, onesided: bool) -> list[int]:
    """The lengths of transforms that have so many bins."""
    return [2 * bins - 2, 2 * bins - 1] if onesided else [bins]


@converter("STFT")
def stft(n: NodeContext) -> SSAValue:
    """All forms; a step fed at run time must give the declared number of frames, a length of frames fed at run time
    that of the window, or the declared number of bins."""
    x = n.ranked(0, 3)
    samples, parts = n.shape(x)[1:]
    n.require(parts in (1, 2), f"its signal ends in 1 or 2 parts of a number, not {parts}")
    window = n.ranked(2, 1) if n.has(2) else None
    length = n.shape(window)[0] if window is not None else samples
    if n.fed(3):
        candidates = [length]
        if window is None:
            _, frames, bins, _ = n.promised("its length", rank=4)
            candidates = _lengths(bins, n.flag("onesided", True))
            if n.fed(1):
                candidates = [one for one in candidates if _steps(samples - one, frames)]
        if n.fed(1) and len(candidates) > 1:
            raise n.unsupported("its step and its length are fed at run time", "Make one a constant of the model.")
        return fed.chosen(n, n.value(3), candidates, "the length of its frames", lambda one: _frames(n, x, window, one))
    return _frames(n, x, window, n.static_int(3, "the length of frames") if n.has(3) else length)


def _steps(distance: int, frames: int) -> bool:
    """Whether there is a step by which ``frames`` starts, and no more, fit into ``distance``."""
    return frames > 0 <= distance and (frames == 1 or distance // (distance // frames + 1) + 1 >= frames)


def _frames(n: NodeContext, x: SSAValue, window: SSAValue | None, length: int) -> SSAValue:
    """STFT of the signal ``x`` in frames of ``length``."""
    batch, samples, parts = n.shape(x)
    given = n.shape(window)[0] if window is not None else length
    n.require_equal(given, length, f"a window of {given} numbers is given for frames of {length}")
    sentence = f"a signal of {samples} samples has no frame of {length}"
    n.require(length > 0, sentence)
    n.require_at_most(length, MAX_LENGTH, sentence)
    n.require_at_most(length, samples, sentence)
    if n.fed(1):
        frames = n.promised("its step", rank=4)[1]
        step = n.value(1).reshape([])
        holds = Values.equal((step * 0 + (samples - length)) / Values.maximum(step, 1) + 1, frames) & (step > 0)
        x = n.checked(x, holds, "its step")
    else:
        known = n.static_int(1, "the step")
        n.require(known > 0, f"its step is {known}")
        frames, step = (samples - length) // known + 1, Value(n, n.constant(known, I64))
    places = (counting(n, frames) * step).reshape([frames, 1]) + counting(n, length).reshape([1, length])
    cut = n.build(Gather, widened(n, x), places.ssa, axis=1)
    if window is not None:
        cut = n.build(graph_op("mul"), cut, n.reshape(n.cast(window, element_of(cut)), [length, 1]))
    result = spectrum_of(n, n.reshape(cut, [batch * frames, length, parts]), length, n.flag("onesided", True))
    return n.cast(n.reshape(result, [batch, frames, n.shape(result)[1], 2]), element_of(x))


# Tables --------------------------------------------------------------------------------------------------------------

COSINES: dict[str, Sequence[float]] = {
    "HannWindow": (0.5, -0.5),
    "HammingWindow": (25 / 46, -21 / 46),
    "BlackmanWindow": (0.42, -0.5, 0.08),
}
"""Weights of 1, cos(t), cos(2 t) with t = 2 pi n / N, as ONNX's function bodies give them."""


@converter(*COSINES)
def window(n: NodeContext) -> SSAValue:
    """Periodic and symmetric; a size fed at run time must be the declared one."""
    if n.fed(0):
        (size,) = n.promised("the size of the window", rank=1)
    else:
        size = n.static_int(0, "the size of the window")
    n.require(0 <= size <= MAX_LENGTH, f"a window has 0 to {MAX_LENGTH:,} numbers, not {size:,}")
    period = size if n.flag("periodic", True) else size - 1
    angle = 2 * np.pi * np.arange(size) / max(period, 1)
    table: Any = sum(weight * np.cos(k * angle) for k, weight in enumerate(COSINES[n.node.op]))
    result = n.constant(table if period > 0 else np.ones(size), n.element_attribute("output_datatype", 1))
    return fed.extent(n, 0, "size of the window", result, size) if n.fed(0) else result


@converter("MelWeightMatrix")
def mel_weight_matrix(n: NodeContext) -> SSAValue:
    """Numbers of bands and bins fed at run time must be the declared ones; triangles beyond the last bin are cut."""
    for index, name in enumerate(("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")):
        n.require(math.prod(n.shape(n.input(index))) == 1, f"{name} is one number")
    bands, length, rate = (n.value(index).reshape([]) for index in range(3))
    if n.fed(0) or n.fed(1):
        rows, columns = n.promised("the number of bands and bins", rank=2)
    else:
        rows, columns = n.static_int(1, "dft_length") // 2 + 1, n.static_int(0, "num_mel_bins")
    n.require(0 < rows <= MAX_LENGTH and 0 < columns <= MAX_LENGTH, f"there is no matrix of {rows} by {columns}")
    edges = [_mel(n.value(index, F64).reshape([])) for index in (3, 4)]
    step = (edges[1] - edges[0]) / (columns + 2)
    hertz = (Values.exp((counting(n, columns + 2, F64) * step + edges[0]) * (math.log(10) / 2595)) - 1.0) * 700.0
    bins = Values.floor(hertz * (length + 1).cast(F64) / rate.cast(F64))
    left, centre, right = (Value(n, slice_of(n, bins.ssa, {0: i}, {0: columns}, {})) for i in range(3))
    place = counting(n, rows, F64).reshape([rows, 1])
    rise, fall = centre - left, right - centre
    rising = Values.where(Values.equal(rise, 0), rise * 0 + 1, (place - left) / rise)
    rising = Values.where((place >= left) & (place <= centre), rising, 0.0)
    falling = (place >= centre) & (place < right)
    weights = Values.where(falling, (place * -1 + right) / fall, rising)
    result = n.cast(weights.ssa, n.element_attribute("output_datatype", 1))
    if not (n.fed(0) or n.fed(1)):
        return result
    holds = Values.equal(bands, columns) & Values.equal(length / 2 + 1, rows)
    return n.checked(result, holds, "the number of bands and bins")


def _mel(hertz: Value) -> Value:
    """2595 log10(1 + f / 700)."""
    return Values.log(hertz / 700.0 + 1.0) * (2595 / math.log(10))
