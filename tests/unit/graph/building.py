"""Helpers of the graph tests: ops on arrays in one call, and oracles that run single ONNX nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.base import GraphOp
from penstock.compiler.dtypes import element_type, from_numpy, tensor
from penstock.compiler.interpreter import evaluate_op
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.locations import name_location


def arguments(*types: Attribute) -> list[SSAValue]:
    """Values of the given types."""
    return list(Block(arg_types=list(types)).args)


def type_of(text: str) -> Any:
    """The tensor type written as ``2x3xf32``."""
    *extents, element = text.split("x")
    return tensor([int(extent) for extent in extents], element_type(element))


def build(name: str, *types: str, result: str | None = None, **parameters: Any) -> GraphOp:
    """The op ``name`` on operands of the types written in ``types``."""
    operands = arguments(*map(type_of, types))
    chosen = None if result is None else type_of(result)
    return operation(name).build(*operands, result=chosen, location=name_location("node"), **parameters)


def apply(name: str, *arrays: Any, result: str | None = None, **parameters: Any) -> Any:
    """Build the op for ``arrays``, check that it verifies and reads back from its text, and evaluate it."""
    values = [np.asarray(array) for array in arrays]
    operands = arguments(*(tensor(array.shape, from_numpy(array.dtype)) for array in values))
    chosen = None if result is None else type_of(result)
    op = operation(name).build(*operands, result=chosen, location=name_location("node"), **parameters)
    round_trip(op)
    results = evaluate_op(op, values, CompilerContext())
    return results[0] if len(results) == 1 else results


def round_trip(op: Operation) -> str:
    """Put ``op`` into a module of its own, print, parse and compare; returns the text."""
    module = around(op)
    module.verify()
    text = to_text(module)
    again = parse_module(text, CompilerContext())
    again.verify()
    assert to_text(again) == text
    assert again.is_structurally_equivalent(module)
    return text


def around(op: Operation) -> ModuleOp:
    """A module whose ``main`` returns the results of a clone of ``op``, on arguments of its operands' types."""
    types = [operand.type for operand in op.operands]
    block = Block(arg_types=types)
    clone = op.clone(dict(zip(op.operands, block.args, strict=True)))
    block.add_op(clone)
    block.add_op(ReturnOp(*clone.results))
    outputs = [result.type for result in op.results]
    module = ModuleOp([FuncOp("main", FunctionType.from_lists(types, outputs), Region(block))])
    for inner in module.walk():
        inner.location = op.location
    return module


def onnx_model(
    op: str, inputs: list[Any], outputs: int, opset: int, attributes: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """A model of one node, and its feeds; None among ``inputs`` is an optional input left out."""
    from onnx import TensorProto, helper

    names = ["" if array is None else f"x{i}" for i, array in enumerate(inputs)]
    feeds = {name: np.asarray(array) for name, array in zip(names, inputs, strict=True) if name}
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    results = [helper.make_tensor_value_info(f"y{i}", TensorProto.UNDEFINED, None) for i in range(outputs)]
    for result in results:
        result.ClearField("type")
    graph = helper.make_graph([node], "one", infos, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), feeds


def onnxruntime_node(op: str, *inputs: Any, outputs: int = 1, opset: int = 21, **attributes: Any) -> Any:
    """What onnxruntime computes for one node."""
    import onnxruntime

    model, feeds = onnx_model(op, list(inputs), outputs, opset, attributes)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: Any = session.run(None, feeds)
    return results[0] if outputs == 1 else results


def reference_node(op: str, *inputs: Any, outputs: int = 1, opset: int = 24, **attributes: Any) -> Any:
    """What ONNX's reference evaluator computes for one node."""
    from onnx.reference import ReferenceEvaluator

    model, feeds = onnx_model(op, list(inputs), outputs, opset, attributes)
    results: Any = ReferenceEvaluator(model).run(None, feeds)
    return results[0] if outputs == 1 else results


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    """Numbers from a standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
