"""``penstock info``: what is in an artifact or a model: inputs, outputs, sizes, targets, kernels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from penstock.tools.options import json_option

EXAMPLES = """\b
Examples:
  penstock info model.pens
  penstock info model.onnx
  penstock info model.pens --json | jq .inputs
"""

UNBOUNDED = 2**31 - 1
"""The greatest value of a size without a declared range (``compiler.extents.MOST``)."""


@click.command(name="info", epilog=EXAMPLES)
@click.argument("file", metavar="FILE")
@json_option
def command(file: str, as_json: bool) -> int:
    """Describe FILE, an artifact or an .onnx model."""
    facts = model_facts(file) if Path(file).suffix in (".onnx", ".onnxtxt") else artifact_facts(file)
    if as_json:
        import json

        click.echo(json.dumps(facts, indent=2))
    else:
        show(facts)
    return 0


def artifact_facts(path: str) -> dict[str, Any]:
    """What an artifact says of itself, with the sizes of its members. Raises RuntimeFailure."""
    import zipfile

    from penstock.runtime import load

    with load(path) as model:
        manifest = dict(model.manifest)
        chosen = model.isa
    with zipfile.ZipFile(path) as archive:
        members = {item.filename: item.file_size for item in archive.infolist()}
    return (
        {"file": path, "kind": "artifact", "bytes": Path(path).stat().st_size, "chosen": chosen}
        | manifest
        | {"members": members}
    )


def model_facts(path: str) -> dict[str, Any]:
    """What an ONNX model holds. Raises ModelError if it cannot be read."""
    from penstock.compiler.frontends.onnx.dimensions import dim_text
    from penstock.compiler.frontends.onnx.reader import read_model
    from penstock.compiler.frontends.onnx.records import TYPE_NAMES

    model = read_model(path)
    graph = model.graph

    def describe(value: Any) -> dict[str, Any]:
        dims: list[Any] = list(value.dims or ())
        named = [dim if isinstance(dim, int) else dim_text(value.name, axis, dim) for axis, dim in enumerate(dims)]
        shape = None if value.dims is None else named
        return {"name": value.name, "dtype": TYPE_NAMES.get(value.type_code, value.kind), "shape": shape}

    inputs = [describe(value) for value in graph.inputs if value.name not in graph.initializers]
    counts = Counter(node.op for node in graph.nodes)
    return {
        "file": path,
        "kind": "model",
        "bytes": Path(path).stat().st_size,
        "name": graph.name,
        "opsets": dict(model.opsets),
        "inputs": inputs,
        "outputs": [describe(value) for value in graph.outputs],
        "nodes": sum(counts.values()),
        "operators": dict(counts.most_common()),
        "weights": len(graph.initializers),
        "problems": [problem.as_dict() for problem in model.problems],
    }


def _shape(shape: list[int | str] | None) -> str:
    if shape is None:
        return "?"
    return ("x" if all(isinstance(extent, int) for extent in shape) else ", ").join(map(str, shape))


def show(facts: dict[str, Any]) -> None:
    """Print what ``artifact_facts`` or ``model_facts`` found."""
    from penstock.tools.commands.compile import compressed_text, kept_text, special_text
    from penstock.tools.tables import bytes_text, size_text

    click.echo(f"{facts['file']}: {facts['kind']}, {bytes_text(facts['bytes'])}")
    for kind in ("inputs", "outputs"):
        for item in facts.get(kind, ()):
            click.echo(f"  {kind[:-1]:<8} {item['name']}: {item['dtype']}[{_shape(item['shape'])}]")
    if facts["kind"] == "model":
        opsets = ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in facts["opsets"].items())
        click.echo(f"  opsets   {opsets}")
        click.echo(f"  weights  {facts['weights']} initializers")
        click.echo(f"  nodes    {facts['nodes']}: " + ", ".join(f"{n} {op}" for op, n in facts["operators"].items()))
        for problem in facts["problems"]:
            click.echo(f"  problem  {problem['reason']} [{problem['code']}]")
        return
    for symbol in facts.get("symbols", ()):
        top = "or more" if symbol["high"] >= UNBOUNDED else f"to {symbol['high']}"
        told = "counted by the run" if symbol["name"] in facts.get("counted", ()) else "chosen at run time"
        click.echo(f"  size     {symbol['name']}: {symbol['low']} {top}, {told}")
    click.echo(f"  made by  penstock {facts.get('penstock', '?')} from {facts.get('model', '?')}")
    click.echo(f"  targets  {', '.join(facts.get('targets', ()))} (here: {facts['chosen']})")
    if "commands" in facts:
        click.echo(f"  kernels  {len(facts.get('kernels', ()))}, launched {facts['commands']} times per run")
    if "memory" in facts:
        memory = facts["memory"]
        weights, arena = bytes_text(memory["weights"]), size_text(memory["arena"], "at most ")
        scratch = size_text(memory["scratch_per_thread"].get(facts["chosen"], 0))
        click.echo(f"  memory   {weights} of weights, shared; {arena} per session, {scratch} per thread")
    if "kept" in facts:
        click.echo(f"  kept     {kept_text(facts['kept'])}")
    if "narrow_weights" in facts:
        narrow = facts["narrow_weights"]
        stored = f"{narrow['count']} weights ({bytes_text(narrow['bytes'])}) are stored as bf16"
        click.echo(f"  rounds   {facts.get('precision', '?')}: {stored}")
    if "compressed_weights" in facts:
        click.echo(f"  compress {compressed_text(facts['compressed_weights'])}")
    if "tuned" in facts:
        tuned = facts["tuned"]
        count = len(tuned["choices"])
        click.echo(f"  tuned    {count} {'choice' if count == 1 else 'choices'}, measured on {tuned['processor']}")
    for special in facts.get("specialized", ()):
        click.echo(f"  plan     for {special_text(special)}")
    for name, size in facts["members"].items():
        click.echo(f"  member   {name}: {bytes_text(size)}")
