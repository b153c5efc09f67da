"""The outputs of a benchmark model in f64, which every engine's error refers to.

In: an ONNX file of `make_models.py` with its inputs (.npz). Out: `<name>.reference.npz` beside it, kept until the model
or its inputs change. The one idea: the oracle is torch running the network itself in f64, so it shares neither code nor
rounding with any engine, ours included. It needs a process of its own: importing torch changes no measurement then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


def reference_of(model: Path, inputs: Path) -> tuple[Path | None, str]:
    """The file of f64 outputs, made if need be; or None and why there is none."""
    path = model.with_suffix(".reference.npz")
    if path.exists() and path.stat().st_mtime >= max(model.stat().st_mtime, inputs.stat().st_mtime):
        return path, ""
    command = [sys.executable, str(Path(__file__)), str(model), str(inputs), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return None, last[0]
    return path, ""


def compute(model: Path, inputs: Path) -> dict[str, Any]:
    """Every output, floating point ones in f64, in the model's order."""
    import torch
    from networks import network_of

    example = network_of(model)
    module = example.module.double()
    with np.load(inputs) as stored:
        arrays = [torch.from_numpy(stored[name]) for name in example.inputs]
    wide = [array.double() if array.is_floating_point() else array for array in arrays]
    with torch.inference_mode():
        results = module(*wide)
    if isinstance(results, torch.Tensor):
        results = (results,)
    return {name: result.numpy() for name, result in zip(example.outputs, results, strict=True)}


def main() -> None:
    """Write the file in one step."""
    model, inputs, path = (Path(argument) for argument in sys.argv[1:])
    outputs = compute(model, inputs)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **outputs)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
