"""From an ONNX graph to a module of graph ops.

In: the records of a model. Out: ``func.func @main`` with every op located at its source node; or every reason why the
model cannot be compiled. The one idea: nodes are converted in order of their data; a node that fails marks its
outputs as unknown and conversion goes on, so one run tells everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import UNKNOWN_LOC, ArrayAttr, DictionaryAttr, LocationAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import GraphOp, TypeRuleError
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import element_type, from_numpy, shape_of, tensor
from penstock.compiler.errors import (
    CYCLE,
    DUPLICATE_NAME,
    INVALID_NODE,
    SHAPE_CONFLICT,
    SHAPE_UNKNOWN,
    UNDEFINED_VALUE,
    UNKNOWN_OP,
    UNSUPPORTED_OP,
    UNSUPPORTED_TYPE,
    Code,
    ModelError,
    Problem,
)
from penstock.compiler.frontends.onnx import converters
from penstock.compiler.frontends.onnx.node_context import NodeContext, Refusal
from penstock.compiler.frontends.onnx.reader import read_model
from penstock.compiler.frontends.onnx.records import (
    TYPE_NAMES,
    Function,
    Graph,
    Model,
    Node,
    Reference,
    Tensor,
    ValueInfo,
    show_dims,
    type_title,
)
from penstock.compiler.locations import name_location

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.reader import ModelSource

Array = NDArray[Any]
OpT = TypeVar("OpT", bound=Operation)
MAX_STATIC_ELEMENTS = 1 << 22
MAX_FUNCTION_DEPTH = 16
MAX_ELEMENTS = 1 << 40


def import_model(
    model: ModelSource, ctx: CompilerContext, *, dims: Mapping[str, int] | None = None, base_dir: Any = None
) -> ModuleOp:
    """The module of graph ops that ``model`` (path, bytes or ModelProto) stands for.

    ``dims`` gives symbolic input dimensions a value. Raises ModelError with every problem found.
    """
    records = read_model(model, base_dir)
    importer = Importer(records, ctx, dims or {})
    module = importer.run()
    if importer.problems:
        raise ModelError(importer.problems, records.name)
    return module


def check_model(model: ModelSource, *, dims: Mapping[str, int] | None = None, base_dir: Any = None) -> list[Problem]:
    """Every reason why ``model`` cannot be compiled; an empty list if it can. Raises ModelError if it is unreadable."""
    importer = Importer(read_model(model, base_dir), CompilerContext(), dims or {})
    importer.run()
    return importer.problems


class Importer:
    """The conversion of one model."""

    def __init__(self, model: Model, ctx: CompilerContext, dims: Mapping[str, int]) -> None:
        self.model, self.ctx, self.dims = model, ctx, dims
        self.problems: list[Problem] = list(model.problems)
        self.block = Block()
        self.location: LocationAttr = UNKNOWN_LOC
        self._static: dict[SSAValue, Array | None] = {}
        self._depth = 0

    # The whole model -------------------------------------------------------------------------------------------------

    def run(self) -> ModuleOp:
        """Convert the main graph; what is wrong is in ``problems``."""
        graph = self.model.graph
        scope: dict[str, SSAValue | None] = {}
        names = self._arguments(graph, scope)
        self._initializers(graph, scope)
        self._nodes(self._sorted(graph, scope), scope, self.model.opsets, graph)
        results: list[SSAValue] = []
        for output in graph.outputs:
            value = scope.get(output.name)
            if output.name not in scope:
                self._problem(UNDEFINED_VALUE, output.name, "", "no node, input or initializer defines this output")
            elif value is not None:
                results.append(value)
        return self._module(names, results, [output.name for output in graph.outputs])

    def _module(self, inputs: list[str], results: list[SSAValue], outputs: list[str]) -> ModuleOp:
        location = name_location(self.model.graph.name or "main")
        self.block.add_op(ReturnOp(*results))
        kinds = ([arg.type for arg in self.block.args], [value.type for value in results])
        function = FuncOp(
            "main",
            kinds,
            Region(self.block),
            arg_attrs=_name_attributes(inputs),
            res_attrs=_name_attributes(outputs[: len(results)]),
        )
        module = ModuleOp([function])
        for op in (module, function, self.block.last_op):
            assert op is not None
            op.location = location
        return module

    def _problem(self, code: Code, node: str, op: str, reason: str, hint: str = "") -> None:
        problem = Problem(code, node, op, reason, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def _arguments(self, graph: Graph, scope: dict[str, SSAValue | None]) -> list[str]:
        names: list[str] = []
        for value in graph.inputs:
            if value.name in graph.initializers:
                continue
            kind = self._declared(value)
            if kind is None:
                scope[value.name] = None
                continue
            scope[value.name] = self.block.insert_arg(kind, len(self.block.args), name_location(value.name))
            names.append(value.name)
        return names

    def _declared(self, value: ValueInfo) -> Any:
        """The tensor type of an input; None, with a problem, if it cannot be one."""
        if value.kind != "tensor" or value.type_code not in TYPE_NAMES:
            title = type_title(value.type_code) if value.kind == "tensor" else value.kind
            self._problem(UNSUPPORTED_TYPE, value.name, "", f"an input of type {title} is not compiled")
            return None
        if value.dims is None:
            self._problem(SHAPE_UNKNOWN, value.name, "", "the input has no shape")
            return None
        extents: list[int] = []
        for dim in value.dims:
            extent = dim if isinstance(dim, int) else self.dims.get(dim or "")
            if extent is None or extent < 0:
                name = dim if isinstance(dim, str) and dim else "?"
                hint = f"Give it a value: --dim {name}=1." if name != "?" else "Name the dimension in the model."
                self._problem(
                    SHAPE_UNKNOWN, value.name, "", f"the dimension {name} of {show_dims(value.dims)} has no value", hint
                )
                return None
            extents.append(extent)
        if int(np.prod([float(e) for e in extents])) > MAX_ELEMENTS:
            self._problem(SHAPE_CONFLICT, value.name, "", f"the shape {show_dims(value.dims)} is too large")
            return None
        return tensor(extents, element_type(TYPE_NAMES[value.type_code]))

    def _initializers(self, graph: Graph, scope: dict[str, SSAValue | None]) -> None:
        for name, stored in graph.initializers.items():
            self.location = name_location(name)
            scope[name] = self.stored(stored, name)

    def stored(self, stored: Tensor, name: str) -> SSAValue | None:
        """A constant op for a stored tensor; None, with a problem, when it cannot be read."""
        if stored.problem is not None:
            code, reason, hint = stored.problem
            self._problem(code, name, "", reason, hint)  # type: ignore[arg-type]
            return None
        try:
            return self.constant(stored.read(), name)
        except (OSError, ValueError) as error:
            self._problem(INVALID_NODE, name, "", f"its data cannot be read: {error}")
            return None

    def _sorted(self, graph: Graph, scope: Mapping[str, SSAValue | None]) -> list[Node]:
        """The nodes in order of their data (most models have them so). Problems: undefined values, names defined twice
        and cycles."""
        producer: dict[str, Node] = {}
        for node in graph.nodes:
            for name in filter(None, node.outputs):
                if name in producer or name in scope:
                    other = f"node '{producer[name].name}'" if name in producer else "an input or initializer"
                    self._problem(DUPLICATE_NAME, node.name, node.op, f"its output {name} is also that of {other}")
                producer[name] = node
        state: dict[int, int] = {}
        order: list[Node] = []
        for root in graph.nodes:
            stack = [(root, False)]
            while stack:
                node, ready = stack.pop()
                if ready:
                    state[id(node)] = 2
                    order.append(node)
                    continue
                if state.get(id(node)):
                    continue
                state[id(node)] = 1
                stack.append((node, True))
                for name in reversed(node.inputs):
                    source = producer.get(name)
                    if source is None:
                        if name and name not in scope:
                            self._problem(UNDEFINED_VALUE, node.name, node.op, f"its input {name} is defined nowhere")
                    elif state.get(id(source)) == 1:
                        self._problem(CYCLE, node.name, node.op, f"it depends on itself through {name}")
                    elif not state.get(id(source)):
                        stack.append((source, False))
        return order

    # Nodes -----------------------------------------------------------------------------------------------------------

    def _nodes(
        self, nodes: Sequence[Node], scope: dict[str, SSAValue | None], opsets: Mapping[str, int], graph: Graph | None
    ) -> None:
        for node in nodes:
            self.location = name_location(node.name) if self._depth == 0 else self.location
            results = self._convert(node, scope, opsets)
            for name, value in zip(node.outputs, results, strict=False):
                if name:
                    scope[name] = value
                    if value is not None and graph is not None:
                        self._check_declared(node, graph.values.get(name), value)
            for name in node.outputs[len(results) :]:
                scope.setdefault(name, None)

    def _check_declared(self, node: Node, declared: ValueInfo | None, value: SSAValue) -> None:
        """A declared shape that contradicts the computed one is the model's error."""
        if declared is None or declared.dims is None:
            return
        shape = shape_of(value.type)
        fits = len(shape) == len(declared.dims) and all(
            not isinstance(dim, int) or dim == extent for dim, extent in zip(declared.dims, shape, strict=True)
        )
        if not fits:
            reason = f"{declared.name} is declared {show_dims(declared.dims)} but computed {show_dims(shape)}"
            self._problem(SHAPE_CONFLICT, node.name, node.op, reason)

    def _convert(
        self, node: Node, scope: Mapping[str, SSAValue | None], opsets: Mapping[str, int]
    ) -> Sequence[SSAValue | None]:
        unknown: list[SSAValue | None] = [None] * len(node.outputs)
        inputs: list[SSAValue | None] = []
        for name in node.inputs:
            if name and scope.get(name) is None:
                return unknown
            inputs.append(scope[name] if name else None)
        try:
            return self._dispatch(node, inputs, opsets)
        except Refusal as refusal:
            self._problem(refusal.code, node.name, node.op, refusal.reason, refusal.hint)
        except TypeRuleError as error:
            self._problem(INVALID_NODE, node.name, node.op, str(error))
        return unknown

    def _dispatch(
        self, node: Node, inputs: list[SSAValue | None], opsets: Mapping[str, int]
    ) -> Sequence[SSAValue | None]:
        opset = opsets.get(node.domain, 0)
        local = self.model.functions.get((node.domain, node.op, node.overload))
        if local is not None:
            return self._inline(node, inputs, local)
        if node.domain == "":
            found = converters.find(node.op, opset)
            if found is not None:
                made = found.convert(NodeContext(self, node, inputs, opset))
                return [made] if isinstance(made, SSAValue) else list(made)
        body = self._standard_body(node, inputs, opset)
        if body is not None:
            return self._inline(node, inputs, body)
        raise self._no_converter(node, opset)

    def _no_converter(self, node: Node, opset: int) -> Refusal:
        import onnx

        domain = f"{node.domain}." if node.domain else ""
        known = onnx.defs.has(node.op, node.domain)
        if not known and node.domain in ("", "ai.onnx.ml"):
            return Refusal(UNKNOWN_OP, f"ONNX has no operator {domain}{node.op} in opset {opset}")
        return Refusal(UNSUPPORTED_OP, f"the operator {domain}{node.op} is not compiled yet")

    # Functions -------------------------------------------------------------------------------------------------------

    def _inline(self, node: Node, inputs: list[SSAValue | None], function: Function) -> Sequence[SSAValue | None]:
        """A function's body in place of the node; its ops keep the calling node's location."""
        if self._depth >= MAX_FUNCTION_DEPTH:
            raise Refusal(UNSUPPORTED_OP, f"functions are nested more than {MAX_FUNCTION_DEPTH} deep")
        scope: dict[str, SSAValue | None] = dict.fromkeys(function.inputs)
        scope.update(zip(function.inputs, inputs, strict=False))
        absent = {name for name in function.inputs if scope[name] is None}
        attributes = {**function.defaults, **node.attributes}
        nodes = [_bound(inner, attributes, absent) for inner in function.nodes]
        self._depth += 1
        try:
            self._nodes(nodes, scope, {**self.model.opsets, **function.opsets}, None)
        finally:
            self._depth -= 1
        return [scope.get(name) for name in function.outputs]

    def _standard_body(self, node: Node, inputs: Sequence[SSAValue | None], opset: int) -> Function | None:
        """The body ONNX itself gives for an operator, if any."""
        from penstock.compiler.frontends.onnx.standard_functions import standard_body

        return standard_body(node, inputs, opset)

    # Ops and static values -------------------------------------------------------------------------------------------

    def insert(self, op: OpT) -> OpT:
        """Add an op at the end of the function."""
        self.block.add_op(op)
        return op

    def constant(self, array: Array, name: str) -> SSAValue:
        """A constant op (inline when small, else in the weight store)."""
        try:
            from_numpy(array.dtype)
        except KeyError:
            raise Refusal(UNSUPPORTED_TYPE, f"a constant of type {array.dtype} is not compiled") from None
        op = self.insert(Constant.of(array, self.ctx.weights, name=name, location=self.location))
        self._static[op.out] = array
        return op.out

    def evaluate(self, value: SSAValue) -> Array | None:
        """The compile-time value of ``value``, computed from constants; None if it depends on inputs or is large."""
        if value in self._static:
            return self._static[value]
        pending = [value]
        while pending:
            current = pending[-1]
            if current in self._static:
                pending.pop()
                continue
            owner = current.owner
            if isinstance(owner, BlockArgument | Block) or not isinstance(owner, GraphOp):
                self._static[current] = None
                continue
            if isinstance(owner, Constant):
                self._static[current] = owner.array(self.ctx.weights)
                continue
            missing = [operand for operand in owner.operands if operand not in self._static]
            if missing:
                pending.extend(missing)
                continue
            self._evaluate_op(owner)
        return self._static[value]

    def _evaluate_op(self, op: GraphOp) -> None:
        arrays = [self._static[operand] for operand in op.operands]
        small = all(int(np.prod(shape_of(r.type), dtype=np.int64)) <= MAX_STATIC_ELEMENTS for r in op.results)
        if not small or any(array is None for array in arrays):
            self._static.update(dict.fromkeys(op.results))
            return
        results = op.evaluate(*(array for array in arrays if array is not None))
        values = results if isinstance(results, tuple) else (results,)
        self._static.update({r: np.asarray(v) for r, v in zip(op.results, values, strict=True)})


def _bound(node: Node, attributes: Mapping[str, Any], absent: set[str]) -> Node:
    """A function's node with references replaced by the caller's attributes and absent inputs left out."""
    values: dict[str, Any] = {}
    for name, value in node.attributes.items():
        if not isinstance(value, Reference):
            values[name] = value
        elif value.name in attributes:
            values[name] = attributes[value.name]
    inputs = tuple("" if name in absent else name for name in node.inputs)
    return Node(node.name, node.op, node.domain, node.overload, inputs, node.outputs, values, node.message)


def _name_attributes(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr([DictionaryAttr({"penstock.name": StringAttr(name)}) for name in names])
