"""What a model takes for granted of its sizes, what depends on them and is refused, and how sizes are bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.frontend.dynamic import (
    I64,
    check,
    floats,
    i64,
    imported,
    input_shapes,
    model,
    node,
    output_shapes,
    value,
)

from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import DEPENDS_ON_SIZES
from penstock.compiler.extents import bounds, floordiv, symbol
from penstock.compiler.frontends.onnx import check_model
from penstock.compiler.interpreter import run_module


def refusals(made: Any, **options: Any) -> list[tuple[str, str, str]]:
    return [(str(p.code), p.node, f"{p.reason} / {p.hint}") for p in check_model(made, **options)]


def test_what_depends_on_sizes_is_refused() -> None:
    """One sentence by node, with the symbols and what to type."""
    made = model(
        [
            node("Squeeze", "x", "a"),
            node("Shape", "x", "shape", end=1),
            node("Greater", "shape three", "large"),
            node("Where", "large shape three", "chosen"),
            node("ConstantOfShape", "chosen", "b"),
            node("Reshape", "x pairs", "c"),
        ],
        [value("x", ["n", "seq", 3])],
        [value(name, None) for name in "abc"],
        three=i64(3),
        pairs=i64(2, -1),
    )
    told = refusals(made)
    found = [(code, name) for code, name, _ in told]  # b is as large as what is chosen, which is measured
    assert found == [(DEPENDS_ON_SIZES, "n_a"), (DEPENDS_ON_SIZES, "n_c")]
    assert "n" in told[0][2]
    assert "--dim n=" in told[0][2]
    assert "--dim n=" in told[1][2]
    assert "n_a" not in [name for _, name, _ in refusals(made, dims={"n": 4, "seq": 5})]


def test_sizes_that_cannot_agree() -> None:
    """A size equal to itself plus one is told; a fixed size outside of the range is too."""
    made = model(
        [
            node("Shape", "x", "n"),
            node("Add", "n one", "m"),
            node("ConstantOfShape", "m", "z"),
            node("Add", "x z", "y"),
        ],
        [value("x", ["n"])],
        [value("y", None)],
        one=i64(1),
    )
    ((code, name, text),) = refusals(made)
    assert (code, name) == (DEPENDS_ON_SIZES, "n_y")
    assert "[n] and [n + 1]" in text
    made = model([node("Add", "x w", "y")], [value("x", ["n"])], [value("y", None)], w=floats(7))
    assert input_shapes(imported(made)[0]) == ["[7]"]
    ((code, _, _),) = refusals(made, dims={"n": (8, 9)})
    assert code == DEPENDS_ON_SIZES


def test_unknown_rank_is_refused() -> None:
    made = model([node("Relu", "x", "y")], [value("x", None)], [value("y", None)])
    assert refusals(made)[0][0] == "PENS-M014"


def test_divisions_of_one_size_cancel() -> None:
    """Bounds over the residues of a size: what rounding up and down leaves is known exactly."""
    h, b = symbol("h"), symbol("b")
    assert bounds(floordiv(h + 1, 2) - floordiv(h, 2)) == (0, 1)
    assert bounds(2 * floordiv(h + 1, 2) + 1 - h) == (1, 2)
    assert bounds(floordiv(h + 1, 2) + floordiv(h, 2) - h) == (0, 0)
    assert bounds(floordiv(h, 3) - 2)[0] == -2
    assert bounds(b * floordiv(h + 1, 2))[0] == 1
    assert bounds(b * h - b)[0] == 0
    assert bounds(b * h - b - h)[0] == -1
    assert bounds(h - b * h)[1] == 0


def test_multiples() -> None:
    """What is halved and doubled again, or cut into blocks: the size is a multiple, which runs are held to."""
    made = model(
        [
            node("MaxPool", "x", "half", kernel_shape=[2, 2], strides=[2, 2]),
            node("Resize", "half _ scales", "up", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
            node("Add", "x up", "y"),
            node("SpaceToDepth", "x", "z", blocksize=4),
        ],
        [value("x", ["n", 1, "h", "w"])],
        [value("y", None), value("z", None)],
        scales=np.array([1, 1, 2, 2], np.float32),
    )
    module = check(made, {"x": floats(1, 1, 4, 8)}, {"x": floats(2, 1, 12, 4)})
    h, w = (f"4*(({name}:4..2147483644) floordiv 4)" for name in "hw")
    assert input_shapes(module) == [f"[n,1,{h},{w}]"]
    assert output_shapes(module)[0] == input_shapes(module)[0]
    with pytest.raises(ValueError, match=r"axis 2 of input 'x' has 6 elements, but must have 4\*.* = 4"):
        run_module(module, CompilerContext(), {"x": floats(1, 1, 6, 8)})
    made = model([node("Reshape", "x t", "y")], [value("x", ["n", "m"])], [value("y", None)], t=i64(0, -1, 6))
    assert output_shapes(check(made, {"x": floats(2, 12)}, {"x": floats(3, 6)})) == [
        "[n,(m:6..2147483646) floordiv 6,6]"
    ]


def test_multiples_of_a_symbol() -> None:
    """Heads that share keys: those of the queries are a multiple of those of the keys; runs say by how much."""
    made = model(
        [node("Attention", "q k k", "y")],
        [value("q", ["b", "h", "s", "d"]), value("k", ["b_1", "g", "t", "d_1"])],
        [value("y", None)],
        opset=23,
    )
    heads = lambda h, g: {"q": floats(2, h, 3, 4), "k": floats(2, g, 5, 4)}  # noqa: E731
    module = check(made, heads(6, 2), heads(4, 4), heads(3, 1))
    assert input_shapes(module) == ["[b,g*(h floordiv g),s,d]", "[b,g,t,d]"]
    with pytest.raises(ValueError, match=r"axis 1 of input 'q' has 5 elements, but must have g\*\(h floordiv g\) = 4"):
        run_module(module, CompilerContext(), heads(5, 2))


def test_widths_cut_into_heads_are_the_same() -> None:
    """Of the widths of queries and keys, one follows from the other."""
    made = model(
        [node("Attention", "q k v", "y", q_num_heads=4, kv_num_heads=2)],
        [value("q", ["b", "s", "m"]), value("k", ["b", "t", "n"]), value("v", ["b", "t", "o"])],
        [value("y", None)],
        opset=23,
    )
    feeds = [{"q": floats(1, 3, 4 * d), "k": floats(1, 5, 2 * d), "v": floats(1, 5, 6)} for d in (1, 3, 8)]
    module = check(made, *feeds)
    assert input_shapes(module)[1] == "[b,t,2*((m:4..2147483644) floordiv 4)]"


def test_axes_that_are_flattened_agree_in_pairs() -> None:
    made = model(
        [node("Flatten", "x", "a", axis=0), node("Flatten", "w", "c", axis=0), node("Add", "a c", "y")],
        [value("x", ["h", "w"]), value("w", ["k", "l"])],
        [value("y", None)],
    )
    module = check(made, {"x": floats(2, 3), "w": floats(2, 3)}, {"x": floats(4, 1), "w": floats(4, 1)})
    assert input_shapes(module) == ["[h,w]", "[h,w]"]


@pytest.mark.parametrize(
    "text",
    ["((((", "a**4**4", "(((9**4)**4)**4)**4", "((a+b)**4)**4", "x//0", "1<<99", "Max(", "()", "a, b", "b" * 5000],
)
def test_names_that_are_no_formulas(text: str) -> None:
    """Whatever stands there is a name, made short and clean; nothing large is computed."""
    made = model([node("Relu", "x", "y")], [value("x", ["a", "b", text])], [value("y", None)])
    name = input_shapes(imported(made)[0])[0].strip("[]").split(",")[-1]
    assert name.isidentifier()
    assert len(name) <= 64


def test_promised_shapes_may_be_symbolic() -> None:
    """A shape that is fed at run time and declared with names of the inputs' sizes."""
    made = model(
        [node("Reshape", "x s", "y")],
        [value("x", ["n", 4]), value("s", [3], I64)],
        [value("y", ["n", 2, 2])],
    )
    module = check(made, {"x": floats(3, 4), "s": i64(3, 2, 2)}, {"x": floats(2, 4), "s": i64(0, -1, 2)})
    with pytest.raises(ValueError, match="is not what the model was compiled for"):
        run_module(module, CompilerContext(), {"x": floats(3, 4), "s": i64(2, 3, 2)})


def test_indices_of_another_input() -> None:
    """Gathered element by element: sizes with different names are one; a batch taken from another input too."""
    made = model(
        [
            node("GatherElements", "x i", "g", axis=1),
            node("Shape", "i", "b", end=1),
            node("Concat", "b two minus", "target", axis=0),
            node("Reshape", "x target", "y"),
        ],
        [value("x", ["n", "m"]), value("i", ["n_1", "k"], I64)],
        [value("g", None), value("y", None)],
        two=i64(2),
        minus=i64(-1),
    )
    index = np.array([[0, 3, 1], [2, 2, 0]])
    module = check(made, {"x": floats(2, 4), "i": index})
    assert input_shapes(module) == ["[n,2*((m:2..2147483646) floordiv 2)]", "[n,k]"]


@pytest.mark.parametrize("perm", [[-1, 0], [0, 0], [0, 2], [0], [1, 0, 2]])
def test_what_is_refused_whatever_the_sizes_says_nothing_of_them(perm: list[int]) -> None:
    """ONNX counts a Transpose's axes from 0, and wants each once: no size would help."""
    made = model([node("Transpose", "x", "y", perm=perm)], [value("x", ["n", 3])], [value("y", None)])
    ((_, name, told),) = refusals(made)
    assert name == "n_y"
    assert told.endswith("is no permutation of the axes of a tensor of rank 2 / ")
