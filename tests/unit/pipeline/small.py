"""IR and models small enough to read, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from penstock.compiler.context import CompilerContext
from penstock.compiler.irtext import parse_module

MODELS = Path(__file__).parents[2] / "data" / "models"
MLP = MODELS / "mlp_b1.onnx"
NEGATION = """
func.func @main(%x : tensor<4xf32> {penstock.name = "x"}) -> (tensor<4xf32> {penstock.name = "y"}) {
  %a = graph.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("neg")
  %b = graph.exp %a : (tensor<4xf32>) -> tensor<4xf32> loc("exp")
  func.return %b : tensor<4xf32>
}
"""


def parsed(text: str = NEGATION) -> tuple[ModuleOp, CompilerContext]:
    """The module of ``text``, and its context."""
    ctx = CompilerContext()
    return parse_module(text, ctx, "test.mlir"), ctx
