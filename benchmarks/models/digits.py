"""The convolutional network of the demo (examples/digits; trained weights), on one image of 8x8 and on 64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from .base import BenchmarkModel, Example

EXAMPLE = Path(__file__).parents[2] / "examples/digits"


class Digits(nn.Module):
    """image: f32 [n, 1, 8, 8], grey levels 0 to 16 -> probabilities: f32 [n, 10]; the graph that the demo compiles."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.classifier = nn.Linear(second * 4, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.conv1(image * (1 / 16))), 2)
        x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        return torch.softmax(self.classifier(torch.flatten(x, 1)), 1)


def build(batch: int, tiny: bool) -> Example:
    """Images the network never saw in training; the tiny version has 3 in place of 64."""
    weights = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(EXAMPLE / "digits.onnx").graph.initializer
    }
    module = Digits(len(weights["conv1.bias"]), len(weights["conv2.bias"]))
    module.load_state_dict({name: torch.from_numpy(weights[name].copy()) for name in module.state_dict()})
    with np.load(EXAMPLE / "held_out.npz") as held_out:
        images = held_out["images"][: min(batch, 3) if tiny else batch].astype(np.float32)
    return Example(module, {"image": torch.from_numpy(images)}, ("probabilities",))


MODELS = (
    BenchmarkModel("digits_b1", "digits CNN (trained), batch 1", lambda tiny: build(1, tiny)),
    BenchmarkModel("digits_b64", "digits CNN (trained), batch 64", lambda tiny: build(64, tiny)),
)
