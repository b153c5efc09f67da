"""Converters: how each ONNX operator is expressed in graph ops, by family; found by scanning this folder.

A converter is a function of a ``NodeContext`` (operands, attributes, static values, op building) that returns the
values of the node's outputs. Its docstring states the operator's limits, for docs/onnx-support.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.node_context import NodeContext

Convert = Callable[["NodeContext"], Any]


@dataclass(frozen=True)
class Converter:
    """How ``op`` (of another domain than ONNX's own: ``domain.op``) is converted from opset ``since`` on."""

    op: str
    since: int
    convert: Convert


NEAREST: dict[str, str] = {}
"""For operators that are not compiled: what to do instead."""

_REGISTRY: dict[str, list[Converter]] = {}


def qualified(op: str, domain: str) -> str:
    """The name of an operator in the registry: ONNX's own have no domain."""
    return f"{domain}.{op}" if domain else op


def converter(*ops: str, since: int = 1, domain: str = "") -> Callable[[Convert], Convert]:
    """Register a function as the converter of operators, from opset ``since`` until the next registered one."""

    def register(function: Convert) -> Convert:
        for op in (qualified(name, domain) for name in ops):
            _REGISTRY.setdefault(op, []).append(Converter(op, since, function))
        return function

    return register


@cache
def registry() -> dict[str, list[Converter]]:
    """All converters by operator, oldest first."""
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{info.name}")
    return {op: sorted(entries, key=lambda entry: entry.since) for op, entries in sorted(_REGISTRY.items())}


def find(op: str, opset: int, domain: str = "") -> Converter | None:
    """The converter of ``op`` for an opset version of its domain."""
    fitting = [entry for entry in registry().get(qualified(op, domain), []) if entry.since <= opset]
    return fitting[-1] if fitting else None
