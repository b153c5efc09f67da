"""What a model declares about its values: the types of its inputs, and of others to be held against ours.

In: declared types, and values for symbolic dimensions. Out: IR types, or a refusal that says what to give. The one
idea: a declaration is a promise to check, never a fact to build on; only inputs have no other source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import byte_width, element_type, shape_of, tensor, type_name
from penstock.compiler.errors import (
    BAD_VALUE,
    SHAPE_CONFLICT,
    SHAPE_UNKNOWN,
    UNKNOWN_OPTION,
    UNSUPPORTED_TYPE,
    OptionError,
    nearest,
)
from penstock.compiler.frontends.onnx.external import DataError
from penstock.compiler.frontends.onnx.node_context import Refusal
from penstock.compiler.frontends.onnx.records import TYPE_NAMES, Dim, Graph, ValueInfo, show_dims, type_title
from penstock.compiler.frontends.onnx.tensors import check_dims
from penstock.compiler.frontends.onnx.values import Item, kind_of, show_type

if TYPE_CHECKING:
    from xdsl.ir import Attribute


class DeclaredTypes:
    """Declared types under given values of symbolic dimensions.

    A dimension without a name is called after its input and axis: ``x.0``. Raises OptionError if ``dims`` gives a
    value to a dimension the model does not have, or one no dimension can have.
    """

    def __init__(self, graph: Graph, dims: Mapping[str, int]) -> None:
        self.dims = dims
        known = {
            _dim_name(value.name, axis, dim)
            for value in graph.inputs
            for axis, dim in enumerate(value.dims or ())
            if not isinstance(dim, int)
        }
        for name, extent in dims.items():
            if name not in known:
                has = f"it has {', '.join(sorted(known)[:8])}" if known else "all its dimensions are fixed"
                raise OptionError(
                    UNKNOWN_OPTION, f"the model has no symbolic dimension '{name}' ({has}){nearest(name, known)}"
                )
            if extent < 0:
                raise OptionError(BAD_VALUE, f"the dimension '{name}' cannot be {extent}")

    def argument(self, value: ValueInfo) -> Attribute:
        """The tensor type of an input. Raises Refusal."""
        if value.kind != "tensor" or value.type_code not in TYPE_NAMES:
            title = type_title(value.type_code) if value.kind == "tensor" else value.kind
            raise Refusal(UNSUPPORTED_TYPE, f"an input of type {title} is not compiled")
        if value.dims is None:
            raise Refusal(SHAPE_UNKNOWN, "the input has no declared shape", "Declare it when exporting the model.")
        names = {axis: _dim_name(value.name, axis, dim) for axis, dim in enumerate(value.dims)}
        extents = [dim if isinstance(dim, int) else self.dims.get(names[i]) for i, dim in enumerate(value.dims)]
        open_names = [names[axis] for axis, extent in enumerate(extents) if extent is None]
        if open_names:
            given = " ".join(f"--dim {name}={_example(name)}" for name in dict.fromkeys(open_names))
            plural = "s have" if len(open_names) > 1 else " has"
            raise Refusal(
                SHAPE_UNKNOWN,
                f"the dimension{plural} no value: {', '.join(open_names)} of {show_dims(value.dims)}",
                f"Give a value, for example {given}.",
            )
        fixed = [extent for extent in extents if extent is not None]
        element = element_type(TYPE_NAMES[value.type_code])
        try:
            check_dims(fixed, byte_width(element))
        except DataError as error:
            raise Refusal(error.code, str(error), error.hint) from error
        return tensor(fixed, element)

    def shape(self, value: ValueInfo | None) -> tuple[int, ...] | None:
        """The shape declared for ``value``; None if it is open or not declared at all."""
        if value is None or value.kind != "tensor" or value.dims is None:
            return None
        extents = [dim if isinstance(dim, int) else self.dims.get(dim or "") for dim in value.dims]
        fixed = tuple(extent for extent in extents if extent is not None)
        return fixed if len(fixed) == len(extents) else None

    def check(self, declared: ValueInfo, value: Item, what: str = "its output") -> None:
        """Raise Refusal if ``value`` is not what the model declares under its name."""
        if declared.kind == "undeclared" or (declared.kind != "tensor" and declared.kind == kind_of(value)):
            return
        if declared.kind != "tensor" or not isinstance(value, SSAValue):
            found = show_type(value)
            raise Refusal(SHAPE_CONFLICT, f"{what} '{declared.name}' is declared a {declared.kind}, but is {found}")
        shape, element = shape_of(value.type), element_of(value)
        found = f"{type_name(element)}{show_dims(shape)}"
        title = type_title(declared.type_code) if declared.type_code else ""
        same_type = declared.type_code in (0, None) or title == type_name(element)
        if not same_type or (declared.dims is not None and not self._fits(declared.dims, shape)):
            stated = title + ("" if declared.dims is None else show_dims(declared.dims))
            raise Refusal(SHAPE_CONFLICT, f"{what} '{declared.name}' is declared {stated}, but is {found}")

    def _fits(self, dims: tuple[Dim, ...], shape: tuple[int, ...]) -> bool:
        return len(dims) == len(shape) and all(
            not isinstance(dim, int) or dim == extent for dim, extent in zip(dims, shape, strict=True)
        )


def _dim_name(value: str, axis: int, dim: Dim) -> str:
    return dim if isinstance(dim, str) and dim else f"{value}.{axis}"


def _example(name: str) -> int:
    """A value a dimension of this name might have."""
    return 128 if any(word in name.lower() for word in ("seq", "len", "time")) else 1
