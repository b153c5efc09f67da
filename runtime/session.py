"""Sessions: run a model on numpy arrays.

In: a dictionary of arrays by input name. Out: a dictionary of arrays by output name. The one idea: a run like the last
one is prepared, and checks identity of dtype and shape and nothing else (``calls.py``); whatever it declines is looked
at closely here, and either converted without surprise (same dtype, not contiguous: copied) or refused with every
problem in one sentence.
"""

from __future__ import annotations

import ctypes
import math
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from penstock.runtime.arrays import Array, address, as_array, mismatch, overlaps, sentence
from penstock.runtime.binding import Binding
from penstock.runtime.calls import Exclusive, Tensor
from penstock.runtime.errors import CLOSED, INVALID_ARGUMENT, WRONG_INPUTS, WRONG_OUTPUTS, WRONG_SIZES
from penstock.runtime.library import Error, Executor, Record, SessionOptions, check, library
from penstock.runtime.recycling import LARGE_BYTES, Recycler

if TYPE_CHECKING:
    from penstock.runtime.model import Model


@dataclass(frozen=True)
class CommandRecord:
    """One command of a profiled run: source nodes, kernel, start and end in ns from the run's start, flops, bytes."""

    source: str
    kernel: str
    start_ns: int
    end_ns: int
    flops: int
    bytes: int
    threads: int


class Session:
    """Runs one model, one call at a time; owns the memory of a run. Make it with ``Model.session``."""

    def __init__(
        self, model: Model, threads: int | None, executor: Callable[[Callable[[int], None], int], None] | None
    ) -> None:
        if threads is not None and not 1 <= threads <= 1024:
            raise INVALID_ARGUMENT.error(f"A session has 1 to 1024 threads, not {threads}.")
        native = library()
        self.model = model
        # The argument arrays belong to one call: from filling them in until it returns, a second one is refused.
        self._idle = Exclusive()
        self._callback = Executor() if executor is None else Executor(_adapt(executor))
        options = SessionOptions(threads or 0, self._callback, None)
        handle, error = ctypes.c_void_p(), Error()
        check(native.pens_session_create(model.handle, options, ctypes.byref(handle), error), error)
        assert handle.value is not None
        self.threads: int = native.pens_session_threads(handle.value)
        self._handle: ctypes.c_void_p | None = handle
        self._finalizer = weakref.finalize(self, _destroy, handle.value, model, self._callback)
        # Shapes under the current sizes; while a model with symbols has none, its texts, which equal no array's shape.
        self._inputs = [(t.name, t.dtype, t.shape) for t in model.inputs]
        self._outputs = [(t.name, t.dtype, t.shape) for t in model.outputs]
        self._feeds = list(enumerate(self._inputs))  # what the chosen outputs need
        self._fetches = list(enumerate(self._outputs))  # what is chosen
        self._chosen: frozenset[int] | None = None  # None: all
        self._choices: dict[frozenset[int], list[int]] = {}  # inputs that outputs need, found so far
        # Outputs whose shape a run finds, by index: the elements that there must be room for.
        counted = {symbol.name for symbol in model.counted}
        self._rooms = {i: 0 for i, t in enumerate(model.outputs) if _mentions(t.shape, counted)}
        # Whether an input or output grows with the rows that are kept, so that no run is like the one before.
        self._grows = False
        if model.length:
            self._grows = any(_mentions(t.shape, {model.length.name}) for t in (*model.inputs, *model.outputs))
        self._in = (ctypes.c_void_p * max(len(self._inputs), 1))()
        self._out = (ctypes.c_void_p * max(len(self._outputs), 1))()
        self._error = Error()
        self._arguments = tuple(ctypes.cast(a, ctypes.c_void_p) for a in (self._in, self._out))
        self._error_argument = ctypes.cast(ctypes.byref(self._error), ctypes.c_void_p)
        self._run = native.pens_run
        self._recycler = Recycler()
        self._large: dict[int, int] = {}
        if not model.symbols:
            self._find_large()
        # A prepared run that computes all outputs; and the changes there had been when the last other one was made.
        self._quick: Callable[[Mapping[str, Any]], Any] | None = None
        self._quick_error = self._error
        self._steady = -1
        if (model.counted or model.length) and all(symbol == model.length for symbol in model.symbols):
            self._take_shapes()

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        out: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Run the model.

        ``inputs``: an array per input, of exactly its dtype and shape (numpy arrays, or anything with the buffer or
        DLPack protocol; contiguous ones are not copied). Sizes that are chosen at run time are read off their shapes,
        as ``set_sizes`` would set them. ``outputs`` picks which results to compute (None: all): only what they need is
        executed, and inputs they do not need may be left out. ``out`` gives arrays to write results to. Raises
        RuntimeFailure: PENS-R011 and PENS-R012 name all problems, PENS-R010 if another thread's call has not returned.
        """
        if self._quick is not None and outputs is None and out is None:
            found = self._quick(inputs)
            if found.__class__ is dict:
                return found
            self._refuse(found, self._quick_error)
        with self._idle:
            if outputs is not None or out is not None:
                self._check_outputs(outputs or (), {} if self.model.symbols else out or {})
            if outputs is not None or self._chosen is not None:
                self._select(outputs, out)
            held = self._bind_inputs(inputs)
            if out and self.model.symbols:  # under the sizes that the inputs tell
                self._check_outputs((), out)
            results = self._bind_outputs(out)
            self._run_bound()
            if self._rooms:
                self._shape_counted(results)
            del held
            if outputs is None and out is None:
                self._prepare()
        return results if outputs is None else {name: results[name] for name in outputs}

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Array] | None = None) -> Binding:
        """A run on the memory of these arrays, again and again: call what is returned.

        ``inputs``: as for ``run``, but nothing is copied: numpy arrays (or what has the DLPack protocol) of exactly the
        dtype and shape, dense and aligned. ``outputs``: arrays by name of the results to compute and to write there;
        None: all, to new arrays. No output may share memory with another array. The session is as free as before: runs
        on other arrays, of other sizes, may come between. Raises RuntimeFailure as ``run`` does.
        """
        arrays = {name: _as_it_is(x) for name, x in inputs.items()}
        binding = Binding(arrays, None if outputs is None else dict(outputs), self._run_binding)
        with self._idle:
            self._bind(binding)
            shared = overlaps(binding.inputs, binding.outputs or {})
            if shared:
                raise WRONG_OUTPUTS.error(sentence(shared))
        return binding

    def _run_binding(self, binding: Binding, found: int | None) -> dict[str, Array]:
        """What a binding does when the session has run something else since, an array is not what it was, or the run
        has failed with the status ``found``."""
        self._refuse(found, binding.error)
        with self._idle:
            held = self._bind(binding)
            self._run_bound()
            results = binding.outputs or {}
            if self._rooms:
                results = dict(results)
                self._shape_counted(results, keep=True)
            del held
        return results

    def needed_inputs(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Names of the inputs that a run for ``outputs`` reads. Raises RuntimeFailure as ``run`` does."""
        with self._idle:
            self._check_outputs(outputs, {})
            self._select(outputs, None)
            return tuple(name for _, (name, _, _) in self._feeds)

    def profile(
        self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None
    ) -> tuple[dict[str, Array], list[CommandRecord]]:
        """Run once with timestamps; the outputs (None: all) and a record per command that they need."""
        native = library()
        with self._idle:
            self._check_outputs(outputs or (), {})
            self._select(outputs, None)
            held, results = self._bind_inputs(inputs), self._bind_outputs(None)
            records = (Record * native.pens_session_commands(self._open))()
            status = native.pens_run_profiled(self._open, *self._arguments, records, self._error)
            check(status, self._error)
            self._shape_counted(results)
            del held
        return results, [
            CommandRecord(r.source.decode(), r.kernel.decode(), r.start_ns, r.end_ns, r.flops, r.bytes, r.threads)
            for r in records
        ]

    @property
    def sizes(self) -> dict[str, int] | None:
        """The current sizes by name; None before they are set."""
        symbols = self.model.symbols
        found = library().pens_session_sizes(self._open)
        return {s.name: found[i] for i, s in enumerate(symbols)} if found or not symbols else None

    @property
    def plan(self) -> int:
        """Which plan runs with the current sizes: 0 the general one, else the number of one for fixed sizes."""
        return library().pens_session_special(self._open)

    @property
    def memory(self) -> int:
        """Bytes this session holds: intermediate values and scratch of all threads."""
        return library().pens_session_memory(self._open)

    @property
    def length(self) -> int:
        """How many rows the session keeps: 0 at first, more after each run, ``model.length.high`` at most."""
        return library().pens_session_length(self._open)

    def reset(self, length: int = 0) -> None:
        """Forget what the session keeps from run to run, but for the first ``length`` rows.

        Raises RuntimeFailure: PENS-R009 for more rows than there are, or for a model of which nothing is kept.
        """
        with self._idle:
            if not 0 <= length < 1 << 63:  # ctypes would cut it
                raise INVALID_ARGUMENT.error(reason=f"A session cannot go back to {length} rows")
            check(library().pens_session_reset(self._open, length, self._error), self._error)

    def set_sizes(self, sizes: Mapping[str, int]) -> None:
        """Fix the sizes that are chosen at run time, all by name. ``run`` does it from the shapes of its arrays: this
        is for sizes that stand in no input's shape, and to have the memory before the first run. How many rows the
        session keeps (``length``) is not to be given.

        Raises RuntimeFailure: PENS-R019 for a size that is missing, unknown or out of its range, PENS-R008 when there
        is not enough memory; the session then keeps the sizes it had.
        """
        with self._idle:
            symbols = {symbol.name: symbol for symbol in self.model.symbols}
            if self.model.length:
                known = {self.model.length.name: self.length}
                if {**known, **sizes} != {**sizes, **known}:
                    raise WRONG_SIZES.error(reason=f"The session keeps {self.length} rows, which is no size to give")
                sizes = {**sizes, **known}
            problems = [f"there is no size called {name}" for name in sizes if name not in symbols]
            for name, symbol in symbols.items():
                if name not in sizes:
                    problems.append(f"the size {name} is missing")
                elif not symbol.low <= sizes[name] <= symbol.high:  # ctypes would cut what has more than 64 bits
                    problems.append(f"the size {name} is {symbol.low} to {symbol.high}, not {sizes[name]}")
            if problems:
                raise WRONG_SIZES.error(sentence(problems))
            numbers = (ctypes.c_int64 * (len(symbols) or 1))(*(int(sizes[name]) for name in symbols))
            check(library().pens_session_set_sizes(self._open, numbers, self._error), self._error)
            self._take_shapes()

    def _read_sizes(self, arrays: Mapping[int, Array]) -> None:
        """Set the sizes that the inputs' shapes tell. Raises RuntimeFailure PENS-R011 where they contradict."""
        shapes = {index: (ctypes.c_int64 * (array.ndim or 1))(*array.shape) for index, array in arrays.items()}
        extents = ctypes.POINTER(ctypes.c_int64)
        pointers = (extents * (len(self._inputs) or 1))()  # null where an input is left out
        for index, shape in shapes.items():
            pointers[index] = ctypes.cast(shape, extents)
        check(library().pens_session_set_shapes(self._open, pointers, self._error), self._error)
        self._take_shapes()

    def _take_shapes(self) -> None:
        """Shapes of inputs and outputs under the current sizes."""
        native = library()
        for kept, tensor in ((self._inputs, native.pens_session_input), (self._outputs, native.pens_session_output)):
            for index, (name, dtype, shape) in enumerate(kept):
                found = tensor(self._handle, index)
                kept[index] = (name, dtype, tuple(found.shape[: len(shape)]))
        for index in self._rooms:
            name, dtype, _ = self._outputs[index]
            # An array of rank 1 that the result is written to the beginning of, whatever its shape will be.
            self._rooms[index] = native.pens_session_output_room(self._handle, index) // dtype.itemsize
            self._outputs[index] = (name, dtype, (self._rooms[index],))
        self._take_choice()

    def _take_choice(self) -> None:
        """What is fed and fetched, with the current shapes."""
        self._idle.change()
        self._quick = None
        key, inputs, outputs = self._chosen, enumerate(self._inputs), enumerate(self._outputs)
        self._feeds = [(i, each) for i, each in inputs if key is None or i in self._choices[key]]
        self._fetches = [(i, each) for i, each in outputs if key is None or i in key]
        self._find_large()

    def _find_large(self) -> None:
        """The outputs, by index, that are large enough to recycle their memory, with their bytes; none whose shape is
        not known yet."""
        known = [(i, dtype, shape) for i, (_, dtype, shape) in self._fetches if all(isinstance(n, int) for n in shape)]
        sizes = [(i, math.prod(shape) * dtype.itemsize) for i, dtype, shape in known]
        self._large = {i: size for i, size in sizes if size >= LARGE_BYTES}

    def _shape_counted(self, results: dict[str, Array], keep: bool = False) -> None:
        """Give the outputs that were counted the shapes that the run has found. ``keep``: where they are."""
        native = library()
        for index, room in self._rooms.items():
            name = self._outputs[index][0]
            if name not in results:
                continue
            found = native.pens_session_output(self._handle, index)
            shape = tuple(found.shape[: found.rank])
            count = math.prod(shape)
            result = results[name].reshape(-1)[:count].reshape(shape)
            # Where most of the memory is not needed, it is given back.
            results[name] = result.copy() if 2 * count < room and not keep else result

    def close(self) -> None:
        """Free the session's memory and threads. Closing twice is harmless; PENS-R010 while a call is under way."""
        with self._idle:
            self._handle = None
            self._idle.change()
            self._quick = None
            self._recycler = Recycler()
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, outputs: Sequence[str] | None, out: Mapping[str, Any] | None) -> None:
        """Make runs compute ``outputs`` and those in ``out`` (None: all), and nothing that these do not need."""
        wanted = {*(outputs or ()), *(out or ())}
        chosen = frozenset(i for i, (name, _, _) in enumerate(self._outputs) if outputs is None or name in wanted)
        key = None if len(chosen) == len(self._outputs) else chosen
        if key == self._chosen:
            return
        native, handle, numbers = library(), self._open, sorted(chosen)
        array = None if key is None else (ctypes.c_uint32 * max(len(numbers), 1))(*numbers)
        self._chosen = None  # as the library has it if this fails
        self._take_choice()
        check(native.pens_session_select(handle, array, len(numbers), self._error), self._error)
        if key is not None and key not in self._choices:
            reads = native.pens_session_reads
            self._choices[key] = [index for index in range(len(self._inputs)) if reads(handle, index)]
        self._chosen = key
        self._take_choice()

    @property
    def _open(self) -> ctypes.c_void_p:
        """The native session. Raises RuntimeFailure PENS-R014 once closed."""
        if self._handle is None:
            raise CLOSED.error(what="session")
        return self._handle

    def _run_bound(self) -> None:
        """Run on the pointers that have been filled in."""
        status = self._run(self._open, *self._arguments, self._error_argument)
        if status:
            check(status, self._error)

    def _refuse(self, found: int | None, error: Error) -> None:
        """Raise what a prepared run has failed of, if it has: ``found`` is the status then, and the lock is held."""
        if found is not None:
            try:
                check(found, error)
            finally:
                self._idle.release()

    def _prepare(self) -> None:
        """Prepare runs like the last one, unless sizes or chosen outputs change from run to run."""
        if self._quick is not None or not self._idle.native or self._rooms or self._grows:
            return
        if self._steady != self._idle.changes:
            self._steady = self._idle.changes
            return
        outputs: list[Tensor] = []
        for index, (name, dtype, shape) in self._fetches:
            made = (self._recycler.empty, (index, shape, dtype, self._large[index])) if index in self._large else None
            make, arguments = made or (np.empty, (shape, dtype))
            outputs.append(Tensor(index, name, dtype, shape, make=make, arguments=arguments))
        counts = (len(self._in), len(self._out))
        inputs = [Tensor(index, *each) for index, each in self._feeds]
        self._quick, self._quick_error = self._idle.prepare(self._open.value or 0, inputs, outputs, counts)

    def _bind(self, binding: Binding) -> list[Array]:
        """Fill in the pointers of a binding's arrays; returns what must stay alive during the run."""
        problems = [
            f"input {name} is to be bound and needs a numpy array, dense and aligned"
            for name, x in binding.inputs.items()
            if not isinstance(x, np.ndarray) or not (x.flags.c_contiguous and x.flags.aligned)
        ]
        if problems:
            raise WRONG_INPUTS.error(sentence(problems))
        self._check_outputs(binding.names or (), {})
        self._select(binding.names, None)
        held = self._bind_inputs(binding.inputs)
        if binding.outputs is None:
            sizes = {index: math.prod(shape) * dtype.itemsize for index, (_, dtype, shape) in self._fetches}
            made = Recycler()
            binding.outputs = {n: made.empty(i, shape, dtype, sizes[i]) for i, (n, dtype, shape) in self._fetches}
        self._check_outputs((), binding.outputs)
        self._bind_outputs(binding.outputs)
        if self._idle.native and not self._rooms and not self._grows:
            feeds = [Tensor(index, *each, array=binding.inputs[each[0]]) for index, each in self._feeds]
            fetches = [Tensor(index, *each, array=binding.outputs[each[0]]) for index, each in self._fetches]
            counts = (len(self._in), len(self._out))
            binding.use(*self._idle.prepare(self._open.value or 0, feeds, fetches, counts, binding.outputs))
        return held

    def _bind_inputs(self, inputs: Mapping[str, Any]) -> list[Array]:
        """Fill in the input pointers; returns what must stay alive during the run."""
        pointers, held, ndarray = self._in, [], np.ndarray
        if len(inputs) == len(self._feeds) and not self._grows:
            try:
                for index, (name, dtype, shape) in self._feeds:
                    x = inputs[name]
                    # A numpy scalar has no memory of its own that outlives this line: arrays only.
                    if not isinstance(x, ndarray) or x.dtype != dtype or x.shape != shape or not x.flags.c_contiguous:
                        break
                    held.append(x)
                    pointers[index] = address(x)
                else:
                    return held
            except (KeyError, AttributeError):
                pass
        return self._bind_slowly(inputs)

    def _bind_slowly(self, inputs: Mapping[str, Any]) -> list[Array]:
        problems = [
            f"there is no input called {name}" for name in inputs if name not in {n for n, _, _ in self._inputs}
        ]
        held: dict[int, Array] = {}
        needed = {index for index, _ in self._feeds}
        for index, (name, dtype, shape) in enumerate((t.name, t.dtype, t.shape) for t in self.model.inputs):
            if name not in inputs:
                problems += [f"input {name} is missing"] if index in needed else []
                continue
            try:
                array = as_array(inputs[name])
            except (TypeError, ValueError, BufferError) as error:
                problems.append(f"input {name} is no array ({error})")
                continue
            problem = mismatch(f"input {name}", array, dtype, shape)
            if problem:
                problems.append(problem)
                continue
            held[index] = np.ascontiguousarray(array).reshape(array.shape)
        if problems:
            raise WRONG_INPUTS.error(sentence(problems))
        if self.model.symbols:
            self._read_sizes(held)
        for index, array in held.items():
            self._in[index] = address(array)
        return list(held.values())

    def _bind_outputs(self, out: Mapping[str, Array] | None) -> dict[str, Array]:
        results: dict[str, Array] = {}
        pointers = self._out
        for index, (name, dtype, shape) in self._fetches:
            if out is not None and name in out:
                array = out[name]
            elif index in self._large:
                array = self._recycler.empty(index, shape, dtype, self._large[index])
            else:
                array = np.empty(shape, dtype)
            results[name] = array
            pointers[index] = address(array)
        return results

    def _check_outputs(self, names: Sequence[str], out: Mapping[str, Any]) -> None:
        known = {name: (dtype, shape) for name, dtype, shape in self._outputs}
        problems = [f"there is no output called {name}" for name in (*names, *out) if name not in known]
        for name, array in out.items():
            if not isinstance(array, np.ndarray):
                problems.append(f"output {name} needs a contiguous, writable numpy array, not {type(array).__name__}")
            elif name in known:
                problem = mismatch(f"output {name}", array, *known[name])
                writable = array.flags.c_contiguous and array.flags.writeable
                problems += [problem] if problem else []
                problems += [] if writable else [f"output {name} needs a contiguous, writable numpy array"]
        if problems:
            raise WRONG_OUTPUTS.error(sentence(problems))


def _as_it_is(value: Any) -> Any:
    """A numpy view of what can be seen as an array where it lies; else the value itself."""
    try:
        return as_array(value) if hasattr(value, "__dlpack__") else value
    except (TypeError, ValueError, BufferError):
        return value


def _mentions(shape: tuple[Any, ...], names: set[str]) -> bool:
    """Whether a shape has an extent that is made of one of ``names``."""
    return any(isinstance(extent, str) and names.intersection(re.findall(r"[\w.]+", extent)) for extent in shape)


def _adapt(executor: Callable[[Callable[[int], None], int], None]) -> Callable[..., None]:
    """The C callback that calls a Python executor; what it raises shows as PENS-R013 (tasks not run)."""

    def call(_host: Any, task: Any, context: Any, count: int) -> None:
        executor(lambda index: task(context, index), count)

    return call


def _destroy(handle: int, model: Model, callback: Any) -> None:
    library().pens_session_destroy(handle)
    del model, callback
