"""What sessions keep from run to run: the same bits as feeding outputs back, and onnxruntime's values."""

from __future__ import annotations

import ctypes
import runpy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from unit.runtime.decoder import DEPTH, HEADS, WORDS, causal, decoder, inputs, nothing

import penstock
import penstock.runtime as runtime
from penstock.compiler.artifact import writer
from penstock.compiler.artifact.plan import Plan
from penstock.runtime.errors import RuntimeFailure
from penstock.runtime.library import Error, library

Array = np.ndarray[Any, Any]
STEPS = (5, 1, 1, 3, 1, 7, 1, 2)
CAPACITY = 24
DIMS = {"past": (0, CAPACITY), "new": (1, 16)}


@cache
def compiled(*state: str, mask: bool = True, kv_heads: int = HEADS, new: int | str = "new") -> runtime.Model:
    """A decoder of which sessions keep ``state``."""
    model = decoder(new, mask=mask, kv_heads=kv_heads)
    dims = {name: given for name, given in DIMS.items() if name != new and (name == "past" or isinstance(new, str))}
    return penstock.compile(model, target="cpu:x86-64-v3", dims=dims, state=state).load()


@pytest.fixture
def model() -> runtime.Model:
    """The decoder with a mask that grows."""
    return compiled("auto")


@pytest.fixture
def session(model: runtime.Model) -> Iterator[runtime.Session]:
    """A session of it."""
    with model.session(threads=1) as made:
        yield made


def bits(array: Array) -> Array:
    return array.view(np.uint32)


def fed_back(results: dict[str, Array]) -> dict[str, Array]:
    return {"past.key": results["present.key"], "past.value": results["present.value"]}


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("kv_heads", [HEADS, 1])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_computes_what_feeding_back_computes(mask: bool, kv_heads: int, threads: int) -> None:
    """Step by step the same bits as the same model without state, and the values of onnxruntime."""
    plain, kept = (compiled(*state, mask=mask, kv_heads=kv_heads) for state in ((), ("auto",)))
    oracle = onnxruntime.InferenceSession(decoder(mask=mask, kv_heads=kv_heads).SerializeToString())
    names = [output.name for output in oracle.get_outputs()]
    with plain.session(threads=threads) as one, kept.session(threads=threads) as other:
        past, expected = nothing(kv_heads), nothing(kv_heads)
        for new in STEPS:
            before = other.length
            given = inputs(before, new, mask)
            results, found = one.run({**given, **past}), other.run(given)
            assert set(found) == {"logits"}
            np.testing.assert_array_equal(bits(found["logits"]), bits(results["logits"]))
            wanted: dict[str, Any] = dict(zip(names, oracle.run(None, {**given, **expected}), strict=True))
            np.testing.assert_allclose(found["logits"], wanted["logits"], rtol=1e-5, atol=1e-5)
            past, expected = fed_back(results), fed_back(wanted)
            assert other.length == before + new


def test_what_is_kept_is_neither_input_nor_output(model: runtime.Model) -> None:
    """Other names stay in their order; the manifest tells the pairs, and info and the compiler's report show them."""
    assert [(t.name, t.shape) for t in model.inputs] == [("ids", (1, "new")), ("mask", (1, 1, "new", "new + past"))]
    assert [t.name for t in model.outputs] == ["logits"]
    assert model.length is not None
    assert (model.length.name, model.length.low, model.length.high) == ("past", 0, CAPACITY)
    kept = model.manifest["kept"]
    pairs = [(one["output"], one["input"], one["shape"]) for one in kept["tensors"]]
    shape = [1, HEADS, CAPACITY, DEPTH]
    assert pairs == [("present.key", "past.key", shape), ("present.value", "past.value", shape)]
    assert (kept["rows"], kept["size"], kept["bytes"]) == (CAPACITY, "past", 2 * 4 * HEADS * CAPACITY * DEPTH)
    assert compiled().length is None


def test_pairs_may_be_named() -> None:
    """One of two: the other one stays an input and an output."""
    part, plain = compiled("present.value=past.value"), compiled()
    assert [t.name for t in part.inputs] == ["past.key", "ids", "mask"]
    assert [t.name for t in part.outputs] == ["present.key", "logits"]
    with part.session(threads=1) as session, plain.session(threads=1) as other:
        past = nothing()
        for new in STEPS:
            given = inputs(session.length, new)
            found = session.run({**given, "past.key": past["past.key"]})
            wanted = other.run({**given, **past})
            for name in ("logits", "present.key"):
                np.testing.assert_array_equal(bits(found[name]), bits(wanted[name]))
            past = fed_back(wanted)


def test_a_session_begins_anew_and_goes_back(session: runtime.Session) -> None:
    """After reset, and after going back to a length, the bits are those of a session that comes there first."""
    first = [session.run(inputs(0, 5))["logits"], session.run(inputs(5, 3))["logits"]]
    session.run(inputs(8, 4))
    session.reset(5)
    assert session.length == 5
    np.testing.assert_array_equal(bits(session.run(inputs(5, 3))["logits"]), bits(first[1]))
    session.reset()
    for past, wanted in zip((0, 5), first, strict=True):
        np.testing.assert_array_equal(bits(session.run(inputs(past, wanted.shape[1]))["logits"]), bits(wanted))
    for wrong in (9, -1, 1 << 70):
        with pytest.raises(RuntimeFailure, match=r"PENS-R009: A session .*cannot go back to"):
            session.reset(wrong)
    assert session.length == 8
    with compiled().session(threads=1) as plain, pytest.raises(RuntimeFailure, match="PENS-R009: A session is reset"):
        plain.reset()


def test_each_session_has_its_own(model: runtime.Model) -> None:
    """Two sessions in turn do not see each other's rows."""
    with model.session(threads=1) as one, model.session(threads=1) as other, model.session(threads=1) as alone:
        for new in STEPS:
            a = one.run(inputs(one.length, new))["logits"]
            b = other.run(inputs(other.length + 100, new) | {"mask": causal(other.length, new)})["logits"]
            assert not np.array_equal(a, b)
            np.testing.assert_array_equal(bits(a), bits(alone.run(inputs(alone.length, new))["logits"]))


def test_what_does_not_fit_is_refused(session: runtime.Session) -> None:
    """The last row that fits is taken; one more is an error, and changes nothing."""
    session.run(inputs(0, 16))
    session.run(inputs(16, 7))
    with pytest.raises(
        RuntimeFailure, match=r"PENS-R020: The session keeps 23 rows of at most 24 and has no room for 2 more\."
    ):
        session.run(inputs(23, 2))
    assert session.length == 23
    session.run(inputs(23, 1))
    with pytest.raises(RuntimeFailure, match=r"PENS-R020: .* 24 rows of at most 24 and has no room for 1 more"):
        session.run(inputs(24, 1))
    session.reset(3)
    session.run(inputs(3, 1))


def test_inputs_that_grow_have_to_agree(session: runtime.Session) -> None:
    """A mask of another length than the rows there are is refused; so is a size that the session knows better."""
    session.run(inputs(0, 2))
    with pytest.raises(RuntimeFailure, match=r"PENS-R011: Input mask has 2 along axis 3 and needs new \+ past = 4"):
        session.run(inputs(0, 2))
    assert session.length == 2
    with pytest.raises(RuntimeFailure, match="PENS-R019: The session keeps 2 rows"):
        session.set_sizes({"new": 1, "past": 7})
    session.set_sizes({"new": 1})
    assert session.sizes == {"new": 1, "past": 2}


@pytest.mark.parametrize("new", [1, "new"])
def test_prepared_and_bound_runs_append_too(new: int | str) -> None:
    """Runs whose arrays do not grow are as quick as others; they append all the same, until there is no room."""
    kept, plain = compiled("auto", mask=False, new=new), compiled(mask=False, new=new)
    ids = np.zeros((1, 1), np.int64)
    with kept.session(threads=1) as session, kept.session(threads=1) as other, plain.session(threads=1) as oracle:
        bound, past = other.bind({"ids": ids}), nothing()
        for step in range(CAPACITY):
            ids[:] = step % WORDS
            wanted = oracle.run({"ids": ids, **past})
            past = fed_back(wanted)
            for found in (session.run({"ids": ids}), bound()):
                np.testing.assert_array_equal(bits(found["logits"]), bits(wanted["logits"]))
            assert session.length == other.length == step + 1
        for run in (lambda: session.run({"ids": ids}), bound):
            with pytest.raises(RuntimeFailure, match="PENS-R020"):
                run()
        session.reset()
        other.reset()
        np.testing.assert_array_equal(session.run({"ids": ids})["logits"], bound()["logits"])


def test_a_binding_of_arrays_that_grow_is_for_one_length(session: runtime.Session) -> None:
    """The arrays do not fit a second run: it is refused, not overrun."""
    bound = session.bind(inputs(0, 2))
    assert bound()["logits"].shape == (1, 2, WORDS)
    with pytest.raises(RuntimeFailure, match="PENS-R011"):
        bound()
    session.reset()
    bound()


def test_runs_for_no_output_and_profiles_append(session: runtime.Session) -> None:
    """What is kept grows whatever is chosen."""
    wanted = [session.run(inputs(0, 3))["logits"], session.run(inputs(3, 1))["logits"]]
    session.reset()
    assert session.run(inputs(0, 3), outputs=[]) == {}
    assert session.length == 3
    results, records = session.profile(inputs(3, 1))
    np.testing.assert_array_equal(bits(results["logits"]), bits(wanted[1]))
    assert any("append_key" in record.source for record in records)
    assert session.length == 4


def test_memory_is_for_the_most_rows(model: runtime.Model) -> None:
    """Memory for what is kept belongs to the session from the beginning."""
    with model.session(threads=1) as session, compiled().session(threads=1) as plain:
        assert session.memory - plain.memory >= model.manifest["kept"]["bytes"]


def test_output_that_grows_alone() -> None:
    """Inputs of one shape, an output that grows with the rows: each run makes one that is large enough."""
    model = penstock.compile(
        decoder(1, mask=False), target="cpu:x86-64-v3", dims={"past": (0, 9)}, state=["auto"], keep=["softmax"]
    ).load()
    with model.session(threads=1) as session:
        for step in range(9):
            found = session.run({"ids": np.full((1, 1), step)})["softmax"]
            assert found.shape == (1, HEADS, 1, step + 1)
            np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)


def test_from_c() -> None:
    """A host sets sizes once and runs; where an input grows, it is told to set them again."""
    native, error = library(), Error()
    kept, grows = compiled("auto", mask=False), compiled("auto")
    ids, logits = np.zeros((1, 1), np.int64), np.zeros((1, 1, WORDS), np.float32)
    assert [native.pens_input_count(kept.handle), native.pens_output_count(kept.handle)] == [1, 1]
    assert native.pens_symbol_info(kept.handle, native.pens_length_symbol(kept.handle)).name == b"past"
    assert native.pens_length_symbol(compiled().handle) == 0xFFFFFFFF
    for model, mask in ((kept, None), (grows, causal(0, 1))):
        handle = ctypes.c_void_p()
        assert native.pens_session_create(model.handle, None, ctypes.byref(handle), error) == 0
        sizes = (ctypes.c_int64 * 2)(1, 99)  # the second is the session's
        assert [symbol.name for symbol in model.symbols] == ["new", "past"]
        assert native.pens_session_set_sizes(handle, sizes, error) == 0
        pointers = [ids.ctypes.data, *([] if mask is None else [mask.ctypes.data])]
        given, taken = (ctypes.c_void_p * 2)(*pointers), (ctypes.c_void_p * 1)(logits.ctypes.data)
        nowhere = (ctypes.c_void_p * 1)(None)
        assert native.pens_run(handle, given, nowhere, ctypes.byref(error)) == 9
        assert native.pens_session_length(handle) == 0  # a run that fails adds nothing
        assert native.pens_run(handle, given, taken, ctypes.byref(error)) == 0
        again = native.pens_run(handle, given, taken, ctypes.byref(error))
        assert again == (0 if mask is None else 18)
        assert mask is None or b"The size of mask follows from the rows that the session keeps" in error.message
        assert native.pens_session_length(handle) == (2 if mask is None else 1)
        assert native.pens_session_select(handle, (ctypes.c_uint32 * 1)(1), 1, error) == 9
        assert native.pens_session_reset(handle, 0, error) == 0
        assert native.pens_session_length(handle) == 0
        native.pens_session_destroy(handle)


@pytest.mark.parametrize(
    "change",
    [{"kept": 1}, {"kept": 3}, {"kept": 4}, {"kept": 1 << 31}, {"length": 1}, {"length": 7}, {"symbols": "counted"}],
    ids=str,
)
def test_what_is_described_wrongly_is_damage(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """More tensors than there are, of other sizes, rows that no symbol counts or that do not begin with none: refused
    when the model is loaded."""
    artifact = penstock.compile(
        decoder(mask=False), target="cpu:x86-64-v3", dims=DIMS, state=["present.value=past.value"]
    )
    contents = artifact._contents  # pyright: ignore[reportPrivateUsage]
    (made,) = contents.plans.values()
    if change == {"kept": 1}:
        change = {"outputs": [*made.outputs[:-1], replace(made.outputs[-1], shape=(1, HEADS, CAPACITY + 1, DEPTH))]}
    elif "symbols" in change:
        change = {"symbols": made.symbols[::-1], "length": 1, "counted": (5,)}
    monkeypatch.setattr(Plan, "validate", lambda _: None)
    data = writer.to_bytes(replace(contents, plans={"x86-64-v3": replace(made, **change)}))
    with pytest.raises(RuntimeFailure, match="PENS-R004"):
        runtime.load(data)


def test_the_example_continues_a_text() -> None:
    """Greedy words after a prompt: those that onnxruntime finds, fed back its outputs."""
    path = Path(__file__).parents[3] / "examples" / "generating" / "generate.py"
    continued = runpy.run_path(str(path))["continued"]
    model = penstock.compile(decoder(mask=False), target="cpu:x86-64-v3", dims=DIMS, state=["auto"]).load()
    oracle = onnxruntime.InferenceSession(decoder(mask=False).SerializeToString())
    prompt = [3, 1, 4]
    words = list(prompt)
    past = nothing()
    given = np.array([prompt])
    for _ in range(8):
        logits, *rest = oracle.run(["logits", "present.key", "present.value"], {"ids": given, **past})
        past = dict(zip(past, map(np.asarray, rest), strict=True))
        given = np.asarray(logits)[:, -1:].argmax(-1)
        words.append(int(given[0, 0]))
    with model.session(threads=1) as session:
        for _ in range(2):  # each text begins anew
            assert [*prompt, *continued(session, prompt, 8)] == words
