"""Run one case with symbolic sizes: the model says a name wherever it said a number.

In: a `Case`. Out: a `Result`. Every size of every input becomes a symbol of its own, except 1, which broadcasting reads
(`forget_sizes`); what the model says of its other values is dropped, and operands that decide a shape are stored in it.
The model is compiled once and its artifact run at the case's own sizes, then at larger ones. The one idea: at those the
oracle is ONNX's own evaluator, on the data repeated; which sizes may be changed together is not worked out but tried:
a run with sizes that contradict each other is refused by the runtime, and only what it takes is compared. Where that
evaluator is wrong at other sizes, numpy says what comes out (`OWN_ORACLES`); where it rounds every step to half
precision, and so strays further than the tolerance, it has the last word in f32.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.backend.test.runner import Runner

from .cases import Arrays, Case, bind_shape_inputs, graph_inputs
from .execution import Result, compare, contiguous, line, run_oracle

OTHER_SIZES = 3
"""At most so many other sizes are compared for a case."""

LARGEST = 1 << 14
"""At most so many elements the inputs have at other sizes: ONNX's evaluator is slow."""

HALVES = {TensorProto.FLOAT16, TensorProto.BFLOAT16}


def execute_symbolic(case: Case) -> Result:
    """Compile the case with symbolic sizes and run it: `pass` at its own sizes, `pass twice` at others as well, `fixed`
    without a size that can be a symbol. Raises what the compiler and the runtime raise."""
    import penstock

    model, _ = bind_shape_inputs(case.model, case.data_sets[0][0])
    if not forget_sizes(model, set(graph_inputs(model))):
        return Result("fixed")
    artifact = penstock.compile(model.SerializeToString())
    names = [value.name for value in model.graph.output]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.pens"
        artifact.save(path)
        session = penstock.load(path).session(threads=2)
        for inputs, expected in case.data_sets:
            given = {name: inputs[name] for name in graph_inputs(model) if name in inputs}
            outputs = session.run(contiguous(given))
            try:
                compare(case, inputs, [outputs[name] for name in names], expected)
            except AssertionError as error:
                return Result("wrong", "", line(error))
        return _at_other_sizes(case, model, session.run)


def _at_other_sizes(case: Case, model: ModelProto, run: Callable[[Arrays], Any]) -> Result:
    from penstock.runtime.errors import PenstockError

    compared = 0
    own = {name: case.data_sets[0][0][name] for name in graph_inputs(model) if name in case.data_sets[0][0]}
    skipped = case.draws or case.kind == "light"
    for sizes, inputs in () if skipped else other_sizes(own):
        try:
            outputs = run(inputs)
        except PenstockError:
            continue
        own_oracle = OWN_ORACLES.get(case.name)
        expected = own_oracle(inputs) if own_oracle is not None else _oracle(model, inputs)
        if expected is None:
            continue
        try:
            Runner.assert_similar_outputs(expected, list(outputs.values()), case.rtol, case.atol)
        except AssertionError as error:
            if not _near_wider(case, model, inputs, list(outputs.values())):
                return Result("wrong", "", f"at sizes {sizes}: {line(error)}")
        compared += 1
        if compared == OTHER_SIZES:
            break
    return Result("pass", "twice" if compared else "")


def _oracle(model: ModelProto, inputs: Arrays) -> list[Any] | None:
    """What ONNX's evaluator makes of the inputs; None where these sizes are beyond it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return list(run_oracle(model, inputs).values())
        except Exception:  # whatever it raises, it has no answer
            return None


def _near_wider(case: Case, model: ModelProto, inputs: Arrays, outputs: list[Any]) -> bool:
    """Whether outputs in half precision are what ONNX's evaluator gives in f32, rounded once."""
    wide = ModelProto.FromString(model.SerializeToString())
    if not _widen(wide.graph):
        return False
    kinds = {name: np.asarray(array).dtype for name, array in inputs.items()}
    halves = {name for name, kind in kinds.items() if kind.itemsize == 2 and kind.kind in "fV"}
    expected = _oracle(wide, {name: np.float32(item) if name in halves else item for name, item in inputs.items()})
    if expected is None:
        return False
    try:
        rounded = [np.asarray(each).astype(ours.dtype) for each, ours in zip(expected, outputs, strict=True)]
        Runner.assert_similar_outputs(rounded, outputs, case.rtol, case.atol)
    except AssertionError:
        return False
    return True


def _widen(graph: GraphProto) -> int:
    """Make f32 of every half-precision type of a graph: of its values, constants and casts; how many there were."""
    found = 0
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in HALVES:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            found += 1
    tensors = [*graph.initializer]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype", "softmax_precision") and attribute.i in HALVES:
                attribute.i = TensorProto.FLOAT
            elif attribute.type == AttributeProto.GRAPH:
                found += _widen(attribute.g)
            elif attribute.type == AttributeProto.TENSOR:
                tensors.append(attribute.t)
    for tensor in tensors:
        if tensor.data_type in HALVES:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    return found


def forget_sizes(model: ModelProto, names: set[str]) -> int:
    """Take every size of 2 or more from the types of the inputs `names`, and all sizes from the other values' types;
    the number of sizes taken from inputs."""
    taken = 0
    for value in model.graph.input:
        if value.name in names and value.type.WhichOneof("value") == "tensor_type":
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value > 1:
                    dim.Clear()
                    taken += 1
    for value in model.graph.output:
        _forget(value)
    del model.graph.value_info[:]
    return taken


def _forget(value: ValueInfoProto) -> None:
    if value.type.WhichOneof("value") == "tensor_type":
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()


def _resized(array: Any, change: dict[int, int]) -> Any:
    shape: Any = tuple(change.get(size, size) for size in array.shape)
    return np.resize(array, shape)


def other_sizes(inputs: Arrays) -> Iterator[tuple[str, Arrays]]:
    """The inputs at larger sizes, and a word on each: all one larger or twice as large, then equal ones changed
    together while the rest stays. Data is repeated, so that positions stay in range."""
    arrays: dict[str, Any] = {
        name: item for name, item in inputs.items() if isinstance(item, np.ndarray) and item.dtype.kind not in "OUS"
    }
    present = sorted({size for array in arrays.values() for size in array.shape if size > 1})
    changes: list[dict[int, int]] = [{size: size + 1 for size in present}, {size: 2 * size for size in present}]
    for size in present:
        changes += [{size: size + 1}, {size: 2 * size}]
    seen: list[dict[int, int]] = []
    for change in changes:
        if change not in seen:
            seen.append(change)
            resized = {name: _resized(array, change) for name, array in arrays.items()}
            if sum(array.size for array in resized.values()) > LARGEST:
                continue
            yield ", ".join(f"{size} -> {other}" for size, other in change.items()), {**inputs, **resized}


# Where ONNX's evaluator is wrong at other sizes -----------------------------------------------------------------------


def _log_softmax(inputs: Arrays) -> list[Any]:
    """Of numbers whose powers overflow, which the evaluator computes."""
    x = inputs["x"].astype(np.float64)
    shifted = x - x.max(axis=-1, keepdims=True)
    return [(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)]


def _padded_maxima(inputs: Arrays) -> list[Any]:
    """Maxima of 5 x 5 windows that reach 2 beyond the image, and where they are in row-major order, which the evaluator
    counts in the padded image."""
    x = inputs["x"]
    places = np.arange(x.size).reshape(x.shape)
    edges = [(0, 0), (0, 0), (2, 2), (2, 2)]
    windows, inside = (
        np.lib.stride_tricks.sliding_window_view(np.pad(array, edges, constant_values=fill), (5, 5), axis=(2, 3))
        for array, fill in ((x, -np.inf), (places, -1))
    )
    flat, numbers = windows.reshape(*x.shape, 25), inside.reshape(*x.shape, 25)
    best = flat.argmax(axis=-1)[..., None]
    return [np.take_along_axis(each, best, -1)[..., 0] for each in (flat, numbers)]


def _quantised_product(inputs: Arrays) -> list[Any]:
    """Of scales in f16, whose product the evaluator rounds to f16."""
    a, b = (inputs[name].astype(np.float64) - inputs[f"{name}_zero_point"] for name in "ab")
    scale = np.float64(inputs["a_scale"]) * np.float64(inputs["b_scale"]) / np.float64(inputs["y_scale"])
    zero = inputs["y_zero_point"]
    limits = np.iinfo(zero.dtype)
    return [np.clip(np.rint(a @ b * scale) + zero, limits.min, limits.max).astype(zero.dtype)]


OWN_ORACLES: dict[str, Callable[[Arrays], list[Any]]] = {
    "test_logsoftmax_large_number": _log_softmax,
    "test_logsoftmax_large_number_expanded": _log_softmax,
    "test_maxpool_with_argmax_2d_precomputed_pads": _padded_maxima,
    **{
        f"test_qlinearmatmul_{rank}_{kind}_float16": _quantised_product
        for rank in ("2D", "3D")
        for kind in ("int8", "uint8")
    },
}
"""What comes out instead of what ONNX's evaluator says, by case."""
