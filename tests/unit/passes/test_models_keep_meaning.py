"""Layout and fusion over the tiny models: the interpreter gives the same outputs after every pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.pooling import Pool
from penstock.compiler.dialects.graph.structure import Constant, Dispatch
from penstock.compiler.frontends.onnx import import_model
from penstock.compiler.interpreter import main_function, run_module
from penstock.compiler.locations import is_known
from penstock.compiler.passes.fuse.form_dispatches import FormDispatches
from penstock.compiler.passes.fuse.share_kernels import ShareKernels
from penstock.compiler.passes.layout.channels_last import ChannelsLast
from penstock.compiler.passes.layout.pack_weights import PackWeights
from penstock.compiler.passes.layout.sink_transposes import SinkTransposes
from penstock.compiler.passes.plan.memory import Lifetime, place
from penstock.compiler.passes.simplify.decompose_conv_transpose import DecomposeConvTranspose
from penstock.compiler.passes.simplify.decompose_resize import DecomposeResize
from penstock.compiler.passes.simplify.fold_constants import FoldConstants

MODELS = Path(__file__).parents[2] / "data" / "models"
PASSES: list[ModulePass] = [
    DecomposeResize(),
    DecomposeConvTranspose(),
    FoldConstants(),
    ChannelsLast(),
    SinkTransposes(),
    FoldConstants(),
    PackWeights(),
    FormDispatches(),
    ShareKernels(),
]


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "unet_small", "minilm_b1", "lstm", "dlrm_b64"])
def test_every_pass_keeps_outputs_and_locations(name: str) -> None:
    """Valid IR, the same outputs, no op without a source node."""
    ctx = CompilerContext()
    module = import_model(MODELS / f"{name}.onnx", ctx)
    with np.load(MODELS / f"{name}.npz") as stored:
        feeds = dict(stored)
    wanted = run_module(module, ctx, feeds)
    for step in PASSES:
        step.apply(ctx, module)
        module.verify()
        found = run_module(module, ctx, feeds)
        for output, array in wanted.items():
            scale = float(np.abs(array).max())
            np.testing.assert_allclose(found[output], array, rtol=1e-4, atol=1e-5 * scale, err_msg=step.name)
        assert all(is_known(op.location) for op in main_function(module).body.block.ops), step.name
    body = main_function(module).body.block
    assert all(isinstance(op, Dispatch | Constant) or op is body.last_op for op in body.ops)


def test_convolutions_end_channels_last_and_packed() -> None:
    """No channels-first window op is left, and transposes stand at the borders only."""
    ctx = CompilerContext()
    module = import_model(MODELS / "resnet50.onnx", ctx)
    for step in PASSES[:-2]:
        step.apply(ctx, module)
    windows = [op for op in module.walk() if isinstance(op, Conv | Pool)]
    assert windows
    assert all(op.layout == "channels_last" for op in windows)
    assert all(op.panel for op in windows if isinstance(op, Conv))
    transposes = [op for op in main_function(module).body.block.ops if op.name == "graph.transpose"]
    assert len(transposes) <= 2


def test_arena_never_overlaps_what_lives_together() -> None:
    """Random lifetimes: buffers alive at once do not share bytes, and the arena is smaller than their sum."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        buffers = []
        for _ in range(int(rng.integers(1, 40))):
            first = int(rng.integers(0, 30))
            buffers.append(Lifetime(int(rng.integers(0, 5000)), first, first + int(rng.integers(0, 6))))
        offsets, total = place(buffers)
        assert all(offset % 64 == 0 for offset in offsets)
        for i, a in enumerate(buffers):
            assert offsets[i] + a.bytes <= total
            for j, b in enumerate(buffers[:i]):
                if a.first <= b.last and b.first <= a.last and a.bytes and b.bytes:
                    assert offsets[i] + a.bytes <= offsets[j] or offsets[j] + b.bytes <= offsets[i]
