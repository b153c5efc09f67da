"""The function bodies that ONNX's own specification gives for operators without a converter.

In: a node and its operands' types. Out: the body as records, or None. The one idea: an operator we do not know
natively is what the standard says it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import shape_of, type_name
from penstock.compiler.extents import Dim, NotStatic, is_static
from penstock.compiler.frontends.onnx.external import DataFolder
from penstock.compiler.frontends.onnx.ordering import names_defined
from penstock.compiler.frontends.onnx.proto import MessageReader
from penstock.compiler.frontends.onnx.records import TYPE_NAMES, Function, Graph, Node, Reference
from penstock.compiler.frontends.onnx.values import Item

_CODES = {name: code for code, name in TYPE_NAMES.items()}


def standard_body(node: Node, inputs: Sequence[Item | None], opset: int) -> Function | None:
    """The standard's function body for ``node`` (its domain's opset ``opset``), or None. Raises NotStatic where
    there is none for symbolic sizes."""
    import onnx

    try:
        schema: Any = onnx.defs.get_schema(node.op, opset, node.domain)
    except onnx.defs.SchemaError:
        return None
    message: Any = None
    if schema.has_function:
        message = schema.function_body
    elif schema.has_context_dependent_function and node.message is not None:
        types = [_type_message(value) for value in inputs]
        call = _resolved(node)
        try:
            data = schema.get_context_dependent_function(call.SerializeToString(), types)
        except RuntimeError:
            data = b""
        message = onnx.FunctionProto()
        message.ParseFromString(data)
        symbolic = any(isinstance(value, SSAValue) and not is_static(shape_of(value.type)) for value in inputs)
        if not message.node and symbolic:
            raise NotStatic(f"the standard gives a body of {node.op} for fixed sizes only")
    if message is None or not message.node:
        return None
    function = MessageReader(DataFolder(None), {}).function(message)
    opsets = function.opsets or {node.domain: opset}
    return Function(
        function.name, function.domain, function.inputs, function.outputs, function.nodes, opsets, function.defaults
    )


def _resolved(node: Node) -> Any:
    """The node's message with attributes that refer to an enclosing function's replaced by their values."""
    import onnx

    call: Any = onnx.NodeProto()
    call.CopyFrom(node.message)
    references = [attribute.name for attribute in call.attribute if attribute.ref_attr_name]
    kept = [attribute for attribute in call.attribute if not attribute.ref_attr_name]
    del call.attribute[:]
    call.attribute.extend(kept)
    for name in references:
        value: Any = node.attributes.get(name)
        if isinstance(value, int | float | str | tuple):
            call.attribute.append(onnx.helper.make_attribute(name, value))
    return call


def _type_message(value: Item | None) -> bytes:
    import onnx

    if not isinstance(value, SSAValue):
        return onnx.TypeProto().SerializeToString()
    kind = _CODES[type_name(element_of(value))]
    shape = [str(extent) if isinstance(extent, Dim) else extent for extent in shape_of(value.type)]
    return onnx.helper.make_tensor_type_proto(kind, shape).SerializeToString()


def bound(node: Node, attributes: Mapping[str, Any], absent: set[str]) -> Node:
    """A node of a function's body with references replaced by the caller's attributes and absent inputs left out."""
    values: dict[str, Any] = {}
    for name, value in node.attributes.items():
        if isinstance(value, Graph):
            left = absent - names_defined(value)
            values[name] = replace(value, nodes=tuple(bound(inner, attributes, left) for inner in value.nodes))
        elif not isinstance(value, Reference):
            values[name] = value
        elif value.name in attributes:
            values[name] = attributes[value.name]
    inputs = tuple("" if name in absent else name for name in node.inputs)
    return replace(node, inputs=inputs, attributes=values)
