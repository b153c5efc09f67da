"""More of transformers: detection, segmentation, depth, video, images with text, speech, sound, series of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as t
from torch import nn

from .base import BATCH_AXES, Architecture, Fields, Inputs, Sizes, generator, image
from .other import IMAGE_TOWER, TEXT_SIZES, TEXT_TOWER, TEXTS, TOWER, speech, text_and_image
from .vision import LABELS, SMALL_VIT, convolutional, patched, small_backbone

DETECTION: dict[str, Any] = {
    **LABELS,
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    "num_queries": 5,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}


def seen(
    name: str,
    kind: str,
    model: str,
    fields: tuple[str, ...],
    size: int = 64,
    frames: int = 0,
    opset: int | None = None,
    **config: Any,
) -> Architecture:
    """A network from an image, or from frames of one, to `fields`."""

    def build() -> nn.Module:
        made = getattr(t, f"{kind}{model}")(getattr(t, f"{kind}Config")(**config))
        return Fields(made, ("pixel_values",), fields)

    shape = (frames, 3, size, size) if frames else (3, size, size)
    return Architecture(name, build, random("pixel_values", *shape), BATCH_AXES, opset=opset)


def random(name: str, *shape: int) -> Callable[[Sizes], Inputs]:
    """f32 [batch, *shape]."""
    return lambda sizes: {name: torch.randn(sizes["batch"], *shape, generator=generator(16))}


def heard(
    name: str, kind: str, model: str, inputs: str, fields: tuple[str, ...], *shape: int, **config: Any
) -> Architecture:
    """A network from numbers of a fixed shape to `fields`."""

    def build() -> nn.Module:
        return Fields(getattr(t, f"{kind}{model}")(getattr(t, f"{kind}Config")(**config)), (inputs,), fields)

    return Architecture(name, build, random(inputs, *shape), {inputs: {0: "batch"}})


def rt_detr() -> nn.Module:
    """-> logits, pred_boxes."""
    backbone = t.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 24],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = t.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 16, 24],
        encoder_ffn_dim=48,
        encoder_attention_heads=4,
        d_model=32,
        num_queries=5,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=48,
        decoder_attention_heads=4,
        decoder_layers=2,
        num_denoising=0,
        disable_custom_kernels=True,
        feat_strides=[8, 16, 32],
        **LABELS,
    )
    return Fields(t.RTDetrForObjectDetection(config), ("pixel_values",), ("logits", "pred_boxes"))


def maskformer() -> nn.Module:
    """-> class_queries_logits, masks_queries_logits."""
    decoder = t.DetrConfig(**{**DETECTION, "encoder_layers": 0, "backbone_config": small_backbone(["stage4"])})
    config = t.MaskFormerConfig(
        backbone_config=small_backbone(["stage1", "stage2", "stage3", "stage4"]),
        decoder_config=decoder,
        fpn_feature_size=32,
        mask_feature_size=32,
        **LABELS,
    )
    fields = ("class_queries_logits", "masks_queries_logits")
    return Fields(t.MaskFormerForInstanceSegmentation(config), ("pixel_values",), fields)


def dpt() -> nn.Module:
    """-> predicted_depth."""
    config = t.DPTConfig(
        **{**SMALL_VIT, "image_size": 64, "patch_size": 8, "num_hidden_layers": 4},
        is_hybrid=False,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        reassemble_factors=[4, 2, 1, 0.5],
    )
    return Fields(t.DPTForDepthEstimation(config), ("pixel_values",), ("predicted_depth",))


def sam() -> nn.Module:
    """The image encoder -> last_hidden_state."""
    config = t.SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=64,
        patch_size=8,
        window_size=3,
        global_attn_indexes=[1],
        mlp_dim=48,
        num_pos_feats=8,
    )
    return Fields(t.SamVisionModel(config), ("pixel_values",), ("last_hidden_state",))


def owlvit() -> nn.Module:
    """-> logits_per_image."""
    config = t.OwlViTConfig(text_config=TEXT_TOWER, vision_config=IMAGE_TOWER, projection_dim=16)
    return Fields(t.OwlViTModel(config), ("input_ids", "pixel_values", "attention_mask"), ("logits_per_image",))


def blip() -> nn.Module:
    """-> logits_per_image."""
    config = t.BlipConfig(
        text_config={**TEXT_TOWER, "bos_token_id": 1, "sep_token_id": 2}, vision_config=IMAGE_TOWER, projection_dim=16
    )
    return Fields(t.BlipModel(config), ("input_ids", "pixel_values", "attention_mask"), ("logits_per_image",))


def align() -> nn.Module:
    """-> logits_per_image: EfficientNet and BERT."""
    vision = {"width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320, "image_size": 32}
    config = t.AlignConfig(text_config=TEXT_TOWER, vision_config=vision, projection_dim=80)
    return Fields(t.AlignModel(config), ("input_ids", "pixel_values", "attention_mask"), ("logits_per_image",))


def trocr() -> nn.Module:
    """-> logits: text from an image, encoder and decoder together."""
    encoder = t.ViTConfig(**SMALL_VIT)
    decoder = t.TrOCRConfig(
        vocab_size=99,
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=48,
        max_position_embeddings=32,
        is_decoder=True,
        add_cross_attention=True,
        cross_attention_hidden_size=32,
        use_cache=False,
    )
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = t.VisionEncoderDecoderModel(config)
    return Fields(model, ("pixel_values", "decoder_input_ids", "decoder_attention_mask"), ("logits",), use_cache=False)


def captions(sizes: Sizes) -> Inputs:
    """pixel_values, decoder_input_ids, decoder_attention_mask."""
    ids = torch.randint(3, 99, (sizes["batch"], sizes["target"]), generator=generator(17))
    return {**image(32, 32)(sizes), "decoder_input_ids": ids, "decoder_attention_mask": torch.ones_like(ids)}


def speech_to_text(sizes: Sizes) -> Inputs:
    """input_features, attention_mask, decoder_input_ids."""
    features = torch.randn(sizes["batch"], 40, 16, generator=generator(18))
    ids = torch.randint(3, 99, (sizes["batch"], sizes["target"]), generator=generator(19))
    return {
        "input_features": features,
        "attention_mask": torch.ones(sizes["batch"], 40, dtype=torch.int64),
        "decoder_input_ids": ids,
    }


def speech2text() -> nn.Module:
    """-> logits."""
    config = t.Speech2TextConfig(
        vocab_size=99,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        input_feat_per_channel=16,
        conv_channels=24,
        max_source_positions=40,
        max_target_positions=32,
    )
    model = t.Speech2TextForConditionalGeneration(config)
    return Fields(model, ("input_features", "attention_mask", "decoder_input_ids"), ("logits",), use_cache=False)


class Codec(nn.Module):
    """A neural codec's encoder and decoder around its quantiser: waveform -> codes -> waveform."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """f32 [batch, 1, samples] -> codes i64, waveform."""
        codes = self.model.encode(input_values, return_dict=True).audio_codes
        return codes, self.model.decode(codes, [None], return_dict=True).audio_values


def encodec() -> nn.Module:
    """-> codes, waveform."""
    config = t.EncodecConfig(
        num_filters=4,
        hidden_size=16,
        codebook_size=16,
        codebook_dim=16,
        upsampling_ratios=[4, 2],
        num_lstm_layers=1,
        target_bandwidths=[60.0],
        sampling_rate=24000,
    )
    model = t.EncodecModel(config)
    for buffer in model.quantizer.buffers():
        if buffer.dim() == 2:
            buffer.normal_()
    return Codec(model)


ARCHITECTURES = (
    Architecture("rt_detr", rt_detr, image(), BATCH_AXES, opset=18),
    seen(
        "conditional_detr",
        "ConditionalDetr",
        "ForObjectDetection",
        ("logits", "pred_boxes"),
        backbone_config=small_backbone(["stage4"]),
        **DETECTION,
    ),
    seen(
        "table_transformer",
        "TableTransformer",
        "ForObjectDetection",
        ("logits", "pred_boxes"),
        backbone_config=small_backbone(["stage4"]),
        **DETECTION,
    ),
    Architecture("maskformer", maskformer, image(), BATCH_AXES),
    Architecture("dpt", dpt, image(), BATCH_AXES),
    seen(
        "glpn",
        "GLPN",
        "ForDepthEstimation",
        ("predicted_depth",),
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=16,
    ),
    Architecture("sam_encoder", sam, image(), BATCH_AXES),
    patched(
        "focalnet",
        "FocalNet",
        64,
        image_size=64,
        embed_dim=8,
        depths=[1, 1],
        focal_levels=[2, 2],
        focal_windows=[3, 3],
        hidden_sizes=[8, 16],
    ),
    patched(
        "hiera",
        "Hiera",
        64,
        image_size=[64, 64],
        patch_size=[7, 7],
        patch_stride=[4, 4],
        patch_padding=[3, 3],
        embed_dim=8,
        depths=[1, 1],
        num_heads=[1, 2],
        masked_unit_size=[4, 4],
        query_stride=[2, 2],
        num_query_pool=1,
    ),
    patched("cvt", "Cvt", 64, embed_dim=[8, 16, 24], depth=[1, 2, 3], num_heads=[1, 2, 3]),
    convolutional("swiftformer", "SwiftFormer", depths=[1, 1, 1, 1], embed_dims=[8, 16, 24, 32]),
    patched("mobilevitv2", "MobileViTV2", 64, image_size=64, width_multiplier=0.25),
    patched(
        "pvt_v2",
        "PvtV2",
        64,
        image_size=64,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
    ),
    convolutional("textnet", "TextNet", hidden_sizes=[8, 8, 16, 16, 24], stem_out_channels=8),
    patched("vit_msn", "ViTMSN", **SMALL_VIT),
    patched("data2vec_vision", "Data2VecVision", use_relative_position_bias=True, **SMALL_VIT),
    patched("ijepa", "IJepa", **SMALL_VIT),
    seen("dinov3", "DINOv3ViT", "Model", ("last_hidden_state",), 32, **SMALL_VIT),
    seen("timesformer", "Timesformer", "ForVideoClassification", ("logits",), 32, 4, num_frames=4, **SMALL_VIT),
    seen(
        "videomae", "VideoMAE", "ForVideoClassification", ("logits",), 32, 4, num_frames=4, tubelet_size=2, **SMALL_VIT
    ),
    seen(
        "vivit",
        "Vivit",
        "ForVideoClassification",
        ("logits",),
        32,
        4,
        num_frames=4,
        tubelet_size=[2, 8, 8],
        **{key: value for key, value in SMALL_VIT.items() if key != "patch_size"},
    ),
    seen(
        "swin2sr",
        "Swin2SR",
        "ForImageSuperResolution",
        ("reconstruction",),
        32,
        image_size=32,
        embed_dim=12,
        depths=[2],
        num_heads=[2],
        window_size=4,
        upscale=2,
    ),
    seen(
        "segformer_classifier",
        "Segformer",
        "ForImageClassification",
        ("logits",),
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 2, 4],
    ),
    seen(
        "mobilenet_v2_deeplab",
        "MobileNetV2",
        "ForSemanticSegmentation",
        ("logits",),
        depth_multiplier=0.25,
        min_depth=8,
        num_labels=5,
    ),
    seen(
        "mobilevit_deeplab",
        "MobileViT",
        "ForSemanticSegmentation",
        ("logits",),
        image_size=64,
        hidden_sizes=[16, 20, 24],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 48],
        num_labels=5,
    ),
    Architecture(
        "owlvit", owlvit, text_and_image(True), {**TEXTS, "attention_mask": {0: "texts", 1: "sequence"}}, TEXT_SIZES
    ),
    Architecture(
        "blip", blip, text_and_image(True), {**TEXTS, "attention_mask": {0: "texts", 1: "sequence"}}, TEXT_SIZES
    ),
    Architecture(
        "align", align, text_and_image(True), {**TEXTS, "attention_mask": {0: "texts", 1: "sequence"}}, TEXT_SIZES
    ),
    Architecture(
        "trocr",
        trocr,
        captions,
        {
            "pixel_values": {0: "batch"},
            "decoder_input_ids": {0: "batch", 1: "target"},
            "decoder_attention_mask": {0: "batch", 1: "target"},
        },
        {"batch": (2, 3), "target": (5, 8)},
    ),
    Architecture(
        "speech_to_text",
        speech2text,
        speech_to_text,
        {
            "input_features": {0: "batch"},
            "attention_mask": {0: "batch"},
            "decoder_input_ids": {0: "batch", 1: "target"},
        },
        {"batch": (2, 3), "target": (5, 8)},
    ),
    Architecture("encodec", encodec, random("input_values", 1, 512), {"input_values": {0: "batch"}}),
    speech("sew", "SEW", num_feat_extract_layers=3, squeeze_factor=2),
    speech("unispeech", "UniSpeech", num_feat_extract_layers=3),
    speech(
        "data2vec_audio", "Data2VecAudio", num_feat_extract_layers=3, num_conv_pos_embeddings=2, conv_pos_kernel_size=3
    ),
    speech(
        "wav2vec2_conformer",
        "Wav2Vec2Conformer",
        num_feat_extract_layers=3,
        position_embeddings_type="relative",
        conv_depthwise_kernel_size=3,
        max_source_positions=100,
    ),
    heard(
        "wav2vec2_bert",
        "Wav2Vec2Bert",
        "Model",
        "input_features",
        ("last_hidden_state",),
        30,
        16,
        feature_projection_input_dim=16,
        left_max_position_embeddings=8,
        right_max_position_embeddings=4,
        conv_depthwise_kernel_size=5,
        **TOWER,
    ),
    heard(
        "clap_audio",
        "ClapAudio",
        "ModelWithProjection",
        "input_features",
        ("audio_embeds",),
        1,
        64,
        16,
        spec_size=32,
        num_mel_bins=16,
        patch_embeds_hidden_size=8,
        hidden_size=16,
        depths=[1, 1],
        num_attention_heads=[2, 2],
        window_size=4,
        patch_size=4,
        patch_stride=[4, 4],
        projection_dim=16,
    ),
    heard(
        "patchtst",
        "PatchTST",
        "ForPrediction",
        "past_values",
        ("prediction_outputs",),
        32,
        2,
        num_input_channels=2,
        context_length=32,
        patch_length=4,
        patch_stride=4,
        d_model=16,
        num_attention_heads=4,
        num_hidden_layers=2,
        ffn_dim=24,
        prediction_length=8,
        loss="mse",
    ),
    heard(
        "patchtsmixer",
        "PatchTSMixer",
        "ForPrediction",
        "past_values",
        ("prediction_outputs",),
        32,
        2,
        num_input_channels=2,
        context_length=32,
        patch_length=4,
        patch_stride=4,
        d_model=8,
        num_layers=2,
        prediction_length=8,
        loss="mse",
    ),
)
