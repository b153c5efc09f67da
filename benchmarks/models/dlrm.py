"""A DLRM-like recommendation model (Naumov et al. 2019, arXiv:1906.00091) at batch 64.

8 embedding tables, a bottom MLP on 13 dense features, the dot products of all pairs of the 9 vectors, a top MLP.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from .base import BenchmarkModel, Example, generator, spread_vectors

BATCH = 64


def mlp(widths: tuple[int, ...], last: nn.Module) -> nn.Sequential:
    """Linear layers with relu between them and `last` at the end."""
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    layers[-1] = last
    return nn.Sequential(*layers)


class Dlrm(nn.Module):
    """dense: f32 [n, 13], sparse: i64 [n, tables] -> click probability: f32 [n, 1]."""

    pairs: Tensor

    def __init__(self, tables: int, rows: int, bottom: tuple[int, ...], top: tuple[int, ...]) -> None:
        super().__init__()
        width = bottom[-1]
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for _ in range(tables))
        self.bottom = mlp(bottom, nn.ReLU())
        pairs = torch.tril_indices(tables + 1, tables + 1, offset=-1)
        self.register_buffer("pairs", pairs[0] * (tables + 1) + pairs[1])
        self.top = mlp((width + pairs.shape[1], *top), nn.Sigmoid())

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        x = self.bottom(dense)
        rows = [table(sparse[:, i]) for i, table in enumerate(self.tables)]
        vectors = torch.stack([x, *rows], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return self.top(torch.cat([x, products.index_select(1, self.pairs)], dim=1))


def build(tiny: bool) -> Example:
    """8 tables of 10000 x 64, or 4 tables of 20 x 8."""
    torch.manual_seed(0)
    tables, rows = (4, 20) if tiny else (8, 10_000)
    bottom, top = ((13, 24, 8), (17, 1)) if tiny else ((13, 512, 256, 64), (512, 256, 1))
    module = Dlrm(tables, rows, bottom, top)
    random = generator(1)
    inputs = {
        "dense": torch.rand(BATCH, 13, generator=random),
        "sparse": torch.randint(0, rows, (BATCH, tables), generator=random),
    }
    return Example(spread_vectors(module), inputs, ("probability",))


MODELS = (BenchmarkModel("dlrm_b64", "DLRM-like: 8 tables of 10000 x 64, batch 64", build),)
