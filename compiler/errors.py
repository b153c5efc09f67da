"""What can go wrong while compiling, each with a stable code.

In: a situation. Out: an exception whose message is one sentence for the model's author, with a code that documents
and scripts can rely on and a hint that says what to do. The one idea: a code (``PENS-M005``) names a kind of
failure for ever; those below and the runtime's ``PENS-R`` are all there are, docs/errors.md is generated from them,
and a test fails if no test triggers one of them.

Users' errors end the command line with status 2, never with a traceback. ``InternalError`` is a defect of penstock:
status 1, and a folder from which the failure can be run again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

from penstock.runtime.errors import PenstockError


class Code(str):
    """A stable error code (a string) with what it means and what the user can do."""

    meaning: str
    remedy: str

    def __new__(cls, name: str, meaning: str, remedy: str) -> Self:
        self = str.__new__(cls, name)
        self.meaning, self.remedy = meaning, remedy
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return (str, (str(self),))


# The model: PENS-M -------------------------------------------------------------------------------------------

MODEL_NOT_FOUND = Code("PENS-M001", "The model file does not exist or cannot be read.", "Check the path.")
UNREADABLE_MODEL = Code(
    "PENS-M002",
    "The file is not a complete ONNX model: it is truncated, damaged or of another format.",
    "Export or download it again; `python -c 'import onnx; onnx.checker.check_model(PATH)'` says more.",
)
MODEL_TOO_LARGE = Code(
    "PENS-M003", "A size stated in the model exceeds what the importer accepts.", "Check how it was exported."
)
BAD_VERSION = Code(
    "PENS-M004",
    "The file's ONNX IR version, or the version of an operator set it imports, is not supported.",
    "Convert it with onnx.version_converter, or export it for a supported version.",
)
UNKNOWN_OP = Code(
    "PENS-M005",
    "A node uses an operator that its operator set does not define.",
    "Check the node's operator type and domain.",
)
UNSUPPORTED_OP = Code(
    "PENS-M006",
    "A node uses an operator penstock does not compile yet.",
    "`penstock ops` lists the operators it does; the message names the nearest supported form.",
)
UNSUPPORTED_ATTRIBUTE = Code(
    "PENS-M007",
    "A node of a supported operator has an attribute value penstock does not compile.",
    "Use the form the message names.",
)
UNSUPPORTED_TYPE = Code(
    "PENS-M008",
    "A value has an element type penstock does not compile (strings, sequences, complex numbers ...).",
    "Cast the value to a supported type in the model.",
)
INVALID_NODE = Code(
    "PENS-M009",
    "A node breaks the ONNX specification: inputs, outputs or attributes are missing, too many or of a wrong kind.",
    "Correct the exporter; onnx.checker names the rule.",
)
CYCLE = Code("PENS-M010", "The graph's nodes depend on each other in a cycle.", "Correct the exporter.")
UNDEFINED_VALUE = Code(
    "PENS-M011", "A node reads a value that no input, initializer or earlier node defines.", "Correct the exporter."
)
DUPLICATE_NAME = Code("PENS-M012", "Two nodes define a value of the same name.", "Correct the exporter.")
SHAPE_CONFLICT = Code(
    "PENS-M013",
    "A value is not of the type that the model declares, or no parameters fed at run time give the shape it declares.",
    "Check the types and shapes that the message gives.",
)
SHAPE_UNKNOWN = Code(
    "PENS-M014",
    "A value that decides a shape is not known at compile time, or an input has no declared shape.",
    "Make it a constant of the model, or declare the shape when exporting.",
)
INVALID_DATA = Code(
    "PENS-M015",
    "A tensor stored in the model does not hold the bytes its shape and type call for.",
    "Export or download the model again.",
)
EXTERNAL_DATA_MISSING = Code(
    "PENS-M016",
    "A file that holds the model's weights is missing or too short.",
    "Keep the model's data files beside it.",
)
EXTERNAL_DATA_OUTSIDE = Code(
    "PENS-M017",
    "The model refers to a data file outside its own folder, which is never read.",
    "Put the data file beside the model and store a relative path.",
)
NOTED = Code(
    "PENS-M018",
    "Under --strict: a node is compiled, but by a slower way or not just as it says; else this is only noted.",
    "Change what the message names, or leave out --strict.",
)
CUSTOM_OPERATOR = Code(
    "PENS-M019",
    "A custom operator fails on a node, or its methods contradict each other.",
    "Correct the operator: the message names the method and the line; docs/custom-operators.md.",
)
DEPENDS_ON_SIZES = Code(
    "PENS-M020",
    "What a node computes depends on symbolic sizes in a way that is not compiled.",
    "Give the symbols that the message names a value or a range: `--dim NAME=VALUE`, `--dim NAME=LOW..HIGH`.",
)

NOT_ENOUGH_MEMORY = Code(
    "PENS-M021",
    "Compiling the model takes more memory than there is.",
    "Compile it where there is more, with fewer instruction set levels, or for smaller sizes.",
)

# Options, pipelines and inputs of a command: PENS-O ----------------------------------------------------------

UNKNOWN_OPTION = Code(
    "PENS-O001", "There is no option, command or value of that name.", "The message names the nearest one."
)
BAD_VALUE = Code("PENS-O002", "An option has a value it cannot take.", "The message says which values it takes.")
UNKNOWN_PASS = Code(
    "PENS-O003", "A pipeline names a pass or phase that does not exist.", "`penstock opt --list` lists all."
)
BAD_PASS_OPTION = Code(
    "PENS-O004", "A pass is given an option it does not have, or a wrong value.", "See docs/pipeline.md."
)
PIPELINE_SYNTAX = Code("PENS-O005", "The text of a pipeline cannot be read.", "Write it as 'fuse{max-ops=8},layout'.")
PHASE_ORDER = Code(
    "PENS-O006",
    "The first phase to run comes after the last one, or after what the input already is.",
    "docs/pipeline.md gives the order of the phases.",
)
BAD_INPUT = Code(
    "PENS-O007", "An input file or value for a run does not fit the model's inputs.", "`penstock info` shows them."
)
CANNOT_WRITE_OUTPUT = Code(
    "PENS-O008", "The output file or folder cannot be written.", "Check the path, the permissions and the space."
)
MISSING_PACKAGE = Code(
    "PENS-O009", "The command needs a Python package that is not installed.", "Install the extra it names."
)
UNKNOWN_PHASE = Code(
    "PENS-O010",
    "There is no phase of that name.",
    "docs/pipeline.md lists the ten; the message names the nearest one.",
)
BAD_PLUGIN = Code(
    "PENS-O011",
    "A plugin cannot be loaded, or defines no operator that can be used.",
    "The message says why; docs/custom-operators.md has an example.",
)
CACHE_UNUSABLE = Code(
    "PENS-O012",
    "The kernel cache is switched off, or its folder cannot be made or could be written to by others.",
    "Give PENSTOCK_CACHE a folder of your own; docs/kernel-cache.md.",
)

BAD_TUNING = Code(
    "PENS-O013",
    "A tuning record cannot be read, is damaged, or is of a kind that is not known.",
    "Give a file that --save-tuning wrote, unchanged; docs/tuning.md.",
)
BAD_STATE = Code(
    "PENS-O015",
    "What a session is to keep from run to run is no output that appends rows to an input, or cannot grow.",
    "Pair outputs with the inputs they feed, or give auto; docs/runtime.md has an example.",
)
CANNOT_TUNE = Code(
    "PENS-O014",
    "The model cannot be tuned: its code does not run on this machine, or it does not run on made-up inputs.",
    "Tune on a machine of the target, and compile with its record: --tuned FILE; docs/tuning.md.",
)

# IR text given by the user: PENS-I ---------------------------------------------------------------------------

IR_SYNTAX = Code("PENS-I001", "IR text cannot be parsed.", "The message gives line and column.")
INVALID_IR = Code(
    "PENS-I002", "IR text parses, but breaks a rule of its dialect or of its phase.", "The message names the op."
)
MISSING_WEIGHTS = Code(
    "PENS-I003",
    "IR text refers to weights by key, but the folder of weights beside it does not have them.",
    "Keep a dump beside the `weights` folder it was written with, or pass --weights.",
)
BAD_DUMP = Code(
    "PENS-I004", "The header of a dump is damaged.", "Restore the line that starts with '// penstock-dump:'."
)

# The target: PENS-T ------------------------------------------------------------------------------------------

UNKNOWN_TARGET = Code("PENS-T001", "There is no target of that name.", "`penstock targets` lists them.")
UNKNOWN_ISA = Code("PENS-T002", "The target has no such instruction set level.", "`penstock targets` lists them.")

# Writing the artifact: PENS-A --------------------------------------------------------------------------------

CANNOT_WRITE = Code(
    "PENS-A001",
    "The artifact could not be written (no space, no permission); nothing is left behind.",
    "Check the folder and the free space.",
)

# Defects of penstock: PENS-X ---------------------------------------------------------------------------------

PASS_FAILED = Code("PENS-X001", "A pass raised an exception.", "Report it with the reproducer folder.")
PASS_LEFT_INVALID_IR = Code(
    "PENS-X002", "A pass left IR that breaks the rules of its phase.", "Report it with the reproducer folder."
)
REWRITE_LIMIT = Code(
    "PENS-X003",
    "Patterns kept rewriting without coming to an end.",
    "Report it with the reproducer folder; the message names the pattern.",
)
UNEXPECTED = Code(
    "PENS-X004", "Something unexpected happened outside the passes.", "Report it; --debug shows the traceback."
)


@cache
def codes() -> dict[str, Code]:
    """Every code of the compiler, by name, in the order of definition."""
    return {str(value): value for value in list(globals().values()) if isinstance(value, Code)}


class CompileError(PenstockError):
    """Base of all errors the compiler raises on purpose. ``letters`` are the kinds of codes a subclass may carry."""

    letters: ClassVar[str] = ""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        assert code in codes(), f"{code} is not declared in compiler/errors.py"
        assert code[5] in self.letters, f"{code} is not a code of {type(self).__name__}"
        super().__init__(code, message, hint)


@dataclass(frozen=True)
class Problem:
    """One thing about a model that cannot be compiled.

    ``node`` is the name of the source node (or ``''`` for the file as a whole), ``op`` its operator type, ``reason``
    one sentence, ``hint`` the nearest form that is supported or what else to do.
    """

    code: str
    node: str
    op: str
    reason: str
    hint: str = ""

    def __post_init__(self) -> None:
        assert self.code in codes(), f"{self.code} is not declared in compiler/errors.py"

    @property
    def sentence(self) -> str:
        """Where it is and what is wrong."""
        where = f"node '{self.node}' ({self.op}): " if self.op else f"'{self.node}': " if self.node else ""
        return where + self.reason

    def __str__(self) -> str:
        return f"{self.sentence} [{self.code}]" + (f"\n    hint: {self.hint}" if self.hint else "")

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return asdict(self)


class ModelError(CompileError):
    """The model cannot be compiled; ``problems`` holds every reason found, not only the first."""

    letters = "MT"

    def __init__(self, problems: Problem | Sequence[Problem], model: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.model = model
        assert self.problems, "a ModelError has at least one problem"
        first = self.problems[0]
        subject = model or "the model"
        if len(self.problems) == 1:
            super().__init__(first.code, f"{subject} cannot be compiled: {first.sentence}", first.hint)
        else:
            lines = "".join(f"\n  {problem}" for problem in self.problems)
            super().__init__(first.code, f"{subject} cannot be compiled for {len(self.problems)} reasons:{lines}")

    def __reduce__(self) -> tuple[object, ...]:
        return (ModelError, (self.problems, self.model))


class OptionError(CompileError):
    """An option, a pipeline or an input of a command is wrong."""

    letters = "O"


class IRError(CompileError):
    """IR text given by the user is wrong."""

    letters = "I"


class TargetError(CompileError):
    """The target does not exist or cannot do what is asked."""

    letters = "T"


class ArtifactError(CompileError):
    """The artifact cannot be written. (What can be wrong with one when it is loaded: penstock.runtime.errors.)"""

    letters = "A"


class InternalError(CompileError):
    """A defect of penstock. ``reproducer`` is the folder that reproduces it, once the pass runner has written it."""

    letters = "X"

    def __init__(self, code: str, message: str, hint: str = "", reproducer: Path | None = None) -> None:
        super().__init__(code, message, hint)
        self.reproducer = reproducer


def nearest(name: str, choices: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the choice nearest to ``name``, or nothing if none is near."""
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.55)
    return f"; did you mean '{found[0]}'?" if found else ""
