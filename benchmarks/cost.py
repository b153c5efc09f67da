"""What a model must at least do: floating point operations, and bytes it must touch; a roofline comes from both.

In: an ONNX file. Out: a `Cost`, or None where the sizes of a value are not known. Counted are the multiply-adds of
matrix products, convolutions and recurrences, twice each; exponentials, norms and data movement are free. Bytes are the
inputs, the outputs and the weights once; of a table that is only gathered from, the rows that are taken. It is no bound
for Winograd's and other fast algorithms.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import NodeProto, ValueInfoProto, helper

RECURRENCES = ("LSTM", "GRU", "RNN")
GATHERS = ("Gather", "GatherElements", "GatherND")


@dataclass(frozen=True)
class Cost:
    """``flops`` counts two per multiply-add; ``bytes`` are weights, inputs and outputs, each once."""

    flops: int
    bytes: int


@dataclass(frozen=True)
class Value:
    """A static shape and the bytes of one element."""

    shape: tuple[int, ...]
    width: int

    @property
    def bytes(self) -> int:
        """The size of the whole value."""
        return math.prod(self.shape) * self.width


def cost_of(model: Path) -> Cost | None:
    """The cost of one run."""
    proto = onnx.shape_inference.infer_shapes(onnx.load(model), data_prop=True)
    graph = proto.graph
    values = {tensor.name: Value(tuple(tensor.dims), _width(tensor.data_type)) for tensor in graph.initializer}
    weights = dict(values)
    for info in (*graph.value_info, *graph.input, *graph.output):
        value = _value(info)
        if value is not None:
            values.setdefault(info.name, value)
    users: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    try:
        flops = sum(_flops(node, values) for node in graph.node)
        touched = sum(_touched(name, weight, users[name], values) for name, weight in weights.items())
        ends = [value.name for value in (*graph.input, *graph.output) if value.name not in weights]
        return Cost(flops, touched + sum(values[name].bytes for name in ends))
    except KeyError:
        return None


def _value(info: ValueInfoProto) -> Value | None:
    kind = info.type.tensor_type
    if not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return Value(tuple(dim.dim_value for dim in kind.shape.dim), _width(kind.elem_type))


def _width(element: int) -> int:
    return helper.tensor_dtype_to_np_dtype(element).itemsize


def _flops(node: NodeProto, values: dict[str, Value]) -> int:
    """Operations of one node; KeyError if the size of a value is unknown."""
    if node.op_type in ("MatMul", "Gemm"):
        transposed = any(item.name == "transA" and item.i for item in node.attribute)
        depth = values[node.input[0]].shape[0 if transposed else -1]
        return 2 * depth * math.prod(values[node.output[0]].shape)
    if node.op_type in ("Conv", "ConvTranspose"):
        filters = values[node.input[1]].shape  # per position of the output, or of the input where transposed
        ends = node.output[0] if node.op_type == "Conv" else node.input[0]
        return 2 * math.prod(filters[1:]) * math.prod(values[ends].shape)
    if node.op_type in RECURRENCES:
        steps_and_batch = math.prod(values[node.input[0]].shape[:2])
        per_step = math.prod(values[node.input[1]].shape) + math.prod(values[node.input[2]].shape)
        return 2 * steps_and_batch * per_step  # the weights have all directions and gates
    return 0


def _touched(name: str, weight: Value, users: list[NodeProto], values: dict[str, Value]) -> int:
    """Bytes of a weight that a run reads."""
    if users and all(node.op_type in GATHERS and node.input[0] == name for node in users):
        return min(weight.bytes, sum(values[node.output[0]].bytes for node in users))
    return weight.bytes
