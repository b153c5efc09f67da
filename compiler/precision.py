"""Which arithmetic a compilation may use in place of f32: what the option ``precision`` means.

In: nothing. Out: the names. The one idea: f32 is exact to the last bits unless the user asks for less; bf16 has
f32's range and 8 bits of precision, so weights need no scales, and sums stay f32.
"""

from __future__ import annotations

FULL = "f32"
WEIGHTS = "bf16-weights"
ROUNDED = "bf16"
PRECISIONS = (FULL, WEIGHTS, ROUNDED)
"""``f32``: nothing is rounded. ``bf16-weights``: weights are stored as bf16 and widened where they are read. ``bf16``:
what matrix products and convolutions multiply them with is rounded to bf16, too."""


def described(precision: str, count: int, stored: int) -> str:
    """What a compilation with ``precision`` did, which stored ``count`` weights, of ``stored`` bytes, as bf16."""
    return f"precision {precision}: {count} weights ({stored} bytes) are stored as bf16; sums are f32"
