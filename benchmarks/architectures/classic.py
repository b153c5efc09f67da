"""Networks written out in torch, as people write them: what transformers has not, from VGG to neural fields."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import (
    BATCH_AXES,
    IMAGE_AXES,
    IMAGE_SIZES,
    TOKEN_AXES,
    TOKEN_SIZES,
    Architecture,
    Inputs,
    Sizes,
    generator,
    image,
    tokens,
)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def vgg() -> nn.Module:
    """-> logits."""
    return nn.Sequential(
        convolution(3, 8),
        nn.MaxPool2d(2, 2),
        convolution(8, 16),
        nn.MaxPool2d(2, 2),
        nn.AdaptiveAvgPool2d((4, 4)),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(32, 5),
    )


class DenseNet(nn.Module):
    """Every layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 6 * i), nn.ReLU(), nn.Conv2d(8 + 6 * i, 6, 3, 1, 1, bias=False))
            for i in range(4)
        )
        self.transition = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 16, 1), nn.AvgPool2d(2, 2))
        self.out = nn.Linear(16, 5)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, h, w] -> f32 [n, 5]."""
        features = [self.stem(pixel_values)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.out(functional.relu(self.transition(torch.cat(features, 1))).mean((2, 3)))


class ShuffleNet(nn.Module):
    """Half of the channels go through, then all are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 16, 3, 2), nn.MaxPool2d(3, 2, 1))
        self.branches = nn.ModuleList(
            nn.Sequential(convolution(8, 8, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8), convolution(8, 8, 1))
            for _ in range(2)
        )
        self.out = nn.Linear(16, 5)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, h, w] -> f32 [n, 5]."""
        x = self.stem(pixel_values)
        for branch in self.branches:
            kept, moved = x.chunk(2, dim=1)
            x = torch.cat([kept, branch(moved)], 1)
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.out(x.mean([2, 3]))


class Inception(nn.Module):
    """Four branches beside each other, with factored kernels and average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 8, 3, 2), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True))
        self.one = convolution(8, 6, 1)
        self.two = nn.Sequential(nn.Conv2d(8, 6, (1, 7), padding=(0, 3)), nn.Conv2d(6, 6, (7, 1), padding=(3, 0)))
        self.three = nn.Sequential(convolution(8, 4, 1), convolution(4, 6, 5))
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.four = convolution(8, 6, 1)
        self.out = nn.Conv2d(24, 5, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, h, w] -> f32 [n, 5]."""
        x = self.stem(pixel_values)
        x = torch.cat([self.one(x), self.two(x), self.three(x), self.four(self.pool(x))], 1)
        return torch.flatten(functional.adaptive_avg_pool2d(self.out(x), 1), 1)


class UNet(nn.Module):
    """Down with pooling, up with transposed convolutions, crops joined."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = convolution(3, 8), convolution(8, 16), convolution(16, 32)
        self.up1, self.up2 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.join1, self.join2, self.out = convolution(32, 16), convolution(16, 8), nn.Conv2d(8, 2, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, h, w] -> probabilities f32 [n, 2, h, w]."""
        a = self.down1(pixel_values)
        b = self.down2(functional.max_pool2d(a, 2))
        c = self.up1(self.bottom(functional.max_pool2d(b, 2)))
        b = self.join1(torch.cat([c[:, :, : b.shape[2], : b.shape[3]], b], 1))
        return self.out(self.join2(torch.cat([self.up2(b), a], 1))).softmax(1)


class FullyConvolutional(nn.Module):
    """DeepLab's head: dilated convolutions beside each other, an image-wide mean, bilinear growth."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 8, 3, 2), convolution(8, 16, 3, 2))
        self.rates = nn.ModuleList(nn.Conv2d(16, 8, 3, padding=rate, dilation=rate) for rate in (1, 2, 4))
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1))
        self.out = nn.Conv2d(32, 4, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, h, w] -> f32 [n, 4, h, w]: scores of every pixel."""
        x = self.stem(pixel_values)
        size = x.shape[-2:]
        whole = functional.interpolate(self.whole(x), size=size, mode="bilinear", align_corners=False)
        x = self.out(torch.cat([*(rate(x) for rate in self.rates), whole], 1))
        return functional.interpolate(x, size=pixel_values.shape[-2:], mode="bilinear", align_corners=False)


class StyleTransfer(nn.Module):
    """Reflection padding, instance norms, residual blocks, growth by nearest neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.ReflectionPad2d(4), nn.Conv2d(3, 8, 9), nn.InstanceNorm2d(8, affine=True))
        self.down = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.InstanceNorm2d(16, affine=True), nn.ReLU())
        self.block = nn.Sequential(nn.ReplicationPad2d(1), nn.Conv2d(16, 16, 3), nn.InstanceNorm2d(16), nn.PReLU())
        self.last = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(16, 3, 3))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, h, w] -> f32 [n, 3, h, w]."""
        x = self.down(functional.relu6(self.first(pixel_values)))
        x = x + self.block(x)
        return torch.tanh(self.last(functional.interpolate(x, scale_factor=2, mode="nearest")))


def video() -> nn.Module:
    """A 3-D convolutional network -> logits."""
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 16, (3, 1, 1), padding=(1, 0, 0)),
        nn.SiLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


class Temporal(nn.Module):
    """Causal dilated convolutions with gates, as WaveNet's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 8, 1)
        self.gated = nn.ModuleList(
            torch.nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 16, 2, dilation=2**i)) for i in range(3)
        )
        self.skip = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(3))
        self.out = nn.Conv1d(8, 4, 1)

    def forward(self, series: Tensor) -> Tensor:
        """f32 [n, 2, t] -> f32 [n, 4, t]."""
        x = self.first(series)
        total = torch.zeros_like(x)
        for i, (gated, skip) in enumerate(zip(self.gated, self.skip, strict=True)):
            value, gate = gated(functional.pad(x, (2**i, 0))).chunk(2, 1)
            y = skip(torch.tanh(value) * torch.sigmoid(gate))
            x, total = x + y, total + y
        return self.out(functional.elu(total))


class TextReader(nn.Module):
    """A CRNN: convolutions over the line's image, LSTMs along it, CTC's log probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(convolution(1, 8), nn.MaxPool2d(2, 2), convolution(8, 16), nn.MaxPool2d((8, 1)))
        self.lstm = nn.LSTM(16, 12, bidirectional=True)
        self.out = nn.Linear(24, 11)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 1, 16, w] -> f32 [w / 2, n, 11]."""
        x = self.features(pixel_values).squeeze(2).permute(2, 0, 1)
        return self.out(self.lstm(x)[0]).log_softmax(2)


class PointNet(nn.Module):
    """A cloud of points turned by a learnt matrix, then its maximum over all points."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU())
        self.matrix = nn.Linear(8, 9)
        self.features = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 24, 1))
        self.out = nn.Sequential(nn.Linear(24, 12), nn.Softplus(), nn.Linear(12, 5))

    def forward(self, points: Tensor) -> Tensor:
        """f32 [n, 3, p] -> f32 [n, 5]."""
        matrix = self.matrix(self.turn(points).max(2)[0]).view(-1, 3, 3) + torch.eye(3)
        x = torch.bmm(points.transpose(2, 1), matrix).transpose(2, 1)
        return self.out(torch.max(self.features(x), 2, keepdim=False)[0])


class Translator(nn.Module):
    """torch's own Transformer, with masks, positions of sines, and shared embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(99, 32)
        self.transformer = nn.Transformer(32, 4, 2, 2, 48, dropout=0.1, activation="gelu", batch_first=True)
        position = torch.arange(64)[:, None] * torch.exp(torch.arange(0, 32, 2) * (-math.log(1e4) / 32))
        self.register_buffer("position", torch.stack([position.sin(), position.cos()], -1).reshape(64, 32))
        self.out = nn.Linear(32, 99)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """i64 [n, s], i64 [n, s] -> f32 [n, s, 99]; the target is the source."""
        length = input_ids.shape[1]
        x = self.embed(input_ids) * math.sqrt(32) + self.position[:length]
        hidden = attention_mask == 0
        causal = torch.triu(torch.full((length, length), float("-inf")), diagonal=1)
        masks = {"tgt_mask": causal, "src_key_padding_mask": hidden, "memory_key_padding_mask": hidden}
        y = self.transformer(x, x, **masks, src_is_causal=False, tgt_is_causal=True, memory_is_causal=False)
        return self.out(y)


class MultiHead(nn.Module):
    """nn.MultiheadAttention with its weights, between layer norms."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(99, 32), nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True, add_bias_kv=True)

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """i64 [n, s] -> f32 [n, s, 32], f32 [n, s, s + 1]."""
        x = self.embed(input_ids)
        y, weights = self.attention(x, x, x)
        return self.norm(x + y), weights


class Mixer(nn.Module):
    """MLP-Mixer: perceptrons along patches and along channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.along = nn.Sequential(nn.Linear(64, 24), nn.GELU(approximate="tanh"), nn.Linear(24, 64))
        self.across = nn.Sequential(nn.Linear(16, 32), nn.Mish(), nn.Linear(32, 16))
        self.out = nn.Linear(16, 5)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, 64, 64] -> f32 [n, 5]."""
        x = self.patches(pixel_values).flatten(2).transpose(1, 2)
        x = x + self.along(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.across(self.norm2(x))
        return self.out(x.mean(dim=1))


class Field(nn.Module):
    """A neural field: sines and cosines of positions, colours composed along rays, as NeRF's."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(39, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
        self.density, self.colour = nn.Linear(24, 1), nn.Linear(24 + 3, 3)

    def forward(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """f32 [r, 3], f32 [r, 3] -> colours f32 [r, 3], depths f32 [r]."""
        depths = torch.linspace(2.0, 6.0, 8)
        points = origins[:, None] + directions[:, None] * depths[:, None]
        angles = points[..., None, :] * (2.0 ** torch.arange(6))[:, None]
        encoded = torch.cat([points, angles.sin().flatten(-2), angles.cos().flatten(-2)], -1)
        x = self.body(encoded)
        density = functional.relu(self.density(x)[..., 0]) * 0.5
        alpha = 1 - torch.exp(-density)
        through = torch.exp(density - torch.cumsum(density, -1))
        view = functional.normalize(directions, dim=-1)[:, None].expand(-1, 8, -1)
        colour = torch.sigmoid(self.colour(torch.cat([x, view], -1)))
        weights = alpha * through
        return (weights[..., None] * colour).sum(1), (weights * depths).sum(1)


class SpatialTransformer(nn.Module):
    """An image resampled where a small network says, then classified."""

    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 12 * 12, 6), nn.Tanh())
        self.out = nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 12 * 12, 5))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 1, 28, 28] -> f32 [n, 5]."""
        theta = self.where(pixel_values).view(-1, 2, 3) + torch.tensor([[1.0, 0, 0], [0, 1, 0]])
        grid = functional.affine_grid(theta, list(pixel_values.shape), align_corners=False)
        return self.out(functional.grid_sample(pixel_values, grid, align_corners=False))


class ConvLSTM(nn.Module):
    """A recurrence written out: four steps of an LSTM whose gates are convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.out = nn.Conv2d(2 + 6, 24, 3, 1, 1), nn.Conv2d(6, 1, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """f32 [n, 4, 2, 12, 12] -> f32 [n, 1, 12, 12]."""
        hidden = cell = torch.zeros(frames.shape[0], 6, 12, 12)
        for frame in frames.unbind(1):
            i, f, o, g = torch.split(self.gates(torch.cat([frame, hidden], 1)), 6, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
        return self.out(hidden)


class Autoencoder(nn.Module):
    """A variational autoencoder, decoded at the mean, with Fourier features beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 4, 2, 1), nn.SELU())
        self.mean, self.log_variance = nn.Linear(4096, 8), nn.Linear(4096, 8)
        self.grow = nn.Linear(8, 4096)
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 3, 2, 1, output_padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.CELU(),
            nn.ConvTranspose2d(8, 3, 4, 2, 1),
            nn.Hardtanh(),
        )

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """f32 [n, 3, 64, 64] -> the same, and the divergence f32 [n]."""
        x = self.encode(pixel_values).flatten(1)
        mean, log_variance = self.mean(x), self.log_variance(x).clamp(-4, 4)
        divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(1)
        return self.decode(self.grow(mean).view(-1, 16, 16, 16)), divergence


class TwoTower(nn.Module):
    """Bags of words of two texts, and how near they are."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(99, 16, padding_idx=0)
        self.tower = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.LayerNorm(16))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """i64 [n, s], i64 [n, s] -> f32 [n, n]: cosines between all rows."""
        mask = attention_mask[..., None].to(torch.float32)
        x = self.embed(input_ids).masked_fill(mask == 0, 0).sum(1) / mask.sum(1)
        x = functional.normalize(self.tower(x), p=2.0, dim=1)
        return torch.einsum("id,jd->ij", x, x)


def series(channels: int, name: str = "series") -> object:
    """f32 [batch, channels, time]."""

    def make(sizes: Sizes) -> Inputs:
        return {name: torch.randn(sizes["batch"], channels, sizes["time"], generator=generator(13))}

    return make


def rays(sizes: Sizes) -> Inputs:
    """origins and directions."""
    random = generator(14)
    return {name: torch.randn(sizes["rays"], 3, generator=random) for name in ("origins", "directions")}


def clips(name: str, *shape: int) -> object:
    """f32 [batch, *shape]."""
    return lambda sizes: {name: torch.randn(sizes["batch"], *shape, generator=generator(15))}


def line(sizes: Sizes) -> Inputs:
    """pixel_values: f32 [batch, 1, 16, width]."""
    return image(16, 48, 1)(sizes)


TIME = {"batch": (2, 3), "time": (20, 33)}

ARCHITECTURES = (
    Architecture("vgg", vgg, image(), BATCH_AXES),
    Architecture("densenet", DenseNet, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("shufflenet", ShuffleNet, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("inception", Inception, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("unet", UNet, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("deeplab", FullyConvolutional, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("style_transfer", StyleTransfer, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("video_3d", video, clips("pixel_values", 3, 4, 16, 16), BATCH_AXES),
    Architecture("temporal_convolution", Temporal, series(2), {"series": {0: "batch", 2: "time"}}, TIME),
    Architecture(
        "crnn", TextReader, line, {"pixel_values": {0: "batch", 3: "width"}}, {"batch": (2, 3), "width": (48, 72)}
    ),
    Architecture(
        "pointnet",
        PointNet,
        series(3, "points"),
        {"points": {0: "batch", 2: "time"}},
        {"batch": (2, 3), "time": (32, 50)},
    ),
    Architecture("torch_transformer", Translator, tokens(), TOKEN_AXES, TOKEN_SIZES),
    Architecture("torch_attention", MultiHead, tokens(mask=False), {"input_ids": TOKEN_AXES["input_ids"]}, TOKEN_SIZES),
    Architecture("mlp_mixer", Mixer, image(), BATCH_AXES),
    Architecture("neural_field", Field, rays, {"origins": {0: "rays"}, "directions": {0: "rays"}}, {"rays": (7, 12)}),
    Architecture("spatial_transformer", SpatialTransformer, image(28, 28, 1), BATCH_AXES, opset=20),
    Architecture("conv_lstm", ConvLSTM, clips("frames", 4, 2, 12, 12), {"frames": {0: "batch"}}),
    Architecture("autoencoder", Autoencoder, image(), BATCH_AXES),
    Architecture("two_tower", TwoTower, tokens(), TOKEN_AXES, TOKEN_SIZES),
)
