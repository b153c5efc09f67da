"""Bound runs, and the prepared ones behind ``run``: same results, same refusals, whatever came before."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
import penstock.runtime as runtime
from penstock.runtime import calls
from penstock.runtime.errors import PenstockError
from penstock.runtime.recycling import LARGE_BYTES

F32, I64 = TensorProto.FLOAT, TensorProto.INT64
Feeds = dict[str, np.ndarray[Any, Any]]


def compiled(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> runtime.Model:
    """A loaded model of these nodes."""
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return penstock.compile(made).load()


def value(name: str, dtype: int, *shape: int | str) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, dtype, shape)


@pytest.fixture(scope="module", params=["fixed", "symbolic"])
def model(request: pytest.FixtureRequest) -> Iterator[runtime.Model]:
    """sum = x + y, product = x * y, of 6 x 4 or of any size."""
    shape = (6, 4) if request.param == "fixed" else ("n", "m")
    nodes = [helper.make_node("Add", ["x", "y"], ["sum"]), helper.make_node("Mul", ["x", "y"], ["product"])]
    ends = [value(name, F32, *shape) for name in ("x", "y", "sum", "product")]
    with compiled(nodes, ends[:2], ends[2:]) as made:
        yield made


@pytest.fixture(params=["native", "ctypes"])
def session(model: runtime.Model, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A session; also one on an interpreter that is not as python.c declares it."""
    if request.param == "ctypes":
        monkeypatch.setattr(calls, "_interpreter", lambda: None)
    with model.session(threads=1) as made:
        yield made


def feeds(seed: int, n: int = 6, m: int = 4) -> Feeds:
    """Inputs of the model."""
    random = np.random.default_rng(seed)
    return {name: random.standard_normal((n, m)).astype(np.float32) for name in ("x", "y")}


def check(results: Any, given: Feeds) -> None:
    """Results are those of ``given``."""
    assert list(results) == ["sum", "product"]
    np.testing.assert_array_equal(results["sum"], given["x"] + given["y"])
    np.testing.assert_array_equal(results["product"], given["x"] * given["y"])


def test_this_interpreter_runs_prepared(model: runtime.Model):
    """The third run of a shape is a builtin function's."""
    assert sys.implementation.name != "cpython" or sys.flags.dev_mode or hasattr(sys, "gettotalrefcount") or (
        calls.Exclusive().native
    )  # fmt: skip
    with model.session(threads=1) as session:
        for seed in range(4):
            check(session.run(feeds(seed)), feeds(seed))
        assert (session._quick is not None) == calls.Exclusive().native  # pyright: ignore[reportPrivateUsage]


def test_results_are_new_and_references_balanced(session: Any):
    """Prepared runs return arrays of their own, and keep nothing."""
    given = feeds(0)
    results = [session.run(given) for _ in range(5)]
    assert len({id(array) for each in results for array in each.values()}) == 10
    for each in results:
        check(each, given)
    del results, each
    counts = [sys.getrefcount(each) for each in (*given.values(), None, given["x"].dtype, "sum")]
    for _ in range(1000):
        session.run(given)
        session.run({"x": given["x"].tolist(), **given})
        with pytest.raises(PenstockError, match="PENS-R011"):
            session.run({"x": given["x"]})
    after = [sys.getrefcount(each) for each in (*given.values(), None, given["x"].dtype, "sum")]
    assert all(abs(a - b) < 500 for a, b in zip(after, counts, strict=True))


class Strange(dict[str, Any]):
    """A dictionary that finds things in its own way."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name) * 2


def test_what_is_not_as_prepared_is_looked_at_closely(session: Any):
    """After prepared runs, whatever is not exactly an array of the type and shape is converted or refused as before."""
    given = feeds(1)
    for _ in range(3):
        check(session.run(given), given)
    wide = feeds(2, 6, 8)
    check(session.run({name: array[:, ::2] for name, array in wide.items()}), {k: a[:, ::2] for k, a in wide.items()})
    check(session.run({name: array.T.copy().T for name, array in given.items()}), given)
    check(session.run({name: array.tolist() and array.view(np.matrix) for name, array in given.items()}), given)
    check(session.run(Strange(given)), {name: 2 * array for name, array in given.items()})
    odd = np.zeros(6 * 4 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(6, 4)
    odd[:] = given["x"]
    assert not odd.flags.aligned
    check(session.run({**given, "x": odd}), given)
    wrong: list[tuple[Any, str]] = [
        ({**given, "x": given["x"].astype(np.float64)}, "Input x has dtype float64 and needs float32."),
        ({**given, "x": given["x"].astype(">f4")}, "Input x has dtype >f4 and needs float32."),
        ({**given, "x": given["x"].reshape(6, 2, 2)}, r"Input x has rank 3 \(shape \[6, 2, 2\]\) and needs shape"),
        ({**given, "z": given["x"]}, "There is no input called z."),
        ({"x": given["x"], 7: given["y"]}, "There is no input called 7; input y is missing."),
    ]
    for inputs, words in wrong:
        with pytest.raises(PenstockError, match=f"PENS-R011: {words}"):
            session.run(inputs)
        check(session.run(given), given)


def test_a_bound_run_reads_and_writes_the_same_memory(session: Any):
    """Whatever has been written to the inputs since; and the outputs are those that were given."""
    given, mine = feeds(3), {"product": np.zeros((6, 4), np.float32)}
    whole, part = session.bind(given), session.bind(given, mine)
    for seed in range(4):
        for name, array in feeds(seed).items():
            given[name][:] = array
        results = whole()
        check(results, given)
        assert results is whole.outputs
        assert list(part()) == ["product"]
        np.testing.assert_array_equal(mine["product"], given["x"] * given["y"])
        check(session.run(given), given)
    assert all(array.__array_interface__["data"][0] % 64 == 0 for array in whole.outputs.values())


def test_runs_between_bound_ones(model: runtime.Model, session: Any):
    """Other outputs chosen, other sizes: each call computes what it was bound for."""
    given = feeds(4)
    bound, only = session.bind(given), session.bind(given, {"sum": np.zeros((6, 4), np.float32)})
    bindings = [(bound, given)]
    if model.symbols:
        bindings += [(session.bind(each), each) for each in (feeds(5, 1, 9), feeds(6, 300, 7), feeds(7, 1, 1))]
    for _ in range(3):
        for binding, its in bindings:
            check(binding(), its)
            check(binding(), its)
            np.testing.assert_array_equal(session.run(its, ["sum"])["sum"], its["x"] + its["y"])
            np.testing.assert_array_equal(only()["sum"], given["x"] + given["y"])
            check(session.run(its), its)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y, out: ({"x": x}, None), "PENS-R011: Input y is missing."),
        (
            lambda x, y, out: ({"x": x, "y": y.tolist()}, None),
            "PENS-R011: Input y is to be bound and needs a numpy array",
        ),
        (
            lambda x, y, out: ({"x": x, "y": y.T}, None),
            "PENS-R011: Input y is to be bound and needs a numpy array, dense",
        ),
        (
            lambda x, y, out: ({"x": x, "y": y.view(np.int32)}, None),
            "PENS-R011: Input y has dtype int32 and needs float32.",
        ),
        (lambda x, y, out: ({"x": x, "y": y}, {"z": out}), "PENS-R012: There is no output called z."),
        (lambda x, y, out: ({"x": x, "y": y}, {"sum": out[:5]}), r"PENS-R012: Output sum has shape \[5, 4\]"),
        (lambda x, y, out: ({"x": x, "y": y}, {"sum": [1.0]}), "PENS-R012: Output sum needs a contiguous, writable"),
        (lambda x, y, out: ({"x": x, "y": y}, {"sum": x}), "PENS-R012: Output sum shares memory with input x."),
        (
            lambda x, y, out: ({"x": x, "y": y}, {"sum": out, "product": out}),
            "PENS-R012: Output product shares memory with output sum.",
        ),
    ],
)
def test_what_cannot_be_bound_is_refused(session: Any, change: Callable[..., Any], words: str):
    """In a sentence; the session goes on."""
    given = feeds(8)
    with pytest.raises(PenstockError, match=words):
        session.bind(*change(given["x"], given["y"], np.zeros((6, 4), np.float32)))
    check(session.run(given), given)


def test_bound_arrays_that_change_are_noticed(session: Any):
    """Another shape, type or permission since: refused, not read beyond its end."""
    given, mine = feeds(9), {"sum": np.zeros((6, 4), np.float32), "product": np.zeros((6, 4), np.float32)}
    bound = session.bind(given, mine)
    check(bound(), given)
    given["x"].shape = (4, 6)
    with pytest.raises(PenstockError, match=r"PENS-R01[12]"):
        bound()
    given["x"].shape = (6, 4)
    check(bound(), given)
    mine["sum"].flags.writeable = False
    with pytest.raises(PenstockError, match=r"PENS-R012: Output sum needs a contiguous, writable numpy array\."):
        bound()
    mine["sum"].flags.writeable = True
    check(bound(), given)


def test_bound_and_prepared_runs_end_with_the_session(model: runtime.Model):
    """PENS-R014, not memory that has been given back."""
    session, given = model.session(threads=1), feeds(10)
    bound = session.bind(given)
    for _ in range(3):
        check(session.run(given), given)
    session.close()
    with pytest.raises(PenstockError, match="PENS-R014"):
        bound()
    with pytest.raises(PenstockError, match="PENS-R014"):
        session.run(given)
    del session
    gc.collect()
    with pytest.raises(PenstockError, match="PENS-R014"):
        bound()


def test_a_binding_keeps_its_session(model: runtime.Model):
    """Whoever has the binding needs neither the session nor the arrays."""
    given = feeds(11)
    bound = model.session(threads=1).bind({name: array.copy() for name, array in given.items()})
    gc.collect()
    check(bound(), given)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_refused_or_served(model: runtime.Model, threads: int):
    """Of several threads on one session, bound or not, each gets its own results or PENS-R010."""
    served, wrong = [0, 0, 0, 0], list[str]()
    with model.session(threads=threads) as session:
        bindings = [session.bind(feeds(number)) for number in range(4)]

        def work(number: int) -> None:
            given = feeds(number)
            bound = bindings[number]
            while served[number] < 100:
                try:
                    check(bound() if number % 2 else session.run(given), given)
                    served[number] += 1
                except PenstockError as error:
                    wrong.extend([error.code] if error.code != "PENS-R010" else [])
                    time.sleep(0)
                except AssertionError as error:
                    wrong.append(str(error))
                    return

        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert wrong == []
    assert served == [100] * 4


def test_a_run_that_fails_leaves_the_session_free():
    """A broken promise (PENS-R017) in a prepared run and in a bound one."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    ends = [value("x", F32, 6), value("shape", I64, 2), value("y", F32, 2, 3)]
    with compiled(nodes, ends[:2], ends[2:]) as model, model.session(threads=1) as session:
        given: Feeds = {"x": np.arange(6, dtype=np.float32), "shape": np.array([2, 3])}
        bound = session.bind(given)
        for _ in range(4):
            assert session.run(given)["y"].tolist() == bound()["y"].tolist() == [[0, 1, 2], [3, 4, 5]]
            given["shape"][:] = 3, 2
            for call in (bound, lambda: session.run(given)):
                with pytest.raises(PenstockError, match="PENS-R017"):
                    call()
            given["shape"][:] = 2, 3


def test_counted_results_are_the_part_that_was_written():
    """In the memory that was bound, in the shape that the run has found."""
    with (
        compiled([helper.make_node("NonZero", ["x"], ["y"])], [value("x", F32, 9)], [value("y", I64, 1, "n")]) as model,
        model.session(threads=1) as session,
    ):
        x = np.zeros(9, np.float32)
        bound = session.bind({"x": x})
        assert bound.outputs is not None
        for where in ([], [3], [0, 5, 8], list(range(9))):
            x[:] = 0
            x[where] = 1
            found = bound()["y"]
            assert found.tolist() == [where]
            assert np.shares_memory(found, bound.outputs["y"]) or not where


def test_large_results_are_recycled_and_bound_ones_stay():
    """A prepared run takes memory that nobody holds; what a binding writes is never taken."""
    size = LARGE_BYTES // 4
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    with (
        compiled(nodes, [value("x", F32, size)], [value("y", F32, size)]) as model,
        model.session(threads=1) as session,
    ):
        x = np.arange(size, dtype=np.float32)
        bound = session.bind({"x": x})
        bound()
        places: set[int] = set()
        for _ in range(6):
            y = session.run({"x": x})["y"]
            np.testing.assert_array_equal(y, -x)
            places.add(y.__array_interface__["data"][0])
            del y
        assert bound.outputs is not None
        assert len(places) <= 2
        assert bound.outputs["y"].__array_interface__["data"][0] not in places
        held = [session.run({"x": x * k})["y"] for k in range(5)]
        for k, y in enumerate(held):
            np.testing.assert_array_equal(y, -x * k)
