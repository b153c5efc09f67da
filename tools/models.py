"""Models and their inputs, as commands are given them.

In: a path to an artifact or to a model that is compiled on the spot; input files, or a seed. Out: a loaded model and
arrays that fit it. The one idea: every command takes either kind of file, and all problems with inputs are told in the
words of the model's own names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from penstock.runtime import Model, TensorInfo

    Arrays = dict[str, np.ndarray[Any, Any]]

MODEL_SUFFIXES = (".onnx", ".onnxtxt", ".mlir")


def load_model(
    path: str, target: str = "cpu", dims: Sequence[str] = (), *, verify: bool = False, plugins: Sequence[str] = ()
) -> Model:
    """Load an artifact, or compile a model in memory and load that."""
    if Path(path).suffix in MODEL_SUFFIXES:
        from penstock.compiler.driver import run_phases
        from penstock.tools.options import compile_options

        result = run_phases(path, compile_options(target, (), dims, plugins=plugins), reproducers=Path.cwd())
        assert result.artifact is not None
        return result.artifact.load()
    from penstock.runtime import load

    return load(path, verify=verify)


def read_inputs(model: Model, texts: Sequence[str], seed: int | None, needed: Sequence[str] | None = None) -> Arrays:
    """The inputs of a run, from ``NAME=FILE.npy`` or ``FILE.npz``; what is missing is random if ``seed`` is given.

    Those not ``needed`` (None: all are) may be missing. Raises OptionError when a file cannot be read or an input is
    missing. Whether arrays fit is checked by the run.
    """
    import numpy as np

    from penstock.compiler.errors import BAD_INPUT, OptionError

    arrays: Arrays = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = "", text
        try:
            loaded: Any = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            reason = str(error).split("\n")[0].rstrip(".")
            raise OptionError(BAD_INPUT, f"the input file {path} cannot be read: {reason}.") from error
        if isinstance(loaded, np.ndarray):
            if not name and len(model.inputs) == 1:
                name = model.inputs[0].name
            if not name:
                raise OptionError(BAD_INPUT, f"which input is {path}?", "Write -i NAME=FILE.npy.")
            arrays[name] = loaded
        else:
            arrays |= {key: loaded[key] for key in loaded.files if not name or key == name}
    wanted = [info for info in model.inputs if needed is None or info.name in needed]
    missing = [info for info in wanted if info.name not in arrays]
    if seed is not None:
        arrays |= random_inputs(missing, seed)
    elif missing:
        names = ", ".join(f"'{info.name}'" for info in missing)
        raise OptionError(BAD_INPUT, f"no value for the inputs {names}.", "Give them with -i, or use --random.")
    return {info.name: arrays[info.name] for info in wanted} | arrays


def random_inputs(infos: Sequence[TensorInfo], seed: int) -> Arrays:
    """Arrays by name: normal numbers for floating point, else 0 or 1, which are valid as indices and as masks."""
    import numpy as np

    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for info in infos:
        if info.dtype.kind == "f":
            arrays[info.name] = generator.standard_normal(info.shape).astype(info.dtype)
        else:
            arrays[info.name] = generator.integers(0, 2, info.shape).astype(info.dtype)
    return arrays


def onnxruntime_session(path: str, threads: int) -> Any:
    """An onnxruntime session on a model file. Raises OptionError when onnxruntime or the file is not there."""
    from penstock.compiler.errors import BAD_INPUT, MISSING_PACKAGE, OptionError

    try:
        import onnxruntime
    except ImportError as error:
        raise OptionError(MISSING_PACKAGE, "onnxruntime is not installed.", "pip install onnxruntime") from error
    library: Any = onnxruntime
    settings = library.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    try:
        return library.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise OptionError(BAD_INPUT, f"onnxruntime cannot load {path}: {reason}.") from error


def reference_path(model: str, given: str | None) -> str:
    """The ONNX file to compare with: the model itself, or the one given beside an artifact."""
    from penstock.compiler.errors import BAD_INPUT, OptionError

    if given is not None:
        return given
    if Path(model).suffix == ".onnx":
        return model
    raise OptionError(
        BAD_INPUT, f"{model} is not an ONNX file.", "Say which model it was made from: --model FILE.onnx."
    )
