"""Networks that hear, that join images and text, and others: diffusion, recommendation, graphs, tagging."""

from __future__ import annotations

import math
from typing import Any

import torch
import transformers as t
from torch import Tensor, nn
from torch.nn import functional

from .base import BATCH_AXES, TOKEN_AXES, TOKEN_SIZES, Architecture, Fields, Inputs, Sizes, generator, image, tokens

SPEECH: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 2, 2),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
TOWER: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT_TOWER: dict[str, Any] = {**TOWER, "vocab_size": 99, "max_position_embeddings": 32}
IMAGE_TOWER: dict[str, Any] = {**TOWER, "image_size": 32, "patch_size": 8}
WHISPER_INPUTS = ("input_features", "decoder_input_ids", "decoder_attention_mask")
SPEECH_SIZES = {"batch": (2, 3), "samples": (800, 1230)}


def speech(name: str, kind: str, field: str = "logits", model: str = "ForCTC", **config: Any) -> Architecture:
    """input_values: f32 [batch, samples] -> logits of characters over time."""

    def build() -> nn.Module:
        made = getattr(t, f"{kind}{model}")(getattr(t, f"{kind}Config")(**{**SPEECH, **config}))
        return Fields(made, ("input_values",), (field,))

    return Architecture(name, build, waveform, {"input_values": {0: "batch", 1: "samples"}}, SPEECH_SIZES)


def waveform(sizes: Sizes) -> Inputs:
    """input_values: f32 [batch, samples]."""
    return {"input_values": torch.randn(sizes["batch"], sizes["samples"], generator=generator(5))}


def whisper_config() -> Any:
    """40 frames of 16 mel bands."""
    return t.WhisperConfig(
        vocab_size=99,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=16,
        max_source_positions=20,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


def spectrogram(sizes: Sizes) -> Inputs:
    """input_features: f32 [batch, 16, 40], decoder_input_ids: i64 [batch, target], decoder_attention_mask."""
    features = torch.randn(sizes["batch"], 16, 40, generator=generator(6))
    ids = torch.randint(3, 99, (sizes["batch"], sizes["target"]), generator=generator(7))
    return {"input_features": features, "decoder_input_ids": ids, "decoder_attention_mask": torch.ones_like(ids)}


def whisper() -> nn.Module:
    """-> logits."""
    model = t.WhisperForConditionalGeneration(whisper_config())
    return Fields(model, WHISPER_INPUTS, ("logits",), use_cache=False)


def spectrogram_transformer() -> nn.Module:
    """-> logits."""
    config = t.ASTConfig(**TOWER, num_mel_bins=16, max_length=40, patch_size=8, num_labels=5)
    return Fields(t.ASTForAudioClassification(config), ("input_values",), ("logits",))


def clip() -> nn.Module:
    """-> logits_per_image, text_embeds, image_embeds."""
    config = t.CLIPConfig(text_config={**TEXT_TOWER, "eos_token_id": 2}, vision_config=IMAGE_TOWER, projection_dim=16)
    names = ("input_ids", "pixel_values", "attention_mask")
    return Fields(t.CLIPModel(config), names, ("logits_per_image", "text_embeds", "image_embeds"))


def siglip() -> nn.Module:
    """-> logits_per_image, text_embeds, image_embeds."""
    config = t.SiglipConfig(text_config=TEXT_TOWER, vision_config=IMAGE_TOWER)
    return Fields(t.SiglipModel(config), ("input_ids", "pixel_values"), ("logits_per_image", "text_embeds"))


def text_and_image(mask: bool) -> Any:
    """input_ids (a row per text, ending in token 2), pixel_values (a row per image), attention_mask."""

    def make(sizes: Sizes) -> Inputs:
        ids = torch.randint(3, 99, (sizes["texts"], sizes["sequence"]), generator=generator(8))
        ids[:, -1] = 2
        made = {"input_ids": ids, **image(32, 32)(sizes)}
        return {**made, "attention_mask": torch.ones_like(ids)} if mask else made

    return make


TEXTS = {"input_ids": {0: "texts", 1: "sequence"}, "pixel_values": {0: "batch"}}
TEXT_SIZES = {"texts": (2, 4), "sequence": (7, 11), "batch": (2, 3)}


def blip_text() -> nn.Module:
    """-> last_hidden_state."""
    config = t.BlipTextConfig(**{**TEXT_TOWER, "encoder_hidden_size": 32, "bos_token_id": 1, "sep_token_id": 2})
    return Fields(
        t.BlipTextModel(config, add_pooling_layer=False),
        ("input_ids", "attention_mask"),
        ("last_hidden_state",),
        is_decoder=False,
    )


class ResidualBlock(nn.Module):
    """Diffusion's residual block: group norm, silu, convolution, with the time added between."""

    def __init__(self, inputs: int, outputs: int, time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, inputs), nn.GroupNorm(4, outputs)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.time = nn.Linear(time, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: f32 [n, inputs, h, w], time: f32 [n, time]."""
        y = self.conv1(functional.silu(self.norm1(x)))
        y = y + self.time(functional.silu(time))[:, :, None, None]
        return self.shortcut(x) + self.conv2(functional.silu(self.norm2(y)))


class CrossAttention(nn.Module):
    """Every pixel attends to the text."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(4, width)
        self.q, self.k = nn.Linear(width, width), nn.Linear(context, width)
        self.v, self.out = nn.Linear(context, width), nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x: f32 [n, width, h, w], context: f32 [n, s, context]."""
        n, c, h, w = x.shape
        pixels = self.norm(x).permute(0, 2, 3, 1).reshape(n, h * w, c)
        q, k, v = (
            y.reshape(n, -1, self.heads, c // self.heads).transpose(1, 2)
            for y in (self.q(pixels), self.k(context), self.v(context))
        )
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        return x + self.out(y).reshape(n, h, w, c).permute(0, 3, 1, 2)


class Denoiser(nn.Module):
    """A U-net as Stable Diffusion's: sample, timestep, text -> noise."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.first = nn.Conv2d(4, 16, 3, 1, 1)
        self.down, self.cross1 = ResidualBlock(16, 16, 32), CrossAttention(16, 24, 2)
        self.shrink = nn.Conv2d(16, 16, 3, 2, 1)
        self.middle, self.cross2 = ResidualBlock(16, 32, 32), CrossAttention(32, 24, 4)
        self.grow = nn.Conv2d(32, 32, 3, 1, 1)
        self.up, self.last = ResidualBlock(48, 16, 32), nn.Conv2d(16, 4, 3, 1, 1)
        self.norm = nn.GroupNorm(4, 16)

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """sample: f32 [n, 4, h, w], timestep: i64 [n], text: f32 [n, s, 24]."""
        frequency = torch.exp(-math.log(10000) * torch.arange(8, dtype=torch.float32, device=sample.device) / 8)
        angle = timestep[:, None].float() * frequency[None, :]
        time = self.embed(torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1))
        x = self.first(sample)
        kept = x = self.cross1(self.down(x, time), text)
        x = self.cross2(self.middle(self.shrink(x), time), text)
        x = self.grow(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        x = self.up(torch.cat([x, kept], dim=1), time)
        return self.last(functional.silu(self.norm(x)))


def noise(sizes: Sizes) -> Inputs:
    """sample, timestep, text of Denoiser."""
    batch, random = sizes["batch"], generator(9)
    return {
        "sample": torch.randn(batch, 4, sizes["height"], sizes["width"], generator=random),
        "timestep": torch.randint(1, 1000, (batch,), generator=random),
        "text": torch.randn(batch, 6, 24, generator=random),
    }


class Tagger(nn.Module):
    """A bidirectional LSTM over words -> the scores of tags, the whole with a GRU on top."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(99, 16)
        self.lstm = nn.LSTM(16, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(24, 12, batch_first=True)
        self.out = nn.Linear(12, 7)

    def forward(self, input_ids: Tensor) -> Tensor:
        """input_ids: i64 [n, s] -> log probabilities f32 [n, s, 7]."""
        x, _ = self.lstm(self.embed(input_ids))
        x, _ = self.gru(x)
        return functional.log_softmax(self.out(x), dim=-1)


class GraphNetwork(nn.Module):
    """Two rounds of messages along edges, summed and averaged at their targets, as torch_geometric's layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.message1, self.update1 = nn.Linear(2 * 8 + 3, 16), nn.Linear(8 + 16, 16)
        self.message2, self.update2 = nn.Linear(2 * 16 + 3, 16), nn.Linear(16 + 16, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, nodes: Tensor, edges: Tensor, features: Tensor) -> Tensor:
        """nodes: f32 [n, 8], edges: i64 [2, e] (source, target), features: f32 [e, 3] -> f32 [n, 4]."""
        source, target = edges[0], edges[1]
        x = nodes
        ones = torch.zeros(x.shape[0]).scatter_add(0, target, torch.ones(target.shape[0])).clamp(min=1)[:, None]
        for message, update, mean in ((self.message1, self.update1, False), (self.message2, self.update2, True)):
            sent = torch.relu(message(torch.cat([x[source], x[target], features], dim=1)))
            empty = torch.zeros(x.shape[0], sent.shape[1])
            received = empty.scatter_add(0, target[:, None].expand_as(sent), sent)
            x = torch.relu(update(torch.cat([x, received / ones if mean else received], dim=1)))
        return self.out(x)


def graph(sizes: Sizes) -> Inputs:
    """Nodes, edges and features of edges."""
    random = generator(10)
    return {
        "nodes": torch.randn(sizes["nodes"], 8, generator=random),
        "edges": torch.randint(0, sizes["nodes"], (2, sizes["edges"]), generator=random),
        "features": torch.randn(sizes["edges"], 3, generator=random),
    }


class Detector(nn.Module):
    """A single-shot detector's head: boxes decoded from anchors, the best by score kept, clipped to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(16, 16, 3, 2, 1), nn.LeakyReLU(0.1)
        )
        self.classes, self.boxes = nn.Conv2d(16, 3 * 4, 1), nn.Conv2d(16, 3 * 4, 1)
        grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"), -1).flip(-1)
        centres = (grid.reshape(-1, 1, 2) * 4.0 + 2).expand(-1, 3, -1)
        sides = torch.tensor([[8.0, 8.0], [16.0, 8.0], [8.0, 16.0]]).expand(256, -1, -1)
        self.register_buffer("anchors", torch.cat([centres, sides], -1).reshape(-1, 4))

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f32 [n, 3, 64, 64] -> boxes f32 [n, 20, 4], scores f32 [n, 20], labels i64 [n, 20]."""
        x = self.features(pixel_values)
        n = x.shape[0]
        scores = self.classes(x).permute(0, 2, 3, 1).reshape(n, -1, 4).sigmoid()
        offsets = self.boxes(x).permute(0, 2, 3, 1).reshape(n, -1, 4)
        centres = self.anchors[:, :2] + offsets[..., :2] * self.anchors[:, 2:]
        sides = self.anchors[:, 2:] * torch.exp(offsets[..., 2:].clamp(max=4.0))
        boxes = torch.cat([centres - sides / 2, centres + sides / 2], -1).clamp(0, 64)
        best, labels = scores.max(-1)
        kept, order = best.topk(20, dim=1)
        boxes = torch.gather(boxes, 1, order[..., None].expand(-1, -1, 4))
        return boxes, kept, torch.gather(labels, 1, order)


class Recommender(nn.Module):
    """Embedding bags, their pairwise products, and a perceptron: DLRM."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(50, 8) for _ in range(4))
        self.bottom = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(8 + 10, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
        self.register_buffer("rows", torch.tril_indices(5, 5, -1)[0])
        self.register_buffer("columns", torch.tril_indices(5, 5, -1)[1])

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        """dense: f32 [n, 5], sparse: i64 [n, 4, 3] -> f32 [n, 1]."""
        x = self.bottom(dense)
        bags = [table(sparse[:, i]).sum(1) for i, table in enumerate(self.tables)]
        stack = torch.stack([x, *bags], 1)
        products = torch.bmm(stack, stack.transpose(1, 2))[:, self.rows, self.columns]
        return self.top(torch.cat([x, products / 8], 1))


def clicks(sizes: Sizes) -> Inputs:
    """dense and sparse of Recommender."""
    random = generator(11)
    return {
        "dense": torch.randn(sizes["batch"], 5, generator=random),
        "sparse": torch.randint(0, 50, (sizes["batch"], 4, 3), generator=random),
    }


class SuperResolution(nn.Module):
    """Sub-pixel convolution with PReLU, and a bicubic shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 5, 1, 2), nn.PReLU(16), nn.Conv2d(16, 12, 3, 1, 1), nn.PixelShuffle(2)
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """f32 [n, 3, h, w] -> f32 [n, 3, 2 h, 2 w]."""
        plain = functional.interpolate(pixel_values, scale_factor=2.0, mode="bilinear", align_corners=False)
        return plain + torch.tanh(self.body(pixel_values))


NOISE_AXES = {"sample": {0: "batch", 2: "height", 3: "width"}, "timestep": {0: "batch"}, "text": {0: "batch"}}
IMAGES = {"pixel_values": {0: "batch", 2: "height", 3: "width"}}

ARCHITECTURES = (
    speech("wav2vec2", "Wav2Vec2", num_feat_extract_layers=3),
    speech("hubert", "Hubert", num_feat_extract_layers=3),
    speech("wavlm", "WavLM", num_feat_extract_layers=3),
    Architecture(
        "whisper",
        whisper,
        spectrogram,
        {name: {0: "batch", 1: "target"} if name.startswith("decoder") else {0: "batch"} for name in WHISPER_INPUTS},
        {"batch": (2, 3), "target": (5, 8)},
    ),
    Architecture(
        "spectrogram_transformer",
        spectrogram_transformer,
        lambda sizes: {"input_values": torch.randn(sizes["batch"], 40, 16, generator=generator(12))},
        {"input_values": {0: "batch"}},
    ),
    Architecture(
        "clip", clip, text_and_image(True), {**TEXTS, "attention_mask": {0: "texts", 1: "sequence"}}, TEXT_SIZES
    ),
    Architecture("siglip", siglip, text_and_image(False), TEXTS, TEXT_SIZES),
    Architecture("blip_text", blip_text, tokens(), TOKEN_AXES, TOKEN_SIZES),
    Architecture(
        "diffusion_unet", Denoiser, noise, NOISE_AXES, {"batch": (2, 3), "height": (16, 24), "width": (16, 8)}
    ),
    Architecture("lstm_tagger", Tagger, tokens(mask=False), {"input_ids": TOKEN_AXES["input_ids"]}, TOKEN_SIZES),
    Architecture(
        "graph_network",
        GraphNetwork,
        graph,
        {"nodes": {0: "nodes"}, "edges": {1: "edges"}, "features": {0: "edges"}},
        {"nodes": (10, 17), "edges": (31, 52)},
    ),
    Architecture("detector", Detector, image(), BATCH_AXES),
    Architecture("recommender", Recommender, clicks, {"dense": {0: "batch"}, "sparse": {0: "batch"}}),
    Architecture(
        "super_resolution",
        SuperResolution,
        image(16, 16),
        IMAGES,
        {"batch": (2, 3), "height": (16, 24), "width": (16, 10)},
    ),
)
