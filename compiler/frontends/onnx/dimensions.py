"""The symbolic dimensions of a model's inputs: their names, and the extents that they stand for.

In: dimensions as the model declares them, and what the user says of some: a value or a range. Out: an extent for each.
The one idea: a name is a symbol; a name that reads as a formula of names which stand alone elsewhere, as exporters
write it, is that formula. A dimension without a name is called after its input and axis: ``x_0``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from penstock.compiler.errors import BAD_VALUE, UNKNOWN_OPTION, OptionError, nearest
from penstock.compiler.extents import MOST, Dim, Extent, floordiv, is_static, largest, smallest, surely, symbol
from penstock.compiler.frontends.onnx.records import Graph

Given: TypeAlias = "int | tuple[int, int]"
"""What a user says of a dimension: its value, or the least and the greatest it may have."""

LONGEST_NAME = 60
LONGEST_FORMULA = 200
MAX_TERMS = 16  # of a formula, and factors of each
RESERVED = ("max", "min", "floordiv")


class Dimensions:
    """The extents of a graph's symbolic dimensions. Raises OptionError if ``given`` says something of a dimension that
    the model does not have, or something no dimension can be."""

    def __init__(self, graph: Graph, given: Mapping[str, Given]) -> None:
        self._extents: dict[str, Extent] = {}
        self.order: dict[str, int] = {}
        """Symbols by name, in order of first appearance."""
        self.measured: dict[str, tuple[int, int]] = {}
        """Ranges given for sizes that nodes compute, by ``measured_name``."""
        texts: dict[str, bool] = {}  # every dimension's text: True if the model names it
        for value in graph.inputs:
            if value.name in graph.initializers:
                continue
            for axis, dim in enumerate(value.dims or ()):
                if not isinstance(dim, int):
                    texts.setdefault(dim_text(value.name, axis, dim), isinstance(dim, str))
        alone = {text for text in texts if _identifier(text)}
        formulas = [text for text, named in texts.items() if named and self._formula(text, alone) is not None]
        names = _names([*(text for text in texts if text not in formulas), *formulas])
        self._declare(
            {text: name for text, name in names.items() if text not in formulas}, dict(given), formulas, graph
        )
        for text in formulas:  # with the ranges given, one may be negative
            extent = self._formula(text, alone)
            self._extents[text] = symbol(names[text]) if extent is None else extent

    def _declare(self, names: Mapping[str, str], given: dict[str, Given], formulas: list[str], graph: Graph) -> None:
        """A symbol, or the number it is given, for each text of ``names``."""
        for text, name in names.items():
            said = {key: given.pop(key) for key in dict.fromkeys((text, name)) if key in given}
            low, high = (1, MOST) if not said else _range(*next(iter(said.items())))
            self._extents[text] = symbol(name, low, high)
            self.order.setdefault(name, len(self.order))
        for name in list(given):
            if _looks_measured(name, graph):
                self.measured[name] = _range(name, given.pop(name))
        for name in given:
            known = sorted(set(names.values()))
            has = f"it has {', '.join(known[:8])}" if known else "all its dimensions are fixed"
            if name in formulas:
                has = "it follows from others"
            raise OptionError(
                UNKNOWN_OPTION, f"the model has no symbolic dimension '{name}' ({has}){nearest(name, known)}"
            )

    def all_used(self, told: Collection[str]) -> None:
        """Raise OptionError if a range is given for a size that no node computes; ``told`` are those computed."""
        for name in self.measured.keys() - told:
            raise OptionError(UNKNOWN_OPTION, f"no node of the model computes a size '{name}'")

    def _formula(self, text: str, alone: set[str]) -> Extent | None:
        """The extent a text stands for that is a formula of texts in ``alone``; None if it is no such formula."""
        if text in alone or len(text) > LONGEST_FORMULA:
            return None
        try:
            tree = ast.parse(text.strip(), mode="eval")
            extent = _value(tree.body, lambda name: self._extents.get(name, symbol(name)) if name in alone else None)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        return extent if surely(extent, ">=", 0) else None

    def extent(self, text: str) -> Extent | None:
        """The extent of a dimension called ``text`` anywhere in the model, or of a formula; None if nothing is known of
        it."""
        if text in self._extents:
            return self._extents[text]
        return self._formula(text, {name for name in self._extents if _identifier(name)})

    def rewrite(self, change: Callable[[Extent], Extent]) -> None:
        """Replace extents by what ``change`` makes of them."""
        self._extents = {text: change(extent) for text, extent in self._extents.items()}


def dim_text(value: str, axis: int, dim: str | None) -> str:
    """How a dimension is called: as the model says, or after its input and axis."""
    return dim.strip() if dim and dim.strip() else f"{value}_{axis}"


def _identifier(text: str) -> bool:
    return text.isidentifier() and text.isascii() and len(text) <= LONGEST_NAME


def _names(texts: list[str]) -> dict[str, str]:
    """A symbol's name for each text: the text itself if it can be one, else its letters and digits; all different."""
    taken = {text for text in texts if _identifier(text) and text not in RESERVED}
    names = {text: text for text in texts if text in taken}
    for text in texts:
        if text in names:
            continue
        clean = _clean(text[:LONGEST_NAME])
        name, count = clean, 1
        while name in taken or name in RESERVED:
            count += 1
            name = f"{clean}_{count}"
        taken.add(name)
        names[text] = name
    return {text: names[text] for text in texts}


def _clean(text: str) -> str:
    """The letters and digits of a text, as a name."""
    clean = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_") or "dim"
    return clean if clean[0].isalpha() else f"d{clean}"


def measured_name(node: str, number: int = 1) -> str:
    """What users call the ``number``-th size that a node computes: after the node, by the end of its name."""
    clean = _clean(node[-LONGEST_NAME:])
    return clean if number == 1 and clean not in RESERVED else f"{clean}_{number}"


def _looks_measured(name: str, graph: Graph) -> bool:
    """True if ``name`` may be a size that a node of the graph computes."""
    stem = re.sub(r"_\d+$", "", name)
    nodes = [*graph.nodes]
    while nodes:
        node = nodes.pop()
        if measured_name(node.name) in (name, stem):
            return True
        nodes += [inner for value in node.attributes.values() if isinstance(value, Graph) for inner in value.nodes]
    return False


def _range(name: str, given: Given) -> tuple[int, int]:
    """(least, greatest). Raises OptionError."""
    low, high = given if isinstance(given, tuple) else (given, given)
    if not 0 <= low <= high <= MOST:
        said = f"{low}..{high}" if isinstance(given, tuple) else str(given)
        raise OptionError(BAD_VALUE, f"the dimension '{name}' cannot be {said}", f"It is between 0 and {MOST}.")
    return low, high


# Formulas ------------------------------------------------------------------------------------------------------------


def _value(node: ast.expr, extent_of: Callable[[str], Extent | None]) -> Extent:
    """The extent an expression as exporters (and sympy) print it stands for. Raises ValueError for any other."""
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool) and 0 <= number <= MOST:
            return number
        case ast.Name(id=name):
            found = extent_of(name)
            if found is not None:
                return found
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, extent_of)
        case ast.BinOp(left=left, op=op, right=right):
            return _small(_binary(op, _value(left, extent_of), _value(right, extent_of)))
        case ast.Call(func=ast.Name(id="floor"), args=[ast.BinOp(left=left, op=ast.Div(), right=right)], keywords=[]):
            return _binary(ast.FloorDiv(), _value(left, extent_of), _value(right, extent_of))
        case ast.Call(func=ast.Name(id="Max" | "max"), args=arguments, keywords=[]) if arguments:
            return largest(*(_value(each, extent_of) for each in arguments))
        case ast.Call(func=ast.Name(id="Min" | "min"), args=arguments, keywords=[]) if arguments:
            return smallest(*(_value(each, extent_of) for each in arguments))
        case _:
            pass
    raise ValueError("not a formula of extents")


def _binary(op: ast.operator, a: Extent, b: Extent) -> Extent:
    match op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.FloorDiv() if surely(b, ">=", 1):
            return floordiv(a, b)
        case ast.Mod() if surely(b, ">=", 1):
            return a % b
        case ast.Pow() if is_static((b,)) and 0 <= b <= 4:
            return _power(a, b)
        case _:
            raise ValueError("not a formula of extents")


def _power(a: Extent, exponent: int) -> Extent:
    result: Extent = 1
    for _ in range(exponent):
        result = _small(result * a)
    return result


def _small(extent: Extent) -> Extent:
    """``extent``, unless a text of a few letters makes a giant of it. Raises ValueError."""
    if isinstance(extent, Dim):
        giant = len(extent.terms) > MAX_TERMS or any(len(atoms) > MAX_TERMS for atoms, _ in extent.terms)
    else:
        giant = abs(extent) > MOST
    if giant:
        raise ValueError("not a formula of extents")
    return extent
