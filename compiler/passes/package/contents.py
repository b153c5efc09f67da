"""Compile the kernels and gather everything that goes into the artifact.

In: the module after the plan and emit phases. Out: ``artifact.writer.Contents``: plans and linked images per
instruction set level, weights, manifest. The one idea: equal modules give equal bytes; nothing of the machine or the
time goes in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import Any

from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from penstock.compiler.artifact.elf import LinkedImage
from penstock.compiler.artifact.plan import ALIGNMENT, Plan, TensorInfo, WeightSlot
from penstock.compiler.artifact.plan_format import shown
from penstock.compiler.artifact.writer import Contents, Special
from penstock.compiler.backends import KernelCode, backend
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.plan.base import memory_bytes
from penstock.compiler.dialects.plan.base import memory_of as type_in_memory
from penstock.compiler.dialects.plan.program import Program, Weight
from penstock.compiler.dtypes import BF16
from penstock.compiler.extents import Dim, Extent, largest
from penstock.compiler.passes.emit.compile_kernels import object_code
from penstock.compiler.passes.layout.compress_weights import COMPRESSED
from penstock.compiler.passes.package.binary_plan import plan_for
from penstock.compiler.passes.plan.form_commands import kernels_by_level
from penstock.compiler.precision import FULL
from penstock.compiler.weights import same


@dataclass(frozen=True)
class Part:
    """A module after the emit phase, and the sizes that it is for: none for the general one."""

    module: ModuleOp
    ctx: CompilerContext
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def program(self) -> Program:
        return next(op for op in self.module.body.block.ops if isinstance(op, Program))

    @property
    def weights(self) -> list[Weight]:
        return [op for op in self.program.body.ops if isinstance(op, Weight)]


def build_contents(parts: Sequence[Part], manifest: dict[str, Any]) -> Contents:
    """Everything of the artifact; ``manifest`` is completed with what the plans know. The first part is the general
    one."""
    general = parts[0]
    target = backend(general.ctx.target.partition(":")[0])
    slots, weights = share_weights(parts)
    images: dict[str, LinkedImage] = {}
    plans: list[dict[str, Plan]] = [{} for _ in parts]
    for level in kernels_by_level(general.module):
        own = [kernels_by_level(part.module)[level] for part in parts]
        kernels = {name: kernel for one in reversed(own) for name, kernel in one.items()}
        objects: dict[str, bytes] = {}
        known: dict[str, KernelCode] = {}
        for part, mine in zip(parts, own, strict=True):
            objects |= object_code(mine.values(), part.ctx.weights)
            known |= part.ctx.kernel_code.get(level, {})
        code = target.compile([kernels[name] for name in sorted(kernels, key=_order(own))], level, objects, known)
        images[level] = code.image
        for part, mine, made in zip(parts, own, plans, strict=True):
            scratch = largest(0, *(code.kernel_scratch[name] for name in mine))
            made[level] = replace(plan_for(part.program, level, list(mine), scratch), weights=tuple(slots))
    specials = [Special(part.sizes, made) for part, made in zip(parts[1:], plans[1:], strict=True)]
    full = {**manifest, **facts(plans[0], specials), **({} if target.computes else {"computes": False})}
    return Contents(plans[0], images, weights, full, {}, specials)


def facts(plans: Mapping[str, Plan], specials: Sequence[Special] = ()) -> dict[str, Any]:
    """What a manifest says of the plans, which are given by instruction set level."""
    plan = next(iter(plans.values()))
    return {
        **({"symbols": [asdict(symbol) for symbol in plan.symbols]} if plan.symbols else {}),
        **({"counted": [symbol.name for symbol in plan.counted_symbols()]} if plan.counted else {}),
        "inputs": [_described(info) for info in plan.inputs[: len(plan.inputs) - plan.kept]],
        "outputs": [_described(info) for info in plan.outputs[: len(plan.outputs) - plan.kept]],
        **({"kept": _kept(plan)} if plan.kept else {}),
        "targets": list(plans),
        "kernels": list(plan.kernels),
        "commands": len(plan.commands),
        "memory": {"weights": plan.weights_bytes, **_memory(plans)},
        **({"specialized": [_special(special) for special in specials]} if specials else {}),
    }


def storage_of(part: Part) -> dict[str, Any]:
    """What the manifest says of weights that are not stored as they were."""
    options, told = part.ctx.options, dict[str, Any]()
    precision = options.get("precision", FULL)
    if precision != FULL:
        narrow = [memory_bytes(op.out) for op in part.weights if type_in_memory(op.out).element_type == BF16]
        told |= {"precision": precision, "narrow_weights": {"count": len(narrow), "bytes": sum(narrow)}}
    if COMPRESSED in options:
        told[COMPRESSED] = options[COMPRESSED]
    return told


def _order(parts: Sequence[Mapping[str, Any]]) -> Callable[[str], int]:
    """Where a kernel stands when the parts are listed one after the other."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {name: number for number, name in enumerate(names)}.__getitem__


def share_weights(parts: Sequence[Part]) -> tuple[list[WeightSlot], list[NDArray[Any]]]:
    """Give equal weights of all parts one place: those of the general plan where they are, then what others add.
    Returns the places and what lies there."""
    slots = [WeightSlot(op.key, op.offset, memory_bytes(op.out)) for op in parts[0].weights]
    offsets = {slot.name: slot.offset for slot in slots}
    arrays = {slot.name: parts[0].ctx.weights[slot.name] for slot in slots}
    end = max((slot.offset + slot.bytes for slot in slots), default=0)
    for part in parts[1:]:
        for op in part.weights:
            array = part.ctx.weights[op.key]
            if op.key in arrays and not same(arrays[op.key], array):  # another weight of this name and checksum
                op.key = next(key for n in count(2) if (key := f"{op.key}.part{n}") not in arrays)
                part.ctx.weights.put(op.key, array)
            arrays[op.key] = array
            if op.key not in offsets:
                offsets[op.key] = -(-end // ALIGNMENT) * ALIGNMENT
                slots.append(WeightSlot(op.key, offsets[op.key], memory_bytes(op.out)))
                end = offsets[op.key] + slots[-1].bytes
            op.offset = offsets[op.key]
    return slots, [arrays[slot.name] for slot in slots]


def _special(special: Special) -> dict[str, Any]:
    plan = next(iter(special.plans.values()))
    return {"sizes": dict(special.sizes), "commands": len(plan.commands), "memory": _memory(special.plans)}


def _memory(plans: Mapping[str, Plan]) -> dict[str, Any]:
    """What a session with these plans needs, in bytes."""
    scratch = {level: _number(plan.scratch_bytes_per_thread) for level, plan in plans.items()}
    return {"arena": _number(next(iter(plans.values())).arena_bytes), "scratch_per_thread": scratch}


def memory_of(contents: Contents) -> dict[str, int | str]:
    """Bytes of ``weights``, of the ``arena`` and of ``scratch_per_thread``, that of the level which needs most."""
    plans = list(contents.plans.values())
    scratch = _number(largest(*(plan.scratch_bytes_per_thread for plan in plans)))
    arena = _number(plans[0].arena_bytes)
    return {"weights": plans[0].weights_bytes, "arena": arena, "scratch_per_thread": scratch}


def _described(info: TensorInfo) -> dict[str, Any]:
    return {"name": info.name, "dtype": info.dtype, "shape": [_number(extent) for extent in info.shape]}


def _kept(plan: Plan) -> dict[str, Any]:
    """What a session keeps: how many ``rows`` at most, by which ``size`` they are counted, and all that grows."""
    first, last = len(plan.inputs) - plan.kept, len(plan.outputs) - plan.kept
    tensors = [
        {"input": tensor.name, "output": output.name, "axis": axis, **_described(tensor)}
        for tensor, output, axis in zip(plan.inputs[first:], plan.outputs[last:], plan.axes, strict=True)
    ]
    length = plan.symbols[plan.length]
    return {
        "size": length.name,
        "rows": length.high,
        "bytes": sum(tensor.bytes for tensor in plan.inputs[first:]),
        "tensors": [{key: value for key, value in each.items() if key != "name"} for each in tensors],
    }


def _number(extent: Extent) -> int | str:
    """A number, or the text of an extent that is known when the model runs."""
    return shown(extent) if isinstance(extent, Dim) else extent
