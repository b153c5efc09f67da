"""Run one case with symbolic sizes: the model says a name wherever it said a number.

In: a `Case`. Out: a `Result`. Every size of every input becomes a symbol of its own, except 1, which broadcasting reads
(`forget_sizes`); what the model says of its other values is dropped, and operands that decide a shape are stored in it.
The model is compiled once and its artifact run at the case's own sizes, then at larger ones. The one idea: at those the
oracle is ONNX's own evaluator, on the data repeated; which sizes may be changed together is not worked out but tried:
a run with sizes that contradict each other is refused by the runtime, and only what it takes is compared.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto
from onnx.backend.test.runner import Runner

from .cases import Arrays, Case, bind_shape_inputs, graph_inputs
from .execution import Result, compare, contiguous, line, run_oracle

OTHER_SIZES = 3
"""At most so many other sizes are compared for a case."""

LARGEST = 1 << 14
"""At most so many elements the inputs have at other sizes: ONNX's evaluator is slow."""

ORACLE_WRONG = frozenset(
    {
        "test_logsoftmax_large_number",  # overflows
        "test_logsoftmax_large_number_expanded",
        "test_maxpool_with_argmax_2d_precomputed_pads",  # numbers the maxima of a padded input wrongly
        "test_qlinearmatmul_2D_int8_float16",  # rounds the scales' product to f16
        "test_qlinearmatmul_2D_uint8_float16",
        "test_qlinearmatmul_3D_int8_float16",
        "test_qlinearmatmul_3D_uint8_float16",
    }
)
"""Cases whose expected outputs ONNX's evaluator does not give at other sizes."""


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
    skipped = case.draws or case.kind == "light" or case.name in ORACLE_WRONG
    for sizes, inputs in () if skipped else other_sizes(own):
        try:
            outputs = run(inputs)
        except PenstockError:
            continue
        expected = _oracle(model, inputs)
        if expected is None:
            continue
        try:
            Runner.assert_similar_outputs(expected, list(outputs.values()), case.rtol, case.atol)
        except AssertionError as error:
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
