"""The verifier: each rule is broken once, and the message names the op, the function and the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.pipeline.small import NEGATION, parsed
from xdsl.dialects.builtin import UNKNOWN_LOC, ModuleOp
from xdsl.ir import Operation

from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.locations import name_location
from penstock.compiler.pipeline import PHASES, default_groups, phase, phases_between
from penstock.compiler.verification import Violation, verify


def ops(text: str = NEGATION) -> tuple[Operation, dict[str, Operation]]:
    module, _ = parsed(text)
    return module, {op.name: op for op in module.walk()}


def test_valid_ir_passes() -> None:
    module, _ = ops()
    verify(module)
    verify(module, phase("simplify").allows)


def test_use_before_definition() -> None:
    module, by_name = ops()
    neg, exp = by_name["graph.neg"], by_name["graph.exp"]
    exp.detach()
    neg.parent.insert_op_before(exp, neg)  # type: ignore[union-attr]
    with pytest.raises(Violation, match=r"it uses a value that is defined after it: %b = graph.exp.*, in @main.*'exp'"):
        verify(module)


def test_value_of_another_function() -> None:
    module, by_name = ops(NEGATION + NEGATION.replace("@main", "@other"))
    first = next(op for op in module.walk() if op.name == "graph.neg")
    by_name["graph.exp"].operands[0] = first.results[0]
    with pytest.raises(Violation, match=r"it uses a value that is not visible here: .*, in @other"):
        verify(module)


def test_value_from_inside_a_loop() -> None:
    module, by_name = ops(
        """
        func.func @f(%n : index) -> index {
          %c = arith.constant 0 : index
          scf.for %i = %c to %n step %n { %k = arith.addi %i, %i : index }
          %r = arith.addi %c, %c : index
          func.return %r : index
        }
        """
    )
    inside = next(op for op in module.walk() if op.name == "arith.addi")
    by_name["func.return"].operands[0] = inside.results[0]
    with pytest.raises(Violation, match=r"not visible here: func.return"):
        verify(module)


def test_value_from_above_an_isolated_region() -> None:
    module, _ = ops(
        """
        func.func @f(%x : tensor<4xf32>) -> tensor<4xf32> {
          %r = graph.dispatch "map" @k(%a = %x : tensor<4xf32>) {
            %b = graph.neg %a : (tensor<4xf32>) -> tensor<4xf32>
            graph.yield %b : (tensor<4xf32>) -> ()
          }
          func.return %r : tensor<4xf32>
        }
        """
    )
    function = next(op for op in module.walk() if op.name == "func.func")
    inner = next(op for op in module.walk() if op.name == "graph.neg")
    verify(module)
    inner.operands[0] = function.regions[0].block.args[0]
    with pytest.raises(Violation, match=r"not visible here: %b = graph.neg"):
        verify(module)


def test_an_op_without_a_location() -> None:
    module, by_name = ops()
    by_name["graph.neg"].location = UNKNOWN_LOC
    with pytest.raises(Violation, match="it has no location"):
        verify(module)
    verify(module, locations=False)


def test_an_ops_own_rules() -> None:
    module, _ = ops(
        NEGATION.replace("exp %a : (tensor<4xf32>) -> tensor<4", "exp %a : (tensor<4xf32>) -> tensor<5").replace(
            "return %b : tensor<4", "return %b : tensor<5"
        )
    )
    with pytest.raises(Violation, match="must have result types"):
        verify(module)


def test_an_empty_body() -> None:
    module, by_name = ops()
    block = by_name["func.func"].regions[0].block
    for op in reversed(list(block.ops)):
        op.detach()
        op.erase()
    with pytest.raises(Violation, match="its body is empty"):
        verify(module)


@pytest.mark.parametrize(
    ("after", "rule"),
    [("fuse", "graph.neg may only occur inside a dispatch"), ("simplify", None), ("lower", "may only occur inside")],
)
def test_what_a_phase_allows(after: str, rule: str | None) -> None:
    module, _ = ops()
    if rule is None:
        verify(module, phase(after).allows)
    else:
        with pytest.raises(Violation, match=f"after the phase {after}, .*{rule}"):
            verify(module, phase(after).allows)


def test_graph_phases_refuse_dispatches_and_other_dialects() -> None:
    module, _ = ops("func.func @f(%x : index) -> index { %a = arith.addi %x, %x : index func.return %a : index }")
    for p in PHASES[:6]:
        with pytest.raises(Violation, match="the dialect 'arith' may not occur"):
            verify(module, p.allows)
    module, _ = ops('func.func @f() { graph.dispatch "map" @k() { graph.yield : () -> () } func.return }')
    with pytest.raises(Violation, match=r"after the phase layout, graph.dispatch may not occur"):
        verify(module, phase("layout").allows)


def test_bodies_of_kernels_are_verified_once_at_the_first_border_there_is(
    monkeypatch: pytest.MonkeyPatch, digits_model: Path
) -> None:
    from penstock.compiler import runner
    from penstock.compiler.driver import CompileOptions, run_phases

    sealed: list[list[str]] = []

    def counting(module: Any, *given: Any, **options: Any) -> None:
        sealed.append(sorted(options.get("sealed", ())))
        verify(module, *given, **options)

    monkeypatch.setattr(runner, "verify", counting)
    result = run_phases(digits_model, CompileOptions(cache=False), last="emit")
    assert sealed[-3:] == [[], ["tile.kernel"], ["tile.kernel"]]
    sealed.clear()
    runner.Runner(result.ctx).run(result.module, default_groups(phases_between("emit", "emit")))
    assert sealed == [[]]


def test_what_is_sealed_is_not_looked_into() -> None:
    kernel = Kernel.empty("k", [], outputs=0)
    kernel.location = name_location("node")
    module = ModuleOp([kernel])
    with pytest.raises(Violation, match="its body is empty"):
        verify(module)
    verify(module, sealed={"tile.kernel"})
