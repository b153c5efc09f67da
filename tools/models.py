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

    from penstock.runtime import Model, Session, TensorInfo

    Arrays = dict[str, np.ndarray[Any, Any]]

MODEL_SUFFIXES = (".onnx", ".onnxtxt", ".mlir")


def load_model(
    path: str, target: str = "cpu", dims: Sequence[str] = (), *, verify: bool = False, plugins: Sequence[str] = ()
) -> Model:
    """Load an artifact, or compile a model in memory, for the values or ranges of its dimensions in ``dims``, and load
    that."""
    if Path(path).suffix in MODEL_SUFFIXES:
        from penstock.compiler.driver import run_phases
        from penstock.tools.options import compile_options

        result = run_phases(path, compile_options(target, (), dims, plugins=plugins), reproducers=Path.cwd())
        assert result.artifact is not None
        return result.artifact.load()
    from penstock.runtime import load

    model = load(path, verify=verify)
    _check_dims(model, dims)
    return model


def _check_dims(model: Model, dims: Sequence[str]) -> None:
    """An artifact takes numbers for the sizes that are chosen at run time. Raises OptionError for anything else."""
    from penstock.compiler.errors import BAD_VALUE, OptionError, nearest
    from penstock.tools.options import read_dims

    names = [symbol.name for symbol in model.symbols]
    for name, size in read_dims(dims).items():
        if name not in names:
            hint = f"Its sizes: {', '.join(names)}." if names else "All of its sizes were fixed when it was compiled."
            raise OptionError(BAD_VALUE, f"the artifact has no size '{name}' to choose{nearest(name, names)}", hint)
        if model.length is not None and name == model.length.name:
            reason = f"the size '{name}' is how many rows a session keeps, which begins with none."
            raise OptionError(BAD_VALUE, reason, f"Leave out --dim {name}.")
        if not isinstance(size, int):
            raise OptionError(BAD_VALUE, f"the size '{name}' of a run is one number.", f"For example: --dim {name}=8.")


def read_inputs(
    model: Model,
    texts: Sequence[str],
    seed: int | None,
    dims: Sequence[str] = (),
    needed: Sequence[str] | None = None,
) -> Arrays:
    """The inputs of a run, from ``NAME=FILE.npy`` or ``FILE.npz``; what is missing is random if ``seed`` is given, of
    the sizes that ``dims`` (``NAME=VALUE``) and the arrays from files give.

    Those not ``needed`` (None: all are) may be missing. Raises OptionError when a file cannot be read, or an input or
    its size is missing. Whether arrays fit is checked by the run.
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
        begun = {} if model.length is None else {model.length.name: 0}
        arrays |= random_inputs(missing, seed, known_sizes(model, dims, arrays) | begun)
    elif missing:
        names = ", ".join(f"'{info.name}'" for info in missing)
        raise OptionError(BAD_INPUT, f"no value for the inputs {names}.", "Give them with -i, or use --random.")
    return {info.name: arrays[info.name] for info in wanted} | arrays


def known_sizes(model: Model, dims: Sequence[str], arrays: Arrays) -> dict[str, int]:
    """The sizes that are chosen at run time, as far as ``dims`` or the shapes of ``arrays`` tell them, by name."""
    from penstock.tools.options import read_dims

    names = {symbol.name for symbol in model.symbols}
    found = {name: size for name, size in read_dims(dims).items() if name in names and isinstance(size, int)}
    for info in model.inputs:
        if info.name in arrays:
            pairs = zip(info.shape, arrays[info.name].shape, strict=False)
            found |= {extent: size for extent, size in pairs if extent in names and extent not in found}
    return found


def random_inputs(infos: Sequence[TensorInfo], seed: int, sizes: dict[str, int]) -> Arrays:
    """Arrays by name: normal numbers for floating point, else 0 or 1, which are valid as indices and as masks.

    Raises OptionError for an extent that depends on a size which is not among ``sizes``.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for info in infos:
        shape = _shape(info, sizes)
        if info.dtype.kind == "f":
            arrays[info.name] = generator.standard_normal(shape).astype(info.dtype)
        else:
            arrays[info.name] = generator.integers(0, 2, shape).astype(info.dtype)
    return arrays


def _shape(info: TensorInfo, sizes: dict[str, int]) -> tuple[int, ...]:
    from penstock.compiler.errors import BAD_INPUT, OptionError
    from penstock.compiler.extent_text import parse
    from penstock.compiler.extents import evaluate

    try:
        shape = [evaluate(parse(each), sizes) if isinstance(each, str) else each for each in info.shape]
    except KeyError as error:
        name = error.args[0]
        raise OptionError(
            BAD_INPUT, f"the size '{name}' of the input '{info.name}' is not known.", f"Give it: --dim {name}=8."
        ) from None
    if min(shape, default=0) < 0:
        text = ", ".join(f"{name} = {size}" for name, size in sizes.items())
        raise OptionError(BAD_INPUT, f"the input '{info.name}' has no shape where {text}.", "Choose other sizes.")
    return tuple(shape)


def begin(session: Session) -> None:
    """Let a session's next run be its first one, whatever it keeps from run to run."""
    if session.model.length is not None:
        session.reset()


def nothing_kept(model: Model) -> Arrays:
    """The inputs that an artifact's sessions keep, as the model itself takes them in the first run: without rows."""
    import numpy as np

    from penstock.compiler.dtypes import element_type, numpy_dtype

    arrays: Arrays = {}
    for tensor in model.manifest.get("kept", {"tensors": []})["tensors"]:
        shape = [0 if axis == tensor["axis"] else extent for axis, extent in enumerate(tensor["shape"])]
        arrays[tensor["input"]] = np.zeros(shape, numpy_dtype(element_type(tensor["dtype"])))
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
