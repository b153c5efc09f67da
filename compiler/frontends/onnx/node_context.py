"""What a converter works with: one node's operands, attributes and static values, and building graph ops for it.

In: a node and the importer's state. Out: graph ops located at the node. The one idea: a converter reads like the
operator's specification; everything about errors, locations and constants is here.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute, Block, SSAValue

from penstock.compiler.dialects.graph.base import (
    Disagreement,
    GraphOp,
    TypeRuleError,
    element_of,
    require_equal,
    require_same,
)
from penstock.compiler.dialects.graph.elementwise import Cast, Reciprocal
from penstock.compiler.dialects.graph.extent import Extents
from penstock.compiler.dialects.graph.shape import Expand, Reshape, Transpose
from penstock.compiler.dialects.graph.structure import Checked, Constant
from penstock.compiler.dtypes import I64, element_type, shape_of, tensor, type_name
from penstock.compiler.errors import (
    INVALID_NODE,
    MODEL_TOO_LARGE,
    SHAPE_CONFLICT,
    SHAPE_UNKNOWN,
    UNSUPPORTED_ATTRIBUTE,
    UNSUPPORTED_TYPE,
)
from penstock.compiler.extents import MOST, Dim, Extent, NotStatic, Undecided, is_static, largest, surely
from penstock.compiler.frontends.onnx import symbolic
from penstock.compiler.frontends.onnx.arithmetic import Value
from penstock.compiler.frontends.onnx.assumptions import Assumption, decision
from penstock.compiler.frontends.onnx.records import TYPE_NAMES, Graph, Node, Tensor, type_title
from penstock.compiler.frontends.onnx.values import Item, Listed, show_type

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.importer import Importer

Array = NDArray[Any]
OpT = TypeVar("OpT", bound=GraphOp)
MAX_TABLE = 1 << 24  # elements of a constant that a converter makes


class Refusal(Exception):
    """A node that cannot be compiled: a code, one sentence, and the nearest supported form."""

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason, self.hint = code, reason, hint


class Assumed(Exception):
    """A node can be compiled for sizes of which something is taken for granted."""

    def __init__(self, assumption: Assumption) -> None:
        super().__init__()
        self.assumption = assumption


class NodeContext:
    """One node being converted: ``inputs`` are its operands, ``scope`` all values a subgraph of it may read."""

    def __init__(
        self,
        importer: Importer,
        node: Node,
        inputs: Sequence[Item | None],
        opsets: Mapping[str, int],
        scope: Mapping[str, Item | None],
    ) -> None:
        self.importer, self.node, self.inputs = importer, node, list(inputs)
        self.opsets, self.scope, self.opset = opsets, scope, opsets.get(node.domain, 0)
        self._measured: dict[SSAValue, Array] = {}  # what operands hold that were taken for sizes

    # Operands --------------------------------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        """True if input ``index`` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int) -> SSAValue:
        """Input ``index``, a tensor. Refuses the node if it is missing or something else."""
        value = self.item(index)
        if not isinstance(value, SSAValue):
            raise Refusal(INVALID_NODE, f"its input {index} is {show_type(value)}, but {self.node.op} takes a tensor")
        return value

    def item(self, index: int) -> Item:
        """Input ``index``, whatever it is. Refuses the node if it is missing."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise Refusal(INVALID_NODE, f"its input {index} is left out, but {self.node.op} needs it")
        return value

    def sequence(self, index: int) -> Listed:
        """Input ``index``, a sequence. Refuses the node if it is missing or something else."""
        value = self.item(index)
        if not isinstance(value, Listed):
            raise Refusal(INVALID_NODE, f"its input {index} is {show_type(value)}, but {self.node.op} takes a sequence")
        return value

    def optional(self, index: int) -> SSAValue | None:
        """Input ``index`` or None."""
        return self.input(index) if self.has(index) else None

    def shape(self, value: SSAValue) -> tuple[Extent, ...]:
        return shape_of(value.type)

    def rank(self, value: SSAValue) -> int:
        return len(shape_of(value.type))

    def require(self, holds: bool, reason: str) -> None:
        """Refuse the node with ``reason`` unless ``holds``: it breaks the operator's specification."""
        if not holds:
            raise Refusal(INVALID_NODE, reason)

    def require_equal(self, a: Extent, b: Extent, reason: str) -> None:
        """Refuse the node with ``reason`` unless the extents are equal, or may be taken to be."""
        require_equal(a, b, reason)

    def require_same(self, a: Sequence[Extent], b: Sequence[Extent], reason: str) -> None:
        """Refuse the node with ``reason`` unless the shapes are equal, or may be taken to be."""
        require_same(a, b, reason)

    def require_at_most(self, a: Extent, b: Extent, reason: str) -> None:
        """Refuse the node with ``reason`` unless ``a`` <= ``b``. Where that depends on sizes, it is taken for granted
        if the range of one symbol can say it."""
        try:
            self.require(a <= b, reason)
        except Undecided as error:
            for assumption in decision(a, b):
                if surely(assumption.of(a), "<=", assumption.of(b)):
                    raise Assumed(assumption) from error
            raise

    def positive(self, extent: Extent) -> Extent:
        """``extent`` where it is 1 or more: runs are held to that if it depends on sizes."""
        least = largest(extent, 1)
        self.importer.hold_equal(least, extent)
        return least

    def ranked(self, index: int, least: int, most: int | None = None) -> SSAValue:
        """Input ``index``, which has ``least`` to ``most`` axes (``most`` left out: just ``least``)."""
        value, most = self.input(index), least if most is None else most
        wanted = f"{least} axes" if least == most else f"{least} to {most} axes"
        self.require(
            least <= self.rank(value) <= most,
            f"its input {index} has {wanted}, but is given with shape {list(self.shape(value))}",
        )
        return value

    def wants(self, output: int) -> bool:
        """True if output ``output`` has a name, that is, may be used."""
        return output < len(self.node.outputs) and self.node.outputs[output] != ""

    # Static values ---------------------------------------------------------------------------------------------------

    def static(self, index: int, what: str) -> Array:
        """The compile-time value of input ``index``. Refuses the node if it is only known at run time."""
        return self.known(self.input(index), what)

    def static_scalar(self, index: int, what: str) -> Any:
        """The compile-time value of input ``index``, which holds one element."""
        array = self.static(index, what).reshape(-1)
        self.require(array.size == 1, f"{what} is one number, not {array.size}")
        return array[0]

    def static_int(self, index: int, what: str) -> int:
        """The compile-time value of input ``index``, which holds one whole number."""
        item = self.static_scalar(index, what)
        self.require(bool(np.isfinite(item) and item == int(item)), f"{what} is a whole number, not {item}")
        return int(item)

    def known(self, value: SSAValue, what: str) -> Array:
        """The compile-time value of ``value``, numbers only. Raises NotStatic for symbolic extents."""
        array = self.known_extents(value, what)
        if symbolic.is_symbolic(array):
            raise NotStatic(f"{what} must be known at compile time, but is {symbolic.show(array)}")
        return array

    def known_extents(self, value: SSAValue, what: str) -> Array:
        """The compile-time value of ``value``, which may hold extents (dtype object)."""
        array = self.importer.evaluate(value)
        array = self._measured.get(value) if array is None else array
        if array is None:
            raise Refusal(
                SHAPE_UNKNOWN,
                f"{what} must be known at compile time, but depends on the model's inputs",
                "Make it a constant of the model.",
            )
        return array

    def ints(self, index: int, attribute: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Integers given by input ``index`` (newer opsets) or by an attribute (older ones), else ``default``."""
        if self.has(index):
            array = self.static(index, attribute)
            self.require(array.dtype.kind in "iu", f"{attribute} are integers, not {array.dtype}")
            return [int(item) for item in array.reshape(-1)]
        return self._listed(attribute, default)

    def extents(self, index: int, attribute: str, default: Sequence[Extent] | None = None) -> list[Extent] | None:
        """As ``ints``, but each may be symbolic."""
        if self.has(index):
            array = self.known_extents(self.input(index), attribute)
            if not symbolic.is_symbolic(array):
                return self.ints(index, attribute)
            items: list[Any] = [item if isinstance(item, Dim) else int(item) for item in array.reshape(-1)]
            return items
        return self._listed(attribute, default)

    def extent(self, index: int, what: str) -> Any:
        """The one number of input ``index``, which may be symbolic."""
        array = self.known_extents(self.input(index), what).reshape(-1)
        self.require(array.size == 1, f"{what} is one number, not {array.size}")
        return array[0] if symbolic.is_symbolic(array) else array[0].item()

    def _listed(self, attribute: str, default: Sequence[int] | None) -> list[int] | None:
        """Integers given by an attribute, else ``default``."""
        value = self.node.attributes.get(attribute)
        if value is None:
            return None if default is None else list(default)
        return [int(item) for item in self.attribute_list(attribute)]

    # Values fed at run time ------------------------------------------------------------------------------------------

    def fed(self, index: int) -> bool:
        """True if input ``index`` is given and its value is only known at run time."""
        return self.has(index) and self.importer.evaluate(self.input(index)) is None

    def sized(self, index: int, what: str, most: Extent = MOST) -> bool:
        """As ``fed``, for sizes: where the model declares no shape of the result, and nothing says what ``what`` is,
        it is measured, and its elements are symbols like those of the inputs, of at most ``most``."""
        if not self.fed(index) or self.importer.declared_shape(self.node, 0, self.scope) is not None:
            return self.fed(index)
        array = self.importer.counts.measured(self, self.input(index), what, most=most)
        if array is not None:
            self._measured[self.input(index)] = array
        return array is None

    def value(self, index: int, element: Attribute = I64) -> Value:
        """Input ``index`` for arithmetic in the graph, as element type ``element``."""
        return Value(self, self.cast(self.input(index), element))

    def promised(self, what: str, output: int = 0, rank: int | None = None) -> tuple[Extent, ...]:
        """The shape, of ``rank`` axes, that the model declares for an output: what a result's shape is when ``what`` is
        fed at run time. Refuses the node if nothing is declared, or what cannot be."""
        shape = self.importer.declared_shape(self.node, output, self.scope)
        if shape is None:
            raise Refusal(
                SHAPE_UNKNOWN,
                f"{what} depends on the model's inputs, and the model does not declare the shape of its result",
                "Make it a constant of the model, or declare the result's shape.",
            )
        if rank not in (None, len(shape)) or any(surely(extent, "<", 0) for extent in shape):
            raise Refusal(SHAPE_CONFLICT, f"its result is declared with the shape {list(shape)}, which it cannot have")
        return shape

    def table(self, elements: Extent, what: str) -> None:
        """Refuse the node if ``what``, which is worked out when compiling, has more elements than anyone needs, or as
        many as the sizes of a run say."""
        if not is_static((elements,)):
            raise NotStatic(f"{what} must be known at compile time, but has {elements} elements")
        if elements > MAX_TABLE:
            raise Refusal(MODEL_TOO_LARGE, f"{what} has {elements:,} elements; {MAX_TABLE:,} are the most")

    def checked(self, x: SSAValue, holds: Value, what: str) -> SSAValue:
        """``x``, where a run ends with a sentence unless ``holds``: ``what`` is what the model was compiled for."""
        message = (
            f"node '{self.importer.title(self.node)}' ({self.node.op}): {what} is not what the model was compiled for"
        )
        guard = self.importer.guard
        if guard is not None:  # in a branch that a run does not take, anything may be
            holds = Value(self, holds.reshape([]).op("or", Value(self, guard).op("not")).ssa)
        return self.build(Checked, x, holds.reshape([]).ssa, message=message)

    # Attributes ------------------------------------------------------------------------------------------------------

    def int(self, name: str, default: int | None = None) -> int:
        """An integer attribute. Refuses the node if it is required and missing."""
        return int(self._attribute(name, int, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """An integer attribute used as a truth value."""
        return bool(self.int(name, int(default)))

    def float(self, name: str, default: float | None = None) -> float:
        """A number."""
        return float(self._attribute(name, (int, float), default))

    def text(self, name: str, default: str | None = None) -> str:
        """A string attribute."""
        return str(self._attribute(name, str, default))

    def attribute_list(self, name: str, default: Sequence[Any] = (), kind: type = builtins.int) -> list[Any]:
        """A list attribute, of integers unless ``kind`` is float or str."""
        items: tuple[Any, ...] = self._attribute(name, tuple, tuple(default))
        if name in self.node.attributes and not all(isinstance(item, kind) for item in items):
            raise Refusal(INVALID_NODE, f"the attribute {name} is of the wrong kind")
        return list(items)

    def _attribute(self, name: str, kind: Any, default: Any) -> Any:
        value = self.node.attributes.get(name, default)
        if value is None:
            raise Refusal(INVALID_NODE, f"the attribute {name} is missing")
        if not isinstance(value, kind):
            raise Refusal(INVALID_NODE, f"the attribute {name} is of the wrong kind")
        return value

    def per_axis(self, name: str, rank: int, default: int, least: int) -> list[int]:
        """A list attribute with one integer of at least ``least`` for each of ``rank`` axes."""
        values = [int(item) for item in self.attribute_list(name)] or [default] * rank
        self.require(
            len(values) == rank and all(value >= least for value in values),
            f"{name} are {rank} numbers of at least {least}, not {values[:8]}",
        )
        return values

    def choice(self, name: str, default: str, *choices: str) -> str:
        """A string attribute that is one of ``choices``."""
        value = self.text(name, default)
        self.require(value in choices, f"the attribute {name} is {value!r}; it can be {', '.join(choices)}")
        return value

    def tensor_attribute(self, name: str) -> Array:
        """A tensor attribute's array."""
        value = self.node.attributes.get(name)
        if not isinstance(value, Tensor):
            raise Refusal(INVALID_NODE, f"the attribute {name} is not a tensor")
        if value.problem is not None:
            code, reason, hint = value.problem
            raise Refusal(code, reason, hint)  # type: ignore[arg-type]
        return value.read()

    def graph(self, name: str) -> Graph:
        """A subgraph attribute."""
        value: Graph = self._attribute(name, Graph, None)
        return value

    def element_attribute(self, name: str, default: int | None = None) -> Attribute:
        """An element type named by an ONNX type number."""
        code = self.int(name, default)
        if code not in TYPE_NAMES:
            raise Refusal(UNSUPPORTED_TYPE, f"the element type {type_title(code)} is not compiled")
        return element_type(TYPE_NAMES[code])

    def unsupported(self, reason: str, hint: str = "") -> Refusal:
        """A refusal for an attribute value or form that is not compiled."""
        return Refusal(UNSUPPORTED_ATTRIBUTE, reason, hint)

    def note(self, reason: str, hint: str = "") -> None:
        """Tell the user that the node takes a slower way or is not computed just as it says."""
        self.importer.note(self.node, reason, hint)

    # Subgraphs -------------------------------------------------------------------------------------------------------

    def run(self, graph: Graph, arguments: Sequence[Item | None] = ()) -> list[Item | None]:
        """The outputs of a subgraph of this node on ``arguments``; None for what could not be converted."""
        return self.importer.subgraph(graph, self, arguments)

    # Building --------------------------------------------------------------------------------------------------------

    def build(self, kind: type[OpT], /, *operands: SSAValue, **parameters: Any) -> SSAValue:
        """Insert an op and return its (first) result."""
        return self.op(kind, *operands, **parameters).results[0]

    def op(self, kind: type[OpT], /, *operands: SSAValue, **parameters: Any) -> OpT:
        """Insert an op at this node's location. Raises Assumed where its type rule holds for some sizes only."""
        try:
            return self.importer.insert(kind.build(*operands, location=self.importer.location, **parameters))
        except Undecided as error:
            for assumption in decision(*error.sides) if error.sides else ():
                if _fits(assumption, kind, operands, parameters):
                    raise Assumed(assumption) from error
            raise

    def constant(self, array: Any, element: Attribute | None = None) -> SSAValue:
        """A constant tensor; a Python number or list needs ``element``."""
        from penstock.compiler.dtypes import numpy_dtype

        items = np.asarray(array)
        if items.dtype == object:
            made = self.sizes(items)
            return made if element is None else self.cast(made, element)
        with np.errstate(all="ignore"):
            value = items if element is None else items.astype(numpy_dtype(element))
        return self.importer.constant(value, self.node.name)

    def sizes(self, extents: Array | Sequence[Extent]) -> SSAValue:
        """An i64 tensor of extents: a constant, or computed when the model runs."""
        array = np.asarray(extents, object)
        values: list[Any] = list(array.flat)
        if is_static(values):
            return self.constant(array.astype(np.int64))
        return self.build(Extents, values=values, result=tensor(array.shape, I64))

    def number(self, value: float, like: SSAValue) -> SSAValue:
        """A scalar constant of ``like``'s element type; an extent may be symbolic."""
        return self.constant(value, element_of(like))

    def share(self, count: Extent, like: SSAValue) -> SSAValue:
        """1 / ``count`` as a scalar of ``like``'s element type; NaN for 0."""
        if isinstance(count, Dim):
            return self.build(Reciprocal, self.number(count, like))
        return self.number(1.0 / count if count else np.nan, like)

    def reshape(self, value: SSAValue, shape: Sequence[Extent]) -> SSAValue:
        """``value`` under another shape; itself if it has it."""
        if tuple(shape) == self.shape(value):
            return value
        return self.build(Reshape, value, result=tensor(list(shape), element_of(value)))

    def transpose(self, value: SSAValue, permutation: Sequence[int]) -> SSAValue:
        """``value`` with axes reordered; itself if they are not."""
        if list(permutation) == list(range(self.rank(value))):
            return value
        return self.build(Transpose, value, permutation=tuple(permutation))

    def expand(self, value: SSAValue, shape: Sequence[Extent]) -> SSAValue:
        """``value`` broadcast to ``shape``."""
        if tuple(shape) == self.shape(value):
            return value
        return self.build(Expand, value, result=tensor(list(shape), element_of(value)))

    def cast(self, value: SSAValue, element: Attribute) -> SSAValue:
        """``value`` converted to ``element``; itself if it has that type."""
        if element_of(value) == element:
            return value
        return self.build(Cast, value, result=tensor(list(self.shape(value)), element))

    def axis(self, name: str, default: int | None, rank: int) -> int:
        """An axis attribute, counted from the front. Refuses the node when it is out of range."""
        return self.normal_axis(self.int(name, default), rank)

    def normal_axis(self, axis: int, rank: int) -> int:
        """``axis`` counted from the front. Refuses the node when it is out of range; a scalar has none."""
        if not -rank <= axis < rank:
            raise Refusal(INVALID_NODE, f"axis {axis} is outside a tensor of rank {rank}")
        return axis % rank

    def type_name(self, value: SSAValue) -> str:
        return type_name(element_of(value))


def _fits(
    assumption: Assumption, kind: type[GraphOp], operands: Sequence[SSAValue], parameters: dict[str, Any]
) -> bool:
    """True unless the type rule of ``kind`` refuses the operands and parameters under ``assumption``."""
    types = [tensor([*map(assumption.of, shape_of(value.type))], element_of(value)) for value in operands]
    changed: dict[str, Any] = {}
    for name, value in parameters.items():
        if name == "result":
            changed[name] = tensor([*map(assumption.of, shape_of(value))], element_of(value))
        elif isinstance(value, Dim):
            changed[name] = assumption.of(value)
        elif isinstance(value, list | tuple):
            items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
            changed[name] = [assumption.of(item) if isinstance(item, Dim) else item for item in items]
        else:
            changed[name] = value
    try:
        kind.build(*Block(arg_types=types).args, **changed)
    except (Undecided, Disagreement):
        return True  # further than before
    except TypeRuleError:
        return False
    return True


__all__ = ["Array", "Assumed", "Constant", "NodeContext", "Refusal"]
