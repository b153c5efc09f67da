"""Write the benchmark models as ONNX files with sample inputs; with --tiny also onnxruntime's outputs, as test data.

In: names of models (default: all). Out, per model: `<name>.onnx`, `<name>.npz` (inputs) and, with --tiny,
`<name>.expected.npz` (onnxruntime's outputs). Every file is a function of the seeds in `models/` and of the versions of
torch and transformers.

    python benchmarks/make_models.py mlp_b1 resnet50        # into benchmarks/build
    python benchmarks/make_models.py --tiny --out tests/data/models
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

TINY_LIMIT = 300_000
"""Bytes a tiny model file may have: they are committed."""


def record_outputs(path: Path) -> float:
    """Run the model in onnxruntime on its sample inputs, write `<name>.expected.npz`, return the largest magnitude."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with np.load(path.with_suffix(".npz")) as inputs:
        arrays = session.run(None, dict(inputs))
    names = [output.name for output in session.get_outputs()]
    outputs: dict[str, Any] = {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}
    np.savez_compressed(path.with_suffix(".expected.npz"), **outputs)
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path.name}: output {name} is not finite")
    return max(float(np.abs(array).max()) for array in outputs.values())


def describe(path: Path) -> str:
    """One line: nodes, operator kinds, parameters, file size."""
    import onnx

    graph = onnx.load(path).graph
    kinds = {node.op_type for node in graph.node}
    parameters = 0
    for tensor in graph.initializer:
        size = 1
        for dim in tensor.dims:
            size *= dim
        parameters += size
    megabytes = path.stat().st_size / 1e6
    return f"{len(graph.node)} nodes of {len(kinds)} kinds, {parameters / 1e6:.2f} M parameters, {megabytes:.2f} MB"


def make_one(name: str, folder: Path, tiny: bool, dynamic: bool) -> None:
    """Make one model and print a line about it."""
    from models import all_models, make

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    path = make(all_models()[name], folder, tiny, dynamic)
    line = f"{name}: {describe(path)}"
    if tiny and not dynamic:
        if path.stat().st_size > TINY_LIMIT:
            raise ValueError(f"{path.name} has {path.stat().st_size} bytes; the limit is {TINY_LIMIT}")
        line += f", outputs up to {record_outputs(path):.3g}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{line}  ({time.perf_counter() - start:.1f} s, peak {peak:.0f} MB)", flush=True)


def main() -> int:
    """Make each model in a process of its own, one after the other: exporting a large one needs gigabytes."""
    from models import all_models

    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models to make (default: all)")
    parser.add_argument("--out", type=Path, default=here / "build", help="folder to write to (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="the small test versions, with onnxruntime's outputs")
    parser.add_argument("--dynamic", action="store_true", help="with symbolic dimensions, as <name>.dynamic.onnx")
    parser.add_argument("--list", action="store_true", help="list the models and stop")
    arguments = parser.parse_args()
    known = all_models()
    if arguments.list:
        for model in known.values():
            print(f"{model.name:14} {model.summary}")
        return 0
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(known)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    for name in arguments.names or known:
        child = os.fork()
        if child == 0:
            make_one(name, arguments.out, arguments.tiny, arguments.dynamic)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
