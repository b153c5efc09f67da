"""``penstock run``: run a model on arrays from files, or on random ones, and compare with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from penstock.tools.options import json_option, plugin_option, several, target_options

if TYPE_CHECKING:
    from penstock.tools.models import Arrays

EXAMPLES = """\b
Examples:
  penstock run model.pens --random                 random inputs; shows the outputs
  penstock run model.pens -i x=x.npy -o out.npz    inputs and outputs in files
  penstock run model.pens -i inputs.npz --threads 2
  penstock run model.onnx --random 7 --check-against onnxruntime
  penstock run model.pens --random --dim batch=4   a size that is chosen at run time
  penstock run model.pens --random --fetch mask    one output, and only what it needs
"""


@click.command(name="run", epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@several(
    click.option(
        "-i", "--input", "inputs", multiple=True, metavar="[NAME=]FILE", help="A .npy or .npz file of inputs."
    ),
    click.option(
        "--random", "seed", is_flag=False, flag_value=0, type=int, metavar="[SEED]", help="Random values for the rest."
    ),
    click.option(
        "-o", "--output", type=click.Path(dir_okay=False), help="Write the outputs: .npz, or .npy if only one."
    ),
    click.option("--fetch", multiple=True, metavar="NAME", help="Compute only this output; may be repeated."),
    click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads to run with."),
    click.option(
        "--repeat", type=click.IntRange(1), default=1, show_default=True, help="Run so often; report the best."
    ),
    click.option(
        "--check-against", type=click.Choice(["onnxruntime"]), help="Compare the outputs; exit status 1 if they differ."
    ),
    click.option(
        "--model", "reference", metavar="FILE", help="The ONNX file to compare with, when MODEL is an artifact."
    ),
    click.option(
        "--tolerance", type=float, default=1e-4, show_default=True, help="Largest error, of the output's range."
    ),
    click.option("--verify", is_flag=True, help="Also check the artifact's weights when it is loaded."),
    target_options,
    plugin_option,
    json_option,
)
def command(model: str, **given: Any) -> int:
    """Run MODEL, an artifact or an .onnx file (compiled on the spot), and show its outputs."""
    import time

    from penstock.tools.models import begin, load_model, nothing_kept, onnxruntime_session, read_inputs, reference_path

    if given["output"]:
        from penstock.tools.commands.compile import check_writable

        check_writable(Path(given["output"]))
    reference = reference_path(model, given["reference"]) if given["check_against"] else None
    loaded = load_model(model, target_of(given), given["dims"], verify=given["verify"], plugins=given["plugins"])
    session = loaded.session(threads=given["threads"])
    fetch = list(dict.fromkeys(given["fetch"])) or None
    needed = None if fetch is None or reference is not None else session.needed_inputs(fetch)
    arrays = read_inputs(loaded, given["inputs"], given["seed"], given["dims"], needed)
    best = float("inf")
    outputs: Arrays = {}
    for _ in range(given["repeat"]):
        begin(session)
        started = time.perf_counter()
        outputs = session.run(arrays, fetch)
        best = min(best, time.perf_counter() - started)
    if given["output"]:
        write_outputs(Path(given["output"]), outputs)
    rows = [_describe(name, array) for name, array in outputs.items()]
    agrees = True
    if reference is not None:
        names = list(outputs)
        expected = onnxruntime_session(reference, given["threads"]).run(names, arrays | nothing_kept(loaded))
        for row, wanted in zip(rows, expected, strict=True):
            row |= compare(outputs[str(row["name"])], wanted, given["tolerance"])
        agrees = all(row["agrees"] for row in rows)
    if given["as_json"]:
        import json

        click.echo(json.dumps({"seconds": best, "isa": loaded.isa, "outputs": rows, "agrees": agrees}, indent=2))
    else:
        _show(rows, best, given["repeat"], loaded.isa)
    if not loaded.manifest.get("computes", True):
        click.echo(
            f"note: the kernels of target '{loaded.manifest['target']}' do nothing; these are no results", err=True
        )
    return 0 if agrees else 1


def target_of(given: dict[str, Any]) -> str:
    """The target string that the options --target and --isa ask for together."""
    target: str = given["target"]
    levels = ",".join(given["isa"])
    return f"{target}{',' if ':' in target else ':'}{levels}" if levels else target


def compare(array: Any, expected: Any, tolerance: float) -> dict[str, object]:
    """How far ``array`` is from ``expected``: ``error`` (greatest absolute one), ``range`` of what was expected, and
    whether it ``agrees``: no error above ``tolerance`` times the range, NaN and infinity in the same places."""
    import numpy as np

    if array.shape != expected.shape or array.dtype != expected.dtype:
        return {"error": float("inf"), "range": 0.0, "agrees": False}
    if array.size == 0:
        return {"error": 0.0, "range": 0.0, "agrees": True}
    if array.dtype.kind != "f":
        difference = np.abs(array.astype(np.float64) - expected.astype(np.float64)).max()
        return {"error": float(difference), "range": 0.0, "agrees": bool((array == expected).all())}
    a, b = array.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(b)
    same = np.array_equal(np.isfinite(a), finite) and np.array_equal(a[~finite], b[~finite], equal_nan=True)
    error = float(np.abs(a[finite] - b[finite]).max()) if same and finite.any() else 0.0 if same else float("inf")
    spread = float(np.ptp(b[finite])) if finite.any() else 0.0
    scale = spread or float(np.abs(b[finite]).max(initial=0.0)) or 1.0
    return {"error": error, "range": spread, "agrees": same and error <= tolerance * scale}


def write_outputs(path: Path, outputs: Arrays) -> None:
    """Write the outputs whole or not at all: ``.npy`` for a single one, else ``.npz``. Raises OptionError."""
    import io

    import numpy as np

    from penstock.compiler.dumps import write_whole
    from penstock.compiler.errors import BAD_VALUE, CANNOT_WRITE_OUTPUT, OptionError

    buffer = io.BytesIO()
    if path.suffix == ".npy":
        if len(outputs) != 1:
            raise OptionError(BAD_VALUE, f"{path} holds one array, but there are {len(outputs)} outputs.", "Use .npz.")
        np.save(buffer, next(iter(outputs.values())))
    else:
        arrays: dict[str, Any] = {name.replace("/", "_"): array for name, array in outputs.items()}
        np.savez(buffer, **arrays)
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise OptionError(CANNOT_WRITE_OUTPUT, f"{path} cannot be written: {error.strerror or error}.") from error


def _describe(name: str, array: Any) -> dict[str, object]:
    import numpy as np

    row: dict[str, object] = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
    if array.size and array.dtype.kind in "fiub":
        wide = array.astype(np.float64)
        with np.errstate(all="ignore"):
            row |= {"min": float(wide.min()), "mean": float(wide.mean()), "max": float(wide.max())}
    return row


def _show(rows: list[dict[str, object]], seconds: float, repeat: int, isa: str) -> None:
    from penstock.tools.tables import seconds_text, table_lines

    lines: list[list[str]] = []
    for row in rows:
        shape = cast("list[int]", row["shape"])
        cells = [str(row["name"]), "x".join([*map(str, shape), str(row["dtype"])])]
        cells += [f"{row[key]:.6g}" if key in row else "" for key in ("min", "mean", "max")]
        error, spread = row.get("error"), row.get("range")
        cells.append(f"{error:.3g}" if isinstance(error, float) else "")
        cells.append(
            f"{error / spread:.1e}" if isinstance(error, float) and isinstance(spread, float) and spread else ""
        )
        cells.append({None: "", True: "ok", False: "DIFFERS"}[row.get("agrees")])  # pyright: ignore[reportArgumentType]
        lines.append(cells)
    compared = any(line[-1] for line in lines)
    header = ("output", "type", "min", "mean", "max", *(("error", "of range", "") if compared else ("", "", "")))
    for line in table_lines(header, lines, words=(0, 1, 7)):
        click.echo(line)
    click.echo(f"{seconds_text(seconds)} {'(best of ' + str(repeat) + ') ' if repeat > 1 else ''}with {isa}")
