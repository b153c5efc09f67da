"""What a model declares about its values: the types of its inputs, and of others to be held against ours.

In: declared types, and values or ranges of symbolic dimensions. Out: IR types, or a refusal. The one idea: a
declaration is a promise to check, never a fact to build on; only inputs have no other source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dtypes import byte_width, element_type, shape_of, tensor, type_name
from penstock.compiler.errors import SHAPE_CONFLICT, SHAPE_UNKNOWN, UNSUPPORTED_TYPE
from penstock.compiler.extents import Dim as Symbolic
from penstock.compiler.extents import Extent
from penstock.compiler.frontends.onnx.dimensions import Dimensions, Given, dim_text
from penstock.compiler.frontends.onnx.external import DataError
from penstock.compiler.frontends.onnx.node_context import Refusal
from penstock.compiler.frontends.onnx.records import TYPE_NAMES, Dim, Graph, ValueInfo, show_dims, type_title
from penstock.compiler.frontends.onnx.tensors import check_dims
from penstock.compiler.frontends.onnx.values import Item, kind_of, show_type

if TYPE_CHECKING:
    from xdsl.ir import Attribute


class DeclaredTypes:
    """Declared types of a graph; ``dims`` gives values or ranges of symbolic dimensions (see ``Dimensions``)."""

    def __init__(self, graph: Graph, dims: Mapping[str, Given]) -> None:
        self.dimensions = Dimensions(graph, dims)

    def argument(self, value: ValueInfo) -> Attribute:
        """The tensor type of an input. Raises Refusal."""
        if value.kind != "tensor" or value.type_code not in TYPE_NAMES:
            title = type_title(value.type_code) if value.kind == "tensor" else value.kind
            raise Refusal(UNSUPPORTED_TYPE, f"an input of type {title} is not compiled")
        if value.dims is None:
            raise Refusal(SHAPE_UNKNOWN, "the input has no declared shape", "Declare it when exporting the model.")
        texts = [dim if isinstance(dim, int) else dim_text(value.name, i, dim) for i, dim in enumerate(value.dims)]
        extents = [self._extent(text) for text in texts]
        element = element_type(TYPE_NAMES[value.type_code])
        try:
            check_dims([extent for extent in extents if not isinstance(extent, Symbolic)], byte_width(element))
        except DataError as error:
            raise Refusal(error.code, str(error), error.hint) from error
        return tensor(extents, element)

    def _extent(self, text: int | str) -> Extent:
        extent = text if isinstance(text, int) else self.dimensions.extent(text)
        assert extent is not None, "every dimension of an input has an extent"
        return extent

    def shape(self, value: ValueInfo | None) -> tuple[Extent, ...] | None:
        """The shape declared for ``value``; None if it is open or not declared at all."""
        if value is None or value.kind != "tensor" or value.dims is None:
            return None
        extents = [dim if isinstance(dim, int) else self.dimensions.extent(dim or "") for dim in value.dims]
        fixed = tuple(extent for extent in extents if extent is not None)
        return fixed if len(fixed) == len(extents) else None

    def check(self, declared: ValueInfo, value: Item, what: str) -> str:
        """A sentence if the shape of ``value`` is not what the model declares under its name, else "". Raises Refusal
        if its type is not."""
        if declared.kind == "undeclared" or (declared.kind != "tensor" and declared.kind == kind_of(value)):
            return ""
        if declared.kind != "tensor" or not isinstance(value, SSAValue):
            found = show_type(value)
            raise Refusal(SHAPE_CONFLICT, f"{what} '{declared.name}' is declared a {declared.kind}, but is {found}")
        shape, element = shape_of(value.type), element_of(value)
        found = f"{type_name(element)}{show_dims(shape)}"
        title = type_title(declared.type_code) if declared.type_code else ""
        stated = title + ("" if declared.dims is None else show_dims(declared.dims))
        sentence = f"{what} '{declared.name}' is declared {stated}, but is {found}"
        if declared.type_code not in (0, None) and title != type_name(element):
            raise Refusal(SHAPE_CONFLICT, sentence)
        return sentence if declared.dims is not None and not self._fits(declared.dims, shape) else ""

    def _fits(self, dims: tuple[Dim, ...], shape: tuple[Extent, ...]) -> bool:
        """Numbers agree; what is said of symbolic extents counts for nothing."""
        return len(dims) == len(shape) and all(
            not isinstance(dim, int) or isinstance(extent, Symbolic) or dim == extent
            for dim, extent in zip(dims, shape, strict=True)
        )
