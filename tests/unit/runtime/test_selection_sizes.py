"""Runs for some of the outputs of models whose sizes are chosen at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import parser

import penstock
from penstock.runtime.errors import RuntimeFailure
from penstock.runtime.library import library
from penstock.runtime.session import Session

TEXT = """<ir_version: 8, opset_import: ["" : 18]>
agraph (float[rows,8] a, float[columns,8] b, float[rows,columns] c) =>
    (float[rows,columns] s, float[rows,rows] p, float[columns] m, float[rows] k) <int64[1] one = {1}>
{
    t = Transpose <perm = [1, 0]> (b)
    s = MatMul (a, t)
    u = Transpose <perm = [1, 0]> (s)
    p = MatMul (s, u)
    m = ReduceMax <keepdims = 0> (b, one)
    k = ReduceSum <keepdims = 0> (c, one)
}"""
NAMES = ["s", "p", "m", "k"]
Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def model() -> Any:
    """``p`` is computed from ``s``, ``m`` from ``b`` alone and ``k`` from ``c`` alone."""
    return penstock.compile(parser.parse_model(TEXT).SerializeToString()).load()


@pytest.fixture
def session(model: Any) -> Session:
    """A fresh session, without sizes."""
    return model.session(threads=1)


def feeds(rows: int, columns: int) -> Arrays:
    """Inputs of these sizes."""
    generator = np.random.default_rng(rows * 1000 + columns)
    shapes = {"a": (rows, 8), "b": (columns, 8), "c": (rows, columns)}
    return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def expected(given: Arrays) -> Arrays:
    """By numpy."""
    s = given["a"] @ given["b"].T
    return {"s": s, "p": s @ s.T, "m": given["b"].max(axis=1), "k": given["c"].sum(axis=1)}


def agree(found: Arrays, given: Arrays) -> None:
    """What was found is what numpy computes."""
    wanted = expected(given)
    for name, array in found.items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-4, atol=1e-4)


def test_choices_and_sizes_change_in_any_order(session: Session) -> None:
    """An output that is not chosen but written has room at every size, and all come back when all are chosen."""
    for number, (rows, columns) in enumerate([(3, 5), (70, 33), (1, 1), (70, 33), (130, 40), (2, 9)]):
        given = feeds(rows, columns)
        for chosen in ([NAMES[number % 4]], ["p"], None, ["k", "m"], ["p", "k"]):
            found = session.run(given, chosen)
            assert list(found) == (chosen or NAMES)
            agree(found, given)


def test_the_choice_stays_while_sizes_change(session: Session) -> None:
    """Sizes change under a choice: the commands are those of the choice, over the new sizes."""
    for rows, columns in [(4, 6), (90, 11), (5, 7)]:
        given = feeds(rows, columns)
        found, records = session.profile(given, ["p"])
        agree(found, given)
        sources = [record.source for record in records]
        assert "MatMul(p)" in sources
        assert "ReduceSum(k)" not in sources


def test_inputs_that_are_not_needed_may_be_left_out(session: Session) -> None:
    """What they are is known before there are sizes; those given tell the sizes, and others stay as they were."""
    assert session.needed_inputs(["p"]) == ("a", "b")
    assert session.needed_inputs(["k"]) == ("c",)
    given = feeds(3, 4)
    del given["c"]
    np.testing.assert_allclose(session.run(given, ["s"])["s"], given["a"] @ given["b"].T, rtol=1e-5)
    assert session.sizes == {"rows": 3, "columns": 4}
    given = feeds(3, 6)
    np.testing.assert_array_equal(session.run({"b": given["b"]}, ["m"])["m"], given["b"].max(axis=1))
    assert session.sizes == {"rows": 3, "columns": 6}
    with pytest.raises(RuntimeFailure, match="PENS-R011: Input c has 9 along axis 0"):
        session.run({**given, "c": np.zeros((9, 6), np.float32)}, ["s"])
    agree(session.run(given), given)


def test_a_size_that_nothing_tells(session: Session) -> None:
    """The first run has to tell all sizes, or they are set before."""
    given = feeds(3, 4)
    with pytest.raises(RuntimeFailure, match="PENS-R018: No input tells the size rows"):
        session.run({"b": given["b"]}, ["m"])
    session.set_sizes({"rows": 1, "columns": 1})
    np.testing.assert_array_equal(session.run({"b": given["b"]}, ["m"])["m"], given["b"].max(axis=1))


def test_arrays_for_outputs_fit_the_sizes_of_the_run(session: Session) -> None:
    """They are held against the sizes that the inputs tell, not those of the run before."""
    session.run(feeds(3, 4))
    given, target = feeds(6, 2), np.empty((6, 2), np.float32)
    found = session.run(given, ["m"], out={"s": target})
    agree({**found, "s": target}, given)
    with pytest.raises(RuntimeFailure, match="PENS-R012"):
        session.run(feeds(7, 2), ["m"], out={"s": target})


def test_commands_are_counted_before_there_are_sizes(session: Session) -> None:
    """As many as a run then executes."""
    assert session.needed_inputs(["m"]) == ("b",)
    handle: Any = vars(session)["_handle"]
    count = library().pens_session_commands(handle)
    assert len(session.profile(feeds(2, 3), ["m"])[1]) == count
