"""Models that compute sizes, and declare no shape of what is as large: compiled once, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from unit.runtime.test_counted_models import BOOL, FLOAT, INT64, Node, check, floats, model

import penstock
from penstock.compiler.errors import ModelError, OptionError
from penstock.runtime import PenstockError

ONE, ZERO = np.int64(1), np.int64(0)
AXES: dict[str, Any] = {"first": np.array([0]), "unit": np.array([1]), "rest": np.array([-1])}


def number(value: int) -> Any:
    return np.array(value, np.int64)


def ranged() -> onnx.ModelProto:
    """Range(a, n): both ends are inputs."""
    node = Node("Range", ["a", "n", "one"], ["y"], name="/r/Range")
    return model([node], [("a", INT64, []), ("n", INT64, [])], [("y", INT64)], one=ONE)


def lengths() -> onnx.ModelProto:
    """A mask of lengths, as long as the longest; the length is used twice."""
    nodes = [
        Node("ReduceMax", ["d"], ["l"], keepdims=0),
        Node("Range", ["zero", "l", "one"], ["p"], name="mask"),
        Node("Unsqueeze", ["d", "unit"], ["column"]),
        Node("Less", ["p", "column"], ["m"]),
        Node("Cast", ["m"], ["f"], to=FLOAT),
        Node("Unsqueeze", ["l", "first"], ["l1"]),
        Node("Concat", ["unit", "l1"], ["shape"], axis=0),
        Node("Expand", ["three", "shape"], ["e"]),
        Node("Mul", ["f", "e"], ["y"]),
        Node("Concat", ["l1", "rest"], ["turned"], axis=0),
        Node("Reshape", ["y", "turned"], ["t"]),
    ]
    return model(
        nodes, [("d", INT64, ["n"])], [("y", FLOAT), ("t", FLOAT)], one=ONE, zero=ZERO, three=np.float32(3), **AXES
    )


def positive() -> onnx.ModelProto:
    """As many elements as are positive: what is counted cannot be more than there are."""
    nodes = [
        Node("Greater", ["x", "c"], ["g"]),
        Node("Cast", ["g"], ["i"], to=INT64),
        Node("ReduceSum", ["i"], ["k"], keepdims=1),
        Node("Slice", ["x", "first", "k"], ["y"]),
        Node("ConstantOfShape", ["k"], ["q"]),
        Node("Add", ["y", "q"], ["s"]),
    ]
    return model(nodes, [("x", FLOAT, ["n"])], [("s", FLOAT), ("q", FLOAT)], c=np.float32(0), **AXES)


def compiled(made: onnx.ModelProto, dims: dict[str, Any]) -> Any:
    return penstock.compile(made, target="cpu:x86-64-v3", dims=dims).load()


def same(made: onnx.ModelProto, dims: dict[str, Any], *runs: dict[str, Any]) -> None:
    check(made, *runs, dims=dims)


def test_ends_of_ranges() -> None:
    dims = {"r_Range": (0, 7), "r_Range_2": (0, 32)}
    runs = [(2, 9), (0, 32), (5, 2), (3, 3), (7, 8)]
    same(ranged(), dims, *({"a": number(a), "n": number(n)} for a, n in runs))


def test_lengths_are_told_once() -> None:
    runs: list[dict[str, Any]] = [{"d": np.array(row, np.int64)} for row in ([3, 5], [1, 0, 8], [1], [2, 2, 2], [3, 5])]
    same(lengths(), {"mask": (1, 8)}, *runs)


def test_what_is_counted_is_bounded() -> None:
    arrays = [floats(9), np.full(4, -1, np.float32), np.full(5, 1, np.float32), floats(9, seed=1)]
    same(positive(), {}, *({"x": x} for x in arrays))


@pytest.mark.parametrize("op", ["Expand", "Tile", "Pad", "Slice"])
def test_parameters_that_are_fed(op: str) -> None:
    feeds: list[tuple[Any, list[int]]] = {
        "Expand": [(floats(2, 1), [2, 4]), (floats(2, 1), [2, 1]), (floats(2, 1), [2, 9])],
        "Tile": [(floats(2, 3), [2, 1]), (floats(2, 3), [3, 5]), (floats(2, 3), [0, 2])],
        "Pad": [(floats(2, 3), [1, 0, 0, 2]), (floats(2, 3), [0, 0, 0, 0])],
        "Slice": [(floats(8, 3), [2, 5]), (floats(8, 3), [0, 8]), (floats(8, 3), [5, 5])],
    }[op]
    shape, entries = list(feeds[0][0].shape), len(feeds[0][1])
    dims: dict[str, Any] = {f"node{suffix}": (0, 9) for suffix in ("", "_2", "_3", "_4")[:entries]}
    nodes = [Node(op, ["x", "p"], ["y"], name="node")]
    if op == "Slice":
        halves = Node("Split", ["p"], ["start", "end"], num_outputs=2)
        nodes = [halves, Node(op, ["x", "start", "end"], ["y"], name="node")]
    if op == "Expand":  # a size that is 1 or the operand's own is not told by a symbol
        nodes = [Node("Gather", ["p", "rest"], ["wide"]), Node(op, ["x", "wide"], ["y"], name="node")]
        dims = {"node": (1, 9)}
    made = model(nodes, [("x", FLOAT, shape), ("p", INT64, [entries])], [("y", FLOAT)], **AXES)
    same(made, dims, *({"x": x, "p": np.array(p, np.int64)} for x, p in feeds))


def test_sizes_that_sizes_choose() -> None:
    nodes = [
        Node("Shape", ["x"], ["n"]),
        Node("Greater", ["n", "three"], ["large"]),
        Node("Where", ["large", "n", "three"], ["chosen"]),
        Node("ConstantOfShape", ["chosen"], ["y"]),
    ]
    made = model(nodes, [("x", FLOAT, ["n"])], [("y", FLOAT)], three=np.array([3]))
    same(made, {}, *({"x": floats(count)} for count in (1, 3, 4, 17, 2)))


def test_branches_that_are_not_taken_measure_nothing() -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = Node("Range", ["zero", name, "one"], [f"r_{name}"], name=f"range_{name}")
        total = Node("ReduceSum", [f"r_{name}"], [f"s_{name}"], keepdims=0)
        return helper.make_graph([node, total], name, [], [helper.make_tensor_value_info(f"s_{name}", INT64, None)])

    node = Node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    inputs: list[Any] = [("c", BOOL, []), ("a", INT64, []), ("b", INT64, [])]
    made = model([node], inputs, [("y", INT64)], one=ONE, zero=ZERO)
    feeds = [(True, 5, 1000), (False, -3, 4), (True, 0, 0)]
    runs = [{"c": np.array(c), "a": number(a), "b": number(b)} for c, a, b in feeds]
    same(made, {"range_a": (1, 8), "range_b": (0, 8)}, *runs[:2])


def test_sizes_outside_of_what_is_said() -> None:
    with compiled(ranged(), {"r_Range": 2, "r_Range_2": (3, 8)}) as artifact, artifact.session(threads=1) as session:
        assert session.run({"a": number(2), "n": number(8)})["y"].tolist() == [2, 3, 4, 5, 6, 7]
        for a, n, sentence in (
            (2, 9, "r_Range_2 to be 3 to 8, and it is 9"),
            (2, -1, "r_Range_2 to be 3 to 8, and it is -1"),
            (1, 4, "needs 2 elements, and there are 1"),
        ):
            with pytest.raises(PenstockError, match=sentence) as error:
                session.run({"a": number(a), "n": number(n)})
            assert error.value.code == "PENS-R017"
        assert session.run({"a": number(2), "n": number(4)})["y"].tolist() == [2, 3]


def test_a_size_that_nothing_bounds() -> None:
    with pytest.raises(ModelError) as error:
        penstock.compile(lengths())
    assert "node 'mask' (Range): its length is computed when the model runs" in str(error.value)
    assert "--dim mask=0..512" in str(error.value)


def test_bounds_of_what_no_node_computes() -> None:
    with pytest.raises(OptionError, match="no node of the model computes a size 'r_Range_3'"):
        penstock.compile(ranged(), dims={"r_Range": (0, 7), "r_Range_2": (0, 32), "r_Range_3": 4})
    with pytest.raises(OptionError, match="has no symbolic dimension 'length'"):
        penstock.compile(ranged(), dims={"length": (0, 7)})


def test_floating_point_sizes_are_no_sizes() -> None:
    node = Node("Range", ["a", "n", "one"], ["y"], name="r")
    made = model([node], [("a", FLOAT, []), ("n", FLOAT, [])], [("y", FLOAT)], one=np.float32(1))
    with pytest.raises(ModelError, match="its length depends on the model's inputs, and the model does not declare"):
        penstock.compile(made)
