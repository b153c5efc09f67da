"""How near a run is to what the machine can do: the ceilings, measured in the same run, and the least time of a model.

In: numbers of threads; a model's `Cost`. Out: `Machine` records, and the roofline's seconds. The one idea: ceilings are
measured again before every model and the best count, since neighbours can only lower them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cost import Cost
from measure import Measurement
from process import CellError, Process

from penstock.tools.ceilings import Level, level_of


@dataclass(frozen=True)
class Machine:
    """f32 operations per second with so many threads, and the levels of memory with their bandwidths."""

    flops: float
    levels: Sequence[Level]

    def least_seconds(self, cost: Cost) -> float | None:
        """The roofline: arithmetic at its peak, or every byte once from the level that holds them all; the longer."""
        if not self.flops or not self.levels:
            return None
        return max(cost.flops / self.flops, cost.bytes / level_of(self.levels, cost.bytes).bandwidth)

    def best(self, other: Machine) -> Machine:
        """The higher of each ceiling."""
        pairs = zip(self.levels, other.levels, strict=True)
        levels = [max(pair, key=lambda level: level.bandwidth) for pair in pairs]
        return Machine(max(self.flops, other.flops), levels)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_machine(threads: Sequence[int], priority: bool) -> dict[int, Machine]:
    """By number of threads, in a process of its own with the priority of the others; zeros if it fails."""
    found: dict[int, Machine] = {}
    for count in threads:
        process = Process(priority)
        try:
            answer = process("ceilings", threads=count)
            found[count] = Machine(answer["flops"], [Level(**level) for level in answer["levels"]])
        except CellError:
            found[count] = Machine(0.0, [])
        finally:
            process.close()
    return found


def fill_in(results: Sequence[Measurement], costs: Mapping[str, Cost | None], ceilings: Mapping[int, Machine]) -> None:
    """Set `roofline` of every f32 measurement whose model's cost and machine's ceilings are known."""
    for item in results:
        cost = costs.get(item.model)
        if cost is None or item.median_s is None or item.precision != "f32":
            continue
        least = ceilings[item.threads].least_seconds(cost)
        item.roofline = None if least is None else least / item.median_s
