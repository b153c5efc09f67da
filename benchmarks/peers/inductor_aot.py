"""AOTInductor: the same compiler ahead of time, into a package with the weights that torch loads without tracing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .base import Compiled, Run
from .inductor import Inductor, caller, prepare


class InductorAot(Inductor):
    """`torch.export`, `aoti_compile_and_package` with freezing, `aoti_load_package`."""

    name = "inductor-aot"

    def compile(self, model: Path, folder: Path, threads: int) -> Compiled:
        from networks import network_of

        torch = prepare(threads)
        example = network_of(model)
        path = folder / f"{model.stem}.pt2"
        with torch.no_grad():
            program = torch.export.export(example.module, tuple(example.inputs.values()))
            inductor: Any = torch._inductor
            inductor.aoti_compile_and_package(program, package_path=str(path))
        names = {"inputs": list(example.inputs), "outputs": example.outputs}
        path.with_suffix(".json").write_text(json.dumps(names))
        return Compiled(path, path.stat().st_size, None)

    def load(self, path: Path, threads: int) -> Run:
        torch = prepare(threads)
        names = json.loads(path.with_suffix(".json").read_text())
        package = torch._inductor.aoti_load_package(str(path))
        return caller(torch, package, names["inputs"], tuple(names["outputs"]))
