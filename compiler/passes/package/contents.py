"""Compile the kernels and gather everything that goes into the artifact.

In: the module after the plan and emit phases. Out: ``artifact.writer.Contents``: plans and linked images per
instruction set level, weights, manifest. The one idea: equal modules give equal bytes; nothing of the machine or the
time goes in.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from penstock.compiler.artifact.elf import LinkedImage
from penstock.compiler.artifact.plan import Plan, TensorInfo
from penstock.compiler.artifact.plan_format import shown
from penstock.compiler.artifact.writer import Contents
from penstock.compiler.backends import backend
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.plan.program import Program, Weight
from penstock.compiler.extents import Dim, Extent, largest
from penstock.compiler.passes.emit.compile_kernels import object_code
from penstock.compiler.passes.package.binary_plan import plan_for
from penstock.compiler.passes.plan.form_commands import kernels_by_level


def build_contents(module: ModuleOp, ctx: CompilerContext, manifest: dict[str, Any]) -> Contents:
    """Everything of the artifact; ``manifest`` is completed with what the plan knows."""
    program = next(op for op in module.body.block.ops if isinstance(op, Program))
    target = backend(ctx.target.partition(":")[0])
    images: dict[str, LinkedImage] = {}
    plans: dict[str, Plan] = {}
    for level, kernels in kernels_by_level(module).items():
        code = target.compile(list(kernels.values()), level, object_code(kernels.values(), ctx.weights))
        images[level] = code.image
        plans[level] = plan_for(program, level, list(kernels), code.scratch_bytes)
    weights = [ctx.weights[op.key] for op in program.body.ops if isinstance(op, Weight)]
    plan = next(iter(plans.values()))
    full = {
        **manifest,
        **({"symbols": [asdict(symbol) for symbol in plan.symbols]} if plan.symbols else {}),
        **({"counted": [symbol.name for symbol in plan.counted_symbols()]} if plan.counted else {}),
        "inputs": [_described(info) for info in plan.inputs],
        "outputs": [_described(info) for info in plan.outputs],
        "targets": list(plans),
        **({} if target.computes else {"computes": False}),
        "kernels": list(plan.kernels),
        "commands": len(plan.commands),
        "memory": {
            "weights": plan.weights_bytes,
            "arena": _number(plan.arena_bytes),
            "scratch_per_thread": {level: _number(p.scratch_bytes_per_thread) for level, p in plans.items()},
        },
    }
    return Contents(plans, images, weights, full, {})


def memory_of(contents: Contents) -> dict[str, int | str]:
    """Bytes of ``weights``, of the ``arena`` and of ``scratch_per_thread``, that of the level which needs most."""
    plans = list(contents.plans.values())
    scratch = _number(largest(*(plan.scratch_bytes_per_thread for plan in plans)))
    arena = _number(plans[0].arena_bytes)
    return {"weights": plans[0].weights_bytes, "arena": arena, "scratch_per_thread": scratch}


def _described(info: TensorInfo) -> dict[str, Any]:
    return {"name": info.name, "dtype": info.dtype, "shape": [_number(extent) for extent in info.shape]}


def _number(extent: Extent) -> int | str:
    """A number, or the text of an extent that is known when the model runs."""
    return shown(extent) if isinstance(extent, Dim) else extent
