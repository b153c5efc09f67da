"""Write tiny models with symbolic dimensions, exported by torch in both of its ways, as test data.

In: the families of `models/`. Out, per model: `<name>.onnx`, and for each of two sizes `<name>.<i>.npz` (inputs) and
`<name>.<i>.expected.npz` (onnxruntime's outputs). `_dynamo` models come from torch.export's graph, `_script` models
from TorchScript's tracer, whose shape arithmetic stays in the graph.

    python benchmarks/make_dynamic_models.py --out tests/data/dynamic
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 300_000
"""Bytes a model file may have: they are committed."""

Sizes = dict[str, int]


@dataclass(frozen=True)
class DynamicModel:
    """`inputs(random, sizes)` gives arrays by name; `axes` names the symbolic dimensions of each input by axis; the
    network is exported at the first of `sizes` and recorded at all."""

    name: str
    network: Callable[[], Any]
    axes: dict[str, dict[int, str]]
    inputs: Callable[[Any, Sizes], dict[str, Any]]
    outputs: tuple[str, ...]
    sizes: tuple[Sizes, Sizes]


def tokens(random: Any, sizes: Sizes) -> dict[str, Any]:
    """input_ids, attention_mask and token_type_ids, with padding at the ends of rows."""
    import numpy as np

    shape = (sizes["batch"], sizes["seq"])
    mask = (np.arange(shape[1]) < shape[1] - np.arange(shape[0])[:, None] % 3).astype(np.int64)
    types = np.broadcast_to(np.arange(shape[1]) >= shape[1] // 2, shape).astype(np.int64)
    return {"input_ids": random.integers(3, 50, shape) * mask, "attention_mask": mask, "token_type_ids": types}


def continued(random: Any, sizes: Sizes, layers: int = 2, heads: int = 3, width: int = 8) -> dict[str, Any]:
    """input_ids and the keys and values before them."""
    import numpy as np

    made: dict[str, Any] = {"input_ids": random.integers(0, 61, (sizes["batch"], sizes["seq"]))}
    for layer in range(layers):
        for part in ("key", "value"):
            shape = (sizes["batch"], heads, sizes["past"], width)
            made[f"past.{layer}.{part}"] = random.standard_normal(shape).astype(np.float32)
    return made


def image(channels: int, **others: Any) -> Callable[[Any, Sizes], dict[str, Any]]:
    """x: a picture of the sizes h and w, where given."""

    def made(random: Any, sizes: Sizes) -> dict[str, Any]:
        import numpy as np

        shape = (sizes["batch"], channels, sizes.get("h", 32), sizes.get("w", 32))
        arrays = {"x": random.standard_normal(shape).astype(np.float32)}
        return arrays | {name: make(sizes) for name, make in others.items()}

    return made


def models() -> list[DynamicModel]:
    """All of them."""
    import numpy as np
    from models import bert, gpt2, lstm, resnet, unet, vit

    token_axes = {name: {0: "batch", 1: "seq"} for name in ("input_ids", "attention_mask", "token_type_ids")}
    past = [f"past.{layer}.{part}" for layer in range(2) for part in ("key", "value")]
    present = tuple(f"present.{layer}.{part}" for layer in range(2) for part in ("key", "value"))
    picture = {"x": {0: "batch", 2: "h", 3: "w"}}

    def time(sizes: Sizes) -> Any:
        return np.linspace(3, 40, sizes["batch"], dtype=np.float32)

    def sequence(random: Any, sizes: Sizes) -> dict[str, Any]:
        shape = tuple(lstm_input.shape)
        return {lstm_name: random.standard_normal((sizes["batch"], sizes["seq"], shape[2])).astype(np.float32)}

    ((lstm_name, lstm_input),) = lstm.MODELS[0].build(True).inputs.items()
    return [
        DynamicModel(
            "bert",
            lambda: bert.minilm(1, True).module,
            token_axes,
            tokens,
            ("last_hidden_state", "sentence_embedding"),
            ({"batch": 3, "seq": 13}, {"batch": 2, "seq": 9}),
        ),
        DynamicModel(
            "gpt2",
            lambda: gpt2.build(True, True).module,
            {"input_ids": {0: "batch", 1: "seq"}, **{name: {0: "batch", 2: "past"} for name in past}},
            continued,
            ("logits", *present),
            ({"batch": 2, "seq": 3, "past": 7}, {"batch": 3, "seq": 5, "past": 4}),
        ),
        DynamicModel(
            "vit",
            lambda: vit.build(True).module,
            {"x": {0: "batch"}},
            image(3),
            ("logits",),
            ({"batch": 2}, {"batch": 3}),
        ),
        DynamicModel(
            "resnet",
            lambda: resnet.build(True).module,
            picture,
            image(3),
            ("logits",),
            ({"batch": 2, "h": 48, "w": 40}, {"batch": 3, "h": 37, "w": 65}),
        ),
        DynamicModel(
            "unet",
            lambda: unet.build(True).module,
            {"x": {0: "batch", 2: "h", 3: "w"}, "t": {0: "batch"}},
            image(4, t=time),
            ("noise",),
            ({"batch": 2, "h": 12, "w": 20}, {"batch": 3, "h": 16, "w": 8}),
        ),
        DynamicModel(
            "lstm",
            lambda: lstm.MODELS[0].build(True).module,
            {lstm_name: {0: "batch", 1: "seq"}},
            sequence,
            lstm.MODELS[0].build(True).outputs,
            ({"batch": 2, "seq": 7}, {"batch": 3, "seq": 4}),
        ),
    ]


def exported(model: DynamicModel, script: bool) -> Any:
    """The ONNX model."""
    import numpy as np
    import onnx
    import torch
    from models.base import OPSET, clean

    module = model.network().eval()
    arrays = model.inputs(np.random.default_rng(1), model.sizes[0])
    arguments = tuple(map(torch.from_numpy, arrays.values()))
    options: dict[str, Any] = {"input_names": list(arrays), "output_names": list(model.outputs), "opset_version": OPSET}
    if script:
        buffer = io.BytesIO()
        torch.onnx.export(module, arguments, buffer, dynamo=False, dynamic_axes=model.axes, **options)
        return clean(onnx.load_from_string(buffer.getvalue()), model.name)
    dims = {name: torch.export.Dim(name, min=2, max=512) for name in model.sizes[0]}
    shapes = [{axis: dims[name] for axis, name in model.axes.get(item, {}).items()} for item in arrays]
    if len(arrays) > 3:  # the module takes *past
        dynamic: Any = (shapes[0], tuple(shapes[1:]))
    else:
        dynamic = tuple(shapes)
    program = torch.onnx.export(
        module, arguments, dynamo=True, dynamic_shapes=dynamic, external_data=False, verbose=False, **options
    )
    assert program is not None
    return clean(program.model_proto, model.name)


def make_one(model: DynamicModel, script: bool, folder: Path) -> None:
    """Export one model, and record inputs and outputs at each of its sizes."""
    import numpy as np
    import onnx
    import onnxruntime

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    name = f"{model.name}_{'script' if script else 'dynamo'}"
    path = folder / f"{name}.onnx"
    onnx.save(exported(model, script), path)
    if path.stat().st_size > LIMIT:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes; the limit is {LIMIT}")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(2)
    for index, sizes in enumerate(model.sizes):
        inputs = model.inputs(random, sizes)
        outputs = session.run(list(model.outputs), inputs)
        made: dict[str, Any] = dict(zip(model.outputs, outputs, strict=True))
        np.savez_compressed(folder / f"{name}.{index}.npz", **inputs)
        np.savez_compressed(folder / f"{name}.{index}.expected.npz", **made)
    print(f"{name}: {path.stat().st_size / 1e3:.0f} kB", flush=True)


def main() -> int:
    """Make each model in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models to make, such as bert_script (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    for model in models():
        for script in (False, True):
            name = f"{model.name}_{'script' if script else 'dynamo'}"
            if arguments.names and name not in arguments.names:
                continue
            child = os.fork()
            if child == 0:
                make_one(model, script, arguments.out)
                os._exit(0)
            if os.waitpid(child, 0)[1] != 0:
                failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
