"""A small decoder with a key-value cache, for tests of what sessions keep.

In: the sizes of a run, and whether it takes a mask and shares heads. Out: an ONNX model whose ``present`` outputs are
its ``past`` inputs with new rows (Concat), as exporters write them, and inputs for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
WIDTH, HEADS, DEPTH, WORDS = 24, 3, 8, 17


def decoder(
    new: int | str = "new", past: int | str = "past", *, mask: bool = True, kv_heads: int = HEADS
) -> onnx.ModelProto:
    """One layer of attention over ``past`` rows and ``new`` ones, each of ``kv_heads`` heads.

    Inputs: ids [1, new], mask [1, 1, new, past + new] (if ``mask``), past.key and past.value
    [1, kv_heads, past, DEPTH].
    Outputs: logits [1, new, WORDS], present.key and present.value [1, kv_heads, past + new, DEPTH].
    """
    rng = np.random.default_rng(3)
    shapes = {"table": (WORDS, WIDTH), "q": (WIDTH, HEADS * DEPTH), "k": (WIDTH, kv_heads * DEPTH)}
    shapes |= {"v": (WIDTH, kv_heads * DEPTH), "out": (HEADS * DEPTH, WIDTH), "head": (WIDTH, WORDS)}
    weights = [numpy_helper.from_array((rng.standard_normal(s) / 3).astype(np.float32), n) for n, s in shapes.items()]
    for name, heads in (("q_heads", HEADS), ("kv_heads", kv_heads)):
        weights.append(numpy_helper.from_array(np.array([1, -1, heads, DEPTH]), name))
    weights += [numpy_helper.from_array(np.array([1, -1, HEADS * DEPTH]), "flat")]
    weights += [
        numpy_helper.from_array(np.array([2]), "third"),
        numpy_helper.from_array(np.float32(DEPTH**-0.5), "scale"),
    ]
    nodes = [helper.make_node("Gather", ["table", "ids"], ["x"], name="embed")]
    for name, heads in (("q", "q_heads"), ("k", "kv_heads"), ("v", "kv_heads")):
        nodes += [
            helper.make_node("MatMul", ["x", name], [f"{name}_flat"], name=f"to_{name}"),
            helper.make_node("Reshape", [f"{name}_flat", heads], [f"{name}_split"], name=f"split_{name}"),
            helper.make_node("Transpose", [f"{name}_split"], [f"{name}_new"], name=f"turn_{name}", perm=[0, 2, 1, 3]),
        ]
    keys, values = "present.key", "present.value"
    nodes += [
        helper.make_node("Concat", ["past.key", "k_new"], [keys], name="append_key", axis=2),
        helper.make_node("Concat", ["past.value", "v_new"], [values], name="append_value", axis=2),
    ]
    if kv_heads == 1 < HEADS:
        weights.append(numpy_helper.from_array(np.array([1, HEADS, 1, 1]), "copies"))
        for name in (keys, values):
            nodes.append(helper.make_node("Expand", [name, "copies"], [f"{name}_all"], name=f"repeat_{name}"))
        keys, values = f"{keys}_all", f"{values}_all"
    nodes += [
        helper.make_node("Transpose", [keys], ["k_t"], name="turn_keys", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q_new", "k_t"], ["raw"], name="scores"),
        helper.make_node("Mul", ["raw", "scale"], ["scaled"], name="scale_scores"),
        *([helper.make_node("Add", ["scaled", "mask"], ["masked"], name="mask_scores")] if mask else []),
        helper.make_node("Softmax", ["masked" if mask else "scaled"], ["p"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["p", values], ["mixed"], name="mix"),
        helper.make_node("Transpose", ["mixed"], ["back"], name="turn_back", perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["back", "flat"], ["joined"], name="join"),
        helper.make_node("MatMul", ["joined", "out"], ["o"], name="project"),
        helper.make_node("Add", ["o", "x"], ["h"], name="residual"),
        helper.make_node("MatMul", ["h", "head"], ["logits"], name="lm_head"),
    ]
    total = past + new if isinstance(past, int) and isinstance(new, int) else f"{past} + {new}"
    kept = {name: [1, kv_heads, past, DEPTH] for name in ("past.key", "past.value")}
    grown = {name: [1, kv_heads, total, DEPTH] for name in ("present.key", "present.value")}
    f32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            helper.make_tensor_value_info("past.key", f32, kept["past.key"]),
            helper.make_tensor_value_info("ids", TensorProto.INT64, [1, new]),
            *([helper.make_tensor_value_info("mask", f32, [1, 1, new, total])] if mask else []),
            helper.make_tensor_value_info("past.value", f32, kept["past.value"]),
        ],
        [
            helper.make_tensor_value_info("present.key", f32, grown["present.key"]),
            helper.make_tensor_value_info("logits", f32, [1, new, WORDS]),
            helper.make_tensor_value_info("present.value", f32, grown["present.value"]),
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def causal(past: int, new: int) -> Array:
    """The mask of a run: new row i sees rows 0 .. past + i."""
    seen = np.arange(past + new) <= past + np.arange(new)[:, None]
    return np.where(seen, 0, -np.inf).astype(np.float32)[None, None]


def inputs(past: int, new: int, mask: bool = True) -> dict[str, Array]:
    """What a session takes that keeps the rest: the next ``new`` words after ``past``."""
    ids = np.random.default_rng(past).integers(0, WORDS, (1, new))
    return {"ids": ids, "mask": causal(past, new)} if mask else {"ids": ids}


def nothing(kv_heads: int = HEADS) -> dict[str, Array]:
    """The past before the first run."""
    return {name: np.zeros((1, kv_heads, 0, DEPTH), np.float32) for name in ("past.key", "past.value")}
