"""What a benchmark model is, and how it becomes an ONNX file.

In: a torch module with seeded random (or packaged real) weights and its sample inputs. Out: `<name>.onnx`, written by
torch's dynamo exporter with static shapes (or `<name>.dynamic.onnx`, with symbolic ones), and `<name>.npz`, the sample
inputs by graph input name.
The one idea: a family module only describes networks (`MODELS`); calibration, export and clean-up happen here, once.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

OPSET = 18
"""The opset of every benchmark model: the one torch's dynamo exporter translates to directly."""


@dataclass(frozen=True)
class Example:
    """A network ready to export: `module(*inputs.values())` returns the tensors named by `outputs`, in order.

    `symbols` names the axes that are symbolic in the dynamic version, by input; where it says nothing, axis 0 of every
    input is `batch`.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    symbols: dict[str, dict[int, str]] | None = None

    def symbolic_axes(self) -> list[dict[int, str]]:
        """The symbolic axes of every input, in order."""
        return [{0: "batch"} if self.symbols is None else self.symbols.get(name, {}) for name in self.inputs]


@dataclass(frozen=True)
class BenchmarkModel:
    """A named network; `build(tiny)` makes it, at full size or as a small version of the same structure."""

    name: str
    summary: str
    build: Callable[[bool], Example]


def generator(seed: int) -> torch.Generator:
    """A random generator independent of torch's global one."""
    return torch.Generator().manual_seed(seed)


def spread_vectors(module: nn.Module, seed: int = 7) -> nn.Module:
    """Move every vector parameter (bias, norm scale) off its initial 0 or 1 by N(0, 0.1).

    A fresh network's zero biases and unit scales would hide a compiler that forgets them.
    """
    random = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=random) * 0.1)
    return module


def calibrate_batch_norm(module: nn.Module, batches: list[Tensor]) -> nn.Module:
    """Set every batch norm's running statistics to the average over `batches`, so activations stay in range."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    module.train()
    with torch.no_grad():
        for batch in batches:
            module(batch)
    return module.eval()


def make(model: BenchmarkModel, folder: Path, tiny: bool, dynamic: bool = False) -> Path:
    """Write `<name>.onnx` (`<name>.dynamic.onnx`) and `<name>.npz` into `folder` and return the path of the first."""
    torch.manual_seed(zlib.crc32(model.name.encode()))
    example = model.build(tiny)
    example.module.eval()
    arguments = tuple(example.inputs.values())
    shapes: Any = None
    if dynamic:
        arguments, shapes = symbolic_arguments(example)
    program = torch.onnx.export(
        example.module,
        arguments,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(example.inputs),
        output_names=list(example.outputs),
        dynamic_shapes=shapes,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    proto = clean(program.model_proto, model.name)
    path = folder / f"{model.name}{'.dynamic' if dynamic else ''}.onnx"
    onnx.save(proto, path)
    arrays: dict[str, Any] = {name: tensor.detach().numpy() for name, tensor in example.inputs.items()}
    np.savez_compressed(folder / f"{model.name}.npz", **arrays)
    return path


def symbolic_arguments(example: Example) -> tuple[tuple[Tensor, ...], Any]:
    """The arguments to trace with, and the symbolic axes in the structure of the module's parameters.

    The exporter takes an axis of extent 1 for a fixed one, so such axes are doubled.
    """
    axes = example.symbolic_axes()
    arguments: list[Tensor] = []
    for tensor, named in zip(example.inputs.values(), axes, strict=True):
        for axis in named:
            tensor = torch.cat([tensor, tensor], axis) if tensor.shape[axis] == 1 else tensor
        arguments.append(tensor)
    shapes = [{axis: torch.export.Dim(name) for axis, name in named.items()} for named in axes]
    by_parameter: dict[str, Any] = {}
    for parameter in inspect.signature(example.module.forward).parameters.values():
        if not shapes:
            break
        every = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        by_parameter[parameter.name] = tuple(shapes) if every else shapes.pop(0)
    return tuple(arguments), by_parameter


def clean(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Drop what the exporter records about the machine (stack traces, source files) and unused value infos."""
    del proto.metadata_props[:]
    proto.doc_string = ""
    proto.graph.name = name
    proto.graph.doc_string = ""
    del proto.graph.metadata_props[:]
    del proto.graph.value_info[:]
    for item in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    if len(proto.functions):
        raise ValueError(f"{name}: the exporter left {len(proto.functions)} functions in the file")
    return proto
