"""onnxruntime's CPU provider with all graph optimisations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from .base import Arrays, Peer, Run


def session_of(path: Path, threads: int) -> Any:
    """`ORT_ENABLE_ALL`, intra-operator threads as asked, one inter-operator thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OnnxRuntime(Peer):
    """The session's `run`, as most programs call it."""

    name = "onnxruntime"

    def version(self) -> str:
        import onnxruntime

        return onnxruntime.__version__

    def load(self, path: Path, threads: int) -> Run:
        session = session_of(path, threads)
        names = [output.name for output in session.get_outputs()]
        call = session.run

        def run(inputs: Arrays) -> Arrays:
            return dict(zip(names, cast(list[Any], call(None, inputs)), strict=True))

        return run
