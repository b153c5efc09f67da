"""torch.compile: inductor with freezing, on the torch network that the ONNX file was made from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .base import Arrays, Compiled, Peer, Run


def prepare(threads: int) -> Any:
    """torch with so many threads and inductor's settings."""
    import torch
    from torch._inductor import config

    settings: Any = config
    torch.set_num_threads(threads)
    settings.freezing = True
    settings.cpp.threads = threads
    return torch


def caller(torch: Any, module: Any, names: list[str], outputs: tuple[str, ...]) -> Run:
    """A function on arrays by name from one on tensors in order."""

    def run(inputs: Arrays) -> Arrays:
        with torch.no_grad():
            results = module(*[torch.from_numpy(inputs[name]) for name in names])
        if isinstance(results, torch.Tensor):
            results = (results,)
        return {name: result.numpy() for name, result in zip(outputs, results, strict=True)}

    return run


class Inductor(Peer):
    """Compilation happens at the first call, which is part of loading; its results lie in the folder of `compile`."""

    name = "inductor"
    cached = True
    per_thread_count = True

    def version(self) -> str:
        import torch

        return torch.__version__

    def compile(self, model: Path, folder: Path, threads: int) -> Compiled:
        path = folder / "network.json"
        path.write_text(json.dumps({"model": str(model.resolve())}))
        self.load(path, threads)
        return Compiled(path, None, None)

    def load(self, path: Path, threads: int) -> Run:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(path.parent.resolve() / "cache")
        from networks import network_of

        torch = prepare(threads)
        example = network_of(Path(json.loads(path.read_text())["model"]))
        run = caller(torch, torch.compile(example.module), list(example.inputs), example.outputs)
        run({name: tensor.numpy() for name, tensor in example.inputs.items()})
        return run
