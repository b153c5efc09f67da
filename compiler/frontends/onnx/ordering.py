"""The order in which nodes are converted.

In: the nodes of a graph, in any order. Out: the same nodes, each after those it reads from. The one idea: ONNX asks for
sorted nodes, some exporters do not deliver them, so the order is made here, and what has none is a problem by name.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

from penstock.compiler.errors import CYCLE, DUPLICATE_NAME, UNDEFINED_VALUE
from penstock.compiler.frontends.onnx.records import Graph, Node

Report = Callable[[str, Node, str], None]


def reads(node: Node) -> Iterator[str]:
    """Names of the values a node needs: its inputs, and what its subgraphs take from outside themselves."""
    yield from (name for name in node.inputs if name)
    for value in node.attributes.values():
        if isinstance(value, Graph):
            yield from _free_names(value)


def names_defined(graph: Graph) -> set[str]:
    """Names of a subgraph's own values, which hide those of the same name around it."""
    inner = {item.name for item in graph.inputs} | set(graph.initializers)
    return inner | {name for node in graph.nodes for name in node.outputs}


def _free_names(graph: Graph) -> Iterator[str]:
    inner = names_defined(graph)
    for node in graph.nodes:
        yield from (name for name in reads(node) if name not in inner)
    yield from (item.name for item in graph.outputs if item.name not in inner)


def in_order(
    nodes: Sequence[Node], known: Container[str], report: Report, own: Container[str] | None = None
) -> list[Node]:
    """``nodes`` sorted by their data, keeping the given order where it is free.

    ``known`` are the names defined outside; ``own`` those of them that the nodes must not define again (default: all;
    a subgraph may hide names around it). Reports names defined twice or nowhere, and cycles.
    """
    producer: dict[str, Node] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in producer:
                report(DUPLICATE_NAME, node, f"its output '{name}' is also defined by node '{producer[name].name}'")
            elif name in (known if own is None else own):
                report(DUPLICATE_NAME, node, f"its output '{name}' is also an input or initializer of the graph")
            producer.setdefault(name, node)
    opened: set[int] = set()
    closed: set[int] = set()
    order: list[Node] = []
    for root in nodes:
        stack = [] if id(root) in closed else [(root, iter(tuple(reads(root))))]
        opened.update(id(node) for node, _ in stack)
        while stack:
            node, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                opened.discard(id(node))
                closed.add(id(node))
                order.append(node)
                continue
            source = producer.get(name)
            if source is None:
                if name not in known and name in node.inputs:  # a subgraph's own conversion tells of its names
                    report(UNDEFINED_VALUE, node, f"its input '{name}' is defined nowhere")
            elif id(source) in opened:
                start = next(i for i, (other, _) in enumerate(stack) if other is source)
                ring = " -> ".join(f"'{other.name}'" for other, _ in (*stack[start:], stack[start]))
                report(CYCLE, source, f"it depends on itself: {_shortened(ring)}")
            elif id(source) not in closed:
                opened.add(id(source))
                stack.append((source, iter(tuple(reads(source)))))
    return order


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:120]} ... {text[-60:]}"
