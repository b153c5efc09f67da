"""MLP 784-512-256-10 with relu, at batch 1 and 32: the smallest model, where call overhead shows."""

from __future__ import annotations

import torch
from torch import nn

from .base import BenchmarkModel, Example, generator, spread_vectors


def build(batch: int, tiny: bool) -> Example:
    """x: f32 [batch, 784] -> logits: f32 [batch, 10]."""
    torch.manual_seed(0)
    widths = (49, 37, 24, 10) if tiny else (784, 512, 256, 10)
    module = nn.Sequential(
        nn.Linear(widths[0], widths[1]),
        nn.ReLU(),
        nn.Linear(widths[1], widths[2]),
        nn.ReLU(),
        nn.Linear(widths[2], widths[3]),
    )
    x = torch.randn(batch, widths[0], generator=generator(1))
    return Example(spread_vectors(module), {"x": x}, ("logits",))


MODELS = (
    BenchmarkModel("mlp_b1", "MLP 784-512-256-10, batch 1", lambda tiny: build(1, tiny)),
    BenchmarkModel("mlp_b32", "MLP 784-512-256-10, batch 32", lambda tiny: build(32, tiny)),
)
