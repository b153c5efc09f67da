"""Parameters fed at run time: any value that gives the declared shape works, every other one ends in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import penstock
from penstock.compiler.errors import NOTED, ModelError
from penstock.runtime.errors import RuntimeFailure

I64 = TensorProto.INT64
RNG = np.random.default_rng(7)
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class Fed:
    """A model of one node with ``x`` and the parameters ``fed``, whose result is declared to have ``shape``."""

    def __init__(self, op: str, x: Any, fed: Mapping[str, Any], shape: Sequence[Any], **attributes: Any) -> None:
        self.x, opset = x, attributes.pop("opset", 18)
        names = ["x", *fed]
        node = helper.make_node(op, names, ["y"], name="node", **attributes)
        infos = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)]
        for name, array in fed.items():
            kind = helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)
            infos.append(helper.make_tensor_value_info(name, kind, np.shape(array)))
        result = helper.make_tensor_value_info("y", infos[0].type.tensor_type.elem_type, shape)
        self.model = helper.make_model(
            helper.make_graph([node], "g", infos, [result]),
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=10,
        )
        loose = helper.make_model(
            helper.make_graph(
                [node], "g", infos, [helper.make_tensor_value_info("y", result.type.tensor_type.elem_type, None)]
            ),
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=10,
        )
        self.peer = onnxruntime.InferenceSession(loose.SerializeToString())
        self.session = penstock.compile(self.model.SerializeToString()).load().session(threads=1)

    def agrees(self, **fed: Any) -> None:
        """Our result is onnxruntime's."""
        feeds = {"x": self.x, **{name: np.asarray(array) for name, array in fed.items()}}
        expected: Any = self.peer.run(None, feeds)[0]
        np.testing.assert_allclose(self.session.run(feeds)["y"], expected, rtol=1e-5, atol=1e-5)

    def refuses(self, **fed: Any) -> None:
        """The run ends with the node's name and a code, and the session can be used again."""
        with pytest.raises(
            RuntimeFailure, match=r"PENS-R017: node 'node' .* not what the model was compiled for"
        ) as caught:
            self.session.run({"x": self.x, **{name: np.asarray(array) for name, array in fed.items()}})
        assert caught.value.code == "PENS-R017"


def test_reshape() -> None:
    fed = Fed("Reshape", X, {"shape": np.array([6, 4])}, [6, 4])
    fed.agrees(shape=[6, 4])
    fed.agrees(shape=[-1, 4])
    fed.agrees(shape=[6, -1])
    fed.refuses(shape=[4, 6])
    fed.refuses(shape=[0, 12])
    fed.agrees(shape=[6, 4])
    Fed("Reshape", X, {"shape": np.array([0, 12])}, [2, 12]).agrees(shape=[0, 12])


@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce_along_any_axes(keepdims: int) -> None:
    cube = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    fed = Fed("ReduceSum", cube, {"axes": np.array([0])}, [1, 3, 3] if keepdims else [3, 3], keepdims=keepdims)
    for axis in (0,) if keepdims else (0, 1, 2, -1, -2):
        fed.agrees(axes=[axis])
    if keepdims:
        fed.refuses(axes=[1])


def test_slice() -> None:
    fed = Fed("Slice", X, dict.fromkeys(("starts", "ends", "axes", "steps"), np.array([0])), [2, 2, 4])
    fed.agrees(starts=[1], ends=[3], axes=[1], steps=[1])
    fed.agrees(starts=[-1], ends=[-9], axes=[-2], steps=[-2])
    fed.agrees(starts=[0], ends=[2**62], axes=[1], steps=[2])
    fed.refuses(starts=[0], ends=[3], axes=[1], steps=[1])
    fed.refuses(starts=[0], ends=[2], axes=[2], steps=[1])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode: str) -> None:
    fed = Fed("Pad", X, {"pads": np.zeros(6, np.int64)}, [2, 4, 6], mode=mode, opset=19)
    fed.agrees(pads=[0, 1, 0, 0, 0, 2])
    fed.agrees(pads=[0, 0, 1, 0, 1, 1])
    fed.refuses(pads=[0, 0, 1, 0, 1, 2])


def test_shapes_of_other_operators() -> None:
    row = np.arange(4, dtype=np.float32).reshape(1, 4)
    tile = Fed("Tile", X, {"repeats": np.array([1, 1, 1])}, [4, 3, 4])
    tile.agrees(repeats=[2, 1, 1])
    tile.refuses(repeats=[1, 2, 1])
    expand = Fed("Expand", row, {"shape": np.array([1, 1, 1])}, [2, 3, 4])
    expand.agrees(shape=[2, 3, 4])
    expand.agrees(shape=[2, 3, 1])
    expand.refuses(shape=[3, 2, 4])
    inner = Fed("Unsqueeze", X, {"axes": np.array([0])}, [2, 1, 3, 4])
    inner.agrees(axes=[1])
    inner.agrees(axes=[-3])
    inner.refuses(axes=[0])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinate", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
def test_resize(mode: str, coordinate: str) -> None:
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) ** 2
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinate}
    if mode == "nearest":
        attributes["nearest_mode"] = "floor"
    fed = Fed(
        "Resize", image, {"roi": np.zeros(0, np.float32), "scales": np.ones(4, np.float32)}, [1, 1, 6, 3], **attributes
    )
    empty = np.zeros(0, np.float32)
    fed.agrees(roi=empty, scales=np.array([1, 1, 1.5, 0.75], np.float32))
    if coordinate != "align_corners" and mode != "nearest":  # where a rounding error decides, peers differ
        fed.agrees(roi=empty, scales=np.array([1, 1, 1.6, 0.8], np.float32))
    fed.refuses(roi=empty, scales=np.array([1, 1, 2, 0.75], np.float32))


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 0, 0, 1]}, {"strides": [2, 3]}, {"dilations": [2, 1]}])
def test_images_from_columns_of_any_block(attributes: dict[str, Any]) -> None:
    """Of blocks that make as many rows and columns, each works; one whose product only wraps to theirs does not."""
    image = np.array([6, 7])
    counts = {  # of blocks of 2 x 3, by what is set
        "": 5 * 5,
        "pads": 6 * 6,
        "strides": 3 * 2,
        "dilations": 4 * 5,
    }
    columns = RNG.standard_normal((2, 12, counts["".join(attributes)])).astype(np.float32)
    fed = Fed("Col2Im", columns, {"image": image, "block": np.array([2, 3])}, [2, 2, 6, 7], **attributes)
    fed.agrees(image=image, block=[2, 3])
    fed.refuses(image=image, block=[1, 6])
    fed.refuses(image=image, block=[2**32, 3 * 2**32])
    fed.refuses(image=image, block=[-2, -3])
    fed.refuses(image=image, block=[0, 0])
    fed.refuses(image=[7, 6], block=[2, 3])
    fed.agrees(image=image, block=[2, 3])


def test_blocks_of_either_shape() -> None:
    image = np.array([4, 4])
    columns = RNG.standard_normal((1, 6, 6)).astype(np.float32)  # 3 x 2 blocks of 2 x 3, or 2 x 3 of 3 x 2
    fed = Fed("Col2Im", columns, {"image": image, "block": np.array([2, 3])}, [1, 1, 4, 4])
    fed.agrees(image=image, block=[2, 3])
    fed.agrees(image=image, block=[3, 2])
    fed.refuses(image=image, block=[6, 1])


def test_what_no_parameter_can_give_is_refused_when_compiling() -> None:
    with pytest.raises(ModelError, match="PENS-M013"):
        Fed("Reshape", X, {"shape": np.array([6, 4])}, [6, 5])
    with pytest.raises(ModelError, match="PENS-M014"):
        Fed("Reshape", X, {"shape": np.array([6, 4])}, ["rows", 4])
    sizes = {"image": np.array([6, 7]), "block": np.array([2, 3])}
    with pytest.raises(ModelError, match="12 rows are not the blocks of 5 channels"):
        Fed("Col2Im", np.zeros((2, 12, 25), np.float32), sizes, [2, 5, 6, 7])


def test_a_slow_way_is_noted_and_refused_under_strict() -> None:
    """What the user would want to know is said after compiling, and --strict makes it an error that names the node."""
    cube = np.zeros((3, 3, 3), np.float32)
    fed = Fed("ReduceSum", cube, {"axes": np.array([0])}, [3, 3], keepdims=0)
    artifact = penstock.compile(fed.model.SerializeToString())
    assert artifact.report.notes == [
        "node 'node' (ReduceSum): its axes are fed at run time, so it is computed along each of 3 sets of axes"
    ]
    with pytest.raises(ModelError, match=r"node 'node' .* 3 sets of axes") as caught:
        penstock.compile(fed.model.SerializeToString(), strict=True)
    assert caught.value.code == NOTED
    plain = Fed("Reshape", X, {"shape": np.array([6, 4])}, [6, 4])
    penstock.compile(plain.model.SerializeToString(), strict=True)
