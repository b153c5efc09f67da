"""``penstock ops``: the operators that compile: ONNX's, and the graph dialect's that they become."""

from __future__ import annotations

from typing import Any

import click

from penstock.tools.options import json_option, several

EXAMPLES = """\b
Examples:
  penstock ops                 both lists
  penstock ops Conv            those with 'conv' in the name
  penstock ops --onnx --json   for scripts
"""


@click.command(name="ops", epilog=EXAMPLES)
@click.argument("word", required=False, default="")
@several(
    click.option("--onnx", "only_onnx", is_flag=True, help="Only ONNX operators."),
    click.option("--graph", "only_graph", is_flag=True, help="Only ops of the graph dialect."),
    json_option,
)
def command(word: str, only_onnx: bool, only_graph: bool, as_json: bool) -> int:
    """List supported operators: ONNX's, by the opset versions they changed in, and the graph dialect's."""
    listed: dict[str, Any] = {}
    if not only_graph:
        listed["onnx"] = {name: versions for name, versions in onnx_operators().items() if word.lower() in name.lower()}
    if not only_onnx:
        listed["graph"] = {name: doc for name, doc in graph_operators().items() if word.lower() in name}
    if as_json:
        import json

        click.echo(json.dumps(listed, indent=2))
        return 0
    if listed.get("onnx"):
        click.echo("ONNX operators (with the opset versions from which a form is supported):")
        for name, versions in listed["onnx"].items():
            click.echo(f"  {name:<28} {', '.join(map(str, versions))}")
    if listed.get("graph"):
        click.echo("Ops of the graph dialect:")
        for name, doc in listed["graph"].items():
            click.echo(f"  {name:<28} {doc}")
    if not any(listed.values()):
        from penstock.compiler.errors import UNKNOWN_OPTION, OptionError, nearest

        known = [*onnx_operators(), *graph_operators()]
        raise OptionError(UNKNOWN_OPTION, f"no operator is called anything with '{word}'{nearest(word, known)}")
    return 0


def onnx_operators() -> dict[str, list[int]]:
    """ONNX operators with a converter, and the opset versions each of its converters is for; alphabetically."""
    from penstock.compiler.frontends.onnx.converters import registry

    found = registry()
    return {name: sorted(entry.since for entry in found[name]) for name in sorted(found)}


def graph_operators() -> dict[str, str]:
    """Ops of the graph dialect with the first sentence of their documentation."""
    from penstock.compiler.dialects.graph import operations

    return {op.name: " ".join((op.__doc__ or "").split("\n\n")[0].split()) for op in operations()}
