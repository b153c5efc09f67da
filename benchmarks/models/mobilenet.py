"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2), width 1.0, 1x3x224x224.

Depthwise convolutions and relu6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import BenchmarkModel, Example, calibrate_batch_norm, generator, spread_vectors

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, output channels, blocks, stride of the first block), table 2 of the paper."""


def conv_norm_relu6(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch norm, relu6."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 (linear), with a shortcut where shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(conv_norm_relu6(in_channels, hidden, 1))
        layers.append(conv_norm_relu6(hidden, hidden, 3, stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, out_channels, 1, bias=False))
        layers.append(nn.BatchNorm2d(out_channels))
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    """x: f32 [n, 3, h, w] -> logits: f32 [n, classes]."""

    def __init__(self, divisor: int, head: int, classes: int) -> None:
        super().__init__()
        channels = 32 // divisor
        layers: list[nn.Module] = [conv_norm_relu6(3, channels, 3, 2)]
        for expansion, out_channels, blocks, stride in STAGES:
            for block in range(blocks):
                out = out_channels // divisor
                layers.append(InvertedResidual(channels, out, stride if block == 0 else 1, expansion))
                channels = out
        layers.append(conv_norm_relu6(channels, head, 1))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def build(tiny: bool) -> Example:
    """The full network at 224x224, or one with an eighth of the channels at 48x48."""
    torch.manual_seed(0)
    module = MobileNetV2(8, 72, 10) if tiny else MobileNetV2(1, 1280, 1000)
    size = 48 if tiny else 224
    spread_vectors(module)
    random = generator(1)
    calibrate_batch_norm(module, [torch.randn(8, 3, size, size, generator=random) for _ in range(2)])
    return Example(
        module,
        {"x": torch.randn(1, 3, size, size, generator=random)},
        ("logits",),
        {"x": {0: "batch", 2: "height", 3: "width"}},
    )


MODELS = (BenchmarkModel("mobilenet_v2", "MobileNetV2, 1x3x224x224", build),)
