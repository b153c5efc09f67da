"""A small diffusion UNet (after Ho et al. 2020, arXiv:2006.11239), 1x4x32x32 with a time step.

Group norm, silu, sinusoidal time embedding, strided and nearest-neighbour resampling, skip concatenations, and
self-attention at the lowest resolution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import BenchmarkModel, Example, generator, spread_vectors


class TimeEmbedding(nn.Module):
    """t: f32 [n] -> f32 [n, out]: sines and cosines at geometric frequencies, then two linear layers."""

    frequencies: Tensor

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        half = width // 2
        self.register_buffer("frequencies", torch.exp(-math.log(10000.0) * torch.arange(half) / half))
        self.layers = nn.Sequential(nn.Linear(2 * half, out), nn.SiLU(), nn.Linear(out, out))

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies[None]
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions after group norm and silu, shifted by the time embedding, plus the shortcut."""

    def __init__(self, in_channels: int, out_channels: int, time_width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(time_width, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x)))
        y = y + self.time(functional.silu(time))[:, :, None, None]
        return self.conv2(functional.silu(self.norm2(y))) + self.shortcut(x)


class SelfAttention(nn.Module):
    """Single-head attention over the h x w positions, plus the shortcut."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, 1, c, h * w).transpose(3, 4).unbind(1)
        y = functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(2, 3).reshape(n, c, h, w))


class UNet(nn.Module):
    """x: f32 [n, 4, h, w], t: f32 [n] -> noise: f32 [n, 4, h, w]; h and w multiples of 4."""

    def __init__(self, base: int, groups: int) -> None:
        super().__init__()
        wide, time_width = 2 * base, 4 * base
        self.time = TimeEmbedding(base, time_width)
        self.stem = nn.Conv2d(4, base, 3, padding=1)
        self.down1 = ResidualBlock(base, base, time_width, groups)
        self.reduce1 = nn.Conv2d(base, base, 3, stride=2, padding=1)
        self.down2 = ResidualBlock(base, wide, time_width, groups)
        self.reduce2 = nn.Conv2d(wide, wide, 3, stride=2, padding=1)
        self.middle1 = ResidualBlock(wide, wide, time_width, groups)
        self.attention = SelfAttention(wide, groups)
        self.middle2 = ResidualBlock(wide, wide, time_width, groups)
        self.up2 = ResidualBlock(2 * wide, base, time_width, groups)
        self.up1 = ResidualBlock(2 * base, base, time_width, groups)
        self.norm = nn.GroupNorm(groups, base)
        self.out = nn.Conv2d(base, 4, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = self.time(t)
        full = self.down1(self.stem(x), time)
        half = self.down2(self.reduce1(full), time)
        y = self.middle1(self.reduce2(half), time)
        y = self.middle2(self.attention(y), time)
        y = self.up2(torch.cat([functional.interpolate(y, scale_factor=2.0, mode="nearest"), half], dim=1), time)
        y = self.up1(torch.cat([functional.interpolate(y, scale_factor=2.0, mode="nearest"), full], dim=1), time)
        return self.out(functional.silu(self.norm(y)))


def build(tiny: bool) -> Example:
    """Base width 48 at 32x32, or 6 at 12x12."""
    torch.manual_seed(0)
    module = UNet(6, 3) if tiny else UNet(48, 8)
    size = 12 if tiny else 32
    x = torch.randn(1, 4, size, size, generator=generator(1))
    return Example(spread_vectors(module), {"x": x, "t": torch.tensor([37.0])}, ("noise",))


MODELS = (BenchmarkModel("unet_small", "diffusion UNet, 1x4x32x32", build),)
