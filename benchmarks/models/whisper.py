"""The encoder of Whisper-tiny, random weights.

Two 1-D convolutions over 80 mel bands, then attention over 1500 positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .base import BenchmarkModel, Example, generator, spread_vectors


class Encoder(nn.Module):
    """mel: f32 [1, bands, 2 positions] -> last_hidden_state: f32 [1, positions, width]."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, mel: Tensor) -> Tensor:
        return self.encoder(mel).last_hidden_state


def build(tiny: bool) -> Example:
    """Whisper-tiny's encoder (4 layers, width 384, 6 heads), or 2 layers of width 24 over 19 positions."""
    torch.manual_seed(0)
    if tiny:
        config = WhisperConfig(
            d_model=24,
            encoder_layers=2,
            encoder_attention_heads=3,
            encoder_ffn_dim=56,
            num_mel_bins=10,
            max_source_positions=19,
        )
    else:
        config = WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536)
    config.init_std = 1 / math.sqrt(config.d_model)
    encoder = WhisperEncoder(config)
    spread_vectors(encoder)
    mel = torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions, generator=generator(1))
    return Example(Encoder(encoder), {"mel": mel}, ("last_hidden_state",))


MODELS = (BenchmarkModel("whisper_enc", "Whisper-tiny encoder, 1x80x3000", build),)
