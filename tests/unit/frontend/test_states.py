"""What a session is to keep is found by name or by its form, and whatever it cannot keep is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from unit.runtime.decoder import decoder

import penstock
from penstock.compiler.driver import CompileOptions, run_phases
from penstock.compiler.errors import BAD_STATE, BAD_VALUE, UNKNOWN_OPTION, OptionError

DIMS = {"past": (0, 32)}


def two(
    a: Sequence[Any], b: Sequence[Any], new: Sequence[int], axis: int = 0, *, swapped: bool = False
) -> onnx.ModelProto:
    """Inputs a and b, each an output with the rows x appended; ``swapped``: x comes first."""
    ends = {
        name: [extent if i != axis else None for i, extent in enumerate(shape)] for name, shape in (("a", a), ("b", b))
    }
    nodes = [
        helper.make_node(
            "Concat", ["x", name] if swapped else [name, "x"], [f"{name}_more"], name=f"cat_{name}", axis=axis
        )
        for name in ends
    ]
    f32 = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(name, f32, shape) for name, shape in (("a", a), ("b", b), ("x", new))]
    outputs = [helper.make_tensor_value_info(f"{name}_more", f32, shape) for name, shape in ends.items()]
    graph = helper.make_graph(nodes, "two", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(
    ("state", "dims", "code", "sentence"),
    [
        (["auto"], {}, BAD_STATE, "past is 1 or more, and a session begins with none: give --dim past=0..1024."),
        (
            ["auto"],
            {"past": (1, 64)},
            BAD_STATE,
            "past is 1 or more, and a session begins with none: give --dim past=0..64.",
        ),
        (["auto"], {"past": (0, 2**31 - 1)}, BAD_STATE, "past has no end, and memory is for the most rows"),
        (["auto"], {"past": 7}, BAD_STATE, "past.key has 7 rows in every run (axis 2), so it cannot grow"),
        (["auto"], {"past": (0, 7), "new": 8}, BAD_STATE, "present.key has past + 8 rows, which never fit in 7."),
        (["present.kye=past.key"], DIMS, UNKNOWN_OPTION, "no output called 'present.kye'; did you mean 'present.key'?"),
        (["present.key=q"], DIMS, UNKNOWN_OPTION, "the model has no input called 'q'."),
        (["logits=past.key"], DIMS, BAD_STATE, "logits is not past.key with rows appended"),
        (["present.key=past.value"], DIMS, BAD_STATE, "it is no Concat that begins with past.value."),
        (["present.key"], DIMS, BAD_STATE, "'present.key' is not OUTPUT=INPUT."),
        (["auto", "present.key=past.key"], DIMS, BAD_STATE, "auto finds all there is to keep and stands alone."),
        (["x", "logits=past.key"], DIMS, BAD_STATE, "'x' is not OUTPUT=INPUT; logits is not past.key"),
    ],
)
def test_what_cannot_be_kept_is_refused(state: list[str], dims: Mapping[str, Any], code: str, sentence: str) -> None:
    """By the model's names, all problems at once."""
    with pytest.raises(OptionError) as caught:
        run_phases(decoder(), CompileOptions(state=state, dims=dims), last="import")
    assert caught.value.code == code
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (two(["n", 4], ["m", 4], [2, 4]), "a has n rows and b m."),
        (two(["n", "w"], ["n", "w"], [2, "w"]), "a has the symbolic size w, which must be a number: --dim w=1"),
        (two(["n", 4], ["n", 4], [2, 4], swapped=True), "x has 2 rows in every run (axis 0), so it cannot grow"),
    ],
)
def test_models_that_keep_nothing_alike(model: onnx.ModelProto, sentence: str) -> None:
    """Rows that are counted apart, sizes beside them that are symbols, rows that are put before."""
    named = {d.dim_param for value in model.graph.input for d in value.type.tensor_type.shape.dim} & {"n", "m"}
    with pytest.raises(OptionError) as caught:
        run_phases(model, CompileOptions(state=["auto"], dims=dict.fromkeys(named, (0, 9))), last="import")
    assert caught.value.code == BAD_STATE
    assert sentence in str(caught.value)


def test_one_input_feeds_one_output() -> None:
    """Two outputs that append to one input: which one it is fed with is not to be guessed."""
    model = two(["n", 4], ["n", 4], [2, 4])
    model.graph.node[1].input[0] = "a"
    with pytest.raises(OptionError, match="a is fed by a_more and by b_more") as caught:
        run_phases(model, CompileOptions(state=["auto"], dims={"n": (0, 9)}), last="import")
    assert caught.value.code == BAD_STATE
    run_phases(model, CompileOptions(state=["a_more=a"], dims={"n": (0, 9)}), last="plan")


def test_a_model_without_anything_to_keep() -> None:
    model = two(["n", 4], ["n", 4], [2, 4])
    for node in model.graph.node:
        node.input[0] = "x"
        node.input.insert(0, "x")
        node.op_type = "Sum"
        del node.attribute[:]
    with pytest.raises(OptionError, match="no output is a Concat of an input with more rows") as caught:
        run_phases(model, CompileOptions(state=["auto"]), last="import")
    assert caught.value.code == BAD_STATE


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(OptionError, match="do not share what a session keeps") as caught:
        CompileOptions(state=["auto"], specialize={"new": [1]})
    assert caught.value.code == BAD_STATE
    with pytest.raises(OptionError, match="state is a list of names") as caught:
        CompileOptions(state="auto")
    assert caught.value.code == BAD_VALUE


def test_rows_may_stand_on_any_axis() -> None:
    """Appended along the last axis, and along the first; the values are those of the concatenation."""
    import numpy as np

    for axis, shape in ((1, [3, "n"]), (0, ["n", 3])):
        model = two(shape, shape, [3, 2] if axis else [2, 3], axis)
        model.graph.node.append(helper.make_node("ReduceSum", ["a_more"], ["total"], name="sum", keepdims=0))
        model.graph.node.append(helper.make_node("Neg", ["b_more"], ["less"], name="neg"))
        model.graph.output.append(helper.make_tensor_value_info("total", TensorProto.FLOAT, []))
        model.graph.output.append(helper.make_tensor_value_info("less", TensorProto.FLOAT, [None, None]))
        artifact = penstock.compile(model, target="cpu:x86-64-v3", dims={"n": (0, 9)}, state=["auto"])
        with artifact.load() as loaded, loaded.session(threads=1) as session:
            given: list[Any] = []
            for step in range(4):
                given.append(np.random.default_rng(step).standard_normal((3, 2) if axis else (2, 3)).astype(np.float32))
                found = session.run({"x": given[-1]})
                whole = np.concatenate(given, axis)
                np.testing.assert_array_equal(found["less"], -whole)
                np.testing.assert_allclose(found["total"], whole.sum(), rtol=1e-5, atol=1e-5)
