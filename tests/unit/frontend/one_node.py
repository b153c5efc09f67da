"""Models of one node, compiled and run: our result beside that of ONNX's reference evaluator or of onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

import penstock

Array = NDArray[Any]


def model_of(
    op: str,
    feeds: Mapping[str, Any],
    outputs: Sequence[str] | int = 1,
    *,
    opset: int = 22,
    domain: str = "",
    version: int = 1,
    constants: Mapping[str, Any] | None = None,
    kinds: Sequence[Any] = (),
    shape: Sequence[int] | None = None,
    **attributes: Any,
) -> Any:
    """A model of one node. Its operands are ``feeds`` in order (``None``: left out), then ``constants``, which are
    initializers; ``outputs`` says how many results are asked for, or their names; ``kinds`` are their dtypes, if they
    are not that of the first operand, and ``shape`` the declared shape of each. ``version`` is
    the opset of ``domain``, if that is not ONNX's own."""
    known = dict(constants or {})
    operands = [name if array is not None else "" for name, array in (*feeds.items(), *known.items())]
    names = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else list(outputs)
    node = helper.make_node(op, operands, names, name="node", domain=domain, **attributes)
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.shape(array))
        for name, array in feeds.items()
        if array is not None
    ]
    initializers = [_tensor(name, np.asarray(array)) for name, array in known.items() if array is not None]
    first = np.asarray(next(iter((feeds or known).values()))).dtype
    codes = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in kinds or [first] * len(names)]
    results = [
        helper.make_tensor_value_info(name, code, shape) for name, code in zip(names, codes, strict=True) if name
    ]
    graph = helper.make_graph([node], "g", infos, results, initializers)
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, version)] if domain else [])
    return helper.make_model(graph, opset_imports=imports, ir_version=11 if opset > 22 else 10)


def _tensor(name: str, array: Array) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True)


def compiled(model: Any, feeds: Mapping[str, Any], threads: int = 1) -> list[Array]:
    """What the compiled model computes."""
    arrays = {name: np.asarray(array) for name, array in feeds.items() if array is not None}
    session = penstock.compile(model.SerializeToString()).load().session(threads=threads)
    return list(session.run(arrays).values())


def expected(model: Any, feeds: Mapping[str, Any], peer: str = "onnx") -> list[Array]:
    """What ONNX's reference evaluator (``onnx``) or onnxruntime (``onnxruntime``) computes."""
    arrays = {name: np.asarray(array) for name, array in feeds.items() if array is not None}
    if peer == "onnx":
        results: Any = ReferenceEvaluator(model).run(None, arrays)
    else:
        results = onnxruntime.InferenceSession(model.SerializeToString()).run(None, arrays)
    return [np.asarray(result) for result in results]


def agree(
    op: str,
    feeds: Mapping[str, Any],
    outputs: Sequence[str] | int = 1,
    *,
    peer: str = "onnx",
    tolerance: float = 1e-5,
    **parameters: Any,
) -> None:
    """Our results are the peer's: the same integers and truth values, and close numbers."""
    model = model_of(op, feeds, outputs, **parameters)
    for ours, theirs in zip(compiled(model, feeds), expected(model, feeds, peer), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        if theirs.dtype.kind in "fV":
            np.testing.assert_allclose(
                ours.astype(np.float64), theirs.astype(np.float64), rtol=tolerance, atol=tolerance
            )
        else:
            np.testing.assert_array_equal(ours, theirs)
