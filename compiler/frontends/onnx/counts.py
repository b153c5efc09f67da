"""Sizes that are counted when a model runs: how many elements NonZero finds, how long a model says its result is.

In: how many there can be at most, or a value that a model computes and takes for sizes. Out: symbols, in the order in
which they are counted. The one idea: a number is known to all that is counted after it, and to nothing before.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Block, SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, element_of, elements
from penstock.compiler.dialects.graph.counting import Measure
from penstock.compiler.dialects.graph.elementwise import Add, Cast, Min, Mul, Neg, Sub
from penstock.compiler.dialects.graph.logic import Select
from penstock.compiler.dialects.graph.shape import Concat, Slice
from penstock.compiler.dtypes import I1, I64, shape_of, tensor
from penstock.compiler.errors import DEPENDS_ON_SIZES, SHAPE_UNKNOWN
from penstock.compiler.extents import (
    MOST,
    Extent,
    NotStatic,
    Symbol,
    bounds,
    is_static,
    smallest,
    surely,
    symbol,
    symbols_of,
)
from penstock.compiler.frontends.onnx import symbolic
from penstock.compiler.frontends.onnx.assumptions import Assumption
from penstock.compiler.frontends.onnx.dimensions import Dimensions, measured_name
from penstock.compiler.frontends.onnx.greatest import greatest
from penstock.compiler.frontends.onnx.node_context import Refusal

if TYPE_CHECKING:
    from penstock.compiler.frontends.onnx.node_context import NodeContext

Array = NDArray[Any]
MAX_MEASURED = 16  # elements of one value
EXACT = (Add, Cast, Min, Mul, Neg, Sub, *symbolic.MOVING)  # not Max, whose operands may be no sizes


class Counts:
    """The counted symbols of a model being imported; ``dimensions`` has all its symbols."""

    def __init__(self, dimensions: Dimensions) -> None:
        self.dimensions, self.order = dimensions, dimensions.order
        self.numbers: dict[str, int] = {}  # of what is counted, from 1
        self._names: dict[tuple[SSAValue, int], str] = {}  # of measured elements, whether they could be or not
        self._given: dict[str, int] = {}  # names given for each node
        self._made: dict[tuple[SSAValue, int, Block, SSAValue | None], Measure] = {}

    def new(self, stem: str, most: Extent) -> Extent:
        """A new symbol, from 0 to as many as ``most`` can be: a size that is counted when the model runs."""
        number = len(self.numbers) + 1
        return self._symbol(f"{stem}_{number}", 0, max(int(min(bounds(most)[1], MOST)), 0))

    def _symbol(self, name: str, low: int, high: int) -> Extent:
        while name in self.order:
            name += "_"
        self.order[name] = len(self.order)
        self.numbers[name] = len(self.numbers) + 1
        return symbol(name, low, high)

    def among(self, extent: Extent) -> bool:
        """True if ``extent`` follows from a number that is counted."""
        return any(symbol.name in self.numbers for symbol in symbols_of(extent))

    def refuse_later(self, assumption: Assumption) -> None:
        """Refuse that a number counted early is told by one counted later: nobody could know it in time."""
        for atom, meaning in assumption.meaning.items():
            numbers = [self.numbers.get(symbol.name, 0) for symbol in symbols_of(meaning)]
            if isinstance(atom, Symbol) and any(number > self.numbers.get(atom.name, 0) for number in numbers):
                raise Refusal(DEPENDS_ON_SIZES, f"{atom.name} would have to be {meaning}, which is counted later")

    def finish(self, *, complete: bool) -> None:
        """The model is converted, as a whole if ``complete``. Raises OptionError for a range given for what no node
        computes."""
        if complete:
            self.dimensions.all_used(self._names.values())

    # What models compute ---------------------------------------------------------------------------------------------

    def measured(
        self,
        n: NodeContext,
        value: SSAValue,
        what: str,
        wanted: Collection[int] | None = None,
        most: Extent = MOST,
    ) -> Array | None:
        """The elements of ``value``, which a run computes, as extents (0 for those that are not ``wanted``, by their
        positions); None if they cannot be sizes. A run ends with an error where one is more than ``most``. Refuses the
        node where nothing bounds them: memory is laid out before a run."""
        known = n.importer.evaluate(value)
        if known is not None:
            return known
        shape = shape_of(value.type)
        if not is_static(shape) or not 0 < elements(value.type) <= MAX_MEASURED or not _is_integer(value):
            return None
        owner = value.owner
        if isinstance(owner, EXACT if most == MOST else symbolic.MOVING):  # a bound of sums bounds no part of them
            result = self._composed(n, owner, what, wanted, most)
            if result is not None:
                return result
        result = np.zeros(math.prod(shape), object)
        for index in range(result.size) if wanted is None else sorted(set(wanted)):
            result[index] = self._element(n, value, index, what, most)
        return result.reshape(shape)

    def _composed(
        self, n: NodeContext, op: GraphOp, what: str, asked: Collection[int] | None, most: Extent
    ) -> Array | None:
        """The result of ``op`` from what is measured of its operands; None if that says nothing, or several numbers
        would have to be measured for one."""
        known = [n.importer.evaluate(operand) for operand in op.operands]
        wanted: Collection[int] | None = None
        if isinstance(op, symbolic.MOVING) and not isinstance(op, Concat):
            indices = [array for array in known[1:] if array is not None]
            if known[0] is not None or len(indices) + 1 < len(known):
                return None
            shape = shape_of(op.operands[0].type)
            if not is_static(shape) or not 0 < math.prod(shape) <= symbolic.MAX_ELEMENTS:
                return None
            try:
                picked: Any = op.evaluate(np.arange(math.prod(shape)).reshape(shape), *indices)
            except NotStatic:
                return None
            places: list[int] = picked.reshape(-1).tolist()
            wanted = places if asked is None else [places[index] for index in asked]
        elif not isinstance(op, Concat) and sum(array is None for array in known) != 1:
            return None
        if isinstance(op, Concat) and asked is not None:
            parts = self._concatenated(n, op, what, asked, most)
        else:
            parts = [self.measured(n, operand, what, wanted, most) for operand in op.operands]
        arrays = [part for part in parts if part is not None]
        return symbolic.evaluate(op, arrays)[0] if len(arrays) == len(parts) else None

    def _concatenated(
        self, n: NodeContext, op: Concat, what: str, asked: Collection[int], most: Extent
    ) -> list[Array | None]:
        """The operands of ``op``, measured where their elements are asked for in its result."""
        if any(len(shape_of(operand.type)) != 1 for operand in op.operands):
            return [self.measured(n, operand, what, None, most) for operand in op.operands]
        parts: list[Array | None] = []
        start = 0
        for operand in op.operands:
            end = start + elements(operand.type)
            parts.append(self.measured(n, operand, what, [i - start for i in asked if start <= i < end], most))
            start = end
        return parts

    def _element(self, n: NodeContext, value: SSAValue, index: int, what: str, most: Extent) -> Extent:
        """Element ``index`` of ``value``, at most ``most``, as an extent of its own."""
        importer = n.importer
        key = (value, index, importer.block, importer.guard)
        if key in self._made and surely(self._made[key].bound, "<=", most):
            return self._made[key].count
        name = self._name(n, value, index)
        low, high = self.dimensions.measured.get(name, (0, MOST))
        most = smallest(most, high, greatest(importer.static, value))
        if bounds(most)[0] >= MOST:
            raise Refusal(
                SHAPE_UNKNOWN,
                f"{what} is computed when the model runs, and nothing says how large it can be",
                f"Say what it can be, for example --dim {name}=0..512, or declare the result's shape.",
            )
        flat = n.reshape(n.cast(value, I64), [elements(value.type)])
        if shape_of(flat.type) != (1,):
            flat = n.build(Slice, flat, starts=[index], steps=[1], result=tensor([1], I64))
        if importer.guard is not None:  # in a branch that a run does not take, anything may be
            flat = n.build(Select, importer.guard, flat, n.number(low, flat))
        count = self._symbol(name, low, max(int(min(bounds(most)[1], MOST)), low))
        made = self._made[key] = n.op(Measure, flat, count=count, bound=most)
        return made.count

    def _name(self, n: NodeContext, value: SSAValue, index: int) -> str:
        if (value, index) not in self._names:
            node = n.node.name
            self._given[node] = self._given.get(node, 0) + 1
            self._names[value, index] = measured_name(node, self._given[node])
        return self._names[value, index]


def _is_integer(value: SSAValue) -> bool:
    kind = element_of(value)
    return isinstance(kind, IntegerType) and kind != I1
