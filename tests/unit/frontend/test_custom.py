"""Custom operators: the examples, every way a plugin is found, and what is wrong with one in a sentence."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import parser

import penstock
from penstock.compiler import plugins
from penstock.compiler.errors import ModelError, OptionError
from penstock.operators import Operator, TensorType, compare, ops

EXAMPLES = Path(__file__).parents[3] / "examples" / "custom_operators"
SNAKE = EXAMPLES / "snake.py"
X = np.linspace(-3, 3, 2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)


def model(node: str, inputs: str = "float[2,3,5] x", output: str = "float[2,3,5] y", opset: int = 1) -> onnx.ModelProto:
    """A model of one line of nodes."""
    head = f'<ir_version: 8, opset_import: ["" : 18, "com.example" : {opset}]>'
    return parser.parse_model(f"{head}\nagraph ({inputs}) => ({output}) {{ {node} }}")


def run(made: onnx.ModelProto, *sources: Any, **feeds: Any) -> Any:
    """The output ``y`` of a model compiled with plugins."""
    artifact = penstock.compile(made.SerializeToString(), plugins=sources)
    return artifact.load().session(threads=1).run(feeds or {"x": X})["y"]


def snake(x: Any, a: Any) -> Any:
    """What the example computes."""
    return x + np.sin(a * x) ** 2 / a


# The example ---------------------------------------------------------------------------------------------------------


def test_example_in_a_model() -> None:
    """An attribute, its default, the optional input; among other nodes."""
    y = run(model("t = Neg (x)  y = com.example.Snake <a = 2.5> (t)"), SNAKE)
    np.testing.assert_allclose(y, snake(-X, 2.5), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(model("y = com.example.Snake (x)"), SNAKE), snake(X, 1), rtol=1e-5, atol=1e-6)
    f = np.array([[0.5], [1], [2]], np.float32)
    y = run(model("y = com.example.Snake (x, f)", "float[2,3,5] x, float[3,1] f"), SNAKE, x=X, f=f)
    np.testing.assert_allclose(y, snake(X, f), rtol=1e-5, atol=1e-6)


def test_example_by_its_own_measure() -> None:
    """``compare`` holds the decomposition against ``evaluate``, for odd shapes and types."""
    (kind,) = plugins._classes_of(SNAKE)
    for shape in ((), (1,), (7,), (3, 0), (13, 17)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        assert compare(kind, x, a=0.5) < 1e-6
    assert compare(kind, X.astype(np.float64)) < 1e-14
    assert compare(kind, X.astype(np.float16), a=2.0) < 2e-3


def test_it_fuses_and_names_its_node() -> None:
    """It is graph ops as any other: one kernel, located at the node."""
    artifact = penstock.compile(model("t = com.example.Snake (x)  y = Neg (t)").SerializeToString(), plugins=[SNAKE])
    _, records = artifact.load().session().profile({"x": X})
    assert [record.source for record in records] == ["Snake(t) + Neg(y)"]


# How operators are found ---------------------------------------------------------------------------------------------


class Scale(Operator):
    """Version 1: doubled."""

    domain = "com.example"

    def infer(self, *x: TensorType) -> Any:
        return list(x)

    def evaluate(self, *x: Any) -> Any:
        return [2 * item for item in x]

    def decompose(self, *x: Any) -> Any:
        return [item * 2.0 for item in x]


class NewScale(Scale):
    """Version 3: tripled."""

    name = "Scale"
    since = 3

    def evaluate(self, *x: Any) -> Any:
        return [3 * item for item in x]

    def decompose(self, *x: Any) -> Any:
        return [ops.onnx("Mul", item, np.float32(3)) for item in x]


@pytest.mark.parametrize(("opset", "factor"), [(1, 2), (2, 2), (3, 3), (9, 3)])
def test_the_newest_for_the_operator_set(opset: int, factor: int) -> None:
    """Any number of inputs and outputs, classes instead of files."""
    made = model("a, y = com.example.Scale (x, x)", opset=opset)
    np.testing.assert_allclose(run(made, Scale, NewScale), factor * X, rtol=1e-6)


def test_installed_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """By entry points, which name a class or a module; a plugin given counts before them."""
    point = EntryPoint("scale", f"{__name__}:Scale", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == plugins.GROUP else [])
    plugins.installed.cache_clear()
    try:
        np.testing.assert_array_equal(run(model("y = com.example.Scale (x)")), 2 * X)

        class Other(Scale):
            name = "Scale"

            def decompose(self, *x: Any) -> Any:
                return [item * 5.0 for item in x]

        np.testing.assert_array_equal(run(model("y = com.example.Scale (x)"), Other), 5 * X)
        for value, words in (
            ("no_such_module", "cannot be loaded: ModuleNotFoundError"),
            ("math", "names no operator"),
        ):
            broken = EntryPoint("broken", value, plugins.GROUP)
            monkeypatch.setattr(plugins, "entry_points", lambda group, broken=broken: [broken])
            plugins.installed.cache_clear()
            with pytest.raises(OptionError, match=f"PENS-O011: the installed plugin 'broken'.*{words}"):
                run(model("y = com.example.Scale (x)"))
    finally:
        plugins.installed.cache_clear()


def test_a_model_without_the_plugin_is_refused() -> None:
    with pytest.raises(ModelError, match=r"PENS-M006: .*the operator Snake of domain 'com.example' is not compiled"):
        run(model("y = com.example.Snake (x)"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1 / 0", r"cannot be loaded: ZeroDivisionError: division by zero \(plugin.py, line 1\)"),
        ("def f(:", "cannot be loaded: SyntaxError"),
        ("import sys; sys.exit(3)", "cannot be loaded: SystemExit"),
        ("x = 1", "defines no operator"),
        ("from penstock.operators import Operator", "defines no operator"),
    ],
)
def test_files_that_are_no_plugins(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "plugin.py"
    path.write_text(text)
    with pytest.raises(OptionError, match=f"PENS-O011: the plugin {path} {words}"):
        run(model("y = com.example.Snake (x)"), path)


def test_files_that_are_missing() -> None:
    with pytest.raises(OptionError, match=r"PENS-O011: the plugin nowhere.py cannot be read: No such file"):
        run(model("y = com.example.Snake (x)"), "nowhere.py")


# Wrong operators -----------------------------------------------------------------------------------------------------


class Broken(Operator):
    """A base of operators with one fault each."""

    domain = "com.example"
    name = "Broken"

    def infer(self, x: TensorType) -> Any:
        return x

    def evaluate(self, x: Any) -> Any:
        return x


class NoWay(Broken):
    """Neither decompose nor kernel."""


class BothWays(Broken):
    """Both."""

    def decompose(self, x: Any) -> Any:
        return x

    def kernel(self, x: Any) -> Any:
        return x


class NoDomain(Broken):
    """ONNX's own domain."""

    domain = "ai.onnx"
    decompose = Broken.evaluate


class OtherParameters(Broken):
    """Methods that do not agree."""

    def decompose(self, x: Any, *, a: int) -> Any:
        return x * a


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([NoWay], "Broken is not usable: it has neither; it needs infer, evaluate, and either"),
        ([BothWays], "it has decompose and kernel; it needs"),
        ([NoDomain], "needs a domain of its own"),
        ([OtherParameters], "infer and evaluate and decompose take different parameters"),
        ([Scale, type("Scale", (Scale,), {})], "two of this name are for operator sets from 1 on"),
    ],
)
def test_operators_that_cannot_be_used(kinds: list[Any], words: str) -> None:
    with pytest.raises(OptionError, match=f"PENS-O011.*{words}"):
        run(model("y = com.example.Broken (x)"), *kinds)


class WrongType(Broken):
    """The decomposition is not what the type rule says."""

    def decompose(self, x: Any) -> Any:
        return x.reshape((6, 5))


class NoTensor(Broken):
    """A type rule that gives no types."""

    decompose = Broken.evaluate

    def infer(self, x: TensorType) -> Any:
        return x.shape


class Fault(Broken):
    """A defect in a method."""

    table: ClassVar[dict[str, int]] = {}

    def decompose(self, x: Any) -> Any:
        return x * self.table["no such key"]


class NoValue(Broken):
    """A decomposition that gives a number."""

    def decompose(self, x: Any) -> Any:
        return 3


class NoSuchOp(Broken):
    """A graph op there is not."""

    def decompose(self, x: Any) -> Any:
        return ops.no_such_op(x)


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        (
            WrongType,
            "PENS-M019",
            r"decompose of .*com.example.Broken gives f32\[6, 5\] where its infer says f32\[2, 3, 5\]",
        ),
        (NoTensor, "PENS-M019", r"infer of .* gives 2, which is no TensorType"),
        (Fault, "PENS-M019", r"decompose of .* fails: KeyError: 'no such key' \(test_custom.py, line \d+\)"),
        (NoValue, "PENS-M019", "gives 3, which is no graph value"),
        (NoSuchOp, "PENS-M019", "there is no graph op no_such_op"),
    ],
)
def test_operators_that_fail_on_a_node(kind: Any, code: str, words: str) -> None:
    with pytest.raises(ModelError, match=rf"{code}: .*node 'Broken\(y\)' \(Broken\): .*{words}"):
        run(model("y = com.example.Broken (x)"), kind)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("y = com.example.Snake <b = 1.0> (x)", "it has no attribute b"),
        ("y = com.example.Snake (x, x, x)", "takes 2 inputs, but has 3"),
        ("y = com.example.Snake ()", "takes 2 inputs, but has 0"),
        ("y, z = com.example.Snake (x)", "it has 2 outputs, but its operator gives 1"),
        ("i = Cast <to = 7> (x)  y = com.example.Snake (i)", "refuses it: x is of type int64, not floating-point"),
    ],
)
def test_nodes_that_do_not_fit(node: str, words: str) -> None:
    with pytest.raises(ModelError, match=f"PENS-M009: .*{words}"):
        run(model(node), SNAKE)


# What decompositions are made of -------------------------------------------------------------------------------------


class Everything(Operator):
    """Uses what values and ``ops`` offer; an attribute of every kind."""

    domain = "com.example"

    def infer(self, x: Any, w: Any, *, t: Any, n: int, s: str = "sum", k: Any = (1.0,)) -> Any:
        return TensorType(np.dtype(np.float64), (x.shape[1], n))

    def evaluate(self, x: Any, w: Any, *, t: Any, n: int, s: str = "sum", k: Any = (1.0,)) -> Any:
        y = np.maximum(2 - (x.T @ w) ** 2 / t, 1 / (1 + np.abs(x.T @ w)))
        y = np.where(y > 1, y, -y) - y.sum(axis=1, keepdims=True) * k[0]
        return (np.broadcast_to(y.reshape(x.shape[1], -1, 1), (x.shape[1], 2, 2)).reshape(x.shape[1], n)).astype(float)

    def decompose(self, x: Any, w: Any, *, t: Any, n: int, s: str = "sum", k: Any = (1.0,)) -> Any:
        p = x.transpose(1, 0) @ w
        y = ops.max(2 - p**2 / t, 1 / (1 + ops.abs(p)))
        y = ops.select(y > 1, y, -y) - y.reduce(s, axis=1, keepdims=True) * k[0]
        rows = x.shape[1]
        assert y.dtype == np.float32
        best, _ = ops.onnx("TopK", y, np.array([2]).astype(np.int64), outputs=2) if n > 99 else (y, None)
        return best.reshape((rows, 2, 1)).broadcast_to((rows, 2, 2)).reshape((rows, n)).astype(np.float64)


def test_what_decompositions_can_say() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal((3, 2)).astype(np.float32)
    t = onnx.numpy_helper.from_array(np.array([2, 4], np.float32))
    made = model(
        "y = com.example.Everything <n = 4, k = [0.5, 2.0]> (x, w)", "float[3,4] x, float[3,2] w", "double[4,4] y"
    )
    made.graph.node[0].attribute.append(onnx.helper.make_attribute("t", t))
    expected = Everything().evaluate(x, w, t=np.array([2, 4], np.float32), n=4, k=(0.5, 2.0))
    np.testing.assert_allclose(run(made, Everything, x=x, w=w), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match=r"PENS-M009: .*the attribute n, t is missing"):
        run(model("y = com.example.Everything (x, w)", "float[3,4] x, float[3,2] w"), Everything, x=x, w=w)
