"""Operators that are a formula or a few graph ops give the results of ONNX's own evaluator, or of numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import penstock
from penstock.compiler.errors import ModelError
from penstock.compiler.frontends.onnx import check_model

RNG = np.random.default_rng(11)
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -7.25, 1e-30, 1e30, 90.0, -710.0, np.inf, -np.inf, np.nan]


def model_of(
    op: str,
    feeds: Mapping[str, Any],
    shape: Sequence[int] | None = None,
    kind: int = 0,
    opset: int = 18,
    **attributes: Any,
) -> Any:
    """A model of one node with its operands fed; its result is declared to have ``shape`` and element type ``kind``."""
    node = helper.make_node(op, list(feeds), ["y"], name="node", **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.shape(array))
        for name, array in feeds.items()
    ]
    result = helper.make_tensor_value_info("y", kind or infos[0].type.tensor_type.elem_type, shape)
    graph = helper.make_graph([node], "g", infos, [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(model: Any, feeds: Mapping[str, Any]) -> Any:
    """Compiled and run."""
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    return penstock.compile(model.SerializeToString()).load().session(threads=1).run(arrays)["y"]


def agree(op: str, feeds: Mapping[str, Any], **options: Any) -> None:
    """Our result is that of ONNX's evaluator."""
    model = model_of(op, feeds, **options)
    with np.errstate(all="ignore"):
        expected: Any = ReferenceEvaluator(model).run(None, {name: np.asarray(array) for name, array in feeds.items()})
    ours = run(model, feeds)
    assert ours.dtype == expected[0].dtype
    if ours.dtype.kind == "f":
        np.testing.assert_allclose(ours, expected[0], rtol=2e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(ours, expected[0])


def refusal(model: Any) -> str:
    """The one sentence a model is refused with."""
    (problem,) = check_model(model)
    return problem.reason


@pytest.mark.parametrize("op", ["tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_trigonometric(op: str, dtype: Any) -> None:
    with np.errstate(all="ignore"):
        x = np.concatenate([SPECIAL, RNG.uniform(-1, 1, 41), RNG.uniform(-9, 9, 41)]).astype(dtype)
        exact = getattr(np, op)(x.astype(np.longdouble)).astype(dtype)
    ours = run(model_of(op.capitalize(), {"x": x}, opset=22), {"x": x})
    np.testing.assert_allclose(ours, exact, rtol=4 * float(np.finfo(dtype).eps), atol=float(np.finfo(dtype).tiny))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int64, np.uint8])
@pytest.mark.parametrize(("lambd", "bias"), [(0.5, 0.0), (1.5, 1.5), (2.0, 3.0)])
def test_shrink(dtype: Any, lambd: float, bias: float) -> None:
    low = 0 if np.dtype(dtype).kind == "u" else -9
    x = RNG.integers(low, 9, 37).astype(dtype)
    limit, offset = np.array([lambd, bias]).astype(dtype)
    negative = np.where(x < -limit, x + offset, np.zeros(1, dtype)) if low else np.zeros(1, dtype)
    expected = np.where(x > limit, x - offset, negative)
    np.testing.assert_array_equal(run(model_of("Shrink", {"x": x}, lambd=lambd, bias=bias), {"x": x}), expected)


def test_shrink_gives_zero_for_nan() -> None:
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(run(model_of("Shrink", {"x": x}, bias=1.0), {"x": x}), [0, np.inf, -np.inf])


@pytest.mark.parametrize("axes", [None, (1,), (0, 2, 3), (-1, 1), (0, 1, 2, 3)])
def test_mean_variance_normalization(axes: tuple[int, ...] | None) -> None:
    x = RNG.standard_normal((3, 5, 7, 2)).astype(np.float32)
    along = axes or (0, 2, 3)
    wide = x.astype(np.float64)
    deviation = wide.std(axis=along, keepdims=True) + 1e-9
    expected = (wide - wide.mean(axis=along, keepdims=True)) / deviation
    attributes: dict[str, Any] = {} if axes is None else {"axes": axes}
    ours = run(model_of("MeanVarianceNormalization", {"x": x}, **attributes), {"x": x})
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


CASTS = [("float32", "int32"), ("int32", "float32"), ("uint32", "float32"), ("float64", "uint64"), ("int64", "float64"),
         ("int8", "uint8"), ("uint16", "int16"), ("int64", "uint64"), ("bool", "uint8"), ("bool", "int8")]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), CASTS)
def test_bit_cast(source: str, target: str) -> None:
    content = RNG.bytes(8 * 37)
    x = (
        np.array(SPECIAL, source)
        if source.startswith("float")
        else np.frombuffer(content, source.replace("bool", "u1"))
    )
    x = x % 2 == 1 if source == "bool" else x
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    ours = run(model_of("BitCast", {"x": x}, kind=kind, opset=26, to=kind), {"x": x})
    assert ours.dtype == np.dtype(target)
    assert ours.tobytes() == x.tobytes()


@pytest.mark.parametrize(
    ("dtype", "to", "sentence"),
    [
        (np.uint8, TensorProto.BOOL, "bytes other than 0 and 1 are no booleans"),
        (np.float16, TensorProto.INT16, "half precision is computed in f32, which does not keep every bit"),
        (np.float32, TensorProto.INT64, "f32 and i64 differ in width"),
    ],
)
def test_bit_cast_refuses(dtype: Any, to: int, sentence: str) -> None:
    assert refusal(model_of("BitCast", {"x": np.zeros(3, dtype)}, kind=to, opset=26, to=to)) == sentence


@pytest.mark.parametrize("shape", [(4, 3), (1, 5, 7), (6, 1, 2), (5, 4, 3, 2)])
@pytest.mark.parametrize("batch", [0, 1])
def test_reverse_sequence(shape: tuple[int, ...], batch: int) -> None:
    x, steps = RNG.standard_normal(shape).astype(np.float32), shape[1 - batch]
    lengths = RNG.integers(1, steps + 1, shape[batch])
    agree("ReverseSequence", {"x": x, "lengths": lengths}, batch_axis=batch, time_axis=1 - batch)


def test_reverse_sequence_refuses() -> None:
    feeds = {"x": np.zeros((2, 3), np.float32), "lengths": np.ones(2, np.int64)}
    assert refusal(model_of("ReverseSequence", feeds)) == "2 lengths are given for 3 sequences"
    wrong = model_of("ReverseSequence", feeds, batch_axis=1, time_axis=1)
    assert refusal(wrong) == "the axes of batch and time are 0 and 1, not 1 and 1"


CROPS = [((5, 7), (3, 10), None), ((5, 7), (8, 4), None), ((1, 6), (1, 6), None), ((5, 7, 3), (10, 2), (0, 1)),
         ((5, 7, 3), (4, 9), (-1, 0)), ((3, 4), (0, 5), None), ((3,), (8,), (-1,))]  # fmt: skip


@pytest.mark.parametrize(("shape", "wanted", "axes"), CROPS)
def test_center_crop_pad(shape: tuple[int, ...], wanted: tuple[int, ...], axes: tuple[int, ...] | None) -> None:
    x = RNG.standard_normal(shape).astype(np.float32)
    result = list(shape)
    for axis, extent in zip(axes if axes is not None else range(len(shape)), wanted, strict=True):
        result[axis] = extent
    attributes: dict[str, Any] = {} if axes is None else {"axes": axes}
    agree("CenterCropPad", {"x": x, "shape": np.array(wanted)}, shape=result, **attributes)


def test_center_crop_pad_checks_what_it_is_fed() -> None:
    feeds = {"x": np.zeros((5, 7), np.float32), "shape": np.array([3, 4])}
    with pytest.raises(Exception, match=r"PENS-R017: node 'node' .* its shape is not what the model was compiled for"):
        run(model_of("CenterCropPad", feeds, shape=(3, 5)), feeds)
    with pytest.raises(ModelError, match="no parameters give the result of shape"):
        run(model_of("CenterCropPad", {**feeds, "shape": np.array([3])}, shape=(3, 5), axes=[0]), feeds)
