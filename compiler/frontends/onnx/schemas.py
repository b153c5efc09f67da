"""What ONNX's own operator definitions say about a node, before anything is converted.

In: a node and the version of its operator set. Out: nothing, or a refusal: unknown operator, operands or attributes
missing, too many or of a wrong kind. The one idea: the definitions that come with the onnx package are data, so no
converter checks what they already say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from penstock.compiler.errors import INVALID_NODE, UNKNOWN_OP, UNSUPPORTED_ATTRIBUTE, UNSUPPORTED_OP, nearest
from penstock.compiler.frontends.onnx.node_context import Refusal
from penstock.compiler.frontends.onnx.records import AttributeValue, Graph, Node, Opaque, Tensor

FULL_OPSET = 6  # of older operator sets, only what has not changed until this one is compiled
UNOFFICIAL = frozenset({"SimplifiedLayerNormalization"})
"""Operators that onnxruntime's optimisers put into ONNX's own domain, which has no definition of them."""
SUCCESSORS = {"Upsample": "Resize", "Scatter": "ScatterElements"}


@dataclass(frozen=True)
class Signature:
    """One version of an operator: names of its inputs with whether they are required, and kinds of its attributes."""

    inputs: tuple[tuple[str, bool], ...]
    least_inputs: int
    most_inputs: int
    most_outputs: int
    attributes: dict[str, str]
    required: frozenset[str]
    deprecated: bool
    since: int


@cache
def signature(op: str, opset: int) -> Signature | None:
    """The definition of ONNX's operator ``op`` in an operator set; None if there is none."""
    import onnx.defs

    try:
        schema: Any = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
    single: Any = onnx.defs.OpSchema.FormalParameterOption.Single
    return Signature(
        inputs=tuple((str(item.name), item.option == single) for item in schema.inputs),
        least_inputs=int(schema.min_input),
        most_inputs=int(schema.max_input),
        most_outputs=int(schema.max_output),
        attributes={str(name): str(item.type).rpartition(".")[2] for name, item in schema.attributes.items()},
        required=frozenset(str(name) for name, item in schema.attributes.items() if item.required),
        deprecated=bool(schema.deprecated),
        since=int(schema.since_version),
    )


def check_node(node: Node, opset: int) -> None:
    """Raise Refusal if ``node`` (of ONNX's own domain) is not what its operator's definition allows."""
    if node.op in UNOFFICIAL:
        return
    found = signature(node.op, opset)
    if found is None:
        raise _unknown(node, opset)
    if found.deprecated:
        instead = SUCCESSORS.get(node.op)
        hint = f"Use {instead}: onnx.version_converter replaces it." if instead else ""
        raise Refusal(UNSUPPORTED_OP, f"ONNX has removed the operator {node.op} before opset {opset}", hint)
    if opset < FULL_OPSET:
        later = signature(node.op, FULL_OPSET)
        if later is None or later.since != found.since:
            reason = f"{node.op} was another operator in opset {opset}, which is no longer compiled"
            raise Refusal(UNSUPPORTED_OP, reason, f"Convert the model to opset {FULL_OPSET + 1} or later.")
    _check_operands(node, found)
    for name, value in node.attributes.items():
        kind = found.attributes.get(name)
        if kind is None:
            known = nearest(name, found.attributes)
            raise Refusal(INVALID_NODE, f"{node.op} has no attribute {name} in opset {opset}{known}")
        given = kind_of(value)
        if given != kind and not (isinstance(value, tuple) and not value and kind.endswith("S")):
            raise Refusal(INVALID_NODE, f"the attribute {name} is {given} where {kind} is meant")
    missing = sorted(found.required - set(node.attributes))
    if missing:
        raise Refusal(INVALID_NODE, f"the attribute {missing[0]} is missing")


def _unknown(node: Node, opset: int) -> Refusal:
    import onnx.defs

    if onnx.defs.has(node.op):
        since = min(int(s.since_version) for s in _all_versions() if s.name == node.op)
        return Refusal(UNKNOWN_OP, f"the operator {node.op} came with opset {since}, but the model uses opset {opset}")
    names = {str(schema.name) for schema in _all_versions()}
    return Refusal(UNKNOWN_OP, f"ONNX has no operator {node.op} in opset {opset}{nearest(node.op, names)}")


@cache
def _all_versions() -> tuple[Any, ...]:
    import onnx.defs

    schemas: Any = onnx.defs.get_all_schemas_with_history()
    return tuple(schema for schema in schemas if schema.domain == "")


def _check_operands(node: Node, found: Signature) -> None:
    count = len(node.inputs)
    if not found.least_inputs <= count <= found.most_inputs:
        wanted = f"{found.least_inputs} to {found.most_inputs}"
        if found.least_inputs == found.most_inputs:
            wanted = str(found.least_inputs)
        elif found.most_inputs > 1 << 20:
            wanted = f"{found.least_inputs} or more"
        raise Refusal(INVALID_NODE, f"{node.op} takes {wanted} inputs, but has {count}")
    for (name, required), given in zip(found.inputs, node.inputs, strict=False):
        if required and not given:
            raise Refusal(INVALID_NODE, f"its input {name} is left out, but {node.op} needs it")
    if len(node.outputs) > found.most_outputs:
        raise Refusal(INVALID_NODE, f"{node.op} has at most {found.most_outputs} outputs, not {len(node.outputs)}")


def kind_of(value: AttributeValue) -> str:
    """ONNX's name for the kind of an attribute value."""
    match value:
        case int():
            return "INT"
        case float():
            return "FLOAT"
        case str():
            return "STRING"
        case Tensor():
            return "SPARSE_TENSOR" if value.sparse else "TENSOR"
        case Graph():
            return "GRAPH"
        case Opaque():
            return value.kind
        case tuple():
            first = value[0] if value else 0
            return {int: "INTS", float: "FLOATS", str: "STRINGS"}[type(first)]
        case _:
            raise Refusal(UNSUPPORTED_ATTRIBUTE, f"an attribute refers to '{value.name}' outside of a function")
