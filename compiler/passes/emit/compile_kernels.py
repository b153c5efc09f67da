"""Compile the kernels of every instruction set level to machine code.

Before: a module per level with its tile kernels. After: the same, and on every kernel ``code_bytes`` and
``scratch_bytes`` (what a thread must provide while it runs). The code itself is not IR: the context holds it, so
packaging finds it done, and so does this pass for kernels from the cache. `penstock opt` shows it as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.passes import ModulePass

from penstock.compiler.backends import backend
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.declared import encode_extent
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.weights import WeightStore


@dataclass(frozen=True)
class CompileKernels(ModulePass):
    """Emission by the target's back end."""

    name: ClassVar[str] = "compile-kernels"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        context = cast(CompilerContext, ctx)
        target = backend(context.target.split(":")[0])
        for level, kernels in level_modules(op).items():
            made = context.kernel_code.setdefault(level, {})
            known = {kernel.sym_name: made[kernel.sym_name] for kernel in kernels if kernel.cached}
            code = target.compile(kernels, level, object_code(kernels, context.weights), known)
            for kernel in kernels:
                name = kernel.sym_name
                kernel.attributes["code_bytes"] = IntegerAttr(code.kernel_bytes[name], i64)
                kernel.attributes["scratch_bytes"] = encode_extent(code.kernel_scratch[name])
                context.statistics[f"{level} kernels"] += 1
                context.statistics[f"{level} code bytes"] += code.kernel_bytes[name]
                if context.kernel_cache is not None and name in code.made and not kernel.cached:
                    context.kernel_cache.keep(kernel, level, code.made[name])
            made.update(code.made)


def object_code(kernels: Iterable[Kernel], weights: WeightStore) -> dict[str, bytes]:
    """The object code of kernels that come with their own, by key."""
    return {kernel.object: weights[kernel.object].tobytes() for kernel in kernels if kernel.object}


def level_modules(module: ModuleOp) -> dict[str, list[Kernel]]:
    """The kernels of each instruction set level: the nested modules, by name."""
    return {
        inner.sym_name.data: [kernel for kernel in inner.body.block.ops if isinstance(kernel, Kernel)]
        for inner in module.body.block.ops
        if isinstance(inner, ModuleOp) and inner.sym_name is not None
    }
