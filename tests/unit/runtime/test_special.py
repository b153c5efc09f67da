"""Plans for fixed sizes beside the general one: the same results, chosen by the sizes of a run."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import penstock
from penstock.compiler.artifact import writer
from penstock.compiler.driver import Artifact
from penstock.compiler.errors import BAD_VALUE, UNKNOWN_OPTION, OptionError
from penstock.compiler.hot_sizes import combinations
from penstock.compiler.passes.fuse.share_kernels import unused
from penstock.runtime.errors import RuntimeFailure
from penstock.tools.cli import main

RNG = np.random.default_rng(3)
W = RNG.standard_normal((16, 32)).astype(np.float32)
V = RNG.standard_normal((32, 8)).astype(np.float32)


def model() -> bytes:
    """y = relu(x w) v over [batch, seq, 16], and z, the sum of x."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="up"),
        helper.make_node("Relu", ["h"], ["r"], name="bend"),
        helper.make_node("MatMul", ["r", "v"], ["y"], name="down"),
        helper.make_node("ReduceSum", ["x", "axis"], ["z"], name="sum", keepdims=0),
    ]
    stored = {"w": W, "v": V, "axis": np.array([2])}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", 16])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "seq", 8]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", "seq"]),
        ],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def fed(batch: int, seq: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(batch * 100 + seq).standard_normal((batch, seq, 16)).astype(np.float32)}


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return penstock.compile(model(), specialize={"batch": [1, 8], "seq": [4]})


@pytest.fixture(scope="module")
def hot() -> Artifact:
    """For one batch only; the length is left to be given."""
    return penstock.compile(model(), target="cpu:x86-64-v3", specialize={"batch": [2]})


@pytest.mark.parametrize("threads", [1, 2])
def test_sizes_choose_the_plan_and_results_are_the_same(artifact: Artifact, threads: int) -> None:
    session = artifact.load().session(threads=threads)
    for batch, seq, plan in ((1, 4, 1), (8, 4, 2), (8, 5, 0), (1, 4, 1), (3, 4, 0), (8, 4, 2), (8, 5, 0), (1, 1, 0)):
        feeds = fed(batch, seq)
        results = session.run(feeds)
        assert (session.plan, session.sizes) == (plan, {"batch": batch, "seq": seq})
        np.testing.assert_allclose(results["y"], np.maximum(feeds["x"] @ W, 0) @ V, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(results["z"], feeds["x"].sum(2), rtol=1e-4, atol=1e-4)


def test_a_plan_is_that_of_a_model_which_says_its_sizes(artifact: Artifact) -> None:
    alone = penstock.compile(model(), dims={"batch": 8, "seq": 4})
    feeds = fed(8, 4)
    want, got = (made.load().session(threads=1).run(feeds) for made in (alone, artifact))
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])
    (plan,) = [one for one in artifact.report.specialized if one["sizes"] == {"batch": 8, "seq": 4}]
    assert plan["memory"]["arena"] == alone.report.memory["arena"]


def test_sizes_that_are_not_fixed_stay_open(hot: Artifact) -> None:
    session = hot.load().session(threads=1)
    for batch, seq in ((2, 3), (2, 7), (1, 7), (2, 7), (2, 3)):
        feeds = fed(batch, seq)
        np.testing.assert_allclose(session.run(feeds)["z"], feeds["x"].sum(2), rtol=1e-4, atol=1e-4)
        assert session.plan == int(batch == 2)
    session.set_sizes({"batch": 2, "seq": 9})
    assert (session.plan, session.sizes) == (1, {"batch": 2, "seq": 9})
    with pytest.raises(RuntimeFailure, match="PENS-R019"):
        session.set_sizes({"batch": 2, "seq": -1})
    assert (session.plan, session.sizes) == (1, {"batch": 2, "seq": 9})


def test_chosen_outputs_are_those_of_every_plan(artifact: Artifact) -> None:
    session = artifact.load().session(threads=1)
    for outputs in (["z"], ["y"], None):
        for batch, seq in ((8, 4), (2, 2), (1, 4), (8, 4)):
            feeds = fed(batch, seq)
            results = session.run(feeds, outputs=outputs)
            assert list(results) == (outputs or ["y", "z"])
            if "z" in results:
                np.testing.assert_allclose(results["z"], feeds["x"].sum(2), rtol=1e-4, atol=1e-4)


def test_what_plans_have_in_common_is_stored_once(artifact: Artifact) -> None:
    """Equal bytes every time; each member once; no weight twice."""
    with zipfile.ZipFile(io.BytesIO(artifact.bytes)) as archive:
        names = archive.namelist()
    assert [name for name in names if name.startswith("plan")] == ["plan.bin", "plan-1.bin", "plan-2.bin"]
    contents = artifact._contents  # pyright: ignore[reportPrivateUsage]
    assert len({array.tobytes() for array in contents.weights}) == len(contents.weights)
    slots = [tuple(plan.weights) for each in (contents, *contents.specials) for plan in each.plans.values()]
    assert all(one == slots[0] for one in slots)
    again = penstock.compile(model(), specialize={"batch": [1, 8], "seq": [4]})
    assert again.bytes == artifact.bytes


def test_two_kernels_of_different_modules_never_share_a_name() -> None:
    assert unused("mm", {"bend"}) == "mm"
    assert unused("mm", {"mm", "mm_2"}) == "mm_3"


def test_a_plan_for_other_shapes_than_the_general_one_does_not_run(hot: Artifact) -> None:
    contents = hot._contents  # pyright: ignore[reportPrivateUsage]
    lying = replace(contents, specials=[replace(contents.specials[0], sizes={"batch": 3})])
    session = penstock.load(writer.to_bytes(lying)).session(threads=1)
    session.run(fed(1, 2))
    with pytest.raises(RuntimeFailure, match=r"PENS-R004.*another shape"):
        session.run(fed(3, 2))
    np.testing.assert_allclose(session.run(fed(1, 2))["z"], fed(1, 2)["x"].sum(2), rtol=1e-4, atol=1e-4)


def test_a_missing_plan_is_damage(hot: Artifact) -> None:
    contents = hot._contents  # pyright: ignore[reportPrivateUsage]
    data = writer.to_bytes(contents).replace(b"plan-1.bin", b"plan-7.bin")
    with pytest.raises(RuntimeFailure, match="PENS-R004"):
        penstock.load(data)
    twice = replace(contents, specials=[contents.specials[0]] * 65)
    with pytest.raises(RuntimeFailure, match="more than 64 plans"):
        penstock.load(writer.to_bytes(twice))


def test_combinations_in_the_order_given() -> None:
    assert combinations({}) == []
    assert combinations({"a": [1, 8, 1], "b": [2, 3]}) == [
        {"a": 1, "b": 2},
        {"a": 1, "b": 3},
        {"a": 8, "b": 2},
        {"a": 8, "b": 3},
    ]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ({"specialize": {"batch": [1], "head": [2]}}, UNKNOWN_OPTION, "no symbolic dimension 'head' to specialize"),
        ({"specialize": {"batch": [9]}, "dims": {"batch": (1, 8)}}, BAD_VALUE, "cannot be 9: it is 1 to 8"),
        ({"specialize": {"batch": [8]}, "dims": {"batch": 8}}, BAD_VALUE, "no sizes to specialize it for"),
        ({"specialize": {"batch": 8}}, BAD_VALUE, "no list of sizes"),
        ({"specialize": {"batch": []}}, BAD_VALUE, "no list of sizes"),
        ({"specialize": {"batch": [True]}}, BAD_VALUE, "cannot be True"),
        ({"specialize": {"batch": range(1, 10), "seq": range(1, 9)}}, BAD_VALUE, "72 combinations"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, code: str, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence) as caught:
        penstock.compile(model(), **options)
    assert caught.value.code == code


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, made = tmp_path / "m.onnx", tmp_path / "m.pens"
    path.write_bytes(model())
    assert main(["compile", str(path), "-o", str(made), "--isa", "x86-64-v3", "--specialize", "batch=1,2"]) == 0
    said = capsys.readouterr().out
    assert "for sizes batch = 1:" in said
    assert "for sizes batch = 2:" in said
    assert main(["info", str(made)]) == 0
    shown = capsys.readouterr().out
    assert "plan     for batch = 2: at most" in shown
    assert "plan-2.bin" in shown
    assert main(["compile", str(path), "-o", str(made), "--specialize", "batch"]) == 2
    assert "--specialize batch is not NAME=VALUE" in capsys.readouterr().err
