"""Sessions used from several threads: mixed models at once, and one session that is called twice at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import penstock
import penstock.runtime as runtime
from penstock.runtime import arrays
from penstock.runtime.errors import PenstockError

MODELS = Path(__file__).parents[2] / "data" / "models"
NAMES = ("mlp_b1", "lstm", "dlrm_b64", "minilm_b1")
THREADS, RUNS = 8, 40


@pytest.fixture(scope="module")
def models() -> Iterator[list[runtime.Model]]:
    """Small models of several kinds, loaded."""
    loaded = [penstock.compile(MODELS / f"{name}.onnx").load() for name in NAMES]
    yield loaded
    for model in loaded:
        model.close()


def feeds(model: runtime.Model, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs that every model takes: small numbers, indices of 0 and 1."""
    rng = np.random.default_rng(seed)
    return {t.name: rng.integers(0, 2, t.shape).astype(t.dtype) for t in model.inputs}


def together(work: Callable[[int], None], count: int = THREADS) -> None:
    """``work(i)`` on ``count`` threads; raises what any of them raised."""
    raised: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_closing_a_model_closes_its_sessions() -> None:
    """They run its code: one that is used or dropped afterwards must not touch what is unloaded."""
    model = penstock.compile(MODELS / "mlp_b1.onnx").load()
    inputs, session, dropped = feeds(model, 1), model.session(threads=2), model.session(threads=1)
    session.run(inputs)
    dropped.run(inputs)
    model.close()
    del dropped
    with pytest.raises(PenstockError, match="closed"):
        session.run(inputs)
    session.close()
    model.close()


def test_mixed_models_on_many_threads_compute_what_one_thread_does(models: list[runtime.Model]) -> None:
    """Every thread has a session of every model; the bits are those of a session that runs alone."""
    cases = [
        (model, inputs, run_alone(model, inputs)) for model in models for inputs in (feeds(model, 1), feeds(model, 2))
    ]

    def work(index: int) -> None:
        sessions = {id(model): model.session(threads=1 + index % 2) for model in models}
        for turn in range(RUNS):
            model, inputs, expected = cases[(index + turn) % len(cases)]
            found = sessions[id(model)].run(inputs)
            assert all(np.array_equal(found[name], expected[name], equal_nan=True) for name in expected)
        for session in sessions.values():
            session.close()

    together(work)


def run_alone(model: runtime.Model, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a session of one thread."""
    with model.session(threads=1) as session:
        return session.run(inputs)


def test_a_session_shared_by_threads_refuses_or_is_right(models: list[runtime.Model]) -> None:
    """Two calls of one session never mix their arrays: each returns its own result or PENS-R010."""
    model = models[1]
    cases = [(inputs, run_alone(model, inputs)) for inputs in (feeds(model, seed) for seed in range(THREADS))]
    returned: list[int] = []
    refusals: set[str] = set()
    with model.session(threads=1) as session:

        def work(index: int) -> None:
            inputs, expected = cases[index]
            for _ in range(200):
                try:
                    found = session.run(inputs)
                except PenstockError as error:
                    refusals.add(error.code)
                    continue
                assert all(np.array_equal(found[name], expected[name]) for name in expected)
                returned.append(index)

        together(work)
    assert returned
    assert refusals <= {"PENS-R010"}


def test_outputs_that_are_no_arrays_are_refused(models: list[runtime.Model]) -> None:
    """PENS-R012, before anything looks for their memory."""
    model = models[0]
    with model.session(threads=1) as session, pytest.raises(PenstockError, match=r"PENS-R012: .*numpy array, not list"):
        session.run(feeds(model, 0), out={model.outputs[0].name: [1.0]})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(7.0),
        np.arange(7.0)[3:],
        np.zeros((3, 0)),
        np.ones(()),
        np.frombuffer(b"abcd", np.uint8),
    ],
    ids=["whole", "view", "empty", "rank 0", "read-only"],
)
def test_addresses_are_what_numpy_says(array: np.ndarray[Any, Any]) -> None:
    """Both ways of asking for an array's address agree."""
    expected = array.__array_interface__["data"][0]
    assert arrays.address(array) == arrays.address_by_protocol(array) == expected
