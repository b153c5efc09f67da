"""Compile an export, run it, and hold the results against onnxruntime's.

In: an ONNX file and inputs, at two sizes where these are symbolic. Out: an `Outcome`: how it ended, with the error as a
part of the range of the output's values, or the compiler's own words.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """`status`: pass, wrong, refused, internal, crash, timeout, not exported, or no reference; `error` of a run."""

    status: str
    detail: str = ""
    error: float | None = None
    seconds: float | None = None
    operators: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(path: Path, inputs_paths: Sequence[Path], target: str, tolerance: float) -> dict[str, Any]:
    """Compile `path` once and run it on every file of inputs; an `Outcome` as a dict."""
    import penstock
    from penstock.compiler.errors import InternalError, ModelError

    runs = [load_inputs(path, inputs_path) for inputs_path in inputs_paths]
    try:
        expected = [reference(path, inputs) for inputs in runs]
    except Exception as error:
        return Outcome("no reference", f"onnxruntime: {error}").as_dict()
    start = time.perf_counter()
    try:
        artifact = penstock.compile(path, target=target)
        seconds = round(time.perf_counter() - start, 2)
        session = artifact.load().session(threads=1)
        results = [session.run(inputs) for inputs in runs]
    except ModelError as error:
        reasons = [f"{problem.code} {problem.node} ({problem.op}): {problem.reason}" for problem in error.problems]
        operators = tuple(sorted({problem.op for problem in error.problems}))
        return Outcome("refused", " | ".join(reasons[:4]), operators=operators).as_dict()
    except InternalError as error:
        return Outcome("internal", str(error)).as_dict()
    except penstock.PenstockError as error:
        return Outcome("refused", str(error)).as_dict()
    worst = 0.0
    pairs = zip(results, expected, strict=True)
    for name, got, wanted in ((name, made[name], want[name]) for made, want in pairs for name in want):
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            what = f"{name} is {got.dtype}{list(got.shape)}, not {wanted.dtype}{list(wanted.shape)}"
            return Outcome("wrong", what, seconds=seconds).as_dict()
        worst = max(worst, difference(got, wanted))
    status = "pass" if worst <= tolerance else "wrong"
    return Outcome(status, "" if status == "pass" else f"error {worst:.2g}", worst, seconds).as_dict()


def load_inputs(path: Path, inputs_path: Path) -> dict[str, Any]:
    """The arrays in a file that the model takes, by name."""
    import numpy as np
    import onnx

    names = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
    with np.load(inputs_path) as stored:
        return {name: stored[name] for name in names}


def reference(path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """onnxruntime's outputs by name, on one thread and without its graph optimisations.

    With them its own results are off by up to 3e-3 of the range (bit's instance norms), as float64 shows.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def difference(got: Any, wanted: Any) -> float:
    """The largest absolute error as a part of the range of `wanted`; infinite where one is finite and one is not."""
    import numpy as np

    if wanted.size == 0:
        return 0.0
    if wanted.dtype.kind in "biu":
        return 0.0 if np.array_equal(got, wanted) else float("inf")
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(got)) or not np.array_equal(
        got[~finite], wanted[~finite], equal_nan=True
    ):
        return float("inf")
    if not finite.any():
        return 0.0
    values = wanted[finite].astype(np.float64)
    span = float(values.max() - values.min()) or float(np.abs(values).max()) or 1.0
    return float(np.abs(got[finite].astype(np.float64) - values).max()) / span
