"""ResNet-50 v1.5 (He et al. 2015, arXiv:1512.03385; stride in the 3x3 as torchvision has it), 1x3x224x224."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import BenchmarkModel, Example, calibrate_batch_norm, generator, spread_vectors

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand by 4, each with batch norm, plus the shortcut; relu after the sum."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


class ResNet50(nn.Module):
    """x: f32 [n, 3, h, w] -> logits: f32 [n, classes]."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        channels = width
        stages: list[nn.Module] = []
        for stage, blocks in enumerate(BLOCKS):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(Bottleneck(channels, width << stage, stride))
                channels = (width << stage) * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.stages(self.stem(x))), 1))


def build(tiny: bool) -> Example:
    """The full network at 224x224, or one with 3 instead of 64 base channels at 48x48."""
    torch.manual_seed(0)
    module = ResNet50(3, 10) if tiny else ResNet50(64, 1000)
    size = 48 if tiny else 224
    spread_vectors(module)
    random = generator(1)
    calibrate_batch_norm(module, [torch.randn(4, 3, size, size, generator=random) for _ in range(2)])
    return Example(
        module,
        {"x": torch.randn(1, 3, size, size, generator=random)},
        ("logits",),
        {"x": {0: "batch", 2: "height", 3: "width"}},
    )


MODELS = (BenchmarkModel("resnet50", "ResNet-50 v1.5, 1x3x224x224", build),)
