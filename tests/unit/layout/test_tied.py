"""Tied embeddings: a table whose rows are the columns of a product is stored once, and read right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.passes.layout.pack_weights import pack
from penstock.compiler.tied import holds

WORDS, WIDTH = 2011, 530


def model(path: Path, *, tied: bool) -> int:
    """Rows of a table, scaled, times the table (or another one); returns the bytes of the table."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((WORDS, WIDTH)).astype(np.float32)
    other = table if tied else rng.standard_normal((WORDS, WIDTH)).astype(np.float32)
    gamma = rng.standard_normal(WIDTH).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Tanh", ["rows"], ["bent"]),
        helper.make_node("Mul", ["bent", "gamma"], ["scaled"]),
        helper.make_node("Transpose", ["table" if tied else "other"], ["head"], perm=[1, 0]),
        helper.make_node("MatMul", ["scaled", "head"], ["scores"]),
    ]
    constants = [("table", table), ("gamma", gamma), *([] if tied else [("other", other)])]
    graph = helper.make_graph(
        nodes,
        "tied",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [5])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [5, WORDS])],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return table.nbytes


@pytest.mark.parametrize("precision", ["f32", "bf16-weights"])
@pytest.mark.parametrize("tied", [True, False])
def test_tied_embeddings_are_stored_once(tmp_path: Path, tied: bool, precision: str) -> None:
    size = model(tmp_path / "m.onnx", tied=tied) // (1 if precision == "f32" else 2)
    penstock.compile(tmp_path / "m.onnx", precision=precision).save(tmp_path / "m.pens")
    copies = (tmp_path / "m.pens").stat().st_size / size
    assert copies < 1.2 if tied else 1.9 < copies < 2.3
    ids = np.array([0, WORDS - 1, 63, 64, -2], np.int64)  # the last counts from the end
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    wanted = np.asarray(session.run(None, {"ids": ids})[0])
    scores = penstock.load(tmp_path / "m.pens").session(threads=1).run({"ids": ids})["scores"]
    tolerance = 1e-5 if precision == "f32" else 2e-2
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=tolerance * float(np.ptp(wanted)))


def test_tables_are_compared_bit_by_bit() -> None:
    table = np.random.default_rng(1).standard_normal((150, 7)).astype(np.float32)
    table[3, 4] = np.nan
    for weights in (table.T.copy(), pack(table.T.copy(), 32), pack(table.T.copy(), 64)):
        assert holds(weights, table)
        other = table.copy()
        other[149, 6] = np.nextafter(other[149, 6], np.float32(9))
        assert not holds(weights, other)
        assert not holds(weights, table[:, :6].copy())
        assert not holds(weights, table.astype(np.float64))
    assert not holds(np.zeros((7, 150), np.float32), -np.zeros((150, 7), np.float32))
    assert not holds(table.T[:, :149].copy(), table)
