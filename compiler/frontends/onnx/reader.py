"""From a path, bytes or a message to a ``records.Model``.

In: what the user gave. Out: the model's records, or a ``ModelError`` if the file is not a model at all. The one idea:
the file is mapped, its large weights stay where they are (``wire``), and only its structure is parsed.
"""

from __future__ import annotations

import mmap
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.compiler.errors import MODEL_NOT_FOUND, UNREADABLE_MODEL, ModelError, Problem
from penstock.compiler.frontends.onnx.external import DataFolder
from penstock.compiler.frontends.onnx.proto import MessageReader
from penstock.compiler.frontends.onnx.records import Model
from penstock.compiler.frontends.onnx.wire import WireError, lift_weights

if TYPE_CHECKING:
    import onnx

    ModelSource: TypeAlias = "str | PathLike[str] | bytes | onnx.ModelProto"

TEXT_SUFFIX = ".onnxtxt"


def read_model(source: ModelSource, base_dir: str | PathLike[str] | None = None) -> Model:
    """The records of the model in ``source``: a path, serialized bytes, or a ``ModelProto``.

    A path ending in ``.onnxtxt`` holds ONNX's textual syntax. ``base_dir`` is where data files may lie (default: the
    model's folder). Raises ModelError if the source cannot be read; what is wrong inside is in ``Model.problems``.
    """
    folder = None if base_dir is None else Path(base_dir)
    if isinstance(source, str | PathLike):
        path = Path(fspath(source))
        folder = folder or path.parent
        if path.suffix == TEXT_SUFFIX:
            return _read_message(_parse_text(path), path.name, folder, {})
        return _read_bytes(_map_file(path), path.name, folder)
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_bytes(memoryview(source).cast("B"), "", folder)
    return _read_message(source, str(source.graph.name), folder, {})


def _refuse(code: str, name: str, reason: str) -> ModelError:
    return ModelError(Problem(code, "", "", reason), name)


def _map_file(path: Path) -> memoryview:
    """The file's bytes, mapped. Raises ModelError if it cannot be read."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise _refuse(UNREADABLE_MODEL, path.name, "the file is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _refuse(MODEL_NOT_FOUND, str(path), f"the file cannot be read: {reason}") from error


def _read_bytes(data: memoryview, name: str, folder: Path | None) -> Model:
    """The model serialized in ``data``."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        structure, lifted = lift_weights(data)
        message = onnx.ModelProto.FromString(structure)
    except WireError as error:
        raise _refuse(UNREADABLE_MODEL, name, f"this is not a complete ONNX file: {error}") from error
    except (DecodeError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise _refuse(UNREADABLE_MODEL, name, f"this is not a complete ONNX file: {error}") from error
    return _read_message(message, name, folder, lifted)


def _parse_text(path: Path) -> Any:
    """The model in ONNX's textual syntax. Raises ModelError."""
    import onnx.parser

    try:
        return onnx.parser.parse_model(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refuse(MODEL_NOT_FOUND, str(path), f"the file cannot be read: {error.strerror}") from error
    except (onnx.parser.ParseError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise _refuse(UNREADABLE_MODEL, path.name, f"the text is not an ONNX model: {reason}") from error


def _read_message(message: Any, name: str, folder: Path | None, lifted: dict[int, memoryview]) -> Model:
    if not message.HasField("graph"):
        raise _refuse(UNREADABLE_MODEL, name, "this is not an ONNX file: it holds no graph")
    try:
        return MessageReader(DataFolder(folder), lifted).model(message, name)
    except UnicodeDecodeError as error:
        raise _refuse(UNREADABLE_MODEL, name, f"a name in the file is not valid text: {error.reason}") from error
