"""Export an architecture with torch's exporters into a cache folder.

In: an architecture, the exporter and whether its sizes stay symbolic. Out: `<name>.<exporter>.<shapes>.onnx`, or the
same with `.failed`, holding the exporter's words; and `<name>.<which>.npz`, the inputs at both sizes.
"""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from pathlib import Path
from typing import Any

from .base import Architecture

EXPORTERS = ("dynamo", "torchscript")
SHAPES = ("fixed", "dynamic")
Way = tuple[str, str]
WAYS: tuple[Way, ...] = tuple((exporter, shapes) for shapes in SHAPES for exporter in EXPORTERS)


def export_path(cache: Path, name: str, way: Way) -> Path:
    """Where an export is, if it was made."""
    return cache / f"{name}.{way[0]}.{way[1]}.onnx"


def write_inputs(architecture: Architecture, cache: Path) -> None:
    """Both examples as .npz files."""
    import numpy as np

    for which in (0, 1):
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in architecture.example(which).items()}
        np.savez(cache / f"{architecture.name}.{which}.npz", **arrays)


def export(architecture: Architecture, way: Way, cache: Path) -> str:
    """Make one export; returns "" or why there is none. Raises nothing of the exporters'."""
    import torch

    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # fused kernels that no exporter knows
    path = export_path(cache, architecture.name, way)
    module = architecture.make()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    inputs = architecture.example(0)
    try:
        with torch.no_grad():
            if way[0] == "dynamo":
                _dynamo(architecture, module, inputs, way[1] == "dynamic", path)
            else:
                _torchscript(architecture, module, inputs, way[1] == "dynamic", path)
    except Exception as error:
        path.unlink(missing_ok=True)
        reason = f"{type(error).__name__}: {error}"
        path.with_suffix(".failed").write_text(reason)
        return reason
    return ""


def reason(failure: str) -> str:
    """One line of what a ``.failed`` file holds: the first cause that dynamo names, else its first line."""
    _, found, summary = failure.partition("## Exception summary")
    lines = (summary if found else failure).strip().splitlines()
    first, *rest = [re.sub(r"^<class '(?:\w+\.)*(\w+)'>", r"\1", line) for line in lines]
    return (f"{first} {rest[0].lstrip('- ')}" if first.endswith(":") and rest else first)[:300]


def _dynamo(architecture: Architecture, module: Any, inputs: dict[str, Any], dynamic: bool, path: Path) -> None:
    import torch

    shapes: Any = None
    if dynamic:
        axes = [dict(architecture.axes.get(name, {})) for name in inputs]
        shapes = _by_parameter(module, axes)
    program = torch.onnx.export(
        module,
        tuple(inputs.values()),
        dynamo=True,
        input_names=list(inputs),
        dynamic_shapes=shapes,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(path, external_data=False)


def _by_parameter(module: Any, values: list[Any]) -> dict[str, Any]:
    """Values for the arguments in order, as torch.export wants them: by parameter, a tuple for *parameters."""
    given: dict[str, Any] = {}
    left = list(values)
    for name, parameter in inspect.signature(module.forward).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            given[name] = tuple(left)
            left = []
        elif left:
            given[name] = left.pop(0)
    return given


def _torchscript(architecture: Architecture, module: Any, inputs: dict[str, Any], dynamic: bool, path: Path) -> None:
    import torch

    torch.onnx.export(
        module,
        tuple(inputs.values()),
        str(path),
        dynamo=False,
        opset_version=architecture.opset,
        input_names=list(inputs),
        dynamic_axes={name: dict(axes) for name, axes in architecture.axes.items()} if dynamic else None,
    )
