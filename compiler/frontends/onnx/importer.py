"""From an ONNX graph to a module of graph ops.

In: the records of a model. Out: ``func.func @main`` with every op located at its source node; or every reason why the
model cannot be compiled. The one idea: nodes are converted in order of their data; a node that fails marks its
outputs as unknown and conversion goes on, so one run tells everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray
from xdsl.dialects.builtin import UNKNOWN_LOC, ArrayAttr, DictionaryAttr, LocationAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import Disagreement, GraphOp, TypeRuleError, tensor_bytes
from penstock.compiler.dialects.graph.counting import is_needed
from penstock.compiler.dialects.graph.loop import blocks_of
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import from_numpy, shape_of
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
from penstock.compiler.extents import Extent, NotStatic, Undecided, bounds, is_static, surely
from penstock.compiler.frontends.onnx import converters, custom
from penstock.compiler.frontends.onnx.ahead import declared_ahead
from penstock.compiler.frontends.onnx.assumptions import Assumption, agreement, assume_in
from penstock.compiler.frontends.onnx.counts import Counts
from penstock.compiler.frontends.onnx.declared import DeclaredTypes
from penstock.compiler.frontends.onnx.dimensions import Given
from penstock.compiler.frontends.onnx.external import DataFolder
from penstock.compiler.frontends.onnx.kept import Kept
from penstock.compiler.frontends.onnx.node_context import Assumed, NodeContext, Refusal
from penstock.compiler.frontends.onnx.ordering import in_order
from penstock.compiler.frontends.onnx.proto import NEWEST_OPSET, MessageReader
from penstock.compiler.frontends.onnx.reader import read_model
from penstock.compiler.frontends.onnx.records import Function, Graph, Model, Node, Tensor, ValueInfo
from penstock.compiler.frontends.onnx.schemas import check_node
from penstock.compiler.frontends.onnx.sizes import read_extents, remedy, sizes_as_data
from penstock.compiler.frontends.onnx.standard_functions import bound, standard_body
from penstock.compiler.frontends.onnx.static_values import StaticValues
from penstock.compiler.frontends.onnx.tensors import MAX_BYTES, MAX_RANK
from penstock.compiler.frontends.onnx.values import Item, Listed, Maybe, Scope, kind_of
from penstock.compiler.locations import name_hint, name_location
from penstock.compiler.plugins import Operators
from penstock.compiler.rewriting import drop_detached_users
from penstock.compiler.specialise import set_equalities

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.reader import ModelSource
    from penstock.compiler.plugins import Source

Array = NDArray[Any]
OpT = TypeVar("OpT", bound=Operation)
MAX_FUNCTION_DEPTH = 16
MAX_ASSUMPTIONS = 64  # that one node may call for
MAX_NESTING = 32  # of functions and subgraphs in each other
MAX_OPS = 1 << 20  # function bodies multiply, so a small file can ask for more than any machine holds


def import_model(
    model: ModelSource,
    ctx: CompilerContext,
    *,
    dims: Mapping[str, Given] | None = None,
    base_dir: str | PathLike[str] | None = None,
    keep: Sequence[str] = (),
    plugins: Sequence[Source] = (),
) -> ModuleOp:
    """The module of graph ops that ``model`` (path, bytes or ModelProto) stands for.

    ``dims`` gives symbolic input dimensions a value or a range (least, greatest); ``base_dir`` is the folder external
    data may lie in (default: the model's own). Values named in ``keep``, by their own name or that of their node,
    become outputs too. ``plugins`` are Python files, or classes, of custom operators. Raises ModelError with every
    problem found, and OptionError if ``dims`` names no dimension, ``keep`` no value or ``plugins`` no operator.
    """
    records = read_model(model, base_dir)
    importer = Importer(records, ctx, dims or {}, Kept(keep), Operators(plugins))
    module = importer.run()
    if importer.problems:
        raise ModelError(importer.problems, records.name)
    return module


def check_model(
    model: ModelSource,
    *,
    dims: Mapping[str, Given] | None = None,
    base_dir: str | PathLike[str] | None = None,
    plugins: Sequence[Source] = (),
) -> list[Problem]:
    """Every reason why ``model`` cannot be compiled; an empty list if it can. Raises ModelError if it is unreadable."""
    records = read_model(model, base_dir)
    importer = Importer(records, CompilerContext(), dims or {}, operators=Operators(plugins))
    importer.run()
    return importer.problems


class Importer:
    """The conversion of one model; ``problems`` is what is wrong with it so far."""

    def __init__(
        self,
        model: Model,
        ctx: CompilerContext,
        dims: Mapping[str, Given],
        kept: Kept | None = None,
        operators: Operators | None = None,
    ) -> None:
        self.model, self.ctx, self.kept, self.operators = model, ctx, kept or Kept(()), operators or Operators()
        self.problems: list[Problem] = list(model.problems)
        self.declared = DeclaredTypes(model.graph, dims)
        self.counts = Counts(self.declared.dimensions)
        self.root = self.block = Block()  # of the function, and the one ops are put in: of a loop's body
        self.rounds: list[SSAValue] = []  # the numbers of the rounds of the loops around, outermost first
        self.location: LocationAttr = UNKNOWN_LOC
        self.static = StaticValues(ctx.weights)
        self.guard: SSAValue | None = None  # true in a run that takes the branch being converted
        self.ops = 0  # inserted so far
        self._consistent = True  # what has been converted obeys its rules under what is taken for granted of sizes
        self._callers: list[Node] = []  # the calls of functions being inlined, outermost first
        self._path: list[str] = []  # the nodes whose subgraphs are being converted, outermost first
        self._nested = 0  # converters under way that other nodes are converted for
        self._streams: dict[str, int] = {}  # how often a node of that name drew random numbers
        self._stored: dict[int, tuple[Tensor, SSAValue]] = {}  # initializers of subgraphs, by identity
        self._equal: list[tuple[Extent, Extent]] = []  # taken for granted, to be checked by every run
        self._values: Mapping[str, ValueInfo] = {}  # declared types of the graph being converted
        self._ahead: Sequence[Node] = ()  # its nodes, in order

    # The whole model -------------------------------------------------------------------------------------------------

    def run(self) -> ModuleOp:
        """Convert the main graph; what is wrong is in ``problems``."""
        graph = self.model.graph
        scope: Scope = {}
        names = self._arguments(graph, scope)
        self._graph(graph, scope, self.model.opsets)
        results: list[SSAValue] = []
        listed = {output.name: output for output in graph.outputs}  # one that is listed twice is given once
        for output in listed.values():
            value = scope.get(output.name)
            if output.name not in scope:
                self._problem(UNDEFINED_VALUE, output.name, "", "no node, input or initializer defines this output")
            elif isinstance(value, Listed | Maybe):
                self._problem(UNSUPPORTED_TYPE, output.name, "", f"an output of type {kind_of(value)} is not compiled")
            elif value is not None:
                results.append(value)
        assert self.problems or len(results) == len(listed), "an output is unknown, and nothing said why"
        outputs, extra = list(listed), {} if self.problems else self.kept.results(list(listed))
        self.counts.finish(complete=not self.problems)
        return self._module(names, [*results, *extra.values()], [*outputs, *extra])

    def _module(self, inputs: list[str], results: list[SSAValue], outputs: list[str]) -> ModuleOp:
        location = name_location(self.model.graph.name or "main")
        results = sizes_as_data(self.block, self.static, results)
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
        ops = (op for block in blocks_of(self.block) for op in block.ops)
        needed = (pair for op in ops if isinstance(op, GraphOp) for pair in op.needs())
        set_equalities(module, dict.fromkeys([*self._equal, *((a, b) for a, b in needed if a != b)]))
        for op in (module, function, self.block.last_op):
            assert op is not None
            op.location = location
        drop_detached_users(module)
        return module

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
        self._problem(code, self.title(node), node.op, reason, hint)

    def title(self, node: Node) -> str:
        """The name by which users know ``node``: ``loop/add`` in a subgraph of ``loop``; in a function, the call."""
        return self._callers[0].name if self._callers else "/".join((*self._path, node.name))

    def stream(self, node: Node) -> tuple[str, int]:
        """What tells the random numbers of ``node`` from all others: its name with those of its callers, and how often
        it was converted before (the body of a loop may be, many times)."""
        name = "/".join((*(caller.name for caller in self._callers), *self._path, node.name))
        before = self._streams.get(name, 0)
        self._streams[name] = before + 1
        return name, before

    def note(self, node: Node, reason: str, hint: str) -> None:
        """What the user should know about ``node``, which is compiled."""
        self.ctx.note(self.title(node), (self._callers[0] if self._callers else node).op, reason, hint)

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
            argument.name_hint = name_hint(value.name)
            scope[value.name] = argument
            names.append(value.name)
        return names

    # Graphs ----------------------------------------------------------------------------------------------------------

    def _graph(self, graph: Graph, scope: Scope, opsets: Mapping[str, int]) -> None:
        """Convert the nodes of a graph; ``scope`` gains their outputs."""
        for name, stored in graph.initializers.items():
            scope[name] = self._initializer(name, stored)
        self._nodes(in_order(graph.nodes, scope, self._node_problem), scope, opsets, graph)

    def subgraph(self, graph: Graph, context: NodeContext, arguments: Sequence[Item | None]) -> list[Item | None]:
        """Convert a subgraph in place of the node that holds it, on ``arguments``; the values of its outputs.

        It sees the names around it, and its own before them. Its nodes are located at ``holder/node``.
        """
        if len(self._path) + len(self._callers) >= MAX_NESTING:
            raise Refusal(MODEL_TOO_LARGE, f"subgraphs and functions are nested more than {MAX_NESTING} deep")
        formal = graph.inputs
        if len(formal) != len(arguments):  # before IR version 4, every initializer was an input too
            formal = tuple(value for value in formal if value.name not in graph.initializers)
        if len(formal) != len(arguments):
            reason = f"its subgraph '{graph.name}' has {len(formal)} inputs where {len(arguments)} are meant"
            raise Refusal(INVALID_NODE, reason)
        own: Scope = {
            name: self._shared(name, stored, context.scope.get(name))
            for name, stored in graph.initializers.items()
            if name not in {value.name for value in formal}
        }
        for declared, argument in zip(formal, arguments, strict=True):
            if declared.name in own:
                raise Refusal(DUPLICATE_NAME, f"two inputs of its subgraph are called '{declared.name}'")
            if argument is not None:
                self._hold(context.node, declared, argument, "its subgraph's input")
            own[declared.name] = argument
        scope: Scope = {**context.scope, **own}
        caller = None if self._callers else context.node
        if caller is not None:
            self._path.append(caller.name)
        self._nested += 1
        try:
            self._nodes(in_order(graph.nodes, scope, self._node_problem, own), scope, context.opsets, graph)
        finally:
            self._nested -= 1
            if caller is not None:
                self._path.pop()
        for output in graph.outputs:
            if output.name not in scope:
                raise Refusal(UNDEFINED_VALUE, f"nothing defines the output '{output.name}' of its subgraph")
        return [scope[output.name] for output in graph.outputs]

    def _shared(self, name: str, stored: Tensor, around: Item | None) -> SSAValue | None:
        """The constant of a subgraph's initializer, one however often the subgraph is converted.

        Engines disagree on which counts where a value ``around`` the subgraph has its name, so they must be equal.
        """
        if id(stored) not in self._stored:
            block, self.block = self.block, self.root
            value = self._initializer(name, stored)
            self.block = block
            if value is None:
                return None
            self._stored[id(stored)] = (stored, value)
        value = self._stored[id(stored)][1]
        if around is not None and around is not value:
            outer = self.evaluate(around) if isinstance(around, SSAValue) and around.type == value.type else None
            if outer is None or outer.tobytes() != stored.read().tobytes():
                reason = f"an initializer of its subgraph, '{name}', has the name of another value around it"
                raise Refusal(DUPLICATE_NAME, reason)
        return value

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
        outer, values, ahead = self.location, self._values, self._ahead
        self._values, self._ahead = graph.values if graph is not None else {}, nodes
        try:
            for node in nodes:
                if not self._callers:
                    self.location = name_location(self.title(node))
                results = self._convert(node, scope, opsets)
                if not self._callers:
                    outside = self.block is self.root  # in a loop there is no one value
                    self.kept.note(self._path, node, results if outside else [None] * len(results))
                for name, value in zip(node.outputs, results, strict=True):
                    if not name:
                        continue
                    scope[name] = value
                    if value is not None and graph is not None:
                        self._name_result(node, name, value, graph)
        finally:
            self.location, self._values, self._ahead = outer, values, ahead

    def _name_result(self, node: Node, name: str, value: Item, graph: Graph) -> None:
        """Give a result its name in the IR, and hold it against what the model declares about it."""
        if isinstance(value, SSAValue) and value.name_hint is None:
            value.name_hint = name_hint(name)
        try:
            if name in graph.values:
                self._hold(node, graph.values[name], value, "its output")
        except Refusal as refusal:
            self._node_problem(refusal.code, node, refusal.reason, refusal.hint)

    def _hold(self, node: Node, declared: ValueInfo, value: Item, what: str) -> None:
        """Hold a value against what the model declares: another shape, as editing models leaves behind, is noted."""
        other = self.declared.check(declared, value, what)
        if other:
            self.note(node, other, "The declared shape is not used; leave it out, or run ONNX's shape inference.")

    # Nodes -----------------------------------------------------------------------------------------------------------

    def _convert(self, node: Node, scope: Scope, opsets: Mapping[str, int]) -> Sequence[Item | None]:
        """The values of a node's outputs; None for each if it cannot be converted, or reads what could not be."""
        unknown: list[Item | None] = [None] * len(node.outputs)
        if not self._consistent or self.ops > MAX_OPS:
            return unknown
        try:
            streams = dict(self._streams)
            for _ in range(MAX_ASSUMPTIONS):
                try:
                    self._streams = dict(streams)
                    return self._converted(node, scope, opsets)
                except Assumed as needed:
                    assumption = needed.assumption
                except Disagreement as error:
                    assumption = agreement(error.a, error.b, self.declared.dimensions.order)
                    if assumption is None:
                        raise
                if self._nested:  # the nodes around this one have seen other extents: they begin anew
                    raise Assumed(assumption)
                self._assume(assumption)
            raise Refusal(DEPENDS_ON_SIZES, "its operands fit together in too few sizes")
        except Refusal as refusal:
            hint = refusal.hint
            if refusal.code == INVALID_NODE and not hint:
                hint = self._remedy(node, scope, refusal.reason)
            self._node_problem(refusal.code, node, refusal.reason, hint)
        except Disagreement as error:
            self._size_problem(node, str(error), error.a, error.b)
        except Undecided as error:
            self._size_problem(node, str(error), *(error.sides or ()))
        except NotStatic as error:
            self._node_problem(DEPENDS_ON_SIZES, node, str(error), self._remedy(node, scope))
        except TypeRuleError as error:
            self._node_problem(INVALID_NODE, node, str(error), self._remedy(node, scope, str(error)))
        return unknown

    def _size_problem(self, node: Node, reason: str, *extents: Extent) -> None:
        self._node_problem(DEPENDS_ON_SIZES, node, reason, remedy(extents))

    def _remedy(self, node: Node, scope: Scope, reason: str | None = None) -> str:
        """What to say of sizes where a node is refused that reads values of symbolic shape."""
        values = [value for name in node.inputs if name and isinstance(value := scope.get(name), SSAValue)]
        if not self._consistent:  # nothing can be evaluated
            return remedy((extent for value in values for extent in shape_of(value.type)), reason)
        return remedy(read_extents(self.static, values), reason)

    def _assume(self, assumption: Assumption) -> None:
        """Take something for granted about sizes, in all that has been converted. What is raised ends conversion."""
        self._consistent = False
        assume_in(self.root, assumption)
        self.declared.dimensions.rewrite(assumption.of)
        self.counts.refuse_later(assumption)
        self.static.forget()
        pairs = [*((assumption.of(a), assumption.of(b)) for a, b in self._equal), *assumption.equal]
        self._equal = list(dict.fromkeys((a, b) for a, b in pairs if a != b))
        if any(map(is_static, self._equal)):
            a, b = next(filter(is_static, self._equal))
            raise Refusal(DEPENDS_ON_SIZES, f"what the model needs of its sizes cannot be: {a} would have to be {b}")
        self._consistent = True

    def hold_equal(self, a: Extent, b: Extent) -> None:
        """Have every run check that two extents are equal."""
        if a != b and (a, b) not in self._equal:
            self._equal.append((a, b))

    def _converted(self, node: Node, scope: Scope, opsets: Mapping[str, int]) -> Sequence[Item | None]:
        """The values of a node's outputs. Raises what stands against converting it."""
        unknown: list[Item | None] = [None] * len(node.outputs)
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
            operator = self.operators.find(node.domain, node.op, opset)
            if operator is not None:
                return converters.Converter(node.op, operator.since, partial(custom.convert, operator))
            return converters.find(node.op, opset, node.domain)
        if not opset:
            raise Refusal(UNKNOWN_OP, f"{node.op} is ONNX's own, but the model does not import ONNX's operators")
        check_node(node, opset)
        return converters.find(node.op, opset)

    def call(
        self,
        holder: Node,
        op: str,
        inputs: Sequence[SSAValue | None],
        outputs: int,
        attributes: Mapping[str, Any],
        opset: int | None = None,
    ) -> list[SSAValue]:
        """An operator of ONNX's own on ``inputs``, in place of a node that is made of several; of ``opset``, else of
        the model's. Raises Refusal."""
        import onnx

        names = ["" if value is None else f"x{index}" for index, value in enumerate(inputs)]
        results = [f"y{index}" for index in range(outputs)]
        message: Any = onnx.helper.make_node(op, names, results, holder.name, **attributes)
        node = MessageReader(DataFolder(None), {}).node(message, 0)
        opsets = {"": opset or self.model.opsets.get("", NEWEST_OPSET)}
        context = NodeContext(self, node, list(inputs), opsets, {})
        found = self._find(node, opsets)
        self._nested += 1
        try:
            made = self._results(node, found.convert(context)) if isinstance(found, converters.Converter) else None
            values = [value for value in made or self._standard(context) if isinstance(value, SSAValue)]
        finally:
            self._nested -= 1
        if len(values) != outputs:
            raise Refusal(UNSUPPORTED_OP, f"{op} does not give {outputs} tensors")
        return values

    def _results(self, node: Node, made: Item | Sequence[Item | None]) -> Sequence[Item | None]:
        """One value per output of ``node``, of those its converter has made."""
        values: list[Item | None] = [made] if isinstance(made, SSAValue | Listed | Maybe) else list(made)
        for index, name in enumerate(node.outputs):
            if name and index >= len(values):
                raise Refusal(UNSUPPORTED_ATTRIBUTE, f"its output {index} ('{name}') is not compiled")
        return values[: len(node.outputs)] + [None] * (len(node.outputs) - len(values))

    # Functions -------------------------------------------------------------------------------------------------------

    def _standard(self, context: NodeContext) -> Sequence[Item | None]:
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

    def _inline(self, node: Node, inputs: Sequence[Item | None], function: Function) -> Sequence[Item | None]:
        """A function's body in place of the node; its ops keep the calling node's location."""
        self.spend()
        if len(self._callers) >= MAX_FUNCTION_DEPTH:
            raise Refusal(MODEL_TOO_LARGE, f"functions call each other more than {MAX_FUNCTION_DEPTH} deep")
        if len(self._path) + len(self._callers) >= MAX_NESTING:
            raise Refusal(MODEL_TOO_LARGE, f"subgraphs and functions are nested more than {MAX_NESTING} deep")
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
        nodes = [bound(inner, attributes, absent) for inner in function.nodes]
        self._callers.append(replace(node, name=self.title(node)))
        try:
            self._nodes(in_order(nodes, scope, self._node_problem), scope, function.opsets, None)
        finally:
            self._callers.pop()
        for name in function.outputs[: len(node.outputs)]:
            if name not in scope:
                raise Refusal(UNDEFINED_VALUE, f"nothing defines the output '{name}' of the function {function.name}")
        return [scope[name] for name in function.outputs[: len(node.outputs)]]

    # Ops and static values -------------------------------------------------------------------------------------------

    def spend(self) -> None:
        """Count an op, a call, or a round of a loop, towards what a model may become."""
        self.ops += 1
        if self.ops > MAX_OPS:
            raise Refusal(MODEL_TOO_LARGE, f"the model becomes more than {MAX_OPS:,} operations")

    def insert(self, op: OpT) -> OpT:
        """Add an op at the end of the function. Refuses results no machine holds."""
        self.spend()
        for kind in op.result_types:
            rank, (size, _) = len(shape_of(kind)), bounds(tensor_bytes(kind))
            size = size or math.prod(extent for extent in shape_of(kind) if is_static((extent,)) and extent)
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

    def declared_shape(self, node: Node, output: int, scope: Mapping[str, Any]) -> tuple[Extent, ...] | None:
        """The shape that the model declares for an output of ``node``, or for what elementwise operators make of it.
        ``scope`` holds the values known so far."""

        def declared(name: str) -> tuple[Extent, ...] | None:
            return self.declared.shape(self._values.get(name))

        def is_scalar(name: str) -> bool:
            value = scope.get(name)
            return isinstance(value, SSAValue) and shape_of(value.type) == ()

        if output >= len(node.outputs):
            return None
        name = node.outputs[output]
        shape = declared(name)
        return declared_ahead(name, self._ahead, declared, is_scalar) if shape is None else shape

    def evaluate(self, value: SSAValue) -> Array | None:
        """The compile-time value of ``value``, computed from constants; None if it depends on inputs or is large."""
        return self.static.of(value)


def _name_attributes(names: Sequence[str]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr([DictionaryAttr({"penstock.name": StringAttr(name)}) for name in names])
