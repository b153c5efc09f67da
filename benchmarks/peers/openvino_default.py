"""OpenVINO as it comes: on processors with bf16 arithmetic it computes in bf16."""

from __future__ import annotations

from typing import ClassVar

from .openvino import OpenVino


class OpenVinoDefault(OpenVino):
    """The precision is the plugin's choice; its error says what that was. Ranked among bf16 engines."""

    name = "openvino-default"
    precision = "bf16"
    options: ClassVar[dict[str, str]] = {}
