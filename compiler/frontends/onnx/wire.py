"""Lifting weights out of a model file without parsing or copying them.

In: the bytes of a serialized ``ModelProto`` (a memory-mapped file or a buffer). Out: a much smaller serialized model
with the large ``raw_data`` of its initializers left out, and where in the buffer each of them stands. The one idea: of
protobuf's wire format only four kinds of field exist, so the three nesting levels down to an initializer's bytes can be
walked with checks on every length, and a file of any size costs no more than its structure.

The wire format: https://protobuf.dev/programming-guides/encoding; field numbers: onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LIFT_FROM = 4096  # bytes: smaller payloads stay in the message
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA = 7, 5, 9
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not well-formed; the message says where and how."""


@dataclass(frozen=True)
class Field:
    """One field: ``begin`` .. ``end`` with its key; the payload of a length-delimited one starts at ``payload``."""

    number: int
    kind: int
    begin: int
    payload: int
    end: int


def varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """The variable-length integer at ``at`` and where it ends. Raises WireError when it runs over ``end``."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise WireError(f"the number at byte {at} is cut off" if at >= end else f"the number at byte {at} is too long")


def encode_varint(value: int) -> bytes:
    """``value`` as a variable-length integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data: memoryview, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message in ``data[begin:end]``. Raises WireError if they are not well-formed."""
    at = begin
    while at < end:
        start = at
        key, at = varint(data, at, end)
        number, kind = key >> 3, key & 7
        payload = at
        if kind == VARINT:
            _, at = varint(data, at, end)
        elif kind == FIXED64:
            at += 8
        elif kind == FIXED32:
            at += 4
        elif kind == LENGTH:
            length, payload = varint(data, at, end)
            at = payload + length
        else:
            raise WireError(f"byte {start} starts no field of a model")
        if number == 0:
            raise WireError(f"byte {start} starts no field of a model")
        if at > end:
            raise WireError(f"the field at byte {start} says it ends at byte {at}, but only {end} bytes are there")
        yield Field(number, kind, start, payload, at)


def lift_weights(data: memoryview) -> tuple[bytes, dict[int, memoryview]]:
    """(the model without its large weights, the weights by index of their initializer).

    Raises WireError if the file is cut off or not protobuf at all.
    """
    lifted: dict[int, memoryview] = {}
    pieces: list[bytes | memoryview] = []
    index = 0
    for field in fields(data, 0, len(data)):
        if field.number == MODEL_GRAPH and field.kind == LENGTH:
            graph, index = _lift_graph(data, field, lifted, index)
            pieces += [encode_varint(field.number << 3 | LENGTH), encode_varint(sum(map(len, graph))), *graph]
        else:
            pieces.append(data[field.begin : field.end])
    return b"".join(pieces), lifted


def _lift_graph(
    data: memoryview, graph: Field, lifted: dict[int, memoryview], index: int
) -> tuple[list[bytes | memoryview], int]:
    """The pieces of a graph without large weights, and the index of the next initializer."""
    pieces: list[bytes | memoryview] = []
    for field in fields(data, graph.payload, graph.end):
        if field.number != GRAPH_INITIALIZER or field.kind != LENGTH:
            pieces.append(data[field.begin : field.end])
            continue
        if field.end - field.begin <= LIFT_FROM:
            pieces.append(data[field.begin : field.end])
        else:
            tensor: list[bytes | memoryview] = []
            for part in fields(data, field.payload, field.end):
                if part.number == TENSOR_RAW_DATA and part.kind == LENGTH:
                    lifted[index] = data[part.payload : part.end]
                else:
                    tensor.append(data[part.begin : part.end])
            pieces += [encode_varint(field.number << 3 | LENGTH), encode_varint(sum(map(len, tensor))), *tensor]
        index += 1
    return pieces, index
