"""Custom operators: what a user says about one, and where penstock finds them.

In: Python files and installed packages that define subclasses of ``Operator``. Out: the operator of a node, by domain,
name and operator set. The one idea: an operator is one class whose methods share a signature; its parameters are the
node's inputs, its keyword-only ones the attributes, so nothing is declared twice.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from penstock.compiler.errors import BAD_PLUGIN, OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUP = "penstock.operators"
"""The group of entry points that name modules or classes of operators."""

METHODS = ("infer", "evaluate", "decompose", "kernel")


@dataclass(frozen=True)
class TensorType:
    """Type of a tensor: a numpy dtype (bfloat16: as ml_dtypes has it) and the extents."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """Machine code for one node, called as ``void symbol(const void *context, void *const *buffers, int64_t begin,
    int64_t end)``.

    ``object``: a relocatable ELF object, as bytes or the path of a file, or one for each instruction set level. It
    refers to nothing but itself. ``buffers`` are the inputs, ``parameters`` if there are any, then the outputs, each
    row-major and dense. A call computes the parallel units ``begin`` to ``end`` of 0 .. ``units``, which write to
    different memory. ``nanoseconds``: about how long one unit takes.
    """

    object: bytes | str | PathLike[str] | Mapping[str, bytes | str | PathLike[str]]
    symbol: str
    units: int = 1
    parameters: NDArray[Any] | None = None
    nanoseconds: float = 1000.0


class Operator:
    """A custom operator. Subclasses give ``domain``, ``infer``, ``evaluate``, and ``decompose`` or ``kernel``.

    Each method takes the inputs as its parameters (a default of None: the input is optional; ``*rest``: any number),
    and the attributes as keyword-only ones. ``name`` is the class's unless given; ``since`` is the first version of the
    domain's operator set it is for. ValueError from any method refuses the node with its sentence.
    """

    domain: ClassVar[str] = ""
    name: ClassVar[str] = ""
    since: ClassVar[int] = 1

    infer: Any
    """The type rule: from the inputs' ``TensorType`` to that of the result, or of each."""
    evaluate: Any
    """The meaning: from numpy arrays to the result, or results."""
    decompose: Any
    """The same on graph values, which read like arrays (``penstock.operators.ops`` has the functions)."""
    kernel: Any
    """Or: from the inputs' ``TensorType`` to a ``Kernel``."""


@dataclass(frozen=True)
class Signature:
    """How an operator's methods are called: inputs with whether each is required, and attributes with defaults."""

    inputs: tuple[tuple[str, bool], ...]
    variadic: bool
    attributes: Mapping[str, Any]  # inspect.Parameter.empty: required

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for attributes ``given``. Raises ValueError for unknown and missing ones."""
        unknown = sorted(set(given) - set(self.attributes))
        if unknown:
            raise ValueError(f"it has no attribute {', '.join(unknown)}")
        bound = {**self.attributes, **given}
        missing = sorted(name for name, value in bound.items() if value is inspect.Parameter.empty)
        if missing:
            raise ValueError(f"the attribute {', '.join(missing)} is missing")
        return bound


Source: TypeAlias = "str | PathLike[str] | type[Operator]"


class Operators:
    """The custom operators of one compilation: those of ``plugins`` (files or classes), then installed ones."""

    def __init__(self, plugins: Sequence[Source] = ()) -> None:
        classes = [item for plugin in plugins for item in _classes_of(plugin)]
        self._given = _by_name(classes)

    def find(self, domain: str, name: str, opset: int) -> Operator | None:
        """The newest operator for a domain's operator set. Raises OptionError if what is installed is wrong."""
        for known in (self._given, installed()):
            fitting = [item for item in known.get((domain, name), ()) if item.since <= opset]
            if fitting:
                return fitting[-1]()
        return None


def title(operator: Operator | type[Operator]) -> str:
    """An operator's full name: ``com.example.Snake``."""
    kind = operator if isinstance(operator, type) else type(operator)
    return f"{kind.domain}.{kind.name or kind.__name__}"


def versioned(operator: Operator | type[Operator]) -> str:
    """An operator's full name and first version: ``com.example.Snake.1``."""
    return f"{title(operator)}.{operator.since}"


_DEFINED: dict[str, type[Operator]] = {}


def defined(name: str) -> type[Operator] | None:
    """The operator of a full name and version that was found last in this process, or is installed."""
    if name not in _DEFINED:
        installed()
    return _DEFINED.get(name)


@cache
def signature(kind: type[Operator]) -> Signature:
    """The signature that the methods of an operator share. Raises OptionError if they do not."""
    found: dict[str, tuple[Any, ...]] = {}
    for method in METHODS:
        function = getattr(kind, method, None)
        if function is not None:
            _self, *parameters = inspect.signature(function).parameters.values()
            found[method] = tuple((p.name, p.kind, repr(p.default)) for p in parameters)
    if len(set(found.values())) > 1:
        raise _wrong(kind, f"{' and '.join(found)} take different parameters")
    _self, *parameters = inspect.signature(kind.infer).parameters.values()
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return Signature(
        inputs=tuple((p.name, p.default is p.empty) for p in plain),
        variadic=any(p.kind == p.VAR_POSITIONAL for p in parameters),
        attributes={p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY},
    )


def _wrong(what: Any, reason: str) -> OptionError:
    where = title(what) if isinstance(what, type) else what
    return OptionError(BAD_PLUGIN, f"the custom operator {where} is not usable: {reason}.", "docs/custom-operators.md")


def _by_name(classes: Sequence[type[Operator]]) -> dict[tuple[str, str], list[type[Operator]]]:
    """Operators by domain and name, oldest first. Raises OptionError for wrong ones."""
    found: dict[tuple[str, str], list[type[Operator]]] = {}
    for kind in dict.fromkeys(classes):
        if kind.domain in ("", "ai.onnx"):
            raise _wrong(kind, "it needs a domain of its own, which is not ONNX's")
        missing = [method for method in METHODS[:2] if getattr(kind, method, None) is None]
        ways = [method for method in METHODS[2:] if getattr(kind, method, None) is not None]
        if missing or len(ways) != 1:
            have = f"it lacks {' and '.join(missing)}" if missing else f"it has {' and '.join(ways) or 'neither'}"
            raise _wrong(kind, f"{have}; it needs infer, evaluate, and either decompose or kernel")
        signature(kind)
        versions = found.setdefault((kind.domain, kind.name or kind.__name__), [])
        if any(other.since == kind.since for other in versions):
            raise _wrong(kind, f"two of this name are for operator sets from {kind.since} on")
        versions.append(kind)
        _DEFINED[versioned(kind)] = kind
    return {key: sorted(versions, key=lambda kind: kind.since) for key, versions in found.items()}


def _classes_of(plugin: Source) -> list[type[Operator]]:
    """The operators that a plugin defines. Raises OptionError if there are none."""
    if isinstance(plugin, type):
        return [plugin]
    module = _load(Path(fspath(plugin)))
    found = _defined_in(module)
    if not found:
        raise OptionError(BAD_PLUGIN, f"the plugin {plugin} defines no operator.", "docs/custom-operators.md")
    return found


def _defined_in(module: ModuleType) -> list[type[Operator]]:
    """The operators defined in ``module``, those it only imports left out, in order."""
    members: list[Any] = list(vars(module).values())
    return [
        item
        for item in members
        if isinstance(item, type) and issubclass(item, Operator) and item.__module__ == module.__name__ and item.domain
    ]


def _load(path: Path) -> ModuleType:
    """The module of a Python file, run once for each content. Raises OptionError."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        reason = error.strerror or error
        raise OptionError(BAD_PLUGIN, f"the plugin {path} cannot be read: {reason}.", "Check the path.") from error
    name = f"penstock_plugin_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise OptionError(BAD_PLUGIN, f"the plugin {path} is not a Python file.", "Its name ends in .py.")
    module = sys.modules[name] = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception | SystemExit):
            told = where_of(error, str(path))
            raise OptionError(BAD_PLUGIN, f"the plugin {path} cannot be loaded: {told}.", "Correct it.") from error
        raise
    return module


@cache
def installed() -> dict[tuple[str, str], list[type[Operator]]]:
    """Operators of installed packages, by the entry points of group ``penstock.operators``. Raises OptionError."""
    classes: list[type[Operator]] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            loaded: Any = point.load()
        except Exception as error:
            told = where_of(error, "")
            reason = f"the installed plugin '{point.name}' ({point.value}) cannot be loaded: {told}."
            raise OptionError(BAD_PLUGIN, reason, "Correct it, or uninstall it.") from error
        found = [loaded] if isinstance(loaded, type) else _defined_in(loaded)
        if not found or not all(issubclass(kind, Operator) for kind in found):
            reason = f"the installed plugin '{point.name}' ({point.value}) names no operator."
            raise OptionError(BAD_PLUGIN, reason, "docs/custom-operators.md")
        classes.extend(found)
    return _by_name(classes)


def where_of(error: BaseException, file: str) -> str:
    """What went wrong in a plugin, and at which line of ``file`` (empty: of the file the error is from)."""
    text = " ".join(str(error).split())[:200]
    trace, line = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not file or name == file:
            line = f" ({Path(name).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{line}".rstrip(".")
