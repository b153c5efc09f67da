"""Every op of the dialect has all its parts, and is written down in docs/graph.md."""

from __future__ import annotations

import pytest
from unit.graph.building import build, round_trip
from unit.graph.examples import BY_HAND, CASES, Case

from penstock.compiler.dialects.graph import operation, operations
from penstock.compiler.dialects.graph.base import Cost, GraphOp, TypeRuleError, tensor_bytes

FLAT = [pytest.param(name, case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)]


def test_every_op_has_an_example():
    names = {op.name.removeprefix("graph.") for op in operations()}
    assert set(CASES) | BY_HAND == names


@pytest.mark.parametrize("op", operations(), ids=lambda op: op.name)
def test_parts(op: type[GraphOp]):
    assert op.__doc__
    assert op.__doc__ != GraphOp.__doc__
    assert op.infer is not GraphOp.infer
    bare = op.name.removeprefix("graph.")
    assert op.evaluate is not GraphOp.evaluate or bare in BY_HAND
    assert operation(bare) is op
    for parameter in op.parameters.values():
        assert parameter.doc, f"{op.name}.{parameter.name} says nothing of itself"


@pytest.mark.parametrize(("name", "case"), FLAT)
def test_builds_verifies_and_reads_back(name: str, case: Case):
    types, result, parameters = case
    op = build(name, *types, result=result, **parameters)
    assert f"graph.{name}" in round_trip(op)
    for key, value in parameters.items():
        assert getattr(op, key) == value


@pytest.mark.parametrize(("name", "case"), FLAT)
def test_cost(name: str, case: Case):
    types, result, parameters = case
    op = build(name, *types, result=result, **parameters)
    cost = op.cost()
    assert isinstance(cost, Cost)
    assert cost.flops >= 0
    assert isinstance(cost.flops, int)
    assert isinstance(cost.bytes, int)
    assert cost.bytes >= sum(tensor_bytes(value.type) for value in op.results)


@pytest.mark.parametrize("count", [0, 9])
@pytest.mark.parametrize("name", sorted(CASES))
def test_wrong_number_of_operands_is_refused(name: str, count: int):
    cls = operation(name)
    least = len(cls.operand_names) - cls.optional_operands
    if (count >= least and cls.variadic) or least <= count <= len(cls.operand_names):
        pytest.skip("this number of operands is right")
    types, result, parameters = CASES[name][0]
    with pytest.raises(TypeRuleError, match="operands"):
        build(name, *(types[:1] or ("f32",)) * count, result=result, **parameters)
