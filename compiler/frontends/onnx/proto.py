"""Protobuf messages into records: the only module that touches onnx's messages (which have no useful types).

In: a ``ModelProto``. Out: a ``records.Model``. The one idea: read every field once, with limits, and turn what is
malformed into problems rather than exceptions, so that all of them are reported together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.compiler.errors import (
    BAD_VERSION,
    DUPLICATE_NAME,
    INVALID_DATA,
    INVALID_NODE,
    MODEL_TOO_LARGE,
    Problem,
)
from penstock.compiler.frontends.onnx.external import DataFolder
from penstock.compiler.frontends.onnx.records import (
    AttributeValue,
    Dim,
    Function,
    Graph,
    Model,
    Node,
    Opaque,
    Reference,
    Tensor,
    ValueInfo,
)
from penstock.compiler.frontends.onnx.tensors import StoredTensor, describe_sparse, describe_tensor

MAX_DEPTH = 16  # subgraphs inside subgraphs
OLDEST_IR, NEWEST_IR = 3, 14
OLDEST_OPSET, NEWEST_OPSET = 1, 28
TYPED_FIELDS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data")
KINDS = {
    "tensor_type": "tensor",
    "sequence_type": "sequence",
    "map_type": "map",
    "optional_type": "optional",
    "sparse_tensor_type": "sparse tensor",
    "opaque_type": "opaque",
}


class MessageReader:
    """Reads one model; ``problems`` collects what is wrong with the file itself."""

    def __init__(self, folder: DataFolder, lifted: Mapping[int, memoryview]) -> None:
        self.folder, self.lifted = folder, lifted
        self.problems: list[Problem] = []

    def report(self, code: str, node: str, reason: str, hint: str = "", op: str = "") -> None:
        self.problems.append(Problem(code, node, op, reason, hint))

    def model(self, message: Any, name: str) -> Model:
        """The record of a ``ModelProto``."""
        opsets = self.opsets(message.opset_import)
        if not OLDEST_IR <= message.ir_version <= NEWEST_IR:
            self.report(
                BAD_VERSION,
                "",
                f"the file has ONNX IR version {message.ir_version}; versions {OLDEST_IR} to {NEWEST_IR} are read",
            )
        if not message.opset_import and not message.functions:
            self.report(BAD_VERSION, "", "the model imports no operator set")
        graph = self.graph(message.graph, depth=0, lifted=self.lifted)
        functions: dict[tuple[str, str, str], Function] = {}
        for item in message.functions:
            function = self.function(item)
            key = (function.domain, function.name, str(item.overload))
            if key in functions:
                self.report(DUPLICATE_NAME, function.name, "two functions of the model have this name")
            functions[key] = function
        return Model(name, graph, opsets, functions, tuple(self.problems))

    def opsets(self, imports: Iterable[Any]) -> dict[str, int]:
        """Versions by domain; ``ai.onnx`` and the empty domain are the same."""
        found: dict[str, int] = {}
        for item in imports:
            domain, version = normal_domain(item.domain), _version(item)
            if domain == "" and not OLDEST_OPSET <= version <= NEWEST_OPSET:
                self.report(
                    BAD_VERSION,
                    "",
                    f"it uses version {version} of ONNX's operators; {OLDEST_OPSET} to {NEWEST_OPSET} are supported",
                )
            if found.setdefault(domain, version) != version:
                self.report(BAD_VERSION, "", f"it imports two versions of the operators of domain '{domain}'")
        return found

    def function(self, message: Any) -> Function:
        """The record of a ``FunctionProto``."""
        return Function(
            name=str(message.name),
            domain=normal_domain(message.domain),
            inputs=tuple(message.input),
            outputs=tuple(message.output),
            nodes=tuple(self.node(item, 0) for item in message.node),
            opsets={normal_domain(item.domain): _version(item) for item in message.opset_import},
            defaults={str(item.name): self.attribute(item, str(message.name), 0) for item in message.attribute_proto},
        )

    def graph(self, message: Any, depth: int, lifted: Mapping[int, memoryview] | None = None) -> Graph:
        """The record of a ``GraphProto``; ``lifted`` holds the large weights that are not in the message."""
        initializers: dict[str, Tensor] = {}
        stored = [self.tensor(item, (lifted or {}).get(index)) for index, item in enumerate(message.initializer)]
        stored += [self.sparse(item) for item in message.sparse_initializer]
        for tensor in stored:
            if tensor.name in initializers:
                self.report(DUPLICATE_NAME, tensor.name, "two initializers have this name")
            if not tensor.name:
                self.report(INVALID_DATA, "", "an initializer has no name")
            if tensor.problem is not None:
                code, reason, hint = tensor.problem
                self.report(code, tensor.name, f"the initializer cannot be used: {reason}", hint)
            initializers[tensor.name] = tensor
        values = [self.value(item) for item in (*message.value_info, *message.output)]
        return Graph(
            name=str(message.name),
            nodes=tuple(self.node(item, depth) for item in message.node),
            inputs=tuple(self.value(item) for item in message.input),
            outputs=tuple(self.value(item) for item in message.output),
            initializers=initializers,
            values={value.name: value for value in values},
        )

    def node(self, message: Any, depth: int) -> Node:
        """The record of a ``NodeProto``."""
        outputs = tuple(str(item) for item in message.output)
        op = str(message.op_type)
        first = next((output for output in outputs if output), "")
        name = str(message.name) or f"{op}({first})"
        attributes: dict[str, AttributeValue] = {}
        for item in message.attribute:
            if item.name in attributes:
                self.report(INVALID_NODE, name, f"the attribute {item.name} is given twice", op=op)
            attributes[str(item.name)] = self.attribute(item, name, depth)
        return Node(
            name=name,
            op=op,
            domain=normal_domain(message.domain),
            overload=str(message.overload),
            inputs=tuple(str(item) for item in message.input),
            outputs=outputs,
            attributes=attributes,
            message=message,
        )

    def attribute(self, message: Any, node: str, depth: int) -> AttributeValue:
        """The value of an ``AttributeProto``."""
        import onnx

        if message.ref_attr_name:
            return Reference(str(message.ref_attr_name))
        kinds: Any = onnx.AttributeProto
        match message.type:
            case kinds.INT:
                return int(message.i)
            case kinds.FLOAT:
                return float(message.f)
            case kinds.STRING:
                return bytes(message.s).decode(errors="replace")
            case kinds.INTS:
                return tuple(int(item) for item in message.ints)
            case kinds.FLOATS:
                return tuple(float(item) for item in message.floats)
            case kinds.STRINGS:
                return tuple(bytes(item).decode(errors="replace") for item in message.strings)
            case kinds.TENSOR:
                return self.tensor(message.t, None)
            case kinds.SPARSE_TENSOR:
                return self.sparse(message.sparse_tensor)
            case kinds.GRAPH if depth < MAX_DEPTH:
                return self.graph(message.g, depth + 1)
            case kinds.GRAPH:
                self.report(MODEL_TOO_LARGE, node, f"subgraphs are nested more than {MAX_DEPTH} deep")
                return Opaque("GRAPH")
            case number:
                known: Any = kinds.AttributeType.DESCRIPTOR.values_by_number
                return Opaque(str(known[number].name) if number in known else f"number {number}")

    def tensor(self, message: Any, lifted: memoryview | None) -> Tensor:
        """The record of a ``TensorProto`` whose ``raw_data`` may have been lifted out of it."""
        external: dict[str, str] | None = None
        if message.data_location == 1 or message.external_data:
            external = {str(item.key): str(item.value) for item in message.external_data}
        raw = lifted if lifted is not None else bytes(message.raw_data) if message.HasField("raw_data") else None
        stored = StoredTensor(
            name=str(message.name),
            type_code=int(message.data_type),
            dims=tuple(int(item) for item in message.dims),
            raw=raw,
            typed={name: getattr(message, name) for name in TYPED_FIELDS},
            external=external,
            segmented=bool(message.HasField("segment")),
        )
        return describe_tensor(stored, self.folder)

    def sparse(self, message: Any) -> Tensor:
        """The record of a ``SparseTensorProto``, as the dense tensor it stands for."""
        dims = tuple(int(item) for item in message.dims)
        return describe_sparse(self.tensor(message.values, None), self.tensor(message.indices, None), dims)

    def value(self, message: Any) -> ValueInfo:
        """The record of a ``ValueInfoProto``."""
        name, which = str(message.name), message.type.WhichOneof("value")
        kind = KINDS.get(str(which), "undeclared")
        if kind != "tensor":
            return ValueInfo(name, kind, 0, None)
        tensor = message.type.tensor_type
        dims = tuple(map(_dim, tensor.shape.dim)) if tensor.HasField("shape") else None
        return ValueInfo(name, kind, int(tensor.elem_type), dims)


def _version(message: Any) -> int:
    """The version of an operator set, or the nearest that onnx can look up: there is none of either."""
    return max(0, min(int(message.version), 1 << 30))


def _dim(message: Any) -> Dim:
    match message.WhichOneof("value"):
        case "dim_value":  # some exporters write an open one as -1
            return None if message.dim_value == -1 else int(message.dim_value)
        case "dim_param":
            return str(message.dim_param) or None
        case _:
            return None


def normal_domain(domain: object) -> str:
    """ONNX's own domain has two names; the shorter one is used here."""
    text = str(domain)
    return "" if text == "ai.onnx" else text
