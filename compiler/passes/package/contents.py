"""Compile the kernels and gather everything that goes into the artifact.

In: the module after lowering. Out: ``artifact.writer.Contents``: plans and linked images per instruction set, weights,
manifest. The one idea: equal modules give equal bytes; nothing of the machine or the time goes in.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from penstock.compiler.artifact.elf import LinkedImage, link
from penstock.compiler.artifact.writer import Contents
from penstock.compiler.backends.cpu.compile import compile_kernel
from penstock.compiler.context import CompilerContext
from penstock.compiler.passes.plan.program import build_program, kernels_by_isa


def build_contents(module: ModuleOp, ctx: CompilerContext, manifest: dict[str, Any]) -> Contents:
    """Everything of the artifact; ``manifest`` is completed with what the plan knows."""
    images: dict[str, LinkedImage] = {}
    scratch: dict[str, int] = {}
    for isa, kernels in kernels_by_isa(module).items():
        objects = [compile_kernel(kernel, isa) for kernel in kernels.values()]
        images[isa] = link([item.object for item in objects])
        scratch[isa] = max((item.scratch_bytes for item in objects), default=0)
    program = build_program(module, ctx, scratch)
    plan = next(iter(program.plans.values()))
    full = {
        **manifest,
        "inputs": [asdict(info) for info in plan.inputs],
        "outputs": [asdict(info) for info in plan.outputs],
        "targets": list(program.plans),
        "kernels": list(plan.kernels),
        "commands": len(plan.commands),
        "memory": {
            "weights": plan.weights_bytes,
            "arena": plan.arena_bytes,
            "scratch_per_thread": {isa: p.scratch_bytes_per_thread for isa, p in program.plans.items()},
        },
    }
    return Contents(program.plans, images, program.weights, full, {})
