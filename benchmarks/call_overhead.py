"""What a call costs: models with next to nothing to do (64 numbers added; one 8x8 linear layer), one thread.

    python benchmarks/call_overhead.py

In: nothing. Out: nanoseconds per call, the best and the median of many batches, from Python here and in onnxruntime
(both also with inputs and outputs bound once), and from C in penstock (where a C compiler is found; its
result is compared with the one from Python). Then what sizes chosen at run time cost in penstock: calls with the shape
of the one before and with another one, and setting the sizes of a model of 300 commands.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from peers import all_peers

ENGINES = ("penstock", "penstock-bound", "onnxruntime", "onnxruntime-bound")
CALLS = 2000
"""Calls in a batch: long enough for the clock, short enough that some batches run undisturbed."""


def add_model() -> onnx.GraphProto:
    """y = x + b with x, b: f32 [64]."""
    return helper.make_graph(
        [helper.make_node("Add", ["x", "b"], ["y"], name="add")],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])],
        [numpy_helper.from_array(np.arange(1, 65, dtype=np.float32), "b")],
    )


def linear_model() -> onnx.GraphProto:
    """y = x w + b with x: f32 [1, 8]."""
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((8, 8)), "b": random.standard_normal(8)}
    return helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="linear")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )


def chain_model(layers: int) -> onnx.GraphProto:
    """y = softmax(... softmax(x w) w ...) along the rows with x: f32 [n, 8]: two kernels a layer."""
    names = ["x", *(f"h{i}" for i in range(1, 2 * layers)), "y"]
    nodes = [
        helper.make_node("Softmax", [a], [b], axis=0) if i % 2 else helper.make_node("MatMul", [a, "w"], [b])
        for i, (a, b) in enumerate(itertools.pairwise(names))
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in ("x", "y")]
    return helper.make_graph(nodes, "chain", ends[:1], ends[1:], [numpy_helper.from_array(np.eye(8, dtype="f"), "w")])


def measure_sizes(number: int) -> Iterator[tuple[str, list[float]]]:
    """What a size that is chosen at run time costs, in nanoseconds per call."""
    import penstock

    def compiled(graph: onnx.GraphProto) -> penstock.Model:
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return penstock.compile(made).load()

    graph = add_model()
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "b"))
    with compiled(graph) as model, model.session(threads=1) as session:
        arrays = [{"x": np.ones(n, np.float32)} for n in (60, 64)]
        turn = itertools.cycle(arrays)
        yield "the same shape from Python", batches(lambda: session.run(arrays[1]), number)
        yield "another shape from Python", batches(lambda: session.run(next(turn)), number)
    with compiled(chain_model(150)) as model, model.session(threads=1) as session:
        sizes = itertools.cycle([{"n": n} for n in range(100, 200)])
        count = model.manifest["commands"]
        yield f"set sizes of {count} commands", batches(lambda: session.set_sizes(next(sizes)), max(number // 10, 1))


def batches(call: Callable[[], object], number: int) -> list[float]:
    """Nanoseconds per call in each of `number` batches, after one batch of warm-up."""
    for _ in range(CALLS):
        call()
    found: list[float] = []
    for _ in range(number):
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter_ns() - start) / CALLS)
    return found


def batches_from_c(artifact: Path, folder: Path, number: int) -> tuple[list[float], float] | None:
    """The same in a C program that is linked with libpenstock.a, and y[0]; None where there is no C compiler."""
    from penstock.runtime.library import FOLDER

    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    source, program = Path(__file__).with_suffix(".c"), folder / "call_overhead"
    flags = ["-std=c11", "-O2", f"-I{FOLDER}", "-pthread", "-o", str(program)]
    subprocess.run([compiler, str(source), str(Path(FOLDER) / "libpenstock.a"), *flags], check=True)
    done = subprocess.run([program, artifact, str(number), str(CALLS)], check=True, capture_output=True, text=True)
    *times, result = (float(line) for line in done.stdout.split())
    return times, result


def measure(graph: onnx.GraphProto, folder: Path, number: int) -> Iterator[tuple[str, list[float]]]:
    """Each way of calling one model, with the nanoseconds per call of its batches."""
    inputs = {"x": np.ones([d.dim_value for d in graph.input[0].type.tensor_type.shape.dim], np.float32)}
    path = folder / f"{graph.name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    for peer_name in ENGINES:
        peer = all_peers()[peer_name]()
        try:
            peer.version()
        except ImportError:
            continue
        artifact = peer.compile(path, folder, 1).path
        run = peer.load(artifact, threads=1)
        yield f"{peer_name} from Python", batches(lambda run=run: run(inputs), number)
        if peer_name == "penstock":
            native = batches_from_c(Path(artifact), folder, number)
            if native is None:
                print("penstock from C: not measured, there is no C compiler", file=sys.stderr)
                continue
            times, result = native
            expected = float(np.ravel(run(inputs)["y"])[0])
            if np.float32(result) != np.float32(expected):
                raise SystemExit(f"penstock from C computes {result}, from Python {expected}")
            yield "penstock from C", times


def main() -> int:
    """Measure and print a line per model and way of calling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=100, help=f"batches of {CALLS} calls (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for graph in (add_model(), linear_model()):
            results[graph.name] = {
                label: {"best": min(found), "median": statistics.median(found)}
                for label, found in measure(graph, Path(name), arguments.batches)
            }
        results["sizes"] = {
            label: {"best": min(found), "median": statistics.median(found)}
            for label, found in measure_sizes(arguments.batches)
        }
    if arguments.json:
        print(json.dumps(results))
    else:
        for model, rows in results.items():
            for label, item in rows.items():
                print(f"{model:8} {label:32} best {item['best']:7.0f} ns, median {item['median']:7.0f} ns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
