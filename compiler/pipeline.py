"""The ten named phases in order, the passes each runs, and how both are named on the command line.

In: nothing, or the text of a pipeline such as ``simplify,fuse{max-ops=8}``. Out: groups of passes for the runner
(compiler/runner.py). The one idea: ``PHASES`` is the only description of the way down; the driver, ``--from``/``--to``,
dumps, the verifier, the command line and docs/pipeline.md all derive from it.

Passes are found by scanning ``compiler/passes/<phase>/*.py``: a file that defines a ``ModulePass`` is the pass named
as the file. Only the order of a phase's passes stands here; docs/add-a-pass.md shows the steps.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.compiler.errors import (
    BAD_PASS_OPTION,
    PHASE_ORDER,
    PIPELINE_SYNTAX,
    UNKNOWN_PASS,
    UNKNOWN_PHASE,
    OptionError,
    nearest,
)

if TYPE_CHECKING:
    from xdsl.ir import Operation
    from xdsl.passes import ModulePass
    from xdsl.utils.arg_spec import ArgSpec

PASSES_FOLDER = Path(__file__).parent / "passes"


@dataclass(frozen=True)
class Phase:
    """A named stretch of the way from a model file to an artifact.

    ``takes`` and ``gives`` say what goes in and comes out, ``doc`` what happens in one sentence, ``passes`` is the
    pipeline run by default. After the phase, only ops of ``dialects`` may occur, without those in ``forbidden``, and
    ``main`` (unless empty) lists all that may stand directly in a function. Its passes do not change what is inside of
    ops in ``sealed``, which is not verified again.
    """

    name: str
    takes: str
    gives: str
    doc: str
    dialects: frozenset[str]
    forbidden: frozenset[str] = frozenset()
    main: frozenset[str] = frozenset()
    sealed: frozenset[str] = frozenset()
    passes: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Its place in the order, from 1."""
        return PHASES.index(self) + 1

    def allows(self, op: Operation) -> str | None:
        """Why ``op`` may not stand in IR after this phase, or None if it may."""
        dialect = op.name.split(".", 1)[0]
        if dialect not in self.dialects:
            return f"after the phase {self.name}, the dialect '{dialect}' may not occur"
        if op.name in self.forbidden:
            return f"after the phase {self.name}, {op.name} may not occur"
        parent = op.parent_op()
        if self.main and op.name not in self.main and parent is not None and parent.name in _HOLDERS:
            return f"after the phase {self.name}, {op.name} may only occur inside a dispatch"
        return None


_GRAPH = frozenset({"builtin", "func", "graph"})
_FUSED = frozenset({"graph.dispatch", "graph.yield"})
_TILE = _GRAPH | {"tile", "arith", "math", "scf", "memref", "vector"}
_PLAN = _TILE - {"func", "graph"} | {"plan"}
_DISPATCHES = frozenset(
    {
        *("graph.dispatch", "graph.constant", "graph.checked", "graph.reshape", "graph.slice", "graph.loop"),
        *("graph.next", "func.return"),
    }
)
_KERNELS = frozenset({"tile.kernel"})
_HOLDERS = frozenset({"func.func", "graph.loop"})  # what holds a graph, of ops or of dispatches
_CLEAN = ("canonicalise", "fold-constants", "cse", "dce")
_NARROWED = ("narrow-weights", "narrow-activations")

PHASES = (
    Phase(
        "import",
        "model file",
        "graph",
        "Parses the model within limits, infers shapes and decomposes every node into graph ops located by its name; "
        "weights go to the weight store.",
        _GRAPH,
        _FUSED,
    ),
    Phase(
        "simplify",
        "graph",
        "graph",
        "Folds constants, removes what is redundant or unused, and recognises idioms such as normalisation, gelu and "
        "attention.",
        _GRAPH,
        _FUSED,
        passes=(
            *("append-in-place", "canonicalise", "cse", "fold-constants"),
            *("recognise-softmax", "recognise-normalize", "recognise-gelu", "recognise-attention"),
            *(
                "cancel-reshapes",
                "fold-batch-norm",
                "decompose-resize",
                "decompose-conv-transpose",
                "cancel-transposes",
            ),
            *_CLEAN,
        ),
    ),
    Phase(
        "quantize",
        "graph",
        "graph",
        "Inserts and propagates narrow integer types (no passes yet: models run in the types they were saved in).",
        _GRAPH,
        _FUSED,
    ),
    Phase(
        "place",
        "graph",
        "graph",
        "Assigns ops to devices and cuts the graph at their borders (no passes yet: all runs on the one target).",
        _GRAPH,
        _FUSED,
    ),
    Phase(
        "layout",
        "graph",
        "graph",
        "Chooses the layouts of activations, cancels transposes, and packs constants for the kernels that read them.",
        _GRAPH,
        _FUSED,
        passes=(
            "channels-last",
            "sink-transposes",
            *_CLEAN,
            "winograd",
            "pack-weights",
            *_NARROWED,
            "share-tables",
            "compress-weights",
            "dce",
        ),
    ),
    Phase(
        "fuse",
        "graph",
        "graph dispatches",
        "Groups ops into dispatches, one per kernel: a root with what is fused before and after it.",
        _GRAPH,
        main=_DISPATCHES,
        passes=("form-dispatches", "share-kernels"),
    ),
    Phase(
        "lower",
        "graph dispatches",
        "tile kernels",
        "Turns every dispatch into a loop nest over register tiles, by the schedule of its root, for every instruction "
        "set level.",
        _TILE,
        main=_DISPATCHES,
        passes=("lower-dispatches",),
    ),
    Phase(
        "plan",
        "tile kernels",
        "plan",
        "Lists the launches of kernels in order, and gives every value its lifetime and its place in memory.",
        _PLAN,
        sealed=_KERNELS,
        passes=("form-commands", "assign-memory"),
    ),
    Phase(
        "emit",
        "plan",
        "plan and machine code",
        "Emits LLVM IR for every kernel and has it compiled to machine code, once per instruction set level.",
        _PLAN,
        sealed=_KERNELS,
        passes=("compile-kernels",),
    ),
    Phase(
        "package",
        "plan and machine code",
        "artifact",
        "Writes plan, weights and code into the one file that the runtime maps.",
        _PLAN,
    ),
)

PHASE_NAMES = tuple(phase.name for phase in PHASES)


@dataclass(frozen=True)
class Group:
    """Passes to run one after another; with ``phase``, they are that phase, whose rules are checked at the end."""

    passes: tuple[ModulePass, ...]
    phase: Phase | None = None

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))


@dataclass(frozen=True)
class PassFile:
    """Where a pass is defined: its ``name``, its ``phase`` (a folder) and its ``module``."""

    name: str
    phase: str
    module: str


# Finding ---------------------------------------------------------------------------------------------------------


def phase(name: str) -> Phase:
    """The phase called ``name``. Raises OptionError, naming the nearest one."""
    for candidate in PHASES:
        if candidate.name == name:
            return candidate
    raise OptionError(
        UNKNOWN_PHASE,
        f"there is no phase '{name}'{nearest(name, PHASE_NAMES)}",
        f"The phases: {', '.join(PHASE_NAMES)}.",
    )


def phases_between(first: str | None, last: str | None) -> tuple[Phase, ...]:
    """The phases from ``first`` to ``last``, both included. Raises OptionError if they are unknown or out of order."""
    start = phase(first) if first else PHASES[0]
    end = phase(last) if last else PHASES[-1]
    if start.number > end.number:
        raise OptionError(PHASE_ORDER, f"the phase {end.name} comes before {start.name}, not after it.")
    return PHASES[start.number - 1 : end.number]


@cache
def pass_files() -> dict[str, PassFile]:
    """Every pass, by name, found by scanning; phases in order, passes alphabetically. Imports none of them."""
    found: dict[str, PassFile] = {}
    for name in PHASE_NAMES:
        for path in sorted((PASSES_FOLDER / _identifier(name)).glob("*.py")):
            if re.search(r"^class \w+\(.*\bModulePass\b.*\):", path.read_text(encoding="utf-8"), re.MULTILINE):
                pass_name = path.stem.replace("_", "-")
                assert pass_name not in found, f"two passes are called {pass_name}"
                folder = _identifier(name)
                found[pass_name] = PassFile(pass_name, name, f"penstock.compiler.passes.{folder}.{path.stem}")
    return found


def pass_class(name: str) -> type[ModulePass]:
    """The class of the pass called ``name``. Raises OptionError, naming the nearest one."""
    from xdsl.passes import ModulePass

    file = pass_files().get(name)
    if file is None:
        choices = [*pass_files(), *PHASE_NAMES]
        raise OptionError(
            UNKNOWN_PASS,
            f"there is no pass or phase '{name}'{nearest(name, choices)}",
            "`penstock opt --list` lists all.",
        )
    module = import_module(file.module)
    for candidate in vars(module).values():
        if isinstance(candidate, type) and issubclass(candidate, ModulePass) and candidate.__module__ == file.module:
            assert candidate.name == name, f"the pass in {file.module} is called {candidate.name}, not {name}"
            return candidate
    raise AssertionError(f"{file.module} defines no pass")


def pass_doc(pass_type: type[ModulePass]) -> str:
    """What a pass does: the first paragraph of its module's documentation, on one line."""
    text = import_module(pass_type.__module__).__doc__ or pass_type.__doc__ or ""
    return " ".join(text.strip().split("\n\n")[0].split())


def _identifier(name: str) -> str:
    """The folder of a phase or file of a pass (``import`` is a word of Python's, hence ``import_``)."""
    identifier = name.replace("-", "_")
    return identifier + "_" if identifier == "import" else identifier


# Pipelines -------------------------------------------------------------------------------------------------------


def default_groups(phases: Iterable[Phase]) -> list[Group]:
    """The default passes of each of ``phases``."""
    return [Group(tuple(pass_class(name)() for name in phase.passes), phase) for phase in phases]


def parse_pipeline(text: str) -> list[Group]:
    """The groups that ``text`` names, e.g. ``fuse{max-ops=8},layout``.

    A name is a phase's (all its default passes; options go to those of them that have such an option) or a pass's.
    Where both are called the same, the phase is meant. Raises OptionError.
    """
    groups: list[Group] = []
    for spec in _specs(text):
        if spec.name in PHASE_NAMES:
            groups.append(_phase_group(phase(spec.name), spec))
        else:
            groups.append(Group((_make_pass(pass_class(spec.name), spec),)))
    return groups


def option_names(pass_type: type[ModulePass]) -> list[str]:
    """The options of a pass, as written in a pipeline (``max-ops``)."""
    return [field.name.replace("_", "-") for field in dataclasses.fields(pass_type) if field.init]


def _specs(text: str) -> Iterator[ArgSpec]:
    from xdsl.utils.arg_spec import parse_pipeline as parse_specs
    from xdsl.utils.exceptions import ArgSpecParseError

    try:
        yield from list(parse_specs(re.sub(r"\s*,\s*", ",", text.strip())))
    except ArgSpecParseError as error:
        reason = str(error).strip().splitlines()[-1].strip(" ^")
        raise OptionError(
            PIPELINE_SYNTAX, f"the pipeline '{text}' cannot be read: {reason}.", "Write it as 'fuse{max-ops=8},layout'."
        ) from None


def _make_pass(pass_type: type[ModulePass], spec: ArgSpec) -> ModulePass:
    known = option_names(pass_type)
    for option in spec.parameters:
        if option.replace("_", "-") not in known:
            have = f"it has {', '.join(known)}" if known else "it has no options"
            raise OptionError(
                BAD_PASS_OPTION, f"the pass {spec.name} has no option '{option}'{nearest(option, known)}", f"{have}."
            )
    try:
        return pass_type.from_spec(spec)
    except ValueError as error:
        raise OptionError(BAD_PASS_OPTION, f"the pass {spec.name} cannot take {spec}: {error}.") from error


def _phase_group(which: Phase, spec: ArgSpec) -> Group:
    from xdsl.utils.arg_spec import ArgSpec

    types = [pass_class(name) for name in which.passes]
    known = {option for pass_type in types for option in option_names(pass_type)}
    for option in spec.parameters:
        if option.replace("_", "-") not in known:
            raise OptionError(
                BAD_PASS_OPTION,
                f"no pass of the phase {which.name} has the option '{option}'{nearest(option, known)}",
                f"Options there: {', '.join(sorted(known)) or 'none'}.",
            )
    made: list[ModulePass] = []
    for pass_type in types:
        own = option_names(pass_type)
        given = {key: value for key, value in spec.parameters.items() if key.replace("_", "-") in own}
        made.append(_make_pass(pass_type, ArgSpec(pass_type.name, given)))
    return Group(tuple(made), which)


def spell(groups: Sequence[Group]) -> str:
    """``groups`` as the text of a pipeline that runs the same passes with the same options."""
    return ",".join(str(group) for group in groups if group.passes)
