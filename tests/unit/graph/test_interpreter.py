"""The interpreter runs modules by the names of their inputs and outputs."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from penstock.compiler.context import CompilerContext
from penstock.compiler.interpreter import argument_names, evaluate_op, main_function, result_names, run_module
from penstock.compiler.irtext import parse_module

TEXT = """
func.func @main(%x : tensor<2x3xf32> {penstock.name = "x"}, %y : tensor<3xf32> {penstock.name = "in/y"})
    -> (tensor<2x3xf32> {penstock.name = "sum"}, tensor<2x3xf32> {penstock.name = "twice"}) {
  %0 = graph.add %x, %y : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("a")
  %1 = graph.constant {value = dense<2.0> : tensor<f32>} : () -> tensor<f32> loc("c")
  %2 = graph.mul %0, %1 : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32> loc("m")
  %3 = graph.neg %x : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("unused")
  func.return %0, %2 : tensor<2x3xf32>, tensor<2x3xf32>
}
"""
INPUTS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "in/y": np.float32([1, 2, 3])}


def module(text: str = TEXT) -> ModuleOp:
    return parse_module(text, CompilerContext())


def test_runs_by_name():
    function = main_function(module())
    assert argument_names(function) == ["x", "in/y"]
    assert result_names(function) == ["sum", "twice"]
    outputs = run_module(module(), CompilerContext(), INPUTS)
    np.testing.assert_array_equal(outputs["sum"], INPUTS["x"] + INPUTS["in/y"])
    np.testing.assert_array_equal(outputs["twice"], 2 * (INPUTS["x"] + INPUTS["in/y"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in/y": None}, "input 'in/y' is missing"),
        ({"z": np.zeros(1)}, "there is no input 'z'; inputs are 'x', 'in/y'"),
        ({"x": np.zeros((2, 3))}, r"input 'x' is f32 of shape \[2, 3\], not float64"),
        ({"x": np.zeros((3, 2), np.float32)}, r"input 'x' is f32 of shape \[2, 3\], not float32 of \[3, 2\]"),
    ],
)
def test_wrong_inputs(change: dict[str, Any], message: str):
    inputs = {name: value for name, value in (INPUTS | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        run_module(module(), CompilerContext(), inputs)


def test_observer_sees_every_op_and_dead_values_are_forgotten():
    alive: dict[str, weakref.ref[Any]] = {}
    history: list[tuple[str, int]] = []

    def observe(op: Operation, results: tuple[Any, ...]) -> None:
        history.append((op.name, sum(ref() is not None for ref in alive.values())))
        alive.update({f"{op.name}{len(alive)}": weakref.ref(array) for array in results})

    lines = ["%0 = graph.exp %x : (tensor<1000xf32>) -> tensor<1000xf32>"]
    lines += [f"%{i + 1} = graph.exp %{i} : (tensor<1000xf32>) -> tensor<1000xf32>" for i in range(9)]
    body = "\n".join(lines)
    text = (
        f"func.func @main(%x : tensor<1000xf32>) -> tensor<1000xf32> {{\n{body}\nfunc.return %9 : tensor<1000xf32>\n}}"
    )
    outputs = run_module(module(text), CompilerContext(), {"arg0": np.zeros(1000, np.float32)}, observe)
    assert list(outputs) == ["result0"]
    assert [name for name, _ in history] == ["graph.exp"] * 10
    assert max(count for _, count in history) <= 2


def test_no_main():
    with pytest.raises(ValueError, match="no function @main"):
        run_module(ModuleOp([]), CompilerContext(), {})


def test_other_dialects_are_refused():
    text = "func.func @main() { %0 = arith.constant 1 : i32\nfunc.return }"
    with pytest.raises(ValueError, match=r"arith\.constant cannot be interpreted"):
        run_module(module(text), CompilerContext(), {})


def test_an_op_that_breaks_its_type_rule_is_found_out():
    (add, *_) = [op for op in module().walk() if op.name == "graph.add"]
    with pytest.raises(ValueError, match=r"graph\.add gave float32 of shape \[5\]"):
        evaluate_op(add, [np.zeros(5, np.float32), np.float32(1)], CompilerContext())
