"""The torch network an ONNX file was made from: for engines that take torch modules, and for the f64 reference.

In: the path of a file that `make_models.py` wrote, full size or tiny. Out: its network, with the same weights (they are
functions of seeds). Where the versions of torch or transformers differ from those that wrote the file, weights may too;
the error that is reported beside every time would show it.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from models import all_models
from models.base import Example


def network_of(model: Path) -> Example:
    """The network, in evaluation mode, and its inputs. Raises LookupError if no family describes such a model."""
    name = model.name.removesuffix(".onnx").removesuffix(".dynamic")
    known = all_models().get(name)
    if known is None:
        raise LookupError(f"benchmarks/models describes no network called {name}")
    with np.load(model.with_suffix(".npz")) as stored:
        shapes = {key: stored[key].shape for key in stored.files}
    for tiny in (True, False):
        torch.manual_seed(zlib.crc32(name.encode()))
        example = known.build(tiny)
        if {key: tuple(tensor.shape) for key, tensor in example.inputs.items()} == shapes:
            example.module.eval().requires_grad_(False)
            return example
    raise LookupError(f"{name} has inputs of other sizes than benchmarks/models describes")
