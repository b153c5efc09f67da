"""What the interpreter refuses, and that dialect, interpreter and emitter agree on which ops there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from penstock.compiler.backends.llvm.emitter import handlers
from penstock.compiler.dialects import tile
from penstock.compiler.dialects.tile import interpreter
from penstock.compiler.dialects.tile.builder import KernelBuilder, buffer
from penstock.compiler.dialects.tile.interpreter import AccessError, TileInterpreter, interpret
from penstock.compiler.dtypes import F32

STRUCTURE = {"tile.kernel", "tile.return"}


def test_every_op_can_be_emitted_and_interpreted() -> None:
    names = {op.name for op in tile.operations()} - STRUCTURE
    assert names <= set(handlers()), names - set(handlers())
    known = {f"tile.{name}" for name in interpreter._OPERATIONS}  # pyright: ignore[reportPrivateUsage]
    known |= {f"tile{name.replace('_', '.', 1)}" for name in vars(TileInterpreter) if name.startswith("_")}
    assert names <= known, names - known
    assert set(handlers()) - {"scf.for", "scf.if", "scf.while"} == names


def shifted(offset: int, size: int, units: int = 1, step: int = 16) -> Any:
    b = KernelBuilder("shifted", [buffer(size, F32), buffer(64, F32)])
    with b.units(units) as unit:
        b.store(b.load(b.buffers[0], offset, (16,), (1,)), b.buffers[1], b.imul(unit, step), (1,))
    return b.finish()


@pytest.mark.parametrize(("offset", "size"), [(-1, 64), (0, 15), (50, 64)])
def test_reads_outside_a_buffer(offset: int, size: int) -> None:
    with pytest.raises(AccessError, match=r"tile\.load"):
        interpret(shifted(offset, size), [np.zeros(size, np.float32), np.zeros(64, np.float32)])


def test_units_that_write_the_same_element() -> None:
    arrays = [np.zeros(64, np.float32), np.zeros(64, np.float32)]
    interpret(shifted(0, 64, 4), arrays)
    with pytest.raises(AccessError, match="another unit"):
        interpret(shifted(0, 64, 4, step=15), arrays)


def test_units_that_read_what_another_writes() -> None:
    b = KernelBuilder("chain", [buffer(64, F32)])
    with b.units(2) as unit:
        b.store(b.load(b.buffers[0], 0, (16,), (1,)), b.buffers[0], b.imul(unit, 16), (1,))
    with pytest.raises(AccessError, match="another unit"):
        interpret(b.finish(), [np.zeros(64, np.float32)])


def test_writing_an_input() -> None:
    b = KernelBuilder("input", [buffer(64, F32), buffer(64, F32)])
    with b.units(1):
        b.store(b.splat(1.0, (4,), F32), b.buffers[0], 0, (1,))
    with pytest.raises(AccessError, match="which is an input"):
        interpret(b.finish(), [np.zeros(64, np.float32)] * 2)


def test_scratch_starts_as_garbage() -> None:
    b = KernelBuilder("garbage", [buffer(4, F32)])
    with b.units(1):
        b.store(b.load(b.alloc(4, F32), 0, (4,), (1,)), b.buffers[0], 0, (1,))
    result = np.zeros(4, np.float32)
    interpret(b.finish(), [result])
    assert np.isnan(result).all()


def test_a_trace_sees_every_op() -> None:
    seen: list[str] = []
    TileInterpreter(trace=lambda op, results: seen.append(op.name)).run(
        shifted(0, 64), [np.zeros(64, np.float32), np.zeros(64, np.float32)]
    )
    assert "tile.load" in seen
    assert seen[-1] == "scf.for"


def test_arrays_that_do_not_fit_are_refused(isa: str) -> None:
    from penstock.compiler.backends.cpu.jit import run_kernel

    kernel = shifted(0, 64)
    good = np.zeros(64, np.float32)
    frozen = np.zeros(64, np.float32)
    frozen.flags.writeable = False
    for arrays in (
        [good],
        [good[:32], good],
        [good.astype(np.float64), good],
        [np.zeros(128, np.float32)[::2], good],
        [good, frozen],
    ):
        with pytest.raises(ValueError, match="array"):
            run_kernel(kernel, arrays, isa)
