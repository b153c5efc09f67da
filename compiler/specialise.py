"""Symbolic extents replaced throughout a module of the graph level: by numbers, or by other extents.

In: a module whose types and parameters mention symbols, and what stands for them. Out: the same module, or a copy, with
the extents of every type and parameter rewritten. The one idea: an extent occurs in two places only, in types and in
the parameters of ops that hold integers, so replacing a symbol needs no knowledge of any op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from penstock.compiler.dialects.declared import DeclaredOp, Int, Ints
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.extent_text import parse
from penstock.compiler.extents import (
    Dim,
    Extent,
    Symbol,
    evaluate,
    is_static,
    lone_symbol,
    substitute,
    symbols_of,
    told_symbol,
)

__all__ = [
    "bind",
    "disagreeing",
    "equalities",
    "input_symbols",
    "lone_symbol",
    "rewrite_arguments",
    "rewrite_extents",
    "rewrite_op",
    "set_equalities",
    "set_type",
    "specialise",
    "told_symbol",
]

EQUAL = "penstock.equal"
"""Attribute of a module: pairs of extents that were taken to be equal, and must be whenever sizes are bound."""

Change = Callable[[Extent], Extent]


def specialise(module: ModuleOp, sizes: Mapping[str, int]) -> ModuleOp:
    """A copy of ``module`` for given ``sizes`` of symbols, by name; other symbols stay.

    Raises ValueError, with a sentence, for a size outside of its symbol's range.
    """

    def fixed(extent: Extent) -> Extent:
        known = {symbol: _within(symbol, sizes[symbol.name]) for symbol in symbols_of(extent) if symbol.name in sizes}
        return substitute(extent, known)

    copy = module.clone()
    rewrite_extents(copy, fixed)
    left = [(fixed(a), fixed(b)) for a, b in equalities(module)]
    for a, b in left:
        if is_static((a, b)) and a != b:
            raise ValueError(f"the model holds for sizes with {disagreeing(module, sizes)} only")
    set_equalities(copy, [pair for pair in left if not is_static(pair)])
    return copy


def disagreeing(module: ModuleOp, sizes: Mapping[str, int]) -> str:
    """The first pair of the module's equal extents that ``sizes`` make different: ``a = b``."""
    return next(f"{a} = {b}" for a, b in equalities(module) if evaluate(a, sizes) != evaluate(b, sizes))


def _within(symbol: Symbol, size: int) -> int:
    if not symbol.low <= size <= symbol.high:
        raise ValueError(f"{symbol.name} is {size}, but the model is compiled for {symbol.low} to {symbol.high}")
    return size


def rewrite_extents(root: Operation, change: Change) -> None:
    """Replace every extent in the types and parameters of ``root`` and what is inside it, in place."""
    types: dict[Attribute, Attribute] = {}
    for op in root.walk():
        rewrite_op(op, change, types)
        for region in op.regions:
            for block in region.blocks:
                rewrite_arguments(block, change, types)


def rewrite_arguments(block: Block, change: Change, types: dict[Attribute, Attribute]) -> None:
    """``change`` in the types of a block's arguments; ``types`` remembers what became of each type."""
    for argument in block.args:
        _retype(argument, change, types)


def rewrite_op(op: Operation, change: Change, types: dict[Attribute, Attribute]) -> None:
    """``change`` in the result types and parameters of one op."""
    for result in op.results:
        _retype(result, change, types)
    if isinstance(op, FuncOp):
        inputs, outputs = op.function_type.inputs, op.function_type.outputs
        op.function_type = FunctionType.from_lists(
            [_changed(kind, change, types) for kind in inputs], [_changed(kind, change, types) for kind in outputs]
        )
    if isinstance(op, DeclaredOp):
        for name, parameter in op.parameters.items():
            value: Any = getattr(op, name) if name in op.attributes else None
            if isinstance(parameter, Int) and isinstance(value, Dim):
                op.attributes[name] = parameter.encode(change(value))
            elif isinstance(parameter, Ints) and isinstance(value, tuple):
                extents = cast("tuple[Extent, ...]", value)
                if not is_static(extents):
                    op.attributes[name] = parameter.encode([change(extent) for extent in extents])


def _retype(value: SSAValue, change: Change, types: dict[Attribute, Attribute]) -> None:
    kind = _changed(value.type, change, types)
    if kind is not value.type:
        set_type(value, kind)


def set_type(value: SSAValue, kind: Attribute) -> None:
    """Give a value another type in place: all that know the value keep it."""
    value._type = kind  # pyright: ignore[reportPrivateUsage]


def _changed(kind: Attribute, change: Change, types: dict[Attribute, Attribute]) -> Attribute:
    if not isinstance(kind, TensorType) or is_static(shape_of(kind)):
        return kind
    if kind not in types:
        types[kind] = tensor([change(extent) for extent in shape_of(kind)], kind.element_type)
    return types[kind]


# Equal extents -------------------------------------------------------------------------------------------------------


def equalities(module: ModuleOp) -> list[tuple[Extent, Extent]]:
    """The pairs of extents that were taken to be equal when the module was made."""
    pairs = module.attributes.get(EQUAL)
    if not isinstance(pairs, ArrayAttr):
        return []
    texts = [[cast(StringAttr, item).data for item in cast("ArrayAttr[Attribute]", pair)] for pair in pairs]
    return [(parse(a), parse(b)) for a, b in texts]


def set_equalities(module: ModuleOp, pairs: Iterable[tuple[Extent, Extent]]) -> None:
    """Write down which extents must be equal; nothing where there are none."""
    found = [ArrayAttr([StringAttr(str(a)), StringAttr(str(b))]) for a, b in pairs]
    module.attributes.pop(EQUAL, None)
    if found:
        module.attributes[EQUAL] = ArrayAttr(found)


# Binding -------------------------------------------------------------------------------------------------------------


def input_symbols(function: FuncOp) -> list[Symbol]:
    """The symbols of a function's arguments in order of first appearance: arguments in order, axes from the front."""
    found: dict[Symbol, None] = {}
    for extent in _extents(function):
        found.update(dict.fromkeys(sorted(symbols_of(extent), key=lambda symbol: symbol.name)))
    return list(found)


def _extents(function: FuncOp) -> Iterator[Extent]:
    for argument in function.body.block.args:
        yield from shape_of(argument.type)


def bind(function: FuncOp, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The sizes of symbols, by name, that arguments of these shapes give: a symbol that stands alone as an extent (or
    as a multiple of a number) has that extent's size, and every other extent must agree.

    Raises ValueError, with a sentence that names the argument (by ``names``), axis and symbols, if one does not.
    """
    sizes: dict[str, int] = {}
    places = [
        (f"axis {axis} of input {name!r}", extent, shape[axis])
        for name, argument, shape in zip(names, function.body.block.args, shapes, strict=True)
        for axis, extent in enumerate(shape_of(argument.type))
        if isinstance(extent, Dim)
    ]
    for _, extent, size in places:
        symbol = told_symbol(extent)
        if symbol is not None and symbol.name not in sizes:
            sizes[symbol.name] = _within(symbol, size)
    for place, extent, size in places:
        needed = evaluate(extent, sizes)
        if needed != size:
            because = " and ".join(f"{name} = {sizes[name]}" for name in _names(extent))
            raise ValueError(f"{place} has {size} elements, but must have {extent} = {needed} ({because})")
    return sizes


def _names(extent: Extent) -> list[str]:
    return sorted(symbol.name for symbol in symbols_of(extent))
