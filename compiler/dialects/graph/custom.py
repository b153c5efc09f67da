"""Kernels that users bring along: the op of a custom operator that is not made of graph ops.

In: any tensors. Out: tensors of the types that the operator's own rule gave. The one idea: the machine code is data
like a weight, so that text, dumps and artifacts need nothing of the plugin it came from; only its meaning is there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.declared import Texts
from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    GraphOp,
    Int,
    Ints,
    Tensor,
    Text,
    require,
    require_static,
    tensor_type,
)
from penstock.compiler.dtypes import shape_of
from penstock.compiler.errors import CUSTOM_OPERATOR, ModelError, Problem

if TYPE_CHECKING:
    from xdsl.dialects.builtin import LocationAttr

    from penstock.compiler.dialects.graph.base import Array


class Custom(GraphOp):
    """A kernel that a custom operator brings along, in object code for every instruction set level. What it computes is
    known to the operator's ``evaluate`` alone. With ``parameters``, the last operand is for the kernel only."""

    name = "graph.custom"
    operand_names = ("inputs",)
    optional_operands = 1
    variadic = True
    operator = Text(doc="the operator's domain, name and first version: com.example.Polynomial.1")
    symbol = Text(doc="the function in the object code")
    levels = Texts(doc="instruction set levels there is code for")
    objects = Texts(doc="key of the object code in the weight store, for every level")
    units = Int(1, doc="parallel units")
    unit_cost = Float(0.0, doc="estimated nanoseconds one unit takes")
    parameters_last = Bool(False, doc="the last operand is no input of the operator's")
    absent = Ints((), doc="positions of inputs that are left out")
    settings = Text("{}", doc="the node's attributes as JSON")

    @classmethod
    def of(
        cls, operands: Sequence[SSAValue], results: Sequence[Tensor], *, location: LocationAttr | None, **given: Any
    ) -> Self:
        """The op with results of these types."""
        op = cls.create(
            operands=list(operands),
            result_types=list(results),
            attributes=cls.encode_parameters(given),
            location=location,
        )
        op.check_arity()
        op.infer()
        return op

    def infer(self) -> list[Tensor]:
        """The results' types, which the operator's rule has given."""
        require(len(self.levels) == len(self.objects) > 0, "custom code has a key for every level")
        require(self.units >= 0, f"a kernel cannot have {self.units} parallel units")
        require(bool(self.results), "a custom kernel has a result at least")
        for value in (*self.operands, *self.results):  # nothing tells a kernel what sizes it runs with
            require_static(shape_of(value.type), f"what the kernel of {self.operator} reads and writes")
        return [tensor_type(result) for result in self.results]

    def evaluate(self, *operands: Array) -> tuple[Array, ...]:
        """The operator's own ``evaluate``. Raises ModelError if it fails, or if no plugin defines it now."""
        from penstock.compiler import plugins

        inputs: list[Array | None] = list(operands[: len(operands) - self.parameters_last])
        for position in self.absent:
            inputs.insert(position, None)
        settings = {name: tuple(x) if isinstance(x, list) else x for name, x in json.loads(self.settings).items()}
        kind = plugins.defined(self.operator)
        if kind is None:
            raise self._failure("is not loaded, so what depends on constants alone cannot be computed")
        try:
            made = kind().evaluate(*inputs, **settings)
        except Exception as error:
            told = plugins.where_of(error, kind.evaluate.__code__.co_filename)
            raise self._failure(f"fails in evaluate: {told}") from error
        return tuple(np.asarray(array) for array in (made if isinstance(made, tuple | list) else (made,)))

    def _failure(self, reason: str) -> ModelError:
        from penstock.compiler.locations import source_names

        names = source_names(self.location)
        text = f"the custom operator {self.operator} {reason}"
        return ModelError(Problem(CUSTOM_OPERATOR, names[0] if names else "", "", text, "Correct the operator."))

    def cost(self) -> Cost:
        return Cost(0, self.bytes_moved())
