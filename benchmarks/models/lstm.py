"""One LSTM layer of 256 units over 128 steps at batch 1: a chain of matrix-vector products."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import BenchmarkModel, Example, generator, spread_vectors


class Recurrent(nn.Module):
    """x: f32 [1, steps, width] -> y: f32 [1, steps, hidden], and the last hidden and cell state: f32 [1, 1, hidden]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (hidden, cell) = self.lstm(x)
        return y, hidden, cell


def build(tiny: bool) -> Example:
    """256 units over 128 steps, or 48 units over 9 steps of width 45 (the exporter folds smaller weights)."""
    torch.manual_seed(0)
    width, hidden, steps = (45, 48, 9) if tiny else (256, 256, 128)
    module = spread_vectors(Recurrent(width, hidden))
    x = torch.randn(1, steps, width, generator=generator(1))
    return Example(module, {"x": x}, ("y", "hidden", "cell"), {"x": {0: "batch", 1: "steps"}})


MODELS = (BenchmarkModel("lstm", "LSTM 256 -> 256, 128 steps, batch 1", build),)
