"""Reproducers: a folder from which an internal failure can be run again.

In: a failure, and a way to make the module once more. Out: a folder with the IR before the failing pass, its weights,
the rest of the pipeline, the traceback and the command that runs it. The one idea: compilation is deterministic, so
nothing is kept while all goes well; after a failure the run is repeated up to the pass that failed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.compiler.dumps import DumpState, write_dump
from penstock.compiler.errors import InternalError
from penstock.compiler.irtext import to_text
from penstock.compiler.pipeline import Group, spell
from penstock.compiler.runner import Runner

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from penstock.compiler.context import CompilerContext

INPUT = "input.mlir"
PACKAGES = ("penstock", "xdsl", "llvmlite", "onnx", "numpy")


def write_reproducer(
    parent: Path,
    error: InternalError,
    make: Callable[[], tuple[ModuleOp, CompilerContext]],
    groups: Sequence[Group],
    completed: int,
) -> Path | None:
    """Write the folder ``penstock-failure-...`` in ``parent``, set ``error.reproducer``, and return the folder.

    ``make`` gives module and context as they were before ``groups``; ``completed`` passes of them had run when it
    failed. Returns None when that is not possible (the disk is full, the failure does not happen again): the error
    itself matters more.
    """
    done, remaining = split_groups(groups, completed)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".penstock-failure-", dir=parent))
    except OSError:
        return None
    try:
        module, ctx = make()
        Runner(ctx, locations=False).run(module, [Group(group.passes) for group in done])
        target = parent / f"penstock-failure-{_digest(module, error)}"
        _fill(work, module, ctx, remaining, error)
        if target.exists():
            shutil.rmtree(target)
        os.replace(work, target)
        os.chmod(target, 0o755)
    except Exception:
        shutil.rmtree(work, ignore_errors=True)
        return None
    error.reproducer = target
    return target


def split_groups(groups: Sequence[Group], completed: int) -> tuple[list[Group], list[Group]]:
    """``groups`` cut in two: the first ``completed`` passes, and the rest."""
    done: list[Group] = []
    remaining: list[Group] = []
    for group in groups:
        count = min(completed, len(group.passes))
        completed -= count
        done.append(Group(group.passes[:count]))
        remaining.append(Group(group.passes[count:], group.phase))
    return done, remaining


def _fill(
    folder: Path, module: ModuleOp, ctx: CompilerContext, remaining: Sequence[Group], error: InternalError
) -> None:
    pipeline = spell(remaining)
    command = f"penstock opt {INPUT} -p '{pipeline}'"
    trace = "".join(traceback.format_exception(error))
    lines = [error.message, "", "Run it again, in this folder:", "", f"    {command}", "", "Made with:", ""]
    lines += [f"    {name} {_version(name)}" for name in PACKAGES]
    lines += [f"    Python {platform.python_version()} on {platform.platform()}", "", "Traceback:", ""]
    lines += [f"    {line}" for line in trace.splitlines()]
    state = DumpState(None, 0, ctx.target, dict(ctx.options))
    done = [error.message, "", f"Still to run: {pipeline}"]
    write_dump(folder / INPUT, "before a pass that failed", done, to_text(module), module, ctx, state)
    (folder / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _digest(module: ModuleOp, error: InternalError) -> str:
    return hashlib.blake2b((to_text(module) + error.message).encode(), digest_size=4).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
