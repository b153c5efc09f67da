"""Regions of interest."""

from __future__ import annotations

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.roi import RoiAlign, RoiMaxPool
from penstock.compiler.frontends.onnx.converters import converter
from penstock.compiler.frontends.onnx.node_context import NodeContext

KINDS = {"avg": "average", "max": "max"}


@converter("RoiAlign")
def roi_align(n: NodeContext) -> SSAValue:
    """Both modes and both coordinate modes; as many samples as a box needs (at most 1024 a bin along an axis)."""
    x, samples = n.ranked(0, 4), n.int("sampling_ratio", 0)
    n.require(samples >= 0, f"sampling_ratio is {samples}")
    mode = n.choice("coordinate_transformation_mode", "half_pixel", "half_pixel", "output_half_pixel")
    return n.build(
        RoiAlign,
        x,
        n.ranked(1, 2),
        n.ranked(2, 1),
        kind=KINDS[n.choice("mode", "avg", *KINDS)],
        size=(n.int("output_height", 1), n.int("output_width", 1)),
        samples=samples,
        scale=n.float("spatial_scale", 1.0),
        half_pixel=n.opset >= 16 and mode == "half_pixel",
    )


@converter("MaxRoiPool")
def max_roi_pool(n: NodeContext) -> SSAValue:
    """All attributes."""
    x = n.ranked(0, 4)
    return n.build(
        RoiMaxPool, x, n.ranked(1, 2), size=n.per_axis("pooled_shape", 2, 0, 1), scale=n.float("spatial_scale", 1.0)
    )
