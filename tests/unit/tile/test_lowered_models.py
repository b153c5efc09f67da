"""Every kernel of the small models, on every level: machine code and interpreter agree, every access is in bounds, and
units write disjoint memory."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.compiler.backends.cpu.jit import run_kernel
from penstock.compiler.dialects.tile.base import element
from penstock.compiler.dialects.tile.interpreter import dtype_of, interpret
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.driver import CompileOptions, run_phases
from penstock.compiler.passes.emit.compile_kernels import level_modules

MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "data" / "models").glob("*.onnx"))


@functools.cache
def kernels(model: str) -> dict[str, list[Kernel]]:
    """The kernels of a model, by level."""
    path = Path(__file__).parents[2] / "data" / "models" / f"{model}.onnx"
    return level_modules(run_phases(path, CompileOptions(), last="lower").module)


def filled(value: Any, rng: np.random.Generator) -> Any:
    """Contents for a buffer: integers are small enough to be indices into anything."""
    count, dtype = value.type.get_shape()[0], dtype_of(element(value))
    if dtype.kind == "f":
        return rng.standard_normal(count).astype(dtype)
    return rng.integers(0, 2, count).astype(dtype)


@pytest.mark.parametrize("model", MODELS)
def test_kernels_do_what_their_ir_says(model: str, isa: str) -> None:
    for kernel in kernels(model)[isa]:
        rng = np.random.default_rng(0)
        expected = [filled(value, rng) for value in kernel.buffers]
        got = [array.copy() for array in expected]
        interpret(kernel, expected)
        run_kernel(kernel, got, isa)
        for mine, theirs in zip(got[-kernel.outputs :], expected[-kernel.outputs :], strict=True):
            if mine.dtype.kind != "f":
                np.testing.assert_array_equal(mine, theirs, err_msg=kernel.sym_name)
                continue
            scale = np.abs(theirs, where=np.isfinite(theirs), out=np.zeros_like(theirs)).max()
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=float(scale) * 1e-6, err_msg=kernel.sym_name)
