"""Models whose results are as long as their data says: compiled once, against onnxruntime, over odd sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.context import CompilerContext
from penstock.compiler.frontends.onnx.importer import import_model
from penstock.compiler.interpreter import run_module
from penstock.runtime import PenstockError

Node = helper.make_node
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Tensor = tuple[str, int, Sequence[Any]]


def model(nodes: list[Any], inputs: list[Tensor], outputs: list[tuple[str, int]], **constants: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def check(made: onnx.ModelProto, *runs: dict[str, Any], dims: dict[str, Any] | None = None) -> None:
    """One session for all runs, the bits of another with three threads, and the interpreter, against onnxruntime."""
    oracle = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    ctx = CompilerContext()
    module = import_model(made, ctx, dims=dims)
    loaded = penstock.compile(made, target="cpu:x86-64-v3", dims=dims or {}).load()
    with loaded, loaded.session(threads=1) as session, loaded.session(threads=3) as parallel:
        for feeds in runs:
            found, others = session.run(feeds), parallel.run(feeds)
            meant = run_module(module, ctx, feeds)
            expected: list[Any] = list(oracle.run(None, feeds))
            for (name, array), wanted in zip(found.items(), expected, strict=True):
                assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype), name
                np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)
                np.testing.assert_array_equal(others[name], array)
                assert meant[name].shape == wanted.shape
                np.testing.assert_allclose(meant[name], wanted, rtol=1e-5, atol=1e-6)


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def of_all_kinds(shape: tuple[int, ...], others: Sequence[tuple[int, ...]] = ()) -> list[dict[str, Any]]:
    """Some, none and all of the elements above 0.3; then other shapes, and the first again."""
    arrays = [floats(*shape), np.full(shape, -1, np.float32), np.full(shape, 1, np.float32)]
    return [{"x": x} for x in (*arrays, *(floats(*other, seed=1) for other in others), arrays[0])]


FOUND = [Node("Greater", ["x", "z"], ["m"]), Node("NonZero", ["m"], ["at"]), Node("Transpose", ["at"], ["places"])]
PICKED = [*FOUND, Node("GatherND", ["x", "places"], ["y"])]
CONSTANTS: dict[str, Any] = {
    "z": np.float32(0.3),
    "zero": np.array([0]),
    "one": np.array([1]),
    "flat": np.array([-1]),
    "w": floats(5, 7, seed=3),
    "two": np.float32(2),
}
GRAPHS: dict[str, tuple[list[Any], list[tuple[str, int]]]] = {
    "positions": (FOUND, [("at", INT64), ("places", INT64)]),
    "values": ([*PICKED, Node("Relu", ["y"], ["r"])], [("r", FLOAT), ("y", FLOAT)]),
    "sum": ([*PICKED, Node("ReduceSum", ["y"], ["r"], keepdims=0)], [("r", FLOAT)]),
    "how many": (
        [*FOUND, Node("Shape", ["at"], ["s"]), Node("Cast", ["s"], ["c"], to=FLOAT), Node("Mul", ["c", "two"], ["r"])],
        [("r", FLOAT)],
    ),
    "rows": (
        [
            *FOUND,
            Node("Slice", ["places", "zero", "one", "one"], ["first"]),
            Node("Squeeze", ["first", "one"], ["row"]),
            Node("Gather", ["x", "row"], ["g"]),
            Node("MatMul", ["g", "w"], ["r"]),
        ],
        [("r", FLOAT)],
    ),
    "compress": (
        [
            Node("ReduceSum", ["x", "one"], ["s"], keepdims=0),
            Node("Greater", ["s", "z"], ["m"]),
            Node("Compress", ["x", "m"], ["c"], axis=0),
            Node("Softmax", ["c"], ["r"], axis=1),
        ],
        [("r", FLOAT), ("c", FLOAT)],
    ),
    "compress flat, two counts that agree": (
        [
            *PICKED,
            Node("Reshape", ["m", "flat"], ["mask"]),
            Node("Compress", ["x", "mask"], ["c"]),
            Node("Add", ["y", "c"], ["r"]),
            Node("Concat", ["c", "c"], ["twice"], axis=0),
        ],
        [("r", FLOAT), ("twice", FLOAT)],
    ),
    "sorted": (
        [*PICKED, Node("Shape", ["y"], ["s"]), Node("TopK", ["y", "s"], ["v", "i"])],
        [("v", FLOAT), ("i", INT64)],
    ),
    "counted of counted": (
        [*PICKED, Node("Greater", ["y", "two"], ["big"]), Node("NonZero", ["big"], ["r"])],
        [("r", INT64)],
    ),
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("rows", [3, "rows"])
def test_what_is_not_zero(graph: str, rows: Any) -> None:
    """Static and symbolic shapes; none, some and all found."""
    nodes, outputs = GRAPHS[graph]
    others = [(1, 5), (17, 5)] if rows == "rows" else []
    check(model(nodes, [("x", FLOAT, [rows, 5])], outputs, **CONSTANTS), *of_all_kinds((3, 5), others))


@pytest.mark.parametrize("shape", [(1,), (7,), (64,), (3, 5, 2), (1, 1, 13)])
@pytest.mark.parametrize("kind", [np.bool_, np.float32, np.int64, np.uint8])
def test_non_zero_of_every_type(shape: tuple[int, ...], kind: Any) -> None:
    made = model(
        [Node("NonZero", ["x"], ["y"])],
        [("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)],
        [("y", INT64)],
    )
    x = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    check(made, {"x": x}, {"x": np.zeros_like(x)}, {"x": np.ones_like(x)})


@pytest.mark.parametrize("ordered", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("rows", [6, "rows"])
def test_unique(ordered: int, axis: int | None, rows: Any) -> None:
    """All four outputs."""
    outputs = [("y", FLOAT), ("first", INT64), ("inverse", INT64), ("counts", INT64)]
    attributes = {"sorted": ordered, **({} if axis is None else {"axis": axis})}
    made = model(
        [Node("Unique", ["x"], [name for name, _ in outputs], **attributes)], [("x", FLOAT, [rows, 3])], outputs
    )
    rng = np.random.default_rng(axis or 0)
    shapes = [(6, 3)] * 3 if rows == 6 else [(1, 3), (33, 3), (7, 3)]
    runs = [
        {"x": rng.integers(0, most, shape).astype(np.float32)} for shape, most in zip(shapes, (2, 9, 1), strict=True)
    ]
    check(made, *runs)


def test_not_a_number_is_one_value() -> None:
    """As numpy's; onnxruntime leaves each alone."""
    x = np.array([np.nan, 1, -0.0, np.nan, 0, -np.inf, 1], np.float32)
    made = model([Node("Unique", ["x"], ["y", "", "", "c"])], [("x", FLOAT, [7])], [("y", FLOAT), ("c", INT64)])
    with penstock.compile(made, target="cpu:x86-64-v3").load() as loaded, loaded.session(threads=1) as session:
        found = session.run({"x": x})
    wanted = np.unique(x, return_counts=True)
    np.testing.assert_array_equal(found["y"], wanted[0])
    np.testing.assert_array_equal(found["c"], wanted[1])


@pytest.mark.parametrize("centered", [0, 1])
@pytest.mark.parametrize(
    ("most", "overlap", "least"), [(3, 0.5, 0.2), (100, 0.3, None), (2, 0.0, 0.9), (0, 0.5, 0.1), (5, 0.4, 2.0)]
)
@pytest.mark.parametrize("fed", [False, True])
def test_boxes(centered: int, most: int, overlap: float, least: float | None, fed: bool) -> None:
    """Batch and number of boxes are symbols; limits are constants, or fed with the boxes."""
    limits = {"most": np.array([most]), "overlap": np.array([overlap], np.float32)}
    if least is not None:
        limits["least"] = np.array([least], np.float32)
    inputs: list[Tensor] = [("boxes", FLOAT, ["batch", "n", 4]), ("scores", FLOAT, ["batch", 2, "n"])]
    if fed:
        inputs += [(name, INT64 if name == "most" else FLOAT, [1]) for name in limits]
    node = Node("NonMaxSuppression", ["boxes", "scores", *limits], ["y"], center_point_box=centered)
    made = model([node], inputs, [("y", INT64)], **({} if fed else limits))
    runs: list[dict[str, Any]] = []
    for batch, count in ((1, 1), (3, 65), (2, 7)):
        rng = np.random.default_rng(count)
        first, second = rng.random((batch, count, 2)) * 5, rng.random((batch, count, 2)) * 3 + 0.1
        boxes = np.concatenate([first, second if centered else first + second * rng.choice([-1, 1], second.shape)], 2)
        scores = rng.choice(np.linspace(0, 1, 9), (batch, 2, count))  # some are equal
        runs.append({"boxes": boxes.astype(np.float32), "scores": scores.astype(np.float32), **(limits if fed else {})})
    check(made, *runs)


def test_what_a_model_says_of_itself() -> None:
    nodes, outputs = GRAPHS["positions"]
    with penstock.compile(model(nodes, [("x", FLOAT, ["b", 5])], outputs, **CONSTANTS)).load() as loaded:
        assert [symbol.name for symbol in loaded.symbols] == ["b"]
        (symbol,) = loaded.counted
        assert symbol.low == 0
        assert [output.shape for output in loaded.outputs] == [(2, symbol.name), (symbol.name, 2)]
        with loaded.session(threads=1) as session:
            session.set_sizes({"b": 3})
            assert session.sizes == {"b": 3}
            x = floats(3, 5)
            results, records = session.profile({"x": x})
            np.testing.assert_array_equal(results["at"], np.array(np.nonzero(x > 0.3)))
            assert [record.kernel for record in records].count("") == 1  # the bind
            room = np.full(2 * 15, -1)
            bound = session.run({"x": x}, out={"at": room})["at"]
            assert np.shares_memory(bound, room) or bound.size < 15
            np.testing.assert_array_equal(bound, results["at"])


def test_a_count_that_the_model_does_not_allow() -> None:
    """What is found must fit what it meets: five weights. The session goes on with other data."""
    nodes = [Node("NonZero", ["x"], ["at"]), Node("Cast", ["at"], ["c"], to=FLOAT), Node("MatMul", ["c", "w"], ["y"])]
    made = model(nodes, [("x", BOOL, [9])], [("y", FLOAT)], w=floats(5, 3))
    five, six = np.arange(9) < 5, np.arange(9) < 6
    ctx = CompilerContext()
    module = import_model(made, ctx)
    with pytest.raises(ValueError, match="6 elements were counted"):
        run_module(module, ctx, {"x": six})
    with penstock.compile(made).load() as loaded, loaded.session(threads=1) as session:
        for _ in range(2):
            with pytest.raises(PenstockError, match=r"needs 5 elements, and there are 6") as caught:
                session.run({"x": six})
            assert "PENS-R017" in str(caught.value)
            check_sum = np.arange(5, dtype=np.float32)[None] @ floats(5, 3)
            np.testing.assert_allclose(session.run({"x": five})["y"], check_sum, rtol=1e-5)


def test_indices_into_what_is_counted() -> None:
    """Of nothing, nothing can be picked; a run that tries ends with a sentence, one that does not goes on."""
    nodes = [
        Node("Compress", ["x", "m"], ["few"], axis=0),
        Node("NonZero", ["chosen"], ["at"]),
        Node("Squeeze", ["at", "zero"], ["rows"]),
        Node("Gather", ["few", "rows"], ["y"]),
    ]
    inputs: list[Tensor] = [("x", FLOAT, [6, 5]), ("m", BOOL, [6]), ("chosen", BOOL, [4])]
    made = model(nodes, inputs, [("y", FLOAT)], zero=np.array([0]))
    none, some = np.zeros(6, bool), np.array([0, 1, 0, 1, 0, 1], bool)
    x, first = floats(6, 5), np.array([1, 0, 1, 0], bool)
    check(made, {"x": x, "m": some, "chosen": first}, {"x": x, "m": some, "chosen": none[:4]})
    with penstock.compile(made).load() as loaded, loaded.session(threads=1) as session:
        assert session.run({"x": x, "m": none, "chosen": none[:4]})["y"].shape == (0, 5)
        with pytest.raises(PenstockError, match="the model needs them equal") as caught:
            session.run({"x": x, "m": none, "chosen": first})
        assert "PENS-R017" in str(caught.value)


def test_what_is_known_is_not_counted() -> None:
    """Of constants, and of a tensor that is the same everywhere."""
    nodes = [
        Node("Shape", ["x"], ["s"]),
        Node("ConstantOfShape", ["s"], ["ones"], value=helper.make_tensor("v", INT64, [1], [1])),
        Node("NonZero", ["ones"], ["everywhere"]),
        Node("NonZero", ["fixed"], ["known"]),
    ]
    made = model(
        nodes, [("x", FLOAT, ["b", 3])], [("everywhere", INT64), ("known", INT64)], fixed=np.array([0, 2, 0, 1])
    )
    with penstock.compile(made).load() as loaded:
        assert loaded.counted == ()
        assert loaded.outputs[0].shape == (2, "3*b")
    check(made, {"x": floats(2, 3)}, {"x": floats(5, 3)})


def test_the_end_of_a_detector() -> None:
    """Boxes kept, at most ten of them by score, padded to ten: what is taken away from a size is counted, too."""
    nodes = [
        Node("NonMaxSuppression", ["b", "s", "most", "overlap", "least"], ["kept"]),
        Node("Slice", ["kept", "two", "three", "one"], ["column"]),
        Node("Squeeze", ["column", "one"], ["rows"]),
        Node("Squeeze", ["b", "zero"], ["all"]),
        Node("Gather", ["all", "rows"], ["boxes"]),
        Node("GatherND", ["s", "kept"], ["scores"]),
        Node("Shape", ["scores"], ["n"]),
        Node("Concat", ["n", "ten"], ["both"], axis=0),
        Node("ReduceMin", ["both"], ["k"], keepdims=1),
        Node("TopK", ["scores", "k"], ["best", "order"]),
        Node("Gather", ["boxes", "order"], ["out"]),
        Node("Shape", ["best"], ["found"]),
        Node("Sub", ["ten", "found"], ["rest"]),
        Node("Concat", ["zero", "rest"], ["pads"], axis=0),
        Node("Pad", ["best", "pads"], ["padded"]),
    ]
    numbers = {"zero": 0, "one": 1, "two": 2, "three": 3, "ten": 10, "most": 20}
    limits = {"overlap": np.array([0.5], np.float32), "least": np.array([0.4], np.float32)}
    made = model(
        nodes,
        [("b", FLOAT, [1, "n", 4]), ("s", FLOAT, [1, 3, "n"])],
        [("out", FLOAT), ("best", FLOAT), ("padded", FLOAT)],
        **{name: np.array([number]) for name, number in numbers.items()},
        **limits,
    )
    runs: list[dict[str, Any]] = []
    for count, scale in ((50, 1.0), (7, 1.0), (5, 0.1), (200, 1.0)):
        rng = np.random.default_rng(count)
        corner = rng.random((1, count, 2)) * 5
        boxes = np.concatenate([corner, corner + rng.random((1, count, 2)) * 2], 2)
        scores = rng.random((1, 3, count)) * scale
        runs.append({"b": boxes.astype(np.float32), "s": scores.astype(np.float32)})
    check(made, *runs)


@pytest.mark.parametrize("shape", [(5, 7), ("a", "b")])
def test_some_of_the_outputs_may_be_asked_for(shape: tuple[Any, ...]) -> None:
    nodes = [
        *PICKED,
        Node("Relu", ["y"], ["r"]),
        Node("Exp", ["x"], ["e"]),
        Node("ReduceSum", ["y"], ["s"], keepdims=0),
    ]
    outputs = [("at", INT64), ("r", FLOAT), ("e", FLOAT), ("s", FLOAT), ("y", FLOAT)]
    made = model(nodes, [("x", FLOAT, shape)], outputs, z=CONSTANTS["z"])
    oracle = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    with penstock.compile(made, target="cpu:x86-64-v3").load() as loaded, loaded.session(threads=2) as session:
        for chosen in (["r"], None, ["e"], ["s", "at"], ["y"], ["e"], None):
            for feeds in of_all_kinds((5, 7), [(3, 2), (40, 9)] if shape != (5, 7) else []):
                wanted: list[Any] = list(oracle.run(chosen, feeds))
                found = session.run(feeds, chosen)
                for (name, array), expected in zip(found.items(), wanted, strict=True):
                    assert array.shape == expected.shape, name
                    np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)
                assert session.profile(feeds, chosen)[0].keys() >= found.keys()


def test_what_is_counted_in_a_branch_is_counted_whichever_is_taken() -> None:
    def side(scale: float) -> Any:
        constant = Node("Constant", [], ["k"], value=numpy_helper.from_array(np.float32(scale)))
        found = [Node("Greater", ["x", "k"], ["m"]), Node("NonZero", ["m"], ["at"]), Node("Transpose", ["at"], ["p"])]
        body = [constant, *found, Node("GatherND", ["x", "p"], ["g"]), Node("ReduceSum", ["g"], ["out"], keepdims=0)]
        return helper.make_graph(body, "side", [], [helper.make_tensor_value_info("out", FLOAT, [])])

    node = Node("If", ["c"], ["y"], then_branch=side(0.3), else_branch=side(-0.3))
    made = model([node], [("c", BOOL, []), ("x", FLOAT, (5, 7))], [("y", FLOAT)])
    check(made, *({"c": np.array(c), **feeds} for c in (True, False) for feeds in of_all_kinds((5, 7))))
