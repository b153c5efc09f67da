"""Linear attention against the op's reference semantics, and models of it against ONNX's own evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from unit.lower.dispatching import check, make

import penstock
from penstock.compiler.dialects.graph.linear_attention import LinearAttention
from penstock.compiler.dtypes import F16, F32, tensor
from penstock.compiler.frontends.onnx import check_model

RNG = np.random.default_rng(2)
KINDS = {np.dtype(np.float32): 1, np.dtype(np.float16): 10}


@pytest.mark.parametrize("extras", ["", "gate", "beta", "gate,beta"])
@pytest.mark.parametrize(
    ("batch", "steps", "heads", "shared", "depth", "width"),
    [(2, 5, 4, 2, 8, 16), (1, 1, 7, 1, 3, 5), (1, 3, 1, 1, 1, 1), (1, 4, 9, 1, 16, 131), (3, 0, 2, 2, 4, 4)],
)
def test_kernel(batch: int, steps: int, heads: int, shared: int, depth: int, width: int, extras: str) -> None:
    """Grouped heads past what registers hold at once, tails of columns, no step at all."""
    kinds: dict[str, tuple[int, ...]] = {"gate": (batch, steps, shared, depth), "beta": (batch, steps, shared)}
    more = [kinds[name] for name in extras.split(",") if name]
    shapes = [(batch, steps, heads, depth), (batch, steps, shared, depth), (batch, steps, shared, width)]
    state = (batch, shared, depth, width)
    arrays = [RNG.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in [*shapes, state, *more]]
    dispatch = make(
        "linear_attention", [*shapes, state, *more],
        lambda *a: list(LinearAttention.build(*a, scale=0.3, extras=extras).results),
    )  # fmt: skip
    check(dispatch, arrays)


def test_half_precision_keeps_its_state_in_f32() -> None:
    """One number per head decays all rows; activations are f16, the state f32."""
    types = [tensor(shape, F16) for shape in ((1, 4, 2, 8), (1, 4, 2, 8), (1, 4, 2, 24))]
    types += [tensor((1, 2, 8, 24), F32), tensor((1, 4, 2, 1), F32)]
    dispatch = make(
        "linear_attention", types, lambda *a: list(LinearAttention.build(*a, scale=0.5, extras="gate").results)
    )
    check(dispatch, tolerance=2e-3)


def model_of(feeds: dict[str, Any], outputs: int = 2, **attributes: Any) -> Any:
    """A model of one node with its operands fed; what is called ``-`` something is left out."""
    names = ["" if name.startswith("-") else name for name in feeds]
    node = helper.make_node("LinearAttention", names, ["y", "s"][:outputs], name="node", **attributes)
    given = {name: array for name, array in feeds.items() if name[0] != "-"}
    infos = [helper.make_tensor_value_info(name, KINDS[array.dtype], array.shape) for name, array in given.items()]
    kinds = (KINDS[feeds["q"].dtype], KINDS[feeds["past"].dtype] if "past" in feeds else KINDS[feeds["q"].dtype])
    made = [helper.make_tensor_value_info(*pair, None) for pair in zip(("y", "s"), kinds, strict=True)]
    graph = helper.make_graph([node], "g", infos, made[:outputs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=13)


def operands(batch: int, steps: int, heads: int, shared: int, depth: int, width: int, each: bool) -> dict[str, Any]:
    shapes = {
        "q": (batch, steps, heads * depth), "k": (batch, steps, shared * depth), "v": (batch, steps, shared * width),
        "past": (batch, shared, depth, width), "decay": (batch, steps, shared * (1 if each else depth)),
        "beta": (batch, steps, 1 if each else shared),
    }  # fmt: skip
    arrays = {name: RNG.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    return arrays | {"decay": -np.abs(arrays["decay"])}


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("heads", [3, 6])
def test_models(rule: str, heads: int, each: bool) -> None:
    feeds = operands(2, 7, heads, 3, 5, 11, each)
    feeds = {
        ("-" + name if (name == "decay") > ("gated" in rule) or (name == "beta") > ("delta" in rule) else name): array
        for name, array in feeds.items()
    }
    model = model_of(feeds, update_rule=rule, q_num_heads=heads, kv_num_heads=3)
    arrays = {name: array for name, array in feeds.items() if name[0] != "-"}
    expected: Any = ReferenceEvaluator(model).run(None, arrays)
    ours = penstock.compile(model.SerializeToString()).load().session(threads=1).run(arrays)
    for name, peer in zip("ys", expected, strict=True):
        assert ours[name].dtype == peer.dtype
        np.testing.assert_allclose(ours[name], peer, rtol=1e-5, atol=1e-5)


def test_refusals() -> None:
    """Operands the rule has no use for, or that do not fit, each in a sentence."""
    feeds = operands(1, 2, 2, 2, 4, 4, True)
    attributes: dict[str, Any] = {"q_num_heads": 2, "kv_num_heads": 2}
    for wrong, more in (
        (feeds, {"update_rule": "linear"}),
        ({name: array for name, array in feeds.items() if name != "beta"}, {}),
        (feeds | {"past": feeds["past"][..., :3]}, {}),
        (feeds, {"kv_num_heads": 3}),
        (feeds | {"decay": feeds["decay"][..., :1]}, {}),
        (feeds, {"update_rule": "square"}),
    ):
        (problem,) = check_model(model_of(wrong, **(attributes | more)))
        assert str(problem.code) == "PENS-M009"
