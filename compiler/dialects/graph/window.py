"""What convolutions and pools share: windows that slide over spatial axes.

In: extents, strides, dilations and pads, one per spatial axis. Out: output extents, and views of an array by the
position in the window. Not ops themselves. ``channels_first`` is [N, C, spatial...], ``channels_last`` is
[N, spatial..., C].
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, cast, overload

import numpy as np
from xdsl.ir import Attribute, Operation

from penstock.compiler.dialects.graph.base import GraphOp, Ints, Text, require, show

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

CHANNELS_FIRST, CHANNELS_LAST = "channels_first", "channels_last"


class Spatial(Ints):
    """One integer per spatial axis; when left out, ``fill`` for every axis."""

    def __init__(self, fill: int, *, doc: str = "") -> None:
        super().__init__(optional=True, doc=f"{doc}; default {fill} for every spatial axis")
        self.fill = fill

    @overload
    def __get__(self, op: None, owner: type) -> Self: ...
    @overload
    def __get__(self, op: Operation, owner: type) -> tuple[int, ...]: ...
    def __get__(self, op: Operation | None, owner: type) -> tuple[int, ...] | Self:
        if op is None:
            return self
        attribute = op.attributes.get(self.name)
        assert isinstance(op, Windowed)
        return (self.fill,) * op.spatial_rank if attribute is None else self.decode(attribute)


class Windowed(GraphOp):
    """Base: the common parameters of convolutions and pools."""

    strides = Spatial(1, doc="steps of the window")
    dilations = Spatial(1, doc="steps between elements of the window")
    pads_low = Spatial(0, doc="elements added before the first")
    pads_high = Spatial(0, doc="elements added after the last")
    layout = Text(CHANNELS_FIRST, CHANNELS_FIRST, CHANNELS_LAST, doc="order of the axes")

    @classmethod
    def encode_parameters(cls, parameters: dict[str, Any]) -> dict[str, Attribute]:
        """As the base does; a parameter that holds its default for every axis is left out."""
        kept = {name: value for name, value in parameters.items() if not _is_fill(cls, name, value)}
        return super().encode_parameters(kept)

    @property
    def spatial_rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.shapes()[0]) - 2

    def check_window(self) -> None:
        """x has spatial axes and every parameter has one number for each. Raises TypeRuleError."""
        x = self.shapes()[0]
        require(len(x) >= 3, f"{self.name} takes a batch axis, channels and spatial axes, not shape {show(x)}")
        for name, parameter in self.parameters.items():
            if isinstance(parameter, Spatial):
                values: tuple[int, ...] = getattr(self, name)
                least = 1 if name in ("strides", "dilations") else 0
                require(
                    len(values) == self.spatial_rank and all(value >= least for value in values),
                    f"{name} of {self.name} are {self.spatial_rank} numbers of at least {least}, not {show(values)}",
                )

    def split(self, shape: Sequence[int]) -> tuple[int, int, tuple[int, ...]]:
        """Batch, channels and spatial extents of a shape in this op's layout."""
        if self.layout == CHANNELS_FIRST:
            return shape[0], shape[1], tuple(shape[2:])
        return shape[0], shape[-1], tuple(shape[1:-1])

    def join(self, batch: int, channels: int, spatial: Sequence[int]) -> tuple[int, ...]:
        """The shape in this op's layout."""
        return (batch, channels, *spatial) if self.layout == CHANNELS_FIRST else (batch, *spatial, channels)

    def channels_first(self, x: Array) -> Array:
        """``x`` seen as [N, C, spatial...]."""
        return x if self.layout == CHANNELS_FIRST else np.moveaxis(x, -1, 1)

    def from_channels_first(self, x: Array) -> Array:
        """What ``channels_first`` undoes."""
        return x if self.layout == CHANNELS_FIRST else np.moveaxis(x, 1, -1)

    def output_extents(self, spatial: Sequence[int], window: Sequence[int]) -> tuple[int, ...]:
        """How often the window fits along each axis. Raises TypeRuleError if it does not fit at all."""
        extents: list[int] = []
        for axis, (extent, size) in enumerate(zip(spatial, window, strict=True)):
            reach = (size - 1) * self.dilations[axis] + 1
            padded = extent + self.pads_low[axis] + self.pads_high[axis]
            require(size > 0, f"the window of {self.name} has {size} elements along spatial axis {axis}")
            require(padded >= reach, f"a window of {reach} does not fit {padded} elements along spatial axis {axis}")
            extents.append((padded - reach) // self.strides[axis] + 1)
        return tuple(extents)


def _is_fill(cls: type[Windowed], name: str, value: object) -> bool:
    parameter = cls.parameters.get(name)
    if not isinstance(parameter, Spatial) or not isinstance(value, Sequence):
        return False
    numbers = cast("Sequence[int]", value)
    return len(numbers) > 0 and all(number == parameter.fill for number in numbers)


def window_views(
    padded: Array, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int], extents: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each position in the window, its coordinates and the view [..., *extents] of the elements it meets."""
    for position in itertools.product(*map(range, window)):
        taken = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, s, n in zip(position, dilations, strides, extents, strict=True)
        )
        yield position, padded[(..., *taken)]
