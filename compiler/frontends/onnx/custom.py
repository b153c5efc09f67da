"""Nodes of custom operators: from what a user's class says to graph ops.

In: an operator (``compiler.plugins``) and a node of it. Out: the ops of its decomposition, held against its type rule;
or one op for its kernel. The one idea: the user's methods get plain things (types, arrays, values that read like
arrays) and may fail in any way, which is told by the node, the method and the line.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Callable, Mapping, Sequence
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue

from penstock.compiler import plugins
from penstock.compiler.artifact.elf import fault_of
from penstock.compiler.backends import backend
from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.base import Tensor, TypeRuleError, element_of, tensor_type
from penstock.compiler.dialects.graph.custom import Custom
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import from_numpy, numpy_dtype, shape_of, tensor, type_name
from penstock.compiler.errors import CUSTOM_OPERATOR, INVALID_NODE
from penstock.compiler.extents import NotStatic, Undecided
from penstock.compiler.frontends.onnx.arithmetic import Operand, Value
from penstock.compiler.frontends.onnx.node_context import Assumed, NodeContext, Refusal
from penstock.compiler.frontends.onnx.records import Tensor as Stored
from penstock.compiler.precision import FULL
from penstock.runtime.errors import PenstockError

if TYPE_CHECKING:
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.plugins import Operator, TensorType

Array = NDArray[Any]


class Expression(Value):
    """A value of the graph that reads like a numpy array; what it meets is converted to its element type."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type; bfloat16 as ml_dtypes has it."""
        return numpy_dtype(element_of(self.ssa))

    def op(self, name: str, *operands: Operand) -> Expression:
        return Expression(self.n, super().op(name, *operands).ssa)

    def __rsub__(self, other: Operand) -> Expression:
        return Expression(self.n, self.like(other)).op("sub", self)

    def __rtruediv__(self, other: Operand) -> Expression:
        return Expression(self.n, self.like(other)).op("div", self)

    def __pow__(self, other: Operand) -> Expression:
        return self.op("pow", other)

    def __matmul__(self, other: Operand) -> Expression:
        return self.op("matmul", other)

    def reshape(self, shape: Sequence[int]) -> Expression:
        """The same elements in another shape."""
        return Expression(self.n, self.n.reshape(self.ssa, shape))

    def transpose(self, *axes: int) -> Expression:
        """Axes in another order."""
        return Expression(self.n, self.n.transpose(self.ssa, axes))

    def broadcast_to(self, shape: Sequence[int]) -> Expression:
        """Extents of 1 repeated."""
        return Expression(self.n, self.n.expand(self.ssa, shape))

    def astype(self, dtype: Any) -> Expression:
        """Converted as ONNX's Cast does."""
        return Expression(self.n, self.n.cast(self.ssa, from_numpy(np.dtype(dtype))))

    def reduce(self, kind: str, axis: int | None = None, keepdims: bool = False) -> Expression:
        """``sum``, ``prod``, ``max``, ``min``, ``and`` or ``or`` along ``axis``, or over everything."""
        return Expression(self.n, super().reduce(kind, axis, keepdims).ssa)


class Ops:
    """Functions of graph values: ``ops.exp(x)`` is the graph op ``exp`` (docs/graph.md lists them, with parameters as
    keywords; ``ops.and_(a, b)``), ``ops.onnx("Gelu", x, approximate="tanh")`` an operator of ONNX's."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        bare = name.removesuffix("_") if keyword.iskeyword(name.removesuffix("_")) else name
        try:
            kind = operation(bare)
        except KeyError:
            raise AttributeError(f"there is no graph op {bare}: docs/graph.md lists them") from None

        def call(*operands: Operand, **parameters: Any) -> Any:
            first = _first(operands)
            values = [x.ssa if isinstance(x, Value) else first.like(x) for x in operands]
            return _results(first.n, first.n.op(kind, *values, **parameters).results)

        return call

    def onnx(self, op: str, *inputs: Operand | None, outputs: int = 1, **attributes: Any) -> Any:
        """The operator ``op`` of the newest operator set that the model or penstock knows; None: an input left out.
        The result, or a tuple of ``outputs`` results."""
        first = _first(inputs)
        values = [x.ssa if isinstance(x, Value) else None if x is None else first.like(x) for x in inputs]
        return _results(first.n, first.n.importer.call(first.n.node, op, values, outputs, attributes))


ops = Ops()


def _first(operands: Sequence[Operand | None]) -> Value:
    """The first graph value among operands: plain numbers take its type."""
    found = next((x for x in operands if isinstance(x, Value)), None)
    if found is None:
        raise TypeError("an operation needs a graph value among its operands")
    return found


def _results(n: NodeContext, values: Sequence[Any]) -> Any:
    made = tuple(Expression(n, value) for value in values)
    return made[0] if len(made) == 1 else made


# Conversion ----------------------------------------------------------------------------------------------------------


def convert(operator: Operator, n: NodeContext) -> list[SSAValue]:
    """The results of a node of ``operator``. Raises Refusal."""
    signature = plugins.signature(type(operator))
    least = sum(required for _, required in signature.inputs)
    most = "any number of" if signature.variadic else str(len(signature.inputs))
    fits = least <= len(n.inputs) and (signature.variadic or len(n.inputs) <= len(signature.inputs))
    n.require(fits, f"{plugins.title(operator)} takes {most} inputs, but has {len(n.inputs)}")
    for index, (name, required) in enumerate(signature.inputs):
        n.require(n.has(index) or not required, f"its input {name} is left out")
    values = [n.optional(index) for index in range(len(n.inputs))]
    try:
        attributes = signature.bind({name: _attribute(n, name) for name in n.node.attributes})
    except ValueError as error:
        raise Refusal(INVALID_NODE, str(error)) from error
    given = [None if value is None else _type(value) for value in values]
    types = [_as_tensor(operator, kind) for kind in _listed(_call(operator, "infer", given, attributes))]
    if len(n.node.outputs) > len(types):
        raise Refusal(INVALID_NODE, f"it has {len(n.node.outputs)} outputs, but its operator gives {len(types)}")
    if getattr(operator, "kernel", None) is not None:
        kernel = _call(operator, "kernel", given, attributes)
        return list(_with_kernel(n, operator, kernel, values, types, attributes).results)
    expressions = [None if value is None else Expression(n, value) for value in values]
    made = [_value(n, operator, item) for item in _listed(_call(operator, "decompose", expressions, attributes))]
    found = [tensor_type(value) for value in made]
    if found != types:
        raise _contradiction(operator, "decompose", found, types)
    return made


def _with_kernel(
    n: NodeContext,
    operator: Operator,
    kernel: Any,
    values: Sequence[SSAValue | None],
    types: Sequence[Tensor],
    attributes: Mapping[str, Any],
) -> Custom:
    """The op that calls a kernel of the user's. Raises Refusal."""
    name = plugins.title(operator)
    if not isinstance(kernel, plugins.Kernel) or kernel.units < 0:
        raise Refusal(CUSTOM_OPERATOR, f"kernel of the custom operator {name} gives no Kernel", "Correct the operator.")
    try:
        settings = json.dumps(attributes, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        reason = f"the custom operator {name} has a kernel, so its attributes are numbers, texts and tuples of them"
        raise Refusal(CUSTOM_OPERATOR, reason, "Give arrays as inputs.") from None
    importer, operands = n.importer, [value for value in values if value is not None]
    if kernel.parameters is not None:
        operands.append(_stored(n, np.asarray(kernel.parameters)))
    levels, keys = [], []
    for level, data in _code(operator, kernel, n.importer.ctx).items():
        levels.append(level)
        keys.append(importer.ctx.weights.add(np.frombuffer(data, np.uint8), kernel.symbol))
    return importer.insert(
        Custom.of(
            operands,
            types,
            location=importer.location,
            operator=plugins.versioned(operator),
            symbol=kernel.symbol,
            levels=levels,
            objects=keys,
            units=kernel.units,
            unit_cost=kernel.nanoseconds,
            parameters_last=kernel.parameters is not None,
            absent=[index for index, value in enumerate(values) if value is None],
            settings=settings,
        )
    )


def _stored(n: NodeContext, array: Array) -> SSAValue:
    """A constant among the weights, however small: kernels read it where it lies."""
    try:
        kind = tensor(list(array.shape), from_numpy(array.dtype))
    except KeyError:
        reason = f"a kernel of a custom operator has parameters of {array.dtype}"
        raise Refusal(CUSTOM_OPERATOR, reason, "Correct the operator.") from None
    key = StringAttr(n.importer.ctx.weights.add(array, f"{n.node.name}.parameters"))
    op = Constant.create(result_types=[kind], attributes={"key": key}, location=n.importer.location)
    return n.importer.insert(op).out


def _code(operator: Operator, kernel: plugins.Kernel, ctx: CompilerContext) -> dict[str, bytes]:
    """The object code for every level that is compiled for. Raises Refusal."""
    target = backend(ctx.target.partition(":")[0])
    asked = ctx.options.get("isa") or target.levels_for(FULL)
    given, found = kernel.object, dict[str, bytes]()
    for level in target.levels:
        if level not in cast("Sequence[str]", asked):
            continue
        # Where there is no code for a level there may be some for one below, which its processors run too.
        below = target.levels[target.levels.index(level) :]
        source = next((given[x] for x in below if x in given), None) if isinstance(given, Mapping) else given
        fault = "there is none for this level" if source is None else None
        if source is not None:
            try:
                found[level] = source if isinstance(source, bytes) else Path(fspath(source)).read_bytes()
                fault = fault_of(found[level], kernel.symbol)
            except OSError as error:
                fault = f"{fspath(error.filename)} cannot be read: {error.strerror}"
        if fault is not None:
            reason = f"the custom operator {plugins.title(operator)} has no usable object code for {level}: {fault}"
            raise Refusal(CUSTOM_OPERATOR, reason, "Correct the operator.")
    return found


def _attribute(n: NodeContext, name: str) -> Any:
    """The value of an attribute as users see it: a number, a string, a tuple of them, or an array."""
    value = n.node.attributes[name]
    if isinstance(value, Stored):
        return n.tensor_attribute(name)
    n.require(isinstance(value, int | float | str | tuple), f"the attribute {name} is of a kind that is not supported")
    return value


def _call(operator: Operator, method: str, inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    """Call a method of a user's. ValueError is its refusal of the node, everything else a fault of it."""
    try:
        return getattr(operator, method)(*inputs, **attributes)
    except (Assumed, NotStatic, PenstockError, Refusal, TypeRuleError, Undecided):
        raise
    except ValueError as error:
        raise Refusal(INVALID_NODE, f"{plugins.title(operator)} refuses it: {error}") from error
    except Exception as error:
        told = plugins.where_of(error, _file_of(operator))
        reason = f"{method} of the custom operator {plugins.title(operator)} fails: {told}"
        raise Refusal(CUSTOM_OPERATOR, reason, "Correct the operator.") from error


def _file_of(operator: Operator) -> str:
    return type(operator).infer.__code__.co_filename


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _type(value: SSAValue) -> TensorType:
    return plugins.TensorType(numpy_dtype(element_of(value)), shape_of(value.type))


def _as_tensor(operator: Operator, kind: Any) -> Tensor:
    """The IR type that the type rule gave. Raises Refusal."""
    if not isinstance(kind, plugins.TensorType):
        reason = f"infer of the custom operator {plugins.title(operator)} gives {kind!r}, which is no TensorType"
        raise Refusal(CUSTOM_OPERATOR, reason, "Correct the operator.")
    try:
        return tensor(list(kind.shape), from_numpy(np.dtype(kind.dtype)))
    except KeyError:
        reason = f"infer of the custom operator {plugins.title(operator)} gives a tensor of {kind.dtype}"
        raise Refusal(CUSTOM_OPERATOR, reason, "Correct the operator.") from None


def _value(n: NodeContext, operator: Operator, item: Any) -> SSAValue:
    if not isinstance(item, Value):
        reason = f"decompose of the custom operator {plugins.title(operator)} gives {item!r}, which is no graph value"
        raise Refusal(CUSTOM_OPERATOR, reason, "Correct the operator.")
    return item.ssa


def _contradiction(operator: Operator, method: str, found: Sequence[Tensor], types: Sequence[Tensor]) -> Refusal:
    def show(kinds: Sequence[Tensor]) -> str:
        return ", ".join(f"{type_name(kind.element_type)}{list(shape_of(kind))}" for kind in kinds) or "nothing"

    reason = f"{method} of the custom operator {plugins.title(operator)} gives {show(found)} where its infer says"
    return Refusal(CUSTOM_OPERATOR, f"{reason} {show(types)}", "Correct the operator.")


# Testing -------------------------------------------------------------------------------------------------------------


def compare(kind: type[Operator], *inputs: Array | None, opset: int = 18, **attributes: Any) -> float:
    """Compile a model of one node of an operator, run it on ``inputs``, and hold it against ``evaluate``.

    Returns the largest error, as a part of the expected results' largest number (integers: of 1). Raises AssertionError
    for results of another type, and what ``penstock.compile`` raises.
    """
    import onnx

    import penstock

    values = [None if x is None else np.ascontiguousarray(x) for x in inputs]
    names = ["" if x is None else f"x{index}" for index, x in enumerate(values)]
    expected = [np.asarray(x) for x in _listed(kind().evaluate(*values, **attributes))]

    def info(name: str, array: Array) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    outputs = [f"y{index}" for index in range(len(expected))]
    node = onnx.helper.make_node(kind.name or kind.__name__, names, outputs, "node", domain=kind.domain, **attributes)
    feeds = {name: x for name, x in zip(names, values, strict=True) if x is not None}
    graph = onnx.helper.make_graph(
        [node],
        kind.__name__,
        [info(name, x) for name, x in feeds.items()],
        [info(name, x) for name, x in zip(outputs, expected, strict=True)],
    )
    imports = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid(kind.domain, kind.since)]
    model = onnx.helper.make_model(graph, opset_imports=imports)
    results = penstock.compile(model, plugins=[kind]).load().session().run(feeds)
    worst = 0.0
    for name, wanted in zip(outputs, expected, strict=True):
        got, scale = results[name].astype(np.float64), np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
        assert np.array_equal(np.isfinite(got), np.isfinite(wanted)), f"{name}: NaN or infinity in other places"
        error = np.abs(got - wanted)[np.isfinite(wanted)].max(initial=0.0)
        worst = max(worst, float(error / (scale if wanted.dtype.kind == "f" and scale else 1.0)))
    return worst
