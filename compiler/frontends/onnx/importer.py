"""From an ONNX graph to a module of graph ops.

In: the records of a model. Out: ``func.func @main`` with every op located at its source node; or every reason why the
model cannot be compiled. The one idea: nodes are converted in order of their data; a node that fails marks its
outputs as unknown and conversion goes on, so one run tells everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray
from xdsl.dialects.builtin import UNKNOWN_LOC, ArrayAttr, DictionaryAttr, LocationAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import Disagreement, GraphOp, TypeRuleError, element_of, tensor_bytes
from penstock.compiler.dialects.graph.counting import is_needed
from penstock.compiler.dialects.graph.elementwise import Cast
from penstock.compiler.dialects.graph.extent import MAX_EXTENTS, Extents
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import I64, from_numpy, shape_of, tensor
from penstock.compiler.errors import (
    DEPENDS_ON_SIZES,
    DUPLICATE_NAME,
    INVALID_NODE,
    MODEL_TOO_LARGE,
    UNDEFINED_VALUE,
    UNKNOWN_OP,
    UNSUPPORTED_ATTRIBUTE,
    UNSUPPORTED_OP,
    UNSUPPORTED_TYPE,
    ModelError,
    Problem,
)
from penstock.compiler.extents import (
    MOST,
    Dim,
    Extent,
    NotStatic,
    Symbol,
    Undecided,
    bounds,
    is_static,
    surely,
    symbol,
    symbols_of,
)
from penstock.compiler.frontends.onnx import converters
from penstock.compiler.frontends.onnx.assumptions import Assumption, agreement
from penstock.compiler.frontends.onnx.declared import DeclaredTypes
from penstock.compiler.frontends.onnx.dimensions import Given
from penstock.compiler.frontends.onnx.node_context import Assumed, NodeContext, Refusal
from penstock.compiler.frontends.onnx.ordering import in_order
from penstock.compiler.frontends.onnx.reader import read_model
from penstock.compiler.frontends.onnx.records import Function, Graph, Model, Node, Reference, Tensor, ValueInfo
from penstock.compiler.frontends.onnx.schemas import check_node
from penstock.compiler.frontends.onnx.standard_functions import standard_body
from penstock.compiler.frontends.onnx.static_values import StaticValues
from penstock.compiler.frontends.onnx.symbolic import is_symbolic
from penstock.compiler.frontends.onnx.tensors import MAX_BYTES, MAX_RANK
from penstock.compiler.locations import name_location
from penstock.compiler.rewriting import drop_detached_users
from penstock.compiler.specialise import rewrite_arguments, rewrite_op, set_equalities, set_type

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.reader import ModelSource

Array = NDArray[Any]
OpT = TypeVar("OpT", bound=Operation)
Scope = dict[str, SSAValue | None]  # by name; None is a value whose node failed, or a function's absent input
MAX_FUNCTION_DEPTH = 16
MAX_ASSUMPTIONS = 64  # that one node may call for
MAX_OPS = 1 << 20  # function bodies multiply, so a small file can ask for more than any machine holds


def import_model(
    model: ModelSource,
    ctx: CompilerContext,
    *,
    dims: Mapping[str, Given] | None = None,
    base_dir: str | PathLike[str] | None = None,
) -> ModuleOp:
    """The module of graph ops that ``model`` (path, bytes or ModelProto) stands for.

    ``dims`` gives symbolic input dimensions a value or a range (least, greatest); ``base_dir`` is the folder external
    data may lie in (default: the model's own). Raises ModelError with every problem found, and OptionError if ``dims``
    names no dimension.
    """
    records = read_model(model, base_dir)
    importer = Importer(records, ctx, dims or {})
    module = importer.run()
    if importer.problems:
        raise ModelError(importer.problems, records.name)
    return module


def check_model(
    model: ModelSource, *, dims: Mapping[str, Given] | None = None, base_dir: str | PathLike[str] | None = None
) -> list[Problem]:
    """Every reason why ``model`` cannot be compiled; an empty list if it can. Raises ModelError if it is unreadable."""
    importer = Importer(read_model(model, base_dir), CompilerContext(), dims or {})
    importer.run()
    return importer.problems


class Importer:
    """The conversion of one model; ``problems`` is what is wrong with it so far."""

    def __init__(self, model: Model, ctx: CompilerContext, dims: Mapping[str, Given]) -> None:
        self.model, self.ctx = model, ctx
        self.problems: list[Problem] = list(model.problems)
        self.declared = DeclaredTypes(model.graph, dims)
        self.block = Block()
        self.location: LocationAttr = UNKNOWN_LOC
        self.static = StaticValues(ctx.weights)
        self._callers: list[Node] = []  # the calls of functions being inlined, outermost first
        self._ops = 0
        self._equal: list[tuple[Extent, Extent]] = []  # taken for granted, to be checked by every run
        self.counts: dict[str, int] = {}  # symbols of what is counted when the model runs, numbered from 1
        self._values: Mapping[str, ValueInfo] = {}  # declared types of the graph being converted

    # The whole model -------------------------------------------------------------------------------------------------

    def run(self) -> ModuleOp:
        """Convert the main graph; what is wrong is in ``problems``."""
        graph = self.model.graph
        scope: Scope = {}
        names = self._arguments(graph, scope)
        self._graph(graph, scope, self.model.opsets)
        results: list[SSAValue] = []
        for output in graph.outputs:
            value = scope.get(output.name)
            if output.name not in scope:
                self._problem(UNDEFINED_VALUE, output.name, "", "no node, input or initializer defines this output")
            elif value is not None:
                results.append(value)
        assert self.problems or len(results) == len(graph.outputs), "an output is unknown, and nothing said why"
        return self._module(names, results, [output.name for output in graph.outputs])

    def _module(self, inputs: list[str], results: list[SSAValue], outputs: list[str]) -> ModuleOp:
        location = name_location(self.model.graph.name or "main")
        results = self._sizes_as_data(results)
        self.block.add_op(ReturnOp(*results))
        self._drop_unused()
        kinds = ([arg.type for arg in self.block.args], [value.type for value in results])
        function = FuncOp(
            "main",
            kinds,
            Region(self.block),
            arg_attrs=_name_attributes(inputs),
            res_attrs=_name_attributes(outputs[: len(results)]),
        )
        module = ModuleOp([function])
        needed = (pair for op in self.block.ops if isinstance(op, GraphOp) for pair in op.needs())
        set_equalities(module, dict.fromkeys([*self._equal, *((a, b) for a, b in needed if a != b)]))
        for op in (module, function, self.block.last_op):
            assert op is not None
            op.location = location
        drop_detached_users(module)
        return module

    def _sizes_as_data(self, results: list[SSAValue]) -> list[SSAValue]:
        """Where shape arithmetic is read as data, one op that gives its outcome; what was worked out on the way is then
        unused. Takes and returns the results of the function."""
        made: dict[SSAValue, SSAValue] = {}
        sized: set[SSAValue] = set()

        def outcome(value: SSAValue) -> SSAValue:
            if value not in made:
                made[value] = self._outcome(value) if value in sized else value
            return made[value]

        for op in list(self.block.ops):
            if isinstance(op, Extents) or any(operand in sized for operand in op.operands):
                known = [isinstance(op, GraphOp) and is_symbolic(self.static.of(result)) for result in op.results]
                if any(known):
                    sized.update(op.results)
                    continue
            for index, operand in enumerate(op.operands):
                if operand in sized:
                    op.operands[index] = outcome(operand)
        return [outcome(value) for value in results]

    def _outcome(self, value: SSAValue) -> SSAValue:
        """A known value as an op of its own, after the one that computes it, if it holds integers."""
        owner, array = value.owner, self.static.of(value)
        if array is None or isinstance(owner, Extents) or not isinstance(owner, GraphOp):
            return value
        if not 0 < array.size <= MAX_EXTENTS or not all(isinstance(item, Dim | int) for item in array.flat):
            return value
        kind = tensor(array.shape, I64)
        op: GraphOp = Extents.build(values=list(array.flat), result=kind, location=owner.location)
        self.block.insert_op_after(op, owner)
        if element_of(value) != I64:
            cast = Cast.build(op.out, result=tensor(array.shape, element_of(value)), location=owner.location)
            self.block.insert_op_after(cast, op)
            op = cast
        op.out.name_hint = value.name_hint
        return op.out

    def _drop_unused(self) -> None:
        """Erase what only converters needed: constants that became parameters, and shape arithmetic."""
        for op in reversed(list(self.block.ops)):
            if isinstance(op, GraphOp) and not any(result.first_use for result in op.results) and not is_needed(op):
                op.detach()
                op.erase()

    def _problem(self, code: str, node: str, op: str, reason: str, hint: str = "") -> None:
        problem = Problem(code, node, op, reason, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def _node_problem(self, code: str, node: Node, reason: str, hint: str = "") -> None:
        """A problem of ``node``; inside a function, of the node that calls it."""
        if self._callers:
            caller = self._callers[0]
            reason = f"in the function it calls, {node.op} (output '{''.join(node.outputs[:1])}'): {reason}"
            node = caller
        self._problem(code, node.name, node.op, reason, hint)

    def note(self, node: Node, reason: str, hint: str) -> None:
        """What the user should know about ``node``, which is compiled."""
        node = self._callers[0] if self._callers else node
        self.ctx.note(node.name, node.op, reason, hint)

    def _arguments(self, graph: Graph, scope: Scope) -> list[str]:
        """One block argument per input that no initializer stands for; their names."""
        names: list[str] = []
        for value in graph.inputs:
            if value.name in graph.initializers:
                continue
            if value.name in scope or not value.name:
                reason = "two inputs of the model have this name" if value.name else "an input of the model has no name"
                self._problem(DUPLICATE_NAME, value.name, "", reason)
                continue
            try:
                kind = self.declared.argument(value)
            except Refusal as refusal:
                self._problem(refusal.code, value.name, "", refusal.reason, refusal.hint)
                scope[value.name] = None
                continue
            argument = self.block.insert_arg(kind, len(self.block.args), name_location(value.name))
            argument.name_hint = _name_hint(value.name)
            scope[value.name] = argument
            names.append(value.name)
        return names

    # Graphs ----------------------------------------------------------------------------------------------------------

    def _graph(self, graph: Graph, scope: Scope, opsets: Mapping[str, int]) -> None:
        """Convert the nodes of a graph; ``scope`` gains their outputs."""
        for name, stored in graph.initializers.items():
            scope[name] = self._initializer(name, stored)
        self._nodes(in_order(graph.nodes, scope, self._node_problem), scope, opsets, graph)

    def branch(self, graph: Graph, context: NodeContext) -> list[SSAValue | None]:
        """Convert a subgraph in place of the node that holds it; the values of its outputs."""
        scope: Scope = dict(context.scope)
        self._graph(graph, scope, context.opsets)
        for output in graph.outputs:
            if output.name not in scope:
                raise Refusal(UNDEFINED_VALUE, f"nothing defines the output '{output.name}' of its subgraph")
        return [scope[output.name] for output in graph.outputs]

    def _initializer(self, name: str, stored: Tensor) -> SSAValue | None:
        """A constant for an initializer; None if it cannot be read, which reading has reported."""
        if stored.problem is not None:
            return None
        outer, self.location = self.location, name_location(name)
        try:
            return self.constant(stored.read(), name)
        finally:
            self.location = outer

    def _nodes(self, nodes: Sequence[Node], scope: Scope, opsets: Mapping[str, int], graph: Graph | None) -> None:
        outer, values = self.location, self._values
        self._values = graph.values if graph is not None else {}
        for node in nodes:
            if not self._callers:
                self.location = name_location(node.name)
            results = self._convert(node, scope, opsets)
            for name, value in zip(node.outputs, results, strict=True):
                if not name:
                    continue
                scope[name] = value
                if value is not None and graph is not None:
                    self._name_result(node, name, value, graph)
        self.location, self._values = outer, values

    def _name_result(self, node: Node, name: str, value: SSAValue, graph: Graph) -> None:
        """Give a result its name in the IR, and hold it against what the model declares about it."""
        if value.name_hint is None:
            value.name_hint = _name_hint(name)
        declared = graph.values.get(name)
        if declared is not None:
            try:
                self.declared.check(declared, value)
            except Refusal as refusal:
                self._problem(refusal.code, node.name, node.op, refusal.reason, refusal.hint)

    # Nodes -----------------------------------------------------------------------------------------------------------

    def _convert(self, node: Node, scope: Scope, opsets: Mapping[str, int]) -> Sequence[SSAValue | None]:
        """The values of a node's outputs; None for each if it cannot be converted, or reads what could not be."""
        unknown: list[SSAValue | None] = [None] * len(node.outputs)
        try:
            for _ in range(MAX_ASSUMPTIONS):
                try:
                    return self._converted(node, scope, opsets)
                except Assumed as needed:
                    self._assume(needed.assumption)
                except Disagreement as error:
                    assumption = agreement(error.a, error.b, self.declared.dimensions.order)
                    if assumption is None:
                        raise
                    self._assume(assumption)
            raise Refusal(DEPENDS_ON_SIZES, "its operands fit together in too few sizes")
        except Refusal as refusal:
            hint = refusal.hint
            if refusal.code == INVALID_NODE and not hint:
                hint = self._remedy(node, scope)
            self._node_problem(refusal.code, node, refusal.reason, hint)
        except Disagreement as error:
            self._size_problem(node, str(error), error.a, error.b)
        except Undecided as error:
            self._size_problem(node, str(error), *(error.sides or ()))
        except NotStatic as error:
            self._node_problem(DEPENDS_ON_SIZES, node, str(error), self._remedy(node, scope))
        except TypeRuleError as error:
            self._node_problem(INVALID_NODE, node, str(error), self._remedy(node, scope))
        return unknown

    def _size_problem(self, node: Node, reason: str, *extents: Extent) -> None:
        names = sorted({symbol.name for extent in extents for symbol in symbols_of(extent)})
        self._node_problem(DEPENDS_ON_SIZES, node, reason, _fix(names))

    def _remedy(self, node: Node, scope: Scope) -> str:
        """What to say of sizes where a node is refused that reads values of symbolic shape."""
        values = [value for name in node.inputs if name and (value := scope.get(name)) is not None]
        extents = [extent for value in values for extent in shape_of(value.type)]
        extents += [item for value in values if is_symbolic(array := self.static.of(value)) for item in _items(array)]
        return _fix(sorted({symbol.name for extent in extents for symbol in symbols_of(extent)}))

    def _assume(self, assumption: Assumption) -> None:
        """Take something for granted about sizes from here on, and in all that has been converted."""
        types: dict[Any, Any] = {}
        rewrite_arguments(self.block, assumption.of, types)
        for op in self.block.ops:
            known = [value for value in (*op.operands, *op.results) if not is_static(shape_of(value.type))]
            rewrite_op(op, assumption.of, types)
            if known and isinstance(op, GraphOp):
                for result, kind in zip(op.results, op.infer(), strict=True):
                    set_type(result, kind)
        self.declared.dimensions.rewrite(assumption.of)
        self._refuse_later_counts(assumption)
        self.static.forget()
        pairs = [*((assumption.of(a), assumption.of(b)) for a, b in self._equal), *assumption.equal]
        self._equal = list(dict.fromkeys((a, b) for a, b in pairs if a != b))
        if any(map(is_static, self._equal)):
            a, b = next(filter(is_static, self._equal))
            raise Refusal(DEPENDS_ON_SIZES, f"what the model needs of its sizes cannot be: {a} would have to be {b}")

    def _refuse_later_counts(self, assumption: Assumption) -> None:
        """Refuse that a number counted early is told by one counted later: nobody could know it in time."""
        for atom, meaning in assumption.meaning.items():
            numbers = [self.counts.get(symbol.name, 0) for symbol in symbols_of(meaning)]
            if isinstance(atom, Symbol) and any(number > self.counts.get(atom.name, 0) for number in numbers):
                raise Refusal(DEPENDS_ON_SIZES, f"{atom.name} would have to be {meaning}, which is counted later")

    def count(self, stem: str, most: Extent) -> Extent:
        """A new symbol, from 0 to as many as ``most`` can be: a size that is counted when the model runs."""
        order = self.declared.dimensions.order
        number = len(self.counts) + 1
        name = f"{stem}_{number}"
        while name in order:
            name += "_"
        order[name] = len(order)
        self.counts[name] = number
        return symbol(name, 0, max(int(min(bounds(most)[1], MOST)), 0))

    def _converted(self, node: Node, scope: Scope, opsets: Mapping[str, int]) -> Sequence[SSAValue | None]:
        """The values of a node's outputs. Raises what stands against converting it."""
        unknown: list[SSAValue | None] = [None] * len(node.outputs)
        found = self._find(node, opsets)
        if any(name and scope.get(name) is None for name in node.inputs):
            return unknown  # because of a problem already told
        inputs = [scope[name] if name else None for name in node.inputs]
        if isinstance(found, Function):
            return self._inline(node, inputs, found)
        context = NodeContext(self, node, inputs, opsets, scope)
        if found is None:
            return self._standard(context)
        return self._results(node, found.convert(context))

    def _find(self, node: Node, opsets: Mapping[str, int]) -> Function | converters.Converter | None:
        """What converts a node: the model's own function, a converter, or None for the standard's function body."""
        local = self.model.functions.get((node.domain, node.op, node.overload))
        if local is not None:
            return local
        opset = opsets.get(node.domain, 0)
        if node.domain:
            return converters.find(node.op, opset, node.domain)
        if not opset:
            raise Refusal(UNKNOWN_OP, f"{node.op} is ONNX's own, but the model does not import ONNX's operators")
        check_node(node, opset)
        return converters.find(node.op, opset)

    def _results(self, node: Node, made: SSAValue | Sequence[SSAValue | None]) -> Sequence[SSAValue | None]:
        """One value per output of ``node``, of those its converter has made."""
        values: list[SSAValue | None] = [made] if isinstance(made, SSAValue) else list(made)
        for index, name in enumerate(node.outputs):
            if name and index >= len(values):
                raise Refusal(UNSUPPORTED_ATTRIBUTE, f"its output {index} ('{name}') is not compiled")
        return values[: len(node.outputs)] + [None] * (len(node.outputs) - len(values))

    # Functions -------------------------------------------------------------------------------------------------------

    def _standard(self, context: NodeContext) -> Sequence[SSAValue | None]:
        """An operator without a converter, as the function body the standard gives for it."""
        node = context.node
        body = standard_body(node, context.inputs, context.opset)
        if body is None:
            if node.domain:
                reason = f"the operator {node.op} of domain '{node.domain}' is not compiled"
                raise Refusal(UNSUPPORTED_OP, reason, "Export the model with ONNX's own operators or function bodies.")
            hint = converters.NEAREST.get(node.op, "`penstock ops` lists the operators that are.")
            raise Refusal(UNSUPPORTED_OP, f"the operator {node.op} is not compiled yet", hint)
        return self._inline(node, context.inputs, body)

    def _inline(self, node: Node, inputs: Sequence[SSAValue | None], function: Function) -> Sequence[SSAValue | None]:
        """A function's body in place of the node; its ops keep the calling node's location."""
        if len(self._callers) >= MAX_FUNCTION_DEPTH:
            raise Refusal(MODEL_TOO_LARGE, f"functions call each other more than {MAX_FUNCTION_DEPTH} deep")
        if len(inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
            raise Refusal(
                INVALID_NODE,
                f"the function {function.name} has {len(function.inputs)} inputs and {len(function.outputs)} outputs, "
                f"but is called with {len(inputs)} and {len(node.outputs)}",
            )
        scope: Scope = dict.fromkeys(function.inputs)
        scope.update(zip(function.inputs, inputs, strict=False))
        absent = {name for name in function.inputs if scope[name] is None}
        attributes = {**function.defaults, **node.attributes}
        nodes = [_bound(inner, attributes, absent) for inner in function.nodes]
        self._callers.append(node)
        try:
            self._nodes(in_order(nodes, scope, self._node_problem), scope, function.opsets, None)
        finally:
            self._callers.pop()
        for name in function.outputs[: len(node.outputs)]:
            if name not in scope:
                raise Refusal(UNDEFINED_VALUE, f"nothing defines the output '{name}' of the function {function.name}")
        return [scope[name] for name in function.outputs[: len(node.outputs)]]

    # Ops and static values -------------------------------------------------------------------------------------------

    def insert(self, op: OpT) -> OpT:
        """Add an op at the end of the function. Refuses results no machine holds."""
        self._ops += 1
        if self._ops > MAX_OPS:
            raise Refusal(MODEL_TOO_LARGE, f"the model becomes more than {MAX_OPS:,} operations")
        for kind in op.result_types:
            rank, (size, _) = len(shape_of(kind)), bounds(tensor_bytes(kind))
            if any(surely(extent, "<", 0) for extent in shape_of(kind)):
                raise Refusal(INVALID_NODE, f"a value would have the shape {list(shape_of(kind))}")
            if rank > MAX_RANK:
                raise Refusal(MODEL_TOO_LARGE, f"a value has {rank} axes; {MAX_RANK} are the most")
            if size > MAX_BYTES:
                raise Refusal(MODEL_TOO_LARGE, f"a value of shape {list(shape_of(kind))} takes {int(size):,} bytes")
        self.block.add_op(op)
        return op

    def constant(self, array: Array, name: str) -> SSAValue:
        """A constant op (inline when small, else in the weight store)."""
        try:
            from_numpy(array.dtype)
        except KeyError:
            raise Refusal(UNSUPPORTED_TYPE, f"a constant of type {array.dtype} is not compiled") from None
        return self.insert(Constant.of(array, self.ctx.weights, name=name, location=self.location)).out

    def declared_shape(self, node: Node, output: int) -> tuple[Extent, ...] | None:
        """The shape that the model declares for an output of ``node``, if it does."""
        return self.declared.shape(self._values.get(node.outputs[output])) if output < len(node.outputs) else None

    def evaluate(self, value: SSAValue) -> Array | None:
        """The compile-time value of ``value``, computed from constants; None if it depends on inputs or is large."""
        return self.static.of(value)


def _bound(node: Node, attributes: Mapping[str, Any], absent: set[str]) -> Node:
    """A function's node with references replaced by the caller's attributes and absent inputs left out."""
    values: dict[str, Any] = {}
    for name, value in node.attributes.items():
        if isinstance(value, Graph):
            values[name] = replace(value, nodes=tuple(_bound(inner, attributes, absent) for inner in value.nodes))
        elif not isinstance(value, Reference):
            values[name] = value
        elif value.name in attributes:
            values[name] = attributes[value.name]
    inputs = tuple("" if name in absent else name for name in node.inputs)
    return replace(node, inputs=inputs, attributes=values)


def _fix(names: Sequence[str]) -> str:
    """What to do about sizes that must be known."""
    if not names:
        return ""
    return f"Give a value or a range, for example --dim {names[0]}={_example(names[0])} or --dim {names[0]}=2..512."


def _example(name: str) -> int:
    """A value a symbol of this name might have."""
    return 128 if any(word in name.lower() for word in ("seq", "len", "time")) else 1


def _items(array: Array | None) -> list[Extent]:
    return [] if array is None else [item for item in array.flat if isinstance(item, Dim)]


def _name_hint(name: str) -> str | None:
    """A value's name as IR text can hold it (not ending in a number, which the printer appends itself)."""
    text = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[-60:]
    text = re.sub(r"_\d+$", lambda match: "n" + match[0][1:], text)
    return text if re.match(r"[A-Za-z_]", text) else f"v{text}" if text else None


def _name_attributes(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr([DictionaryAttr({"penstock.name": StringAttr(name)}) for name in names])
