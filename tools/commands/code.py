"""``penstock code``: the machine code of kernels as text, LLVM IR or assembly.

In: IR text with tile kernels (a dump of the phase lower or later, or a file with a few kernels). Out: text. The one
idea: the last step down is as readable as the others; ``penstock opt model.onnx --to lower | penstock code -`` goes
all the way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from penstock.compiler.dialects.tile.memory import Kernel

EXAMPLES = """\b
Examples:
  penstock code dump/07-lower.mlir --list                     kernels and their sizes
  penstock code dump/07-lower.mlir -k conv1 --isa x86-64-v3   one kernel's assembly
  penstock opt model.onnx --to lower | penstock code - --form llvm
"""


@click.command(name="code", epilog=EXAMPLES)
@click.argument("source", metavar="FILE")
@click.option("-k", "--kernel", "names", multiple=True, metavar="NAME", help="Only this kernel; may be repeated.")
@click.option("--target", default="cpu", show_default=True, metavar="NAME", help="Device to emit for.")
@click.option("--isa", "level", metavar="LEVEL", help="Instruction set level (default: the most capable there is).")
@click.option("--form", default="asm", show_default=True, metavar="FORM", help="'llvm' for LLVM IR, or 'asm'.")
@click.option("--list", "listing", is_flag=True, help="Only list kernels with bytes of code and of scratch memory.")
def command(source: str, names: tuple[str, ...], target: str, level: str | None, form: str, listing: bool) -> int:
    """Print LLVM IR or assembly of the tile kernels in FILE ('-': standard input)."""
    from penstock.compiler.backends import backend
    from penstock.compiler.errors import BAD_VALUE, UNKNOWN_ISA, OptionError, TargetError, nearest
    from penstock.compiler.precision import FULL

    device = backend(target)
    if form not in device.text_forms:
        raise OptionError(BAD_VALUE, f"{target} has no code as {form!r}.", f"Forms: {', '.join(device.text_forms)}.")
    if level is not None and level not in device.levels:
        raise TargetError(
            UNKNOWN_ISA,
            f"{target} has no instruction set level {level!r}{nearest(level, device.levels)}",
            f"Levels: {', '.join(device.levels)}.",
        )
    found = _kernels(source, level or device.levels_for(FULL)[0])
    unknown = [name for name in names if name not in {kernel.sym_name for kernel, _ in found}]
    if unknown or not found:
        known = [kernel.sym_name for kernel, _ in found]
        what = f"no kernel {unknown[0]!r}{nearest(unknown[0], known)}" if unknown else "no tile kernel"
        raise OptionError(BAD_VALUE, f"{source} has {what}", "Give a dump of the phase lower or later.")
    for kernel, its_level in found:
        if names and kernel.sym_name not in names:
            continue
        if listing and kernel.object:
            click.echo(f"{kernel.sym_name:<40} {its_level:<12} {kernel.entry} of a custom operator's object code")
        elif listing:
            code = device.compile([kernel], its_level)
            size, scratch = code.kernel_bytes[kernel.sym_name], code.scratch_bytes
            click.echo(f"{kernel.sym_name:<40} {its_level:<12} {size:>8} bytes of code {scratch!s:>8} of scratch")
        else:
            click.echo(device.text(kernel, its_level, form), nl=False)
    return 0


def _kernels(source: str, level: str) -> list[tuple[Kernel, str]]:
    """The kernels of the module for ``level``, or those that stand outside of such modules."""
    from xdsl.dialects.builtin import ModuleOp

    from penstock.compiler.context import CompilerContext
    from penstock.compiler.dialects.tile.memory import Kernel
    from penstock.compiler.dumps import read_ir
    from penstock.compiler.errors import INVALID_IR, IRError
    from penstock.compiler.irtext import read_text
    from penstock.compiler.verification import Violation, verify

    text = sys.stdin.read() if source == "-" else read_text(source)
    path = Path("stdin.mlir") if source == "-" else Path(source)
    module = read_ir(text, path, CompilerContext(), complete=False)
    try:
        verify(module)
    except Violation as violation:
        raise IRError(INVALID_IR, f"{source}: {violation}.") from violation
    found: list[tuple[Kernel, str]] = []
    for op in module.body.block.ops:
        if isinstance(op, Kernel):
            found.append((op, level))
        elif isinstance(op, ModuleOp) and op.sym_name is not None and op.sym_name.data == level:
            found += [(kernel, level) for kernel in op.body.block.ops if isinstance(kernel, Kernel)]
    return found
