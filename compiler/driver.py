"""From a model to an artifact: ``penstock.compile`` and what the command line is built on.

In: a model (path, bytes or ModelProto), or a dump of IR, and options. Out: an ``Artifact`` with a report of how it was
made. The one idea: a compilation is a function of (model, options): the front end makes a module, the phases change
it, and the last one gathers plan, weights and code; nothing depends on the machine, the time or the environment.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib.metadata import version
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from penstock.compiler.caching.kernels import open_cache
from penstock.compiler.errors import (
    BAD_VALUE,
    NOT_ENOUGH_MEMORY,
    PHASE_ORDER,
    UNEXPECTED,
    UNKNOWN_ISA,
    UNKNOWN_OPTION,
    InternalError,
    ModelError,
    OptionError,
    Problem,
    TargetError,
    nearest,
)
from penstock.compiler.hot_sizes import check_names, check_sizes, combinations
from penstock.compiler.pipeline import Group, Phase, default_groups, parse_pipeline, phases_between
from penstock.compiler.precision import FULL, PRECISIONS, described
from penstock.compiler.report import Report
from penstock.compiler.runner import Observer, Record, Runner, count_ops
from penstock.compiler.weights import same
from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from penstock.compiler.artifact.writer import Contents
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.frontends.onnx.reader import ModelSource
    from penstock.compiler.passes.package.contents import Part
    from penstock.compiler.tuning.record import Record as TuningRecord
    from penstock.runtime import Model

IR_SUFFIX = ".mlir"
LARGEST_EXTENT = 1 << 31
MAX_TUNING = 86400


@dataclass(frozen=True)
class CompileOptions:
    """Everything that decides what a compilation makes of a model.

    ``target``: a back end's name, with the instruction set levels to compile for after a colon
    (``cpu:x86-64-v4,x86-64-v3``; none: all). ``dims``: of the model's symbolic dimensions, by name, the value or the
    least and greatest one; others are 1 or more. ``passes``: passes or phases with options that replace their defaults
    (``fuse{max-ops=8}``). ``verify_each``: verify the IR after every pass instead of at phase borders. ``keep_debug``:
    put the IR after each phase into the artifact. ``strict``: what would only be noted is an error. ``keep``: names of
    values, or of nodes, that become outputs too. ``specialize``: sizes, by name, that get plans of their own beside the
    general one (of several names, every combination). ``state``: outputs that feed an input the next time, as
    ``OUTPUT=INPUT``, or ``auto``: a session keeps them (docs/runtime.md). ``plugins``: Python files, or classes, of
    custom operators (``penstock.operators``). ``tune``: seconds to spend on measuring candidates on this machine
    (docs/tuning.md); 0: estimates decide. ``tuned``: a tuning record, or its file, whose choices are taken.
    ``winograd``: whether convolutions may be computed by Winograd's minimal filtering (docs/layout-and-fusion.md).
    ``compress``: whether weights of f32 may be stored in 28 bits, without loss (the same page). ``precision``: ``f32``,
    ``bf16-weights`` for weights in half the bytes, or ``bf16`` for products of bf16 numbers (docs/precision.md).
    ``cache``: whether kernels are taken from the kernel cache and kept there (docs/kernel-cache.md); the artifact is
    the same with and without.
    """

    target: str = "cpu"
    dims: Mapping[str, int | tuple[int, int]] = field(default_factory=dict[str, "int | tuple[int, int]"])
    passes: str = ""
    verify_each: bool = False
    keep_debug: bool = False
    strict: bool = False
    keep: Sequence[str] = ()
    plugins: Sequence[Any] = ()
    state: Sequence[str] = ()
    winograd: bool = True
    compress: bool = True
    precision: str = FULL
    cache: bool = True
    specialize: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    tune: float = 0.0
    tuned: str | PathLike[str] | TuningRecord | None = None

    def __post_init__(self) -> None:
        for name, listed in (("keep", self.keep), ("state", self.state), ("plugins", self.plugins)):
            if isinstance(listed, str):
                raise OptionError(BAD_VALUE, f"{name} is a list of names, not '{listed}'.", f"Write ['{listed}'].")
        for name, given in self.dims.items():
            ends = given if isinstance(given, tuple) else (given, given)
            whole = len(ends) == 2 and not any(isinstance(end, bool) for end in ends)
            if not whole or not 0 <= ends[0] <= ends[1] < LARGEST_EXTENT or ends[1] == 0:
                raise OptionError(
                    BAD_VALUE,
                    f"the dimension {name} cannot be {given}.",
                    "Give a number, or (least, greatest).",
                )

        if self.precision not in PRECISIONS:
            reason = f"the precision cannot be {self.precision}{nearest(str(self.precision), PRECISIONS)}"
            raise OptionError(BAD_VALUE, reason, f"Give {' or '.join(PRECISIONS)}.")
        check_sizes(self.specialize, self.dims, self.state)
        if isinstance(self.tune, bool) or not isinstance(self.tune, int | float) or not 0 <= self.tune <= MAX_TUNING:  # pyright: ignore[reportUnnecessaryIsInstance]
            reason = f"{self.tune} is no time to tune for."
            raise OptionError(BAD_VALUE, reason, f"Give seconds, at most {MAX_TUNING}: 30.")

    @cached_property
    def record(self) -> TuningRecord | None:
        """The tuning record that ``tuned`` is or names. Raises OptionError if it is not to be believed."""
        if self.tuned is None:
            return None
        from penstock.compiler.tuning.record import Record, read_record

        return self.tuned if isinstance(self.tuned, Record) else read_record(self.tuned)

    @classmethod
    def of(cls, **options: Any) -> CompileOptions:
        """From keyword arguments. Raises OptionError for a name that is no option."""
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise OptionError(
                    UNKNOWN_OPTION,
                    f"there is no option '{name}'{nearest(name, known)}",
                    f"Options: {', '.join(known)}.",
                )
        return cls(**options)

    @cached_property
    def backend(self) -> str:
        """The name of the back end."""
        return self.target.partition(":")[0]

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """The instruction set levels to compile for, the most capable first. Raises TargetError."""
        from penstock.compiler.backends import backend

        known = backend(self.backend).levels
        asked = [level.strip() for level in self.target.partition(":")[2].split(",") if level.strip()]
        for level in asked:
            if level not in known:
                raise TargetError(
                    UNKNOWN_ISA,
                    f"the target {self.backend} has no level '{level}'{nearest(level, known)}",
                    f"Its levels are {', '.join(known)}.",
                )
        wanted = asked or backend(self.backend).levels_for(self.precision)
        return tuple(level for level in known if level in wanted)


class Artifact:
    """A compiled model, in memory until it is saved. ``report`` says how it was made."""

    def __init__(self, contents: Contents, report: Report) -> None:
        self._contents, self.report = contents, report

    @cached_property
    def bytes(self) -> bytes:
        """The artifact file's bytes; the same for the same model and options."""
        from penstock.compiler.artifact.writer import to_bytes

        return to_bytes(self._contents)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the artifact to ``path``: whole, or not at all. Raises ArtifactError."""
        from penstock.compiler.artifact.writer import write

        self.report.artifact_bytes = write(self._contents, path)

    def load(self) -> Model:
        """The model, ready to run in this process (needs no file)."""
        from penstock.runtime import load

        return load(self.bytes)


def compile(model: ModelSource, target: str = "cpu", **options: Any) -> Artifact:
    """Compile ``model`` (an ONNX file's path, its bytes, or a ModelProto) for ``target``.

    ``options`` are those of ``CompileOptions``. Raises ModelError with everything that cannot be compiled, OptionError
    or TargetError; InternalError, with the folder of a reproducer, for a defect of penstock.
    """
    result = run_phases(model, CompileOptions.of(target=target, **options))
    assert result.artifact is not None
    return result.artifact


# Phases ----------------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """The state after the last phase that was asked for; ``artifact`` is there after the phase package."""

    module: ModuleOp
    ctx: CompilerContext
    report: Report
    artifact: Artifact | None = None


def run_phases(
    model: ModelSource,
    options: CompileOptions,
    *,
    first: str | None = None,
    last: str | None = None,
    observers: Sequence[Observer] = (),
    reproducers: Path | None = None,
) -> Result:
    """Take ``model``, or the dump of an earlier run, through the phases ``first`` to ``last``.

    ``first`` defaults to import for a model and to the phase after the dump's for a dump. ``reproducers`` is where the
    folder for an internal error goes (None: the system's temporary folder).
    """
    if options.tune:
        return _tuned(model, options, first, last, observers, reproducers)
    source = Source.of(model, options)
    if first is None and source.next_phase is not None:
        first = source.next_phase
    phases = phases_between(first, last)
    source.check_first(phases[0])
    groups = default_groups(phases)
    if phases[0].name == source.next_phase:
        groups[0] = Group(groups[0].passes[source.passes_done :], phases[0])
    groups = _adjusted(groups, options.passes)
    if phases[0].name != "import" and options.specialize:
        raise OptionError(BAD_VALUE, f"{source.name} is IR, which has its sizes.", "Specialize the model itself.")
    report = Report(source.name, options.target)
    kept = _Keeper()
    if options.keep_debug:
        observers = [*observers, kept]
    with _without_gc(), _enough_memory(source.name):
        started = time.perf_counter()
        module, ctx = _guarded(source.make)
        if phases[0].name == "import":
            record = Record("import", "import", time.perf_counter() - started, 0, count_ops(module))
            report.phases.append(record)
            for observer in observers:
                observer.imported(phases[0], record, module, ctx)
            check_names(options.specialize, module)
        running = [group for group in groups if group.phase is None or group.phase.name not in ("import", "package")]
        runner = Runner(ctx, observers, verify_each=options.verify_each)
        shown = phases[-1].name != "package" or any(observer.reads_ir for observer in observers)
        ctx.kernel_cache, unusable = open_cache() if options.cache and not shown else (None, "")
        report.phases += _down(runner, module, running, source, reproducers)
        report.notes = [*(note.sentence for note in ctx.notes), *([unusable] if unusable else [])]
        if options.strict and ctx.notes:
            raise ModelError(ctx.notes, source.name)
        result = Result(module, ctx, report)
        if phases[-1].name == "package":
            specials = [
                _special(model, options, sizes, result, running, reproducers)
                for sizes in combinations(options.specialize)
            ]
            result.artifact = _guarded(lambda: _package(result, specials, options, phases[-1], observers, kept.texts))
            if ctx.kernel_cache is not None:
                report.cached = ctx.kernel_cache.hits
                ctx.kernel_cache.finish()
    return result


def _tuned(
    model: ModelSource,
    options: CompileOptions,
    first: str | None,
    last: str | None,
    observers: Sequence[Observer],
    reproducers: Path | None,
) -> Result:
    """Search for better choices than the cost model's, then compile with them as with any record."""
    from penstock.compiler.tuning.search import tune

    if last not in (None, "package"):
        reason = f"there is nothing to measure in what the phase {last} makes."
        raise OptionError(PHASE_ORDER, reason, "Leave out --tune or --to.")
    tuning = tune(model, options)
    options = replace(options, tune=0.0, tuned=tuning.record)
    result = run_phases(model, options, first=first, last=last, observers=observers, reproducers=reproducers)
    result.report.notes.append(tuning.sentence)
    result.report.tuning = tuning
    return result


def _down(
    runner: Runner, module: ModuleOp, groups: Sequence[Group], source: Source, reproducers: Path | None
) -> list[Record]:
    """Run the passes; for an internal error there is a folder that shows it."""
    try:
        return runner.run(module, groups)
    except InternalError as error:
        from penstock.compiler.reproducer import write_reproducer

        write_reproducer(reproducers or Path(tempfile.gettempdir()), error, source.make, groups, runner.completed)
        raise


def _special(
    model: ModelSource,
    options: CompileOptions,
    sizes: Mapping[str, int],
    general: Result,
    groups: Sequence[Group],
    reproducers: Path | None,
) -> Part:
    """The model once more, for fixed sizes: as if it had said them. It shares kernels and weights with the others."""
    from penstock.compiler.passes.package.contents import Part

    started = time.perf_counter()
    source = Source.of(model, replace(options, dims={**options.dims, **sizes}, specialize={}, compress=False))
    module, ctx = _guarded(source.make)
    ctx.kernel_symbols, ctx.kernel_cache = general.ctx.kernel_symbols, general.ctx.kernel_cache
    _down(Runner(ctx, (), verify_each=options.verify_each), module, groups, source, reproducers)
    for key in [key for key in ctx.weights if key in general.ctx.weights]:
        if same(ctx.weights[key], general.ctx.weights[key]):
            ctx.weights.put(key, general.ctx.weights[key])
    title = ",".join(f"{name}={size}" for name, size in sizes.items())
    general.report.phases.append(Record(f"for {title}", "package", time.perf_counter() - started, 0, count_ops(module)))
    return Part(module, ctx, sizes)


class Source:
    """Where a compilation starts: a model, or IR text."""

    def __init__(self, model: ModelSource, options: CompileOptions) -> None:
        self._model, self._options = model, options
        self.name = Path(fspath(model)).name if isinstance(model, str | PathLike) else "model"

    @staticmethod
    def of(model: ModelSource, options: CompileOptions) -> Source:
        """The source that ``model`` is, by its suffix."""
        is_ir = isinstance(model, str | PathLike) and Path(fspath(model)).suffix == IR_SUFFIX
        return IRSource(model, options) if is_ir else Source(model, options)

    @property
    def next_phase(self) -> str | None:
        """The phase that comes next for this source; None if anything may."""
        return "import"

    @property
    def passes_done(self) -> int:
        """How many passes of the next phase have been run already."""
        return 0

    def check_first(self, first: Phase) -> None:
        """Raise OptionError if a run cannot start with ``first``."""
        if first.name != "import":
            raise OptionError(
                PHASE_ORDER,
                f"{self.name} is a model, so the first phase is import, not {first.name}.",
                "Give --from a dump (--dump-dir writes them).",
            )

    def make(self) -> tuple[ModuleOp, CompilerContext]:
        """Module and context at the beginning; each call makes them anew."""
        from penstock.compiler.frontends.onnx import import_model
        from penstock.compiler.states import mark_states

        ctx = new_context(self._options, self.name)
        options = self._options
        module = import_model(self._model, ctx, dims=options.dims, keep=options.keep, plugins=options.plugins)
        mark_states(module, options.state)
        return module, ctx


class IRSource(Source):
    """IR text, usually a dump: brings its weights, target and options along."""

    def __init__(self, model: ModelSource, options: CompileOptions) -> None:
        from penstock.compiler.dumps import read_state
        from penstock.compiler.irtext import read_text

        super().__init__(model, options)
        for name, given in (("keep", options.keep), ("state", options.state)):
            if given:
                reason = f"{self.name} is IR, in which nodes no longer have the values to keep."
                raise OptionError(BAD_VALUE, reason, f"Give --{name} when the model itself is compiled.")
        self._path = Path(fspath(cast("str", model)))
        self._text = read_text(self._path)
        self._state = read_state(self._text)

    @property
    def next_phase(self) -> str | None:
        from penstock.compiler.pipeline import PHASE_NAMES

        if self._state is None or self._state.phase is None:
            return "simplify"
        position = PHASE_NAMES.index(self._state.phase) + 1
        return PHASE_NAMES[min(position, len(PHASE_NAMES) - 1)]

    @property
    def passes_done(self) -> int:
        return self._state.passes if self._state else 0

    def check_first(self, first: Phase) -> None:
        from penstock.compiler.pipeline import phase

        if first.name == "import":
            raise OptionError(PHASE_ORDER, f"{self.name} is IR, which is not imported again.", "Use a later --from.")
        done = self._state.phase if self._state else None
        if done is not None and first.number > phase(done).number + 1:
            raise OptionError(
                PHASE_ORDER,
                f"{self.name} is IR after {done}, so the phases up to {first.name} are missing.",
                f"Start with --from={self.next_phase}.",
            )

    def make(self) -> tuple[ModuleOp, CompilerContext]:
        from penstock.compiler.dumps import read_ir

        ctx = new_context(self._options, self.name)
        if self._state is not None:
            kept = {} if self._options.target == "cpu" else {"isa": self._options.levels}
            ctx.target = ctx.target if kept else self._state.target
            ctx.options = {**ctx.options, **self._state.options, **kept}
        return read_ir(self._text, self._path, ctx), ctx


def new_context(options: CompileOptions, model: str = "") -> CompilerContext:
    """The context of a compilation with ``options`` of the model called ``model``. Raises TargetError."""
    from penstock.compiler.context import CompilerContext

    facts: dict[str, object] = {"isa": options.levels, "model": model, "dims": dict(sorted(options.dims.items()))}
    if not options.winograd:
        facts["winograd"] = 0
    if not options.compress or options.specialize:  # the plans of all sizes share their weights
        facts["compress"] = False
    if options.precision != FULL:
        facts["precision"] = options.precision
    if options.record is not None:
        facts["tuned"] = options.record.given
    return CompilerContext(target=options.backend, options=facts)


def _adjusted(groups: list[Group], passes: str) -> list[Group]:
    """``groups`` with the options that ``passes`` gives to passes and phases among them. Raises OptionError."""
    for asked in parse_pipeline(passes) if passes else []:
        for index, group in enumerate(groups):
            if asked.phase is not None:
                if asked.phase == group.phase:
                    groups[index] = asked
            else:
                (wanted,) = asked.passes
                replaced = tuple(wanted if which.name == wanted.name else which for which in group.passes)
                groups[index] = Group(replaced, group.phase)
    return groups


def _package(
    result: Result,
    specials: Sequence[Part],
    options: CompileOptions,
    phase: Phase,
    observers: Sequence[Observer],
    debug: Mapping[str, bytes],
) -> Artifact:
    """The phase package: plan, weights, code and ``debug`` files become an artifact; completes the report."""
    from penstock.compiler.passes.package.contents import Part, build_contents, memory_of, storage_of

    for observer in observers:
        observer.before_phase(phase, result.module, result.ctx)
    started = time.perf_counter()
    manifest: dict[str, Any] = {
        "penstock": version("penstock"),
        "model": result.ctx.options["model"],
        "target": result.ctx.target,
        "dims": result.ctx.options["dims"],
        "passes": options.passes,
    }
    parts = [Part(result.module, result.ctx), *specials]
    manifest |= (stored := storage_of(parts[0]))
    result.report.compressed = stored.get("compressed_weights", {})
    if "precision" in stored:
        result.report.notes.append(described(stored["precision"], *stored["narrow_weights"].values()))
    tuned = result.ctx.choices.tuned if result.ctx.choices else []
    if tuned and options.record is not None:
        manifest["tuned"] = {"processor": options.record.processor, "choices": [point.as_dict() for point in tuned]}
    result.report.tuned = len(tuned)
    contents = replace(build_contents(parts, manifest), debug=debug)
    report = result.report
    ops = count_ops(result.module)
    record = Record("package", "package", time.perf_counter() - started, ops, ops)
    report.phases.append(record)
    plan = next(iter(contents.plans.values()))
    report.kernels = {isa: len(image.entries) for isa, image in contents.images.items()}
    report.code_bytes = {isa: len(image.data) for isa, image in contents.images.items()}
    report.launches = len(plan.commands)
    report.memory = memory_of(contents)
    report.specialized = list(contents.manifest.get("specialized", ()))
    report.kept = contents.manifest.get("kept")
    for observer in observers:
        observer.after_phase(phase, record, result.module, result.ctx)
    return Artifact(contents, report)


class _Keeper(Observer):
    """Keeps the IR after each phase, for the artifact's ``debug/``."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}

    def imported(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        self.after_phase(phase, record, module, ctx)

    def after_phase(self, phase: Phase, record: Record, module: ModuleOp, ctx: CompilerContext) -> None:
        from penstock.compiler.irtext import to_text

        self.texts[f"{phase.number:02d}-{phase.name}.mlir"] = to_text(module).encode()


def _guarded(step: Callable[[], Any]) -> Any:
    """Run a step that is not a pass; what it raises by mistake becomes an InternalError."""
    try:
        return step()
    except (PenstockError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        text = str(error).split("\n")[0].rstrip(".") or "no message"
        raise InternalError(UNEXPECTED, f"{type(error).__name__} while compiling: {text}.") from error


@contextmanager
def _enough_memory(name: str) -> Generator[None]:
    """What the model called ``name`` takes beyond the memory there is becomes a ModelError."""
    try:
        yield
    except MemoryError as error:
        reason = "compiling it takes more memory than there is"
        raise ModelError(Problem(NOT_ENOUGH_MEMORY, "", "", reason, NOT_ENOUGH_MEMORY.remedy), name) from error


@contextmanager
def _without_gc() -> Generator[None]:
    """No garbage collection while IR is built: it is one large live structure, and collecting costs a third more."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
