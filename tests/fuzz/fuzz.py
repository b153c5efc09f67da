"""Damaged input for everything that parses: any bytes end in a sentence with a code, never in another exception.

    python tests/fuzz/fuzz.py reader --runs 1000000 --jobs 2     # ONNX files, bytes and structure damaged
    python tests/fuzz/fuzz.py text --runs 200000 --jobs 2        # IR text
    python tests/fuzz/fuzz.py artifact --runs 1000000 --jobs 2   # artifacts in Python, and arguments of runs
    python tests/fuzz/fuzz.py loader --runs 10000000 --jobs 2    # artifacts, in C under ASan and UBSan

In: how many runs, a seed, and how many processes share the runs. Out: nothing, or the seed and the exception of each
kind of finding (exit status 1). The one idea: run ``i`` depends on the seed and ``i`` alone, so a finding is repeated
with ``--seed S --runs 1``. A run that takes more than SECONDS of processor time or MEMORY bytes is a finding too.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if not __package__:  # run as a script
    sys.path[0] = str(ROOT / "tests")

from fuzz.artifacts import HARMLESS, artifacts, special, use  # noqa: E402

MODELS = ROOT / "tests" / "data" / "models"
NAMES = ("mlp_b1", "lstm", "mobilenet_v2", "minilm_b1", "dlrm_b64")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FORMULAS = ("n", "m", "n", "2*n + 1", "n//2", "max(n, m)", "\0", "é*n")
NAMES_OF_HARM = ("", "\0", "x" * 4000, "a/../b", "\N{RIGHT-TO-LEFT OVERRIDE}")
SECONDS = 20
"""Processor time of one run of ``reader`` or ``text``."""
MEMORY = 6 << 30
"""Address space of the process in bytes: libraries, the corpus, and what a run may ask for."""


class TooSlow(BaseException):
    """A run took more than SECONDS. No Exception, so that nothing under test takes it for its own."""


class NoSanitizer(Exception):
    """There is no C compiler with sanitizers on this machine."""


@cache
def corpus() -> list[bytes]:
    """Small whole models, and ONNX's own test models of single operators, their parameters stored in them."""
    from conformance.onnx_backend.cases import all_cases, bind_shape_inputs

    found = [(MODELS / f"{name}.onnx").read_bytes() for name in NAMES] * 8  # one run of a hundred
    for case in all_cases().values():
        if case.kind == "node":
            found.append(case.model.SerializeToString())
            found.append(bind_shape_inputs(case.model, case.data_sets[0][0])[0].SerializeToString())
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, dropped, doubled or moved."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if not result:
            break
        at = rng.randrange(len(result))
        match rng.randrange(6):
            case 0:
                result[at] ^= 1 << rng.randrange(8)
            case 1:
                result[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del result[at : at + rng.randint(1, 16)]
            case 3:
                result[at:at] = result[at : at + rng.randint(1, 32)]
            case 4:
                result[at : at + 5] = rng.randbytes(5)
            case _:
                del result[at : len(result) if rng.random() < 0.2 else at + 1]
    return bytes(result)


def restructure(data: bytes, rng: random.Random) -> bytes:
    """A model that is still protobuf, with types, extents, attributes, names and nodes changed, also of a node's graph
    or of a function."""
    import onnx

    model = onnx.load_from_string(data)
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.5:
            _change_node(rng.choice([model.graph, model.graph, *_bodies(model)]), model.graph, rng)
        else:
            _change_value(model.graph, rng)
    if rng.random() < 0.3:
        model.opset_import[0].version = rng.randrange(0, 40)
    return model.SerializeToString()


def _change_node(body: Any, graph: Any, rng: random.Random) -> None:
    """Another operator, input, attribute or output name for a node of ``body``; or it is gone."""
    nodes = body.node or graph.node
    node, other = rng.choice(nodes), rng.choice(nodes)
    match rng.randrange(6):
        case 0:
            node.op_type = other.op_type
        case 1 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice([*other.output, "", "nowhere"])
        case 2 if node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.i = rng.choice((-(2**63), -1, 0, 1, 2**31, 2**63 - 1))
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice((-(2**63), -7, -1, 0, 2**40))
        case 3 if node.attribute:
            rng.choice(node.attribute).type = rng.randrange(0, 15)
        case 4 if node.output:
            name = rng.choice((*NAMES_OF_HARM, *other.output))
            node.output[rng.randrange(len(node.output))] = name
            node.name = rng.choice((name, node.name))
        case _:
            nodes.remove(node) if len(nodes) > 1 else graph.node.append(node)


def _change_value(graph: Any, rng: random.Random) -> None:
    """Another extent or type of an input, output or initializer, or other bytes in it; extents may become symbolic."""
    match rng.randrange(5):
        case 0:
            dims = rng.choice([*graph.input, *graph.output]).type.tensor_type.shape.dim
            if dims:
                rng.choice(dims).dim_value = rng.choice((-1, 0, 1, 3, 2**31, 2**40, 2**62))
        case 1 if graph.input:
            rng.choice(graph.input).type.tensor_type.elem_type = rng.randrange(0, 30)
        case 2 if graph.initializer:
            tensor = rng.choice(graph.initializer)
            if rng.random() < 0.8 and tensor.raw_data:
                size = len(tensor.raw_data)
                tensor.raw_data = damage(tensor.raw_data, rng)[:size].ljust(size, b"\0")
            else:
                tensor.data_type = rng.randrange(0, 30)
        case 3 if graph.initializer:
            tensor = rng.choice(graph.initializer)
            if tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((-1, 0, 1, 2**31, 2**40, 2**62))
        case _:
            dims = [dim for value in graph.input for dim in value.type.tensor_type.shape.dim]
            if dims:  # what is declared of results is left open
                rng.choice(dims).dim_param = rng.choice(FORMULAS)
                del graph.value_info[:]
                for value in graph.output:
                    value.type.tensor_type.ClearField("shape")


def _bodies(model: Any) -> list[Any]:
    """The functions of a model and the graphs of its nodes, one level deep."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return [
        *model.functions,
        *(attribute.g for node in nodes for attribute in node.attribute if attribute.HasField("g")),
    ]


def _must_speak(error: Any) -> None:
    """Raises AssertionError for a refusal without a code or a sentence."""
    if not (error.code and error.message):
        raise AssertionError(f"refused without a word: {error!r}")


def reader(rng: random.Random) -> None:
    """One damaged ONNX file, imported."""
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.frontends.onnx import import_model
    from penstock.runtime.errors import PenstockError

    data = rng.choice(corpus())
    data = damage(data, rng) if rng.random() < 0.5 else restructure(data, rng)
    try:
        import_model(data, CompilerContext())
    except PenstockError as error:
        _must_speak(error)


@cache
def texts() -> list[str]:
    """IR text of every phase of two small models."""
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.frontends.onnx import import_model
    from penstock.compiler.irtext import to_text
    from penstock.compiler.pipeline import PHASES, default_groups
    from penstock.compiler.runner import Runner

    found: list[str] = []
    for name in ("mlp_b1", "lstm"):
        context = CompilerContext()
        module = import_model(MODELS / f"{name}.onnx", context)
        for phase in PHASES[1:9]:
            Runner(context).run(module, default_groups([phase]))
            found.append(to_text(module))
    return found


def text(rng: random.Random) -> None:
    """One damaged IR text, parsed and verified; what is valid is printed, and reads as the same."""
    from penstock.compiler.context import CompilerContext
    from penstock.compiler.irtext import parse_module, to_text
    from penstock.compiler.verification import Violation, verify
    from penstock.runtime.errors import PenstockError

    lines = rng.choice(texts()).split("\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                lines[at] = damage(lines[at].encode(), rng).decode("utf-8", "replace")
            case 1:
                del lines[at]
            case 2:
                lines.insert(at, rng.choice(lines))
            case _:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
    try:
        module = parse_module("\n".join(lines), CompilerContext(), "fuzz.mlir")
        verify(module)
    except PenstockError as error:
        _must_speak(error)
        return
    except Violation:
        return
    printed = to_text(module)
    if to_text(parse_module(printed, CompilerContext(), "printed.mlir")) != printed:
        raise AssertionError("what was printed reads as something else")


def build_loader(folder: Path) -> Path:
    """The C driver with the runtime, under sanitizers. Raises NoSanitizer."""
    from penstock.runtime.native.build import BuildError, find_compiler

    native = ROOT / "runtime" / "native"
    try:
        compiler, _ = find_compiler()
    except BuildError as error:
        raise NoSanitizer(str(error)) from error
    program = folder / "loader"
    sources = [str(Path(__file__).with_name("loader.c")), *map(str, sorted(native.glob("*.c")))]
    flags = ["-std=gnu11", "-g", "-O1", *SANITIZERS, f"-I{native}", "-pthread", "-o", str(program)]
    done = subprocess.run([*compiler, *flags, *sources], capture_output=True, text=True, check=False)
    works = done.returncode == 0 and subprocess.run([program], check=False).returncode == 2
    if not works:
        raise NoSanitizer(f"{compiler[0]} has no address sanitizer: {done.stderr.strip()[-300:]}")
    return program


def prepare_loader(folder: Path) -> list[str]:
    """The sanitized driver, built into ``folder``, and the artifacts it damages. Raises NoSanitizer."""
    import penstock
    from penstock.compiler.artifact import writer

    program = build_loader(folder)
    paths: list[Path] = []
    for name in ("mlp_b1", "lstm"):
        paths.append(folder / f"{name}.pens")
        penstock.compile(MODELS / f"{name}.onnx", target="cpu:x86-64-v3").save(paths[-1])
    paths.append(folder / "special.pens")
    penstock.compile(special(), target="cpu:x86-64-v3", specialize={"n": [1, 4]}).save(paths[-1])
    for made in HARMLESS:
        paths.append(folder / f"{made.__name__}.pens")
        writer.write(made(), paths[-1])
    return list(map(str, (program, *paths)))


def run_loader(prepared: Sequence[str], first: int, last: int) -> subprocess.CompletedProcess[str]:
    """The runs of the seeds ``first`` to ``last`` (exclusive), as far as the first finding."""
    program, *paths = prepared
    command = [program, str(last - first), str(first), *paths]
    return subprocess.run(command, capture_output=True, text=True, check=False)


TARGETS: dict[str, tuple[Callable[[random.Random], None], Callable[[], object]]] = {
    "reader": (reader, corpus),
    "text": (text, texts),
    "artifact": (use, artifacts),
}
"""One run of each fuzzer, and what makes its corpus."""


def _stop(*_: object) -> None:
    raise TooSlow(f"more than {SECONDS} s of processor time")


def limited(run: Callable[[random.Random], None], seed: int) -> None:
    """One run. Raises TooSlow, MemoryError or whatever else the run does not answer with a PenstockError."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        run(random.Random(seed))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def shard(target: str, first: int, last: int) -> int:
    """The runs of the seeds ``first`` to ``last`` (exclusive); how many kinds of finding they gave, each printed once.

    Findings are of one kind if the same exception is raised at the same line.
    """
    run, prepare = TARGETS[target]
    prepare()
    gc.freeze()  # the corpus and the modules stay
    signal.signal(signal.SIGPROF, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    kinds: set[tuple[str, str, int | None]] = set()
    for seed in range(first, last):
        try:
            limited(run, seed)
        except (Exception, TooSlow) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = (type(error).__name__, where.filename, where.lineno)
            if kind not in kinds:
                kinds.add(kind)
                told = "".join(traceback.format_exception(error))
                print(f"{told}found by: fuzz.py {target} --runs 1 --seed {seed}", file=sys.stderr, flush=True)
    return len(kinds)


def main() -> int:
    """Run one of the fuzzers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*TARGETS, "loader"])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    arguments: Any = parser.parse_args()
    start = time.monotonic()
    ends = [arguments.seed + arguments.runs * job // arguments.jobs for job in range(arguments.jobs + 1)]
    with ProcessPoolExecutor(arguments.jobs) as pool, tempfile.TemporaryDirectory() as folder:
        if arguments.target == "loader":
            program = prepare_loader(Path(folder))
            done = list(pool.map(partial(run_loader, program), ends[:-1], ends[1:]))
            print("".join(process.stderr for process in done), end="", file=sys.stderr)
            found = sum(process.returncode != 0 for process in done)
        else:
            found = sum(pool.map(partial(shard, arguments.target), ends[:-1], ends[1:]))
    print(f"{arguments.runs} runs in {time.monotonic() - start:.0f} s, {found or 'no'} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
