"""Classical machine learning, n-grams and optimisers give what onnxruntime and ONNX's reference evaluator give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from unit.frontend.one_node import agree, compiled, model_of

import penstock
from penstock.compiler.errors import ModelError

RNG = np.random.default_rng(17)
ML, TRAINING = "ai.onnx.ml", "ai.onnx.preview.training"


def some(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def peer(op: str, feeds: Any, **parameters: Any) -> None:
    agree(op, feeds, domain=ML, peer="onnxruntime", opset=17, **parameters)


@pytest.mark.parametrize("x", [some(7), some(2, 7), some(2, 3, 7), RNG.integers(0, 9, (2, 7))])
def test_features(x: Any) -> None:
    peer("ArrayFeatureExtractor", {"x": x, "i": np.array([[4, 0, 4]])})


def test_numbers_of_columns() -> None:
    x = some(5, 4)
    peer("Binarizer", {"x": x}, threshold=0.25)
    peer("Scaler", {"x": x}, offset=[0.5, 1.0, -1.0, 0.0], scale=[2.0, 3.0, 0.5, 1.0])
    peer("Scaler", {"x": x}, offset=[0.5], scale=[2.0])
    peer("Scaler", {"x": RNG.integers(-9, 9, (5, 4))}, offset=[0.5], scale=[2.0], kinds=[np.float32])
    peer("FeatureVectorizer", {"x": x, "y": some(5, 2)}, inputdimensions=[4, 2])
    peer("LinearRegressor", {"x": x}, coefficients=some(12).tolist(), intercepts=[1.0, 2.0, 3.0], targets=3)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("labels", [[0, 1], [7, -2, 5]])
def test_linear_classification(labels: list[int], transform: str) -> None:
    options: Any = {"coefficients": some(4 * len(labels)).tolist(), "intercepts": some(len(labels)).tolist()}
    kinds = [np.int64, np.float32]
    for x in (some(9, 4), some(4)):
        peer(
            "LinearClassifier",
            {"x": x},
            outputs=2,
            kinds=kinds,
            classlabels_ints=labels,
            post_transform=transform,
            **options,
        )


def test_string_labels_are_refused() -> None:
    options: Any = {"classlabels_strings": ["a", "b"], "coefficients": some(6).tolist()}
    with pytest.raises(ModelError, match="labels are strings"):
        peer("LinearClassifier", {"x": some(2, 3)}, outputs=2, kinds=[np.int64, np.float32], **options)


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_norms(norm: str) -> None:
    rows = np.abs(some(5, 4))
    rows[2] = 0
    peer("Normalizer", {"x": rows}, norm=norm)


def test_imputation() -> None:
    x = some(5, 3)
    x[1, 2], x[3, 0] = np.nan, 7
    peer("Imputer", {"x": x}, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan"))
    peer("Imputer", {"x": x}, imputed_value_floats=[1.0], replaced_value_float=7.0)
    peer("Imputer", {"x": RNG.integers(0, 3, (5, 3))}, imputed_value_int64s=[9], replaced_value_int64=1)


def test_labels() -> None:
    x = RNG.integers(0, 6, (4, 5))
    peer("LabelEncoder", {"x": x}, version=2, keys_int64s=[1, 3, 5], values_int64s=[10, 30, 50], default_int64=-7)
    y = x.astype(np.float32)
    keys = {"keys_floats": [1.0, float("nan"), 4.0], "values_int64s": [1, 2, 3]}
    peer("LabelEncoder", {"x": y}, version=2, default_int64=0, kinds=[np.int64], **keys)
    y[0, 0] = np.nan  # by the specification keys are compared bit by bit; both peers find no NaN
    (result,) = compiled(model_of("LabelEncoder", {"x": y}, domain=ML, version=2, kinds=[np.int64], **keys), {"x": y})
    assert result[0, 0] == 2
    strings = model_of("LabelEncoder", {"x": x}, domain=ML, version=2, keys_int64s=[1], values_strings=["a"])
    with pytest.raises(ModelError, match="strings, which are not compiled"):
        penstock.compile(strings.SerializeToString())


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(("least", "most", "skips"), [(1, 1, 0), (1, 2, 0), (2, 2, 5), (1, 3, 1), (2, 3, 2)])
@pytest.mark.parametrize("shape", [(12,), (3, 12), (2, 1)])
def test_ngrams(shape: Any, least: int, most: int, skips: int, mode: str) -> None:
    agree(
        "TfIdfVectorizer", {"x": RNG.integers(0, 5, shape)}, kinds=[np.float32], opset=17, mode=mode,
        min_gram_length=least, max_gram_length=most, max_skip_count=skips, ngram_counts=[0, 3, 9],
        ngram_indexes=[2, 0, 1, 5, 4, 3, 6], pool_int64s=[0, 1, 2, 0, 1, 1, 1, 4, 2, 1, 2, 3],
        weights=[0.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    )  # fmt: skip


def test_optimisers() -> None:
    rate, x, y = np.float32(0.1), [some(3, 4), some(5)], [some(3, 4), some(5)]
    squares = [np.abs(some(3, 4)), np.abs(some(5))]
    adam = {"alpha": 0.9, "beta": 0.999, "epsilon": 1e-5, "norm_coefficient": 0.01, "norm_coefficient_post": 0.1}
    momentum = {"alpha": 0.9, "beta": 0.5, "norm_coefficient": 0.01}
    for time in (0, 3):
        common = {"r": rate, "t": np.int64(time), "x0": x[0], "x1": x[1], "g0": y[0], "g1": y[1]}
        states = {"h0": squares[0], "h1": squares[1]}
        moving = {"v0": some(3, 4), "v1": some(5)}
        for op, feeds, outputs, attributes in (
            ("Adagrad", common | states, 4, {"decay_factor": 0.1, "epsilon": 1e-5, "norm_coefficient": 0.01}),
            ("Adam", common | moving | states, 6, adam),
            ("Momentum", common | moving, 4, {**momentum, "mode": "standard"}),
            ("Momentum", common | moving, 4, {**momentum, "mode": "nesterov"}),
        ):
            agree(op, feeds, outputs, domain=TRAINING, **attributes)


def test_what_does_not_fit_is_refused() -> None:
    cases: list[tuple[Any, str]] = [
        (model_of("Scaler", {"x": some(2, 3)}, domain=ML, scale=[1.0, 2.0]), "are one number or 3"),
        (model_of("LinearRegressor", {"x": some(2, 3)}, domain=ML, coefficients=[1.0]), "1 coefficients"),
        (
            model_of("LinearRegressor", {"x": some(2, 1)}, domain=ML, coefficients=[1.0], post_transform="PROBIT"),
            "PROBIT is not compiled",
        ),
        (model_of("Adagrad", {"r": np.float32(1), "t": np.int64(1), "x": some(2)}, domain=TRAINING), "3 tensors for"),
    ]
    for model, sentence in cases:
        with pytest.raises(ModelError, match=sentence):
            penstock.compile(model.SerializeToString())
