"""Build a dispatch from graph ops, run its kernel, compare with the ops' reference semantics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from penstock.compiler.backends.cpu.jit import LoadedKernel, load_kernel
from penstock.compiler.backends.cpu.target import LEVELS, cpu_target, host_isa
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.structure import Constant, Dispatch, Yield
from penstock.compiler.dialects.tile.interpreter import interpret
from penstock.compiler.dtypes import F32, numpy_dtype, shape_of, tensor
from penstock.compiler.locations import name_location
from penstock.compiler.passes.lower.kernel import lower_dispatch
from penstock.compiler.weights import WeightStore

LOCATION = name_location("node")
RUNNABLE = list(LEVELS)[list(LEVELS).index(host_isa()) :]
ISAS = [isa for isa in RUNNABLE if not LEVELS[isa].pairs]
"""Levels this machine runs: all, and those without AVX512_BF16, on which f32 kernels are no others."""


def make(
    kind: str, shapes: Sequence[Any], build: Callable[..., Sequence[SSAValue]], element: Attribute = F32
) -> Dispatch:
    """A dispatch of ``kind`` over arguments of these shapes (or types) whose results ``build`` gives."""
    types = [tensor(s, element) if isinstance(s, tuple) else s for s in shapes]
    body = Block(arg_types=types)
    results = list(build(*body.args))
    ordered: list[Operation] = []

    def visit(value: SSAValue) -> None:
        owner = value.owner
        if isinstance(owner, Operation) and owner not in ordered:
            for operand in owner.operands:
                visit(operand)
            ordered.append(owner)

    for value in results:
        visit(value)
    for op in ordered:
        op.location = LOCATION
        body.add_op(op)
    body.add_op(Yield.create(operands=results, location=LOCATION))
    attributes: dict[str, Attribute] = {"kind": StringAttr(kind), "symbol": StringAttr("kernel")}
    return Dispatch.create(attributes=attributes, regions=[Region(body)], location=LOCATION)


def reference(dispatch: Dispatch, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """What the dispatch's ops say its results are."""
    known: dict[SSAValue, Any] = dict(zip(dispatch.body.args, arrays, strict=True))
    for op in dispatch.body.ops:
        if isinstance(op, Yield):
            break
        if isinstance(op, Constant):
            known[op.out] = op.array(WeightStore())
            continue
        values = op.evaluate(*(known[operand] for operand in op.operands))  # type: ignore[attr-defined]
        known.update(zip(op.results, values if isinstance(values, tuple) else (values,), strict=True))
    return [known[value] for value in dispatch.terminator.operands]


@lru_cache(maxsize=4)
def loaded(dispatch: Dispatch, isa: str) -> LoadedKernel:
    """The dispatch's kernel, verified, compiled and loaded once."""
    kernel = lower_dispatch(dispatch, cpu_target(isa))
    kernel.verify()
    return load_kernel(kernel, isa)


def native(dispatch: Dispatch, arrays: Sequence[NDArray[Any]], isa: str, pieces: int = 1) -> list[NDArray[Any]]:
    """What the dispatch's kernel computes on ``isa``, its units run in ``pieces`` ranges."""
    kernel = loaded(dispatch, isa)
    shapes = [(shape_of(v.type), numpy_dtype(element_of(v))) for v in dispatch.terminator.operands]
    results = [np.full(shape, 77, dtype) for shape, dtype in shapes]
    flat = [np.ascontiguousarray(a).reshape(-1) for a in arrays] + [r.reshape(-1) for r in results]
    flat = [a.view(np.int8).view(a.dtype) if a.dtype.kind != "u" else a.view(f"i{a.itemsize}") for a in flat]
    edges = np.linspace(0, kernel.kernel.units, pieces + 1).astype(int)
    for begin, end in pairwise(edges):
        kernel(flat, int(begin), int(end))
    return results


def strict(dispatch: Dispatch, arrays: Sequence[NDArray[Any]], tolerance: float = 0.0) -> None:
    """The tile interpreter finds no access outside a buffer and no two units at one element, and the same results."""
    kernel = lower_dispatch(dispatch, cpu_target("x86-64-v3"))
    wanted = reference(dispatch, arrays)
    results = [np.full(want.shape, 77, want.dtype) for want in wanted]
    interpret(kernel, [np.ascontiguousarray(array).reshape(-1) for array in (*arrays, *results)])
    for result, want in zip(results, wanted, strict=True):
        np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance)


def check(
    dispatch: Dispatch,
    arrays: Sequence[NDArray[Any]] | None = None,
    tolerance: float = 2e-5,
    isas: Sequence[str] = tuple(ISAS),
) -> None:
    """The kernel agrees with the reference on every instruction set, for any cut of its units, bit for bit."""
    rng = np.random.default_rng(7)
    if arrays is None:
        kinds = [(shape_of(a.type), numpy_dtype(element_of(a))) for a in dispatch.body.args]
        arrays = [rng.standard_normal(shape).astype(dtype) for shape, dtype in kinds]
    wanted = reference(dispatch, arrays)
    for isa in isas:
        results = native(dispatch, arrays, isa)
        for result, want in zip(results, wanted, strict=True):
            scale = np.nanmax(np.abs(want[np.isfinite(want)])) if np.isfinite(want).any() else 1.0
            np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance * float(scale))
        for whole, cut in zip(results, native(dispatch, arrays, isa, pieces=3), strict=True):
            np.testing.assert_array_equal(whole, cut)
