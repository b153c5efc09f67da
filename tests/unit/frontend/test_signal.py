"""Transforms, windows and mel filters give numpy's and onnxruntime's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import penstock
from penstock.compiler.errors import ModelError
from penstock.compiler.frontends.onnx import check_model

RNG = np.random.default_rng(3)


def model_of(
    op: str, feeds: Mapping[str, Any], known: Mapping[str, Any], names: Sequence[str], opset: int = 20,
    shape: Sequence[int] | None = None, kind: int = TensorProto.FLOAT, **attributes: Any,
) -> Any:  # fmt: skip
    """A model of one node on inputs ``names``, of which some are fed and some stored."""
    node = helper.make_node(op, names, ["y"], name="node", **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.shape(array))
        for name, array in feeds.items()
    ]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in known.items()]
    result = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph([node], "g", infos, [result], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(model: Any, feeds: Mapping[str, Any]) -> Any:
    arrays = {name: np.asarray(array) for name, array in feeds.items()}
    return penstock.compile(model.SerializeToString()).load().session(threads=2).run(arrays)["y"]


def refusal(model: Any) -> str:
    (problem,) = check_model(model)
    return problem.reason


def dft(x: Any, length: int | None = None, axis: int | None = None, opset: int = 20, **attributes: Any) -> Any:
    """DFT with its parameters stored in the model."""
    known = {name: np.int64(v) for name, v in (("length", length), ("axis", axis)) if v is not None}
    names = ["x", "length" if length is not None else "", "axis" if axis is not None else ""]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    return run(model_of("DFT", {"x": x}, known, names, opset, kind=kind, **attributes), {"x": x})


def numbers(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def as_complex(x: Any) -> Any:
    return x[..., 0].astype(np.float64) + (1j * x[..., 1].astype(np.float64) if x.shape[-1] == 2 else 0)


def close(ours: Any, exact: Any, tolerance: float = 2e-6) -> None:
    """Relative to the greatest number, which is what the errors of a transform are relative to."""
    assert as_complex(ours).shape == exact.shape
    assert np.abs(as_complex(ours) - exact).max() <= tolerance * max(np.abs(exact).max(), 1e-30)


# Direct, by two factors, by a prime and by a product with one, and three levels deep.
LENGTHS = [1, 2, 3, 7, 64, 100, 257, 263, 400, 512, 600, 1031, 1042, 2048, 65536]


@pytest.mark.parametrize(("parts", "form"), [(1, {}), (2, {}), (2, {"inverse": 1}), (1, {"onesided": 1})])
def test_dft_of_a_length_that_runs_say(parts: int, form: dict[str, int]) -> None:
    """One artifact, transforms of symbolic length and number."""
    node = helper.make_node("DFT", ["x", "", "axis"], ["y"], name="node", **form)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", 5, parts])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.int64(1), "axis")]
    graph = helper.make_graph([node], "g", [given], [result], stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = penstock.compile(made.SerializeToString()).load().session(threads=2)
    transform = np.fft.ifft if "inverse" in form else np.fft.fft
    for batch, length in ((2, 7), (1, 1), (3, 64), (1, 263)):
        x = numbers(batch, length, 5, parts)
        exact = transform(as_complex(x), axis=1)
        if "onesided" in form:
            exact = exact[:, : length // 2 + 1]
        close(session.run({"x": x})["y"], exact)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("inverse", [0, 1])
def test_dft(length: int, parts: int, inverse: int) -> None:
    x = numbers(3, length, parts)
    exact = (np.fft.ifft if inverse else np.fft.fft)(as_complex(x), axis=1)
    close(dft(x, inverse=inverse), exact)


@pytest.mark.parametrize("length", [1, 2, 9, 257, 600, 1031])
def test_onesided(length: int) -> None:
    x = numbers(2, length, 1)
    spectrum = dft(x, onesided=1)
    close(spectrum, np.fft.rfft(as_complex(x).real, axis=1))
    back = dft(spectrum, length=length, onesided=1, inverse=1)
    assert back.shape == x.shape
    np.testing.assert_allclose(back, x, atol=3e-6)


@pytest.mark.parametrize("shape", [(5, 2), (301, 2), (1, 2)])
@pytest.mark.parametrize("length", [1, 4, 9, 700])
def test_inverse_of_a_onesided_spectrum_that_is_none(shape: tuple[int, ...], length: int) -> None:
    """Imaginary parts where a real signal has none are of no account, and what is missing is 0."""
    x = numbers(2, *shape)
    close(dft(x, length=length, onesided=1, inverse=1), np.fft.irfft(as_complex(x), n=length, axis=1))


@pytest.mark.parametrize(("axis", "length"), [(0, None), (1, 7), (2, 3), (-2, 11), (-4, 2), (1, 300)])
def test_any_axis_cut_or_continued(axis: int, length: int | None) -> None:
    x = numbers(4, 5, 6, 2)
    close(dft(x, axis=axis, length=length), np.fft.fft(as_complex(x), n=length, axis=axis if axis >= 0 else axis + 1))


def test_the_axis_was_an_attribute() -> None:
    x = numbers(2, 5, 6, 1)
    close(run(model_of("DFT", {"x": x}, {}, ["x"], 19), {"x": x}), np.fft.fft(as_complex(x), axis=1))
    model = model_of("DFT", {"x": x}, {}, ["x"], 17, axis=2)
    close(run(model, {"x": x}), np.fft.fft(as_complex(x), axis=2))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float16, 2e-3)])
@pytest.mark.parametrize("length", [16, 300, 1031])
def test_element_types(dtype: Any, tolerance: float, length: int) -> None:
    x = numbers(2, length, 2, dtype=dtype)
    ours = dft(x)
    assert ours.dtype == dtype
    close(ours, np.fft.fft(as_complex(x), axis=1), tolerance)


@pytest.mark.parametrize("axis", [0, 1, -2, -3])
def test_axis_fed(axis: int) -> None:
    x = numbers(4, 4, 2)
    feeds = {"x": x, "axis": np.int64(axis)}
    model = model_of("DFT", feeds, {}, ["x", "", "axis"], shape=(4, 4, 2))
    close(run(model, feeds), np.fft.fft(as_complex(x), axis=axis if axis >= 0 else axis + 1))


@pytest.mark.parametrize("length", [8, 9])
def test_length_fed(length: int) -> None:
    x = numbers(2, 10, 1)
    feeds = {"x": x, "length": np.int64(length)}
    model = model_of("DFT", feeds, {}, ["x", "length"], shape=(2, 5, 2), onesided=1)
    close(run(model, feeds), np.fft.rfft(as_complex(x).real, n=length, axis=1))
    with pytest.raises(Exception, match=r"PENS-R017: node 'node' .* its length is not what"):
        run(model, {**feeds, "length": np.int64(7)})


def test_dft_refuses() -> None:
    assert refusal(model_of("DFT", {"x": numbers(2, 5, 3)}, {}, ["x"])).startswith("its input ends in 1 or 2 parts")
    x = numbers(2, 5, 2)
    wrong = model_of("DFT", {"x": x}, {"axis": np.int64(2)}, ["x", "", "axis"])
    assert refusal(wrong) == "its axis is that of the parts of a number"
    wrong = model_of("DFT", {"x": x}, {"length": np.int64(0)}, ["x", "length"])
    assert "not 0" in refusal(wrong)
    undeclared = model_of("DFT", {"x": x, "axis": np.int64(0)}, {}, ["x", "", "axis"])
    assert refusal(undeclared).startswith("its axis depends on the model's inputs")


@pytest.mark.parametrize(("samples", "window", "step"), [(128, 16, 8), (1000, 400, 160), (97, 31, 7), (50, 50, 3)])
@pytest.mark.parametrize("parts", [1, 2])
def test_stft(samples: int, window: int, step: int, parts: int) -> None:
    x, weights = numbers(2, samples, parts), np.hanning(window).astype(np.float32) + np.float32(0.1)
    frames = np.lib.stride_tricks.sliding_window_view(as_complex(x), window, axis=1)[:, ::step]
    exact = np.fft.fft(frames * weights, axis=2)
    known = {"step": np.int64(step), "weights": weights}
    model = model_of("STFT", {"x": x}, known, ["x", "step", "weights"], onesided=2 - parts)
    close(run(model, {"x": x}), exact[:, :, : window // 2 + 1] if parts == 1 else exact)


@pytest.mark.parametrize("onesided", [0, 1])
def test_stft_fed(onesided: int) -> None:
    """Step, window and length may all be fed."""
    x, weights = numbers(1, 128, 1), numbers(16)
    bins = 9 if onesided else 16
    feeds = {"x": x, "step": np.int64(8), "weights": weights, "length": np.int64(16)}
    frames = np.lib.stride_tricks.sliding_window_view(as_complex(x), 16, axis=1)[:, ::8]
    model = model_of("STFT", feeds, {}, list(feeds), shape=(1, 15, bins, 2), onesided=onesided)
    close(run(model, feeds), np.fft.fft(frames * weights, axis=2)[:, :, :bins])
    with pytest.raises(Exception, match=r"PENS-R017: node 'node' .* its step is not what"):
        run(model, {**feeds, "step": np.int64(9)})
    plain = {"x": x, "step": np.int64(8), "length": np.int64(16)}
    model = model_of("STFT", plain, {}, ["x", "step", "", "length"], shape=(1, 15, bins, 2), onesided=onesided)
    close(run(model, plain), np.fft.fft(frames, axis=2)[:, :, :bins])


def test_stft_refuses() -> None:
    x, step = numbers(1, 12, 1), np.int64(1)
    known = {"step": step, "weights": numbers(16)}
    names = ["x", "step", "weights"]
    assert refusal(model_of("STFT", {"x": x}, known, names)) == "a signal of 12 samples has no frame of 16"
    known = {"step": np.int64(0), "weights": numbers(4)}
    assert refusal(model_of("STFT", {"x": x}, known, names)) == "its step is 0"
    known = {"step": step, "weights": numbers(4), "length": np.int64(5)}
    assert refusal(model_of("STFT", {"x": x}, known, [*names, "length"])).startswith("a window of 4 numbers is given")
    feeds = {"x": x, "step": step, "length": np.int64(4)}
    open_ = model_of("STFT", feeds, {}, ["x", "step", "", "length"], shape=(1, 2, 3, 2))
    assert refusal(open_) == "its step and its length are fed at run time"


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("size", [1, 2, 3, 10, 400])
@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("fed", [False, True])
def test_windows(op: str, size: int, periodic: int, fed: bool) -> None:
    given = {"size": np.int64(size)}
    model = model_of(op, given if fed else {}, {} if fed else given, ["size"], shape=(size,), periodic=periodic)
    ours = run(model, given if fed else {})
    if size == 1 and not periodic:
        np.testing.assert_array_equal(ours, [1.0])
        return
    expected: Any = ReferenceEvaluator(model).run(None, given if fed else {})
    np.testing.assert_allclose(ours, expected[0], atol=1e-6)
    if fed:
        with pytest.raises(Exception, match=r"PENS-R017: node 'node' .* its size of the window is not what"):
            run(model, {"size": np.int64(size + 1)})


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize(
    ("bands", "length", "rate", "edges"),
    [(8, 16, 8192, (0, 4096)), (80, 400, 16000, (20, 7600)), (3, 9, 100, (1, 30)), (40, 64, 8000, (0, 4000))],
)
def test_mel_weight_matrix(bands: int, length: int, rate: int, edges: tuple[float, float], fed: bool) -> None:
    given = {"bands": np.int64(bands), "length": np.int64(length), "rate": np.int64(rate)}
    given |= {"low": np.float32(edges[0]), "high": np.float32(edges[1])}
    shape = (length // 2 + 1, bands)
    model = model_of("MelWeightMatrix", given if fed else {}, {} if fed else given, list(given), shape=shape)
    arrays = {name: np.asarray(array) for name, array in given.items()} if fed else {}
    expected: Any = onnxruntime.InferenceSession(model.SerializeToString()).run(None, arrays)[0]
    np.testing.assert_allclose(run(model, given if fed else {}), expected, atol=1e-6)


def test_mel_weight_matrix_checks_what_it_is_fed() -> None:
    given = {
        "bands": np.int64(8),
        "length": np.int64(16),
        "rate": np.int64(8192),
        "low": np.float32(0),
        "high": np.float32(4e3),
    }
    model = model_of("MelWeightMatrix", given, {}, list(given), shape=(9, 8))
    assert run(model, {**given, "length": np.int64(17)}).shape == (9, 8)
    with pytest.raises(Exception, match=r"PENS-R017: node 'node' .* the number of bands and bins is not what"):
        run(model, {**given, "length": np.int64(18)})
    with pytest.raises(ModelError, match="there is no matrix of 0 by 8"):
        run(model_of("MelWeightMatrix", given, {}, list(given), shape=(0, 8)), given)
