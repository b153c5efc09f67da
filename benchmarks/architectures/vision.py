"""Networks that look at images."""

from __future__ import annotations

from typing import Any

import torch
import transformers as t
from torch import nn

from .base import BATCH_AXES, IMAGE_AXES, IMAGE_SIZES, Architecture, Fields, image

LABELS = {"num_labels": 5}
SMALL_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}


def classifier(kind: str, **config: Any) -> nn.Module:
    """transformers' `<kind>ForImageClassification` -> logits."""
    model = getattr(t, f"{kind}ForImageClassification")(getattr(t, f"{kind}Config")(**LABELS, **config))
    return Fields(model, ("pixel_values",), ("logits",))


def convolutional(name: str, kind: str, **config: Any) -> Architecture:
    """A classifier that takes images of any size."""
    return Architecture(name, lambda: classifier(kind, **config), image(), IMAGE_AXES, IMAGE_SIZES)


def patched(name: str, kind: str, size: int = 32, **config: Any) -> Architecture:
    """A classifier of images of one size."""
    return Architecture(name, lambda: classifier(kind, **config), image(size, size), BATCH_AXES)


def yolos() -> nn.Module:
    """-> logits, pred_boxes."""
    config = t.YolosConfig(**{**SMALL_VIT, "image_size": [64, 64]}, num_detection_tokens=6, **LABELS)
    return Fields(t.YolosForObjectDetection(config), ("pixel_values",), ("logits", "pred_boxes"))


def small_backbone(stages: list[str]) -> Any:
    """A tiny ResNet's configuration, as backbone of others."""
    return t.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=stages,
    )


def detr() -> nn.Module:
    """-> logits, pred_boxes."""
    config = t.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=small_backbone(["stage4"]),
        num_queries=5,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        **LABELS,
    )
    return Fields(t.DetrForObjectDetection(config), ("pixel_values",), ("logits", "pred_boxes"))


def deformable_detr() -> nn.Module:
    """-> logits, pred_boxes: attention that samples where it is told to."""
    config = t.DeformableDetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=small_backbone(["stage2", "stage3", "stage4"]),
        num_queries=5,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_feature_levels=3,
        disable_custom_kernels=True,
        **LABELS,
    )
    return Fields(t.DeformableDetrForObjectDetection(config), ("pixel_values",), ("logits", "pred_boxes"))


def mask2former() -> nn.Module:
    """-> class_queries_logits, masks_queries_logits."""
    backbone = t.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = t.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=48,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        dim_feedforward=48,
        num_queries=5,
        **LABELS,
    )
    fields = ("class_queries_logits", "masks_queries_logits")
    return Fields(t.Mask2FormerForUniversalSegmentation(config), ("pixel_values",), fields)


def segformer() -> nn.Module:
    """-> logits: a mask per label."""
    config = t.SegformerConfig(
        num_encoder_blocks=4,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=16,
        **LABELS,
    )
    return Fields(t.SegformerForSemanticSegmentation(config), ("pixel_values",), ("logits",))


def upernet() -> nn.Module:
    """-> logits of a ConvNeXt with pyramid pooling."""
    backbone = t.ConvNextConfig(**STAGES, out_features=["stage1", "stage2", "stage3", "stage4"])
    config = t.UperNetConfig(backbone_config=backbone, hidden_size=16, auxiliary_in_channels=24, **LABELS)
    return Fields(t.UperNetForSemanticSegmentation(config), ("pixel_values",), ("logits",))


def depth_anything() -> nn.Module:
    """-> predicted_depth."""
    backbone = t.Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = t.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 16, 24, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    return Fields(t.DepthAnythingForDepthEstimation(config), ("pixel_values",), ("predicted_depth",))


class InvertedResidual(nn.Module):
    """MobileNet v3's block: expand, depthwise, squeeze and excite, project."""

    def __init__(self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.expand = nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish())
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.Hardswish(),
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(hidden, 8, 1), nn.ReLU(), nn.Conv2d(8, hidden, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f32 [n, inputs, h, w] -> f32 [n, outputs, h / stride, w / stride]."""
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.gate(y))
        return x + y if self.residual else y


def mobilenet_v3() -> nn.Module:
    """-> logits; written out here, for transformers has none."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        InvertedResidual(8, 24, 8, 3, 1),
        InvertedResidual(8, 24, 16, 5, 2),
        InvertedResidual(16, 40, 16, 5, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 32),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(32, 5),
    )


ARCHITECTURES = (
    convolutional("resnet", "ResNet", embedding_size=8, layer_type="bottleneck", **STAGES),
    convolutional("mobilenet_v1", "MobileNetV1", depth_multiplier=0.25, min_depth=8),
    convolutional("mobilenet_v2", "MobileNetV2", depth_multiplier=0.25, depth_divisible_by=8, min_depth=8),
    Architecture("mobilenet_v3", mobilenet_v3, image(), IMAGE_AXES, IMAGE_SIZES),
    convolutional("convnext", "ConvNext", **STAGES),
    convolutional("convnextv2", "ConvNextV2", **STAGES),
    convolutional("efficientnet", "EfficientNet", width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320),
    convolutional("regnet", "RegNet", embedding_size=8, groups_width=8, **STAGES),
    convolutional("bit", "Bit", embedding_size=8, num_groups=4, **STAGES),
    convolutional("poolformer", "PoolFormer", **STAGES),
    patched("swin", "Swin", 64, image_size=64, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4),
    patched("swinv2", "Swinv2", 64, image_size=64, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4),
    patched("vit", "ViT", **SMALL_VIT),
    patched("deit", "DeiT", **SMALL_VIT),
    patched("beit", "Beit", use_relative_position_bias=True, **SMALL_VIT),
    patched("dinov2", "Dinov2", **SMALL_VIT),
    patched(
        "levit",
        "Levit",
        64,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        num_attention_heads=[2, 3, 4],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
        down_ops=[["Subsample", 8, 2, 2, 2, 2], ["Subsample", 8, 3, 2, 2, 2]],
    ),
    patched(
        "mobilevit",
        "MobileViT",
        64,
        image_size=64,
        hidden_sizes=[16, 20, 24],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 48],
    ),
    patched(
        "pvt",
        "Pvt",
        64,
        image_size=64,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 2, 4],
    ),
    Architecture("segformer", segformer, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("upernet", upernet, image(), IMAGE_AXES, IMAGE_SIZES),
    Architecture("yolos", yolos, image(), BATCH_AXES),
    Architecture("detr", detr, image(), BATCH_AXES),
    Architecture("deformable_detr", deformable_detr, image(), BATCH_AXES, opset=18),
    Architecture("mask2former", mask2former, image(), BATCH_AXES, opset=18),
    Architecture("depth_anything", depth_anything, image(56, 56), BATCH_AXES),
)
