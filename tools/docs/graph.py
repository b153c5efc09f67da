"""docs/graph.md: the ``graph`` dialect, every op with its operands, parameters and meaning.

In: the op classes and the docstrings of their modules. Out: one section per module. Nothing about an op is written
here: what the page says of it is what its class says.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.compiler.dialects.declared import Parameter
    from penstock.compiler.dialects.graph.base import GraphOp

PAGE = "docs/graph.md"

FAMILIES = {
    "structure": "Constants and dispatches",
    "elementwise": "Elementwise arithmetic",
    "activation": "Activation functions",
    "logic": "Comparison, logic and selection",
    "shape": "Shape",
    "index": "Indexing",
    "scatter": "Scattering",
    "reduction": "Reductions",
    "ordering": "Ordering",
    "contraction": "Matrix products",
    "convolution": "Convolutions",
    "pooling": "Pooling",
    "normalization": "Normalisation",
    "attention": "Attention",
    "linear_attention": "Linear attention",
    "recurrence": "Recurrence",
    "resize": "Resizing",
    "sampling": "Sampling",
    "roi": "Regions of interest",
    "determinant": "Determinants",
}
"""Headings, in the order of the page; a family that is not here follows under its module's name."""

INTRODUCTION = """\
# The graph dialect

The first level: what a model computes, said with few and orthogonal ops on tensors. The ONNX front end turns a model
into it, the phases simplify, layout and fuse rewrite it, and lowering turns each fused group into a kernel.

## What a graph looks like

```mlir
func.func @main(%x: tensor<1x3x8x8xf32> {penstock.name = "x"}) -> (tensor<1x4x8x8xf32> {penstock.name = "y"}) {
  %w = graph.constant {key = "conv.weight#5c0f3a"} : () -> tensor<4x3x3x3xf32> loc("conv.weight")
  %0 = graph.conv %x, %w {pads_low = [1, 1], pads_high = [1, 1]} : (...) -> tensor<1x4x8x8xf32> loc("/conv/Conv")
  %1 = graph.relu %0 : (tensor<1x4x8x8xf32>) -> tensor<1x4x8x8xf32> loc("/act/Relu")
  func.return %1 : tensor<1x4x8x8xf32>
}
```

* Values are tensors with value semantics, row-major; a physical layout is always an explicit op. Element types:
  `f16 bf16 f32 f64`, signed `i8` to `i64`, unsigned `ui8` to `ui64`, and `i1` for booleans.
* Every op names the source nodes it comes from in its location, and keeps them through every rewrite.
* Weights are named by key; their bytes are in the weight store, never in the text.
* Parameters that are left out have their default. Text that is printed reads back.
* Half precision is storage: it computes and accumulates in f32, and is rounded once at the result. Integers wrap.

## What an op is

An op is a class in a module of `compiler/dialects/graph`, found by scanning. Its
class holds everything: operands and parameters, type rule (`infer`), numpy reference semantics (`evaluate`, of which
the interpreter and constant folding are made), what it is equal to when it changes nothing (`fold`), and its `cost`.
Elementwise ops give one scalar formula (`scalar`) from which reference semantics and machine code are both derived.

`compiler/interpreter.py` runs a graph with numpy. It is the oracle that passes and kernels are tested against.
"""


def render(root: Path) -> str:
    """The page's Markdown."""
    del root
    from penstock.compiler.dialects.graph import operations

    families: dict[str, list[type[GraphOp]]] = {name: [] for name in FAMILIES}
    for op in operations():
        families.setdefault(op.__module__.rpartition(".")[2], []).append(op)
    parts = [INTRODUCTION, _overview(families)]
    parts += [_family(name, ops) for name, ops in families.items() if ops]
    return "\n".join(parts)


def _title(family: str) -> str:
    return FAMILIES.get(family, family.replace("_", " ").capitalize())


def _overview(families: dict[str, list[type[GraphOp]]]) -> str:
    lines = ["## All ops", "", "| family | ops |", "|---|---|"]
    for family, ops in families.items():
        names = " ".join(f"[`{_bare(op)}`](#{_bare(op)})" for op in ops)
        lines.append(f"| {_title(family)} | {names} |")
    return "\n".join(lines) + "\n"


def _family(family: str, ops: list[type[GraphOp]]) -> str:
    module = importlib.import_module(f"penstock.compiler.dialects.graph.{family}")
    _, _, body = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    lines = [f"## {_title(family)}", "", _markdown(body), ""]
    for op in ops:
        lines += [_op(op), ""]
    return "\n".join(lines)


def _op(op: type[GraphOp]) -> str:
    lines = [f"### {_bare(op)}", "", f"`{op.name}`{_operands(op)}", "", _markdown(inspect.getdoc(op) or "")]
    if op.parameters:
        lines += ["", "| parameter | kind | default | meaning |", "|---|---|---|---|"]
        lines += [_parameter(parameter) for parameter in op.parameters.values()]
    return "\n".join(lines)


def _bare(op: type[GraphOp]) -> str:
    return op.name.removeprefix("graph.")


def _operands(op: type[GraphOp]) -> str:
    """Operands as a signature: optional ones in brackets, a repeated one with dots."""
    required = len(op.operand_names) - op.optional_operands
    names = [f"`{name}`" if i < required else f"[`{name}`]" for i, name in enumerate(op.operand_names)]
    if op.variadic:
        names[-1] += " ..."
    return (" on " + ", ".join(names)) if names else ""


def _parameter(parameter: Parameter[object]) -> str:
    choices: tuple[str, ...] = getattr(parameter, "choices", ())
    kind = ", ".join(f"`{choice}`" for choice in choices if choice) or type(parameter).__name__.lower()
    if parameter.default is None:
        default = "" if parameter.optional else "required"
    else:
        default = f"`{parameter.default!r}`"
    return f"| `{parameter.name}` | {kind} | {default} | {parameter.doc.replace('|', chr(92) + '|')} |"


def _markdown(text: str) -> str:
    """A docstring as Markdown: code in single backticks."""
    return text.replace("``", "`").replace("|x|", "\\|x\\|")
