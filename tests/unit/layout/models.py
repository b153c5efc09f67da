"""The tiny models on their way down: a module as it enters a phase, and its passes held against the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from unit.simplify.checking import Net, random_inputs
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.frontends.onnx import import_model
from penstock.compiler.interpreter import run_module
from penstock.compiler.pipeline import pass_class, phase, phases_between
from penstock.compiler.verification import verify

MODELS = Path(__file__).parents[2] / "data" / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.onnx"))


@dataclass
class Stage:
    """A module between two passes, with its weights and inputs that it can be run on."""

    module: ModuleOp
    ctx: CompilerContext
    feeds: dict[str, Any]

    def apply(self, *passes: str) -> Stage:
        """Run ``passes``, verifying after each; returns self."""
        for name in passes:
            pass_class(name)().apply(self.ctx, self.module)
            verify(self.module)
        return self

    def run(self) -> dict[str, Any]:
        """The outputs, by the interpreter."""
        return run_module(self.module, self.ctx, self.feeds)


def stage(name: str, before: str) -> Stage:
    """The tiny model ``name`` as it enters the phase ``before``."""
    ctx = CompilerContext()
    module = import_model(MODELS / f"{name}.onnx", ctx)
    with np.load(MODELS / f"{name}.npz") as stored:
        found = Stage(module, ctx, dict(stored))
    for earlier in phases_between("simplify", before)[:-1]:
        found.apply(*earlier.passes)
    return found


def close(found: Any, wanted: Any, message: str) -> None:
    """Equal but for sums taken in another order: 1e-5 of the largest value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max()), err_msg=message)


def run(net: Net, output: SSAValue, *passes: str) -> Stage:
    """``net`` after ``passes``, which keep what it computes."""
    module = net.module(output)
    found = Stage(module, net.ctx, random_inputs(module))
    wanted = found.run()
    for name, array in found.apply(*passes).run().items():
        close(array, wanted[name], name)
    return found


def check_passes(name: str, which: str, same: Callable[[Any, Any, str], None]) -> Stage:
    """Hold the outputs after every pass of the phase ``which`` against those before it, by ``same``."""
    found = stage(name, which)
    wanted = found.run()
    for step in phase(which).passes:
        outputs = found.apply(step).run()
        assert list(outputs) == list(wanted), step
        for output, array in wanted.items():
            assert outputs[output].dtype == array.dtype, step
            same(outputs[output], array, f"{output} after {step}")
    return found
