"""Dumps: the module after every step, as files a person can read, edit and continue from.

In: what the runner shows its observers. Out: a folder with one numbered file per phase (``06-fuse.mlir``) and one per
pass that changed something (``06-fuse.01-form-dispatches.mlir``), the weights once beside them, and what the emit and
package phases produced. The one idea: a dump is complete. Its header says what happened, in words, and, in one line of
JSON, what the rest of the pipeline needs to know, so ``penstock opt`` and ``penstock compile --from`` take any of them.
Kernels stand one to a file in ``kernels/``, named at the end of the dump and read back with it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from penstock.compiler.errors import BAD_DUMP, CANNOT_WRITE_OUTPUT, MISSING_WEIGHTS, IRError, OptionError
from penstock.compiler.irtext import parse_module, read_text, to_text
from penstock.compiler.locations import source_names
from penstock.compiler.pipeline import PHASE_NAMES, PHASES, Phase, pass_doc
from penstock.compiler.runner import Observer, Record, count_by_name

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.ir import Block, Operation
    from xdsl.passes import ModulePass

    from penstock.compiler.context import CompilerContext
    from penstock.compiler.weights import WeightStore

HEADER_MARK = "// penstock-dump: "
INCLUDE_MARK = "// penstock-include: "
KERNELS_FOLDER = "kernels"
WEIGHTS_FOLDER = "weights"
WEIGHTS_INDEX = "index.json"


@dataclass
class DumpState:
    """What a dump's header tells the rest of the pipeline.

    The last ``phase`` that ran to its end (None: none), how many ``passes`` of the next one have run too, and the
    target and options of the compilation.
    """

    phase: str | None = None
    passes: int = 0
    target: str = "cpu"
    options: dict[str, object] = field(default_factory=dict[str, object])


class DumpWriter(Observer):
    """Writes a dump after every phase, and after every pass that changed the module, into ``folder``.

    The folder is made if need be; files of an earlier run with the same names are replaced. Raises OptionError when
    it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._phase: Phase | None = None
        self._number = 0
        self._text = ""
        self._before: Counter[str] = Counter()
        self._phase_before: Counter[str] = Counter()
        self._kernels: dict[tuple[str, str], str] = {}

    def begin(self, module: ModuleOp, ctx: CompilerContext) -> None:
        self._text, self._before = to_text(module), count_by_name(module)

    def imported(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        self._phase_before = Counter()
        self.after_phase(phase, record, module, ctx)

    def before_phase(self, phase: Phase, module: ModuleOp, ctx: CompilerContext) -> None:
        self._phase, self._number, self._phase_before = phase, 0, count_by_name(module)

    def after_pass(self, which: ModulePass, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        self._number += 1
        text, counts = to_text(module), count_by_name(module)
        alone = self._phase is not None and len(self._phase.passes) == 1  # then the phase's dump says it all
        if text != self._text and not alone:
            stem = f"{self._number:02d}-{which.name}"
            if self._phase is not None:
                stem = f"{self._phase.number:02d}-{self._phase.name}.{stem}"
            title = f"after the pass {which}"
            done = [pass_doc(type(which)), "", _change(self._before, counts), *_counted(record)]
            # A dump in the middle of a phase continues with that phase, hence the state of the phase before it.
            previous = self._phase.number - 1 if self._phase else 0
            self._write(stem, title, done, module, ctx, previous, self._number if self._phase else 0)
        self._text, self._before = text, counts

    def after_phase(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        counts = count_by_name(module)
        done = [phase.doc, "", _change(self._phase_before, counts)]
        for step in record.steps:
            did = [f"{step.ops_before} -> {step.ops_after} ops"] if step.ops_before != step.ops_after else []
            did += [f"{count} {name}" for name, count in step.statistics.most_common()]
            done.append(f"  {step.name}: {', '.join(did) or 'nothing to do or to count'}")
        if phase.name == "import":
            done[2] = f"{sum(counts.values())} ops: {_most_common(counts)}."
        title = f"after phase {phase.number}, {phase.name}: {phase.takes} -> {phase.gives}"
        self._write(f"{phase.number:02d}-{phase.name}", title, done, module, ctx, phase.number)
        self._phase = None

    def _write(
        self,
        stem: str,
        title: str,
        done: Sequence[str],
        module: ModuleOp,
        ctx: CompilerContext,
        phase: int,
        passes: int = 0,
    ) -> None:
        state = DumpState(PHASES[phase - 1].name if phase else None, passes, ctx.target, dict(ctx.options))
        try:
            with kernels_apart(module) as kernels:
                text = to_text(module)
            text += "".join(f"{INCLUDE_MARK}{self._kernel(stem, *kernel)}\n" for kernel in kernels)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        write_dump(self.folder / f"{stem}.mlir", title, done, text, module, ctx, state)

    def _kernel(self, stem: str, level: str, symbol: str, text: str) -> str:
        """Write a kernel to a file of its own, unless an earlier dump has it as it is; returns the path from here."""
        path = f"{KERNELS_FOLDER}/{stem}/{level}/{_file_name(symbol)}.mlir"
        known = self._kernels.setdefault((level, text), path)
        if known == path:
            write_whole(self.folder / path, text.encode())
        return known


def cannot_write(path: Path, error: OSError) -> OptionError:
    """The error for a dump that cannot be written."""
    return OptionError(CANNOT_WRITE_OUTPUT, f"{path} cannot be written: {error.strerror or error}.")


def write_dump(
    path: Path,
    title: str,
    done: Sequence[str],
    text: str,
    module: ModuleOp,
    ctx: CompilerContext,
    state: DumpState,
) -> None:
    """Write one dump, with the weights it refers to. Raises OptionError when that is not possible."""
    sources = list(dict.fromkeys(name for op in module.walk() for name in source_names(op.location)))
    shown = ", ".join(sources[:6])
    lines = [
        f"penstock {version('penstock')}, {title}",
        *done,
        "",
        f"From {len(sources)} source nodes" + (f": {shown}{', ...' if len(sources) > 6 else ''}." if shown else "."),
    ]
    following = _following(state.phase)
    if following:
        lines.append(f"Continue with: penstock compile --from={following} {path.name}")
    facts = {
        "phase": state.phase,
        "passes": state.passes,
        "target": state.target,
        "options": state.options,
        "version": version("penstock"),
    }
    header = "".join(f"// {line}".rstrip() + "\n" for line in lines)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (header + HEADER_MARK + _json(facts) + "\n\n" + text).encode())
        save_weights(path.parent / WEIGHTS_FOLDER, ctx.weights, keys_in(module, ctx.weights))
        for name, data in ctx.files.items():
            write_whole(path.with_suffix(".files") / name, data)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def kernels_apart(module: ModuleOp) -> Generator[list[tuple[str, str, str]]]:
    """Take the kernels out of the modules inside ``module`` while the block runs; gives (module, symbol, text) each."""
    from xdsl.dialects.builtin import ModuleOp

    taken: list[tuple[Block, Operation, str, str]] = []
    for inner in module.body.block.ops:
        if isinstance(inner, ModuleOp) and inner.sym_name is not None:
            for op in list(inner.body.block.ops):
                symbol = op.attributes.get("symbol") or op.attributes.get("sym_name")
                if op.name == "tile.kernel" and symbol is not None:
                    taken.append((inner.body.block, op, inner.sym_name.data, str(symbol).strip('"@')))
    texts = [(level, symbol, to_text(op)) for _, op, level, symbol in taken]
    for _, op, _, _ in taken:
        op.detach()
    try:
        yield texts
    finally:
        for block, op, _, _ in taken:
            block.add_op(op)


def read_state(text: str) -> DumpState | None:
    """What the header of a dump says, or None for text that is not a dump. Raises IRError for a damaged header."""
    for line in text.splitlines():
        if not line.startswith("//"):
            return None
        if line.startswith(HEADER_MARK):
            try:
                facts = cast("dict[str, Any]", json.loads(line.removeprefix(HEADER_MARK)))
                options = cast("dict[str, object]", facts["options"])
                restored = {
                    name: tuple(cast("list[object]", value)) if isinstance(value, list) else value
                    for name, value in options.items()
                }
                if facts["phase"] not in (None, *PHASE_NAMES):
                    raise ValueError(f"there is no phase {facts['phase']}")
                return DumpState(facts["phase"], int(facts["passes"]), str(facts["target"]), restored)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise IRError(BAD_DUMP, f"the dump's line '{HEADER_MARK.strip()}' cannot be read: {error}.") from error
    return None


def read_files(path: Path, ctx: CompilerContext) -> None:
    """Put what emit and package had produced when the dump at ``path`` was written back into ``ctx.files``."""
    folder = path.with_suffix(".files")
    for member in sorted(folder.rglob("*")):
        if member.is_file():
            ctx.files[member.relative_to(folder).as_posix()] = member.read_bytes()


def read_ir(
    text: str, path: Path, ctx: CompilerContext, weights: Path | None = None, *, complete: bool = True
) -> ModuleOp:
    """The module in ``text``, the text of the file at ``path``, with what lies beside it: weights and emitted files.

    ``weights`` is the folder of weights (None: ``weights`` beside the file, if there). Raises IRError, also for a
    weight that is not there if ``complete``.
    """
    module = parse_module(text, ctx, path.name)
    _read_kernels(text, path, module, ctx)
    folder = weights or path.parent / WEIGHTS_FOLDER
    if weights is not None or (folder / WEIGHTS_INDEX).exists():
        load_weights(folder, ctx.weights)
    read_files(path, ctx)
    if complete:
        check_weights(module, ctx.weights, path.name)
    return module


def _read_kernels(text: str, path: Path, module: ModuleOp, ctx: CompilerContext) -> None:
    """Put the kernels that stand in files of their own back into the modules they were taken from."""
    from xdsl.dialects.builtin import ModuleOp

    modules = {op.sym_name.data: op for op in module.body.block.ops if isinstance(op, ModuleOp) and op.sym_name}
    for line in text.splitlines():
        if line.startswith(INCLUDE_MARK):
            place = path.parent / line.removeprefix(INCLUDE_MARK).strip()
            level = modules.get(place.parent.name)
            if level is None or path.parent.resolve() not in place.resolve().parents:
                raise IRError(BAD_DUMP, f"{path.name} includes {place}, which belongs to no module of it.")
            for op in list(parse_module(read_text(place), ctx, place.name).body.block.ops):
                op.detach()
                level.body.block.add_op(op)


# Weights ---------------------------------------------------------------------------------------------------------


def keys_in(module: ModuleOp, weights: WeightStore) -> list[str]:
    """The keys of the weights that ops of ``module`` refer to, in order of appearance."""
    from xdsl.dialects.builtin import ArrayAttr, StringAttr

    found: dict[str, None] = {}
    for op in module.walk():
        for attribute in op.attributes.values():
            items: list[Any] = list(attribute) if isinstance(attribute, ArrayAttr) else [attribute]
            found.update({item.data: None for item in items if isinstance(item, StringAttr) and item.data in weights})
    return list(found)


def save_weights(folder: Path, weights: WeightStore, keys: Sequence[str]) -> None:
    """Save the arrays of ``keys``, each in a file named by its digest, and an index. Files that exist are kept."""
    if not keys:
        return
    folder.mkdir(parents=True, exist_ok=True)
    index = _read_index(folder) if (folder / WEIGHTS_INDEX).exists() else {}
    for key in keys:
        array = weights[key]
        file = f"{weights.digest(key)}.bin"
        index[key] = {"file": file, "dtype": array.dtype.name, "shape": list(array.shape)}
        if not (folder / file).exists():
            write_whole(folder / file, array.tobytes())
    write_whole(folder / WEIGHTS_INDEX, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode())


def load_weights(folder: Path, weights: WeightStore) -> None:
    """Map the arrays saved in ``folder`` into ``weights``. Raises IRError when index and files do not agree."""
    import numpy as np

    from penstock.compiler.dtypes import from_name, numpy_dtype

    for key, entry in _read_index(folder).items():
        try:
            name, shape = str(entry["dtype"]), tuple(int(extent) for extent in cast("list[int]", entry["shape"]))
            dtype = numpy_dtype(from_name(name))
            path = folder / Path(str(entry["file"])).name
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            if min(shape, default=0) < 0 or path.stat().st_size != size:
                raise IRError(MISSING_WEIGHTS, f"{path} does not hold {size} bytes, the size of the weight '{key}'.")
            array = np.memmap(path, dtype, "r", shape=shape) if size and shape else np.fromfile(path, dtype)
            weights.put(key, np.asarray(array).reshape(shape))
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise IRError(MISSING_WEIGHTS, f"{folder / WEIGHTS_INDEX} is damaged at the weight '{key}'.") from error


def check_weights(module: ModuleOp, weights: WeightStore, where: str) -> None:
    """Raise IRError if a constant of ``module`` has a key that ``weights`` lacks."""
    from xdsl.dialects.builtin import StringAttr

    missing = [
        key.data
        for op in module.walk()
        if op.name in ("graph.constant", "plan.weight") and isinstance(key := op.attributes.get("key"), StringAttr)
        if key.data not in weights
    ]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise IRError(MISSING_WEIGHTS, f"{where} refers to the weight '{missing[0]}'{more}, which is not there.")


def _read_index(folder: Path) -> dict[str, dict[str, object]]:
    try:
        index: object = json.loads((folder / WEIGHTS_INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IRError(MISSING_WEIGHTS, f"{folder / WEIGHTS_INDEX} cannot be read: {error}.") from error
    if not isinstance(index, dict):
        raise IRError(MISSING_WEIGHTS, f"{folder / WEIGHTS_INDEX} is not an index of weights.")
    return cast("dict[str, dict[str, object]]", index)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all: to a temporary file, renamed when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


# Words -----------------------------------------------------------------------------------------------------------


def _change(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """How the ops changed, in words."""
    old, new = sum(before.values()), sum(after.values())
    differences = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    changed = sorted(((name, d) for name, d in differences.items() if d), key=lambda item: (-abs(item[1]), item[0]))
    if not changed:
        return f"{new} ops, as many of each kind as before."
    shown = ", ".join(f"{d:+d} {name}" for name, d in changed[:8]) + (", ..." if len(changed) > 8 else "")
    return f"{old} -> {new} ops: {shown}."


def _most_common(counts: Counter[str]) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ranked[:8]) + (", ..." if len(ranked) > 8 else "")


def _counted(record: Record) -> list[str]:
    if not record.statistics:
        return []
    return ["Counted: " + ", ".join(f"{count} {name}" for name, count in record.statistics.most_common()) + "."]


def _following(phase: str | None) -> str | None:
    position = PHASE_NAMES.index(phase) + 1 if phase else 1
    return PHASE_NAMES[position] if position < len(PHASE_NAMES) else None


def _file_name(symbol: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", symbol)


def _json(facts: object) -> str:
    return json.dumps(facts, sort_keys=True, default=str)
