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


def passed_on() -> onnx.ModelProto:
    """A number of positive elements that goes through thirty ops, each of which reads it twice."""
    nodes = [Node("Greater", ["x", "c"], ["g"]), Node("Cast", ["g"], ["i"], to=INT64)]
    nodes.append(Node("ReduceSum", ["i"], ["k0"], keepdims=1))
    nodes += [Node("Max" if step % 2 else "Min", [f"k{step}"] * 2, [f"k{step + 1}"]) for step in range(30)]
    nodes.append(Node("Slice", ["x", "first", "k30"], ["y"]))
    return model(nodes, [("x", FLOAT, ["n"])], [("y", FLOAT)], c=np.float32(0), **AXES)


def compiled(made: onnx.ModelProto, dims: dict[str, Any]) -> Any:
    return penstock.compile(made, target="cpu:x86-64-v3", dims=dims).load()


def same(made: onnx.ModelProto, dims: dict[str, Any], *runs: dict[str, Any]) -> None:
    check(made, *runs, dims=dims)


def test_bounds_are_found_in_little_time() -> None:
    """Each op has two paths to the count: there are 2^30 in all."""
    x = np.random.default_rng(4).standard_normal(9).astype(np.float32)
    same(passed_on(), {"n": (0, 20)}, {"x": x}, {"x": -np.abs(x)}, {"x": np.abs(x)})


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


@pytest.mark.parametrize("kind", [FLOAT, INT64])
def test_ranges_in_any_steps(kind: int) -> None:
    """How many steps there are is measured, where the ends are no sizes."""
    node = Node("Range", ["a", "n", "step"], ["y"], name="r")
    made = model([node], [("a", kind, []), ("n", kind, []), ("step", kind, [])], [("y", kind)])
    as_kind = helper.tensor_dtype_to_np_dtype(kind)
    runs = [(0, 7, 2), (5, -4, -3), (3, 3, 1), (2, 9, -1)] + ([(0, 3.5, 0.25)] if kind == FLOAT else [])
    feeds = [dict(zip(("a", "n", "step"), map(np.array, run, [as_kind] * 3), strict=True)) for run in runs]
    same(made, {"r": (0, 16)}, *feeds)
    with pytest.raises(ModelError, match=r"'r' \(Range\): its length is computed when the model runs"):
        penstock.compile(made)


def parted() -> onnx.ModelProto:
    """Rows in parts as long as a run says, put together in another order and added to what they were."""
    nodes = [
        Node("Split", ["x", "sizes"], ["p", "q", "r"], axis=0, name="parts"),
        Node("Concat", ["q", "r", "p"], ["turned"], axis=0),
        Node("Add", ["x", "turned"], ["y"]),
    ]
    inputs: list[Any] = [("x", FLOAT, ["n", 3]), ("sizes", INT64, [3])]
    return model(nodes, inputs, [("p", FLOAT), ("r", FLOAT), ("y", FLOAT)])


def test_parts_as_a_run_says() -> None:
    runs = [(2, 5, 0), (0, 0, 4), (3, 3, 3), (0, 1, 0)]
    same(parted(), {}, *({"x": floats(sum(sizes), 3), "sizes": np.array(sizes)} for sizes in runs))


def test_parts_that_are_not_the_whole() -> None:
    with compiled(parted(), {}) as artifact, artifact.session(threads=1) as session:
        for sizes in ((2, 5, 1), (3, 3, 0), (8, -1, 0), (7, 7, -7), (-1, 4, 4)):
            with pytest.raises(PenstockError) as error:
                session.run({"x": floats(7, 3), "sizes": np.array(sizes)})
            assert error.value.code == "PENS-R017"


@pytest.mark.parametrize("shape", [[6, 4], [4, 6], [24, 1], [8, -1], [-1, 2]])
def test_shapes_of_several_measured_sizes(shape: list[int]) -> None:
    """No size can be told from the others when compiling; a run tells whether they have all elements."""
    nodes = [Node("Reshape", ["x", "shape"], ["m"], name="r"), Node("ReduceSum", ["m", "first"], ["y"], keepdims=0)]
    inputs: list[Any] = [("x", FLOAT, ["n"])]
    if -1 in shape:  # which of them it is must be known
        parts = ["rest", "size"] if shape[0] == -1 else ["size", "rest"]
        nodes.insert(0, Node("Concat", parts, ["shape"], axis=0))
        made = model(nodes, [*inputs, ("size", INT64, [1])], [("m", FLOAT), ("y", FLOAT)], **AXES)
        fed = [{"size": np.array([extent for extent in shape if extent > 0])}]
    else:
        made = model(nodes, [*inputs, ("shape", INT64, [2])], [("m", FLOAT), ("y", FLOAT)], **AXES)
        fed = [{"shape": np.array(shape)}, {"shape": np.array(shape[::-1])}]
    dims = {"r": (0, 32), "r_2": (0, 32)} if -1 not in shape else {"r": (0, 32)}
    same(made, dims, *({"x": floats(24), **feeds} for feeds in fed))
    with compiled(made, dims) as artifact, artifact.session(threads=1) as session:
        with pytest.raises(PenstockError) as error:
            session.run({"x": floats(23), **fed[0]})
        assert error.value.code == "PENS-R017"


def test_images_as_large_as_a_run_says() -> None:
    nodes = [Node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", axes=[2, 3], name="up")]
    made = model(nodes, [("x", FLOAT, [1, 2, "h", 7]), ("sizes", INT64, [2])], [("y", FLOAT)])
    runs = [(5, (8, 3)), (2, (2, 7)), (9, (1, 16))]
    feeds = [{"x": floats(1, 2, height, 7), "sizes": np.array(sizes)} for height, sizes in runs]
    same(made, {"up": (1, 16), "up_2": (1, 16)}, *feeds)


def test_as_many_as_are_marked() -> None:
    """k is how many elements a mask has: at most all."""
    nodes = [
        Node("Cast", ["m"], ["ones"], to=INT64),
        Node("ReduceSum", ["ones", "first"], ["k"], keepdims=1),
        Node("TopK", ["x", "k"], ["y", "at"], name="top"),
    ]
    made = model(nodes, [("x", FLOAT, ["n"]), ("m", BOOL, ["n"])], [("y", FLOAT), ("at", INT64)], **AXES)
    masks = [[1, 0, 1, 1, 0, 0], [0, 0, 0], [1, 1, 1, 1], [1]]
    same(made, {}, *({"x": floats(len(mask)), "m": np.array(mask, bool)} for mask in masks))


def test_classes_as_many_as_a_run_says() -> None:
    made = model(
        [Node("OneHot", ["x", "depth", "values"], ["y"], name="hot")],
        [("x", INT64, ["n"]), ("depth", INT64, [])],
        [("y", FLOAT)],
        values=np.array([0, 1], np.float32),
    )
    runs = [([1, 0, 2], 4), ([0], 1), ([5, -1, 2, 2], 8)]
    same(made, {"hot": (1, 8)}, *({"x": np.array(x), "depth": number(depth)} for x, depth in runs))


def test_lists_of_parts_as_a_run_says() -> None:
    nodes = [
        Node("SplitToSequence", ["x", "sizes"], ["parts"], axis=0, name="parts"),
        Node("SequenceAt", ["parts", "second"], ["p"]),
        Node("ConcatFromSequence", ["parts"], ["y"], axis=0),
    ]
    inputs: list[Any] = [("x", FLOAT, ["n", 3]), ("sizes", INT64, [3])]
    made = model(nodes, inputs, [("p", FLOAT), ("y", FLOAT)], second=ONE)
    runs = [(2, 5, 1), (0, 4, 0), (1, 0, 3)]
    same(made, {}, *({"x": floats(sum(sizes), 3), "sizes": np.array(sizes)} for sizes in runs))
