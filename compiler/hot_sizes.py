"""Which sizes get plans of their own beside the plan for all sizes (``--specialize``).

In: for each size, by name, the values that matter. Out: the combinations to compile. The one idea: a plan for fixed
sizes is what the model compiles to if it says these numbers itself, so nothing here knows how one is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from penstock.compiler.errors import BAD_STATE, BAD_VALUE, UNKNOWN_OPTION, OptionError, nearest

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

MOST_PLANS = 64
"""Of an artifact, beside the general one; as in ``runtime/native/special.c``."""

Dims = Mapping[str, "int | tuple[int, int]"]


def combinations(specialize: Mapping[str, Sequence[int]]) -> list[dict[str, int]]:
    """Every combination of the values, each once, in the order given."""
    if not specialize:
        return []
    values = [tuple(dict.fromkeys(given)) for given in specialize.values()]
    return [dict(zip(specialize, chosen, strict=True)) for chosen in product(*values)]


def check_sizes(specialize: Mapping[str, Sequence[int]], dims: Dims, state: Sequence[str] = ()) -> None:
    """Raise OptionError for values that no size has, or that ``dims`` rules out, for too many combinations, and where
    sessions keep a ``state``."""
    if state and specialize:
        reason = "plans for fixed sizes do not share what a session keeps."
        raise OptionError(BAD_STATE, reason, "Leave out specialize or state.")
    for name, given in specialize.items():
        declared = dims.get(name, (0, (1 << 31) - 1))
        if not isinstance(declared, tuple):
            reason = f"the dimension {name} is {declared}, so there are no sizes to specialize it for."
            raise OptionError(BAD_VALUE, reason, f"Give --dim {name} a range, or leave it out.")
        listed = not isinstance(given, str | int) and len(given) > 0
        for value in given if listed else ():
            if isinstance(value, bool) or not isinstance(value, int) or not declared[0] <= value <= declared[1]:  # pyright: ignore[reportUnnecessaryIsInstance]
                reason = f"the dimension {name} cannot be {value}: it is {declared[0]} to {declared[1]}."
                raise OptionError(BAD_VALUE, reason, "Specialize for sizes that the model can have.")
        if not listed:
            raise OptionError(BAD_VALUE, f"specialize gives {name} no list of sizes.", "Write {'batch': [1, 8]}.")
    count = prod(len(set(given)) for given in specialize.values())
    if specialize and count > MOST_PLANS:
        reason = f"{count} combinations of sizes are more than the {MOST_PLANS} plans an artifact can hold."
        raise OptionError(BAD_VALUE, reason, "Specialize for the sizes that most runs have.")


def check_names(specialize: Mapping[str, Sequence[int]], module: ModuleOp) -> None:
    """Raise OptionError for a name that no size of the imported model has."""
    if not specialize:
        return
    from xdsl.dialects.func import FuncOp

    from penstock.compiler.specialise import input_symbols

    functions = [op for op in module.body.block.ops if isinstance(op, FuncOp)]
    known = [symbol.name for function in functions for symbol in input_symbols(function)]
    for name in specialize:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "its sizes are all numbers"
            reason = f"the model has no symbolic dimension '{name}' to specialize ({has}){nearest(name, known)}"
            raise OptionError(UNKNOWN_OPTION, reason)
