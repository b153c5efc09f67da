"""What the LLVM emitter knows of a machine; apart from it, so that describing a target loads no emitter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """What the emitter knows of the machine.

    ``lanes`` per machine vector, the same for every element type, so that masks and conversions line up; the ``cpu``
    that functions are compiled for; whether multiply-add is one instruction (``fused``), whether ``gathers`` are
    worth using, whether masked loads exist for 8- and 16-bit lanes (``masks_bytes``), and whether x * 2^n is one
    instruction (``scales``), and whether dot products of ``pairs`` of bf16 are; ``features`` that the ``cpu`` has
    beyond its own, as LLVM spells them.
    """

    lanes: int
    cpu: str
    fused: bool = True
    gathers: bool = False
    masks_bytes: bool = False
    scales: bool = False
    pairs: bool = False
    features: str = ""
