"""What has no kernel of its own is said by ops that have one."""

from __future__ import annotations

from typing import Any

import pytest
from unit.graph.building import random
from unit.simplify.checking import Net


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("sizes", [(8, 10), (3, 4), (4, 9)])
def test_resize(sizes: Any, coordinates: str, mode: str):
    net = Net(x="1x2x4x5xf32")
    scales = (1.0, 1.0, sizes[0] / 4, sizes[1] / 5)
    y = net.resize(
        net.x, result=f"1x2x{sizes[0]}x{sizes[1]}xf32", mode=mode, scales=scales, coordinate_mode=coordinates
    )
    assert "resize" not in net.check(y, "decompose-resize", "fold-constants", "dce", rtol=1e-4)


@pytest.mark.parametrize(
    ("x", "w", "parameters"),
    [
        ("1x1x3xf32", (1, 1, 2), {"strides": (2,)}),
        ("2x3x5xf32", (3, 4, 3), {"strides": (2,), "pads_low": (1,), "output_padding": (1,)}),
        ("1x4x3x5xf32", (4, 3, 3, 2), {"groups": 2, "strides": (3, 2), "dilations": (2, 1)}),
        ("1x4x5x5xf32", (4, 1, 4, 4), {"groups": 4, "strides": (2, 2), "pads_low": (1, 1), "pads_high": (1, 1)}),
        ("1x2x4xf32", (2, 3, 3), {}),
        ("1x2x4xf32", (2, 3, 2), {"strides": (4,)}),
    ],
)
def test_conv_transpose(x: str, w: Any, parameters: Any):
    net = Net(x=x)
    y = net.conv_transpose(net.x, random(*w), **parameters)
    assert net.check(y, "decompose-conv-transpose", "fold-constants", "dce", rtol=1e-4)["conv"] == 1
