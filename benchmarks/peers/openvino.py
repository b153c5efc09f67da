"""OpenVINO's CPU plugin for one synchronous request at a time, computing in f32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from .base import Arrays, Peer, Run


class OpenVino(Peer):
    """Latency hint, threads as asked, inference precision f32; inputs are shared with the request, not copied."""

    name = "openvino"
    options: ClassVar[dict[str, str]] = {"INFERENCE_PRECISION_HINT": "f32"}

    def version(self) -> str:
        import openvino

        return openvino.__version__.partition("-")[0]

    def load(self, path: Path, threads: int) -> Run:
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, **self.options}
        compiled: Any = openvino.Core().compile_model(path, "CPU", settings)
        request = compiled.create_infer_request()
        names = [output.get_any_name() for output in compiled.outputs]
        bound: Arrays | None = None

        def run(inputs: Arrays) -> Arrays:
            nonlocal bound
            if inputs is not bound:
                for name, array in inputs.items():
                    request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
                bound = inputs
            request.infer()
            return {name: tensor.data for name, tensor in zip(names, request.output_tensors, strict=True)}

        return run
