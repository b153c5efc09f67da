"""Models with symbolic dimensions: imported once without sizes, right at every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.frontend.dynamic import (
    BOOL,
    I64,
    INT,
    F,
    check,
    floats,
    i64,
    imported,
    input_shapes,
    model,
    node,
    op_names,
    output_shapes,
    scalar,
    value,
)

from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import OptionError
from penstock.compiler.frontends.onnx import check_model
from penstock.compiler.interpreter import run_module

# Names ---------------------------------------------------------------------------------------------------------------


def test_names_become_symbols() -> None:
    """As they are where they can be; cleaned and made different where not; after input and axis where there is none."""
    shape = ["batch", "batch size", "batch-size", "3d", None, "max", 7]
    made = model([node("Relu", "x", "y")], [value("x", shape)], [value("y", None)])
    module, _ = imported(made)
    assert input_shapes(module) == ["[batch,batch_size,batch_size_2,d3d,x_4,max_2,7]"]
    assert output_shapes(module) == input_shapes(module)


def test_formulas() -> None:
    """A name that reads as a formula of names that stand alone is one; others are names."""
    shape = ["s0", "s0 + 1", "2*s0", "past + s0", "s0//2 + 1", "Max(1, s0 - 4)", "floor(s0/2)", "s0 - 1", "s0 - 2"]
    made = model([node("Relu", "x", "y")], [value("x", shape), value("p", ["past", "other + s0"])], [value("y", None)])
    module, _ = imported(made)
    assert input_shapes(module) == [
        "[s0,s0 + 1,2*s0,past + s0,(s0 floordiv 2) + 1,max(1, s0 - 4),s0 floordiv 2,s0 - 1,s0_2]",
        "[past,other_s0]",
    ]


def test_ranges_and_values() -> None:
    """A range becomes part of the symbol, a value takes its place; an unknown name is refused with the nearest."""
    made = model([node("Relu", "x", "y")], [value("x", ["batch size", "seq", "2*seq"])], [value("y", None)])
    assert input_shapes(imported(made, dims={"batch size": (1, 64), "seq": 8})[0]) == ["[batch_size:1..64,8,16]"]
    assert input_shapes(imported(made, dims={"batch_size": (2, 2), "seq": (0, 9)})[0]) == ["[2,seq:0..9,2*seq:0..9]"]
    with pytest.raises(OptionError, match=r"no symbolic dimension 'sec'.*seq"):
        check_model(made, dims={"sec": 3})
    with pytest.raises(OptionError, match=r"cannot be 4\.\.2"):
        check_model(made, dims={"seq": (4, 2)})


def test_declared_shapes_of_results_count_for_nothing() -> None:
    """What is inferred is kept, whatever names or numbers are declared for symbolic extents."""
    made = model([node("Concat", "x x", "y", axis=0)], [value("x", ["n", 3])], [value("y", ["n", 3])])
    assert output_shapes(imported(made)[0]) == ["[2*n,3]"]
    made = model([node("Relu", "x", "y")], [value("x", ["n", 3])], [value("y", [5, 3])])
    assert output_shapes(imported(made)[0]) == ["[n,3]"]
    module, ctx = imported(model([node("Relu", "x", "y")], [value("x", ["n", 3])], [value("y", ["n", 4])]))
    assert output_shapes(module) == ["[n,3]"]
    assert ["declared f32[n,4], but is f32[n,3]" in note.reason for note in ctx.notes] == [True]


# Binding -------------------------------------------------------------------------------------------------------------


def test_sizes_come_from_the_inputs() -> None:
    """Contradictions and sizes out of range are told with input, axis and symbol."""
    made = model(
        [node("Concat", "past x", "y", axis=1)],
        [value("x", ["batch", "seq"]), value("past", ["batch", "past"]), value("mask", ["batch", "past + seq"])],
        [value("y", None)],
    )
    feeds = {"x": floats(2, 3), "past": floats(2, 4), "mask": floats(2, 7)}
    module = check(made, feeds, {"x": floats(1, 1), "past": floats(1, 1), "mask": floats(1, 2)}, dims={"seq": (1, 9)})
    ctx = CompilerContext()
    for name, array, sentence in (
        ("mask", floats(2, 8), r"axis 1 of input 'mask' has 8 elements, but must have past \+ seq:1..9 = 7"),
        ("past", floats(3, 4), r"axis 0 of input 'past' has 3 elements, but must have batch = 2"),
        ("x", floats(2, 10), "seq is 10, but the model is compiled for 1 to 9"),
        ("x", floats(2, 3, 1), "input 'x' is f32 of shape"),
    ):
        with pytest.raises(ValueError, match=sentence):
            run_module(module, ctx, feeds | {name: array})


def test_equal_sizes_with_different_names() -> None:
    """Operands that must agree make one symbol of two; the inputs' types say so, and runs are held to it."""
    made = model(
        [node("Add", "a b", "s"), node("MatMul", "s c", "y")],
        [value("a", ["m", "k"]), value("b", ["m_1", "k_1"]), value("c", ["k_2", "n"])],
        [value("y", None)],
    )
    module = check(
        made,
        {"a": floats(2, 3), "b": floats(2, 3), "c": floats(3, 5)},
        {"a": floats(4, 1), "b": floats(4, 1), "c": floats(1, 1)},
    )
    assert input_shapes(module) == ["[m,k]", "[m,k]", "[k,n]"]
    with pytest.raises(ValueError, match="axis 1 of input 'b' has 1 elements, but must have k = 3"):
        run_module(module, CompilerContext(), {"a": floats(2, 3), "b": floats(2, 1), "c": floats(3, 5)})


def test_a_sum_of_sizes_has_a_name_of_its_own() -> None:
    """``total`` becomes ``past + seq``, of which it then is checked."""
    made = model(
        [node("Concat", "p x", "k", axis=0), node("Add", "k mask", "y")],
        [value("p", ["past", 4]), value("x", ["seq", 4]), value("mask", ["total", 4])],
        [value("y", None)],
    )
    module = check(made, {"p": floats(2, 4), "x": floats(3, 4), "mask": floats(5, 4)})
    assert input_shapes(module) == ["[past,4]", "[seq,4]", "[past + seq,4]"]


def test_a_table_is_long_enough() -> None:
    """Positions cut from a table bound the sequence, or are an equation that runs are held to."""
    table = floats(16, 4)
    made = model(
        [
            node("Shape", "x", "s", start=0, end=1),
            node("Slice", "table zero s zero", "cut"),
            node("Add", "x cut", "y"),
        ],
        [value("x", ["seq", 4])],
        [value("y", None)],
        table=table,
        zero=i64(0),
    )
    module = check(made, {"x": floats(3, 4)}, {"x": floats(16, 4)})
    assert input_shapes(module) == ["[seq:1..16,4]"]
    with pytest.raises(ValueError, match="seq is 17, but the model is compiled for 1 to 16"):
        run_module(module, CompilerContext(), {"x": floats(17, 4)})
    made = model(
        [
            node("Shape", "p", "ps", start=0, end=1),
            node("Shape", "x", "xs", start=0, end=1),
            node("Add", "ps xs", "ts"),
            node("Slice", "table ps ts zero", "cut"),
            node("Add", "x cut", "y"),
        ],
        [value("x", ["seq", 4]), value("p", ["past", 4])],
        [value("y", None)],
        table=table,
        zero=i64(0),
    )
    module, ctx = imported(made)
    feeds = {"x": floats(3, 4), "p": floats(5, 4)}
    np.testing.assert_array_equal(run_module(module, ctx, feeds)["y"], feeds["x"] + table[5:8])
    with pytest.raises(ValueError, match="past"):
        run_module(module, ctx, {"x": floats(9, 4), "p": floats(8, 4)})


def test_a_table_is_cut_around_its_middle() -> None:
    """Relative positions: rows 8 - n to 7 + n of 15, of which the first n are used. Only the choice of minima and
    maxima that is so at some size is taken for granted, not one that makes the extents equal but contradicts itself."""
    table = floats(15, 4)
    made = model(
        [
            node("Shape", "x", "n", start=0, end=1),
            node("Sub", "eight n", "from"),
            node("Add", "seven n", "to"),
            node("Slice", "table from to zero", "around"),
            node("Slice", "around zero n zero", "cut"),
            node("Add", "x cut", "y"),
        ],
        [value("x", ["half", 4])],
        [value("y", None)],
        table=table,
        zero=i64(0),
        seven=i64(7),
        eight=i64(8),
    )
    module = check(made, {"x": floats(3, 4)}, {"x": floats(8, 4)})
    with pytest.raises(ValueError, match="half"):
        run_module(module, CompilerContext(), {"x": floats(9, 4)})


def test_a_window_must_fit() -> None:
    """What an operator needs of its sizes narrows them."""
    made = model(
        [node("Conv", "x w", "c"), node("MaxPool", "c", "y", kernel_shape=[2, 2], strides=[2, 2])],
        [value("x", ["n", 1, "h", "w_"])],
        [value("y", None)],
        w=floats(2, 1, 3, 3),
    )
    module = check(made, {"x": floats(1, 1, 4, 9)}, {"x": floats(2, 1, 11, 4)})
    assert input_shapes(module) == ["[n,1,h:4..2147483647,w_:4..2147483647]"]


def test_a_pooled_image_is_flattened() -> None:
    """Where an image is pooled to as many pixels as there are windows in it, and flattened as if that were one."""
    window = {"kernel_shape": [8, 8], "strides": [8, 8], "ceil_mode": 1}
    made = model(
        [node("MaxPool", "x", "p", **window), node("Shape", "x", "shape", end=2), node("Reshape", "p shape", "y")],
        [value("x", ["n", 4, "h", "w_"])],
        [value("y", None)],
    )
    module = check(made, {"x": floats(2, 4, 8, 5)}, {"x": floats(1, 4, 3, 7)}, {"x": floats(3, 4, 1, 8)})
    assert input_shapes(module) == ["[n,4,h:1..8,w_:1..8]"]


# Shape arithmetic ----------------------------------------------------------------------------------------------------


def test_reshape_by_shape_arithmetic() -> None:
    """What exporters write for ``x.view(batch, -1, heads, width)`` leaves no op but the reshape."""
    made = model(
        [
            node("Shape", "x", "shape"),
            node("Gather", "shape zero", "b"),
            node("Gather", "shape one", "s"),
            node("Unsqueeze", "b axis", "b1"),
            node("Unsqueeze", "s axis", "s1"),
            node("Concat", "b1 s1 rest", "target", axis=0),
            node("Reshape", "x target", "y"),
        ],
        [value("x", ["batch", "seq", 12])],
        [value("y", None)],
        zero=scalar(0),
        one=scalar(1),
        axis=i64(0),
        rest=i64(3, 4),
    )
    module = check(made, {"x": floats(2, 5, 12)}, {"x": floats(1, 1, 12)})
    assert op_names(module) == ["reshape", "func.return"]
    assert output_shapes(module) == ["[batch,seq,3,4]"]


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        ([0, -1], "[batch,12*seq]"),
        ([-1, 12], "[batch*seq,12]"),
        ([0, 0, 3, -1], "[batch,seq,3,4]"),
        ([-1], "[12*batch*seq]"),
        ([0, 4, -1, 3], "[batch,4,seq,3]"),
    ],
)
def test_reshape_to_zeros_and_minus_one(target: list[int], shape: str) -> None:
    made = model([node("Reshape", "x t", "y")], [value("x", ["batch", "seq", 12])], [value("y", None)], t=i64(*target))
    module = check(made, {"x": floats(2, 5, 12)}, {"x": floats(1, 3, 12)})
    assert output_shapes(module) == [shape]


def test_arithmetic_on_sizes() -> None:
    """Sums, products, quotients, remainders, extrema, comparisons and choices, to a shape that is then expanded to."""
    made = model(
        [
            node("Shape", "x", "shape", end=1),
            node("Size", "x", "size"),
            node("Mul", "shape two", "double"),
            node("Sub", "double one", "less"),
            node("Div", "less two", "half"),
            node("Mod", "shape two", "odd"),
            node("Add", "half odd", "a"),
            node("Max", "a one", "b"),
            node("Min", "b size", "c"),
            node("Equal", "shape minus", "is"),
            node("Where", "is one c", "d"),
            node("ReduceProd", "shape", "prod", keepdims=0),
            node("Unsqueeze", "prod zero", "e"),
            node("Neg", "minus", "f"),
            node("Concat", "d e f", "all", axis=0),
            node("ConstantOfShape", "all", "y"),
        ],
        [value("x", ["n", 2])],
        [value("y", None)],
        one=i64(1),
        two=i64(2),
        zero=i64(0),
        minus=i64(-1),
    )
    module = check(made, {"x": floats(7, 2)}, {"x": floats(2, 2)}, {"x": floats(1, 2)})
    assert op_names(module) == ["constant", "expand", "func.return"]


def test_scaled_sizes() -> None:
    """Shape arithmetic in floating point, as interpolation is exported: exact fractions."""
    made = model(
        [
            node("Shape", "x", "shape", start=2),
            node("Cast", "shape", "real", to=F),
            node("Mul", "real scale", "scaled"),
            node("Floor", "scaled", "whole"),
            node("Cast", "whole", "sizes", to=I64),
            node("ConstantOfShape", "sizes", "y"),
        ],
        [value("x", ["n", 3, "h", "w"])],
        [value("y", None)],
        scale=np.array([1.5, 0.25], np.float32),
    )
    module = check(made, {"x": floats(1, 3, 5, 9)}, {"x": floats(1, 3, 2, 4)}, dims={"w": (4, 99)})
    assert output_shapes(module) == ["[(3*h) floordiv 2,(w:4..99) floordiv 4]"]


def test_sizes_as_data() -> None:
    """Where a size is read as a number it is one op, of whatever element type."""
    made = model(
        [
            node("Shape", "x", "shape"),
            node("ReduceProd", "shape", "count", keepdims=0),
            node("Cast", "count", "real", to=F),
            node("Div", "x real", "y"),
            node("Identity", "shape", "z"),
            node("Cast", "shape", "w", to=1),
        ],
        [value("x", ["batch", "seq"])],
        [value("y", None), value("z", [2], I64), value("w", [2])],
    )
    module = check(made, {"x": floats(2, 5)}, {"x": floats(3, 1)})
    assert sorted(set(op_names(module))) == ["cast", "div", "extent", "func.return"]


# Operators -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "step", "shape"),
    [
        (1, INT.max, 1, "[n - 1]"),
        (0, -1, 1, "[n - 1]"),
        (-1, INT.max, 1, "[1]"),
        (0, INT.max, 2, "[(n + 1) floordiv 2]"),
        (1, INT.max, 2, "[n floordiv 2]"),
        (-1, INT.min, -1, "[n]"),
        (0, 3, 1, "[min(3, n)]"),
        (-3, INT.max, 1, "[min(3, n)]"),
        (5, 2, 1, "[0]"),
        (2, -2, 3, None),
        (-2, 0, -2, None),
    ],
)
def test_slices(start: int, end: int, step: int, shape: str | None) -> None:
    """Bounds from the end, beyond it, and clamped; steps of both signs; at sizes where nothing is left."""
    made = model(
        [node("Slice", "x start end axes step", "y")],
        [value("x", ["n"])],
        [value("y", None)],
        start=i64(start), end=i64(end), axes=i64(0), step=i64(step),
    )  # fmt: skip
    module = check(made, *({"x": floats(n)} for n in (1, 2, 3, 4, 7)))
    assert shape is None or output_shapes(module) == [shape]


@pytest.mark.parametrize("step", [1, 2, -1])
@pytest.mark.parametrize("bound", ["start", "end"])
def test_slices_from_a_bound_of_either_sign(bound: str, step: int) -> None:
    """A bound that is counted from the front at some sizes and from the back at others: a table's last rows."""
    made = model(
        [
            node("Shape", "s", "m"),
            node("Sub", "five m", "bound"),
            node("Slice", f"table {'bound far' if bound == 'start' else 'far bound'} axes step", "y"),
        ],
        [value("s", ["m"])],
        [value("y", None)],
        table=floats(5, 2), five=i64(5), axes=i64(0), step=i64(step),
        far=i64(INT.max if (bound == "start") == (step > 0) else INT.min),
    )  # fmt: skip
    check(made, *({"s": floats(m)} for m in (1, 2, 4, 5, 6, 9, 10, 11, 13)))


def test_slice_to_another_size() -> None:
    made = model(
        [
            node("Shape", "s", "end"),
            node("Sub", "end one", "start"),
            node("Slice", "x start end axes", "last"),
            node("Slice", "x zero end axes", "first"),
        ],
        [value("x", [3, "n"]), value("s", ["m"])],
        [value("last", None), value("first", None)],
        one=i64(1), zero=i64(0), axes=i64(1),
    )  # fmt: skip
    check(made, *({"x": floats(3, n), "s": floats(m)} for n, m in ((5, 3), (5, 5), (2, 4), (4, 1))))


@pytest.mark.parametrize("delta", [1, 2, -1])
def test_ranges(delta: int) -> None:
    """From 0 and from a size, in steps; lengths follow."""
    made = model(
        [
            node("Shape", "x", "shape"),
            node("Squeeze", "shape zero", "n"),
            node("Range", "none n delta", "up"),
            node("Range", "n none delta", "down"),
            node("Add", "n n", "double"),
            node("Range", "n double delta", "beyond"),
        ],
        [value("x", ["n"])],
        [value(name, None, I64) for name in ("up", "down", "beyond")],
        zero=i64(0), none=scalar(0), delta=scalar(delta),
    )  # fmt: skip
    check(made, {"x": floats(1)}, {"x": floats(4)}, {"x": floats(5)})


def test_causal_mask() -> None:
    """Trilu, ranges and comparisons over sizes."""
    made = model(
        [
            node("Shape", "x", "shape", start=1),
            node("Concat", "shape shape", "square", axis=0),
            node("ConstantOfShape", "square", "ones", value=onnx_tensor(1.0)),
            node("Trilu", "ones", "lower", upper=0),
            node("Squeeze", "shape zero", "n"),
            node("Range", "none n one", "row"),
            node("Unsqueeze", "row last", "column"),
            node("LessOrEqual", "row column", "seen"),
            node("Where", "seen lower minus", "bias"),
            node("Add", "x bias", "y"),
        ],
        [value("x", ["seq", "seq_1"])],
        [value("y", None)],
        zero=i64(0), none=scalar(0), one=scalar(1), last=i64(1), minus=np.float32(-3),
    )  # fmt: skip
    module = check(made, {"x": floats(4, 4)}, {"x": floats(1, 1)})
    assert input_shapes(module) == ["[seq,seq]"]


def onnx_tensor(number: float) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array([number], np.float32))


def test_moving_operators() -> None:
    """Split, Tile, Pad, Flatten, Squeeze, Unsqueeze, Transpose, Concat over symbolic axes."""
    made = model(
        [
            node("Split", "x", "a b", axis=1, num_outputs=2),
            node("Split", "x parts", "p q", axis=2),
            node("Shape", "x", "n", end=1),
            node("Concat", "n two one", "repeats", axis=0),
            node("Tile", "x repeats", "t"),
            node("Concat", "n zero one zero n zero", "pads", axis=0),
            node("Pad", "x pads", "padded"),
            node("Flatten", "x", "f", axis=2),
            node("Unsqueeze", "x zero", "u"),
            node("Squeeze", "u zero", "s"),
            node("Transpose", "s", "back", perm=[2, 0, 1]),
        ],
        [value("x", ["n", "m", 6])],
        [value(name, None) for name in ("a", "b", "p", "q", "t", "padded", "f", "back")],
        zero=i64(0), one=i64(1), two=i64(2), parts=i64(2, 4),
    )  # fmt: skip
    check(made, {"x": floats(2, 4, 6)}, {"x": floats(1, 5, 6)}, dims={"m": (1, 99)})


def test_reductions_and_normalizations() -> None:
    """Means over symbolic axes divide by their number of elements."""
    made = model(
        [
            node("ReduceMean", "x axes", "mean"),
            node("ReduceSum", "x axes", "sum", keepdims=0),
            node("GlobalAveragePool", "x", "pool"),
            node("LayerNormalization", "x scale", "layer", axis=-1),
            node("InstanceNormalization", "x three three", "instance"),
            node("Softmax", "x", "soft", axis=2),
            node("ArgMax", "x", "arg", axis=2),
        ],
        [value("x", ["n", 3, "h", 8])],
        [value("arg", None, I64), *(value(o, None) for o in ("mean", "sum", "pool", "layer", "instance", "soft"))],
        axes=i64(0, 2), scale=floats(8), three=floats(3),
    )  # fmt: skip
    check(made, {"x": floats(2, 3, 5, 8)}, {"x": floats(1, 3, 1, 8)})


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
def test_convolutions(auto_pad: str) -> None:
    """Strides, all pads, pools with rounding up, transposed convolutions."""
    pads: dict[str, Any] = {"pads": [1, 1, 1, 1]} if auto_pad == "NOTSET" else {"auto_pad": auto_pad}
    made = model(
        [
            node("Conv", "x w", "c", strides=[2, 2], **pads),
            node("ConvTranspose", "x t", "d", strides=[2, 2]),
            node("MaxPool", "x", "m", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
            node("AveragePool", "x", "a", kernel_shape=[2, 2], strides=[1, 1]),
        ],
        [value("x", ["n", 2, "h", "v"])],
        [value(name, None) for name in "cdma"],
        w=floats(3, 2, 3, 3), t=floats(2, 3, 2, 2),
    )  # fmt: skip
    check(made, {"x": floats(1, 2, 5, 8)}, {"x": floats(2, 2, 6, 7)}, {"x": floats(1, 2, 3, 4)})


def test_resize() -> None:
    """By scales, and by sizes that are a multiple."""
    made = model(
        [
            node(
                "Resize", "x _ scales", "a", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
            ),
            node("Resize", "x _ scales", "b", mode="linear"),
            node("Shape", "x", "shape"),
            node("Mul", "shape factors", "sizes"),
            node("Resize", "x _ _ sizes", "c", mode="linear", coordinate_transformation_mode="align_corners"),
        ],
        [value("x", ["n", 2, "h", "w"])],
        [value(name, None) for name in "abc"],
        scales=np.array([1, 1, 2, 1.5], np.float32), factors=i64(1, 1, 2, 3),
    )  # fmt: skip
    check(made, {"x": floats(1, 2, 3, 4)}, {"x": floats(2, 2, 5, 7)})


def test_attention() -> None:
    """Past and present, masks and the causal rule over symbolic lengths."""
    made = model(
        [node("Attention", "q k v mask pk pv", "y ok ov", is_causal=1)],
        [
            value("q", ["batch", 4, "seq", 8]),
            value("k", ["batch", 2, "seq", 8]),
            value("v", ["b", 2, "s", 8]),
            value("mask", ["seq", "total"]),
            value("pk", ["batch", 2, "past", 8]),
            value("pv", ["batch", 2, "past", 8]),
        ],
        [value(name, None) for name in ("y", "ok", "ov")],
        opset=23,
    )

    def feeds(b: int, s: int, p: int) -> dict[str, Any]:
        return {
            "q": floats(b, 4, s, 8), "k": floats(b, 2, s, 8), "v": floats(b, 2, s, 8), "mask": floats(s, p + s),
            "pk": floats(b, 2, p, 8), "pv": floats(b, 2, p, 8),
        }  # fmt: skip

    module = check(made, feeds(2, 3, 5), feeds(1, 1, 4))
    assert input_shapes(module)[3] == "[seq,past + seq]"


def test_recurrence_and_lookup() -> None:
    """LSTM over symbolic time and batch, Gather, OneHot, TopK, Einsum, CumSum."""
    made = model(
        [
            node("LSTM", "x w r", "h", hidden_size=4),
            node("Gather", "table ids", "g"),
            node("OneHot", "ids depth values", "o"),
            node("TopK", "x k", "top at", axis=2),
            node("Einsum", "x x", "e", equation="tbi,tbj->bij"),
            node("CumSum", "x axis", "c"),
        ],
        [value("x", ["t", "b", 3]), value("ids", ["b", "t"], I64)],
        [*(value(name, None) for name in ("h", "g", "o", "top", "e", "c"))],
        w=floats(1, 16, 3), r=floats(1, 16, 4), table=floats(9, 5), depth=scalar(7),
        values=np.array([0, 1], np.float32), k=i64(2), axis=scalar(0),
    )  # fmt: skip
    ids = np.arange(6).reshape(2, 3) % 5
    check(made, {"x": floats(3, 2, 3), "ids": ids}, {"x": floats(1, 4, 3), "ids": ids.reshape(-1)[:4].reshape(4, 1)})


def test_booleans_and_choices() -> None:
    """The pattern by which exporters expand to -1: decided where sizes allow."""
    made = model(
        [
            node("Shape", "x", "shape"),
            node("ConstantOfShape", "rank", "ones", value=onnx_ints(1)),
            node("Equal", "shape minus", "free"),
            node("Where", "free ones shape", "target"),
            node("Expand", "mask target", "y"),
        ],
        [value("x", ["n", "m"]), value("mask", ["n", 1], BOOL)],
        [value("y", None, BOOL)],
        rank=i64(2),
        minus=i64(-1, -1),
    )
    check(made, {"x": floats(2, 3), "mask": np.array([[True], [False]])})


def onnx_ints(number: int) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array([number], np.int64))
