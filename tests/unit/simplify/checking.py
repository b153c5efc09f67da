"""Helpers of the tests of phase simplify: run passes on IR text, and compare what it computes before and after."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from typing import Any

import numpy as np
from unit.graph.building import type_of
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph import operation
from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import is_float, numpy_dtype, shape_of
from penstock.compiler.interpreter import argument_names, main_function, run_module
from penstock.compiler.irtext import parse_module, to_text
from penstock.compiler.locations import name_location, source_names
from penstock.compiler.verification import verify


def passes() -> dict[str, type[ModulePass]]:
    """Every pass of the phase, by name."""
    package = importlib.import_module("penstock.compiler.passes.simplify")
    modules = [importlib.import_module(f"{package.__name__}.{i.name}") for i in pkgutil.iter_modules(package.__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return {kind.name: kind for kind in found if issubclass(kind, ModulePass) and kind is not ModulePass}


def parse(text: str) -> tuple[ModuleOp, CompilerContext]:
    ctx = CompilerContext()
    module = parse_module(text, ctx)
    verify(module)
    return module, ctx


def random_inputs(module: ModuleOp, seed: int = 0) -> dict[str, Any]:
    """Standard normal numbers for floating-point inputs, 0, 1 and 2 for integers, both for booleans."""
    generator = np.random.default_rng(seed)
    function = main_function(module)
    inputs: dict[str, Any] = {}
    for name, argument in zip(argument_names(function), function.body.block.args, strict=True):
        assert isinstance(argument.type, TensorType)
        element, shape = argument.type.element_type, shape_of(argument.type)
        numbers = generator.standard_normal(shape) if is_float(element) else generator.integers(0, 3, shape)
        inputs[name] = np.asarray(numbers).astype(numpy_dtype(element))
    return inputs


def apply(module: ModuleOp, ctx: CompilerContext, *names: str) -> str:
    """Run the passes called ``names``, verifying after each; returns the text without locations."""
    for name in names:
        passes()[name]().apply(ctx, module)
        verify(module)
    return to_text(module, locations=False)


def check_module(
    module: ModuleOp, ctx: CompilerContext, *names: str, rtol: float = 1e-5, atol: float = 1e-5, inputs: Any = None
) -> Counter[str]:
    """Run passes on ``module``; what it computes must stay, and running the last again must change nothing.

    Returns how many ops of each kind there are afterwards.
    """
    inputs = random_inputs(module) if inputs is None else inputs
    before = run_module(module, ctx, inputs)
    once = apply(module, ctx, *names)
    after = run_module(module, ctx, inputs)
    assert list(before) == list(after)
    for name, expected in before.items():
        assert after[name].dtype == expected.dtype
        actual, wanted = (array.astype(np.float64) for array in (after[name], expected))
        np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=atol)
    assert apply(module, ctx, names[-1]) == once, f"a second run of {names[-1]} changes something"
    return Counter(op.name.removeprefix("graph.") for op in module.walk() if op.name.startswith("graph."))


class Net:
    """Builds a module: ``net = Net(x="2x3xf32"); y = net.add(net.x, 1.0); net.check(y, "canonicalise")``.

    Ops are methods; Python numbers and arrays among operands become constants. Every op has its own location.
    """

    def __init__(self, **inputs: str) -> None:
        self.ctx = CompilerContext()
        self.block = Block(arg_types=[type_of(text) for text in inputs.values()])
        self.names = list(inputs)
        self.count = 0
        for name, argument in zip(inputs, self.block.args, strict=True):
            setattr(self, name, argument)

    def __getattr__(self, name: str) -> Any:
        def build(*operands: Any, result: str | None = None, **parameters: Any) -> SSAValue:
            kind = operation(name.rstrip("_"))
            like = next((value for value in reversed(operands) if isinstance(value, SSAValue)), None)
            values = [self.value(operand, like) for operand in operands]
            chosen = None if result is None else type_of(result)
            return self.insert(kind.build(*values, result=chosen, location=self.here(name), **parameters))

        return build

    def here(self, name: str) -> Any:
        self.count += 1
        return name_location(f"{name}_{self.count}")

    def insert(self, op: Any) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]

    def value(self, operand: Any, like: SSAValue | None = None) -> SSAValue:
        """``operand`` as a value; a Python number takes the element type of ``like``."""
        if isinstance(operand, SSAValue):
            return operand
        array = np.asarray(operand)
        if isinstance(operand, int | float) and like is not None:
            array = array.astype(numpy_dtype(element_of(like)))
        return self.insert(Constant.of(array, self.ctx.weights, name="w", location=self.here("constant")))

    def module(self, *outputs: SSAValue) -> ModuleOp:
        self.block.add_op(ReturnOp(*outputs))
        names = [DictionaryAttr({"penstock.name": StringAttr(name)}) for name in self.names]
        types = FunctionType.from_lists([a.type for a in self.block.args], [o.type for o in outputs])
        module = ModuleOp([FuncOp("main", types, Region(self.block), arg_attrs=ArrayAttr(names))])
        verify(module)
        return module

    def check(self, output: SSAValue, *names: str, **options: Any) -> Counter[str]:
        """Returns the ops left, without constants; see ``check_module``."""
        module = self.module(output)
        located = {name for op in module.walk() if op.name != "graph.constant" for name in source_names(op.location)}
        counts = check_module(module, self.ctx, *names, **options)
        left = {name for op in module.walk() for name in source_names(op.location)}
        assert left <= located | {name for name in left if name.startswith("constant")}
        return Counter({name: count for name, count in counts.items() if name != "constant"})
