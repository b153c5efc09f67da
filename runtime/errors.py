"""The exceptions users meet, each with a stable code.

In: what went wrong. Out: an exception whose text is one sentence and one thing to do. The one idea: a code names a
kind of failure for ever (``PENS-R004``), so documentation, tests and scripts can rely on it while the wording improves.
``PENS-R`` codes belong to the runtime; the native library reports the same numbers (``enum pens_status``).
"""

from __future__ import annotations

from dataclasses import dataclass


class PenstockError(Exception):
    """Base of every error penstock raises for something the user can act on.

    ``code`` is stable, ``message`` is one sentence, ``hint`` says what to do. ``str()`` is ``CODE: message hint``.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code = code
        self.message = message
        self.hint = hint
        super().__init__(f"{code}: {message}" + (f" {hint}" if hint else ""))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.code, self.message, self.hint))


class RuntimeFailure(PenstockError):
    """An artifact could not be loaded or run; ``code`` is one of :data:`CODES`."""


@dataclass(frozen=True)
class ErrorCode:
    """One documented failure: ``code``, a one-sentence ``template`` and the ``hint`` shown after it."""

    code: str
    template: str
    hint: str

    @property
    def status(self) -> int:
        """The number the native library returns for this failure (``enum pens_status``)."""
        return int(self.code.removeprefix("PENS-R"))

    def error(self, message: str | None = None, **values: object) -> RuntimeFailure:
        """The exception to raise: ``message`` as it stands (the native library's), or the template filled in."""
        return RuntimeFailure(self.code, message or self.template.format(**values), self.hint)


CANNOT_READ = ErrorCode("PENS-R001", "Cannot read {path}: {reason}.", "Check the path and its permissions.")
NOT_AN_ARTIFACT = ErrorCode(
    "PENS-R002", "{path} is not a penstock artifact.", "Compile the model first: penstock compile model.onnx."
)
WRONG_VERSION = ErrorCode(
    "PENS-R003",
    "The artifact has format version {found} and this runtime reads version {wanted}.",
    "Compile the model again with the penstock version that runs it.",
)
DAMAGED = ErrorCode("PENS-R004", "The artifact is damaged: {reason}.", "Copy or compile it again.")
DAMAGED_WEIGHTS = ErrorCode("PENS-R005", "The artifact's weights are damaged: {reason}.", "Copy or compile it again.")
NO_CODE_FOR_CPU = ErrorCode(
    "PENS-R006",
    "The artifact has code for {offered}, none of which this CPU can run.",
    "Compile the model for this CPU: penstock compile --target cpu:x86-64-v2.",
)
ISA_UNAVAILABLE = ErrorCode(
    "PENS-R007", "The instruction set {isa} was asked for, but {reason}.", "Leave isa out to take the best one."
)
OUT_OF_MEMORY = ErrorCode("PENS-R008", "Not enough memory: {reason}.", "Free memory or use fewer sessions.")
INVALID_ARGUMENT = ErrorCode("PENS-R009", "{reason}.", "See docs/runtime.md for what this call takes.")
SESSION_BUSY = ErrorCode(
    "PENS-R010",
    "The session is already running in another thread.",
    "Give each thread its own session: model.session() is cheap and shares the weights.",
)
WRONG_INPUTS = ErrorCode("PENS-R011", "{problems}.", "model.inputs lists each input's name, dtype and shape.")
WRONG_OUTPUTS = ErrorCode("PENS-R012", "{problems}.", "model.outputs lists each output's name, dtype and shape.")
EXECUTOR_FAILED = ErrorCode(
    "PENS-R013",
    "The host's executor returned before running every task it was given.",
    "It must call each task index exactly once and return when all have finished.",
)
CLOSED = ErrorCode("PENS-R014", "The {what} has been closed.", "Load the model or create the session again.")
NO_THREADS = ErrorCode("PENS-R015", "Cannot start {reason}.", "Ask for fewer threads.")
NO_NATIVE_LIBRARY = ErrorCode(
    "PENS-R016",
    "The native library {path} cannot be used: {reason}.",
    "Install penstock again, or build it with: python runtime/native/build.py.",
)
CHECK_FAILED = ErrorCode(
    "PENS-R017", "{reason}.", "Compile the model for these values, or feed those it was compiled for."
)
NO_SIZES = ErrorCode(
    "PENS-R018", "{reason}.", "Set them with session.set_sizes, or run the session on arrays, whose shapes tell them."
)
WRONG_SIZES = ErrorCode("PENS-R019", "{reason}.", "model.symbols lists each size's name and range.")
FULL = ErrorCode(
    "PENS-R020", "{reason}.", "Begin anew with session.reset(), or compile with a larger range: --dim past=0..2048."
)

CODES: dict[str, ErrorCode] = {value.code: value for value in list(globals().values()) if isinstance(value, ErrorCode)}
_BY_STATUS = {entry.status: entry for entry in CODES.values()}


def from_status(status: int, message: str) -> RuntimeFailure:
    """The exception for a native status number and the sentence that came with it."""
    return _BY_STATUS[status].error(message)


def _rebuild(kind: type[PenstockError], code: str, message: str, hint: str) -> PenstockError:
    return kind(code, message, hint)
