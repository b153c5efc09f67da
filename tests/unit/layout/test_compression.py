"""Compressed weights: every number comes back bit for bit, products and gathers compute with exactly it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import tensor_type
from penstock.compiler.dialects.graph.compression import Compressed, Decompress, compress, decompress
from penstock.compiler.dialects.graph.contraction import Matmul, unpack_last
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.passes.layout import compress_weights
from penstock.compiler.passes.layout.pack_weights import pack

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-40, 3e38, -1e-38, 1.0, -(2.0**-126)]


def weights(depth: int, columns: int, seed: int = 0, strange: int = 0) -> NDArray[np.float32]:
    """Normal weights, ``strange`` of them replaced by any bits whatever, the first by special numbers."""
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((depth, columns)) * 0.02).astype(np.float32)
    flat = matrix.reshape(-1)
    places = rng.choice(flat.size, strange, replace=False)
    flat.view(np.uint32)[places] = rng.integers(0, 2**32, strange, dtype=np.uint32)
    flat[places[: len(SPECIAL)]] = SPECIAL[:strange]
    return matrix


def same_bits(compressed: Compressed | None, matrix: NDArray[np.float32]) -> bool:
    assert compressed is not None
    found = unpack_last(decompress(*compressed), matrix.shape[1])
    return np.array_equal(found.view(np.uint32), matrix.view(np.uint32))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("depth", "columns", "panel"), [(8, 1, 16), (200, 97, 48), (16, 640, 64), (776, 50, 64)])
def test_every_bit_comes_back(depth: int, columns: int, panel: int, seed: int) -> None:
    strange = depth * columns // 130
    matrix = weights(depth, columns, seed, strange)
    compressed = compress(pack(matrix, panel), columns)
    if compressed is None:  # the sample of a panel may be all that there is
        assert strange > 0
        assert depth * columns < 1000
        return
    assert same_bits(compressed, matrix)
    assert compressed.words.nbytes == pack(matrix, panel).nbytes * 7 // 8


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1.0, 1e4, 1e30, 3e37])
def test_every_size_of_numbers(scale: float) -> None:
    """Windows of exponents lie where weights are, if that is a place where exceptions can be multiplied."""
    matrix = weights(768, 70, 3) * np.float32(scale)
    compressed = compress(pack(matrix, 64), 70)
    if 1e-37 < scale < 1e30:
        assert compressed is not None
    if compressed is not None:
        assert same_bits(compressed, matrix)
        assert 1 <= compressed.directory[:-1, 1].min() <= compressed.directory[:-1, 1].max() <= 126


def test_what_does_not_pay_stays() -> None:
    rng = np.random.default_rng(5)
    spread = rng.integers(0, 2**32, (768, 64), dtype=np.uint32).view(np.float32)
    assert compress(pack(spread, 64), 64) is None
    assert compress(np.zeros((2, 768, 64), np.float32), 128) is None


def test_few_exceptions_of_normal_weights() -> None:
    """A list is as long as for other weights of its shape, so that kernels are shared."""
    one, other = (compress(pack(weights(768, 768, seed), 64), 768) for seed in (1, 2))
    assert one is not None
    assert other is not None
    assert one.exceptions.shape == other.exceptions.shape == (576, 2)
    assert 0 < one.directory[-1, 0] < 768 * 768 / 2000


def model(path: Path, matrices: dict[str, NDArray[np.float32]], rows: int, *, large: int = 0) -> None:
    """``x`` times each of the matrices; ``large``: the first one also times so many rows."""
    nodes = [helper.make_node("MatMul", ["x", name], [f"y_{name}"], name=f"fc_{name}") for name in matrices]
    depth = next(iter(matrices.values())).shape[0]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, depth])]
    if large:
        nodes.append(helper.make_node("MatMul", ["z", next(iter(matrices))], ["y_large"], name="large"))
        inputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [large, depth]))
    outputs = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None) for node in nodes]
    constants = [numpy_helper.from_array(matrix, name) for name, matrix in matrices.items()]
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


def layout(path: Path, passes: str, **options: Any) -> tuple[list[Any], CompilerContext]:
    from penstock.compiler.driver import CompileOptions, run_phases

    result = run_phases(path, CompileOptions(passes=passes, **options), last="layout")
    return list(result.module.walk()), result.ctx


SMALL = "compress-weights{many-bytes=1 least=1}"


def test_products_of_few_rows_are_compressed(tmp_path: Path) -> None:
    for rows, depth, compressed in ((1, 768, True), (4, 768, True), (5, 768, False), (1, 767, False)):
        model(tmp_path / "m.onnx", {"w": weights(depth, 97)}, rows)
        found, ctx = layout(tmp_path / "m.onnx", SMALL)
        assert any(isinstance(op, Decompress) for op in found) == compressed
        assert (compress_weights.COMPRESSED in ctx.options) == compressed
        if compressed:
            assert ctx.options[compress_weights.COMPRESSED] == {"count": 1, "bytes_saved": 42272}
        for options in ({}, {"compress": False}):
            others, _ = layout(tmp_path / "m.onnx", "" if not options else SMALL, **options)
            assert not any(isinstance(op, Decompress) for op in others)


def test_weights_that_others_read_too_stay(tmp_path: Path) -> None:
    model(tmp_path / "m.onnx", {"w": weights(768, 97)}, 1, large=64)
    assert not any(isinstance(op, Decompress) for op in layout(tmp_path / "m.onnx", SMALL)[0])


def test_nothing_is_left_of_the_old_weights(tmp_path: Path) -> None:
    model(tmp_path / "m.onnx", {"v": weights(768, 97), "w": weights(768, 97)}, 1)
    found, ctx = layout(tmp_path / "m.onnx", SMALL)
    used = {op.key for op in found if isinstance(op, Constant) and "key" in op.attributes}
    assert set(ctx.weights) == used
    products = [op for op in found if isinstance(op, Matmul)]
    assert [tensor_type(op.operands[1]).get_shape() for op in products] == [(7, 768, 16)] * 2


@pytest.mark.parametrize("rows", [1, 3])
def test_products_agree_with_onnxruntime(tmp_path: Path, rows: int) -> None:
    matrices = {f"w{n}": weights(512, n, n, strange=n * 512 // 200) for n in (97, 64, 17)}
    for matrix in matrices.values():  # weights that are not finite are compared below
        matrix[~(np.abs(matrix) < 1e6)] = -0.0
    model(tmp_path / "m.onnx", matrices, rows)
    x = np.random.default_rng(2).standard_normal((rows, 512)).astype(np.float32)
    penstock.compile(tmp_path / "m.onnx", passes=SMALL).save(tmp_path / "m.pens")
    assert penstock.load(tmp_path / "m.pens").manifest["compressed_weights"]["count"] == 3
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    wanted: Any = session.run(None, {"x": x})
    found = penstock.load(tmp_path / "m.pens").session(threads=2).run({"x": x})
    for (name, result), want in zip(found.items(), wanted, strict=True):
        np.testing.assert_allclose(result, want, rtol=0, atol=2e-6 * np.abs(want).max(), err_msg=name)


def test_a_tied_embedding_is_read_from_the_words(tmp_path: Path) -> None:
    """The rows that a gather takes are the model's, bit for bit, exceptions included."""
    table = np.ascontiguousarray(weights(512, 2100, 4, strange=1000).T)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Transpose", ["table"], ["head"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "head"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [6]),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 512]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("rows", "scores")]
    graph = helper.make_graph(nodes, "tied", inputs, outputs, [numpy_helper.from_array(table, "table")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    penstock.compile(tmp_path / "m.onnx", passes="compress-weights{many-bytes=1}").save(tmp_path / "m.pens")
    assert (tmp_path / "m.pens").stat().st_size < table.nbytes * 0.9
    exceptions = np.unique(np.nonzero(~(np.abs(table) < 1) | (table == 0))[0])
    ids = np.array([0, 2099, -1, *exceptions[:3]], np.int64)
    for isa in ("x86-64-v3", None):
        session = penstock.load(tmp_path / "m.pens", isa=isa).session(threads=1)
        rows = session.run({"ids": ids, "x": np.zeros((1, 512), np.float32)})["rows"]
        np.testing.assert_array_equal(rows.view(np.uint32), table[ids].view(np.uint32))
