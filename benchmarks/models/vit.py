"""ViT-B/16 (Dosovitskiy et al. 2020, arXiv:2010.11929), random weights, 1x3x224x224: patch convolution, 197 tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

from .base import BenchmarkModel, Example, generator, spread_vectors


class Classifier(nn.Module):
    """x: f32 [n, 3, h, w] -> logits: f32 [n, classes]."""

    def __init__(self, network: ViTForImageClassification) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(pixel_values=x).logits


def build(tiny: bool) -> Example:
    """The base model with 1000 classes, or 2 layers of width 24 on 32x32 with patches of 8."""
    torch.manual_seed(0)
    if tiny:
        config = ViTConfig(
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=56,
            image_size=32,
            patch_size=8,
        )
    else:
        config = ViTConfig()
    config.num_labels = 10 if tiny else 1000
    config.initializer_range = 1 / math.sqrt(config.hidden_size)
    network = ViTForImageClassification(config)
    spread_vectors(network)
    size = 32 if tiny else 224
    return Example(Classifier(network), {"x": torch.randn(1, 3, size, size, generator=generator(1))}, ("logits",))


MODELS = (BenchmarkModel("vit_b16", "ViT-B/16, 1x3x224x224", build),)
