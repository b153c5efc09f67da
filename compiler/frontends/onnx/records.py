"""An ONNX model as plain typed records: what the rest of the front end reads instead of protobuf messages.

In: built by ``proto``. Out: immutable records of graphs, nodes, attributes and tensors. The one idea: everything that
is hard to type or unsafe to touch in a protobuf message is dealt with once, before conversion starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from penstock.compiler.errors import Problem

Array = NDArray[Any]
Dim: TypeAlias = "int | str | None"  # an extent, the name of a symbolic one, or not said


@dataclass(frozen=True)
class Tensor:
    """A stored tensor. ``read`` gives its array (a view of the file where possible, never to be written to).

    ``problem`` is (code, sentence, hint) if the tensor cannot be read; ``read`` must not be called then.
    """

    name: str
    type_code: int
    dims: tuple[int, ...]
    read: Callable[[], Array] = field(compare=False)
    problem: tuple[str, str, str] | None = None
    sparse: bool = False  # how it is stored


@dataclass(frozen=True)
class Reference:
    """Inside a function body: the value of the calling node's attribute ``name``."""

    name: str


@dataclass(frozen=True)
class Opaque:
    """An attribute of a kind no supported operator takes; ``kind`` is ONNX's name for it."""

    kind: str


@dataclass(frozen=True)
class ValueInfo:
    """What the model declares about a value: ``dims`` is None if its rank is not given.

    ``kind`` is ``tensor`` or ONNX's name of what else it is (sequence, optional, map, sparse tensor).
    """

    name: str
    kind: str
    type_code: int
    dims: tuple[Dim, ...] | None


@dataclass(frozen=True)
class Node:
    """One node. ``name`` is never empty: an unnamed node is called ``OpType(first_output)``.

    Empty strings among ``inputs`` and ``outputs`` are optional ones left out. ``message`` is the protobuf message, for
    the few calls into onnx that need one.
    """

    name: str
    op: str
    domain: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, AttributeValue]
    message: object = field(compare=False, repr=False, default=None)


@dataclass(frozen=True)
class Graph:
    """A graph or subgraph. ``values`` holds the declared types of outputs and intermediate values, by name."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    initializers: dict[str, Tensor]
    values: dict[str, ValueInfo]


@dataclass(frozen=True)
class Function:
    """A function body: ``defaults`` are the values of attributes the caller may leave out."""

    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    opsets: dict[str, int]
    defaults: dict[str, AttributeValue]


@dataclass(frozen=True)
class Model:
    """A whole model. ``opsets`` maps domain (the default one is ``''``) to version; ``problems`` were found on
    reading."""

    name: str
    graph: Graph
    opsets: dict[str, int]
    functions: dict[tuple[str, str, str], Function]
    problems: tuple[Problem, ...]


AttributeValue: TypeAlias = (
    "int | float | str | Tensor | Graph | Reference | Opaque | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]"
)

# ONNX's element types -------------------------------------------------------------------------------------------------

TYPE_NAMES = {
    1: "f32",
    2: "ui8",
    3: "i8",
    4: "ui16",
    5: "i16",
    6: "i32",
    7: "i64",
    9: "i1",
    10: "f16",
    11: "f64",
    12: "ui32",
    13: "ui64",
    16: "bf16",
    17: "f8e4m3fn",
    18: "f8e4m3fnuz",
    19: "f8e5m2",
    20: "f8e5m2fnuz",
    21: "ui4",
    22: "i4",
    23: "f4e2m1",
    24: "f8e8m0",
    25: "ui2",
    26: "i2",
}
UNSUPPORTED_TYPE_NAMES = {
    0: "undefined",
    8: "string",
    14: "complex64",
    15: "complex128",
    27: "float6e2m3",
    28: "float6e3m2",
}


def type_title(code: int) -> str:
    """ONNX's element type ``code`` in words."""
    return TYPE_NAMES.get(code) or UNSUPPORTED_TYPE_NAMES.get(code) or f"number {code}"


def show_dims(dims: tuple[Dim, ...] | tuple[int, ...]) -> str:
    """Dims as a person writes them: ``[1,3,batch,?]``."""
    return "[" + ",".join("?" if dim is None else str(dim) for dim in dims) + "]"


def scalar_of(array: Array) -> int | float | bool:
    """The one element of an array of any rank."""
    item: Any = np.asarray(array).reshape(-1)[0].item()
    return item
