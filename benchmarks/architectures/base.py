"""What an architecture is, and the wrappers and seeds that all of them share.

In: a torch module with random weights from fixed seeds, and a function from sizes to inputs. The one idea: a family
module only describes networks (`ARCHITECTURES`); exporting, compiling and comparing happen elsewhere, once for all.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Inputs = dict[str, Tensor]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Architecture:
    """A network: `build()` makes it, `inputs(sizes)` its inputs in the order of its parameters.

    `sizes`: two values per symbolic dimension, the one a model is traced with and the one it is run with too.
    `axes`: the symbolic dimensions of every input, as {input: {axis: dimension}}. `tolerance`: the largest error, as
    a part of the range of the output's values. `opset` for the TorchScript exporter (None: its default, which can be
    newer than what onnxruntime has).
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[Sizes], Inputs]
    axes: Mapping[str, Mapping[int, str]]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=lambda: {"batch": (2, 3)})
    tolerance: float = 1e-4
    opset: int | None = None

    def make(self) -> nn.Module:
        """The module, with weights from the seed of its name, ready to export."""
        torch.manual_seed(zlib.crc32(self.name.encode()))
        module = self.build().eval()
        enliven(module)
        settle_batch_norms(module, self.example(0))
        return module.eval()

    def example(self, which: int) -> Inputs:
        """Inputs at the first (0) or second (1) value of every size."""
        return self.inputs({name: values[which] for name, values in self.sizes.items()})


class Fields(nn.Module):
    """A model of transformers as a function of tensors: takes inputs by position, gives the fields of its result."""

    def __init__(self, model: nn.Module, inputs: tuple[str, ...], fields: tuple[str, ...], **options: Any) -> None:
        super().__init__()
        self.model, self.inputs, self.fields, self.options = model, inputs, fields, options

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The values of `fields`, in order."""
        result = self.model(**dict(zip(self.inputs, tensors, strict=True)), **self.options)
        return tuple(result[name] for name in self.fields)


def generator(seed: int) -> torch.Generator:
    """A random generator independent of torch's global one."""
    return torch.Generator().manual_seed(seed)


def enliven(module: nn.Module) -> None:
    """Weights of size 1 / sqrt(fan-in) and vectors off 0 and 1: fresh ones would hide what a compiler forgets."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Linear, nn.Conv1d, nn.Conv2d)):
                part.weight.normal_(0, 1 / math.sqrt(part.weight[0].numel()))
        for parameter in module.parameters():
            if parameter.dim() == 1 and parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape) * 0.1)


def settle_batch_norms(module: nn.Module, inputs: Inputs) -> None:
    """Set the running statistics of batch norms to those of `inputs`, so that activations stay in range."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        module(*inputs.values())


def image(height: int = 64, width: int = 64, channels: int = 3) -> Callable[[Sizes], Inputs]:
    """pixel_values: f32 [batch, channels, height, width]; height and width can be sizes."""

    def make(sizes: Sizes) -> Inputs:
        shape = (sizes["batch"], channels, sizes.get("height", height), sizes.get("width", width))
        return {"pixel_values": torch.randn(shape, generator=generator(1))}

    return make


def tokens(vocabulary: int = 99, mask: bool = True) -> Callable[[Sizes], Inputs]:
    """input_ids: i64 [batch, sequence], and attention_mask, the last row padded at its end."""

    def make(sizes: Sizes) -> Inputs:
        batch, length = sizes["batch"], sizes["sequence"]
        ids = torch.randint(3, vocabulary, (batch, length), generator=generator(2))
        if not mask:
            return {"input_ids": ids}
        seen = torch.ones(batch, length, dtype=torch.int64)
        seen[-1, length - 2 :] = 0
        return {"input_ids": ids, "attention_mask": seen}

    return make


BATCH_AXES = {"pixel_values": {0: "batch"}}
IMAGE_AXES = {"pixel_values": {0: "batch", 2: "height", 3: "width"}}
TOKEN_AXES = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}}
TOKEN_SIZES = {"batch": (2, 3), "sequence": (7, 11)}
IMAGE_SIZES = {"batch": (2, 3), "height": (64, 96), "width": (64, 32)}
