"""What passes ask about the graph around an op: who defines a value, and which constant is it.

In: values. Out: ops, arrays, numbers, or None. The one idea: a number is a number however it is stored, so matching
looks through inline constants, the weight store, and views of one element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from xdsl.ir import Operation, SSAValue

from penstock.compiler.dialects.graph.base import GraphOp, broadcast_shapes, elements, tensor_type
from penstock.compiler.dialects.graph.elementwise import Elementwise, splat_value
from penstock.compiler.dialects.graph.shape import Expand, Iota, Reshape, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import numpy_dtype, shape_of
from penstock.compiler.extents import is_static

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array
    from penstock.compiler.weights import WeightStore

OpT = TypeVar("OpT", bound=Operation)
SMALL = 1 << 20
DEPTH = 16


def defining(value: SSAValue, kind: type[OpT]) -> OpT | None:
    """The op that defines ``value``, if it is a ``kind``."""
    return value.owner if isinstance(value.owner, kind) else None


def has_one_use(value: SSAValue) -> bool:
    """True if exactly one operand anywhere is ``value``."""
    return value.has_one_use()


def array_of(value: SSAValue, weights: WeightStore) -> Array | None:
    """The array of a value defined by a constant."""
    constant = defining(value, Constant)
    return None if constant is None else constant.array(weights)


def number_of(value: SSAValue, weights: WeightStore) -> float | int | None:
    """The number all elements of a constant are (views of a constant included), or None. NaN is no number."""
    op = value.owner
    while isinstance(op, Expand | Reshape | Transpose):
        op = op.operands[0].owner
    if not isinstance(op, Constant):
        return None
    if "value" in op.attributes:
        number = splat_value(op.out)
    else:
        array = op.array(weights)
        number = array.reshape(-1)[0].item() if is_uniform(array) else None
        number = int(number) if isinstance(number, bool) else number
    return None if number != number else number


def is_uniform(array: Array) -> bool:
    """True if there is an element and all have the same bits."""
    flat = array.reshape(-1)
    if flat.size == 0 or flat[0] != flat[-1] or flat[0] != flat[flat.size // 2]:
        return False
    return bool((flat == flat[0]).all()) and not (flat[0] == 0 and np.signbit(flat.astype(np.float64)).any())


def with_number(op: GraphOp, weights: WeightStore) -> tuple[SSAValue, float | int] | None:
    """For an op on two operands: the operand that is not a number, and the number, whichever side it is on."""
    a, b = op.operands
    for x, other in ((a, b), (b, a)):
        number = number_of(other, weights)
        if number is not None:
            return x, number
    return None


def scalar(number: float, like: SSAValue, weights: WeightStore) -> Constant:
    """A constant of rank 0 with the element type of ``like``."""
    return Constant.of(np.asarray(number).astype(numpy_dtype(tensor_type(like).element_type)), weights)


def known_array(value: SSAValue, weights: WeightStore, limit: int = SMALL) -> Array | None:
    """The array ``value`` would be if it is computed from constants alone, or None.

    Looks at most ``DEPTH`` ops far, and computes no value of more than ``limit`` elements.
    """
    return _known(value, weights, limit, DEPTH, {})


def _known(value: SSAValue, weights: WeightStore, limit: int, depth: int, memory: dict[SSAValue, Any]) -> Array | None:
    if value in memory:
        return memory[value]
    memory[value] = None
    op = value.owner
    if depth == 0 or not isinstance(op, GraphOp) or len(op.results) != 1 or op.regions:
        return None
    if isinstance(op, Constant):
        memory[value] = op.array(weights)
    elif is_static(shape_of(value.type)) and elements(value.type) <= limit and (op.operands or isinstance(op, Iota)):
        arrays: list[Any] = []
        for operand in op.operands:
            array = _known(operand, weights, limit, depth - 1, memory)
            if array is None:
                return None
            arrays.append(array)
        memory[value] = np.asarray(op.evaluate(*arrays))
    return memory[value]


def rebuilt(op: GraphOp, operands: Sequence[SSAValue | Operation]) -> GraphOp:
    """A new op of the same kind and parameters on other ``operands``, without a location.

    Ops built with their result type keep it. Raises TypeRuleError if the operands do not fit.
    """
    clone = type(op).create(
        operands=[SSAValue.get(operand) for operand in operands],
        result_types=[result.type for result in op.results],
        attributes=dict(op.attributes),
    )
    types = clone.infer()
    if types == [result.type for result in op.results]:
        return clone
    clone.drop_all_references()
    return type(op).create(
        operands=[SSAValue.get(operand) for operand in operands],
        result_types=types,
        attributes=dict(op.attributes),
    )


def broadcasts_without(op: Elementwise, index: int, replacement: SSAValue) -> bool:
    """True if ``op`` has the same result shape when operand ``index`` is ``replacement``."""
    shapes = [shape_of(value.type) for value in op.operands]
    shapes[index] = shape_of(replacement.type)
    return broadcast_shapes(*shapes) == shape_of(op.out.type)
