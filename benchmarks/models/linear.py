"""One linear layer of 8x8: next to nothing to compute, so its time is what a call costs."""

from __future__ import annotations

import torch
from torch import nn

from .base import BenchmarkModel, Example, generator, spread_vectors


def build(tiny: bool) -> Example:
    """x: f32 [1, 8] -> y: f32 [1, 8]; the tiny version is the same."""
    torch.manual_seed(0)
    return Example(spread_vectors(nn.Linear(8, 8)), {"x": torch.randn(1, 8, generator=generator(1))}, ("y",))


MODELS = (BenchmarkModel("linear_8x8", "one linear layer of 8x8, batch 1", build),)
