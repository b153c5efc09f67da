"""Run one case and say how it ended.

In: a `Case` and a mode: `reference` (import, then penstock's interpreter on the graph), `native` (compile to an
artifact, load it, run it on two threads) or `oracle` (ONNX's own evaluator, to test the harness). Out: a `Result`.
The one idea: everything but a pass is told apart: a sentence for the user (refused), a wrong result, an exception that
should not have been (internal), a dead process (crash, set by the server), too slow (timeout).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto
from onnx.backend.test.runner import Runner

from .cases import Arrays, Case, bind_shape_inputs

MODES = ("reference", "native")
"""The modes the baseline and the documentation speak of."""

SYMBOLIC = "symbolic"
"""The mode of `symbolic.py`, which has a baseline of its own."""

SHAPE_UNKNOWN = "PENS-M014"
"""The code of a refusal because an operand that decides a shape is only known at run time."""


@dataclass(frozen=True)
class Result:
    """How a case ended.

    `status` is pass, bound (passes once shape-deciding inputs are stored in the model), refused, wrong, internal, crash
    or timeout; `code` the stable error code of a refusal; `detail` one line for a person.
    """

    status: str
    code: str = ""
    detail: str = ""

    @property
    def label(self) -> str:
        """What the baseline stores: the status, and the code of a refusal."""
        return f"{self.status} {self.code}".strip()


def execute(case: Case, mode: str) -> Result:
    """Run a case; every exception becomes a result."""
    from penstock.compiler.errors import InternalError
    from penstock.runtime.errors import PenstockError

    try:
        return _execute(case, mode)
    except InternalError as error:
        return Result("internal", str(error.code), line(error))
    except PenstockError as error:
        return Result("refused", str(error.code), line(error))
    except Exception as error:  # any other exception is a defect, and this is where it is told
        return Result("internal", type(error).__name__, line(error))


def _execute(case: Case, mode: str) -> Result:
    from penstock.runtime.errors import PenstockError

    if mode == SYMBOLIC:
        from .symbolic import execute_symbolic

        return execute_symbolic(case)
    run = RUNNERS[mode]
    bound = False
    for inputs, expected in case.data_sets:
        try:
            outputs = run(case.model, inputs)
        except PenstockError as error:
            model, remaining = bind_shape_inputs(case.model, inputs)
            if str(error.code) != SHAPE_UNKNOWN or len(remaining) == len(inputs):
                raise
            outputs, bound = run(model, remaining), True
        names = [value.name for value in case.model.graph.output]
        try:
            compare(case, inputs, [outputs[name] for name in names], expected)
        except AssertionError as error:
            return Result("wrong", "", line(error))
    return Result("bound" if bound else "pass")


def compare(case: Case, inputs: Arrays, outputs: list[Any], expected: list[Any]) -> None:
    """Raise AssertionError unless shapes and dtypes are equal and values within tolerance, by ONNX's own comparison.

    Random numbers are those of the generator, which the standard leaves open: where numpy's were drawn for the expected
    output, ours must be what could have been drawn.
    """
    if case.draws:
        expected = _drawn_instead(case, inputs, outputs, expected)
    Runner.assert_similar_outputs(expected, outputs, case.rtol, case.atol)


def _drawn_instead(case: Case, inputs: Arrays, outputs: list[Any], expected: list[Any]) -> list[Any]:
    """The expected outputs had they been drawn as ours are: by which elements of the first are 0."""
    drawn = np.asarray(outputs[0]) != 0
    if case.group == "Bernoulli":
        made = [drawn.astype(expected[0].dtype)]
    else:
        x, *rest = inputs.values()
        made = [(x * drawn / (1 - (float(rest[0]) if rest else 0.5))).astype(expected[0].dtype), drawn]
    assert [array.shape for array in made[: len(expected)]] == [array.shape for array in expected]
    return made[: len(expected)]


def empty_dimensions(model: ModelProto, inputs: Arrays) -> dict[str, tuple[int, int]]:
    """The named dimensions of which the case has none: it says so (``--dim n=0..16``), as they are else 1 or more."""
    declared = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    return {
        dim.dim_param: (0, 16)
        for name, array in inputs.items()
        if isinstance(array, np.ndarray)
        for dim, extent in zip(declared.get(name, ()), array.shape, strict=False)
        if extent == 0 and dim.dim_param
    }


def run_reference(model: ModelProto, inputs: Arrays) -> Arrays:
    """Import the model and interpret its graph."""
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.frontends.onnx import import_model
    from penstock.compiler.interpreter import run_module

    context = CompilerContext()
    module = import_model(model, context, dims=empty_dimensions(model, inputs))
    return run_module(module, context, contiguous(inputs))


def run_native(model: ModelProto, inputs: Arrays) -> Arrays:
    """Compile the model, save and load the artifact, run it on two threads."""
    import penstock

    artifact = penstock.compile(model.SerializeToString(), dims=empty_dimensions(model, inputs))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.pens"
        artifact.save(path)
        return dict(penstock.load(path).session(threads=2).run(contiguous(inputs)))


def run_oracle(model: ModelProto, inputs: Arrays) -> Arrays:
    """Run ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    names = [value.name for value in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(None, inputs), strict=True))


RUNNERS: dict[str, Callable[[ModelProto, Arrays], Arrays]] = {
    "reference": run_reference,
    "native": run_native,
    "oracle": run_oracle,
}


def contiguous(inputs: Arrays) -> Arrays:
    """The inputs with arrays in C order."""
    return {
        name: np.asarray(item, order="C") if isinstance(item, np.ndarray) else item for name, item in inputs.items()
    }


def line(error: BaseException) -> str:
    """The exception's text on one line of bearable length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]
