"""penstock with products of bf16, as the option ``precision`` allows."""

from __future__ import annotations

from .penstock import Penstock


class PenstockBf16(Penstock):
    """`penstock.compile(model, precision="bf16")`. Ranked among bf16 engines."""

    name = "penstock-bf16"
    precision = "bf16"
