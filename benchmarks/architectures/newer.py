"""Later transformers: detection by refined distributions, prompted segmentation, codecs, vocoders, hybrids of state
spaces and attention, experts whose tokens are sorted, and attention by low rank."""

from __future__ import annotations

from typing import Any

import torch
import transformers as t
from torch import nn

from .base import BATCH_AXES, TOKEN_AXES, TOKEN_SIZES, Architecture, Fields, Inputs, Sizes, generator, image
from .text import DECODER, ENCODER, decoder, encoder
from .vision import LABELS

DETECTOR: dict[str, Any] = {
    **LABELS,
    "encoder_in_channels": [16, 32, 32],
    "encoder_hidden_dim": 32,
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "d_model": 32,
    "num_queries": 10,
    "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 32,
    "decoder_layers": 2,
    "decoder_n_points": 2,
    "decoder_attention_heads": 4,
    "num_denoising": 0,
    "hidden_expansion": 0.5,
}
BOXES = ("logits", "pred_boxes")
SAMPLES_AXES = {"input_values": {0: "batch", 2: "samples"}}
SAMPLES_SIZES = {"batch": (2, 3), "samples": (320, 480)}
FRAMES_SIZES = {"batch": (2, 3), "frames": (32, 48)}


def rt_detr_v2() -> nn.Module:
    """-> logits, pred_boxes."""
    backbone = t.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = t.RTDetrV2Config(backbone_config=backbone, **DETECTOR)
    return Fields(t.RTDetrV2ForObjectDetection(config), ("pixel_values",), BOXES)


def d_fine() -> nn.Module:
    """-> logits, pred_boxes, the boxes' edges from distributions over distances."""
    backbone = t.HGNetV2Config(
        embedding_size=8,
        hidden_sizes=[16, 16, 32, 32],
        depths=[1, 1, 1, 1],
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 16, 32],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 16, 32, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[2, 2, 2, 2],
        out_features=["stage2", "stage3", "stage4"],
    )
    config = t.DFineConfig(backbone_config=backbone, **DETECTOR)
    return Fields(t.DFineForObjectDetection(config), ("pixel_values",), BOXES)


def sam_prompted() -> nn.Module:
    """An image and points on it -> pred_masks, iou_scores."""
    vision = {
        "hidden_size": 32,
        "output_channels": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 8,
        "mlp_dim": 48,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 8,
    }
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 8}
    decoding = {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    }
    config = t.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoding)
    return Fields(t.SamModel(config), ("pixel_values", "input_points"), ("pred_masks", "iou_scores"))


def image_and_points(sizes: Sizes) -> Inputs:
    """pixel_values: f32 [batch, 3, 64, 64]; input_points: two on each, f32 [batch, 1, 2, 2], in pixels."""
    points = torch.rand(sizes["batch"], 1, 2, 2, generator=generator(3)) * 64
    return {**image()(sizes), "input_points": points}


def samples(sizes: Sizes) -> Inputs:
    """input_values: f32 [batch, 1, samples]."""
    return {"input_values": torch.randn(sizes["batch"], 1, sizes["samples"], generator=generator(4))}


def dac() -> nn.Module:
    """Sound -> sound, through three codebooks."""
    config = t.DacConfig(
        encoder_hidden_size=4,
        downsampling_ratios=[2, 4],
        decoder_hidden_size=16,
        upsampling_ratios=[4, 2],
        n_codebooks=3,
        codebook_size=16,
        codebook_dim=4,
    )
    return Fields(t.DacModel(config), ("input_values",), ("audio_values", "audio_codes"))


class Vocoder(nn.Module):
    """A spectrogram -> sound, by transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        config = t.SpeechT5HifiGanConfig(
            model_in_dim=8,
            upsample_initial_channel=16,
            upsample_rates=[4, 2],
            upsample_kernel_sizes=[8, 4],
            resblock_kernel_sizes=[3, 5],
            resblock_dilation_sizes=[[1, 3], [1, 3]],
        )
        self.model = t.SpeechT5HifiGan(config)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """spectrogram: f32 [batch, frames, 8]; f32 [batch, 8 frames]."""
        return self.model(spectrogram)


def frames(name: str, bands: int) -> Any:
    """``name``: f32 [batch, frames, bands]."""

    def make(sizes: Sizes) -> Inputs:
        return {name: torch.randn(sizes["batch"], sizes["frames"], bands, generator=generator(6))}

    return make


def parakeet() -> nn.Module:
    """Mel bands over time -> logits of characters."""
    encoding = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "num_mel_bins": 16,
        "subsampling_factor": 4,
        "subsampling_conv_channels": 8,
        "conv_kernel_size": 5,
        "max_position_embeddings": 64,
    }
    config = t.ParakeetCTCConfig(vocab_size=20, pad_token_id=0, encoder_config=encoding)
    return Fields(t.ParakeetForCTC(config), ("input_features",), ("logits",))


def page(sizes: Sizes) -> Inputs:
    """Words and where they stand on a page: input_ids i64 [batch, sequence], bbox i64 [batch, sequence, 4]."""
    batch, length = sizes["batch"], sizes["sequence"]
    corners = torch.randint(0, 50, (batch, length, 4), generator=generator(5)).sort(-1).values
    return {"input_ids": torch.randint(3, 99, (batch, length), generator=generator(2)), "bbox": corners}


def layoutlmv3() -> nn.Module:
    """-> last_hidden_state."""
    config = t.LayoutLMv3Config(
        **ENCODER,
        max_2d_position_embeddings=64,
        coordinate_size=5,
        shape_size=6,
        input_size=32,
        patch_size=8,
        rel_pos_bins=8,
        rel_2d_pos_bins=8,
        visual_embed=False,
    )
    return Fields(t.LayoutLMv3Model(config), ("input_ids", "bbox"), ("last_hidden_state",))


def timesfm() -> nn.Module:
    """Four patches of a series -> the state of each."""
    config = t.TimesFmConfig(
        patch_length=8,
        context_length=32,
        horizon_length=8,
        freq_size=3,
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=32,
        head_dim=8,
        num_attention_heads=4,
    )
    names = ("past_values", "past_values_padding", "freq")
    return Fields(t.TimesFmModel(config), names, ("last_hidden_state",))


def series(sizes: Sizes) -> Inputs:
    """past_values: f32 [batch, 32]; no padding; the frequency's class."""
    batch = sizes["batch"]
    return {
        "past_values": torch.randn(batch, 32, generator=generator(7)),
        "past_values_padding": torch.zeros(batch, 32, dtype=torch.int64),
        "freq": torch.zeros(batch, 1, dtype=torch.int64),
    }


ARCHITECTURES = (
    Architecture("rt_detr_v2", rt_detr_v2, image(), BATCH_AXES, opset=18),
    Architecture("d_fine", d_fine, image(), BATCH_AXES, opset=18),
    Architecture(
        "sam_prompted",
        sam_prompted,
        image_and_points,
        {"pixel_values": {0: "batch"}, "input_points": {0: "batch"}},
    ),
    Architecture("dac", dac, samples, SAMPLES_AXES, SAMPLES_SIZES),
    Architecture(
        "hifigan", Vocoder, frames("spectrogram", 8), {"spectrogram": {0: "batch", 1: "frames"}}, FRAMES_SIZES
    ),
    Architecture(
        "parakeet", parakeet, frames("input_features", 16), {"input_features": {0: "batch", 1: "frames"}}, FRAMES_SIZES
    ),
    Architecture(
        "layoutlmv3",
        layoutlmv3,
        page,
        {"input_ids": TOKEN_AXES["input_ids"], "bbox": {0: "batch", 1: "sequence"}},
        TOKEN_SIZES,
    ),
    Architecture(
        "timesfm",
        timesfm,
        series,
        {"past_values": {0: "batch"}, "past_values_padding": {0: "batch"}, "freq": {0: "batch"}},
    ),
    decoder("diffllama", "DiffLlama", **DECODER),
    decoder("olmo3", "Olmo3", sliding_window=4, **DECODER),
    decoder("jetmoe", "JetMoe", num_local_experts=4, num_experts_per_tok=2, kv_channels=8, **DECODER),
    decoder(
        "bamba",
        "Bamba",
        mamba_d_state=4,
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_n_groups=1,
        mamba_chunk_size=4,
        attn_layer_indices=[1],
        **DECODER,
    ),
    encoder("nystromformer", "Nystromformer", num_landmarks=4, segment_means_seq_len=4, **ENCODER),
    encoder("yoso", "Yoso", use_expectation=True, **ENCODER),
)
