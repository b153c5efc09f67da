"""Helpers for models with symbolic dimensions: imported once, interpreted at several sizes, beside onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import ModuleOp

from penstock.compiler.context import CompilerContext
from penstock.compiler.dtypes import shape_of
from penstock.compiler.frontends.onnx import import_model
from penstock.compiler.interpreter import main_function, run_module
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.verification import verify

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Feeds = Mapping[str, Any]
INT = np.iinfo(np.int64)


def value(name: str, shape: Sequence[Any] | None, kind: int = F) -> Any:
    """A declared input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], opset: int = 18, **constants: Any
) -> Any:
    """A model of one graph; ``constants`` are its initializers."""
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def imported(candidate: Any, **options: Any) -> tuple[ModuleOp, CompilerContext]:
    """The module of a model: valid, and the same when it is read back from its text."""
    ctx = CompilerContext()
    module = import_model(candidate, ctx, **options)
    verify(module)
    text = to_text(module)
    again = parse_module(text, ctx.load_all())
    verify(again)
    assert to_text(again) == text
    return module, ctx


def input_shapes(module: ModuleOp) -> list[str]:
    """The shapes of the inputs as sentences write them."""
    arguments = main_function(module).body.block.args
    return ["[" + ",".join(map(str, shape_of(argument.type))) + "]" for argument in arguments]


def output_shapes(module: ModuleOp) -> list[str]:
    """The shapes of the outputs."""
    last = main_function(module).body.block.last_op
    assert last is not None
    return ["[" + ",".join(map(str, shape_of(operand.type))) + "]" for operand in last.operands]


def op_names(module: ModuleOp) -> list[str]:
    """The names of the ops of the main function, without the dialect."""
    return [op.name.removeprefix("graph.") for op in main_function(module).body.block.ops]


def expected(candidate: Any, feeds: Feeds) -> dict[str, Any]:
    """What onnxruntime makes of ``feeds``."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(candidate.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def check(candidate: Any, *runs: Feeds, tolerance: float = 2e-5, **options: Any) -> ModuleOp:
    """Import once, interpret each of ``runs``, compare with onnxruntime; the module."""
    module, ctx = imported(candidate, **options)
    for feeds in runs:
        actual = run_module(module, ctx, feeds)
        for name, wanted in expected(candidate, feeds).items():
            assert actual[name].shape == wanted.shape, name
            assert actual[name].dtype == wanted.dtype, name
            np.testing.assert_allclose(actual[name], wanted, tolerance, tolerance, err_msg=name)
    return module


def i64(*values: int) -> Any:
    """A vector of i64."""
    return np.array(values, np.int64)


def scalar(number: int) -> Any:
    """One i64, of rank 0."""
    return np.array(number, np.int64)


def floats(*shape: int) -> Any:
    """Random numbers of this shape, the same each time."""
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape).astype(np.float32)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node called after its first output; names are separated by spaces (``_`` stands for an absent one)."""
    given = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, given, outputs.split(), name=f"n_{outputs.split()[0]}", **attributes)
