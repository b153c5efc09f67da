"""The weight store: keys tell arrays apart, also where checksums do not."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from unit.frontend.dynamic import model, value

import penstock
from penstock.compiler import weights
from penstock.compiler.weights import WeightStore, same


def test_equal_arrays_of_a_name_are_one() -> None:
    store = WeightStore()
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    key = store.add(a, "layer.weight")
    assert store.add(a.copy(), "layer.weight") == key
    assert store.add(a.T.copy().T, "layer.weight") == key
    others = [store.add(b, "layer.weight") for b in (a.T, a.reshape(4, 3), a + 1, a.astype(np.int32), a.reshape(-1))]
    assert len({key, *others}) == len(store) == 6
    assert store.add(a, f"{key}") == key


@pytest.mark.parametrize("clash", [False, True])
def test_arrays_with_one_checksum_have_keys_of_their_own(monkeypatch: pytest.MonkeyPatch, clash: bool) -> None:
    if clash:
        monkeypatch.setattr(weights, "checksum", lambda _: "00000000")
    store = WeightStore()
    arrays = [np.full(100, number, np.float64) for number in range(3)]
    keys = [store.add(array, "w") for array in arrays]
    assert [store.add(array.copy(), "w") for array in arrays] == keys
    assert all(same(store[key], array) for key, array in zip(keys, arrays, strict=True))
    assert len({store.digest(key) for key in keys}) == 3


def test_views_are_kept_as_such_and_count_as_what_they_show() -> None:
    store = WeightStore()
    base = np.arange(70 * 90 * 3, dtype=np.float32).reshape(70, 90, 3)
    key = store.add(base.transpose(2, 1, 0), "w")
    assert np.shares_memory(store[key], base)
    assert not store[key].flags.writeable
    assert base.flags.writeable
    assert store.add(np.ascontiguousarray(base.transpose(2, 1, 0)), "w") == key
    assert store.digest(key) == weights.digest(np.ascontiguousarray(base.transpose(2, 1, 0)))


def test_one_element_that_no_checksum_reads_makes_another_array() -> None:
    store = WeightStore()
    base = np.zeros((300, 300), np.float32)
    keys = {store.add(base.copy(), "w")}
    for index in range(20):
        changed = base.copy()
        changed[7 * index + 1, 11 * index + 3] = 1
        keys.add(store.add(changed, "w"))
    assert len(keys) == len(store) == 21


def test_nan_of_other_bits_and_empty_arrays() -> None:
    nan = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert same(nan[:1], nan[:1].copy())
    assert not same(nan[:1], nan[1:])
    assert same(np.zeros((0, 3)), np.zeros((0, 3)))
    assert not same(np.zeros((0, 3)), np.zeros((3, 0)))


def test_a_digest_follows_what_is_put() -> None:
    store = WeightStore()
    store.put("w", np.zeros(3))
    first = store.digest("w")
    store.put("w", np.ones(3))
    assert store.digest("w") != first


def test_plans_of_one_artifact_keep_weights_with_one_checksum_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant that depends on the size, as positions do, has one name and one shape in every plan."""
    monkeypatch.setattr(weights, "checksum", lambda _: "00000000")
    nodes = [
        helper.make_node("Shape", ["x"], ["n"], start=0, end=1),
        helper.make_node("Cast", ["n"], ["f"], to=1),
        helper.make_node("Mul", ["f", "w"], ["scale"], name="scale"),
        helper.make_node("MatMul", ["x", "scale"], ["y"]),
    ]
    w = np.arange(16 * 16, dtype=np.float32).reshape(16, 16)
    candidate = model(nodes, [value("x", ["batch", 16])], [value("y", ["batch", 16])], w=w)
    session = penstock.compile(candidate, specialize={"batch": [2, 3]}).load().session()
    for batch in (2, 3, 5):
        x = np.ones((batch, 16), np.float32)
        np.testing.assert_allclose(session.run({"x": x})["y"], x @ (batch * w), rtol=1e-6)
