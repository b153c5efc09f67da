"""IREE: llvm-cpu code for this machine at O3 with data tiling, from its own ONNX importer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .base import Arrays, Compiled, Peer, Run

FLAGS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
    "--iree-opt-data-tiling",
    "--iree-llvmcpu-stack-allocation-limit=262144",
)
"""Data tiling is off by default and faster on; BERT and ViT need more stack than the default 32 kB to compile."""

CHANNELS_LAST = (
    "--iree-preprocessing-pass-pipeline=builtin.module(util.func(iree-preprocessing-convert-conv-to-channels-last))"
)
"""For models with convolutions: up to twice as fast, never slower where it was measured."""

WORKER_STACK = 1 << 20


class Iree(Peer):
    """One thread runs in the caller (local-sync), several in a pool (local-task). Inputs are copied in once."""

    name = "iree"
    cached = True

    def version(self) -> str:
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"{version('iree-base-compiler')}"
        except PackageNotFoundError as error:
            raise ImportError(str(error)) from error

    def compile(self, model: Path, folder: Path, threads: int) -> Compiled:
        import onnx
        from iree.compiler.tools.core import compile_file

        graph = onnx.load(model).graph
        imported, module = folder / f"{model.stem}.mlir", folder / f"{model.stem}.vmfb"
        importer = [sys.executable, "-m", "iree.compiler.tools.import_onnx", str(model), "-o", str(imported)]
        done = subprocess.run(importer, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"import: {done.stderr.strip()[-300:]}")
        flags = [*FLAGS, CHANNELS_LAST] if any(node.op_type == "Conv" for node in graph.node) else [*FLAGS]
        compile_file(str(imported), output_file=str(module), optimize=False, extra_args=flags)
        imported.unlink()
        constants = {tensor.name for tensor in graph.initializer}
        names = {
            "inputs": [value.name for value in graph.input if value.name not in constants],
            "outputs": [value.name for value in graph.output],
        }
        module.with_suffix(".json").write_text(json.dumps(names))
        return Compiled(module, module.stat().st_size, None)

    def load(self, path: Path, threads: int) -> Run:
        from iree import runtime

        rt: Any = runtime
        names = json.loads(path.with_suffix(".json").read_text())
        rt.flags.parse_flags(f"--task_topology_group_count={threads}", f"--task_worker_stack_size={WORKER_STACK}")
        config = rt.Config("local-sync" if threads == 1 else "local-task")
        module = rt.VmModule.mmap(config.vm_instance, str(path))
        public = [name for name in module.function_names if not name.startswith("__") and not name.endswith("$async")]
        function = module.lookup_function(public[0])
        context = rt.VmContext(config.vm_instance, modules=[*config.default_vm_modules, module])
        device, count = config.device, len(names["outputs"])
        bound: Arrays | None = None
        arguments: Any = None

        def run(inputs: Arrays) -> Arrays:
            nonlocal bound, arguments
            if inputs is not bound:
                copies = [rt.asdevicearray(device, np.ascontiguousarray(inputs[name])) for name in names["inputs"]]
                arguments = rt.VmVariantList(len(copies))
                for copy in copies:
                    arguments.push_ref(copy._buffer_view)
                bound = inputs
            results = rt.VmVariantList(count)
            context.invoke(function, arguments, results)
            views = (results.get_as_object(index, rt.HalBufferView) for index in range(count))
            arrays = (rt.DeviceArray(device, view).to_host() for view in views)
            return dict(zip(names["outputs"], arrays, strict=True))

        return run
