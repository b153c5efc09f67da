"""Values of the model that are to be fetched although they are no outputs of it.

In: names given by the user, and every node's results as they are made. Out: the values of those names. The one idea:
a name means what it means in errors and profiles: a node's own name, or a value's, with the path of what encloses it.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from penstock.compiler.errors import BAD_VALUE, UNKNOWN_OPTION, OptionError, nearest
from penstock.compiler.frontends.onnx.records import Node
from penstock.compiler.frontends.onnx.values import Item, kind_of


class Kept:
    """The values called ``names``, as far as they have been made."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._known: set[str] = set()
        self._nodes: dict[str, list[str]] = {}  # the values of a node by their full names
        self._values: dict[str, list[Item | None]] = {}

    def note(self, path: Sequence[str], node: Node, results: Sequence[Item | None]) -> None:
        """Take notice of a node's results; ``path`` are the names of the nodes around it."""
        if not self.names:
            return
        title = "/".join((*path, node.name))
        made = {"/".join((*path, name)): value for name, value in zip(node.outputs, results, strict=True) if name}
        self._known |= {title, *made}
        if title in self.names:
            self._nodes[title] = list(made)
        for name, value in made.items():
            if name in self.names or title in self.names:
                self._values.setdefault(name, []).append(value)

    def results(self, outputs: Sequence[str]) -> dict[str, SSAValue]:
        """The kept values by the names they are fetched by, which outputs have already where they are ``outputs``.

        A node of one result gives it its own name, one of several gives each the value's. Raises OptionError.
        """
        unknown = [name for name in self.names if name not in self._known and name not in outputs]
        if unknown:
            told = ", ".join(f"'{name}'{nearest(name, self._known)}" for name in unknown)
            raise OptionError(UNKNOWN_OPTION, f"the model has no node or value to keep called {told}.")
        found: dict[str, SSAValue] = {}
        for name in self.names:
            values = [name] if name in self._values else self._nodes.get(name, [])
            for value in values:
                called = name if len(values) == 1 else value
                if called not in outputs:
                    found[called] = self._one(value, called)
        return found

    def _one(self, name: str, called: str) -> SSAValue:
        """The one tensor of a name."""
        items = self._values[name]
        first = items[0]
        if len({id(item) for item in items}) > 1:
            reason = f"'{called}' is computed {len(items)} times, in every round of a loop, and cannot be kept"
            raise OptionError(BAD_VALUE, reason + ".", "Make it a scan output of the loop.")
        if not isinstance(first, SSAValue):
            reason = "not compiled" if first is None else f"a {kind_of(first)}"
            raise OptionError(BAD_VALUE, f"'{called}' is {reason} and cannot be kept.")
        return first
